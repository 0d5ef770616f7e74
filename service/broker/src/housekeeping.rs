//! What happens without anybody asking: checkpoints, retention, compaction, the remains of deleted topics.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tidelog_log::datadir::{HIGH_WATERMARKS, LOG_STARTS, OffsetCheckpoint, RECOVERY_POINTS};
use tidelog_metadata::decide::finish_deletion;
use tidelog_model::{Offset, PartitionIndex, TopicId, TopicIdPartition, TopicPartition};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::broker::Broker;
use crate::groups::OFFSETS_TOPIC;
use crate::limits::CHECKPOINT_INTERVAL;
use crate::replica::{Ending, GroupWork, Maintenance, Replica, Work};

/// The offsets that the checkpoint files hold.
#[derive(Default, PartialEq, Eq)]
struct Written {
    recovery: BTreeMap<TopicPartition, Offset>,
    log_start: BTreeMap<TopicPartition, Offset>,
    watermarks: BTreeMap<TopicPartition, Offset>,
}

impl Broker {
    /// Writes checkpoints that have moved, every few seconds.
    pub(crate) async fn keep_checkpoints(self, stop: CancellationToken) {
        let mut written = Written::default();
        while tokio::time::timeout(CHECKPOINT_INTERVAL, stop.cancelled()).await.is_err() {
            let broker = self.clone();
            let done = tokio::task::spawn_blocking(move || {
                broker.write_checkpoints(&mut written, &BTreeMap::new());
                written
            });
            written = done.await.unwrap_or_default();
        }
    }

    /// Writes the checkpoint files as things stand; `closed` adds partitions that no longer run.
    fn write_checkpoints(&self, written: &mut Written, closed: &BTreeMap<TopicPartition, (Offset, Offset)>) {
        let mut now = Written::default();
        for replica in self.replicas().all() {
            let id = replica.id.topic_partition();
            let offsets = replica.offsets();
            now.recovery.insert(id.clone(), replica.view.flushed_end());
            now.log_start.insert(id.clone(), offsets.log_start);
            now.watermarks.insert(id, offsets.high_watermark);
        }
        for (id, (end, start)) in closed {
            now.recovery.insert(id.clone(), *end);
            now.log_start.insert(id.clone(), *start);
            now.watermarks.insert(id.clone(), *end);
        }
        let files = [
            (RECOVERY_POINTS, &now.recovery, &written.recovery),
            (LOG_STARTS, &now.log_start, &written.log_start),
            (HIGH_WATERMARKS, &now.watermarks, &written.watermarks),
        ];
        for (name, offsets, before) in files {
            if offsets == before {
                continue;
            }
            let checkpoint = OffsetCheckpoint { offsets: offsets.clone() };
            if let Err(failure) = checkpoint.write(self.disk(), self.data_dir(), name) {
                error!(error = %failure, "cannot write a checkpoint; recovery will take longer");
                return;
            }
        }
        *written = now;
    }

    /// Looks at every log from time to time: rolls, retention, compaction, silent producers.
    pub(crate) async fn keep_logs(self, stop: CancellationToken) {
        let interval = self.config().retention_check_interval.max(Duration::from_millis(10));
        while tokio::time::timeout(interval, stop.cancelled()).await.is_err() {
            for replica in self.replicas().all() {
                let (done, tidied) = oneshot::channel();
                let producer_expiration = self.config().producer_id_expiration;
                replica.enqueue_internal(Work::Maintain(Maintenance::Tidy { producer_expiration }, done));
                // One after the other: housekeeping must not compete with appends for every disk at once.
                let _ = tidied.await;
                let now = self.clock().now();
                if replica.config().cleanup.compact {
                    let _ = tokio::task::spawn_blocking(move || replica.compact(now)).await;
                }
            }
        }
    }

    /// Ends the partitions of deleted topics: their groups' offsets, files and remote objects go, then the topic is forgotten.
    pub(crate) async fn bury(&self, gone: Vec<Arc<Replica>>) {
        for replica in gone {
            let id = replica.id.clone();
            match replica.end(Ending::Delete).await {
                Ok(Ok(_)) => info!(partition = %id, "deleted"),
                Ok(Err(failure)) => error!(partition = %id, error = %failure, "cannot delete the files of a partition"),
                Err(_) => warn!(partition = %id, "a deleted partition did not end in order"),
            }
        }
        let image = self.image();
        for (topic, deletion) in image.deletions() {
            self.forget_offsets(topic, &deletion.value.name);
            let ids = (0..deletion.value.partitions).map(|index| TopicIdPartition {
                id: topic,
                topic: deletion.value.name.clone(),
                partition: PartitionIndex(index),
            });
            if !self.delete_remote(ids).await {
                continue;
            }
            let finished = self
                .cluster_image()
                .carry_out(|image| Ok(((), finish_deletion(image, topic).unwrap_or_default())))
                .await;
            if let Err(failure) = finished {
                warn!(%topic, error = %failure, "cannot forget a deleted topic; trying again later");
            }
        }
    }

    /// The offsets of a deleted topic go from every group.
    fn forget_offsets(&self, topic: TopicId, name: &tidelog_model::TopicName) {
        for replica in self.replicas().all() {
            if replica.id.topic.as_str() == OFFSETS_TOPIC {
                replica.enqueue_internal(Work::Group(GroupWork::TopicDeleted(name.clone(), topic)));
            }
        }
    }

    async fn delete_remote(&self, ids: impl Iterator<Item = TopicIdPartition>) -> bool {
        let Some(remote) = self.remote() else { return true };
        for id in ids {
            if let Err(failure) = remote.delete(&id).await {
                warn!(partition = %id, error = %failure, "cannot delete remote segments; trying again later");
                return false;
            }
        }
        true
    }

    /// Closes every log in order, so that the next start reads next to nothing.
    pub(crate) async fn close_logs(&self) {
        let mut closed = BTreeMap::new();
        let replicas = self.replicas().all();
        let ends: Vec<_> = replicas.iter().map(|replica| replica.end(Ending::Close)).collect();
        for (replica, end) in replicas.iter().zip(ends) {
            let start = replica.offsets().log_start;
            let end = match end.await {
                Ok(Ok(end)) => end,
                Ok(Err(failure)) => {
                    error!(partition = %replica.id, error = %failure, "cannot close the log in order");
                    replica.view.flushed_end()
                }
                Err(_) => replica.view.flushed_end(),
            };
            closed.insert(replica.id.topic_partition(), (end, start));
        }
        let broker = self.clone();
        let write = move || broker.write_checkpoints(&mut Written::default(), &closed);
        if tokio::task::spawn_blocking(write).await.is_err() {
            error!("cannot write the last checkpoints");
        }
    }
}
