//! WriteTxnMarkers: ends a producer's transaction on the partitions that this broker leads. Decides nothing: the partition does.

use std::sync::Arc;

use futures::future::join_all;
use tidelog_metadata::ClusterImage;
use tidelog_model::{Caller, KafkaError, LeaderEpoch, Offset, PartitionIndex, ProducerEpoch, ProducerId};
use tidelog_partition::{Acks, Content};
use tidelog_record::{Batch, EndTransactionMarker, Origin};
use tidelog_security::{Operation, Resource, Way};
use tokio::sync::oneshot;

use crate::BrokerError;
use crate::broker::Broker;
use crate::replica::{AppendResult, AppendWork, Work};

/// The end of one producer's transaction, and where it has records.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Markers {
    /// The producer.
    pub producer_id: ProducerId,
    /// The epoch that the markers carry.
    pub producer_epoch: ProducerEpoch,
    /// Commit or abort, and the epoch of the coordinator that says so.
    pub marker: EndTransactionMarker,
    /// From 2 on the markers' epoch is newer than the records' (KIP-890).
    pub transaction_version: i16,
    /// The partitions, by their topics' names.
    pub partitions: Vec<(Arc<str>, PartitionIndex)>,
}

impl Broker {
    /// Writes the markers and waits until they are durable; one result per partition, in their order. For the coordinator of this
    /// process; nobody is authorized.
    ///
    /// - INVALID_REQUEST: no producer has such an id or epoch.
    /// - UNKNOWN_TOPIC_OR_PARTITION: there is no such partition.
    /// - NOT_LEADER_OR_FOLLOWER, KAFKA_STORAGE_ERROR: it is opening, its group coordinator loads, or its disk failed: come again.
    /// - INVALID_PRODUCER_EPOCH, TRANSACTION_COORDINATOR_FENCED: somebody newer has decided.
    pub(crate) async fn write_markers(&self, markers: &Markers) -> Vec<Result<(), KafkaError>> {
        let Markers { producer_id, producer_epoch, marker, .. } = *markers;
        // A control batch that is nobody's would be appended as it is.
        if producer_id.get() < 0 || producer_epoch.get() < 0 {
            return vec![Err(KafkaError::InvalidRequest); markers.partitions.len()];
        }
        let now = self.clock().now();
        // The same for all: the log thread of each stamps its offset and epoch.
        let batch = match marker.batch(Offset::ZERO, LeaderEpoch(0), producer_id, producer_epoch, now.wall) {
            Ok(batch) => batch,
            Err(error) => return vec![Err(error.kafka()); markers.partitions.len()],
        };
        let image = self.image();
        let mut waiting = Vec::with_capacity(markers.partitions.len());
        for (topic, partition) in &markers.partitions {
            waiting.push(self.enqueue_marker(&image, markers, batch.clone(), topic, *partition).await);
        }
        let answers = waiting.into_iter().map(|enqueued| async move {
            // Without an answer the partition went away with the entry still in its queue.
            enqueued?.await.unwrap_or(Err(KafkaError::NotLeaderOrFollower)).map(|_| ())
        });
        join_all(answers).await
    }

    /// WriteTxnMarkers as a door hands it over: for each of `all` one result per partition. They are counted out only for who may ask.
    pub async fn write_markers_for(
        &self,
        caller: &Caller,
        all: impl Iterator<Item = Markers>,
    ) -> Result<Vec<Vec<Result<(), KafkaError>>>, BrokerError> {
        // An administrator may end a transaction that hangs (KIP-664).
        let ways =
            [Operation::ClusterAction, Operation::Alter].map(|operation| Way::Only(operation, Resource::Cluster));
        if !self.may_one_of(caller, &ways) {
            return Err(KafkaError::ClusterAuthorizationFailed.into());
        }
        let write = |markers: Markers| async move {
            let results = self.write_markers(&markers).await;
            let Markers { producer_id, producer_epoch, marker, partitions, .. } = markers;
            for ((topic, partition), result) in partitions.iter().zip(&results) {
                let name =
                    format_args!("{:?} of {producer_id} in epoch {producer_epoch}: {topic}-{partition}", marker.kind);
                self.audit_change(caller, "WRITE_TRANSACTION_MARKER", &name, &result.map_err(BrokerError::from));
            }
            results
        };
        Ok(join_all(all.map(write)).await)
    }

    async fn enqueue_marker(
        &self,
        image: &ClusterImage,
        markers: &Markers,
        batch: Batch,
        topic: &str,
        partition: PartitionIndex,
    ) -> Result<oneshot::Receiver<AppendResult>, KafkaError> {
        let topic = image.topic(topic).ok_or(KafkaError::UnknownTopicOrPartition)?;
        let replica = self.find_replica(topic, partition).map_err(|refused| refused.error)?;
        let Markers { marker, transaction_version, .. } = *markers;
        let (reply, answer) = oneshot::channel();
        let work = AppendWork {
            batch,
            content: Content::Marker { marker, transaction_version },
            acks: Acks::All,
            deadline: None,
            origin: Origin::Coordinator,
            reply,
            keep: None,
        };
        replica.enqueue(Work::Append(work)).await;
        Ok(answer)
    }
}
