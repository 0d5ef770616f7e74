//! Decides what the partitions' answers to markers lead to: the transaction is complete, or some are tried again.

use std::time::Duration;

use tidelog_model::{KafkaError, Now, TopicPartition};

use super::api::{TransactionEvent, TransactionMarkers, TransactionOutcome};
use super::shard::TransactionShard;
use super::state::TransactionState;
use crate::limits::{MARKER_RETRY, MARKER_RETRY_MOST};

/// What one partition's answer means.
enum Marked {
    /// The marker is in its log, or nothing of the transaction is there to be ended.
    Done,
    /// Somebody newer has decided there, and something of the producer is open all the same: no marker of this transaction can end it.
    Refused(KafkaError),
    /// It cannot now.
    Later(KafkaError),
}

fn meaning(result: Result<(), KafkaError>) -> Marked {
    match result {
        Ok(()) | Err(KafkaError::UnknownTopicOrPartition) => Marked::Done,
        Err(
            error @ (KafkaError::InvalidProducerEpoch
            | KafkaError::ProducerFenced
            | KafkaError::TransactionCoordinatorFenced),
        ) => Marked::Refused(error),
        Err(error) => Marked::Later(error),
    }
}

/// The wait before the next try: it grows while nothing comes of it.
fn pause_after(before: Duration, progress: bool) -> Duration {
    if progress { MARKER_RETRY } else { before.saturating_mul(2).clamp(MARKER_RETRY, MARKER_RETRY_MOST) }
}

impl TransactionShard {
    /// The partitions have answered; `results` has the answers in the order of `markers.partitions`. INVALID_PRODUCER_EPOCH and
    /// TRANSACTION_COORDINATOR_FENCED only from partitions in which the producer still has a transaction open.
    ///
    /// A transaction is complete when nothing of it is open anywhere; until then its partitions are asked again, ever more rarely. Kafka gives
    /// one up that is refused, and takes it up again when the coordinator moves; here it heals once somebody has ended what is in the way.
    pub fn marked(
        &mut self,
        now: Now,
        markers: &TransactionMarkers,
        results: Vec<Result<(), KafkaError>>,
    ) -> TransactionOutcome {
        let mut out = TransactionOutcome::default();
        let answered = markers.partitions.iter().zip(results);
        let Some(transaction) = self.transactions.get_mut(&markers.id) else { return out };
        if !transaction.stored.state.is_prepared() || transaction.stored.producer != markers.producer {
            return out;
        }
        self.bytes = self.bytes.saturating_sub(transaction.bytes(&markers.id));
        transaction.marking = false;
        let (before, waited) = (transaction.unmarked.len(), transaction.pause);
        let (mut refused, mut open) = (Vec::new(), None);
        for (partition, result) in answered {
            match meaning(result) {
                Marked::Done => drop(transaction.unmarked.remove(partition)),
                Marked::Refused(error) => {
                    refused.push((partition, error));
                    open = Some((partition, error));
                }
                Marked::Later(error) => open = Some((partition, error)),
            }
        }
        self.bytes += transaction.bytes(&markers.id);
        let left = transaction.unmarked.len();
        if left == 0 {
            transaction.pause = Duration::ZERO;
            self.delayed.remove(&markers.id);
            self.complete(now, &markers.id, &mut out);
            return out;
        }
        transaction.pause = pause_after(waited, left < before);
        let (pause, id) = (transaction.pause, || markers.id.clone());
        // One line at first and one when it lasts, not one for each try.
        let lasts = waited < MARKER_RETRY_MOST && pause == MARKER_RETRY_MOST;
        if waited.is_zero() || lasts {
            let event = |(partition, error): (&TopicPartition, _)| TransactionEvent::MarkerRefused {
                id: id(),
                partition: partition.clone(),
                error,
            };
            out.events.extend(refused.into_iter().map(event));
        }
        if let Some((partition, error)) = open.filter(|_| lasts) {
            let partition = partition.clone();
            out.events.push(TransactionEvent::MarkersDelayed { id: id(), partitions: left, partition, error });
        }
        self.delayed.insert(id());
        self.wake(&markers.id, now.after(pause));
        out
    }

    /// Every marker is written.
    pub(super) fn complete(&self, now: Now, id: &super::TransactionalId, out: &mut TransactionOutcome) {
        let Some(transaction) = self.transactions.get(id) else { return };
        let next = transaction.stored.completed(now.wall);
        let committed = next.state == TransactionState::CompleteCommit;
        out.events.push(TransactionEvent::Completed { id: id.clone(), committed });
        self.put(id, &next, out);
    }
}
