//! What is built is read back, whatever it is.

use bytes::Bytes;
use proptest::prelude::*;
use tidelog_model::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Sequence, Timestamp};

use super::records;
use crate::{
    Batch, BatchBuilder, BatchError, Batches, Codec, Header, Record, TimestampType, check_crc, stamp,
    stamp_log_append_time, stamped_prefix,
};

pub(crate) fn any_codec() -> impl Strategy<Value = Codec> {
    prop::sample::select(Codec::ALL.to_vec())
}

fn any_bytes() -> impl Strategy<Value = Bytes> {
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..40).prop_map(Bytes::from),
        (any::<u8>(), 0usize..70_000).prop_map(|(byte, length)| Bytes::from(vec![byte; length])),
    ]
}

fn any_header() -> impl Strategy<Value = Header> {
    // Few keys, so that they repeat; not UTF-8 either.
    let key = prop::sample::select(vec![&b"h"[..], b"", b"trace", b"\xff\xfe"]);
    (key, prop::option::of(any_bytes())).prop_map(|(key, value)| Header { key: Bytes::from_static(key), value })
}

/// Records with gaps between their offsets, from `base` on.
pub(crate) fn any_records(base: i64, max: usize) -> impl Strategy<Value = Vec<Record>> {
    let record = (
        0i64..3,
        -1i64..2_000_000_000_000,
        prop::option::of(any_bytes()),
        prop::option::of(any_bytes()),
        prop::collection::vec(any_header(), 0..4),
    );
    prop::collection::vec(record, 1..max).prop_map(move |parts| {
        let mut next = base;
        let mut records = Vec::new();
        for (gap, timestamp, key, value, headers) in parts {
            let offset = Offset(next + gap);
            next = offset.get() + 1;
            records.push(Record { offset, timestamp: Timestamp(timestamp), key, value, headers });
        }
        records
    })
}

pub(crate) fn build(mut builder: BatchBuilder, records: &[Record]) -> Batch {
    for record in records {
        let headers = record.headers.iter().map(|header| (header.key.as_ref(), header.value.as_deref()));
        builder
            .push_at(record.offset, record.timestamp, record.key.as_deref(), record.value.as_deref(), headers)
            .unwrap();
    }
    builder.build().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn built_batches_are_read_back(
        codec in any_codec(), all in any_records(1_000_000_000_000, 12), producer in 0i64.., epoch in 0i16.., sequence in 0i32..,
        transactional: bool, leader_epoch in 0i32..,
    ) {
        let builder = BatchBuilder::new(Offset(1_000_000_000_000))
            .codec(codec)
            .leader_epoch(LeaderEpoch(leader_epoch))
            .producer(ProducerId(producer), ProducerEpoch(epoch), Sequence(sequence))
            .transactional(transactional);
        let batch = build(builder, &all);
        prop_assert_eq!(check_crc(&batch), Ok(()));
        prop_assert_eq!(&records(&batch), &all);
        let header = batch.header();
        prop_assert_eq!(header.codec(), codec);
        prop_assert_eq!(header.record_count as usize, all.len());
        prop_assert_eq!(Some(header.last_offset()), all.last().map(|record| record.offset));
        prop_assert_eq!(Some(header.max_timestamp), all.iter().map(|record| record.timestamp).max());
        prop_assert_eq!(Some(header.base_timestamp), all.first().map(|record| record.timestamp));
        prop_assert_eq!(header.leader_epoch, LeaderEpoch(leader_epoch));
        prop_assert_eq!((header.producer_id, header.producer_epoch), (ProducerId(producer), ProducerEpoch(epoch)));
        prop_assert_eq!(header.last_sequence(), Sequence(sequence).plus(header.last_offset_delta));
        prop_assert_eq!(header.attributes.is_transactional(), transactional);
        prop_assert!(!header.attributes.is_control());
        if codec == Codec::None {
            let frame = batch.bytes().as_ptr_range();
            for value in records(&batch).iter().filter_map(|record| record.value.as_ref()).filter(|value| !value.is_empty()) {
                prop_assert!(frame.contains(&value.as_ptr()), "values of uncompressed batches are slices of the frame");
            }
        }
    }

    #[test]
    fn stamping_moves_offsets_and_leaves_the_checksum(all in any_records(0, 5), offset in 0i64..1 << 60, epoch in 0i32..) {
        let batch = build(BatchBuilder::new(Offset::ZERO), &all);
        let prefix = stamped_prefix(&batch, Offset(offset), LeaderEpoch(epoch));
        let vectored = [&prefix[..], &batch.bytes()[16..]].concat();
        let mut in_place = batch.bytes().to_vec();
        stamp(&mut in_place, Offset(offset), LeaderEpoch(epoch)).unwrap();
        prop_assert_eq!(&vectored, &in_place);
        let stamped = Batch::parse(&Bytes::from(in_place)).unwrap();
        prop_assert_eq!(check_crc(&stamped), Ok(()));
        prop_assert_eq!(*stamped.header(), batch.header().stamped(Offset(offset), LeaderEpoch(epoch)));
        prop_assert_eq!(records(&stamped).len(), all.len());
        prop_assert_eq!(records(&stamped)[0].offset, Offset(offset).plus(all[0].offset.get()));
    }
}

#[test]
fn append_time_rules_all_records() {
    let all = [1, 5, 3].map(|second| Record {
        offset: Offset(second),
        timestamp: Timestamp(second * 1000),
        key: None,
        value: Some(Bytes::from_static(b"v")),
        headers: Vec::new(),
    });
    let batch = build(BatchBuilder::new(Offset(0)).codec(Codec::Lz4), &all[..2]);
    let stamped = stamp_log_append_time(&batch, Timestamp(9_999)).unwrap();
    check_crc(&stamped).unwrap();
    assert_eq!(stamped.header().attributes.timestamp_type(), TimestampType::LogAppendTime);
    assert_eq!(stamped.header().attributes.codec(), Codec::Lz4);
    assert!(records(&stamped).iter().all(|record| record.timestamp == Timestamp(9_999)));
    let built = build(BatchBuilder::new(Offset(0)).append_time(Timestamp(9_999)), &all[..2]);
    assert!(records(&built).iter().all(|record| record.timestamp == Timestamp(9_999)));
}

#[test]
fn builders_refuse_what_no_batch_can_hold() {
    let mut builder = BatchBuilder::new(Offset(10));
    assert!(builder.is_empty());
    assert!(builder.clone().build().is_err());
    let none = || std::iter::empty::<(&[u8], Option<&[u8]>)>();
    assert!(builder.push_at(Offset(9), Timestamp(0), None, None, none()).is_err());
    builder.push_at(Offset(12), Timestamp(1), None, None, none()).unwrap();
    assert!(builder.push_at(Offset(12), Timestamp(0), None, None, none()).is_err());
    assert!(builder.push_at(Offset(1 << 40), Timestamp(0), None, None, none()).is_err());
    assert!(builder.push(Timestamp(i64::MIN), None, None, &[]).is_err());
    builder.push(Timestamp(-5), None, None, &[]).unwrap();
    assert_eq!(builder.count(), 2);
    let size = builder.size();
    let batch = builder.build().unwrap();
    assert_eq!(batch.size(), size);
    assert_eq!(records(&batch).iter().map(|record| record.offset.get()).collect::<Vec<_>>(), [12, 13]);
}

#[test]
fn stamping_needs_sixteen_bytes() {
    assert_eq!(stamp(&mut [0; 15], Offset(1), LeaderEpoch(1)), Err(BatchError::TooShort { have: 15, need: 16 }));
    assert_eq!(Batches::strict(Bytes::new()).count(), 0);
}
