//! What Apache Kafka 4.3 wrote loads, means what Kafka's own dump says, and is written back byte for byte.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use tidelog_model::{KafkaError, Now, Offset, PartitionIndex, Timestamp, TopicName};
use tidelog_record::{Batches, EndTransactionMarker, MarkerKind};

use super::driver::fetch;
use crate::group::records::{GroupRecord, decode, group_record, offset_record};
use crate::group::*;
use crate::{CoordinatorRecord, Replayed, partition_for};

const LIMIT: usize = 1024 * 1024;
const NOW: Now = Now { monotonic: Duration::from_secs(5), wall: Timestamp(1_795_256_700_000) };

fn log(partition: i32) -> Bytes {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/kafka-4.3.0/log-dir");
    let path = root.join(format!("__consumer_offsets-{partition}/00000000000000000000.log"));
    std::fs::read(&path).unwrap_or_else(|error| panic!("{path:?}: {error}")).into()
}

/// Loads a partition as the broker does; also returns the records.
fn load(partition: i32, until: Offset) -> (GroupShard, Vec<CoordinatorRecord>) {
    let mut shard = GroupShard::new(GroupConfig::default());
    let mut records = Vec::new();
    for batch in Batches::strict(log(partition)) {
        let batch = batch.unwrap();
        let header = *batch.header();
        if header.base_offset >= until {
            break;
        }
        if let Some(marker) = EndTransactionMarker::of_batch(&batch).unwrap() {
            shard.replay_end_transaction(header.producer_id, marker.kind == MarkerKind::Commit);
            continue;
        }
        for record in batch.records(LIMIT).unwrap() {
            let record = record.unwrap();
            let record = CoordinatorRecord { key: record.key.unwrap(), value: record.value };
            let replayed = match header.attributes.is_transactional() {
                true => shard.replay_transactional(header.producer_id, &record),
                false => shard.replay(&record),
            };
            assert_eq!(replayed, Replayed::Applied);
            records.push(record);
        }
    }
    shard.loaded(NOW);
    shard.assert_consistent();
    (shard, records)
}

const ALL: Offset = Offset(i64::MAX);

#[test]
fn every_known_record_is_written_back_byte_for_byte() {
    let mut kinds: BTreeMap<&str, usize> = BTreeMap::new();
    for partition in [8, 12, 25, 43, 47] {
        for record in load(partition, ALL).1 {
            let (kind, again) = match decode(&record).unwrap() {
                GroupRecord::Offset(key, Some(committed)) => {
                    assert_eq!(partition_for(key.group.as_str(), 50), PartitionIndex(partition));
                    let again = offset_record(&key.group, &key.topic, key.partition, &committed).unwrap();
                    ("offset", again)
                }
                GroupRecord::Group(group, Some(stored)) => ("group", group_record(&group, &stored).unwrap()),
                GroupRecord::Consumer(group, known) => ("consumer", known.encode(&group).unwrap()),
                tombstone => panic!("{tombstone:?}"),
            };
            assert_eq!(again, record);
            *kinds.entry(kind).or_default() += 1;
        }
    }
    assert_eq!(kinds, BTreeMap::from([("offset", 8), ("group", 2), ("consumer", 9)]));
}

fn offsets(shard: &GroupShard, group: &str) -> Vec<(String, i32, i64, i32, String, i64, String)> {
    let fetched = shard.fetch_offsets(&fetch(group)).unwrap();
    let row = |fetched: FetchedOffset| {
        let committed = fetched.committed.unwrap().unwrap();
        (
            fetched.topic.to_string(),
            fetched.partition.get(),
            committed.offset.get(),
            committed.leader_epoch.get(),
            committed.metadata.to_string(),
            committed.commit_timestamp.get(),
            committed.topic_id.to_string(),
        )
    };
    fetched.into_iter().map(row).collect()
}

fn row(topic: &str, offset: i64, note: &str, at: i64, topic_id: &str) -> (String, i32, i64, i32, String, i64, String) {
    (topic.into(), 0, offset, -1, note.into(), at, topic_id.into())
}

const FIXTURE: &str = "Y2jcI9ywSLuNL1RGtilg8A";
const NO_ID: &str = "AAAAAAAAAAAAAAAAAAAAAA";

#[test]
fn offsets_are_those_of_kafkas_dump() {
    let (shard, _) = load(12, ALL);
    let expected = vec![
        row("fixture", 732, "", 1795256639340, FIXTURE),
        row("fixture-compact", 41, "", 1795256640418, "M-YTxgNoRfuzMoBOg5O86w"),
    ];
    assert_eq!(offsets(&shard, "fixture-read_uncommitted"), expected);
    let (shard, _) = load(43, ALL);
    assert_eq!(offsets(&shard, "fixture-read_committed"), [row("fixture", 708, "", 1795256639887, FIXTURE)]);
    assert_eq!(offsets(&shard, "fixture-next"), []);
    let listing = shard.list().unwrap();
    assert_eq!(listing.len(), 1);
    assert_eq!((listing[0].state, &*listing[0].protocol_type), ("Empty", ""));
}

#[test]
fn a_classic_group_loads_with_its_static_member() {
    let (shard, _) = load(8, ALL);
    assert_eq!(offsets(&shard, "fixture-classic"), [row("fixture", 50, "a note\0", 1795256640633, FIXTURE)]);
    let Ok(AnyDescription::Classic(group)) = shard.describe(&GroupId::from("fixture-classic")) else { panic!("none") };
    let id = MemberId::from("static-1-9e99d897-1147-4e50-9a69-3024285cb7a8");
    assert_eq!((group.state, group.generation), (GroupState::Stable, Generation(1)));
    assert_eq!((&*group.protocol_type, &*group.protocol_name), ("consumer", "range"));
    assert_eq!(group.leader, Some(id.clone()));
    assert_eq!(group.members.len(), 1);
    let member = &group.members[0];
    assert_eq!((&member.member_id, &member.instance_id), (&id, &Some(InstanceId::from("static-1"))));
    assert_eq!((&*member.client_id, &*member.client_host), ("rdkafka", "/127.0.0.1"));
    assert_eq!((member.metadata.len(), member.assignment.len()), (29, 27));
    // It has its whole session timeout of 45 s from loading on.
    assert_eq!(shard.next_deadline(), Some(NOW.after(Duration::from_secs(45))));
    // Before its first assignment Kafka had stored it empty.
    let (shard, _) = load(8, Offset(1));
    let Ok(AnyDescription::Classic(group)) = shard.describe(&GroupId::from("fixture-classic")) else { panic!("none") };
    assert_eq!((group.state, group.generation, group.members.len()), (GroupState::Empty, Generation(0), 0));
}

#[test]
fn a_group_of_the_consumer_protocol_loads_with_its_member_and_without() {
    let described = |shard: &GroupShard| match shard.describe(&GroupId::from("fixture-next")) {
        Ok(AnyDescription::Consumer(group)) => group,
        other => panic!("{other:?}"),
    };
    let (shard, _) = load(25, Offset(5));
    let group = described(&shard);
    assert_eq!((group.state, group.epoch, group.target_epoch), ("Stable", Epoch(2), Epoch(2)));
    let member = &group.members[0];
    assert_eq!((member.member_id.as_str(), member.epoch), ("Hn/sVLc1RqCgHTAX5Zo57w", Epoch(2)));
    let fixture = TopicPartitions { topic: FIXTURE.parse().unwrap(), partitions: vec![PartitionIndex(0)] };
    assert_eq!((&member.assigned, &member.target), (&vec![fixture.clone()], &vec![fixture]));
    // It has its whole session timeout of 45 s from loading on.
    assert_eq!(shard.next_deadline(), Some(NOW.after(Duration::from_secs(45))));
    let (shard, _) = load(25, ALL);
    let group = described(&shard);
    assert_eq!((group.state, group.epoch, group.members.len()), ("Empty", Epoch(3), 0));
    assert_eq!(offsets(&shard, "fixture-next"), [row("fixture", 50, "a note\0", 1795256640866, FIXTURE)]);
}

#[test]
fn a_transactions_offsets_count_with_its_marker() {
    let (shard, _) = load(47, ALL);
    assert_eq!(offsets(&shard, "fixture-txn-offsets"), [row("fixture", 42, "", 1795256614003, NO_ID)]);
    let (mut shard, _) = load(47, Offset(1));
    assert_eq!(offsets(&shard, "fixture-txn-offsets"), []);
    let asked = FetchOffsets {
        topics: Some(vec![(TopicName::new("fixture").unwrap(), vec![PartitionIndex(0)])]),
        ..fetch("fixture-txn-offsets")
    };
    let committed =
        |shard: &GroupShard, request: &FetchOffsets| shard.fetch_offsets(request).unwrap().remove(0).committed;
    assert_eq!(committed(&shard, &asked), Err(KafkaError::UnstableOffsetCommit));
    let any = FetchOffsets { require_stable: false, ..asked.clone() };
    assert_eq!(committed(&shard, &any), Ok(None));
    shard.replay_end_transaction(3.into(), false);
    assert_eq!(committed(&shard, &asked), Ok(None));
}
