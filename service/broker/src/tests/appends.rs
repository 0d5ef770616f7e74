//! What an append holds, and what its answer tells.

use tidelog_model::{ProducerEpoch, ProducerId, Sequence};

use super::*;

/// A batch of an idempotent producer.
fn sequenced(fixture: &Fixture, producer: i64, sequence: i32) -> Bytes {
    let mut builder =
        BatchBuilder::new(Offset::ZERO).producer(ProducerId(producer), ProducerEpoch(0), Sequence(sequence));
    builder.push(fixture.broker.clock().now().wall, None, Some(b"x"), &[]).unwrap();
    builder.build().unwrap().into_bytes()
}

#[tokio::test]
async fn a_duplicate_is_answered_with_the_offset_and_time_of_the_original() {
    let fixture = Fixture::new().await;
    fixture.create("events", 1, &[("message.timestamp.type", "LogAppendTime")]).await;
    let batch = sequenced(&fixture, 7, 0);
    let append = |batch: Bytes| fixture.broker.append(&fixture.caller, fixture.request("events", batch, Acks::All));
    let original = append(batch.clone()).await.unwrap();
    assert!(original.log_append_time > Timestamp(0));
    let clock = *fixture.broker.clock();
    until("the clock moves on", || clock.now().wall > original.log_append_time).await;
    let repeated = append(batch).await.unwrap();
    assert_eq!((repeated.base_offset, repeated.log_append_time), (original.base_offset, original.log_append_time));
    // The time of another batch is another.
    let next = append(sequenced(&fixture, 7, 1)).await.unwrap();
    assert!(next.log_append_time > original.log_append_time);
    assert_eq!(next.base_offset, Offset(1));
}

#[tokio::test]
async fn a_door_gets_its_reservation_back_however_an_append_ends() {
    let fixture = Fixture::new().await;
    fixture.create("events", 1, &[]).await;
    fixture.create("strict", 1, &[("min.insync.replicas", "2")]).await;
    let reservation: Arc<dyn std::any::Any + Send + Sync> = Arc::new(());
    let good = sequenced(&fixture, 7, 0);
    let cases = [
        ("appended", "events", good.clone(), Acks::All, None),
        ("a duplicate", "events", good.clone(), Acks::All, None),
        ("answered before it is flushed", "events", sequenced(&fixture, 8, 0), Acks::Leader, None),
        ("never answered", "events", sequenced(&fixture, 9, 0), Acks::None, None),
        ("out of order", "events", sequenced(&fixture, 7, 5), Acks::All, Some(KafkaError::OutOfOrderSequenceNumber)),
        ("fewer replicas than min.insync.replicas", "strict", good.clone(), Acks::All, None),
        ("no such topic", "missing", good.clone(), Acks::All, Some(KafkaError::UnknownTopicOrPartition)),
        ("cut off", "events", good.slice(..good.len() - 1), Acks::All, Some(KafkaError::InvalidRecord)),
    ];
    for (case, topic, batch, acks, expected) in cases {
        let request = AppendRequest { keep: Some(Arc::clone(&reservation)), ..fixture.request(topic, batch, acks) };
        let error = fixture.broker.append(&fixture.caller, request).await.err().map(|error| error.error);
        assert_eq!(error, expected, "{case}");
        until(case, || Arc::strong_count(&reservation) == 1).await;
    }
    assert_eq!(fixture.broker.health().under_min_isr, 0, "all replicas that there are are in sync");
}

#[tokio::test]
async fn what_waits_in_the_queue_of_a_deleted_topic_is_told_and_given_back() {
    let fixture = Fixture::new().await;
    // The last write and the end of the partition meet in an order that nobody decides: a few rounds see both.
    for _ in 0..8 {
        fixture.create("events", 1, &[]).await;
        delete_with_a_full_queue(&fixture).await;
    }
}

async fn delete_with_a_full_queue(fixture: &Fixture) {
    let replica = fixture.replica("events", 0);
    // The log thread gets no further until the deletion is under way, by which time more waits than one write takes.
    let (holds, held) = std::sync::mpsc::channel();
    let holder = std::thread::spawn(move || {
        replica.with_machine(|_| {
            holds.send(()).unwrap();
            let began = std::time::Instant::now();
            while !replica.is_gone() && began.elapsed() < PATIENCE {
                std::thread::yield_now();
            }
        });
    });
    held.recv().unwrap();
    let reservation: Arc<dyn std::any::Any + Send + Sync> = Arc::new(());
    let mut tickets = Vec::new();
    for sequence in 0..3 * crate::limits::MAX_BATCHES_PER_WRITE as i32 {
        let batch = sequenced(fixture, 7, sequence);
        let request =
            AppendRequest { keep: Some(Arc::clone(&reservation)), ..fixture.request("events", batch, Acks::All) };
        tickets.push(fixture.broker.enqueue(&fixture.caller, request).await);
    }
    fixture.broker.delete_topics(&fixture.caller, vec![TopicRef::from("events")]).await.remove(0).unwrap();
    holder.join().unwrap();
    let mut told = 0;
    for ticket in tickets {
        // One write may still have been under way.
        match tokio::time::timeout(PATIENCE, ticket).await.expect("an answer") {
            Ok(_) => {}
            Err(error) => {
                assert_eq!(error.error.error, KafkaError::NotLeaderOrFollower);
                told += 1;
            }
        }
    }
    assert!(told >= 2 * crate::limits::MAX_BATCHES_PER_WRITE, "{told}");
    until("nothing is held for a deleted topic", || Arc::strong_count(&reservation) == 1).await;
}
