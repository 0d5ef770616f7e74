//! Leader epochs and transactions against models that remember the whole log.

use proptest::prelude::*;
use tidelog_model::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Timestamp};

use super::{at, header, transactional};
use crate::{
    AbortedTransactions, BatchHeader, BatchSums, EndTransactionMarker, EpochEntry, LeaderEpochs, MarkerKind,
    Transactions,
};

fn epochs(entries: &[(i32, i64)]) -> LeaderEpochs {
    let mut epochs = LeaderEpochs::new();
    for (epoch, start) in entries {
        assert!(epochs.assign(LeaderEpoch(*epoch), Offset(*start)));
    }
    epochs
}

fn list(epochs: &LeaderEpochs) -> Vec<(i32, i64)> {
    epochs.entries().iter().map(|entry| (entry.epoch.get(), entry.start.get())).collect()
}

#[test]
fn offset_for_leader_epoch_answers_as_kafka_does() {
    let epochs = epochs(&[(2, 10), (4, 20), (7, 30)]);
    let end = |epoch| {
        let (epoch, offset) = epochs.end_offset_for(LeaderEpoch(epoch), Offset(50));
        (epoch.get(), offset.get())
    };
    assert_eq!(end(7), (7, 50), "the latest ends at the log's end");
    assert_eq!(end(2), (2, 20));
    assert_eq!(end(4), (4, 30));
    assert_eq!(end(3), (2, 20), "the largest not above the one asked for (KIP-279)");
    assert_eq!(end(6), (4, 30));
    assert_eq!(end(1), (1, 10), "older than all: the log starts behind it");
    assert_eq!(end(8), (-1, -1), "newer than all");
    assert_eq!(end(-1), (-1, -1));
    assert_eq!(LeaderEpochs::new().end_offset_for(LeaderEpoch(0), Offset(5)), (LeaderEpoch::NONE, Offset::NONE));
    assert_eq!(epochs.epoch_at(Offset(9)), None);
    assert_eq!(epochs.epoch_at(Offset(19)), Some(LeaderEpoch(2)));
    assert_eq!(epochs.epoch_at(Offset(99)), Some(LeaderEpoch(7)));
}

#[test]
fn assigning_removes_contradictions() {
    let mut epochs = epochs(&[(2, 10), (4, 20), (7, 30)]);
    assert!(!epochs.assign(LeaderEpoch(7), Offset(35)), "known");
    assert!(!epochs.assign(LeaderEpoch(-1), Offset(35)), "unknown epoch");
    assert!(epochs.assign(LeaderEpoch(8), Offset(30)), "epoch 7 wrote nothing");
    assert_eq!(list(&epochs), [(2, 10), (4, 20), (8, 30)]);
    assert!(epochs.assign(LeaderEpoch(9), Offset(15)));
    assert_eq!(list(&epochs), [(2, 10), (9, 15)]);
}

#[test]
fn truncation_follows_the_log() {
    let all = epochs(&[(2, 10), (4, 20), (7, 30)]);
    let mut cut = all.clone();
    assert!(!cut.truncate_from_end(Offset(31)));
    assert!(cut.truncate_from_end(Offset(30)));
    assert_eq!(list(&cut), [(2, 10), (4, 20)]);
    let mut cut = all.clone();
    assert!(!cut.truncate_from_start(Offset(9)));
    assert!(!cut.truncate_from_start(Offset(10)));
    assert!(cut.truncate_from_start(Offset(25)));
    assert_eq!(list(&cut), [(4, 25), (7, 30)]);
    assert!(cut.truncate_from_start(Offset(30)));
    assert_eq!(cut.earliest(), Some(EpochEntry { epoch: LeaderEpoch(7), start: Offset(30) }));
    assert_eq!(list(&all.range(Offset(12), Offset(30))), [(2, 12), (4, 20)]);
}

#[test]
fn checkpoints_that_lie_are_refused() {
    let text = epochs(&[(0, 0), (3, 5)]).encode();
    assert_eq!(text, "0\n2\n0 0\n3 5\n");
    assert_eq!(list(&LeaderEpochs::decode(&text).unwrap()), [(0, 0), (3, 5)]);
    for bad in [
        "",
        "1\n0\n",
        "0\n",
        "0\nx\n",
        "0\n-1\n",
        "0\n1\n",
        "0\n0\n0 0\n",
        "0\n1\n0\n",
        "0\n1\nx 0\n",
        "0\n1\n0 x\n",
        "0\n2\n3 5\n3 6\n",
        "0\n2\n3 5\n2 6\n",
        "0\n2\n3 5\n4 5\n",
        "0\n1\n-1 5\n",
        "0\n99999999999\n0 0\n",
    ] {
        assert!(LeaderEpochs::decode(bad).is_err(), "{bad:?}");
    }
}

proptest! {
    #[test]
    fn epochs_agree_with_a_log_that_knows_each_records_epoch(steps in prop::collection::vec((0i32..3, 1i64..5), 1..20), cut in 0i64..60, start in 0i64..60) {
        let (mut epochs, mut log, mut epoch) = (LeaderEpochs::new(), Vec::new(), 0);
        for (step, count) in steps {
            epoch += step;
            epochs.assign(LeaderEpoch(epoch), Offset(log.len() as i64));
            log.extend((0..count).map(|_| epoch));
        }
        prop_assert_eq!(&LeaderEpochs::decode(&epochs.encode()).unwrap(), &epochs);
        log.truncate(cut as usize);
        epochs.truncate_from_end(Offset(cut));
        let first = start.min(log.len() as i64);
        epochs.truncate_from_start(Offset(first));
        for (offset, epoch) in log.iter().enumerate().skip(first as usize) {
            prop_assert_eq!(epochs.epoch_at(Offset(offset as i64)), Some(LeaderEpoch(*epoch)));
        }
        for asked in log.get(first as usize..).unwrap_or_default() {
            let end = log.iter().rposition(|epoch| epoch <= asked).unwrap() as i64 + 1;
            prop_assert_eq!(epochs.end_offset_for(LeaderEpoch(*asked), Offset(log.len() as i64)), (LeaderEpoch(*asked), Offset(end)));
        }
    }

    #[test]
    fn the_last_stable_offset_is_that_of_the_whole_log(
        steps in prop::collection::vec((0i64..4, 0u8..4, 0i64..6), 1..60),
    ) {
        let mut sums = BatchSums::default();
        let mut index = AbortedTransactions::new();
        // The model: (first, marker offset, aborted) of every transaction.
        let mut all: Vec<(i64, i64, Option<i64>, bool)> = Vec::new();
        let (mut end, mut watermark) = (0i64, 0i64);
        for (producer, action, advance) in steps {
            let open = all.iter_mut().find(|(id, _, marker, _)| *id == producer && marker.is_none());
            let base = transactional(header(producer, 0, 0, 2));
            let h = BatchHeader { base_offset: Offset(end), leader_epoch: LeaderEpoch(0), ..base };
            if action < 2 {
                if open.is_none() {
                    all.push((producer, end, None, false));
                }
                prop_assert_eq!(sums.apply(&h, None, at(0)), None);
            } else {
                let kind = if action == 2 { MarkerKind::Commit } else { MarkerKind::Abort };
                let marker = EndTransactionMarker { kind, coordinator_epoch: 0 };
                let h = BatchHeader { attributes: h.attributes.with_control(true), ..h };
                let had = open.map(|open| { open.2 = Some(end); open.3 = action == 3; open.1 });
                let ended = sums.apply(&h, Some(marker), at(0));
                prop_assert_eq!(ended.map(|ended| ended.first_offset.get()), had);
                if let Some(aborted) = ended.and_then(|ended| ended.aborted()) {
                    prop_assert!(index.push(aborted));
                }
            }
            end += 2;
            watermark = (watermark + advance).min(end);
            if advance % 2 == 0 {
                sums.transactions.advance(Offset(watermark));
            }
            let undecided = all.iter().filter(|(_, _, marker, _)| marker.is_none_or(|marker| marker >= watermark));
            let stable = undecided.map(|(_, first, _, _)| *first).fold(watermark, i64::min);
            prop_assert_eq!(sums.transactions.last_stable_offset(Offset(watermark)), Offset(stable));
        }
        let open = all.iter().filter(|(_, _, marker, _)| marker.is_none()).count();
        prop_assert_eq!(sums.transactions.open_count(), open);
        let loaded = BatchSums::load(LeaderEpochs::new(), sums.producers.clone()).transactions;
        prop_assert_eq!(loaded.open().collect::<Vec<_>>(), sums.transactions.open().collect::<Vec<_>>());
        // The index finds exactly the aborted transactions that touch a stable range.
        prop_assert_eq!(&AbortedTransactions::decode(&index.encode()).unwrap(), &index);
        let stable = sums.transactions.last_stable_offset(Offset(watermark)).get();
        for from in 0..stable {
            for to in from + 1..=stable {
                let mut found = Vec::new();
                index.collect(Offset(from), Offset(to), &mut found);
                let wanted = all.iter().filter(|(_, first, marker, aborted)| *aborted && *first < to && marker.unwrap() >= from);
                let mut wanted: Vec<(i64, i64)> = wanted.map(|(id, first, _, _)| (*id, *first)).collect();
                let mut ours: Vec<(i64, i64)> = found.iter().map(|t| (t.producer_id.get(), t.first_offset.get())).collect();
                wanted.sort_unstable();
                ours.sort_unstable();
                prop_assert_eq!(ours, wanted, "[{}, {})", from, to);
            }
        }
    }
}

#[test]
fn markers_without_records_end_nothing() {
    let mut transactions = Transactions::new();
    let h = transactional(header(1, 0, -1, 1));
    let h = BatchHeader { attributes: h.attributes.with_control(true), ..h };
    let abort = EndTransactionMarker { kind: MarkerKind::Abort, coordinator_epoch: 0 };
    assert_eq!(transactions.apply(&h, Some(abort)), None);
    assert_eq!(transactions.apply(&h, None), None);
    assert_eq!(transactions.last_stable_offset(Offset(9)), Offset(9));
    assert_eq!(transactions.open_of(ProducerId(1)), None);
}

#[test]
fn truncating_the_index_drops_later_markers() {
    let mut index = AbortedTransactions::new();
    for last in [5, 9, 14] {
        assert!(index.push(crate::AbortedTransaction {
            producer_id: ProducerId(1),
            first_offset: Offset(last - 3),
            last_offset: Offset(last),
            last_stable_offset: Offset(last + 1),
        }));
    }
    index.truncate_from_end(Offset(9));
    assert_eq!(index.entries().len(), 1);
    assert!(!index.is_empty());
}

#[test]
fn a_transaction_is_late_once_its_producer_has_written_nothing_for_long() {
    let mut sums = BatchSums::default();
    let late = |sums: &BatchSums, latest| sums.is_late(Timestamp(latest));
    assert!(!late(&sums, i64::MAX), "nothing is open");
    // Written at 7 ms, as the helper has it.
    let first = transactional(header(1, 0, 0, 1)).stamped(Offset(0), LeaderEpoch(0));
    sums.apply(&first, None, at(0));
    assert!(!late(&sums, 7));
    assert!(late(&sums, 8));
    let marker = EndTransactionMarker { kind: MarkerKind::Abort, coordinator_epoch: 0 };
    let batch = marker.batch(Offset(1), LeaderEpoch(0), ProducerId(1), ProducerEpoch(0), Timestamp(8)).unwrap();
    sums.apply(batch.header(), Some(marker), at(0));
    assert!(!late(&sums, i64::MAX), "it has ended");
}
