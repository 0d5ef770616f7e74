//! Coordinators that load their partition: a record that they cannot read is not passed over.

use tidelog_model::{OFFSETS_TOPIC, TRANSACTIONS_TOPIC};
use tidelog_partition::{Acks, Content};
use tidelog_record::Origin;
use tokio::sync::oneshot;

use super::*;
use crate::replica::{AppendWork, Work};

/// Appends a record as a newer version of the service might.
async fn append(replica: &Arc<Replica>, key: &[u8], value: &[u8]) {
    let mut builder = BatchBuilder::new(Offset::ZERO);
    builder.push(Timestamp(1_700_000_000_000), Some(key), Some(value), &[]).unwrap();
    let (reply, answer) = oneshot::channel();
    let work = AppendWork {
        batch: builder.build().unwrap(),
        content: Content::PLAIN,
        acks: Acks::All,
        deadline: None,
        origin: Origin::Coordinator,
        reply,
        keep: None,
    };
    replica.enqueue(Work::Append(work)).await;
    answer.await.unwrap().unwrap();
}

/// A value of version 99 under a key of a kind that is known (`known`), and under one of a kind that is not, is written to the only
/// partition of a coordinator's topic. Tells whether it serves after a restart.
async fn serves_after(topic: &str, known: bool) -> bool {
    let fixture = Fixture::start_with(tempfile::tempdir().unwrap(), |_| {}).await;
    fixture.broker.internal_topic(topic).await.unwrap();
    let partition = fixture.broker.image().topic(topic).unwrap().partitions().next().unwrap().0;
    let replica = fixture.replica(topic, partition.get());
    // Kind 0 is a transactional id, and a position of a group before Kafka 0.9; 2 a group.
    let kind: i16 = if known { if topic == OFFSETS_TOPIC { 2 } else { 0 } } else { 99 };
    append(&replica, &[&kind.to_be_bytes()[..], &[0, 1, b'g']].concat(), &99i16.to_be_bytes()).await;
    let fixture = fixture.restart().await;
    let topic = fixture.broker.image().topic(topic).cloned().unwrap();
    let mut serves = None;
    let judged = || {
        match fixture.broker.coordinator_at(topic.id, partition) {
            Ok(replica) if replica.has_coordinator() => serves = Some(true),
            Ok(_) | Err(KafkaError::CoordinatorLoadInProgress) => {}
            Err(error) => serves = Some(error != KafkaError::CoordinatorNotAvailable),
        }
        serves.is_some()
    };
    until("the coordinator loads, or cannot", judged).await;
    fixture.stop().await;
    serves == Some(true)
}

#[tokio::test]
async fn a_group_coordinator_does_not_serve_over_a_record_that_it_cannot_read() {
    assert!(!serves_after(OFFSETS_TOPIC, true).await, "older state would rule again");
    assert!(serves_after(OFFSETS_TOPIC, false).await, "a kind that is not kept is left alone");
}

#[tokio::test]
async fn a_transaction_coordinator_does_not_serve_over_a_record_that_it_cannot_read() {
    assert!(!serves_after(TRANSACTIONS_TOPIC, true).await);
    assert!(serves_after(TRANSACTIONS_TOPIC, false).await);
}
