//! What Apache Kafka 4.3 wrote, read and rebuilt.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use sha2::{Digest, Sha256};
use tidelog_model::Timestamp;

use super::{batches, data, files, read, records};
use crate::{
    AbortedTransactions, Batch, BatchBuilder, BatchHeader, Batches, Codec, ControlRecord, MarkerKind, Record, Retained,
    check_crc, recompress, retain,
};

const LIMIT: usize = 16 * 1024 * 1024;
const FOLDERS: [&str; 9] = [
    "__consumer_offsets-12",
    "__consumer_offsets-25",
    "__consumer_offsets-43",
    "__consumer_offsets-47",
    "__consumer_offsets-8",
    "__transaction_state-12",
    "__transaction_state-13",
    "fixture-0",
    "fixture-compact-0",
];

fn expected(file: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(data(file)).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn base64_or_null(value: Option<&[u8]>) -> Value {
    value.map_or(Value::Null, |value| Value::from(STANDARD.encode(value)))
}

fn assert_same(batch: &Batch, record: &Record, expected: &Value) {
    assert_eq!(record.offset.get(), expected["offset"]);
    assert_eq!(record.timestamp.get(), expected["timestamp"], "{expected}");
    assert_eq!(base64_or_null(record.key.as_deref()), expected["key"], "{expected}");
    match expected.get("value_sha256") {
        Some(hash) => {
            let value = record.value.as_ref().unwrap();
            assert_eq!(value.len(), expected["value_length"]);
            assert_eq!(&Value::from(hex::encode(Sha256::digest(value))), hash, "{expected}");
        }
        None => assert_eq!(base64_or_null(record.value.as_deref()), expected["value"], "{expected}"),
    }
    let headers: Vec<Value> = record
        .headers
        .iter()
        .map(|header| {
            let key = std::str::from_utf8(&header.key).unwrap();
            serde_json::json!([key, base64_or_null(header.value.as_deref())])
        })
        .collect();
    assert_eq!(Value::from(headers), expected["headers"], "{expected}");
    assert_eq!(batch.header().leader_epoch.get(), expected["leader_epoch"]);
}

fn assert_reads(batches: &[Batch], file: &str, skip: impl Fn(&Batch) -> bool) {
    let mut expected = expected(file).into_iter();
    for batch in batches.iter().filter(|batch| !batch.header().attributes.is_control() && !skip(batch)) {
        for record in records(batch) {
            assert_same(batch, &record, &expected.next().expect("more records than listed"));
        }
    }
    assert_eq!(expected.next(), None);
}

#[test]
fn reads_what_a_consumer_reads_uncommitted() {
    let all = batches("fixture-0");
    assert_reads(&all, "read_uncommitted.ndjson", |_| false);
    for codec in Codec::ALL {
        assert!(all.iter().any(|batch| batch.header().codec() == codec), "no batch with {codec}");
    }
}

#[test]
fn reads_what_a_consumer_reads_committed() {
    let index = AbortedTransactions::decode(&read("log-dir/fixture-0/00000000000000000312.txnindex")).unwrap();
    let aborted = |batch: &Batch| {
        let header = batch.header();
        let mut found = Vec::new();
        index.collect(header.base_offset, header.next_offset(), &mut found);
        header.attributes.is_transactional() && found.iter().any(|aborted| aborted.producer_id == header.producer_id)
    };
    assert_reads(&batches("fixture-0"), "read_committed.ndjson", aborted);
}

#[test]
fn reads_a_compacted_log() {
    assert_reads(&batches("fixture-compact-0"), "compacted.ndjson", |_| false);
}

#[test]
fn every_header_and_checksum_is_understood() {
    for folder in FOLDERS {
        for batch in batches(folder) {
            check_crc(&batch).unwrap();
            assert_eq!(batch.header().to_bytes(), batch.bytes()[..BatchHeader::LEN]);
            assert_eq!(records(&batch).len(), batch.header().record_count as usize);
        }
    }
}

/// `key: value` pairs of one line of Kafka's dump.
fn dump_fields(line: &str) -> BTreeMap<&str, &str> {
    let words: Vec<&str> = line.split(' ').collect();
    words.chunks(2).filter(|pair| pair.len() == 2).map(|pair| (pair[0].trim_end_matches(':'), pair[1])).collect()
}

#[test]
fn headers_are_what_kafkas_dump_says() {
    let dump = std::fs::read_to_string(data("internal-topics.txt")).unwrap();
    let mut folder = "";
    let mut left: Vec<Batch> = Vec::new();
    let mut compared = 0;
    for line in dump.lines() {
        if let Some(name) = line.strip_prefix("## ") {
            assert!(left.is_empty(), "{folder}: {} batches not in the dump", left.len());
            folder = name;
            left = if FOLDERS.contains(&name) { batches(name) } else { Vec::new() };
        } else if line.starts_with("baseOffset: ") {
            let (batch, fields) = (left.remove(0), dump_fields(line));
            let h = *batch.header();
            let ours = [
                ("baseOffset", h.base_offset.to_string()),
                ("lastOffset", h.last_offset().to_string()),
                ("count", h.record_count.to_string()),
                ("baseSequence", h.base_sequence.to_string()),
                ("lastSequence", h.last_sequence().to_string()),
                ("producerId", h.producer_id.to_string()),
                ("producerEpoch", h.producer_epoch.to_string()),
                ("partitionLeaderEpoch", h.leader_epoch.to_string()),
                ("isTransactional", h.attributes.is_transactional().to_string()),
                ("isControl", h.attributes.is_control().to_string()),
                ("CreateTime", h.max_timestamp.get().to_string()),
                ("size", h.size().to_string()),
                ("magic", h.magic.to_string()),
                ("compresscodec", h.codec().to_string()),
                ("crc", h.crc.to_string()),
            ];
            for (name, value) in ours {
                assert_eq!(fields.get(name), Some(&value.as_str()), "{name} in {line}");
            }
            compared += 1;
        }
    }
    assert!(compared > 30, "only {compared} batches compared");
}

#[test]
fn uncompressed_batches_are_rebuilt_byte_for_byte() {
    let mut rebuilt = 0;
    for batch in FOLDERS.into_iter().flat_map(batches).filter(|batch| batch.header().codec() == Codec::None) {
        let mut builder = BatchBuilder::like(batch.header());
        if batch.header().record_count > 0 {
            builder = builder.base_timestamp(batch.header().base_timestamp);
        }
        for record in records(&batch) {
            let headers = record.headers.iter().map(|header| (header.key.as_ref(), header.value.as_deref()));
            builder
                .push_at(record.offset, record.timestamp, record.key.as_deref(), record.value.as_deref(), headers)
                .unwrap();
        }
        assert_eq!(builder.build().unwrap().bytes(), batch.bytes(), "{:?}", batch.header());
        rebuilt += 1;
    }
    assert!(rebuilt > 40, "only {rebuilt} batches rebuilt");
}

#[test]
fn every_batch_survives_every_codec() {
    for batch in batches("fixture-0").into_iter().step_by(3) {
        let before = records(&batch);
        for codec in Codec::ALL {
            let other = recompress(&batch, codec, None, LIMIT).unwrap();
            check_crc(&other).unwrap();
            assert_eq!(other.header().codec(), codec);
            assert_eq!(records(&other), before);
            let back = recompress(&other, Codec::None, None, LIMIT).unwrap();
            assert_eq!(back.bytes(), recompress(&batch, Codec::None, None, LIMIT).unwrap().bytes());
        }
    }
}

#[test]
fn compaction_keeps_offsets_sequences_and_flags() {
    for batch in batches("fixture-0").into_iter().filter(|batch| batch.header().record_count > 1).step_by(2) {
        assert_eq!(retain(&batch, LIMIT, None, |_| true).unwrap(), Retained::All);
        let Retained::Some(part) = retain(&batch, LIMIT, None, |record| record.offset.get() % 2 == 1).unwrap() else {
            panic!("half of the records must stay");
        };
        let odd: Vec<Record> = records(&batch).into_iter().filter(|record| record.offset.get() % 2 == 1).collect();
        assert_eq!(records(&part), odd);
        let Retained::Empty(empty) = retain(&batch, LIMIT, None, |_| false).unwrap() else {
            panic!("no record must stay");
        };
        assert_eq!(empty.size(), BatchHeader::LEN);
        assert_eq!(records(&empty), []);
        assert_eq!(empty.header().max_timestamp, batch.header().max_timestamp);
        for rebuilt in [part, empty] {
            check_crc(&rebuilt).unwrap();
            let (ours, theirs) = (rebuilt.header(), batch.header());
            assert_eq!(ours.base_offset, theirs.base_offset);
            assert_eq!(ours.last_offset(), theirs.last_offset());
            assert_eq!(ours.last_sequence(), theirs.last_sequence());
            assert_eq!(ours.producer_epoch, theirs.producer_epoch);
            assert_eq!(ours.attributes.is_transactional(), theirs.attributes.is_transactional());
        }
    }
}

#[test]
fn a_delete_horizon_is_set_once_and_keeps_timestamps() {
    for batch in batches("fixture-compact-0").iter().filter(|batch| batch.header().record_count > 1) {
        let horizon = Timestamp(1_800_000_000_000);
        let Retained::Some(marked) = retain(batch, LIMIT, Some(horizon), |_| true).unwrap() else {
            panic!("a horizon rewrites the batch");
        };
        assert_eq!(marked.header().delete_horizon(), Some(horizon));
        assert_eq!(records(&marked), records(batch));
        assert_eq!(retain(&marked, LIMIT, Some(horizon), |_| true).unwrap(), Retained::All);
        let Retained::Some(fewer) = retain(&marked, LIMIT, None, |record| record.offset.get() % 2 == 0).unwrap() else {
            continue;
        };
        assert_eq!(fewer.header().delete_horizon(), Some(horizon));
    }
}

#[test]
fn markers_are_read_and_written_as_kafka_does() {
    let mut kinds = Vec::new();
    for batch in batches("fixture-0").iter().filter(|batch| batch.header().attributes.is_control()) {
        let Some(ControlRecord::EndTransaction(marker)) = ControlRecord::of_batch(batch).unwrap() else {
            panic!("not a marker: {:?}", batch.header());
        };
        kinds.push(marker.kind);
        let h = batch.header();
        let ours =
            marker.batch(h.base_offset, h.leader_epoch, h.producer_id, h.producer_epoch, h.max_timestamp).unwrap();
        assert_eq!(ours.bytes(), batch.bytes());
    }
    assert_eq!(kinds.iter().filter(|kind| **kind == MarkerKind::Abort).count(), 2);
    assert_eq!(kinds.len(), 6);
}

#[test]
fn a_torn_tail_is_an_end_and_for_recovery_an_error() {
    let log = read(&format!("log-dir/fixture-compact-0/{}", files("fixture-compact-0", ".log")[0]));
    let whole = Batches::strict(log.clone()).map(Result::unwrap).count();
    let last = Batches::new(log.clone()).last().unwrap().unwrap().size();
    for cut in 1..last {
        let torn = log.slice(..log.len() - cut);
        let mut lenient = Batches::new(torn.clone());
        assert_eq!(lenient.by_ref().map(Result::unwrap).count(), whole - 1);
        assert_eq!(lenient.position(), log.len() - last);
        let strict: Vec<_> = Batches::strict(torn).collect();
        assert_eq!(strict.len(), whole);
        assert!(strict.last().unwrap().is_err());
    }
}

/// `compression.gzip.level` and `compression.zstd.level`: another level is another size, and the same records.
#[test]
fn a_level_changes_the_size_and_not_the_records() {
    let mut builder = crate::BatchBuilder::new(tidelog_model::Offset::ZERO);
    for n in 0..2_000u32 {
        let value = format!("{{\"n\":{},\"place\":\"{} km S of Amboy\"}}", n.wrapping_mul(2_654_435_761), n % 97);
        builder.push(Timestamp(1), None, Some(value.as_bytes()), &[]).unwrap();
    }
    let plain = builder.build().unwrap();
    for (codec, low, high) in [(Codec::Gzip, 1, 9), (Codec::Zstd, -50, 19), (Codec::Zstd, 1, 22)] {
        let at = |level| recompress(&plain, codec, level, LIMIT).unwrap();
        assert!(at(Some(high)).size() < at(Some(low)).size(), "{codec}");
        for level in [None, Some(low), Some(high)] {
            assert_eq!(
                recompress(&at(level), Codec::None, None, LIMIT).unwrap().bytes(),
                plain.bytes(),
                "{codec} {level:?}"
            );
        }
    }
}
