//! The data directory that Apache Kafka 4.3.0 wrote, opened in a copy: exactly the records that its own clients read.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tidelog_model::limits::MAX_INFLATED_BATCH_BYTES;
use tidelog_model::{LeaderEpoch, Now, Offset, Timestamp, TopicId};
use tidelog_record::{BatchBuilder, Batches, Record};

use crate::datadir::{self, OffsetCheckpoint};
use crate::foreign::{Gaps, found_partitions};
use crate::{
    ActiveProducers, Checkpoints, CompactionLimits, FileCache, Log, LogConfig, LogView, OsDisk, Recovered, StampedBatch,
};

fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/kafka-4.3.0")
}

const NOW: Now = Now { monotonic: Duration::ZERO, wall: Timestamp(1_795_256_700_000) };

/// A copy of one partition's directory.
fn copy(partition: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(data().join("log-dir").join(partition)).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), folder.path().join(entry.file_name())).unwrap();
    }
    folder
}

fn open(folder: &Path, compacted: bool, recovery_point: i64) -> (Log, Recovered) {
    let config = LogConfig { compacted, ..LogConfig::default() };
    let checkpoints = Checkpoints { recovery_point: Offset(recovery_point), ..Checkpoints::default() };
    Log::open(Arc::new(OsDisk), FileCache::new(8), folder, config, checkpoints, NOW).unwrap()
}

/// All batches from the front on, in reads of at most `max` bytes.
fn read_all(view: &LogView, max: usize) -> Vec<tidelog_record::Batch> {
    let (mut at, end) = (view.log_start(), view.log_end());
    let mut batches = Vec::new();
    while at < end {
        let read = view.read(at, end, max, true).unwrap();
        if read.is_empty() {
            break;
        }
        for slice in &read.slices {
            assert!(slice.fd().is_some());
            batches.extend(Batches::strict(slice.read().unwrap()).map(Result::unwrap));
        }
        assert!(read.next > at);
        at = read.next;
    }
    batches
}

fn expected(file: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(data().join(file)).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn is_same(record: &Record, epoch: i32, line: &Value) -> bool {
    let text = |bytes: &Option<Bytes>| bytes.as_ref().map_or(Value::Null, |bytes| json!(STANDARD.encode(bytes)));
    let value_fits = match line.get("value_sha256") {
        Some(hash) => {
            let value = record.value.as_ref().unwrap();
            json!(hex(&Sha256::digest(value))) == *hash && line["value_length"] == json!(value.len())
        }
        None => text(&record.value) == line["value"],
    };
    let headers: Vec<Value> = record
        .headers
        .iter()
        .map(|header| json!([std::str::from_utf8(&header.key).unwrap(), text(&header.value)]))
        .collect();
    json!(record.offset.0) == line["offset"]
        && json!(record.timestamp.0) == line["timestamp"]
        && text(&record.key) == line["key"]
        && value_fits
        && (json!(headers) == line["headers"] || (headers.is_empty() && line["headers"].is_null()))
        && line.get("leader_epoch").is_none_or(|expected| json!(epoch) == *expected)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn records(batches: &[tidelog_record::Batch]) -> Vec<(Record, i32)> {
    let data = batches.iter().filter(|batch| !batch.header().attributes.is_control());
    data.flat_map(|batch| {
        let epoch = batch.header().leader_epoch.0;
        batch.records(MAX_INFLATED_BATCH_BYTES).unwrap().map(move |record| (record.unwrap(), epoch)).collect::<Vec<_>>()
    })
    .collect()
}

fn assert_same(found: &[(Record, i32)], file: &str) {
    let lines = expected(file);
    for ((record, epoch), line) in found.iter().zip(&lines) {
        assert!(is_same(record, *epoch, line), "{record:?}\n{line}");
    }
    assert_eq!(found.len(), lines.len());
}

#[test]
fn every_record_is_read() {
    let folder = copy("fixture-0");
    let (log, recovered) = open(folder.path(), false, 738);
    assert_eq!((recovered.log_start, recovered.log_end), (Offset(0), Offset(738)));
    assert_eq!((recovered.verified_bytes, &recovered.cut), (0, &None));
    assert_eq!(recovered.topic_id.unwrap().to_string(), "Y2jcI9ywSLuNL1RGtilg8A");
    let view = log.view();
    for max in [1, 4_000, 100_000, usize::MAX >> 1] {
        assert_same(&records(&read_all(&view, max)), "read_uncommitted.ndjson");
    }
    assert_eq!(view.segments().iter().map(|segment| segment.base.0).collect::<Vec<_>>(), [0, 312, 554]);
    assert_eq!(view.size(), 226_957 + 555_555 + 555_525);
}

#[test]
fn committed_records_are_what_the_aborted_index_leaves() {
    let folder = copy("fixture-0");
    let (log, recovered) = open(folder.path(), false, 738);
    let view = log.view();
    let aborted = view.aborted_transactions(Offset(0), Offset(738)).unwrap();
    assert_eq!(aborted.len(), 2);
    let batches: Vec<_> = read_all(&view, 1 << 20)
        .into_iter()
        .filter(|batch| {
            let header = batch.header();
            let hit = |entry: &tidelog_record::AbortedTransaction| {
                entry.producer_id == header.producer_id
                    && (entry.first_offset..=entry.last_offset).contains(&header.base_offset)
            };
            !(header.attributes.is_transactional() && aborted.iter().any(hit))
        })
        .collect();
    assert_same(&records(&batches), "read_committed.ndjson");
    assert_eq!(recovered.sums.transactions.last_stable_offset(Offset(738)), Offset(738));
    assert!(view.aborted_transactions(Offset(377), Offset(738)).unwrap().is_empty());
}

#[test]
fn a_compacted_log_has_gaps() {
    let folder = copy("fixture-compact-0");
    let (log, recovered) = open(folder.path(), true, 121);
    assert_eq!(recovered.log_end, Offset(121));
    assert_same(&records(&read_all(&log.view(), 100)), "compacted.ndjson");
}

/// Kafka compacted three rounds of forty keys. From the same records we make the same bytes.
#[test]
fn compaction_writes_what_kafkas_cleaner_wrote() {
    let folder = copy("fixture-compact-0");
    let (log, _) = open(folder.path(), true, 121);
    let batches = read_all(&log.view(), 1 << 20);
    let [kafkas, last] = &batches[..] else { panic!("{batches:?}") };
    let horizon = kafkas.header().delete_horizon().unwrap();

    let ours = tempfile::tempdir().unwrap();
    let config = LogConfig { compacted: true, ..LogConfig::default() };
    let id = TopicId::from_bytes([7; 16]);
    let mut log =
        Log::create(Arc::new(OsDisk), FileCache::new(8), &ours.path().join("t-0"), id, config, Offset(0)).unwrap();
    let lines = expected("compacted.ndjson");
    for round in 0..3 {
        let mut builder = BatchBuilder::new(Offset(round * 40));
        for line in &lines[..40] {
            let text = |field: &str| line[field].as_str().map(|text| STANDARD.decode(text).unwrap());
            let value = if round == 2 { text("value") } else { Some(format!("r{round}").into_bytes()) };
            let timestamp = Timestamp(line["timestamp"].as_i64().unwrap());
            builder.push(timestamp, text("key").as_deref(), value.as_deref(), &[]).unwrap();
        }
        append(&mut log, &builder.build().unwrap());
    }
    log.roll(&mut |_| Bytes::new(), NOW).unwrap();
    append(&mut log, last);
    let view = log.view();
    view.flush().unwrap();
    let limits = CompactionLimits::new(Offset(0), Offset(121));
    let now = Timestamp(horizon.0 - limits.delete_retention_ms);
    view.compact(&limits, &ActiveProducers::default(), now).unwrap();
    let batches = read_all(&view, 1 << 20);
    assert_eq!(batches[0].bytes(), kafkas.bytes());
    assert_same(&records(&batches), "compacted.ndjson");
    // The next one after the horizon takes the tombstones.
    view.compact(&limits, &ActiveProducers::default(), horizon).unwrap();
    let left = records(&read_all(&view, 1 << 20));
    assert_eq!(left.len(), lines.iter().filter(|line| !line["value"].is_null()).count());
}

fn append(log: &mut Log, batch: &tidelog_record::Batch) {
    let stamped = StampedBatch::new(batch, batch.header().base_offset, LeaderEpoch(0));
    log.append(&[stamped], &[], &mut |_| Bytes::new(), NOW).unwrap();
}

#[test]
fn everything_is_verified_without_checkpoints_and_rebuilt_as_kafka_wrote_it() {
    let folder = copy("fixture-0");
    let original = copy("fixture-0");
    for entry in std::fs::read_dir(folder.path()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if !name.ends_with(".log") && name != "partition.metadata" {
            std::fs::remove_file(folder.path().join(name)).unwrap();
        }
    }
    let (log, recovered) = open(folder.path(), false, 0);
    assert_eq!(recovered.verified_bytes, log.view().size());
    assert_eq!(recovered.log_end, Offset(738));
    let end = log.close(&Bytes::from(recovered.sums.producers.encode_snapshot())).unwrap();
    assert_eq!(end, Offset(738));
    for entry in std::fs::read_dir(original.path()).unwrap() {
        let name = entry.unwrap().file_name();
        let read = |folder: &tempfile::TempDir| std::fs::read(folder.path().join(&name)).unwrap();
        assert_eq!(read(&folder), read(&original), "{name:?}");
    }
}

#[test]
fn a_clean_stop_of_kafka_is_a_clean_start() {
    let directory = data().join("log-dir");
    let points = OffsetCheckpoint::read(&OsDisk, &directory, datadir::RECOVERY_POINTS).unwrap();
    for partition in datadir::partitions(&OsDisk, &directory).unwrap() {
        let folder = copy(&partition.to_string());
        let point = points.offsets.get(&partition).map_or(0, |offset| offset.0);
        assert!(point > 0, "{partition}");
        let (log, recovered) = open(folder.path(), true, point);
        assert_eq!(recovered.log_end, Offset(point), "{partition}");
        assert_eq!((recovered.verified_bytes, recovered.cut), (0, None));
        assert_eq!(log.view().flushed_end(), Offset(point));
    }
}

#[test]
fn offsets_are_found_by_time() {
    let folder = copy("fixture-0");
    let (log, _) = open(folder.path(), false, 738);
    let view = log.view();
    let all = records(&read_all(&view, 1 << 20));
    let mut times: Vec<i64> = all.iter().map(|(record, _)| record.timestamp.0).collect();
    times.sort_unstable();
    times.dedup();
    for time in times.iter().step_by(7).flat_map(|time| [*time, time + 1]) {
        let wanted = all.iter().find(|(record, _)| record.timestamp.0 >= time).map(|(record, _)| record.offset);
        let found = view.offset_for_timestamp(Timestamp(time), Offset(738)).unwrap();
        // Markers have timestamps too and are no application records.
        let found = found.map(|found| found.offset);
        assert!(found <= wanted || wanted.is_none(), "{time}: {found:?} {wanted:?}");
        if let (Some(found), Some(wanted)) = (found, wanted)
            && found != wanted
        {
            assert!(all.iter().all(|(record, _)| record.offset != found), "{time}: {found} is an application record");
        }
    }
    assert_eq!(view.offset_for_timestamp(Timestamp(i64::MAX), Offset(738)).unwrap(), None);
    let youngest = view.max_timestamp(Offset(738)).unwrap().unwrap();
    assert!(all.iter().all(|(record, _)| record.timestamp <= youngest.timestamp));
}

#[test]
fn its_partitions_are_found_with_their_topics_and_the_gaps_of_compaction() {
    let found = found_partitions(&OsDisk, &data().join("log-dir")).unwrap();
    let names: Vec<String> = found.iter().map(|found| found.partition.to_string()).collect();
    let expected = [
        "__consumer_offsets-8",
        "__consumer_offsets-12",
        "__consumer_offsets-25",
        "__consumer_offsets-43",
        "__consumer_offsets-47",
        "__transaction_state-12",
        "__transaction_state-13",
        "fixture-0",
        "fixture-compact-0",
    ];
    assert_eq!(names, expected);
    for one in found {
        assert_eq!(one.epoch, LeaderEpoch(0), "{}", one.partition);
        let is_compact = one.partition.topic.as_str() == "fixture-compact";
        assert_eq!((one.gaps.below.is_some(), one.gaps.thinned), (is_compact, is_compact), "{}", one.partition);
        if one.partition.topic.as_str() == "fixture" {
            assert_eq!(one.topic.to_string(), "Y2jcI9ywSLuNL1RGtilg8A");
        }
    }
}

#[test]
fn a_file_that_is_no_log_is_nobodys_gap() {
    let folder = tempfile::tempdir().unwrap();
    let partition = folder.path().join("t-0");
    std::fs::create_dir(&partition).unwrap();
    std::fs::write(
        partition.join("partition.metadata"),
        datadir::partition_metadata("Y2jcI9ywSLuNL1RGtilg8A".parse().unwrap()),
    )
    .unwrap();
    std::fs::write(partition.join("00000000000000000000.log"), [0xff; 200]).unwrap();
    std::fs::create_dir(folder.path().join("no-topic-0")).unwrap();
    let found = found_partitions(&OsDisk, folder.path()).unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!((&found[0].gaps, found[0].epoch), (&Gaps::default(), LeaderEpoch::NONE));
}

#[test]
fn lost_segments_are_told_from_what_compaction_has_taken() {
    let folder = tempfile::tempdir().unwrap();
    let partition = folder.path().join("fixture-0");
    std::fs::create_dir(&partition).unwrap();
    let mut bases = Vec::new();
    for entry in std::fs::read_dir(data().join("log-dir/fixture-0")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        bases.extend(name.strip_suffix(".log").map(|base| base.parse::<i64>().unwrap()));
        std::fs::copy(&path, partition.join(name)).unwrap();
    }
    bases.sort_unstable();
    let gaps = || found_partitions(&OsDisk, folder.path()).unwrap().remove(0).gaps;
    assert_eq!(gaps(), Gaps::default());
    let (lost, next) = (bases[1], bases[2]);
    std::fs::remove_file(partition.join(format!("{lost:020}.log"))).unwrap();
    let between_segments = vec![(Offset(lost), Offset(next))];
    assert_eq!(gaps(), Gaps { below: Some(Offset(next)), thinned: false, between_segments });
}
