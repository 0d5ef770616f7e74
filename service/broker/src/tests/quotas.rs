//! Quotas of callers whom no door can make pause.

use tidelog_model::{Door, QuotaEntity};

use super::*;

/// A caller of this door under a quota of this many bytes per second for all users.
pub(super) async fn limited(fixture: &Fixture, door: Door, kind: &str, rate: f64) -> Caller {
    let everybody: QuotaEntity = "user=*".parse().unwrap();
    fixture.broker.alter_quotas(&fixture.caller, &everybody, &[(kind.into(), Some(rate))], false).await.unwrap();
    Caller { door, ..fixture.caller.clone() }
}

#[tokio::test]
async fn http_callers_beyond_a_quota_are_refused_and_kafkas_are_not() {
    let fixture = Fixture::new().await;
    fixture.create("events", 1, &[]).await;
    let append = async |caller: &Caller| {
        let mut builder = BatchBuilder::new(Offset::ZERO);
        builder.push(fixture.broker.clock().now().wall, None, Some(&[7; 1_000]), &[]).unwrap();
        let request = fixture.request("events", builder.build().unwrap().into_bytes(), Acks::All);
        fixture.broker.append(caller, request).await.map_err(|error| error.error)
    };
    for door in [Door::Rest, Door::Grpc] {
        let caller = limited(&fixture, door, "producer_byte_rate", 10.0).await;
        // The first may exceed the quota, for another door in whatever is left of it.
        let _ = append(&caller).await;
        assert_eq!(append(&caller).await.unwrap_err(), KafkaError::ThrottlingQuotaExceeded);
    }
    // The Kafka door counts and pauses for itself; the service's own parts have no quotas.
    for door in [Door::Kafka, Door::Internal] {
        let caller = limited(&fixture, door, "producer_byte_rate", 10.0).await;
        for _ in 0..3 {
            append(&caller).await.unwrap();
        }
    }
}

#[tokio::test]
async fn http_readers_beyond_a_quota_wait_if_that_is_soon_enough() {
    let fixture = Fixture::new().await;
    fixture.create("events", 1, &[]).await;
    fixture.produce("events", &[&"x".repeat(10_000)], Acks::All).await.unwrap();
    // One read is eleven and a half seconds' worth: half a second to one and a half too much.
    let caller = limited(&fixture, Door::Rest, "consumer_byte_rate", 870.0).await;
    let read = async |wait: Duration| {
        let (topic, zero) = (TopicRef::from("events"), PartitionIndex(0));
        let read = fixture.broker.read(&caller, &topic, zero, Offset(0), 100_000, wait, Isolation::ReadUncommitted);
        read.await.map(|read| read.batches.len()).map_err(|error| error.error)
    };
    assert!(read(Duration::ZERO).await.unwrap() > 10_000);
    assert_eq!(read(Duration::ZERO).await, Err(KafkaError::ThrottlingQuotaExceeded));
    assert!(read(PATIENCE).await.unwrap() > 10_000);
}
