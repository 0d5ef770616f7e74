//! The flusher's work: make what is written durable, then move the watermark. One flush serves all that arrived before it
//! began; where many logs wait, one `syncfs` serves them all.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tidelog_log::{FlushTicket, LogError};
use tidelog_partition::{Durability, Effects};
use tokio::sync::oneshot;
use tracing::error;

use super::{Replica, Writer};
use crate::checkpoints::Line;
use crate::limits::CHECKPOINT_BYTES;

impl Replica {
    /// Lets the flushers flush everything written so far, together with others that wait for the same. True if the log is still fit to
    /// serve then. One waits at a time: a start before the replica serves, and a stop after it has.
    pub(crate) fn flush_soon(self: &Arc<Self>) -> oneshot::Receiver<bool> {
        let (done, flushed) = oneshot::channel();
        *self.awaits_flush.lock() = Some(done);
        self.core.flushers.submit(self);
        flushed
    }

    /// A flush has ended, well or not.
    fn flush_ended(self: &Arc<Self>, effects: Effects) {
        self.carry_out(effects);
        if let Some(waiting) = self.awaits_flush.lock().take() {
            // The broker may have stopped waiting.
            let _ = waiting.send(self.view.offline().is_none());
        }
        self.ask_for_checkpoint();
    }

    /// Flushes everything written so far.
    pub(crate) fn flush(self: &Arc<Self>) {
        // Held to the end: the log is not deleted under a flush, which would look like a failing disk.
        let deleted = self.flushing.lock();
        if *deleted {
            drop(self.awaits_flush.lock().take());
            return;
        }
        let started = self.core.clock.now().monotonic;
        let effects = match self.view.flush() {
            Ok(end) => self.machine.lock().flushed(end),
            Err(failure) => self.flush_lost(&failure),
        };
        let took = self.core.clock.now().monotonic.saturating_sub(started);
        metrics::histogram!("tidelog_log_flush_seconds").record(took.as_secs_f64());
        self.flush_ended(effects);
    }

    /// The log has grown so much since the last checkpoint that the next one shall not wait for its time.
    fn ask_for_checkpoint(&self) {
        if self.since_checkpoint.load(Ordering::Relaxed) >= CHECKPOINT_BYTES {
            self.core.checkpoint_due.notify_one();
        }
    }

    /// What a checkpoint may say of it now. To be asked for while no other checkpoint is written: an older line must not come behind a newer.
    pub(crate) fn checkpoint_line(&self) -> Line {
        self.since_checkpoint.store(0, Ordering::Relaxed);
        Line::of(&self.offsets(), self.view.flushed_end(), self.cleaned())
    }

    fn flush_lost(&self, failure: &LogError) -> Effects {
        error!(partition = %self.id, error = %failure, "a flush failed: the data directory takes no more until a restart");
        self.core.disk_failed.store(true, Ordering::Release);
        self.machine.lock().flush_failed()
    }

    /// May one `syncfs` stand for many flushes now?
    pub(crate) fn may_flush_together(&self) -> bool {
        self.core.sync_fs.is_some() && !self.core.foreign_writes.as_ref().is_some_and(|writing| writing())
    }

    /// Flushes many logs with one call.
    pub(crate) fn flush_together(replicas: &[Arc<Replica>]) {
        let Some(core) = replicas.first().map(|replica| Arc::clone(&replica.core)) else { return };
        let Some(sync_fs) = &core.sync_fs else { return replicas.iter().for_each(Replica::flush) };
        let mut tickets: Vec<(&Arc<Replica>, FlushTicket)> = Vec::with_capacity(replicas.len());
        // As for a single flush: held to the end, and what is deleted needs none.
        let mut held = Vec::with_capacity(replicas.len());
        for replica in replicas {
            let deleted = replica.flushing.lock();
            if *deleted {
                drop(replica.awaits_flush.lock().take());
                continue;
            }
            held.push(deleted);
            let captured = replica.view.capture().map_err(|failure| replica.flush_lost(&failure));
            let prepared = captured.and_then(|ticket| match ticket.prepare() {
                Ok(()) => Ok(ticket),
                Err(error) => Err(replica.sync_lost(&error)),
            });
            match prepared {
                Ok(ticket) => tickets.push((replica, ticket)),
                // One log's trouble is its own.
                Err(effects) => replica.flush_ended(effects),
            }
        }
        let synced = sync_fs.sync();
        metrics::counter!("tidelog_log_syncfs_total").increment(1);
        // An upload that began meanwhile may have taken an error away: then every file is asked by itself.
        let foreign = core.foreign_writes.as_ref().is_some_and(|writing| writing());
        for (replica, ticket) in tickets {
            let outcome = match &synced {
                Ok(()) if foreign => ticket.sync(),
                Ok(()) => Ok(()),
                Err(error) => Err(std::io::Error::new(error.kind(), error.to_string())),
            };
            let effects = match outcome {
                Ok(()) => {
                    let end = replica.view.complete(ticket);
                    replica.machine.lock().flushed(end)
                }
                Err(error) => replica.sync_lost(&error),
            };
            replica.flush_ended(effects);
        }
    }

    fn sync_lost(&self, failure: &std::io::Error) -> Effects {
        self.view.flush_failed(failure);
        error!(partition = %self.id, error = %failure, "a flush failed: the data directory takes no more until a restart");
        self.core.disk_failed.store(true, Ordering::Release);
        self.machine.lock().flush_failed()
    }

    /// Without fsync durability the topic says when to flush: `flush.messages`, `flush.ms`, and every closed segment.
    pub(super) fn flush_by_setting(self: &Arc<Self>, writer: &mut Writer, rolled: bool, now: Duration) {
        if self.core.durability == Durability::Fsync {
            return;
        }
        let unflushed = self.view.log_end().since(self.view.flushed_end());
        let config = self.config();
        if unflushed == 0 {
            writer.unflushed_since = None;
            return;
        }
        let since = *writer.unflushed_since.get_or_insert(now);
        let many = u64::try_from(config.flush_messages).is_ok_and(|limit| unflushed >= limit);
        let old = flush_after(config.flush_ms).is_some_and(|limit| now.saturating_sub(since) >= limit);
        if rolled || many || old {
            writer.unflushed_since = None;
            self.core.flushers.submit(self);
        }
    }
}

/// `flush.ms` as a time; Kafka's default of the largest number means never.
pub(super) fn flush_after(ms: i64) -> Option<Duration> {
    u64::try_from(ms).ok().filter(|ms| *ms < i64::MAX as u64).map(Duration::from_millis)
}
