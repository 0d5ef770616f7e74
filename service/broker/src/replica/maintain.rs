//! What the log needs from time to time: new settings, rolling, retention, forgetting producers.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tidelog_log::retention::{RemoteCopy, RetentionPlan, RetentionPolicy, RetentionState, decide};
use tidelog_log::{BoxFuture, LogError, RemoteError};
use tidelog_metadata::TopicConfig;
use tidelog_model::{Deadline, KafkaError, Now, Offset, Timestamp};
use tokio::sync::oneshot;
use tracing::{error, info};

use super::{Replica, TierSource, Writer, may_be_remote};
use crate::limits::{ROLL_LEAST, ROLL_RETRY, ROLL_TIMER_MOST};
use crate::replicas::log_config;

/// When the active segment has taken records for long enough.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Roll {
    base: Offset,
    pub(super) at: Deadline,
}

/// One piece of work that must not meet an append.
pub(crate) enum Maintenance {
    /// The topic's settings changed: [`Replica::follow`] has them.
    Settings,
    /// Roll what is old enough, remove what retention no longer keeps, forget silent producers.
    Tidy {
        /// `producer.id.expiration.ms`.
        producer_expiration: std::time::Duration,
    },
}

impl Replica {
    pub(super) fn maintain(self: &Arc<Self>, writer: &mut Writer, maintenance: Maintenance, now: Now) {
        match maintenance {
            Maintenance::Settings => self.take_settings(|config| self.set_config(writer, config)),
            Maintenance::Tidy { producer_expiration } => {
                self.with_machine(|machine| {
                    machine.set_producer_bounds(self.producers.bounds(), now);
                    machine.expire_producers(now, producer_expiration);
                    self.producers.settle(&machine.sums().producers);
                });
                self.roll_if_old(writer, now);
                self.retain(writer, now);
            }
        }
    }

    fn set_config(self: &Arc<Self>, writer: &mut Writer, config: &Arc<TopicConfig>) {
        let min_insync = usize::try_from(config.min_insync_replicas).unwrap_or(1);
        writer.log.set_config(log_config(&self.core, &self.id, config));
        writer.roll = None;
        self.machine.lock().set_min_insync(min_insync);
        let before = std::mem::replace(&mut *self.config.write(), Arc::clone(config));
        if config.remote_storage_enable {
            // It may lead there already; then uploads may go on again, or other limits hold.
            self.lead_remote();
            self.wake_remote();
        } else if config.remote_log_given_up && !before.remote_log_given_up {
            self.leave_remote();
        }
    }

    /// The cold tier begins to upload what this log closes.
    pub(crate) fn lead_remote(self: &Arc<Self>) {
        if let Some(remote) = &self.core.remote {
            let epoch = self.with_machine(|machine| machine.epoch());
            remote.lead(&self.id, epoch, Arc::new(TierSource(Arc::downgrade(self))));
        }
    }

    /// The replica begins to serve. The cold tier leads what has a remote part, and what it remembers one of: where uploads have ended and
    /// everything is local too, the log start still moves on, and what is remote goes with it. What a topic has given up is deleted once
    /// more, because nobody knows how far an earlier process came.
    pub(crate) fn begin_remote(self: &Arc<Self>) {
        let Some(remote) = &self.core.remote else { return };
        let (epoch, log_start) = self.with_machine(|machine| (machine.epoch(), machine.offsets().log_start));
        let is_older_part = log_start < self.view.local_start();
        // Held until the tier has heard: settings that say otherwise come behind it. Nothing else is locked meanwhile.
        let config = self.config.read();
        let has_copies = || may_be_remote(&self.id, &config) && (is_older_part || remote.remembers(&self.id));
        if config.remote_storage_enable || has_copies() {
            remote.lead(&self.id, epoch, Arc::new(TierSource(Arc::downgrade(self))));
        } else if config.remote_log_given_up && !self.id.topic.is_internal() && self.view.active_base() > Offset::ZERO {
            self.delete_remote();
        }
    }

    /// The topic itself has given its remote part up ([`TopicConfig::remote_log_given_up`]): it goes, and the log begins where it is local.
    fn leave_remote(self: &Arc<Self>) {
        let Some(remote) = &self.core.remote else { return };
        remote.resign(&self.id);
        self.move_log_start(self.view.local_start());
        self.delete_remote();
    }

    /// Everything remote goes, once the log start behind it is written down and the store answers. Not tried again here: a topic may be
    /// tiered anew by then.
    fn delete_remote(self: &Arc<Self>) {
        let (id, replica) = (self.id.clone(), Arc::clone(self));
        self.core.runtime.spawn(async move {
            let deletion = match tokio::task::spawn_blocking(move || replica.begin_deletion()).await {
                Ok(Ok(Some(deletion))) => deletion,
                Ok(Ok(None)) => return,
                Ok(Err(failure)) => {
                    error!(
                        partition = %id, error = %failure,
                        "cannot write down where the log starts: the remote part that was given up is deleted at the next start"
                    );
                    return;
                }
                Err(failure) => {
                    error!(partition = %id, error = %failure, "deleting the remote part that was given up failed");
                    return;
                }
            };
            if let Err(failure) = deletion.await {
                info!(partition = %id, error = %failure, "the remote part that was given up is deleted at the next start");
            }
        });
    }

    /// Tells the cold tier to delete what the topic has given up, when no crash brings back a log start that lies there: tiered anew, the
    /// log would ask for what is gone. `None` if it is tiered anew already: then the manifest goes on where it was. Blocks.
    fn begin_deletion(self: &Arc<Self>) -> Result<Option<BoxFuture<'static, Result<(), RemoteError>>>, LogError> {
        let start = self.offsets().log_start;
        self.keep_start(start)?;
        // Held until the tier has heard, as in `begin_remote`.
        let config = self.config.read();
        // It may have been tiered and given up once more meanwhile. Then whoever did that has another start to write down.
        let is_due = config.remote_log_given_up && self.view.local_start() <= start;
        Ok(self.core.remote.as_ref().filter(|_| is_due).map(|remote| remote.delete(&self.id)))
    }

    /// Rolls the active segment when its time has come, and notes when the next one's comes.
    pub(super) fn roll_when_due(self: &Arc<Self>, writer: &mut Writer, now: Now) {
        if writer.roll.take_if(|roll| roll.at.passed(now)).is_some() && !self.roll_if_old(writer, now) {
            writer.roll = Some(Roll { base: self.view.active_base(), at: now.after(ROLL_RETRY) });
        }
        let base = self.view.active_base();
        if writer.roll.is_none_or(|roll| roll.base != base) {
            let at = next_roll(self.view.active_since(), self.config().roll_ms(), now);
            writer.roll = at.map(|at| Roll { base, at });
        }
    }

    /// False if it is old and the disk refused.
    fn roll_if_old(self: &Arc<Self>, writer: &mut Writer, now: Now) -> bool {
        !is_old(self.view.active_since(), self.config().roll_ms(), now) || self.roll(writer, now)
    }

    fn roll(self: &Arc<Self>, writer: &mut Writer, now: Now) -> bool {
        let mut snapshot = |_| Bytes::from(self.machine.lock().sums().producers.encode_snapshot());
        match writer.log.roll(&mut snapshot, now) {
            Ok(_) => {
                // The closed segment's indexes and the new file's name are durable only after a flush.
                self.core.flushers.submit(self);
                self.wake_remote();
                true
            }
            Err(failure) => {
                error!(partition = %self.id, error = %failure, "cannot roll");
                false
            }
        }
    }

    fn retain(self: &Arc<Self>, writer: &mut Writer, now: Now) {
        if self.retention(now).roll_active {
            self.roll(writer, now);
        }
        self.trim_local(now);
    }

    /// Removes what retention keeps no longer, and local copies that the cold tier has, as far as the local limits want it. Called from any
    /// thread; one that is at it already looks once more.
    pub(crate) fn trim_local(self: &Arc<Self>, now: Now) {
        if self.is_gone() {
            return;
        }
        self.trimming.run(|| self.apply_retention(&self.retention(now)));
    }

    fn apply_retention(self: &Arc<Self>, plan: &RetentionPlan) {
        let start = self.begin_at(plan.log_start);
        let below = plan.delete_before.min(start);
        if below > self.view.first_base()
            && let Err(failure) = self.keep_start(below)
        {
            error!(partition = %self.id, error = %failure, "cannot write down where the log starts: its old segments stay");
            return;
        }
        match self.view.apply_retention(plan) {
            Ok(removed) if removed.is_empty() => {}
            Ok(removed) => {
                let bytes: u64 = removed.iter().map(|segment| segment.size).sum();
                info!(partition = %self.id, segments = removed.len(), bytes, "removed local segments");
                metrics::counter!("tidelog_log_removed_segments_total").increment(removed.len() as u64);
            }
            Err(failure) => error!(partition = %self.id, error = %failure, "cannot remove old segments"),
        }
    }

    /// Of a log of which a part was left to the store, the log start is durably at `below` or behind it before what lies below goes, so that
    /// after a crash nobody looks for it in the store. Others find their start where they are local. Blocks.
    fn keep_start(self: &Arc<Self>, below: Offset) -> Result<(), LogError> {
        let name = self.id.topic_partition();
        if !self.view.is_tiered() || self.core.checkpoints.of(&name).log_start >= below {
            return Ok(());
        }
        if self.view.flushed_end() < below {
            // Without fsync durability; a log start above what is flushed cannot be written down.
            self.flush();
        }
        let mut is_kept = true;
        self.core.checkpoints.write(|written| {
            let mut lines = written.clone();
            // A deleted one is to have none.
            if !self.is_gone() {
                let line = self.checkpoint_line();
                is_kept = line.log_start >= below;
                lines.insert(name, line);
            }
            lines
        })?;
        if is_kept {
            return Ok(());
        }
        let reason = format!("it is not flushed up to offset {below}");
        Err(LogError::Offline { directory: self.view.directory().to_owned(), reason })
    }

    /// Readers begin at `offset` from now on, or where they begin already; the cold tier and the export hear of it. Answers where.
    pub(crate) fn begin_at(&self, offset: Offset) -> Offset {
        let before = self.offsets().log_start;
        self.move_log_start(offset);
        let start = self.offsets().log_start;
        if start > before {
            // The manifest lets go of what lies below, even where nothing is written any more.
            self.wake_remote();
            self.tell_moved();
        }
        start
    }

    /// Hears once everything below `offset` is committed, or that it never will be.
    pub(crate) fn committed(self: &Arc<Self>, offset: Offset) -> oneshot::Receiver<Result<Offset, KafkaError>> {
        let (reply, committed) = oneshot::channel();
        let token = self.then(Box::new(move |reached| {
            // Who asked may have gone.
            let _ = reply.send(reached);
        }));
        let effects = self.machine.lock().park(token, offset, None);
        self.carry_out(effects);
        committed
    }

    fn retention(&self, now: Now) -> RetentionPlan {
        let config = self.config();
        let bytes = |limit: Option<i64>| limit.and_then(|limit| u64::try_from(limit).ok());
        let policy = RetentionPolicy {
            time_ms: config.retention_ms.filter(|_| config.cleanup.delete),
            bytes: bytes(config.retention_bytes.filter(|_| config.cleanup.delete)),
            // What uploads nothing more keeps locally what it has, compacted or not.
            local_time_ms: config.local_retention_ms.filter(|_| config.remote_storage_enable),
            local_bytes: bytes(config.local_retention_bytes.filter(|_| config.remote_storage_enable)),
        };
        let offsets = self.offsets();
        let segments = self.view.segments();
        let tiered = self.has_remote_part();
        let remote_segments = self.core.remote.as_ref().filter(|_| tiered).and_then(|remote| remote.segments(&self.id));
        let remote = remote_segments
            .as_ref()
            .map(|segments| RemoteCopy { end: segments.last().map_or(Offset::ZERO, |last| last.end), segments });
        let state = RetentionState {
            segments: &segments,
            log_start: offsets.log_start,
            high_watermark: offsets.high_watermark,
            remote,
            tiered,
        };
        let plan = decide(&policy, &state, now.wall);
        let Some(observer) = self.core.observer.as_ref().filter(|_| plan.log_start > offsets.log_start) else {
            return plan;
        };
        let grace = Duration::from_millis(u64::try_from(config.table.retention_grace_ms).unwrap_or(0));
        let allowed = observer.allow_deletion(now, &self.id, plan.log_start, offsets.log_start, grace);
        plan.held(allowed, remote)
    }

    /// Moves the log start forward, in the machine and in the log.
    pub(crate) fn move_log_start(&self, to: Offset) {
        let moved = self.with_machine(|machine| machine.advance_log_start(to));
        self.view.advance_log_start(moved);
    }
}

/// Has a segment taken records for longer than `roll_ms`, by the clock? How old they are themselves decides when one is appended
/// (`segment.ms`); this is for those behind which none comes, so that they are uploaded and compacted too.
fn is_old(since: Option<Timestamp>, roll_ms: i64, now: Now) -> bool {
    since.is_some_and(|since| now.wall.get().saturating_sub(since.get()) > roll_ms)
}

/// When that will be for the segment that has taken records `since` then; `None` if it has none, or if that is so far away that the checks of
/// retention find it.
fn next_roll(since: Option<Timestamp>, roll_ms: i64, now: Now) -> Option<Deadline> {
    let left = since?.get().saturating_add(roll_ms).saturating_add(1).saturating_sub(now.wall.get());
    let wait = Duration::from_millis(u64::try_from(left).unwrap_or(0)).max(ROLL_LEAST);
    (wait <= ROLL_TIMER_MOST).then(|| now.after(wait))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_rolls_when_it_has_taken_records_for_so_long() {
        let now = Now { monotonic: Duration::from_secs(100), wall: Timestamp(1_000_000_000) };
        let since = |age: i64| Some(Timestamp(now.wall.get() - age));
        let after = |age, roll_ms| next_roll(since(age), roll_ms, now).map(|at| (at.0 - now.monotonic).as_millis());
        assert_eq!(after(0, 2_000), Some(2_001), "a quick one");
        assert_eq!(after(1_500, 10_000), Some(8_501));
        assert_eq!(after(900_000, 2_000), Some(1_000), "since before a restart");
        assert_eq!(after(0, 1), Some(1_000), "not one for each record");
        let week = 7 * 24 * 3_600_000;
        assert_eq!(after(0, week), None, "the checks of retention find it");
        assert_eq!(after(week - 1, week), Some(1_000));
        assert_eq!(after(0, i64::MAX), None);
        assert_eq!(next_roll(None, 2_000, now), None, "it is empty");
        assert!(is_old(since(2_001), 2_000, now));
        assert!(!is_old(since(2_000), 2_000, now) && !is_old(since(-5), 2_000, now) && !is_old(None, 0, now));
    }
}
