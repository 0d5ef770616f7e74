//! What happens without anybody asking: checkpoints, retention, compaction, another try after a full disk, the remains of deleted topics.

use std::sync::Arc;
use std::time::Duration;

use tidelog_log::LogError;
use tidelog_metadata::decide::finish_deletion;
use tidelog_model::{OFFSETS_TOPIC, PartitionIndex, TopicId, TopicIdPartition, TopicPartition};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::broker::Broker;
use crate::checkpoints::{Line, Lines};
use crate::limits::{
    CHECKPOINT_PAUSE, CLOSING_AT_ONCE, DELETION_RETRY, ENDING_AT_ONCE, MAX_CLEANER_BACKOFF, REOPEN_FIRST, REOPEN_MOST,
};
use crate::replica::{Ending, GroupWork, Maintenance, Replica, Work};

impl Broker {
    /// Writes checkpoints that have moved: every few seconds, and earlier if a partition grows fast.
    pub(crate) async fn keep_checkpoints(self, interval: Duration, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(interval.saturating_sub(CHECKPOINT_PAUSE)) => {}
                () = self.checkpoint_due() => {}
            }
            let broker = self.clone();
            let write = move || {
                if let Err(failure) = broker.write_checkpoints() {
                    error!(error = %failure, "cannot write a checkpoint; recovery will take longer");
                }
            };
            if tokio::task::spawn_blocking(write).await.is_err() {
                error!("cannot write checkpoints");
            }
            // All partitions are written each time, however many grow fast.
            if stop.run_until_cancelled(tokio::time::sleep(CHECKPOINT_PAUSE)).await.is_none() {
                return;
            }
        }
    }

    /// Writes the checkpoint files as things stand. Blocks; of several callers at once the later ones find nothing left to write.
    pub(crate) fn write_checkpoints(&self) -> Result<(), LogError> {
        self.write_checkpoints_and(&[])
    }

    /// The same; `closed` are logs that were closed in order.
    fn write_checkpoints_and(&self, closed: &[Arc<Replica>]) -> Result<(), LogError> {
        let led = || self.replicas().all().iter().map(|replica| replica.id.topic_partition()).collect();
        self.checkpoints().verified(led)?;
        let look = |written: &Lines| {
            let line = |replica: &Arc<Replica>| (replica.id.topic_partition(), replica.checkpoint_line());
            // Everything that was flushed is safe: there is one replica.
            let last = |replica: &Arc<Replica>| {
                let line = replica.checkpoint_line();
                (replica.id.topic_partition(), Line { high_watermark: line.recovery_point, ..line })
            };
            // What is not open has nothing newer to say; what is deleted was forgotten.
            let mut lines = written.clone();
            lines.extend(self.replicas().all().iter().map(line));
            lines.extend(closed.iter().map(last));
            lines
        };
        self.checkpoints().write(look)
    }

    /// Looks at every log from time to time: rolls, retention, silent producers.
    pub(crate) async fn keep_logs(self, stop: CancellationToken) {
        let interval = self.config().retention_check_interval.max(Duration::from_millis(10));
        while tokio::time::timeout(interval, stop.cancelled()).await.is_err() {
            for replica in self.replicas().all() {
                let (done, tidied) = oneshot::channel();
                let producer_expiration = self.producer_id_expiration();
                replica.enqueue_internal(Work::Maintain(Maintenance::Tidy { producer_expiration }, done));
                // One after the other: housekeeping must not compete with appends for every disk at once.
                let _ = tidied.await;
            }
        }
    }

    /// Compacts what is worth it, one log after the other: so the memory for keys is needed once.
    pub(crate) async fn keep_compacted(self, stop: CancellationToken) {
        while stop.run_until_cancelled(self.cleaner_pause()).await.is_some() {
            let mut further = false;
            for replica in self.replicas().all() {
                if stop.is_cancelled() {
                    return;
                }
                if !replica.config().cleanup.compact {
                    continue;
                }
                let now = self.clock().now();
                match tokio::task::spawn_blocking(move || replica.compact(now)).await {
                    Ok(came) => further |= came,
                    Err(_) => error!("a compaction has failed"),
                }
            }
            if !further {
                continue;
            }
            let broker = self.clone();
            match tokio::task::spawn_blocking(move || broker.write_checkpoints()).await {
                Ok(Ok(())) => {}
                Ok(Err(failure)) => {
                    error!(error = %failure, "cannot write a checkpoint; this is compacted again after a restart");
                }
                Err(_) => error!("cannot write checkpoints"),
            }
        }
    }

    /// `log.cleaner.backoff.ms`, from now on; a change counts at once.
    async fn cleaner_pause(&self) {
        let since = tokio::time::Instant::now();
        let mut revisions = self.cluster_image().revisions();
        loop {
            revisions.borrow_and_update();
            let pause = self.cleaner_backoff().clamp(Duration::from_millis(10), MAX_CLEANER_BACKOFF);
            tokio::select! {
                () = tokio::time::sleep_until(since + pause) => return,
                // Without a sender the broker ends.
                changed = revisions.changed() => if changed.is_err() { return },
            }
        }
    }

    /// Opens what a full disk kept from opening, once there is room.
    pub(crate) async fn keep_reopening(&self) {
        let mut pause = REOPEN_FIRST;
        loop {
            if !self.replicas().waits_for_room() {
                pause = REOPEN_FIRST;
                self.replicas().met_full_disk().await;
                continue;
            }
            tokio::time::sleep(pause).await;
            let config = |topic| {
                let image = self.image();
                self.topic_config(&image, topic, &self.topic_defaults(&image))
            };
            let opened = self.replicas().reopen(&self.image(), config).await;
            pause = if opened { REOPEN_FIRST } else { (pause * 2).min(REOPEN_MOST) };
        }
    }

    /// What an earlier process left of deleted topics goes before anything opens.
    pub(crate) async fn remove_deleted(&self) {
        let image = self.image();
        let partitions = image.deletions().flat_map(|(id, deletion)| {
            let topic = deletion.value.name.clone();
            (0..deletion.value.partitions).map(move |index| TopicIdPartition {
                id,
                topic: topic.clone(),
                partition: PartitionIndex(index),
            })
        });
        self.end_gone(Vec::new(), partitions.collect()).await;
    }

    /// Ends the partitions of deleted topics, with their files; `offline` are those whose logs are not open.
    pub(crate) async fn end_gone(&self, mut gone: Vec<Arc<Replica>>, offline: Vec<TopicIdPartition>) {
        if gone.is_empty() && offline.is_empty() {
            return;
        }
        let _turn = self.replicas().turn_to_end().await;
        let mut names: Vec<TopicPartition> = gone.iter().map(|replica| replica.id.topic_partition()).collect();
        names.extend(offline.iter().map(TopicIdPartition::topic_partition));
        let ended: Vec<TopicIdPartition> =
            gone.iter().map(|replica| replica.id.clone()).chain(offline.iter().cloned()).collect();
        let mut deleted = 0_usize;
        while !gone.is_empty() {
            let together: Vec<_> = gone.drain(..gone.len().min(ENDING_AT_ONCE)).collect();
            let ends: Vec<_> = together.iter().map(|replica| (&replica.id, replica.end(Ending::Delete))).collect();
            for (id, end) in ends {
                match end.await {
                    Ok(Ok(_)) => deleted += 1,
                    Ok(Err(failure)) => {
                        error!(partition = %id, error = %failure, "cannot delete the files of a partition");
                    }
                    Err(_) => warn!(partition = %id, "a deleted partition did not end in order"),
                }
            }
            // Who closes a removed file for the last time waits for its disk: that is no async worker.
            tokio::task::spawn_blocking(move || drop(together));
        }
        // Of many partitions the log has one line.
        match names.first().filter(|_| deleted > 0) {
            Some(partition) if names.len() == 1 => info!(%partition, "deleted"),
            Some(_) => info!(partitions = deleted, "deleted"),
            None => {}
        }
        let broker = self.clone();
        let remove = move || {
            for id in &offline {
                if let Err(failure) = broker.replicas().remove_directory(id) {
                    error!(partition = %id, error = %failure, "cannot delete the files of a partition");
                }
            }
            // After a restart a topic of the same name may be there already, with lines of its own.
            let forgotten = ended.iter().filter(|id| !broker.replicas().is_succeeded(id));
            let forgotten: Vec<TopicPartition> = forgotten.map(TopicIdPartition::topic_partition).collect();
            if let Err(failure) = broker.checkpoints().forget(&forgotten) {
                error!(error = %failure, "cannot write a checkpoint");
            }
        };
        if tokio::task::spawn_blocking(remove).await.is_err() {
            error!("cannot delete the files of deleted partitions");
        }
        self.replicas().ended(&names);
        self.deletions().notify_one();
    }

    /// Removes what is left of deleted topics: groups' offsets, remote objects; then the topic is forgotten. Tries again later what the
    /// store does not answer to, and lets nobody wait for it.
    pub(crate) async fn keep_deleting(&self) {
        loop {
            self.deletions().notified().await;
            while !self.delete_remains().await {
                tokio::time::sleep(DELETION_RETRY).await;
            }
        }
    }

    /// True if nothing is left.
    async fn delete_remains(&self) -> bool {
        let image = self.image();
        let mut all = true;
        for (topic, deletion) in image.deletions() {
            // A crash must find the topic among the deleted ones as long as files of it are here; their end brings us back.
            if self.replicas().has_any_of(topic) {
                continue;
            }
            self.forget_offsets(topic, &deletion.value.name);
            let ids = (0..deletion.value.partitions).map(|index| TopicIdPartition {
                id: topic,
                topic: deletion.value.name.clone(),
                partition: PartitionIndex(index),
            });
            if !self.delete_remote(ids).await {
                all = false;
                continue;
            }
            let finished = self
                .cluster_image()
                .carry_out(|image| Ok(((), finish_deletion(image, topic).unwrap_or_default())))
                .await;
            if let Err(failure) = finished {
                warn!(%topic, error = %failure, "cannot forget a deleted topic; trying again later");
                all = false;
            }
        }
        all
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
        let ids: Vec<TopicIdPartition> = ids.collect();
        for together in ids.chunks(ENDING_AT_ONCE) {
            let deletions: Vec<_> = together.iter().map(|id| (id, remote.delete(id))).collect();
            for (id, deletion) in deletions {
                if let Err(failure) = deletion.await {
                    warn!(partition = %id, error = %failure, "cannot delete remote segments; trying again later");
                    return false;
                }
            }
        }
        true
    }

    /// Closes every log in order, so that the next start reads next to nothing.
    pub(crate) async fn close_logs(&self) {
        let replicas = self.replicas().all();
        for some in replicas.chunks(CLOSING_AT_ONCE) {
            let ends: Vec<_> = some.iter().map(|replica| replica.end(Ending::Close)).collect();
            for (replica, end) in some.iter().zip(ends) {
                if let Ok(Err(failure)) = end.await {
                    error!(partition = %replica.id, error = %failure, "cannot close the log in order");
                }
            }
            // By the flushers, which are at work: whoever flushes many logs holds all of them.
            let flushes: Vec<_> = some.iter().map(Replica::flush_soon).collect();
            for flushed in flushes {
                // What was not flushed is told where it failed, and its checkpoint stays where it was.
                let _ = flushed.await;
            }
        }
        let broker = self.clone();
        let finish = move || broker.write_checkpoints_and(&replicas);
        match tokio::task::spawn_blocking(finish).await {
            Ok(Ok(())) => {}
            Ok(Err(failure)) => error!(error = %failure, "cannot write a checkpoint; recovery will take longer"),
            Err(_) => error!("cannot write the last checkpoints"),
        }
    }
}
