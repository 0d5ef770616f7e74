//! Between a transaction's coordinator and its partitions: loads the coordinators' shards, and carries the markers of decided
//! transactions to where their records are. Decides nothing.

use std::sync::Arc;

use tidelog_coordinator::transaction::{TransactionConfig, TransactionMarkers};
use tidelog_coordinator::{CoordinatorRecord, TransactionShard};
use tidelog_model::{KafkaError, LeaderEpoch};
use tidelog_record::{BatchHeader, EndTransactionMarker, MarkerKind};
use tokio::sync::mpsc::UnboundedReceiver;

use crate::Markers;
use crate::broker::Broker;
use crate::coordinator_log::{self, Replay};
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
            partitions: markers.partitions.iter().map(|at| (Arc::from(at.topic.as_str()), at.partition)).collect(),
        })
        .await
    }
}

/// Loads the shard that lives in a partition and hands it over. Blocks.
pub(crate) fn load_transactions(replica: &Arc<Replica>, config: TransactionConfig) {
    if let Some(shard) = coordinator_log::load(replica, TransactionShard::new(config)) {
        replica.enqueue_internal(Work::Transaction(TransactionWork::Loaded(Box::new(shard))));
    }
}

impl Replay for TransactionShard {
    fn record(&mut self, _: &BatchHeader, record: &CoordinatorRecord) {
        self.replay(record);
    }

    fn marker(&mut self, _: &BatchHeader, _: EndTransactionMarker) {}

    /// One of these may decide a transaction or open one: partitions would stay open, or end the other way.
    fn undecodable(&self) -> u64 {
        self.replay_counts().undecodable
    }
}
