//! What a chunk of the log gives out: aborted transactions, markers, damage, ends.

use bytes::{Bytes, BytesMut};
use tidelog_model::{LeaderEpoch, ProducerEpoch, ProducerId, Sequence, Timestamp};
use tidelog_record::{BatchBuilder, Codec, EndTransactionMarker, MarkerKind};

use super::*;

const PRODUCER: ProducerId = ProducerId(7);

fn batch(base: i64, values: &[&str], transactional: bool, codec: Codec) -> Bytes {
    let mut builder = BatchBuilder::new(Offset(base)).codec(codec).leader_epoch(LeaderEpoch(0));
    if transactional {
        builder = builder.producer(PRODUCER, ProducerEpoch(0), Sequence(0)).transactional(true);
    }
    for value in values {
        builder.push(Timestamp(1), None, Some(value.as_bytes()), &[]).unwrap();
    }
    builder.build().unwrap().into_bytes()
}

fn marker(base: i64, kind: MarkerKind) -> Bytes {
    let mut builder = BatchBuilder::new(Offset(base))
        .producer(PRODUCER, ProducerEpoch(0), Sequence::NONE)
        .transactional(true)
        .control(true);
    let kind = if kind == MarkerKind::Abort { 0u8 } else { 1 };
    builder.push(Timestamp(1), Some(&[0, 0, 0, kind]), Some(&[0; 6]), &[]).unwrap();
    let batch = builder.build().unwrap();
    assert!(EndTransactionMarker::of_batch(&batch).unwrap().is_some());
    batch.into_bytes()
}

fn decoder(batches: &[Bytes], aborted: Vec<AbortedTransaction>, visible_end: i64, budget: usize) -> Decoder {
    open(batches, aborted, visible_end, budget).unwrap()
}

fn open(
    batches: &[Bytes],
    aborted: Vec<AbortedTransaction>,
    visible_end: i64,
    budget: usize,
) -> Result<Decoder, BrokerError> {
    let mut all = BytesMut::new();
    batches.iter().for_each(|batch| all.extend_from_slice(batch));
    let read = ReadBatches {
        batches: all.freeze(),
        aborted,
        high_watermark: Offset(visible_end),
        visible_end: Offset(visible_end),
        log_start: Offset(0),
        damaged: None,
    };
    Decoder::new(read, Budget::new(budget))
}

/// Everything the decoder gives out from `from`, as text, and where it ends.
fn drain(mut decoder: Decoder, from: i64, stop: Option<i64>) -> (Vec<String>, i64) {
    let mut next = Offset(from);
    let mut out = Vec::new();
    while let Some(item) = decoder.next(&mut next, stop.map(Offset)) {
        out.push(match item {
            Ok(Item::Record(record)) => {
                format!("{}={}", record.offset.0, String::from_utf8_lossy(&record.value.unwrap()))
            }
            Ok(Item::Undecodable(gap)) => format!("{}-{} lost", gap.base_offset.0, gap.last_offset.0),
            Ok(Item::Gap(..)) => "gap".to_owned(),
            Err(error) => error.error.name().to_owned(),
        });
        if out.last().is_some_and(|last| last.chars().all(|c| c.is_ascii_uppercase() || c == '_')) {
            break;
        }
    }
    (out, next.0)
}

fn aborted(first: i64, last: i64) -> AbortedTransaction {
    AbortedTransaction {
        producer_id: PRODUCER,
        first_offset: Offset(first),
        last_offset: Offset(last),
        last_stable_offset: Offset(last + 1),
    }
}

#[test]
fn aborted_records_and_markers_are_passed_over() {
    let batches = [
        batch(0, &["plain"], false, Codec::None),
        batch(1, &["aborted", "too"], true, Codec::None),
        marker(3, MarkerKind::Abort),
        batch(4, &["committed"], true, Codec::Lz4),
        marker(5, MarkerKind::Commit),
    ];
    let (out, next) = drain(decoder(&batches, vec![aborted(1, 3)], 6, 1 << 20), 0, None);
    assert_eq!((out, next), (vec!["0=plain".to_owned(), "4=committed".to_owned()], 6));
    // Only what is aborted: the next transaction of the same producer is not.
    let (out, _) = drain(decoder(&batches, vec![], 6, 1 << 20), 0, None);
    assert_eq!(out.len(), 4);
}

#[test]
fn reading_begins_and_ends_inside_batches() {
    let batches = [batch(10, &["a", "b", "c"], false, Codec::Zstd), batch(13, &["d"], false, Codec::None)];
    assert_eq!(
        drain(decoder(&batches, vec![], 14, 1 << 20), 11, None),
        (vec!["11=b".into(), "12=c".into(), "13=d".into()], 14)
    );
    assert_eq!(drain(decoder(&batches, vec![], 14, 1 << 20), 11, Some(12)), (vec!["11=b".into()], 12));
    // What is not visible yet stays unread.
    assert_eq!(drain(decoder(&batches, vec![], 13, 1 << 20), 13, None), (vec![], 13));
    assert_eq!(drain(decoder(&batches, vec![], 14, 1 << 20), 14, None), (vec![], 14));
}

#[test]
fn an_undecodable_batch_is_one_item_and_reading_goes_on() {
    let mut damaged = batch(0, &["x", "y", "z"], false, Codec::Gzip).to_vec();
    damaged[tidelog_record::BatchHeader::LEN..].fill(0xee);
    let batches = [Bytes::from(damaged), batch(3, &["after"], false, Codec::None)];
    assert_eq!(drain(decoder(&batches, vec![], 4, 1 << 20), 0, None), (vec!["0-2 lost".into(), "3=after".into()], 4));
    // A record that is broken inside an uncompressed batch ends that batch.
    let mut damaged = batch(0, &["first", "second"], false, Codec::None).to_vec();
    let at = damaged.windows(6).position(|window| window == b"second").unwrap();
    damaged[at - 1] = 0x7f;
    let batches = [Bytes::from(damaged), batch(2, &["after"], false, Codec::None)];
    let (out, next) = drain(decoder(&batches, vec![], 3, 1 << 20), 0, None);
    assert_eq!((out, next), (vec!["0=first".into(), "1-1 lost".into(), "2=after".into()], 3));
}

#[test]
fn inflated_batches_take_from_the_budget_and_give_back() {
    let large = "x".repeat(10_000);
    let batches = [batch(0, &[&large], false, Codec::Gzip), batch(1, &[&large], false, Codec::Gzip)];
    let (out, _) = drain(decoder(&batches, vec![], 2, 12_000), 0, None);
    assert_eq!(out.len(), 2, "one after the other fits");
    let (out, next) = drain(decoder(&batches, vec![], 2, 5_000), 0, None);
    assert_eq!((out, next), (vec!["THROTTLING_QUOTA_EXCEEDED".to_owned()], 0));
    // The chunk itself counts too.
    let plain = [batch(0, &[&large], false, Codec::None)];
    assert_eq!(drain(decoder(&plain, vec![], 1, 12_000), 0, None).0.len(), 1);
    assert_eq!(open(&plain, vec![], 1, 5_000).err().unwrap().error, KafkaError::ThrottlingQuotaExceeded);
}

#[test]
fn a_damaged_header_is_an_error() {
    let mut damaged = batch(0, &["x"], false, Codec::None).to_vec();
    damaged[16] = 9;
    let (out, _) = drain(decoder(&[Bytes::from(damaged)], vec![], 1, 1 << 20), 0, None);
    assert_eq!(out, ["CORRUPT_MESSAGE"]);
}

#[test]
fn a_store_that_does_not_answer_is_an_error_after_a_while_and_progress_begins_anew() {
    let (mut patience, mut now) = (Patience::default(), Instant::now());
    for _ in 0..2 {
        assert!(patience.after(now, Fill::Loading).is_ok());
        now += LOADING_PATIENCE - Duration::from_millis(1);
        assert!(patience.after(now, Fill::Loading).is_ok());
        assert!(patience.after(now, Fill::Ready).is_ok());
    }
    assert!(patience.after(now, Fill::Loading).is_ok());
    now += LOADING_PATIENCE;
    assert_eq!(patience.after(now, Fill::Loading).unwrap_err().error, KafkaError::OffsetNotAvailable);
}
