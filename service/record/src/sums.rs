//! What a partition's batches add up to: one step that moves leader epochs, producer states and transactions together, the same for
//! recovery, followers and leaders. Decides nothing by itself.

use tidelog_model::{Now, Timestamp};

use crate::{
    BatchHeader, CompletedTransaction, EndTransactionMarker, LeaderEpochs, OpenTransaction, ProducerStates,
    Transactions,
};

/// Leader epochs, producer states and transactions of one partition, up to one offset.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct BatchSums {
    /// Which epoch wrote which offsets.
    pub epochs: LeaderEpochs,
    /// Who wrote, and how far.
    pub producers: ProducerStates,
    /// What is not decided yet.
    pub transactions: Transactions,
}

impl BatchSums {
    /// Has the oldest open transaction's producer written nothing here since `latest`? As Kafka asks it.
    pub fn is_late(&self, latest: Timestamp) -> bool {
        let oldest = self.transactions.first_open().and_then(|open| self.producers.get(open.producer_id));
        oldest.is_some_and(|entry| entry.last_timestamp > Timestamp(0) && entry.last_timestamp < latest)
    }

    /// Continues from a checkpoint and a snapshot: the snapshot's open transactions are open again.
    pub fn load(epochs: LeaderEpochs, producers: ProducerStates) -> Self {
        let mut transactions = Transactions::new();
        for entry in producers.iter() {
            if let Some(first_offset) = entry.open_transaction {
                transactions.load(OpenTransaction { producer_id: entry.producer_id, first_offset });
            }
        }
        BatchSums { epochs, producers, transactions }
    }

    /// Applies a batch that lies in the log; the header holds its true base offset and leader epoch ([`BatchHeader::stamped`]). `marker`
    /// is that of a control batch ([`EndTransactionMarker::of_batch`]). Answers the transaction that it ended.
    pub fn apply(
        &mut self,
        header: &BatchHeader,
        marker: Option<EndTransactionMarker>,
        now: Now,
    ) -> Option<CompletedTransaction> {
        self.epochs.assign(header.leader_epoch, header.base_offset);
        match marker {
            Some(marker) => self.producers.apply_marker(header, marker, now),
            None => self.producers.apply(header, header.base_offset, now),
        }
        self.transactions.apply(header, marker)
    }
}
