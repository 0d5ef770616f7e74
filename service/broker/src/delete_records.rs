//! DeleteRecords: partitions begin later (KIP-107). Decides who may, and in which order: first the table, then the readers, then the
//! disk; files and remote objects follow by retention.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::join_all;
use tidelog_log::BoxFuture;
use tidelog_model::{Caller, KafkaError, Offset};
use tidelog_security::Operation;
use tokio::time::{Instant, timeout_at};

use crate::broker::Broker;
use crate::limits::CHECKPOINT_PATIENCE;
use crate::lookup::nameless;
use crate::replica::Replica;
use crate::{BrokerError, DeleteBefore, Deletion};

/// A deletion that may be carried out.
struct Step {
    /// Which of the request's.
    place: usize,
    replica: Arc<Replica>,
    wanted: Offset,
}

type Outcome = Result<Offset, BrokerError>;

impl Broker {
    /// Deletes the records below offsets and answers where each partition begins, in the request's order. When this answers nobody sees
    /// them any more, and no crash brings them back.
    ///
    /// Records of a table go only after the table has them: the export is asked to take them at once, and REQUEST_TIMED_OUT says that
    /// `patience` was over before it had; then nothing of that partition was deleted. So a client's deletion never does what the grace
    /// period allows to retention.
    pub async fn delete_records(&self, caller: &Caller, deletions: Vec<Deletion>, patience: Duration) -> Vec<Outcome> {
        let deadline = Instant::now() + patience;
        let mut outcomes = Vec::with_capacity(deletions.len());
        let (mut at_once, mut later) = (Vec::new(), Vec::new());
        for (place, deletion) in deletions.iter().enumerate() {
            match self.may_delete_records(caller, deletion) {
                Ok((replica, wanted)) => {
                    let mut ready = self.may_go(&replica, wanted);
                    let step = Step { place, replica, wanted };
                    // So it stays unless the deletion is carried out.
                    let mut outcome = Err(KafkaError::RequestTimedOut.into());
                    match (&mut ready).now_or_never() {
                        Some(Ok(())) => at_once.push(step),
                        Some(Err(error)) => outcome = Err(error),
                        None => later.push((step, ready)),
                    }
                    outcomes.push(outcome);
                }
                Err(error) => outcomes.push(Err(error)),
            }
        }
        // A flush or a table that lags holds nobody else up.
        self.begin(at_once, deadline, &mut outcomes).await;
        let waits = later.into_iter().map(|(step, ready)| async move { (step, timeout_at(deadline, ready).await) });
        let mut ready = Vec::new();
        for (step, waited) in join_all(waits).await {
            match (waited, outcomes.get_mut(step.place)) {
                (Ok(Ok(())), _) => ready.push(step),
                (Ok(Err(error)), Some(outcome)) => *outcome = Err(error),
                (Ok(Err(_)) | Err(_), _) => {}
            }
        }
        self.begin(ready, deadline, &mut outcomes).await;
        for (deletion, outcome) in deletions.iter().zip(&outcomes) {
            let of = format_args!("{}-{}", deletion.topic, deletion.partition);
            self.audit_change(caller, "DELETE_RECORDS", &of, outcome);
        }
        outcomes
    }

    /// May the caller delete that much of a partition?
    fn may_delete_records(&self, caller: &Caller, deletion: &Deletion) -> Result<(Arc<Replica>, Offset), BrokerError> {
        let found = self.find_topic(&self.image(), caller, Operation::Delete, &deletion.topic).map_err(nameless)?;
        if found.name.is_internal() {
            let message = format!("{} belongs to the service", found.name);
            return Err(BrokerError::new(KafkaError::InvalidTopicException, message));
        }
        let replica = self.find_replica(&found, deletion.partition)?;
        let cleanup = replica.config().cleanup;
        if cleanup.compact && !cleanup.delete {
            let message = format!("{} is compacted: its cleanup.policy does not delete", found.name);
            return Err(BrokerError::new(KafkaError::PolicyViolation, message));
        }
        if self.disk_failed() || replica.view.offline().is_some() {
            return Err(KafkaError::KafkaStorageError.into());
        }
        let offsets = replica.offsets();
        let wanted = match deletion.before {
            DeleteBefore::HighWatermark => offsets.high_watermark,
            DeleteBefore::Offset(offset) => offset,
        };
        if wanted < Offset::ZERO || wanted > offsets.log_end {
            let message = format!("offset {wanted} is outside of the log, [0, {}]", offsets.log_end);
            return Err(BrokerError::new(KafkaError::OffsetOutOfRange, message));
        }
        Ok((replica, wanted))
    }

    /// Ready once the records are committed (a producer with acks=1 may delete what it has just sent) and no table lacks any of them.
    fn may_go(&self, replica: &Arc<Replica>, wanted: Offset) -> BoxFuture<'static, Result<(), BrokerError>> {
        let observer = self.observer().filter(|_| wanted > replica.offsets().log_start).cloned();
        let (committed, id) = (replica.committed(wanted), replica.id.clone());
        Box::pin(async move {
            committed.await.unwrap_or(Err(KafkaError::NotLeaderOrFollower))?;
            match observer {
                Some(observer) if !observer.export_below(&id, wanted).await => Err(not_exported()),
                _ => Ok(()),
            }
        })
    }

    /// Carries deletions out together: one write of the checkpoint serves all.
    async fn begin(&self, steps: Vec<Step>, deadline: Instant, outcomes: &mut [Outcome]) {
        if steps.is_empty() {
            return;
        }
        let places: Vec<usize> = steps.iter().map(|step| step.place).collect();
        let broker = self.clone();
        // It goes on by itself when its time is over: what readers no longer see must stay away.
        let task = tokio::task::spawn_blocking(move || broker.begin_all(steps));
        // A disk is given a moment also by clients that have no patience.
        let deadline = deadline.max(Instant::now() + CHECKPOINT_PATIENCE);
        let begun = match timeout_at(deadline, task).await {
            Ok(Ok(begun)) => begun,
            Ok(Err(_)) => vec![Err(KafkaError::UnknownServerError.into()); places.len()],
            Err(_) => vec![Err(KafkaError::RequestTimedOut.into()); places.len()],
        };
        for (place, begun) in places.into_iter().zip(begun) {
            if let Some(outcome) = outcomes.get_mut(place) {
                *outcome = begun;
            }
        }
    }

    /// Moves log starts and makes that durable; retention takes what lies wholly below them afterwards. Blocks.
    fn begin_all(&self, steps: Vec<Step>) -> Vec<Outcome> {
        let mut begun: Vec<Outcome> = steps.iter().map(begin_at).collect();
        if let Err(failure) = self.write_checkpoints() {
            tracing::error!(error = %failure, "cannot write down where logs start");
            begun.fill(Err(failure.kafka().into()));
            return begun;
        }
        let now = self.clock().now();
        tokio::task::spawn_blocking(move || steps.iter().for_each(|step| step.replica.trim_local(now)));
        begun
    }
}

fn begin_at(step: &Step) -> Outcome {
    let replica = &step.replica;
    let start = replica.begin_at(step.wanted);
    if replica.view.flushed_end() < start {
        // Without fsync durability; a log start above what is flushed cannot be written down.
        replica.flush();
    }
    if replica.view.flushed_end() < start {
        return Err(KafkaError::KafkaStorageError.into());
    }
    tracing::info!(partition = %replica.id, log_start = %start, "a client deleted records");
    Ok(start)
}

fn not_exported() -> BrokerError {
    let message = "the topic's table does not have all of these records yet; nothing was deleted, try again";
    BrokerError::new(KafkaError::RequestTimedOut, message)
}
