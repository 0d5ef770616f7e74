//! What a producer may append, case by case.

use bytes::Bytes;
use tidelog_model::{KafkaError, LeaderEpoch, Offset, ProducerEpoch, ProducerId, Sequence, Timestamp};

use super::hostile::forge;
use super::{batches, plain, records};
use crate::header::{LENGTH_AT, MAGIC_AT};
use crate::{
    AppendRules, Attributes, Batch, BatchBuilder, BatchError, BatchHeader, Codec, RecordFault, RecordRefusal,
    TimestampType, check_append, check_crc, stamp,
};

fn refused(bytes: &Bytes, rules: &AppendRules) -> KafkaError {
    check_append(bytes, rules).unwrap_err().kafka()
}

/// The batch with other header fields and a fitting checksum.
fn with(batch: &Batch, change: impl FnOnce(&mut BatchHeader)) -> Bytes {
    let mut header = *batch.header();
    change(&mut header);
    forge(batch, |bytes| bytes[..BatchHeader::LEN].copy_from_slice(&header.to_bytes()))
}

#[test]
fn good_batches_pass_untouched() {
    for codec in Codec::ALL {
        let batch = plain(codec, 10);
        let checked = check_append(batch.bytes(), &AppendRules::default()).unwrap();
        assert!(!checked.rewritten);
        assert_eq!(checked.batch.bytes().as_ptr(), batch.bytes().as_ptr(), "the producer's own bytes");
    }
    for batch in batches("fixture-0").iter().filter(|batch| !batch.header().attributes.is_control()) {
        let mut bytes = batch.bytes().to_vec();
        stamp(&mut bytes, Offset::ZERO, LeaderEpoch::NONE).unwrap();
        let checked = check_append(&Bytes::from(bytes), &AppendRules::default()).unwrap();
        assert!(!checked.rewritten, "{:?}", batch.header());
    }
}

#[test]
fn exactly_one_batch() {
    let (batch, rules) = (plain(Codec::None, 2), AppendRules::default());
    let two = Bytes::from([batch.bytes().as_ref(), batch.bytes().as_ref()].concat());
    assert_eq!(refused(&two, &rules), KafkaError::InvalidRecord);
    assert_eq!(refused(&Bytes::new(), &rules), KafkaError::InvalidRecord);
}

/// Kafka 4.3's answers, each seen: what is cut off, what is behind the batch, and what no format has.
#[test]
fn bytes_are_read_as_a_stream_of_batches() {
    let (batch, rules) = (plain(Codec::None, 2), AppendRules::default());
    let bytes = batch.bytes();
    for cut in [1, 4, 11, 12, 16, 17, 60, batch.size() - 1] {
        assert_eq!(refused(&bytes.slice(..cut), &rules), KafkaError::InvalidRecord, "cut at {cut}");
    }
    for behind in [&b"more"[..], &[0; 11], &bytes[..bytes.len() - 1]] {
        let trailing = Bytes::from([bytes.as_ref(), behind].concat());
        assert_eq!(check_append(&trailing, &rules).unwrap().batch.bytes(), bytes, "{} bytes behind", behind.len());
    }
    let zeros = Bytes::from(vec![0; 61]);
    let behind = Bytes::from([bytes.as_ref(), &zeros].concat());
    // Neither lies below the checksum.
    let with_bytes = |at: usize, bytes: &[u8]| {
        let mut lie = batch.bytes().to_vec();
        lie[at..at + bytes.len()].copy_from_slice(bytes);
        Bytes::from(lie)
    };
    let length = |length: i32| with_bytes(LENGTH_AT, &length.to_be_bytes());
    let magic = |magic: i8| with_bytes(MAGIC_AT, &magic.to_be_bytes());
    for (name, bytes, error) in [
        ("zeros", zeros, KafkaError::CorruptMessage),
        ("zeros behind a batch", behind, KafkaError::CorruptMessage),
        ("length -5", length(-5), KafkaError::CorruptMessage),
        ("length 13", length(13), KafkaError::CorruptMessage),
        ("length 48", length(48), KafkaError::CorruptMessage),
        ("length 5000", length(5000), KafkaError::InvalidRecord),
        ("magic 0", magic(0), KafkaError::InvalidRecord),
        ("magic 1", magic(1), KafkaError::InvalidRecord),
        ("magic 3", magic(3), KafkaError::CorruptMessage),
        ("magic -1", magic(-1), KafkaError::CorruptMessage),
    ] {
        assert_eq!(refused(&bytes, &rules), error, "{name}");
    }
}

#[test]
fn damage_is_corruption() {
    let batch = plain(Codec::Gzip, 3);
    for at in 21..batch.size() {
        let mut bytes = batch.bytes().to_vec();
        bytes[at] ^= 1;
        let error = check_append(&Bytes::from(bytes), &AppendRules::default()).unwrap_err();
        // The codec bits and the signs are read before the checksum; all else is the checksum's.
        let header_check = matches!(error, BatchError::Codec(_) | BatchError::Count { .. });
        assert!(
            error.kafka() == KafkaError::CorruptMessage || (header_check && at < BatchHeader::LEN),
            "byte {at}: {error}"
        );
    }
}

#[test]
fn sizes() {
    let batch = plain(Codec::None, 3);
    let rules = |max_bytes| AppendRules { max_bytes, ..AppendRules::default() };
    assert!(check_append(batch.bytes(), &rules(batch.size())).is_ok());
    assert_eq!(refused(batch.bytes(), &rules(batch.size() - 1)), KafkaError::MessageTooLarge);
}

#[test]
fn counts() {
    let rules = AppendRules::default();
    for codec in [Codec::None, Codec::Zstd] {
        let batch = plain(codec, 3);
        for (count, delta) in [(0, 2), (2, 2), (4, 2), (3, 1), (0, 0), (-1, 2), (3, -1), (i32::MAX, i32::MAX - 1)] {
            let bytes = with(&batch, |header| {
                header.record_count = count;
                header.last_offset_delta = delta;
            });
            assert_eq!(refused(&bytes, &rules), KafkaError::InvalidRecord, "{codec} {count} {delta}");
        }
    }
    // Announced consistently, but not what is there: found where batches are walked.
    for (count, delta) in [(2, 1), (4, 3)] {
        let lie = with(&plain(Codec::None, 3), |header| {
            header.record_count = count;
            header.last_offset_delta = delta;
        });
        assert_eq!(refused(&lie, &rules), KafkaError::InvalidRecord);
    }
    // Offsets with a gap are for compaction only.
    let mut gap = BatchBuilder::new(Offset::ZERO);
    gap.push(Timestamp(1), None, None, &[]).unwrap();
    gap.push_at(Offset(2), Timestamp(1), None, None, std::iter::empty()).unwrap();
    assert_eq!(refused(gap.build().unwrap().bytes(), &rules), KafkaError::InvalidRecord);
}

#[test]
fn what_only_brokers_write() {
    let (batch, rules) = (plain(Codec::None, 1), AppendRules::default());
    let flags: [fn(Attributes) -> Attributes; 3] =
        [|a| a.with_control(true), |a| a.with_delete_horizon(true), |a| a.with_transactional(true)];
    for flag in flags {
        let bytes = with(&batch, |header| header.attributes = flag(header.attributes));
        assert_eq!(refused(&bytes, &rules), KafkaError::InvalidRecord);
    }
    let producer = |epoch, sequence| {
        with(&batch, |header| {
            header.producer_id = ProducerId(4);
            header.producer_epoch = ProducerEpoch(epoch);
            header.base_sequence = Sequence(sequence);
        })
    };
    assert!(check_append(&producer(0, 0), &rules).is_ok());
    assert_eq!(refused(&producer(0, -1), &rules), KafkaError::InvalidRecord);
    assert_eq!(refused(&producer(-1, 0), &rules), KafkaError::InvalidProducerEpoch);
    let elsewhere = with(&batch, |header| header.base_offset = Offset(7));
    assert_eq!(refused(&elsewhere, &rules), KafkaError::InvalidRecord);
}

/// Overlooked where the topic has the producer's time, refused where the topic has the broker's, as Kafka does.
#[test]
fn a_producer_that_says_its_time_is_the_brokers() {
    for codec in Codec::ALL {
        let batch = plain(codec, 3);
        let bytes = with(&batch, |header| {
            header.attributes = header.attributes.with_timestamp_type(TimestampType::LogAppendTime);
        });
        let checked = check_append(&bytes, &AppendRules::default()).unwrap();
        assert!(checked.rewritten);
        check_crc(&checked.batch).unwrap();
        assert_eq!(checked.batch.bytes(), batch.bytes());
        let rules = AppendRules { timestamp_type: TimestampType::LogAppendTime, ..AppendRules::default() };
        assert_eq!(refused(&bytes, &rules), KafkaError::InvalidTimestamp);
    }
}

#[test]
fn timestamps() {
    // Records at 0, 1000 and 2000 ms.
    for codec in [Codec::None, Codec::Snappy] {
        let batch = plain(codec, 3);
        let rules = |earliest, latest| AppendRules {
            earliest: Timestamp(earliest),
            latest: Timestamp(latest),
            ..AppendRules::default()
        };
        assert!(check_append(batch.bytes(), &rules(0, 2000)).is_ok());
        assert_eq!(refused(batch.bytes(), &rules(0, 1999)), KafkaError::InvalidTimestamp);
        assert_eq!(refused(batch.bytes(), &rules(1, 2000)), KafkaError::InvalidTimestamp);
        let ignored = AppendRules { timestamp_type: TimestampType::LogAppendTime, ..rules(5000, 6000) };
        assert!(check_append(batch.bytes(), &ignored).is_ok());
    }
    let mut none = BatchBuilder::new(Offset::ZERO);
    none.push(Timestamp::NONE, None, None, &[]).unwrap();
    let strict = AppendRules { earliest: Timestamp(100), latest: Timestamp(200), ..AppendRules::default() };
    assert!(check_append(none.build().unwrap().bytes(), &strict).is_ok());
}

#[test]
fn a_wrong_max_timestamp_is_corrected_where_the_batch_is_walked() {
    let lie = with(&plain(Codec::None, 3), |header| header.max_timestamp = Timestamp(5));
    let checked = check_append(&lie, &AppendRules::default()).unwrap();
    assert!(checked.rewritten);
    assert_eq!(checked.batch.header().max_timestamp, Timestamp(2000));
    check_crc(&checked.batch).unwrap();
}

#[test]
fn compacted_topics_need_keys() {
    let compacted = AppendRules { compacted: true, ..AppendRules::default() };
    for codec in Codec::ALL {
        assert!(check_append(plain(codec, 3).bytes(), &compacted).is_ok());
        let mut builder = BatchBuilder::new(Offset::ZERO).codec(codec);
        builder.push(Timestamp(1), Some(b"k"), None, &[]).unwrap();
        builder.push(Timestamp(1), None, Some(b"v"), &[]).unwrap();
        let batch = builder.build().unwrap();
        let fault = RecordFault { index: 1, reason: RecordRefusal::NoKey };
        assert_eq!(check_append(batch.bytes(), &compacted), Err(BatchError::Records(vec![fault])));
        assert!(check_append(batch.bytes(), &AppendRules::default()).is_ok());
    }
}

/// KIP-467: a producer learns which of its records are at fault, and one of a wrong time makes it INVALID_TIMESTAMP for all.
#[test]
fn every_record_at_fault_is_named() {
    let rules =
        AppendRules { compacted: true, earliest: Timestamp(10), latest: Timestamp(20), ..AppendRules::default() };
    let built = |records: &[(Option<&[u8]>, i64)]| {
        let mut builder = BatchBuilder::new(Offset::ZERO);
        for (key, time) in records {
            builder.push(Timestamp(*time), *key, None, &[]).unwrap();
        }
        check_append(builder.build().unwrap().bytes(), &rules).unwrap_err()
    };
    let error = built(&[(None, 10), (Some(b"k"), 15), (None, 20)]);
    assert_eq!(error.kafka(), KafkaError::InvalidRecord);
    let BatchError::Records(faults) = &error else { panic!("{error}") };
    assert_eq!(faults.iter().map(|fault| fault.index).collect::<Vec<_>>(), [0, 2]);
    assert_eq!(
        error.to_string(),
        "record 0 is refused: it has no key, which a compacted topic requires; \
         record 2 is refused: it has no key, which a compacted topic requires"
    );
    let error = built(&[(None, 10), (Some(b"k"), 15), (Some(b"k"), 21), (Some(b"k"), 9)]);
    assert_eq!(error.kafka(), KafkaError::InvalidTimestamp);
    let BatchError::Records(faults) = error else { panic!("{error}") };
    assert_eq!(faults.iter().map(|fault| fault.index).collect::<Vec<_>>(), [0, 2, 3]);
    let many = vec![(None, 15); crate::limits::MAX_RECORD_FAULTS + 5];
    let BatchError::Records(faults) = built(&many) else { panic!() };
    assert_eq!(faults.len(), crate::limits::MAX_RECORD_FAULTS);
}

#[test]
fn topics_with_a_codec_or_append_time_get_their_own_form() {
    for from in Codec::ALL {
        for to in Codec::ALL {
            let batch = plain(from, 50);
            let rules = AppendRules { codec: Some(to), ..AppendRules::default() };
            let checked = check_append(batch.bytes(), &rules).unwrap();
            assert_eq!(checked.rewritten, from != to);
            assert_eq!(checked.batch.header().codec(), to);
            assert_eq!(records(&checked.batch), records(&batch));
            check_crc(&checked.batch).unwrap();
            let now = Timestamp(123_456);
            let rules = AppendRules { timestamp_type: TimestampType::LogAppendTime, now, ..rules };
            let checked = check_append(batch.bytes(), &rules).unwrap();
            assert!(checked.rewritten);
            check_crc(&checked.batch).unwrap();
            assert!(records(&checked.batch).iter().all(|record| record.timestamp == now));
        }
    }
    let small = AppendRules { codec: Some(Codec::Zstd), max_inflated_bytes: 100, ..AppendRules::default() };
    assert_eq!(refused(plain(Codec::Gzip, 50).bytes(), &small), KafkaError::MessageTooLarge);
    let garbage = forge(&plain(Codec::Lz4, 50), |bytes| bytes[BatchHeader::LEN..].fill(0x55));
    assert!(check_append(&garbage, &AppendRules::default()).is_ok(), "compressed batches are not looked into");
    assert_eq!(
        refused(&garbage, &small),
        KafkaError::InvalidRecord,
        "never CORRUPT_MESSAGE, which lets clients repeat"
    );
}
