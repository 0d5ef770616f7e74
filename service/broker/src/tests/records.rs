//! Where a log begins and where its epochs end: DeleteRecords, OffsetForLeaderEpoch, and who writes.

use std::sync::atomic::{AtomicBool, Ordering};

use tidelog_log::{BoxFuture, RemoteLog};
use tidelog_metadata::KeyFormat;
use tidelog_model::{Now, ProducerEpoch, ProducerId, Sequence, TopicId, TopicIdPartition};

use super::tiering::{MemoryTier, PAYLOAD, tiered};
use super::*;

/// One deletion by a client that waits for nothing.
async fn delete(fixture: &Fixture, topic: &str, before: DeleteBefore) -> Result<Offset, KafkaError> {
    delete_all(fixture, &[(topic, 0, before)]).await.remove(0)
}

async fn delete_all(fixture: &Fixture, deletions: &[(&str, i32, DeleteBefore)]) -> Vec<Result<Offset, KafkaError>> {
    let deletion = |(topic, partition, before): &(&str, i32, DeleteBefore)| Deletion {
        topic: TopicRef::from(*topic),
        partition: PartitionIndex(*partition),
        before: *before,
    };
    let deletions = deletions.iter().map(deletion).collect();
    let deleted = fixture.broker.delete_records(&fixture.caller, deletions, Duration::ZERO).await;
    deleted.into_iter().map(|result| result.map_err(|error| error.error)).collect()
}

fn below(offset: i64) -> DeleteBefore {
    DeleteBefore::Offset(Offset(offset))
}

/// What a kill at this moment leaves: a copy of the directory.
fn killed(fixture: &Fixture) -> tempfile::TempDir {
    fn copy(from: &std::path::Path, to: &std::path::Path) {
        for entry in std::fs::read_dir(from).unwrap() {
            let entry = entry.unwrap();
            let to = to.join(entry.file_name());
            if entry.file_type().unwrap().is_dir() {
                std::fs::create_dir(&to).unwrap();
                copy(&entry.path(), &to);
            } else {
                std::fs::copy(entry.path(), to).unwrap();
            }
        }
    }
    let left = tempfile::tempdir().unwrap();
    copy(fixture.directory.path(), left.path());
    left
}

#[tokio::test]
async fn deleted_records_are_gone_and_stay_so_after_a_crash() {
    let fixture = Fixture::new().await;
    fixture.create("events", 1, &[]).await;
    fixture.produce("events", &["a", "b", "c", "d"], Acks::All).await.unwrap();
    assert_eq!(delete(&fixture, "events", below(2)).await, Ok(Offset(2)));
    assert_eq!(fixture.offset("events", OffsetSpec::Earliest).await, Offset(2));
    assert_eq!(cold::fetch_one(&fixture, "events", Offset(1)).await.error.unwrap().error, KafkaError::OffsetOutOfRange);
    assert_eq!(delete(&fixture, "events", below(1)).await, Ok(Offset(2)), "it never moves back");
    let fixture = Fixture::start(killed(&fixture)).await;
    assert_eq!(fixture.offset("events", OffsetSpec::Earliest).await, Offset(2));
    assert_eq!(delete(&fixture, "events", DeleteBefore::HighWatermark).await, Ok(Offset(4)));
    assert_eq!(fixture.offset("events", OffsetSpec::Earliest).await, Offset(4));
    assert_eq!(fixture.produce("events", &["e"], Acks::All).await.unwrap().base_offset, Offset(4));
}

#[tokio::test]
async fn without_fsync_too_what_a_client_deleted_stays_deleted() {
    let page_cache = |options: &mut BrokerOptions| options.durability = tidelog_partition::Durability::PageCache;
    let fixture = Fixture::start_with(tempfile::tempdir().unwrap(), page_cache).await;
    fixture.create("events", 1, &[]).await;
    fixture.produce("events", &["a", "b", "c"], Acks::All).await.unwrap();
    assert_eq!(delete(&fixture, "events", below(3)).await, Ok(Offset(3)));
    let fixture = Fixture::start_with(killed(&fixture), page_cache).await;
    assert_eq!(fixture.offset("events", OffsetSpec::Earliest).await, Offset(3));
}

#[tokio::test]
async fn deletions_that_kafka_refuses_are_refused() {
    let fixture = Fixture::new().await;
    fixture.create("events", 1, &[]).await;
    fixture.create("compacted", 1, &[("cleanup.policy", "compact")]).await;
    fixture.create("both", 1, &[("cleanup.policy", "compact,delete")]).await;
    fixture.produce("events", &["a"], Acks::All).await.unwrap();
    fixture.broker.group_coordinator(&fixture.caller, "readers").await.unwrap();
    let cases = [
        ("events", below(2), Err(KafkaError::OffsetOutOfRange)),
        ("events", below(-2), Err(KafkaError::OffsetOutOfRange)),
        ("events", below(1), Ok(Offset(1))),
        ("compacted", below(0), Err(KafkaError::PolicyViolation)),
        ("both", below(0), Ok(Offset(0))),
        ("missing", below(0), Err(KafkaError::UnknownTopicOrPartition)),
        ("no/name", below(0), Err(KafkaError::UnknownTopicOrPartition)),
        ("__consumer_offsets", below(0), Err(KafkaError::InvalidTopicException)),
    ];
    for (topic, before, expected) in cases {
        assert_eq!(delete(&fixture, topic, before).await, expected, "{topic} {before:?}");
    }
    let unknown = delete_all(&fixture, &[("events", 7, below(0)), ("events", 0, below(1))]).await;
    assert_eq!(unknown, [Err(KafkaError::UnknownTopicOrPartition), Ok(Offset(1))], "each partition by itself");
}

#[tokio::test]
async fn a_deletion_waits_until_what_it_deletes_is_committed() {
    let fixture = Fixture::new().await;
    fixture.create("events", 1, &[]).await;
    for round in 1..20 {
        // Answered before it is flushed; the flush takes longer than the next call.
        fixture.produce("events", &["a"], Acks::Leader).await.unwrap();
        let deletion = Deletion { topic: TopicRef::from("events"), partition: PartitionIndex(0), before: below(round) };
        let deleted = fixture.broker.delete_records(&fixture.caller, vec![deletion], PATIENCE).await;
        assert_eq!(deleted, [Ok(Offset(round))]);
    }
}

#[tokio::test]
async fn segments_below_a_deletion_go_at_once_here_and_from_the_tier() {
    let tier = MemoryTier::new();
    let fixture = tiered(tempfile::tempdir().unwrap(), &tier).await;
    let settings = [("internal.segment.bytes", "16384"), ("remote.storage.enable", "true")];
    fixture.create("events", 1, &settings).await;
    let value = "x".repeat(PAYLOAD);
    for _ in 0..3 {
        fixture.produce("events", &[&value], Acks::All).await.unwrap();
    }
    let replica = fixture.replica("events", 0);
    tier.upload(&replica.id);
    assert_eq!(replica.view.segments().len(), 3);
    assert_eq!(delete(&fixture, "events", below(2)).await, Ok(Offset(2)));
    until("closed segments below it are removed", || replica.view.segments().len() == 1).await;
    assert_eq!(tier.source(&replica.id).log_start(), Offset(2), "what lies below may go from the store");
    assert_eq!(fixture.offset("events", OffsetSpec::Earliest).await, Offset(2));
}

/// A table that has what it is told to have.
#[derive(Default)]
struct Table {
    has_all: AtomicBool,
}

impl Observer for Table {
    fn moved(&self, _: &TopicIdPartition) {}

    fn topics_changed(&self) {}

    fn allow_deletion(&self, _: Now, _: &TopicIdPartition, wanted: Offset, log_start: Offset, _: Duration) -> Offset {
        if self.has_all.load(Ordering::Acquire) { wanted } else { log_start }
    }

    fn exported_below(&self, _: &TopicIdPartition) -> Option<Offset> {
        (!self.has_all.load(Ordering::Acquire)).then_some(Offset(2))
    }

    fn key_in_files(&self, _: TopicId) -> Option<KeyFormat> {
        self.has_all.load(Ordering::Acquire).then_some(KeyFormat::Binary)
    }

    fn export_below(&self, _: &TopicIdPartition, _: Offset) -> BoxFuture<'static, bool> {
        Box::pin(std::future::ready(self.has_all.load(Ordering::Acquire)))
    }
}

#[tokio::test]
async fn a_table_never_loses_records_to_a_client_that_deletes_them() {
    let table = Arc::new(Table::default());
    let observer = Arc::clone(&table);
    let fixture = Fixture::start_with(tempfile::tempdir().unwrap(), |options| options.observer = Some(observer)).await;
    fixture.create("events", 1, &[("tidelog.table.enable", "true")]).await;
    fixture.produce("events", &["a", "b"], Acks::All).await.unwrap();
    fixture.create("others", 1, &[]).await;
    let both = delete_all(&fixture, &[("events", 0, below(1)), ("others", 0, below(0))]).await;
    assert_eq!(both, [Err(KafkaError::RequestTimedOut), Ok(Offset(0))]);
    assert_eq!(fixture.read_all("events").await, ["a", "b"], "nothing was deleted");
    table.has_all.store(true, Ordering::Release);
    assert_eq!(delete(&fixture, "events", below(1)).await, Ok(Offset(1)));
    // It has files, so that what its key is in them stays so.
    let text = vec![ConfigChange {
        name: "tidelog.table.key.format".to_owned(),
        operation: ConfigOperation::Set,
        value: Some("string".to_owned()),
    }];
    for validate_only in [true, false] {
        let refused = fixture.broker.alter_topic_configs(&fixture.caller, "events", text.clone(), validate_only).await;
        assert_eq!(refused.map(drop).unwrap_err().error, KafkaError::InvalidConfig);
    }
}

/// Retention does not wait for an upload of what is too old anyway; but what the table lacks is not too old.
#[tokio::test]
async fn a_table_never_loses_records_to_retention_that_are_not_uploaded_yet() {
    let (table, tier) = (Arc::new(Table::default()), MemoryTier::new());
    let (observer, remote): (_, Arc<dyn RemoteLog>) = (Arc::clone(&table), Arc::clone(&tier) as _);
    let fixture = Fixture::start_with(tempfile::tempdir().unwrap(), |options| {
        options.observer = Some(observer);
        options.remote = Some(remote);
    })
    .await;
    let settings = [
        ("internal.segment.bytes", "16384"),
        ("remote.storage.enable", "true"),
        ("retention.bytes", "1"),
        ("tidelog.table.enable", "true"),
    ];
    fixture.create("events", 1, &settings).await;
    let value = "x".repeat(PAYLOAD);
    for _ in 0..3 {
        fixture.produce("events", &[&value], Acks::All).await.unwrap();
    }
    let replica = fixture.replica("events", 0);
    let trim = || replica.trim_local(replica.core.clock.now());
    let starts = || (replica.offsets().log_start, replica.view.local_start());
    trim();
    assert_eq!(starts(), (Offset(0), Offset(0)), "nobody else has them");
    tier.upload(&replica.id);
    assert_eq!(starts(), (Offset(0), Offset(2)), "the tier has them");
    assert_eq!(fixture.offset("events", OffsetSpec::Earliest).await, Offset(0));
    assert_eq!(fixture.read_all("events").await.len(), 3);
    table.has_all.store(true, Ordering::Release);
    trim();
    assert_eq!(starts(), (Offset(2), Offset(2)));
}

#[tokio::test]
async fn a_topic_is_compacted_only_as_far_as_its_table_is() {
    let table = Arc::new(Table::default());
    let observer = Arc::clone(&table);
    let fixture = Fixture::start_with(tempfile::tempdir().unwrap(), |options| options.observer = Some(observer)).await;
    let settings =
        [("cleanup.policy", "compact"), ("internal.segment.bytes", "16384"), ("tidelog.table.enable", "true")];
    fixture.create("events", 1, &settings).await;
    for value in ["1", "2", "3", "4", "5"] {
        let mut builder = BatchBuilder::new(Offset::ZERO);
        let now = fixture.broker.clock().now().wall;
        // Two make a segment.
        builder.push(now, Some(b"key"), Some(value.repeat(8_000).as_bytes()), &[]).unwrap();
        let request = fixture.request("events", builder.build().unwrap().into_bytes(), Acks::All);
        fixture.broker.append(&fixture.caller, request).await.unwrap();
    }
    let replica = fixture.replica("events", 0);
    let firsts = async || -> String { fixture.read_all("events").await.iter().map(|value| &value[..1]).collect() };
    replica.compact(fixture.broker.clock().now());
    assert_eq!(firsts().await, "2345", "the table lacks what is above");
    table.has_all.store(true, Ordering::Release);
    replica.compact(fixture.broker.clock().now());
    assert_eq!(firsts().await, "45");
}

fn epoch_end(fixture: &Fixture, believed: i32, asked: i32) -> Result<(i32, i64), KafkaError> {
    let (topic, partition) = (TopicRef::from("events"), PartitionIndex(0));
    let (believed, asked) = (LeaderEpoch(believed), LeaderEpoch(asked));
    let found = fixture.broker.end_of_leader_epoch(&fixture.caller, &topic, partition, believed, asked);
    found.map(|found| (found.epoch.0, found.end.0)).map_err(|error| error.error)
}

/// What a fetch hears that says of which epoch its last record is.
async fn diverging(fixture: &Fixture, last: i32, offset: i64) -> Result<Option<(i32, i64)>, KafkaError> {
    let asked = FetchPartition {
        topic: TopicRef::from("events"),
        partition: PartitionIndex(0),
        offset: Offset(offset),
        leader_epoch: LeaderEpoch::NONE,
        last_fetched_epoch: LeaderEpoch(last),
        max_bytes: 1_000_000,
    };
    let request = FetchRequest {
        partitions: vec![asked],
        // Whoever has to go back hears it at once.
        max_wait: Duration::from_secs(600),
        min_bytes: 1,
        max_bytes: 1_000_000,
        isolation: Isolation::ReadUncommitted,
    };
    let fetched = fixture.broker.fetch(&fixture.caller, request).await.remove(0);
    assert!(fetched.diverging.is_none() || fetched.records.is_empty());
    match fetched.error {
        Some(error) => Err(error.error),
        None => Ok(fetched.diverging.map(|end| (end.epoch.0, end.end.0))),
    }
}

#[tokio::test]
async fn leader_epochs_end_where_the_next_one_began() {
    let fixture = Fixture::new().await;
    fixture.create("events", 1, &[]).await;
    fixture.produce("events", &["a", "b"], Acks::All).await.unwrap();
    // Each start is an epoch; the third one writes nothing.
    let fixture = fixture.restart().await;
    fixture.produce("events", &["c", "d", "e"], Acks::All).await.unwrap();
    let fixture = fixture.restart().await.restart().await;
    fixture.produce("events", &["f"], Acks::All).await.unwrap();

    let cases = [
        (0, Ok((0, 2))),
        (1, Ok((1, 5))),
        (2, Ok((1, 5))),
        (3, Ok((3, 6))),
        (4, Ok((-1, -1))),
        (-1, Ok((-1, -1))),
        (i32::MAX, Ok((-1, -1))),
    ];
    for (asked, expected) in cases {
        assert_eq!(epoch_end(&fixture, -1, asked), expected, "epoch {asked}");
        assert_eq!(epoch_end(&fixture, 3, asked), expected, "epoch {asked}, told by one who knows the leader");
    }
    for (last, offset, expected) in [
        (-1, 1, Ok(None)),
        (0, 2, Ok(None)),
        (1, 5, Ok(None)),
        (3, 5, Ok(None)),
        // The reader has more of the epoch than the log, or has an epoch that the log has not.
        (0, 3, Ok(Some((0, 2)))),
        (2, 5, Ok(Some((1, 5)))),
        (3, 7, Ok(Some((3, 6)))),
        (4, 1, Err(KafkaError::OffsetOutOfRange)),
        (-1, 7, Err(KafkaError::OffsetOutOfRange)),
    ] {
        assert_eq!(diverging(&fixture, last, offset).await, expected, "epoch {last}, offset {offset}");
    }
    assert_eq!(epoch_end(&fixture, 2, 0), Err(KafkaError::FencedLeaderEpoch));
    assert_eq!(epoch_end(&fixture, 4, 0), Err(KafkaError::UnknownLeaderEpoch));

    // Of what was deleted only the end is known: where the log begins.
    assert_eq!(delete(&fixture, "events", below(3)).await, Ok(Offset(3)));
    assert_eq!(epoch_end(&fixture, -1, 0), Ok((0, 3)));
    assert_eq!(epoch_end(&fixture, -1, 1), Ok((1, 5)));
    assert_eq!(diverging(&fixture, 0, 4).await, Ok(Some((0, 3))));
    assert_eq!(diverging(&fixture, 0, 2).await, Err(KafkaError::OffsetOutOfRange), "it has been deleted");
}

#[tokio::test]
async fn the_epochs_of_what_only_the_tier_has_are_known_also_after_a_restart() {
    let tier = MemoryTier::new();
    let fixture = tiered(tempfile::tempdir().unwrap(), &tier).await;
    let settings =
        [("internal.segment.bytes", "16384"), ("local.retention.bytes", "1"), ("remote.storage.enable", "true")];
    fixture.create("events", 1, &settings).await;
    let value = "x".repeat(PAYLOAD);
    fixture.produce("events", &[&value], Acks::All).await.unwrap();
    let directory = fixture.stop().await;
    let fixture = tiered(directory, &tier).await;
    for _ in 0..3 {
        fixture.produce("events", &[&value], Acks::All).await.unwrap();
    }
    let replica = fixture.replica("events", 0);
    tier.upload(&replica.id);
    assert!(replica.view.local_start() > Offset(1), "the first epoch has left the local disk");
    assert_eq!(epoch_end(&fixture, -1, 0), Ok((0, 1)));
    drop(replica);
    let directory = fixture.stop().await;
    let fixture = tiered(directory, &tier).await;
    assert_eq!(epoch_end(&fixture, -1, 0), Ok((0, 1)));
}

#[tokio::test]
async fn a_partition_tells_who_writes_to_it() {
    let fixture = Fixture::new().await;
    fixture.create("events", 1, &[]).await;
    let now = fixture.broker.clock().now().wall;
    for (producer, epoch, sequence, records) in [(8, 3, 0, 2), (7, 0, 0, 1), (8, 3, 2, 1)] {
        let mut builder =
            BatchBuilder::new(Offset::ZERO).producer(ProducerId(producer), ProducerEpoch(epoch), Sequence(sequence));
        for _ in 0..records {
            builder.push(now, None, Some(b"x"), &[]).unwrap();
        }
        let batch = builder.build().unwrap().into_bytes();
        fixture.broker.append(&fixture.caller, fixture.request("events", batch, Acks::All)).await.unwrap();
    }
    let producer = |id, epoch, last_sequence| ActiveProducer {
        id: ProducerId(id),
        epoch: ProducerEpoch(epoch),
        last_sequence: Sequence(last_sequence),
        last_timestamp: now,
        coordinator_epoch: -1,
        transaction_start: None,
    };
    let topic = TopicRef::from("events");
    let active = fixture.broker.active_producers(&fixture.caller, &topic, PartitionIndex(0)).unwrap();
    assert_eq!(active, [producer(7, 0, 0), producer(8, 3, 2)]);
    let missing = fixture.broker.active_producers(&fixture.caller, &topic, PartitionIndex(1));
    assert_eq!(missing.unwrap_err().error, KafkaError::UnknownTopicOrPartition);
}

#[tokio::test]
async fn the_log_directory_tells_what_lies_in_it_and_knows_no_other() {
    let fixture = Fixture::new().await;
    fixture.create("events", 2, &[]).await;
    fixture.create("others", 1, &[]).await;
    fixture.produce("events", &["a"], Acks::All).await.unwrap();
    let all = fixture.broker.log_dir(&fixture.caller, None).unwrap();
    assert_eq!(all.topics.keys().collect::<Vec<_>>(), ["events", "others"]);
    assert_eq!(all.topics["events"].iter().map(|p| p.index.0).collect::<Vec<_>>(), [0, 1]);
    assert_eq!(all.topics["events"][0].bytes, fixture.replica("events", 0).view.size());
    assert!(all.topics["events"][0].bytes > 0 && all.topics["events"][1].bytes == 0);
    assert!(all.total_bytes > all.usable_bytes && all.usable_bytes > Some(0));
    let wanted = [("events".to_owned(), [PartitionIndex(1), PartitionIndex(9)].into())].into();
    let some = fixture.broker.log_dir(&fixture.caller, Some(&wanted)).unwrap();
    assert_eq!((some.topics.len(), some.topics["events"].len()), (1, 1));
    assert!(fixture.broker.log_dir(&fixture.caller, Some(&Default::default())).unwrap().topics.is_empty());

    let alter = |path: &str, topic: &str, partition| {
        let altered = fixture.broker.alter_log_dir(&fixture.caller, path, topic, PartitionIndex(partition));
        altered.map_err(|error| error.error)
    };
    assert_eq!(alter(&all.path, "events", 1), Ok(()), "it lies there already");
    assert_eq!(alter(&all.path, "events", 2), Err(KafkaError::UnknownTopicOrPartition));
    assert_eq!(alter(&all.path, "missing", 0), Err(KafkaError::UnknownTopicOrPartition));
    assert_eq!(alter("/elsewhere", "events", 1), Err(KafkaError::LogDirNotFound));
}

#[tokio::test]
async fn topics_come_page_by_page_in_the_order_of_their_names() {
    let fixture = Fixture::new().await;
    for (topic, partitions) in [("b", 3), ("a", 2), ("c", 1)] {
        fixture.create(topic, partitions, &[]).await;
    }
    let page = |names: &[&str], limit, cursor: Option<(&str, i32)>| {
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        let cursor = cursor
            .map(|(topic, partition)| TopicCursor { topic: topic.to_owned(), partition: PartitionIndex(partition) });
        let page = fixture.broker.topic_page(&fixture.caller, &names, limit, cursor.as_ref()).unwrap();
        let topics = page.topics.into_iter().map(|topic| match topic {
            Ok(topic) => format!("{} {:?}", topic.name, topic.partitions.iter().map(|p| p.index.0).collect::<Vec<_>>()),
            Err((name, error)) => format!("{name} {}", error.name()),
        });
        let next = page.next.map(|next| (next.topic, next.partition.0));
        (topics.collect::<Vec<_>>().join(", "), next)
    };
    let end = |text: &str| (text.to_owned(), None);
    let more = |text: &str, topic: &str, partition| (text.to_owned(), Some((topic.to_owned(), partition)));
    assert_eq!(page(&[], 10, None), end("a [0, 1], b [0, 1, 2], c [0]"));
    assert_eq!(page(&[], 3, None), more("a [0, 1], b [0]", "b", 1));
    assert_eq!(page(&[], 2, Some(("b", 1))), more("b [1, 2]", "c", 0));
    assert_eq!(page(&[], 3, Some(("b", 1))), end("b [1, 2], c [0]"));
    assert_eq!(page(&["c", "a", "x"], 10, None), end("a [0, 1], c [0], x UNKNOWN_TOPIC_OR_PARTITION"));
    assert_eq!(page(&["c", "a", "x/y"], 2, None), more("a [0, 1]", "c", 0));
    assert_eq!(page(&["c", "b", "x/y"], 9, Some(("b", 2))), end("b [2], c [0], x/y INVALID_TOPIC_EXCEPTION"));
    assert_eq!(page(&[], 9, Some(("bb", 5))), end("c [0]"), "the cursor's topic was deleted meanwhile");
}
