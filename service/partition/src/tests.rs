//! Scenes and properties of the partition machine.

use std::time::Duration;

use proptest::prelude::*;
use tidelog_model::{KafkaError, LeaderEpoch, NodeId, Now, Offset, ProducerEpoch, ProducerId, Sequence, Timestamp};
use tidelog_record::{BatchBuilder, BatchHeader, BatchSums, Origin, ProducerStates};

use crate::*;

mod transactions;

fn now(ms: u64) -> Now {
    Now { monotonic: Duration::from_millis(ms), wall: Timestamp(ms as i64) }
}

fn header(records: i32) -> BatchHeader {
    let mut builder = BatchBuilder::new(Offset::ZERO);
    for index in 0..records {
        builder.push(Timestamp(i64::from(index)), None, Some(b"v"), &[]).unwrap();
    }
    *builder.build().unwrap().header()
}

fn idempotent(records: i32, producer: i64, sequence: i32) -> BatchHeader {
    BatchHeader {
        producer_id: ProducerId(producer),
        producer_epoch: ProducerEpoch(0),
        base_sequence: Sequence(sequence),
        ..header(records)
    }
}

fn intent(token: u64, header: BatchHeader, acks: Acks) -> Intent {
    let deadline = Some(now(0).after(Duration::from_millis(1_000)));
    Intent { token: Token(token), header, content: Content::PLAIN, acks, deadline, origin: Origin::Client }
}

fn leader(durability: Durability) -> Partition {
    let zero = Offset::ZERO;
    Partition::lead(NodeId(0), LeaderEpoch(3), durability, BatchSums::default(), zero, zero)
}

fn write(partition: &mut Partition, intents: &[Intent]) -> Effects {
    let proposal = partition.propose(now(1), intents);
    partition.written(now(1), &proposal)
}

fn ok(token: u64, offset: i64) -> Reply {
    Reply { token: Token(token), result: Ok(Offset(offset)) }
}

fn failed(token: u64, error: KafkaError) -> Reply {
    Reply { token: Token(token), result: Err(error) }
}

#[test]
fn fsync_answers_acks_all_only_below_the_flushed_end() {
    let mut partition = leader(Durability::Fsync);
    let effects = write(
        &mut partition,
        &[intent(1, header(2), Acks::All), intent(2, header(3), Acks::Leader), intent(3, header(1), Acks::All)],
    );
    assert_eq!(effects.replies, [ok(2, 2)], "acks=1 hears of the write");
    assert!(effects.flush && !effects.visible_moved);
    assert_eq!(partition.offsets().high_watermark, Offset(0));
    assert_eq!(partition.offsets().log_end, Offset(6));

    let effects = partition.flushed(Offset(5));
    assert_eq!(effects.replies, [ok(1, 0)], "the batch at 5 is not flushed");
    assert!(effects.flush && effects.visible_moved);
    let effects = partition.flushed(Offset(6));
    assert_eq!(effects.replies, [ok(3, 5)]);
    assert!(!effects.flush);
    assert_eq!(partition.waiting(), 0);
}

#[test]
fn new_producers_wait_rather_than_that_others_are_forgotten_who_may_send_again() {
    let producers = ProducerStates::with_max_bytes(1);
    let sums = BatchSums { producers, ..BatchSums::default() };
    let zero = Offset::ZERO;
    let mut partition = Partition::lead(NodeId(0), LeaderEpoch(3), Durability::PageCache, sums, zero, zero);
    let append = |partition: &mut Partition, at: u64, batches: &[(i64, i32)]| {
        let intents: Vec<Intent> =
            batches.iter().map(|(p, s)| intent(1, idempotent(1, *p, *s), Acks::Leader)).collect();
        let proposal = partition.propose(now(at), &intents);
        let results = partition.written(now(at), &proposal).replies.into_iter().map(|reply| reply.result.is_ok());
        (results.collect::<Vec<_>>(), proposal.crowded_out)
    };
    // There is always room for one. The second is refused in the same group already, and whoever is known goes on.
    assert_eq!(append(&mut partition, 0, &[(1, 0), (2, 0), (1, 1)]), (vec![true, false, true], 1));
    assert_eq!(append(&mut partition, 119_999, &[(2, 0), (-1, -1), (1, 1)]), (vec![false, true, true], 1));
    assert_eq!(partition.offsets().log_end, Offset(3), "the last one was a duplicate");
    let error = partition.propose(now(119_999), &[intent(2, idempotent(1, 3, 0), Acks::Leader)]).placed[0].verdict;
    assert_eq!(error, Verdict::Reject(KafkaError::NotEnoughReplicas));
}

/// A new producer sends its batches one behind the other. The first is refused, and meanwhile there is room.
#[test]
fn a_new_producers_second_batch_is_not_taken_before_its_first() {
    let sums = BatchSums { producers: ProducerStates::with_max_bytes(1), ..BatchSums::default() };
    let zero = Offset::ZERO;
    let mut partition = Partition::lead(NodeId(0), LeaderEpoch(3), Durability::PageCache, sums, zero, zero);
    let mut append = |at: u64, producer: i64, sequence: i32| {
        let proposal = partition.propose(now(at), &[intent(1, idempotent(1, producer, sequence), Acks::Leader)]);
        partition.written(now(at), &proposal).replies[0].result.map(|offset| offset.0)
    };
    assert_eq!(append(0, 1, 0), Ok(0));
    assert_eq!(append(119_999, 2, 0), Err(KafkaError::NotEnoughReplicas));
    assert_eq!(append(120_000, 2, 1), Err(KafkaError::NotEnoughReplicas));
    assert_eq!(append(120_000, 2, 0), Ok(1));
    assert_eq!(append(120_000, 2, 1), Ok(2));
    // Two minutes after the last one was refused nobody's first batch is under way: who was forgotten goes on where it was.
    assert_eq!(append(239_999, 3, 7), Err(KafkaError::NotEnoughReplicas), "the second one may still send again");
    assert_eq!(append(240_000, 3, 7), Err(KafkaError::NotEnoughReplicas), "there is room, since a moment");
    assert_eq!(append(359_999, 3, 7), Ok(3));
}

#[test]
fn page_cache_answers_when_written() {
    let mut partition = leader(Durability::PageCache);
    let effects = write(&mut partition, &[intent(1, header(2), Acks::All)]);
    assert_eq!(effects.replies, [ok(1, 0)]);
    assert!(!effects.flush && effects.visible_moved);
    assert_eq!(partition.offsets().high_watermark, Offset(2));
}

#[test]
fn nothing_moves_before_the_write_has_happened() {
    let mut partition = leader(Durability::PageCache);
    let proposal = partition.propose(now(1), &[intent(1, idempotent(2, 7, 0), Acks::All)]);
    assert_eq!((proposal.first, proposal.end), (Offset(0), Offset(2)));
    assert_eq!(partition.offsets().log_end, Offset(0));
    let effects = partition.write_failed(&proposal, KafkaError::KafkaStorageError, false);
    assert_eq!(effects.replies, [failed(1, KafkaError::KafkaStorageError)]);
    // The sequence has not moved either: the same batch is new.
    let effects = write(&mut partition, &[intent(2, idempotent(2, 7, 0), Acks::All)]);
    assert_eq!(effects.replies, [ok(2, 0)]);
}

#[test]
fn duplicates_get_the_originals_offset_and_wait_as_it_does() {
    let mut partition = leader(Durability::Fsync);
    let batch = idempotent(4, 7, 0);
    let effects = write(&mut partition, &[intent(1, batch, Acks::All), intent(2, batch, Acks::All)]);
    assert_eq!(effects.replies, []);
    assert_eq!(partition.offsets().log_end, Offset(4), "written once");
    let effects = write(&mut partition, &[intent(3, batch, Acks::All)]);
    assert_eq!(effects.replies, [], "a duplicate waits for the original's durability");
    let effects = partition.flushed(Offset(4));
    assert_eq!(effects.replies, [ok(1, 0), ok(2, 0), ok(3, 0)]);
}

#[test]
fn a_duplicate_of_a_failed_write_fails_with_it() {
    let mut partition = leader(Durability::Fsync);
    write(&mut partition, &[intent(1, idempotent(1, 7, 0), Acks::All)]);
    let again = [
        intent(2, idempotent(1, 7, 0), Acks::All),
        intent(3, idempotent(1, 7, 1), Acks::All),
        intent(4, idempotent(1, 7, 1), Acks::All),
    ];
    let proposal = partition.propose(now(1), &again);
    let effects = partition.write_failed(&proposal, KafkaError::KafkaStorageError, false);
    let error = KafkaError::KafkaStorageError;
    assert_eq!(effects.replies, [failed(3, error), failed(4, error)], "the first was written long ago");
    assert_eq!(partition.flushed(Offset(1)).replies, [ok(1, 0), ok(2, 0)]);
}

#[test]
fn gaps_in_sequences_are_refused_and_later_ones_judged_by_what_stands() {
    let mut partition = leader(Durability::PageCache);
    let effects = write(
        &mut partition,
        &[
            intent(1, idempotent(2, 7, 0), Acks::All),
            intent(2, idempotent(2, 7, 9), Acks::All),
            intent(3, idempotent(1, 7, 2), Acks::All),
        ],
    );
    let refused = failed(2, KafkaError::OutOfOrderSequenceNumber);
    assert!(effects.replies.contains(&refused));
    assert!(effects.replies.contains(&ok(1, 0)) && effects.replies.contains(&ok(3, 2)));
}

#[test]
fn waiting_answers_expire_and_their_records_stay() {
    let mut partition = leader(Durability::Fsync);
    write(&mut partition, &[intent(1, header(1), Acks::All)]);
    assert_eq!(partition.next_deadline(), Some(now(0).after(Duration::from_millis(1_000))));
    assert_eq!(partition.expire(now(999)).replies, []);
    assert_eq!(partition.expire(now(1_000)).replies, [failed(1, KafkaError::RequestTimedOut)]);
    assert_eq!(partition.next_deadline(), None);
    assert_eq!(partition.flushed(Offset(1)).replies, []);
    assert_eq!(partition.offsets().high_watermark, Offset(1));
}

#[test]
fn a_failed_flush_ends_everything_that_waits() {
    let mut partition = leader(Durability::Fsync);
    write(&mut partition, &[intent(1, header(1), Acks::All)]);
    let error = KafkaError::KafkaStorageError;
    assert_eq!(partition.flush_failed().replies, [failed(1, error)]);
    let effects = write(&mut partition, &[intent(2, header(1), Acks::Leader)]);
    assert_eq!(effects.replies, [failed(2, error)]);
    assert_eq!(partition.offsets().log_end, Offset(1), "nothing is written to a failed disk");
}

#[test]
fn acks_all_needs_min_insync_replicas() {
    let mut partition = leader(Durability::Fsync);
    partition.set_min_insync(2);
    partition.set_replicas(2);
    let effects = write(&mut partition, &[intent(1, header(1), Acks::All), intent(2, header(1), Acks::Leader)]);
    assert_eq!(effects.replies, [failed(1, KafkaError::NotEnoughReplicas), ok(2, 0)]);
}

#[test]
fn acks_all_needs_no_more_replicas_than_the_partition_has() {
    let mut partition = leader(Durability::Fsync);
    partition.set_min_insync(2);
    let effects = write(&mut partition, &[intent(1, header(1), Acks::All)]);
    assert_eq!((effects.replies, effects.flush), (vec![], true));
    assert_eq!(partition.flushed(Offset(1)).replies, [ok(1, 0)]);
}

#[derive(Clone, Debug)]
enum Step {
    Write(Vec<(i32, u8)>),
    FailedWrite(Vec<(i32, u8)>),
    Flush(u8),
    LogStart(i64),
    Park,
    Expire(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let batches = || prop::collection::vec((1..5i32, 0..3u8), 0..4);
    let step = prop_oneof![
        4 => batches().prop_map(Step::Write),
        1 => batches().prop_map(Step::FailedWrite),
        4 => any::<u8>().prop_map(Step::Flush),
        1 => (0..50i64).prop_map(Step::LogStart),
        1 => Just(Step::Park),
        1 => (0..3_000u64).prop_map(Step::Expire),
    ];
    prop::collection::vec(step, 0..60)
}

proptest! {
    /// Every token is answered at most once and, once all is flushed and expired, exactly once; acks=all never above
    /// the flushed end; watermarks never go back.
    #[test]
    fn answers_come_once_and_never_early(steps in steps(), fsync in any::<bool>()) {
        let durability = if fsync { Durability::Fsync } else { Durability::PageCache };
        let mut partition = leader(durability);
        let (mut next, mut answered, mut ends) = (0u64, std::collections::BTreeMap::new(), std::collections::BTreeMap::new());
        let mut flushed = Offset::ZERO;
        let mut last = partition.offsets();
        for step in steps {
            let effects = match step {
                Step::Write(ref batches) | Step::FailedWrite(ref batches) => {
                    let intents: Vec<Intent> = batches.iter().map(|(records, acks)| {
                        next += 1;
                        let acks = [Acks::None, Acks::Leader, Acks::All][usize::from(*acks)];
                        intent(next, header(*records), acks)
                    }).collect();
                    let proposal = partition.propose(now(1), &intents);
                    for placed in &proposal.placed {
                        if let (Verdict::Append { base_offset }, Acks::All) = (placed.verdict, placed.intent.acks) {
                            ends.insert(placed.intent.token, base_offset.plus(i64::from(placed.intent.header.record_count)));
                        }
                    }
                    if matches!(step, Step::Write(_)) {
                        partition.written(now(1), &proposal)
                    } else {
                        partition.write_failed(&proposal, KafkaError::KafkaStorageError, false)
                    }
                }
                Step::Flush(share) => {
                    let end = partition.offsets().log_end;
                    let to = Offset(flushed.get() + (end.get() - flushed.get()) * i64::from(share) / 255);
                    flushed = flushed.max(to);
                    partition.flushed(to)
                }
                Step::LogStart(to) => { partition.advance_log_start(Offset(to)); Effects::default() }
                Step::Park => {
                    next += 1;
                    let end = partition.offsets().log_end;
                    ends.insert(Token(next), end);
                    partition.park(Token(next), end, None)
                }
                Step::Expire(at) => partition.expire(now(at)),
            };
            for reply in effects.replies {
                prop_assert!(answered.insert(reply.token, reply.result).is_none(), "answered twice");
                if let (Ok(_), Some(end), true) = (reply.result, ends.get(&reply.token), fsync) {
                    prop_assert!(*end <= flushed, "acknowledged before it was flushed");
                }
            }
            let at = partition.offsets();
            prop_assert!(at.log_start <= at.last_stable && at.last_stable <= at.high_watermark && at.high_watermark <= at.log_end);
            prop_assert!(at.high_watermark >= last.high_watermark && at.log_start >= last.log_start);
            last = at;
        }
        let end = partition.offsets().log_end;
        for effects in [partition.flushed(end), partition.expire(now(1_000_000))] {
            for reply in effects.replies {
                prop_assert!(answered.insert(reply.token, reply.result).is_none());
            }
        }
        prop_assert_eq!(answered.len() as u64, next);
        prop_assert_eq!(partition.offsets().high_watermark, end);
    }
}
