//! Bytes that nobody should send: errors, never panics, never memory by announcement.

use bytes::Bytes;
use proptest::prelude::*;
use tidelog_model::{KafkaError, Offset, Timestamp};

use super::round_trip::{any_codec, any_records, build};
use super::{batches, plain};
use crate::check::compute_crc;
use crate::varint::put_i64;
use crate::{
    AbortedTransactions, AppendRules, Batch, BatchBuilder, BatchError, BatchHeader, Batches, Codec, ControlRecord,
    LeaderEpochs, ProducerStates, check_append, check_crc, recompress, retain,
};

const LIMIT: usize = 1 << 20;

/// The batch with changed bytes and a checksum that fits them.
pub(crate) fn forge(batch: &Batch, change: impl FnOnce(&mut Vec<u8>)) -> Bytes {
    let mut bytes = batch.bytes().to_vec();
    change(&mut bytes);
    if bytes.len() >= BatchHeader::LEN {
        let length = (bytes.len() - 12) as i32;
        bytes[8..12].copy_from_slice(&length.to_be_bytes());
        let crc = compute_crc(&bytes);
        bytes[17..21].copy_from_slice(&crc.to_be_bytes());
    }
    Bytes::from(bytes)
}

fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    bytes[at..at + value.len()].copy_from_slice(value);
}

/// Everything that a reader may do with bytes from outside.
fn exercise(bytes: &Bytes) {
    for batch in Batches::new(bytes.clone()).chain(Batches::strict(bytes.clone())).flatten() {
        let _ = check_crc(&batch);
        let _ = ControlRecord::of_batch(&batch);
        let _ = retain(&batch, LIMIT, Some(Timestamp(5)), |record| record.offset.get() % 2 == 0);
        let _ = recompress(&batch, Codec::None, None, LIMIT);
        if let Ok(records) = batch.records(LIMIT) {
            if batch.header().codec() != Codec::None {
                assert!(records.body().len() <= LIMIT);
            }
            let body = records.body().len();
            let mut kept = 0;
            for record in records.flatten() {
                kept += record.key.map_or(0, |key| key.len()) + record.value.map_or(0, |value| value.len());
                kept += record.headers.iter().map(|header| header.key.len()).sum::<usize>();
            }
            assert!(kept <= body);
        }
    }
    let rules = AppendRules { max_inflated_bytes: LIMIT, codec: Some(Codec::Zstd), ..AppendRules::default() };
    let _ = check_append(bytes, &rules);
    let _ = check_append(bytes, &AppendRules::default());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        exercise(&Bytes::from(bytes.clone()));
        let _ = AbortedTransactions::decode(&bytes);
        let _ = ProducerStates::decode_snapshot(&bytes, super::at(0), 1000);
        let _ = LeaderEpochs::decode(&String::from_utf8_lossy(&bytes));
        let _ = ControlRecord::parse(Some(&bytes), Some(&bytes));
    }

    #[test]
    fn arbitrary_records_behind_a_good_header_never_panic(
        codec in any_codec(), count in 0i32..20, body in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        let bytes = forge(&plain(codec, 2), |bytes| {
            put(bytes, 23, &count.max(1).wrapping_sub(1).to_be_bytes());
            put(bytes, 57, &count.to_be_bytes());
            bytes.truncate(BatchHeader::LEN);
            bytes.extend_from_slice(&body);
        });
        exercise(&bytes);
    }

    #[test]
    fn mutated_batches_never_panic(
        codec in any_codec(), all in any_records(0, 6), changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let batch = build(BatchBuilder::new(Offset::ZERO).codec(codec), &all);
        let bytes = forge(&batch, |bytes| {
            for (at, value) in changes {
                let at = at.index(bytes.len());
                bytes[at] = value;
            }
            if let Some(cut) = cut {
                bytes.truncate(cut.index(bytes.len()));
            }
            // Otherwise everything ends at the magic.
            if let Some(magic) = bytes.get_mut(16) {
                *magic = 2;
            }
        });
        exercise(&bytes);
    }
}

#[test]
fn real_batches_with_one_byte_changed_never_panic() {
    for batch in batches("fixture-0").iter().step_by(23) {
        for at in (12..batch.size()).step_by(1 + batch.size() / 200) {
            exercise(&forge(batch, |bytes| bytes[at] ^= 0x81));
        }
    }
}

fn expect(bytes: &Bytes, wanted: impl Fn(&BatchError) -> bool) {
    let batch = Batch::parse(bytes).unwrap();
    check_crc(&batch).unwrap();
    let error = match batch.records(LIMIT) {
        Err(error) => error,
        Ok(records) => records.map(|record| record.err()).find_map(|error| error).expect("an error"),
    };
    assert!(wanted(&error), "{error:?}");
}

#[test]
fn sixty_one_bytes_that_announce_two_billion_records_are_an_error() {
    for codec in Codec::ALL {
        let bytes = forge(&plain(codec, 1), |bytes| {
            put(bytes, 23, &(i32::MAX - 1).to_be_bytes());
            put(bytes, 57, &i32::MAX.to_be_bytes());
            bytes.truncate(BatchHeader::LEN);
        });
        assert_eq!(bytes.len(), 61);
        expect(&bytes, |error| matches!(error, BatchError::Count { count: i32::MAX, .. }));
        assert_eq!(check_append(&bytes, &AppendRules::default()).unwrap_err().kafka(), KafkaError::InvalidRecord);
    }
}

#[test]
fn lengths_beyond_the_batch_are_errors() {
    let record = |fill: &dyn Fn(&mut Vec<u8>)| {
        forge(&plain(Codec::None, 1), |bytes| {
            bytes.truncate(BatchHeader::LEN);
            let mut record = Vec::new();
            fill(&mut record);
            put_i64(bytes, record.len() as i64);
            bytes.extend_from_slice(&record);
        })
    };
    let malformed = |error: &BatchError| matches!(error, BatchError::Record { index: 0, .. });
    // attributes, timestamp delta, offset delta; then a key of 2 GiB
    expect(
        &record(&|out| {
            out.extend([0, 0, 0]);
            put_i64(out, i64::from(i32::MAX));
            out.extend([1; 9]);
        }),
        malformed,
    );
    // null key and value, then two billion headers
    expect(
        &record(&|out| {
            out.extend([0, 0, 0, 1, 1]);
            put_i64(out, i64::from(i32::MAX));
            out.extend([0; 9]);
        }),
        malformed,
    );
    // a header without a key
    expect(&record(&|out| out.extend([0, 0, 0, 1, 1, 2, 1, 1])), malformed);
    // a length of −2
    expect(&record(&|out| out.extend([0, 0, 0, 3, 1, 0, 0])), malformed);
    // bytes behind the headers
    expect(&record(&|out| out.extend([0, 0, 0, 1, 1, 0, 0])), malformed);
    // an offset delta above the last
    expect(&record(&|out| out.extend([0, 0, 2, 1, 1, 0])), malformed);
    // more headers than allowed, all of them there
    let many = crate::limits::MAX_HEADERS_PER_RECORD + 1;
    expect(
        &record(&|out| {
            out.extend([0, 0, 0, 1, 1]);
            put_i64(out, many as i64);
            out.extend(vec![0; 2 * many]);
        }),
        malformed,
    );
    // a record length beyond the batch
    let beyond = forge(&plain(Codec::None, 1), |bytes| {
        bytes.truncate(BatchHeader::LEN);
        put_i64(bytes, i64::from(i32::MAX));
        bytes.extend([0; 20]);
    });
    expect(&beyond, malformed);
    // bytes behind the last record
    let behind = forge(&plain(Codec::None, 1), |bytes| bytes.push(0));
    expect(&behind, |error| matches!(error, BatchError::Count { .. }));
}

#[test]
fn bombs_end_at_the_limit() {
    let mut builder = BatchBuilder::new(Offset::ZERO);
    builder.push(Timestamp(0), None, Some(&vec![0; 8 * LIMIT]), &[]).unwrap();
    let whole = builder.build().unwrap();
    for codec in Codec::ALL.into_iter().skip(1) {
        let bomb = recompress(&whole, codec, None, 0).unwrap();
        assert!(bomb.size() < whole.size() / 15, "{codec} compressed to {}", bomb.size());
        assert_eq!(bomb.body(LIMIT), Err(BatchError::InflatesTooLarge { limit: LIMIT }));
        assert_eq!(bomb.records(LIMIT).unwrap_err().kafka(), KafkaError::MessageTooLarge);
        let size = whole.size() - BatchHeader::LEN;
        assert_eq!(bomb.body(size).unwrap().len(), size);
        assert!(bomb.body(size - 1).is_err());
    }
}

#[test]
fn older_formats_and_wrong_lengths_are_told_apart() {
    // A message set of format 1: offset, size, CRC, magic 1, attributes, timestamp, key, value.
    let mut old = vec![0; 8];
    old.extend_from_slice(&22i32.to_be_bytes());
    old.extend_from_slice(&[1, 2, 3, 4, 1, 0]);
    old.extend_from_slice(&[0; 16]);
    assert_eq!(BatchHeader::parse(&old), Err(BatchError::Magic(1)));
    assert_eq!(BatchError::Magic(1).kafka(), KafkaError::InvalidRecord);
    let good = plain(Codec::None, 1);
    assert!(matches!(BatchHeader::parse(&good.bytes()[..60]), Err(BatchError::TooShort { have: 60, need: 61 })));
    for length in [i32::MIN, -1, 0, 48, i32::MAX] {
        let mut bytes = good.bytes().to_vec();
        put(&mut bytes, 8, &length.to_be_bytes());
        assert_eq!(BatchHeader::parse(&bytes), Err(BatchError::Length(length)));
        assert!(Batches::new(Bytes::from(bytes)).next().unwrap().is_err());
    }
    for codec in 5..8u8 {
        let bytes = forge(&good, |bytes| bytes[22] = codec);
        assert_eq!(BatchHeader::parse(&bytes), Err(BatchError::Codec(codec)));
        assert_eq!(BatchError::Codec(codec).kafka(), KafkaError::UnsupportedCompressionType);
    }
    // A file that a power cut left full of zeros is no batch.
    assert!(Batches::strict(Bytes::from(vec![0; 4096])).next().unwrap().is_err());
}
