//! Between a transaction's coordinator and its partitions: loads the coordinators' shards, and carries the markers of decided
//! transactions to where their records are. Decides nothing.

use std::sync::Arc;

use tidelog_coordinator::transaction::{TransactionConfig, TransactionMarkers};
use tidelog_coordinator::{CoordinatorRecord, Forgetting, Replayed, TransactionShard, Unreadable};
use tidelog_model::{KafkaError, LeaderEpoch, ProducerId, TopicPartition};
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
        let written = self
            .write_markers(&Markers {
                producer_id: markers.producer.id,
                producer_epoch: markers.producer.epoch,
                marker: EndTransactionMarker { kind, coordinator_epoch: epoch.get() },
                transaction_version: if markers.bumped { 2 } else { 0 },
                partitions: markers.partitions.iter().map(|at| (Arc::from(at.topic.as_str()), at.partition)).collect(),
            })
            .await;
        let answers = markers.partitions.iter().zip(written);
        answers.map(|(partition, written)| self.unless_ended(partition, markers.producer.id, written)).collect()
    }

    /// A partition that refuses because somebody newer has decided needs no marker if nothing of the producer is open there: whoever
    /// decided has ended it. The producer begins nothing new before the coordinator has the answer.
    fn unless_ended(
        &self,
        partition: &TopicPartition,
        producer: ProducerId,
        written: Result<(), KafkaError>,
    ) -> Result<(), KafkaError> {
        if !matches!(written, Err(KafkaError::InvalidProducerEpoch | KafkaError::TransactionCoordinatorFenced)) {
            return written;
        }
        let image = self.image();
        let topic = image.topic(partition.topic.as_str()).ok_or(KafkaError::UnknownTopicOrPartition)?;
        let replica = self.find_replica(topic, partition.partition).map_err(|refused| refused.error)?;
        if replica.with_machine(|machine| machine.has_open_transaction(producer)) { written } else { Ok(()) }
    }
}

/// Loads the shard that lives in a partition and hands it over. Blocks.
pub(crate) fn load_transactions(replica: &Arc<Replica>, config: TransactionConfig) {
    if let Some(shard) = coordinator_log::load(replica, TransactionShard::new(config)) {
        replica.enqueue_internal(Work::Transaction(TransactionWork::Loaded(Box::new(shard))));
    }
}

impl Replay for TransactionShard {
    fn record(&mut self, _: &BatchHeader, record: &CoordinatorRecord) -> Replayed {
        self.replay(record)
    }

    fn marker(&mut self, _: &BatchHeader, _: EndTransactionMarker) {}

    fn forget(&self, unreadable: &Unreadable) -> Forgetting {
        TransactionShard::forget(self, &unreadable.key)
    }
}
