//! Decides which batches of a Fetch answer an application sees (KIP-98): no control batches, and with read_committed none of
//! aborted transactions. Pure.

use std::collections::BTreeSet;

use bytes::Bytes;
use tidelog_model::Offset;
use tidelog_protocol::messages::AbortedTransaction;
use tidelog_record::{Batch, BatchError, Batches, EndTransactionMarker, MarkerKind};

/// What a Fetch answer holds for an application.
#[derive(Debug, Default, PartialEq)]
pub struct ShownBatches {
    /// The batches to show.
    pub batches: Vec<Batch>,
    /// The offset after the last whole batch, shown or not; `None` if there is none.
    pub end: Option<Offset>,
    /// What lies there is no sound batch; everything else lies before it.
    pub damage: Option<BatchError>,
}

/// What is to be shown of `records`.
///
/// `aborted` is the answer's list of aborted transactions, empty for read_uncommitted. A transaction's batches are those of its
/// producer from its first offset to the abort marker. A batch that is cut off at the end of the answer is legal and left out.
pub fn committed_batches(records: Bytes, aborted: &[AbortedTransaction], check_crc: bool) -> ShownBatches {
    let mut pending: Vec<&AbortedTransaction> = aborted.iter().collect();
    // The latest first, so that the earliest is popped.
    pending.sort_by_key(|transaction| std::cmp::Reverse(transaction.first_offset));
    let mut open: BTreeSet<i64> = BTreeSet::new();
    let mut found = ShownBatches::default();
    for batch in Batches::new(records) {
        let sound = batch.and_then(|batch| {
            if check_crc {
                tidelog_record::check_crc(&batch)?;
            }
            let marker = EndTransactionMarker::of_batch(&batch)?;
            Ok((batch, marker))
        });
        let (batch, marker) = match sound {
            Ok(sound) => sound,
            Err(damage) => {
                found.damage = Some(damage);
                break;
            }
        };
        let header = batch.header();
        found.end = Some(header.next_offset());
        while let Some(first) = pending.pop_if(|transaction| transaction.first_offset <= header.last_offset().0) {
            open.insert(first.producer_id);
        }
        if header.attributes.is_control() {
            if marker.is_some_and(|marker| marker.kind == MarkerKind::Abort) {
                open.remove(&header.producer_id.0);
            }
            continue;
        }
        if header.attributes.is_transactional() && open.contains(&header.producer_id.0) {
            continue;
        }
        found.batches.push(batch);
    }
    found
}

#[cfg(test)]
mod tests {
    use tidelog_model::{LeaderEpoch, ProducerEpoch, ProducerId, Sequence, Timestamp};
    use tidelog_record::BatchBuilder;

    use super::*;

    fn data(offset: i64, producer: i64, transactional: bool) -> Bytes {
        let mut builder = BatchBuilder::new(Offset(offset));
        if producer >= 0 {
            builder =
                builder.producer(ProducerId(producer), ProducerEpoch(0), Sequence(0)).transactional(transactional);
        }
        builder.push(Timestamp(1), None, Some(b"v"), &[]).unwrap();
        builder.build().unwrap().into_bytes()
    }

    fn marker(offset: i64, producer: i64, kind: MarkerKind) -> Bytes {
        let marker = EndTransactionMarker { kind, coordinator_epoch: 0 };
        let batch =
            marker.batch(Offset(offset), LeaderEpoch(0), ProducerId(producer), ProducerEpoch(0), Timestamp(1)).unwrap();
        batch.into_bytes()
    }

    fn aborted(producer_id: i64, first_offset: i64) -> AbortedTransaction {
        AbortedTransaction { producer_id, first_offset, ..Default::default() }
    }

    fn shown(parts: &[Bytes], list: &[AbortedTransaction]) -> (Vec<i64>, Option<i64>) {
        let ShownBatches { batches, end, damage } = committed_batches(Bytes::from(parts.concat()), list, true);
        assert_eq!(damage, None);
        (batches.iter().map(|batch| batch.header().base_offset.0).collect(), end.map(|end| end.0))
    }

    #[test]
    fn aborted_transactions_end_at_their_markers() {
        let log = [
            data(0, 7, true),
            data(1, 8, true),
            data(2, -1, false),
            marker(3, 7, MarkerKind::Abort),
            data(4, 7, true),
            marker(5, 8, MarkerKind::Commit),
            marker(6, 7, MarkerKind::Commit),
            data(7, 7, true),
            marker(8, 7, MarkerKind::Abort),
        ];
        assert_eq!(shown(&log, &[aborted(7, 7), aborted(7, 0)]), (vec![1, 2, 4], Some(9)));
        assert_eq!(shown(&log, &[]), (vec![0, 1, 2, 4, 7], Some(9)), "read_uncommitted shows all but markers");
        // A fetch may begin within the transaction.
        assert_eq!(shown(&log[2..], &[aborted(7, 0), aborted(7, 7)]), (vec![2, 4], Some(9)));
        // A batch of the same producer outside of transactions is not hidden.
        assert_eq!(shown(&[data(9, 7, false)], &[aborted(7, 0)]), (vec![9], Some(10)));
    }

    #[test]
    fn a_torn_tail_is_legal_and_damage_is_not() {
        let whole = [data(0, -1, false), data(1, -1, false)].concat();
        let torn = Bytes::from(whole[..whole.len() - 1].to_vec());
        let found = committed_batches(torn, &[], true);
        assert_eq!((found.batches.len(), found.end, found.damage), (1, Some(Offset(1)), None));
        assert_eq!(committed_batches(Bytes::new(), &[], true), ShownBatches::default());
        let mut damaged = whole;
        *damaged.last_mut().unwrap() ^= 1;
        let found = committed_batches(Bytes::from(damaged.clone()), &[], true);
        assert_eq!((found.batches.len(), found.end), (1, Some(Offset(1))), "what lies before the damage is good");
        assert!(matches!(found.damage, Some(BatchError::Crc { .. })));
        assert_eq!(committed_batches(Bytes::from(damaged), &[], false).damage, None);
    }
}
