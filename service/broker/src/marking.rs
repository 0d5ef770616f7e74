//! Between a transaction's coordinator and its partitions: loads the coordinators' shards, and carries the markers of decided
//! transactions to where their records are. Decides nothing.

use std::sync::Arc;

use tidelog_coordinator::transaction::{TransactionConfig, TransactionMarkers};
use tidelog_coordinator::{CoordinatorRecord, TransactionShard};
use tidelog_model::limits::MAX_INFLATED_BATCH_BYTES;
use tidelog_model::{KafkaError, LeaderEpoch};
use tidelog_record::{Batch, BatchError, EndTransactionMarker, MarkerKind};
use tokio::sync::mpsc::UnboundedReceiver;

use crate::Markers;
use crate::broker::Broker;
use crate::groups::{cannot_load, read_coordinator_log};
use crate::replica::{Decided, Replica, TransactionWork, Work};

impl Broker {
    /// Writes the markers of every decided transaction, each in a task of its own: a partition that is slow holds up only those that
    /// have records there.
    pub(crate) async fn keep_marking(&self, mut decided: UnboundedReceiver<Decided>) {
        while let Some(Decided { markers, coordinator, epoch }) = decided.recv().await {
            let broker = self.clone();
            self.spawn(async move {
                let results = broker.mark(&markers, epoch).await;
                coordinator.enqueue_internal(Work::Transaction(TransactionWork::Marked(markers, results)));
            });
        }
    }

    async fn mark(&self, markers: &TransactionMarkers, epoch: LeaderEpoch) -> Vec<Result<(), KafkaError>> {
        let kind = if markers.commit { MarkerKind::Commit } else { MarkerKind::Abort };
        self.write_markers(&Markers {
            producer_id: markers.producer.id,
            producer_epoch: markers.producer.epoch,
            marker: EndTransactionMarker { kind, coordinator_epoch: epoch.get() },
            transaction_version: if markers.bumped { 2 } else { 0 },
            partitions: markers.partitions.clone(),
        })
        .await
    }
}

/// Reads a coordinator's whole partition and hands the loaded shard to it. Blocks; nothing is appended meanwhile.
pub(crate) fn load_transactions(replica: &Arc<Replica>, config: TransactionConfig) {
    let mut shard = TransactionShard::new(config);
    match read_coordinator_log(replica, |batch| replay_batch(batch, &mut shard)).and_then(|()| whole(&shard)) {
        Ok(()) => {
            replica.enqueue_internal(Work::Transaction(TransactionWork::Loaded(Box::new(shard))));
        }
        Err(failure) => cannot_load(replica, &*failure),
    }
}

/// A record that cannot be read may decide a transaction or open one: the one before it would take its place and leave partitions
/// open, or end them the other way.
fn whole(shard: &TransactionShard) -> Result<(), Box<dyn std::error::Error>> {
    match shard.replay_counts().undecodable {
        0 => Ok(()),
        count => Err(format!("{count} records of transactions cannot be decoded").into()),
    }
}

fn replay_batch(batch: &Batch, shard: &mut TransactionShard) -> Result<(), BatchError> {
    if batch.header().attributes.is_control() {
        return Ok(());
    }
    for record in batch.records(MAX_INFLATED_BATCH_BYTES)? {
        let record = record?;
        let Some(key) = record.key else { continue };
        shard.replay(&CoordinatorRecord { key, value: record.value });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_of_a_newer_version_stops_loading() {
        let mut shard = TransactionShard::new(TransactionConfig::default());
        assert!(whole(&shard).is_ok());
        let key = [&[0, 0, 0, 2][..], b"tx"].concat().into();
        shard.replay(&CoordinatorRecord { key, value: Some([0, 2].to_vec().into()) });
        assert!(whole(&shard).is_err());
    }
}
