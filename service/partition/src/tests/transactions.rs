//! Transactions in one partition (KIP-98, KIP-890): who may begin one, what ends it, and what read_committed may see.

use tidelog_model::Offset;
use tidelog_record::{AbortedTransaction, EndTransactionMarker, MarkerKind};

use super::*;

fn transactional(records: i32, producer: i64, epoch: i16, sequence: i32) -> BatchHeader {
    let header = BatchHeader { producer_epoch: ProducerEpoch(epoch), ..idempotent(records, producer, sequence) };
    BatchHeader { attributes: header.attributes.with_transactional(true), ..header }
}

fn question(header: &BatchHeader) -> Question {
    Question {
        producer_id: header.producer_id,
        producer_epoch: header.producer_epoch,
        sequence: header.base_sequence,
        epoch_per_transaction: true,
    }
}

fn verified(token: u64, header: BatchHeader, verified: Option<Guard>) -> Intent {
    Intent { content: Content::Records { verified }, ..intent(token, header, Acks::Leader) }
}

fn marker(token: u64, kind: MarkerKind, producer: i64, epoch: i16, coordinator_epoch: i32) -> Intent {
    let marker = EndTransactionMarker { kind, coordinator_epoch };
    let (id, epoch) = (ProducerId(producer), ProducerEpoch(epoch));
    let batch = marker.batch(Offset::ZERO, LeaderEpoch(0), id, epoch, Timestamp(9)).unwrap();
    let content = Content::Marker { marker, transaction_version: 2 };
    Intent { content, origin: Origin::Coordinator, ..intent(token, *batch.header(), Acks::All) }
}

/// Asks and, as the coordinator agrees, appends.
fn begin(partition: &mut Partition, token: u64, header: BatchHeader) -> Effects {
    let guard = partition.ask(now(1), &question(&header));
    write(partition, &[verified(token, header, guard)])
}

fn refused(effects: &Effects, token: u64) -> Option<KafkaError> {
    effects.replies.iter().find(|reply| reply.token == Token(token)).and_then(|reply| reply.result.err())
}

#[test]
fn a_transaction_that_nobody_was_asked_about_is_refused() {
    let mut partition = leader(Durability::PageCache);
    let effects = write(&mut partition, &[verified(1, transactional(1, 7, 0, 0), None)]);
    assert_eq!(effects.replies, [failed(1, KafkaError::InvalidTxnState)]);
    assert_eq!(partition.offsets().log_end, Offset(0));
}

#[test]
fn once_it_is_open_its_batches_need_no_word_and_hold_read_committed_back() {
    let mut partition = leader(Durability::PageCache);
    write(&mut partition, &[intent(1, header(3), Acks::Leader)]);
    let first = transactional(2, 7, 0, 0);
    assert_eq!(begin(&mut partition, 2, first).replies, [ok(2, 3)]);
    let next = transactional(2, 7, 0, 2);
    assert_eq!(partition.ask(now(1), &question(&next)), None);
    assert_eq!(write(&mut partition, &[verified(3, next, None)]).replies, [ok(3, 5)]);
    let at = partition.offsets();
    assert_eq!((at.last_stable, at.high_watermark), (Offset(3), Offset(7)));
    let effects = write(&mut partition, &[marker(4, MarkerKind::Commit, 7, 1, 0)]);
    assert_eq!(effects.replies, [ok(4, 7)]);
    assert!(effects.visible_moved);
    assert_eq!(partition.offsets().last_stable, Offset(8));
}

#[test]
fn a_marker_between_the_word_and_the_append_takes_the_word_back() {
    let mut partition = leader(Durability::PageCache);
    let first = transactional(1, 7, 0, 0);
    let guard = partition.ask(now(1), &question(&first));
    // The coordinator has agreed; then the transaction times out and is aborted before the batch arrives.
    write(&mut partition, &[marker(1, MarkerKind::Abort, 7, 1, 0)]);
    // The producer begins another one, which this partition is not part of: an old word must not pass for the new one.
    let second = transactional(1, 7, 1, 0);
    let newer = partition.ask(now(1), &question(&second));
    assert_ne!(guard, newer);
    let effects = write(&mut partition, &[verified(2, second, guard)]);
    assert_eq!(effects.replies, [failed(2, KafkaError::InvalidTxnState)]);
    assert_eq!(partition.offsets().last_stable, partition.offsets().high_watermark, "nothing hangs");
    assert_eq!(write(&mut partition, &[verified(3, second, newer)]).replies, [ok(3, 1)]);
}

#[test]
fn a_marker_in_the_same_write_takes_the_word_back_too() {
    let mut partition = leader(Durability::PageCache);
    let first = transactional(1, 7, 0, 0);
    let guard = partition.ask(now(1), &question(&first));
    let late = transactional(1, 7, 1, 0);
    let effects = write(
        &mut partition,
        &[verified(1, first, guard), marker(2, MarkerKind::Commit, 7, 1, 0), verified(3, late, guard)],
    );
    assert_eq!(refused(&effects, 3), Some(KafkaError::InvalidTxnState));
    assert_eq!(partition.offsets().last_stable, Offset(2));
}

#[test]
fn batches_of_one_producer_that_ask_together_share_the_word() {
    let mut partition = leader(Durability::PageCache);
    let (first, second) = (transactional(1, 7, 0, 0), transactional(1, 7, 0, 1));
    let guards = (partition.ask(now(1), &question(&first)), partition.ask(now(1), &question(&second)));
    assert_eq!(guards.0, guards.1);
    let effects = write(&mut partition, &[verified(1, first, guards.0), verified(2, second, guards.1)]);
    assert_eq!(effects.replies, [ok(1, 0), ok(2, 1)]);
}

#[test]
fn a_later_batch_does_not_overtake_one_whose_word_is_still_awaited() {
    let mut partition = leader(Durability::PageCache);
    let (first, second) = (transactional(1, 7, 0, 0), transactional(1, 7, 0, 1));
    partition.ask(now(1), &question(&first));
    let guard = partition.ask(now(1), &question(&second));
    let effects = write(&mut partition, &[verified(2, second, guard)]);
    assert_eq!(effects.replies, [failed(2, KafkaError::OutOfOrderSequenceNumber)]);
}

#[test]
fn what_a_fenced_instance_asks_does_not_stop_the_one_that_writes() {
    let mut partition = leader(Durability::PageCache);
    begin(&mut partition, 1, transactional(4, 7, 3, 0));
    partition.ask(now(1), &question(&transactional(1, 7, 2, 1)));
    let next = transactional(1, 7, 3, 4);
    assert_eq!(write(&mut partition, &[verified(2, next, None)]).replies, [ok(2, 4)]);
}

#[test]
fn with_an_epoch_per_transaction_an_unknown_producer_begins_at_zero() {
    let mut partition = leader(Durability::PageCache);
    let lost = transactional(1, 7, 0, 5);
    assert_eq!(begin(&mut partition, 1, lost).replies, [failed(1, KafkaError::OutOfOrderSequenceNumber)]);
    // Before it the producer may go on wherever it is: what it wrote may be gone by retention.
    let mut partition = leader(Durability::PageCache);
    let guard = partition.ask(now(1), &Question { epoch_per_transaction: false, ..question(&lost) });
    assert_eq!(write(&mut partition, &[verified(1, lost, guard)]).replies, [ok(1, 0)]);
}

#[test]
fn a_failed_write_leaves_the_word_standing() {
    let mut partition = leader(Durability::PageCache);
    let first = transactional(1, 7, 0, 0);
    let guard = partition.ask(now(1), &question(&first));
    let proposal = partition.propose(now(1), &[verified(1, first, guard)]);
    partition.write_failed(&proposal, KafkaError::KafkaStorageError, false);
    assert_eq!(write(&mut partition, &[verified(2, first, guard)]).replies, [ok(2, 0)]);
}

#[test]
fn an_open_transaction_admits_nothing_outside_of_it() {
    let mut partition = leader(Durability::PageCache);
    begin(&mut partition, 1, transactional(1, 7, 0, 0));
    let effects = write(&mut partition, &[intent(2, idempotent(1, 7, 1), Acks::Leader)]);
    assert_eq!(effects.replies, [failed(2, KafkaError::InvalidTxnState)]);
    let older = BatchHeader { producer_epoch: ProducerEpoch(-1), ..transactional(1, 7, 0, 1) };
    assert_eq!(write(&mut partition, &[verified(3, older, None)]).replies, [failed(3, KafkaError::InvalidTxnState)]);
}

#[test]
fn markers_of_older_epochs_and_older_coordinators_are_fenced() {
    let mut partition = leader(Durability::PageCache);
    begin(&mut partition, 1, transactional(1, 7, 4, 0));
    let effects = write(&mut partition, &[marker(2, MarkerKind::Abort, 7, 4, 5)]);
    assert_eq!(effects.replies, [failed(2, KafkaError::InvalidProducerEpoch)], "each transaction has its own epoch");
    assert_eq!(write(&mut partition, &[marker(3, MarkerKind::Commit, 7, 5, 5)]).replies, [ok(3, 1)]);
    let effects = write(&mut partition, &[marker(4, MarkerKind::Abort, 7, 6, 4)]);
    assert_eq!(effects.replies, [failed(4, KafkaError::TransactionCoordinatorFenced)]);
    // The coordinator repeats itself after a restart: that does no harm.
    assert_eq!(write(&mut partition, &[marker(5, MarkerKind::Commit, 7, 5, 6)]).replies, [ok(5, 2)]);
}

#[test]
fn aborted_transactions_are_named_with_the_end_of_what_is_stable_after_them() {
    let mut partition = leader(Durability::PageCache);
    begin(&mut partition, 1, transactional(2, 7, 0, 0));
    begin(&mut partition, 2, transactional(3, 8, 0, 0));
    let guard = partition.ask(now(1), &question(&transactional(1, 9, 0, 0)));
    let intents = [
        verified(3, transactional(1, 9, 0, 0), guard),
        marker(4, MarkerKind::Abort, 8, 1, 0),
        marker(5, MarkerKind::Commit, 7, 1, 0),
        marker(6, MarkerKind::Abort, 9, 1, 0),
        marker(7, MarkerKind::Abort, 10, 1, 0),
    ];
    let proposal = partition.propose(now(1), &intents);
    let aborted = |producer, first, last, stable| AbortedTransaction {
        producer_id: ProducerId(producer),
        first_offset: Offset(first),
        last_offset: Offset(last),
        last_stable_offset: Offset(stable),
    };
    // While 7 is open nothing after its first record is stable; a producer without records here aborts nothing.
    assert_eq!(proposal.aborted, [aborted(8, 2, 6, 0), aborted(9, 5, 8, 9)]);
    partition.written(now(1), &proposal);
    assert_eq!(partition.offsets().last_stable, Offset(10));
}

#[test]
fn what_is_stable_waits_until_the_marker_is_durable() {
    let mut partition = leader(Durability::Fsync);
    begin(&mut partition, 1, transactional(1, 7, 0, 0));
    partition.flushed(Offset(1));
    let effects = write(&mut partition, &[marker(2, MarkerKind::Commit, 7, 1, 0)]);
    assert_eq!(effects.replies, [], "a marker that a power cut may take is not answered");
    assert_eq!(partition.offsets().last_stable, Offset(0));
    let effects = partition.flushed(Offset(2));
    assert_eq!(effects.replies, [ok(2, 1)]);
    assert_eq!(partition.offsets().last_stable, Offset(2));
}

#[test]
fn a_retried_batch_of_a_transaction_that_has_ended_is_still_a_duplicate() {
    let mut partition = leader(Durability::PageCache);
    let first = transactional(2, 7, 3, 0);
    begin(&mut partition, 1, first);
    // As coordinators wrote them before each transaction had its own epoch.
    let old = Content::Marker {
        marker: EndTransactionMarker { kind: MarkerKind::Commit, coordinator_epoch: 0 },
        transaction_version: 0,
    };
    write(&mut partition, &[Intent { content: old, ..marker(2, MarkerKind::Commit, 7, 3, 0) }]);
    assert_eq!(write(&mut partition, &[verified(3, first, None)]).replies, [ok(3, 0)]);
    assert_eq!(partition.offsets().log_end, Offset(3));
}

#[test]
fn questions_are_bounded_and_forgotten_in_time() {
    let mut partition = leader(Durability::PageCache);
    let first = transactional(1, 0, 0, 0);
    let guard = partition.ask(now(0), &question(&first));
    let most = crate::limits::MAX_VERIFICATIONS as i64;
    for producer in 1..=most {
        partition.ask(now(10), &question(&transactional(1, producer, 0, 0)));
    }
    assert_eq!(write(&mut partition, &[verified(1, first, guard)]).replies, [failed(1, KafkaError::InvalidTxnState)]);
    let last = transactional(1, most, 0, 0);
    let guard = partition.ask(now(20), &question(&last));
    partition.expire_producers(now(1_000), Duration::from_millis(990));
    assert_eq!(write(&mut partition, &[verified(2, last, guard)]).replies, [failed(2, KafkaError::InvalidTxnState)]);
}

#[test]
fn open_transactions_of_a_recovered_log_are_open_again() {
    let mut partition = leader(Durability::PageCache);
    begin(&mut partition, 1, transactional(2, 7, 0, 0));
    begin(&mut partition, 2, transactional(1, 8, 0, 0));
    write(&mut partition, &[marker(3, MarkerKind::Abort, 7, 1, 0)]);
    let snapshot = partition.sums().producers.encode_snapshot();
    let producers = tidelog_record::ProducerStates::decode_snapshot(&snapshot, now(2), usize::MAX).unwrap();
    let sums = BatchSums::load(partition.sums().epochs.clone(), producers);
    let mut partition =
        Partition::lead(NodeId(0), LeaderEpoch(4), Durability::PageCache, sums, Offset::ZERO, Offset(4));
    assert_eq!(partition.offsets().last_stable, Offset(2));
    let next = transactional(1, 8, 0, 1);
    assert_eq!(partition.ask(now(2), &question(&next)), None, "the coordinator knows of it");
    write(&mut partition, &[marker(4, MarkerKind::Commit, 8, 1, 1)]);
    assert_eq!(partition.offsets().last_stable, Offset(5));
}
