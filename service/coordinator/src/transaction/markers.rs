//! Decides what the partitions' answers to markers lead to: the transaction is complete, or some are tried again.

use tidelog_model::{KafkaError, Now, TopicPartition};

use super::api::{TransactionEvent, TransactionMarkers, TransactionOutcome};
use super::shard::TransactionShard;
use super::state::TransactionState;
use crate::limits::MARKER_RETRY;

/// What one partition's answer means.
enum Marked {
    /// The marker is in its log, or the partition is gone and nothing of the transaction with it.
    Done,
    /// It refuses for good.
    Refused,
    /// It cannot now.
    Later,
}

fn meaning(result: Result<(), KafkaError>) -> Marked {
    match result {
        Ok(()) | Err(KafkaError::UnknownTopicOrPartition) => Marked::Done,
        // Its log knows a newer epoch: whoever has that one has ended the transaction there.
        Err(KafkaError::InvalidProducerEpoch | KafkaError::ProducerFenced) => Marked::Refused,
        Err(_) => Marked::Later,
    }
}

impl TransactionShard {
    /// The partitions have answered; `results` has the answers in the order of `markers.partitions`.
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
        for (partition, result) in answered {
            match meaning(result) {
                Marked::Done => drop(transaction.unmarked.remove(partition)),
                Marked::Refused => {
                    transaction.unmarked.remove(partition);
                    out.events.push(refused(markers, partition, result));
                }
                Marked::Later => {}
            }
        }
        self.bytes += transaction.bytes(&markers.id);
        if transaction.unmarked.is_empty() {
            self.complete(now, &markers.id, &mut out);
        } else {
            self.wake(&markers.id, now.after(MARKER_RETRY));
        }
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

fn refused(
    markers: &TransactionMarkers,
    partition: &TopicPartition,
    result: Result<(), KafkaError>,
) -> TransactionEvent {
    let error = result.err().unwrap_or(KafkaError::UnknownServerError);
    TransactionEvent::MarkerRefused { id: markers.id.clone(), partition: partition.clone(), error }
}
