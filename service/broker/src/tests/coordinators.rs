//! Coordinators that load their partition: a record that they cannot read is not passed over, unless a later one of its key heals it.

use tidelog_model::{OFFSETS_TOPIC, TRANSACTIONS_TOPIC};
use tidelog_partition::{Acks, Content};
use tidelog_record::Origin;
use tokio::sync::oneshot;

use super::*;
use crate::replica::{AppendWork, Work};

/// Appends a record as another version of the service might.
async fn append(replica: &Arc<Replica>, key: &[u8], value: Option<&[u8]>) {
    let mut builder = BatchBuilder::new(Offset::ZERO);
    builder.push(Timestamp(1_700_000_000_000), Some(key), value, &[]).unwrap();
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

/// Records under one key of this kind are written to a partition of a coordinator's topic. Tells whether it serves after a restart, and if not,
/// which records it lacks.
async fn serves_after(topic: &str, kind: i16, values: &[Option<&[u8]>]) -> Result<(), Vec<String>> {
    let fixture = Fixture::start_with(tempfile::tempdir().unwrap(), |_| {}).await;
    fixture.broker.internal_topic(topic).await.unwrap();
    let partition = fixture.broker.image().topic(topic).unwrap().partitions().next().unwrap().0;
    let replica = fixture.replica(topic, partition.get());
    // A load that is still under way would meet the first of them before the next one heals it.
    until("the coordinator has loaded", || replica.has_coordinator()).await;
    for value in values {
        append(&replica, &[&kind.to_be_bytes()[..], &[0, 1, b'g']].concat(), *value).await;
    }
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
    let view = fixture.replica(topic.name.as_str(), partition.get()).view.clone();
    let unreadable = crate::unreadable_records(&view, &topic.name).unwrap();
    fixture.stop().await;
    assert_eq!(serves, Some(unreadable.is_empty()));
    match unreadable.is_empty() {
        true => Ok(()),
        false => Err(unreadable.iter().map(|record| record.to_string()).collect()),
    }
}

/// A value of a version that there is not.
const NEWER: Option<&[u8]> = Some(&[0, 99, 1]);

/// Kind 2 is a classic group.
#[tokio::test]
async fn a_group_coordinator_does_not_serve_over_a_record_that_it_cannot_read() {
    let refused = serves_after(OFFSETS_TOPIC, 2, &[NEWER]).await;
    let told = "offset 0 (key kind 2, value version 99: members of group `g`)".to_owned();
    assert_eq!(refused, Err(vec![told]), "older state would rule again");
    assert_eq!(serves_after(OFFSETS_TOPIC, 99, &[NEWER]).await, Ok(()), "a kind that is not kept is left alone");
}

#[tokio::test]
async fn a_later_record_of_the_same_group_heals_it() {
    let empty_group: &[u8] = &[&[0, 3, 0, 0][..], &[0; 4], &[0xff; 4], &[0xff; 8], &[0; 4]].concat();
    assert_eq!(serves_after(OFFSETS_TOPIC, 2, &[NEWER, Some(empty_group)]).await, Ok(()));
    assert_eq!(serves_after(OFFSETS_TOPIC, 2, &[NEWER, None]).await, Ok(()));
    assert!(serves_after(OFFSETS_TOPIC, 2, &[NEWER, Some(empty_group), NEWER]).await.is_err());
}

/// Kind 0 is a transactional id.
#[tokio::test]
async fn a_transaction_coordinator_does_not_serve_over_a_record_that_it_cannot_read() {
    let refused = serves_after(TRANSACTIONS_TOPIC, 0, &[NEWER]).await;
    let told = "offset 0 (key kind 0, value version 99: transactional id `g`)".to_owned();
    assert_eq!(refused, Err(vec![told]));
    assert_eq!(serves_after(TRANSACTIONS_TOPIC, 99, &[NEWER]).await, Ok(()));
    assert_eq!(serves_after(TRANSACTIONS_TOPIC, 0, &[NEWER, None]).await, Ok(()));
}

/// Every byte can be decoded, but it is not what was written: a wrong number must not rule.
#[tokio::test]
async fn a_coordinator_does_not_serve_over_a_record_that_the_disk_has_changed() {
    let fixture = Fixture::new().await;
    fixture.broker.internal_topic(OFFSETS_TOPIC).await.unwrap();
    let partition = fixture.broker.image().topic(OFFSETS_TOPIC).unwrap().partitions().next().unwrap().0;
    // Generation 7.
    let group: &[u8] = &[&[0, 3, 0, 0, 0, 0, 0, 7][..], &[0xff; 4], &[0xff; 8], &[0; 4]].concat();
    append(&fixture.replica(OFFSETS_TOPIC, partition.get()), &[0, 2, 0, 1, b'g'], Some(group)).await;
    let directory = fixture.stop().await;
    let path = directory.path().join(format!("data/{OFFSETS_TOPIC}-{partition}/00000000000000000000.log"));
    let mut bytes = std::fs::read(&path).unwrap();
    let at = bytes.windows(group.len()).position(|window| window == group).unwrap() + 7;
    bytes[at] = 8;
    std::fs::write(&path, &bytes).unwrap();

    let fixture = Fixture::start(directory).await;
    let topic = fixture.broker.image().topic(OFFSETS_TOPIC).cloned().unwrap();
    let judged = || fixture.broker.coordinator_at(topic.id, partition).map(|replica| replica.has_coordinator());
    let loads = |judged: &_| matches!(judged, Ok(false) | Err(KafkaError::CoordinatorLoadInProgress));
    until("the coordinator loads, or cannot", || !loads(&judged())).await;
    assert_eq!(judged().err(), Some(KafkaError::CoordinatorNotAvailable));
    let view = fixture.replica(OFFSETS_TOPIC, partition.get()).view.clone();
    let told = crate::unreadable_records(&view, &topic.name).unwrap_err().to_string();
    assert!(told.contains("the batch at offset 0 is damaged") && told.contains("CRC32C"), "{told}");
    fixture.stop().await;
}
