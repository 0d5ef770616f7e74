//! Transactions on real partitions: what read_committed sees, what markers do to groups, and what a restart keeps.

use tidelog_coordinator::group::{CommitInTransaction, Generation, GroupId, MemberId, OffsetToCommit};
use tidelog_model::{OFFSETS_TOPIC, PartitionIndex, ProducerEpoch, ProducerId, Sequence, TopicName, TopicPartition};
use tidelog_partition::{Content, Guard, Question};
use tidelog_record::{Batch, EndTransactionMarker, MarkerKind, Origin};
use tokio::sync::oneshot;

use super::*;
use crate::replica::{AppendResult, AppendWork, GroupWork, TransactionalCommit, Work};

pub(super) const PRODUCER: ProducerId = ProducerId(4_000);

/// The guard under which the coordinator of the producer's transaction is asked.
fn ask(fixture: &Fixture, replica: &Replica, epoch: i16, sequence: Sequence) -> Option<Guard> {
    let question =
        Question { producer_id: PRODUCER, producer_epoch: ProducerEpoch(epoch), sequence, epoch_per_transaction: true };
    replica.with_machine(|machine| machine.ask(fixture.broker.clock().now(), &question))
}

/// Appends one record as part of the producer's transaction, as if the coordinator had agreed.
pub(super) async fn write(fixture: &Fixture, topic: &str, epoch: i16, sequence: i32, value: &str) -> AppendResult {
    let mut builder = BatchBuilder::new(Offset::ZERO)
        .producer(PRODUCER, ProducerEpoch(epoch), Sequence(sequence))
        .transactional(true);
    builder.push(fixture.broker.clock().now().wall, None, Some(value.as_bytes()), &[]).unwrap();
    let batch: Batch = builder.build().unwrap();
    let replica = fixture.replica(topic, 0);
    let verified = ask(fixture, &replica, epoch, Sequence(sequence));
    let (reply, answer) = oneshot::channel();
    let work = AppendWork {
        batch,
        content: Content::Records { verified },
        acks: tidelog_partition::Acks::All,
        deadline: None,
        origin: Origin::Client,
        reply,
        keep: None,
    };
    replica.enqueue(Work::Append(work)).await;
    answer.await.unwrap()
}

pub(super) fn at(topic: &str, partition: i32) -> TopicPartition {
    TopicPartition { topic: TopicName::new(topic).unwrap(), partition: PartitionIndex(partition) }
}

pub(super) fn markers(kind: MarkerKind, epoch: i16, partitions: Vec<TopicPartition>) -> Markers {
    Markers {
        producer_id: PRODUCER,
        producer_epoch: ProducerEpoch(epoch),
        marker: EndTransactionMarker { kind, coordinator_epoch: 1 },
        transaction_version: 2,
        partitions: partitions.into_iter().map(|at| (Arc::from(at.topic.as_str()), at.partition)).collect(),
    }
}

/// What a consumer of committed records gets, and where its view ends.
async fn committed(fixture: &Fixture, topic: &str, wait: Duration) -> (Vec<String>, Offset) {
    let (topic, zero) = (TopicRef::from(topic), PartitionIndex(0));
    let reading = Isolation::ReadCommitted;
    let read = fixture.broker.read(&fixture.caller, &topic, zero, Offset(0), 1 << 20, wait, reading).await.unwrap();
    let mut values = Vec::new();
    for batch in Batches::strict(read.batches) {
        let batch = batch.unwrap();
        let header = *batch.header();
        let aborted = read.aborted.iter().any(|aborted| {
            aborted.producer_id == header.producer_id
                && aborted.first_offset <= header.base_offset
                && header.base_offset <= aborted.last_offset
        });
        if !aborted && !header.attributes.is_control() {
            let text = |value: Bytes| String::from_utf8(value.to_vec()).unwrap();
            values.extend(batch.records(1 << 20).unwrap().map(|record| text(record.unwrap().value.unwrap())));
        }
    }
    (values, read.visible_end)
}

#[tokio::test]
async fn committed_readers_see_whole_transactions_and_nothing_that_was_aborted() {
    let fixture = Fixture::new().await;
    fixture.create("events", 1, &[]).await;
    fixture.produce("events", &["plain"], Acks::All).await.unwrap();
    write(&fixture, "events", 0, 0, "aborted").await.unwrap();
    fixture.produce("events", &["between"], Acks::All).await.unwrap();
    write(&fixture, "events", 0, 1, "aborted too").await.unwrap();
    assert_eq!(committed(&fixture, "events", Duration::ZERO).await, (vec!["plain".into()], Offset(1)));
    let end = markers(MarkerKind::Abort, 1, vec![at("events", 0)]);
    assert_eq!(fixture.broker.write_markers(&end).await, [Ok(())]);
    let seen = vec!["plain".to_owned(), "between".into()];
    assert_eq!(committed(&fixture, "events", Duration::ZERO).await, (seen.clone(), Offset(5)));

    write(&fixture, "events", 1, 0, "committed").await.unwrap();
    // An open transaction outlasts a restart, and its coordinator ends it afterwards.
    let fixture = fixture.restart().await;
    assert_eq!(committed(&fixture, "events", Duration::ZERO).await, (seen.clone(), Offset(5)));
    write(&fixture, "events", 1, 1, "as well").await.unwrap();
    let end = markers(MarkerKind::Commit, 2, vec![at("events", 0)]);
    assert_eq!(fixture.broker.write_markers(&end).await, [Ok(())]);
    let all = [seen, vec!["committed".to_owned(), "as well".into()]].concat();
    assert_eq!(committed(&fixture, "events", Duration::ZERO).await, (all, Offset(8)));
}

#[tokio::test]
async fn a_committed_reader_waits_at_the_last_stable_offset_and_is_woken_by_the_marker() {
    let fixture = Arc::new(Fixture::new().await);
    fixture.create("events", 1, &[]).await;
    write(&fixture, "events", 0, 0, "x").await.unwrap();
    let reader = Arc::clone(&fixture);
    let waiting = tokio::spawn(async move { committed(&reader, "events", 10 * PATIENCE).await });
    let replica = fixture.replica("events", 0);
    until("the fetch waits", || replica.waiters.count() == 1).await;
    let end = markers(MarkerKind::Commit, 1, vec![at("events", 0)]);
    assert_eq!(fixture.broker.write_markers(&end).await, [Ok(())]);
    let read = tokio::time::timeout(PATIENCE, waiting).await.unwrap().unwrap();
    assert_eq!(read, (vec!["x".to_owned()], Offset(2)));
}

#[tokio::test]
async fn markers_are_answered_partition_by_partition() {
    let fixture = Fixture::new().await;
    fixture.create("events", 2, &[]).await;
    write(&fixture, "events", 4, 0, "x").await.unwrap();
    let all = vec![at("events", 0), at("events", 7), at("missing", 0), at("events", 1)];
    let unknown = Err(KafkaError::UnknownTopicOrPartition);
    let end = markers(MarkerKind::Commit, 4, all.clone());
    // The epoch of a transaction's records does not end it, but partitions without any have nothing against it.
    let old = Err(KafkaError::InvalidProducerEpoch);
    assert_eq!(fixture.broker.write_markers(&end).await, [old, unknown, unknown, Ok(())]);
    let end = markers(MarkerKind::Commit, 5, all);
    assert_eq!(fixture.broker.write_markers(&end).await, [Ok(()), unknown, unknown, Ok(())]);
    let fenced = Markers {
        marker: EndTransactionMarker { kind: MarkerKind::Abort, coordinator_epoch: 0 },
        ..markers(MarkerKind::Abort, 6, vec![at("events", 0)])
    };
    assert_eq!(fixture.broker.write_markers(&fenced).await, [Err(KafkaError::TransactionCoordinatorFenced)]);
}

#[tokio::test]
async fn a_transactional_batch_needs_a_transactional_id_and_an_open_transaction() {
    let fixture = Fixture::new().await;
    fixture.create("events", 1, &[]).await;
    let batch = |producer: i64| {
        let mut builder = BatchBuilder::new(Offset::ZERO)
            .producer(ProducerId(producer), ProducerEpoch(0), Sequence(0))
            .transactional(true);
        builder.push(fixture.broker.clock().now().wall, None, Some(b"x"), &[]).unwrap();
        fixture.request("events", builder.build().unwrap().into_bytes(), Acks::All)
    };
    let mut nobody = BatchBuilder::new(Offset::ZERO).transactional(true);
    nobody.push(fixture.broker.clock().now().wall, None, Some(b"x"), &[]).unwrap();
    let nobody = fixture.request("events", nobody.build().unwrap().into_bytes(), Acks::All);
    for request in [batch(7), nobody] {
        let refused = fixture.broker.append(&fixture.caller, request).await.unwrap_err();
        assert_eq!(refused.error, KafkaError::TransactionalIdAuthorizationFailed);
    }
    let transaction = crate::Transaction { id: "t".into(), support: TransactionSupport::Implicit };
    let enqueue = |requests| fixture.broker.enqueue_in_transaction(&fixture.caller, &transaction, requests);
    for ticket in enqueue(vec![batch(7), batch(8)]).await {
        assert_eq!(ticket.await.unwrap_err().error.error, KafkaError::InvalidProducerIdMapping, "two producers");
    }
    assert!(enqueue(vec![batch(7)]).await.remove(0).await.is_err(), "nobody has opened one");
    assert_eq!(fixture.offset("events", OffsetSpec::Latest).await, Offset(0));
}

/// Commits a position as part of the producer's transaction, as if its coordinator had agreed.
async fn commit(fixture: &Fixture, group: &str, epoch: i16, offset: i64) -> Vec<Result<(), KafkaError>> {
    let replica = fixture.broker.coordinator(group).unwrap();
    let verified = ask(fixture, &replica, epoch, Sequence::NONE);
    let commit = CommitInTransaction {
        producer_id: PRODUCER,
        producer_epoch: ProducerEpoch(epoch),
        generation: Generation::NONE,
        member_id: MemberId::from(""),
        instance_id: None,
        offsets: vec![OffsetToCommit {
            topic: TopicName::new("events").unwrap(),
            topic_id: tidelog_model::TopicId::ZERO,
            partition: PartitionIndex(0),
            offset: Offset(offset),
            leader_epoch: LeaderEpoch::NONE,
            metadata: "".into(),
        }],
    };
    let (reply, answer) = oneshot::channel();
    let asked = TransactionalCommit { group: GroupId::from(group), commit, verified, reply };
    replica.enqueue(Work::Group(GroupWork::CommitInTransaction(asked))).await;
    answer.await.unwrap().unwrap()
}

async fn position(fixture: &Fixture, group: &str, require_stable: bool) -> Result<Option<i64>, KafkaError> {
    let topics = Some(vec![(TopicRef::from("events"), vec![PartitionIndex(0)])]);
    let request = OffsetsRequest { group: GroupId::from(group), topics, require_stable, member: None };
    let mut found = fixture.broker.fetch_offsets(&fixture.caller, request).await.await.unwrap();
    found.remove(0).committed.map(|committed| committed.map(|committed| committed.offset.get()))
}

#[tokio::test]
async fn positions_of_a_transaction_count_once_it_commits_also_after_a_restart() {
    let fixture = Fixture::new().await;
    fixture.create("events", 1, &[]).await;
    fixture.broker.group_coordinator(&fixture.caller, "g").await.unwrap();
    let loaded = |fixture: &Fixture| fixture.broker.coordinator("g").unwrap();
    until("the coordinator loads", || loaded(&fixture).has_coordinator()).await;
    assert_eq!(commit(&fixture, "g", 0, 5).await, [Ok(())]);
    assert_eq!(position(&fixture, "g", false).await, Ok(None));
    assert_eq!(position(&fixture, "g", true).await, Err(KafkaError::UnstableOffsetCommit));

    let fixture = fixture.restart().await;
    until("the coordinator loads", || loaded(&fixture).has_coordinator()).await;
    assert_eq!(position(&fixture, "g", true).await, Err(KafkaError::UnstableOffsetCommit));
    let replica = loaded(&fixture);
    let shard = vec![at(OFFSETS_TOPIC, replica.id.partition.get())];
    assert_eq!(fixture.broker.write_markers(&markers(MarkerKind::Commit, 1, shard.clone())).await, [Ok(())]);
    assert_eq!(position(&fixture, "g", true).await, Ok(Some(5)));

    assert_eq!(commit(&fixture, "g", 1, 9).await, [Ok(())]);
    assert_eq!(fixture.broker.write_markers(&markers(MarkerKind::Abort, 2, shard)).await, [Ok(())]);
    assert_eq!(position(&fixture, "g", true).await, Ok(Some(5)));
    // The word of an ended transaction does not open another one.
    let late = commit(&fixture, "g", 1, 11).await;
    assert_eq!(late, [Err(KafkaError::InvalidProducerEpoch)]);
}
