//! Producer states against a model that remembers everything, and Kafka's rules case by case.

use std::time::Duration;

use proptest::prelude::*;
use tidelog_model::{KafkaError, Offset, ProducerId, Sequence, Timestamp};

use super::{at, header, transactional};
use crate::limits::{MOST_PRODUCER_STATE_FACTOR, PRODUCER_MAY_RETRY};
use crate::producer::ENTRY_BYTES;
use crate::{BatchHeader, EndTransactionMarker, MarkerKind, Origin, ProducerEntry, ProducerStates, Verdict};

const COMMIT: EndTransactionMarker = EndTransactionMarker { kind: MarkerKind::Commit, coordinator_epoch: 3 };

fn marker_header(producer: i64, epoch: i16) -> BatchHeader {
    let header = transactional(header(producer, epoch, -1, 1));
    BatchHeader { attributes: header.attributes.with_control(true), ..header }
}

fn duplicate(base: i64, last: i64) -> Result<Verdict, KafkaError> {
    Ok(Verdict::Duplicate { base_offset: Offset(base), last_offset: Offset(last), timestamp: Timestamp(7) })
}

/// One batch that a model producer tries: epoch step, sequence relative to what is next, records.
type Attempt = (i16, i32, i32);

proptest! {
    #[test]
    fn verdicts_are_those_of_a_model_with_full_memory(
        start in prop_oneof![Just(0), 0i32..=i32::MAX, (i32::MAX - 20)..=i32::MAX],
        attempts in prop::collection::vec((prop_oneof![9 => Just(0i16), 1 => -1i16..=1], prop_oneof![3 => Just(0i32), 2 => -12i32..12], 1i32..4), 1..60),
    ) {
        let mut states = ProducerStates::new();
        // The model: every batch of the newest epoch, as (first sequence, count, base offset).
        let mut epoch = 10i16;
        let mut history: Vec<(Sequence, i32, i64)> = Vec::new();
        let mut end = 0i64;
        for (step, shift, count) in attempts.into_iter() as std::vec::IntoIter<Attempt> {
            let next = history.last().map_or(Sequence(start), |(first, count, _)| first.plus(*count));
            let fresh = history.is_empty() && end > 0;
            let sequence = if step == 1 && shift == 0 { Sequence(0) } else { next.plus(shift) };
            let batch = header(1, epoch + step, sequence.get(), count);
            let known = history.iter().rev().take(5).find(|(first, n, _)| step == 0 && (*first, *n) == (sequence, count));
            let expected = match known {
                Some((_, n, base)) => duplicate(*base, base + i64::from(*n) - 1),
                None if end == 0 => Ok(Verdict::Append),
                None if step < 0 => Err(KafkaError::InvalidProducerEpoch),
                None if step > 0 || fresh => if sequence == Sequence(0) { Ok(Verdict::Append) } else { Err(KafkaError::OutOfOrderSequenceNumber) },
                None if sequence == next => Ok(Verdict::Append),
                None => Err(KafkaError::OutOfOrderSequenceNumber),
            };
            let before = states.clone();
            prop_assert_eq!(states.check(&batch), expected);
            prop_assert_eq!(&states, &before, "a check moves nothing");
            if expected == Ok(Verdict::Append) {
                states.apply(&batch, Offset(end), at(1));
                if step != 0 && end > 0 {
                    history.clear();
                }
                epoch += step;
                history.push((sequence, count, end));
                end += i64::from(count);
            }
        }
        prop_assert!(states.get(ProducerId(1)).is_none_or(|entry| entry.batches().len() == history.len().min(5)));
    }

    #[test]
    fn states_stay_within_their_bytes_and_nobody_is_forgotten_who_may_send_again(
        ids in prop::collection::vec((0i64..40, 0u64..60), 1..200),
        max in 1usize..20,
    ) {
        let mut states = ProducerStates::with_max_bytes(max * ENTRY_BYTES);
        let most = max * MOST_PRODUCER_STATE_FACTOR;
        let mut second = 0;
        let mut seen = std::collections::BTreeMap::new();
        for (offset, (id, step)) in ids.iter().enumerate() {
            second += step;
            let known = states.get(ProducerId(*id)).is_some();
            let room = states.has_room(0, at(second));
            states.apply(&header(*id, 0, 0, 1), Offset(offset as i64), at(second));
            seen.insert(*id, second);
            let young = |seen: &u64| second < seen + PRODUCER_MAY_RETRY.as_secs();
            prop_assert!(states.len() <= most);
            prop_assert!(states.len() <= max || states.iter().all(|entry| young(&seen[&entry.producer_id.get()])));
            prop_assert!(states.get(ProducerId(*id)).is_some(), "the newest stays");
            if known || room {
                let lost = seen.iter().find(|(id, seen)| young(seen) && states.get(ProducerId(**id)).is_none());
                prop_assert!(lost.is_none(), "{:?} was forgotten at {}", lost, second);
            } else {
                // What must be remembered without room takes the place of whoever was silent longest.
                seen.retain(|id, _| states.get(ProducerId(*id)).is_some());
            }
        }
        let distinct = ids.iter().map(|(id, _)| id).collect::<std::collections::BTreeSet<_>>().len();
        prop_assert!(states.evicted() as usize >= distinct - states.len());
    }
}

/// A burst of short-lived producers: as many as may be young together, then no more until the first of them are silent.
#[test]
fn new_producers_wait_while_all_others_may_send_again() {
    let mut states = ProducerStates::with_max_bytes(2 * ENTRY_BYTES);
    let most = 2 * MOST_PRODUCER_STATE_FACTOR as i64;
    for id in 0..most {
        assert!(states.has_room(0, at(0)), "{id}");
        states.apply(&header(id, 0, 0, 1), Offset(id), at(id as u64));
    }
    let silent = PRODUCER_MAY_RETRY.as_secs();
    assert!(!states.has_room(0, at(silent - 1)));
    assert!(states.has_room(0, at(silent)), "the first may not send again any more");
    assert!(!states.has_room(1, at(silent)), "but another one is about to take its place");
    assert!(states.has_room(1, at(silent + 1)));
    // Everybody is still known who may send again; the others are beyond the room of those that may not.
    states.apply(&header(most, 0, 0, 1), Offset(most), at(silent + 1));
    assert_eq!(states.iter().map(|entry| entry.producer_id.get()).collect::<Vec<_>>(), (2..=most).collect::<Vec<_>>());
    assert_eq!(states.evicted(), 2);
    // Without a new one, too, as time goes by.
    assert_eq!(states.expire(at(10 * silent), Duration::from_secs(86_400)), 0);
    assert_eq!(states.iter().map(|entry| entry.producer_id.get()).collect::<Vec<_>>(), [most - 1, most]);
}

/// A snapshot with more than there is room for: whose last batch is oldest goes, whatever the ids are.
#[test]
fn of_what_is_loaded_together_the_oldest_goes() {
    let mut states = ProducerStates::with_max_bytes(ENTRY_BYTES);
    let most = MOST_PRODUCER_STATE_FACTOR as i64;
    for id in 0..=most {
        let batch = BatchHeader { max_timestamp: Timestamp(1_000 - id), ..header(id, 0, 0, 1) };
        states.apply(&batch, Offset(id), at(5));
    }
    // The one that comes now is not asked.
    assert_eq!(states.iter().map(|entry| entry.producer_id.get()).collect::<Vec<_>>(), [0, 1, 2, 4]);
}

#[test]
fn batches_without_a_producer_move_nothing() {
    let mut states = ProducerStates::new();
    let plain = header(-1, -1, -1, 2);
    assert_eq!(states.check(&plain), Ok(Verdict::Append));
    states.apply(&plain, Offset(0), at(0));
    assert!(states.is_empty());
}

#[test]
fn sequences_wrap_and_retries_across_the_wrap_are_found() {
    let mut states = ProducerStates::new();
    states.apply(&header(1, 0, i32::MAX - 1, 4), Offset(10), at(0));
    assert_eq!(states.get(ProducerId(1)).unwrap().last_sequence(), Sequence(1));
    assert_eq!(states.check(&header(1, 0, i32::MAX - 1, 4)), duplicate(10, 13));
    assert_eq!(states.check(&header(1, 0, 2, 1)), Ok(Verdict::Append));
    assert_eq!(states.check(&header(1, 0, i32::MAX, 1)), Err(KafkaError::OutOfOrderSequenceNumber));
}

#[test]
fn only_the_last_five_are_known() {
    let mut states = ProducerStates::new();
    for index in 0..6 {
        states.apply(&header(1, 0, index, 1), Offset(i64::from(index)), at(0));
    }
    assert_eq!(states.check(&header(1, 0, 0, 1)), Err(KafkaError::OutOfOrderSequenceNumber));
    for index in 1..6 {
        assert_eq!(states.check(&header(1, 0, index, 1)), duplicate(i64::from(index), i64::from(index)));
    }
}

#[test]
fn after_a_snapshot_older_sequences_are_duplicates_without_offset() {
    let mut states = ProducerStates::new();
    for index in 0..4 {
        states.apply(&header(1, 0, index * 10, 10), Offset(i64::from(index * 10)), at(0));
    }
    let mut loaded = ProducerStates::decode_snapshot(&states.encode_snapshot(), at(100), usize::MAX).unwrap();
    assert_eq!(loaded.check(&header(1, 0, 30, 10)), duplicate(30, 39));
    assert_eq!(loaded.check(&header(1, 0, 20, 10)), Err(KafkaError::DuplicateSequenceNumber));
    assert_eq!(loaded.check(&header(1, 0, 35, 5)), Err(KafkaError::DuplicateSequenceNumber));
    // Partly new is not a duplicate: nobody may take it for stored.
    assert_eq!(loaded.check(&header(1, 0, 35, 10)), Err(KafkaError::OutOfOrderSequenceNumber));
    assert_eq!(loaded.check(&header(1, 0, 41, 1)), Err(KafkaError::OutOfOrderSequenceNumber));
    assert_eq!(loaded.check(&header(1, 0, 40, 10)), Ok(Verdict::Append));
    for index in 4..8 {
        loaded.apply(&header(1, 0, index * 10, 10), Offset(i64::from(index * 10)), at(101));
    }
    // Five batches are known again: Kafka's rule.
    assert_eq!(loaded.check(&header(1, 0, 20, 10)), Err(KafkaError::OutOfOrderSequenceNumber));
    loaded.apply(&header(1, 1, 0, 1), Offset(80), at(102));
    assert_eq!(loaded.check(&header(1, 1, 5, 1)), Err(KafkaError::OutOfOrderSequenceNumber));
}

#[test]
fn epochs_fence() {
    let mut states = ProducerStates::new();
    // Unknown: any epoch, any sequence (its records may be gone by retention).
    assert_eq!(states.check(&header(1, 5, 77, 1)), Ok(Verdict::Append));
    states.apply(&header(1, 5, 77, 1), Offset(0), at(0));
    assert_eq!(states.check(&header(1, 4, 78, 1)), Err(KafkaError::InvalidProducerEpoch));
    assert_eq!(states.check(&header(1, 6, 78, 1)), Err(KafkaError::OutOfOrderSequenceNumber));
    assert_eq!(states.check(&header(1, 6, 0, 1)), Ok(Verdict::Append));
    states.apply(&header(1, 6, 0, 1), Offset(1), at(0));
    assert_eq!(states.check(&header(1, 5, 77, 1)), Err(KafkaError::InvalidProducerEpoch), "no duplicate across epochs");
}

#[test]
fn transactions_and_markers() {
    let mut states = ProducerStates::new();
    let first = transactional(header(1, 0, 0, 2));
    states.apply(&first, Offset(50), at(0));
    assert_eq!(states.get(ProducerId(1)).unwrap().open_transaction, Some(Offset(50)));
    assert_eq!(states.check(&header(1, 0, 2, 1)), Err(KafkaError::InvalidTxnState), "not transactional");
    states.apply(&transactional(header(1, 0, 2, 1)), Offset(52), at(0));
    let entry = states.entry(ProducerId(1));
    assert_eq!(entry.open_transaction, Some(Offset(50)));
    // Until version 2 the marker has the transaction's epoch, from then on a newer one (KIP-890).
    assert_eq!(entry.check_marker(&marker_header(1, 0), COMMIT, 1), Ok(()));
    assert_eq!(entry.check_marker(&marker_header(1, 0), COMMIT, 2), Err(KafkaError::InvalidProducerEpoch));
    assert_eq!(entry.check_marker(&marker_header(1, 1), COMMIT, 2), Ok(()));
    states.apply_marker(&marker_header(1, 1), COMMIT, at(1));
    let entry = states.entry(ProducerId(1));
    assert_eq!((entry.open_transaction, entry.coordinator_epoch, entry.epoch.get()), (None, 3, 1));
    assert_eq!(entry.batches(), []);
    // A retried marker passes, an older coordinator or epoch does not.
    assert_eq!(entry.check_marker(&marker_header(1, 1), COMMIT, 2), Ok(()));
    let older = EndTransactionMarker { coordinator_epoch: 2, ..COMMIT };
    assert_eq!(entry.check_marker(&marker_header(1, 1), older, 2), Err(KafkaError::TransactionCoordinatorFenced));
    assert_eq!(entry.check_marker(&marker_header(1, 0), COMMIT, 1), Err(KafkaError::InvalidProducerEpoch));
    // The marker's epoch starts at sequence 0.
    assert_eq!(states.check(&transactional(header(1, 1, 3, 1))), Err(KafkaError::OutOfOrderSequenceNumber));
    assert_eq!(states.check(&transactional(header(1, 1, 0, 1))), Ok(Verdict::Append));
    // With the same epoch (version 1) sequences go on.
    let mut same = ProducerStates::new();
    same.apply(&transactional(header(2, 0, 0, 2)), Offset(0), at(0));
    same.apply_marker(&marker_header(2, 0), COMMIT, at(0));
    assert_eq!(same.check(&transactional(header(2, 0, 2, 1))), Ok(Verdict::Append));
    assert_eq!(same.check(&transactional(header(2, 0, 0, 2))), duplicate(0, 1));
}

#[test]
fn coordinators_are_checked_less() {
    let mut states = ProducerStates::new();
    states.apply(&header(1, 5, 0, 1), Offset(0), at(0));
    let commit = transactional(header(1, 5, -1, 1));
    assert_eq!(states.check_from(&commit, Origin::Coordinator, None), Ok(Verdict::Append));
    let old = transactional(header(1, 4, -1, 1));
    assert_eq!(states.check_from(&old, Origin::Coordinator, None), Err(KafkaError::InvalidProducerEpoch));
}

#[test]
fn a_callers_overlay_stands_for_what_is_pending() {
    let states = ProducerStates::new();
    let mut pending: ProducerEntry = states.entry(ProducerId(1));
    pending.apply(&header(1, 0, 0, 3), Offset(100), at(0));
    let check = |header: &BatchHeader| states.check_from(header, Origin::Client, Some(&pending));
    assert_eq!(check(&header(1, 0, 0, 3)), duplicate(100, 102));
    assert_eq!(check(&header(1, 0, 3, 1)), Ok(Verdict::Append));
    assert_eq!(check(&header(1, 0, 4, 1)), Err(KafkaError::OutOfOrderSequenceNumber));
    assert!(states.is_empty());
}

#[test]
fn silent_producers_expire_but_not_those_in_a_transaction() {
    let mut states = ProducerStates::new();
    states.apply(&header(1, 0, 0, 1), Offset(0), at(10));
    states.apply(&transactional(header(2, 0, 0, 1)), Offset(1), at(10));
    states.apply(&header(3, 0, 0, 1), Offset(2), at(20));
    states.apply(&header(1, 0, 1, 1), Offset(3), at(15));
    let day = Duration::from_secs(100);
    assert_eq!(states.expire(at(114), day), 0);
    assert_eq!(states.expire(at(115), day), 1);
    assert_eq!(states.expire(at(1000), day), 1);
    assert_eq!(states.iter().map(|entry| entry.producer_id.get()).collect::<Vec<_>>(), [2]);
    states.apply_marker(&marker_header(2, 0), COMMIT, at(1000));
    assert_eq!(states.expire(at(1100), day), 1);
    assert!(states.is_empty());
}

#[test]
fn open_transactions_are_limited() {
    let mut states = ProducerStates::new();
    for id in 0..crate::limits::MAX_OPEN_TRANSACTIONS as i64 {
        let open = transactional(header(id, 0, 0, 1));
        assert_eq!(states.check(&open), Ok(Verdict::Append));
        states.apply(&open, Offset(id), at(0));
    }
    assert_eq!(states.check(&transactional(header(-2, 0, 0, 1))), Ok(Verdict::Append), "no producer at all");
    assert_eq!(states.check(&transactional(header(1 << 40, 0, 0, 1))), Err(KafkaError::InvalidTxnState));
    assert_eq!(states.check(&header(1 << 40, 0, 0, 1)), Ok(Verdict::Append));
    assert_eq!(states.check(&transactional(header(5, 0, 1, 1))), Ok(Verdict::Append), "one that is open goes on");
    states.apply_marker(&marker_header(5, 0), COMMIT, at(1));
    assert_eq!(states.check(&transactional(header(1 << 40, 0, 0, 1))), Ok(Verdict::Append));
}
