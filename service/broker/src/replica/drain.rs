//! The log thread's work on one partition: propose, write, apply, for everything that waits.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use tidelog_log::{Log, StampedBatch};
use tidelog_model::{Deadline, KafkaError, Now, Timestamp};
use tidelog_partition::{Intent, Placed, Proposal, Verdict};
use tidelog_record::{Batch, TimestampType};
use tracing::{error, info};

use super::answers::Answer;
use super::flush::flush_after;
use super::queue::{AppendWork, Taken, Work};
use super::{Ended, Ending, Replica, Writer};

impl Replica {
    /// Does one piece of what waits, and asks for another turn if there is more: other partitions get theirs in between.
    pub(crate) fn drain(self: &Arc<Self>) {
        let mut place = self.writer.lock();
        let now = self.core.clock.now();
        if self.is_gone() {
            let writer = place.take();
            return self.finish(writer);
        }
        let Some(writer) = place.as_mut() else { return };
        let expired = self.machine.lock().expire(now);
        self.carry_out(expired);
        let due = due(now, self.queue.waits_since());
        self.group_timers(writer, due);
        self.transaction_timers(writer, due);
        match self.queue.take(self.view.segment_room()) {
            Taken::Nothing => {}
            Taken::Appends(appends) => self.write(writer, appends, now),
            Taken::One(Work::Append(append)) => self.write(writer, vec![append], now),
            Taken::One(Work::Group(work)) => self.group_work(writer, work, now),
            Taken::One(Work::Transaction(work)) => self.transaction_work(writer, work, now),
            Taken::One(Work::Maintain(maintenance, done)) => {
                self.maintain(writer, maintenance, now);
                // Whoever asked may have gone.
                let _ = done.send(());
            }
        }
        self.roll_when_due(writer, now);
        self.flush_by_setting(writer, false, now.monotonic);
        let flush =
            writer.unflushed_since.and_then(|since| Some(Deadline(since + flush_after(self.config().flush_ms)?)));
        let next = self.machine.lock().next_deadline();
        let groups = writer.groups.as_ref().and_then(|groups| groups.next_deadline());
        let transactions = writer.transactions.as_ref().and_then(|transactions| transactions.next_deadline());
        let roll = writer.roll.map(|roll| roll.at);
        let next = next.into_iter().chain(groups).chain(transactions).chain(flush).chain(roll).min();
        self.core.timers.set(self.key, next);
        if !self.queue.is_empty() {
            self.core.log_threads.submit(self);
        }
    }

    /// The replica ends: nothing is written any more.
    fn finish(self: &Arc<Self>, writer: Option<Writer>) {
        if let Some(Writer { log, groups, .. }) = writer {
            if let Some(groups) = groups {
                groups.resign(KafkaError::NotCoordinator);
            }
            if let Some((ending, done)) = self.ending.lock().take() {
                match ending {
                    Ending::Close => {
                        let snapshot = self.machine.lock().sums().producers.encode_snapshot();
                        // The broker may have stopped waiting.
                        let _ = done.send(log.write_last(&Bytes::from(snapshot)).map(|view| view.log_end()));
                    }
                    Ending::Delete => self.delete(log, done),
                }
            }
            // What was written between the resignation and now waits for a flush that nobody counts any more.
            self.answers.fail_all(KafkaError::NotLeaderOrFollower);
        }
        loop {
            match self.queue.take(self.view.segment_room()) {
                Taken::Nothing => return,
                Taken::Appends(appends) => {
                    for append in appends {
                        let _ = append.reply.send(Err(KafkaError::NotLeaderOrFollower));
                    }
                }
                Taken::One(Work::Group(work)) => work.refuse(KafkaError::NotCoordinator),
                Taken::One(Work::Transaction(work)) => work.refuse(KafkaError::NotCoordinator),
                Taken::One(Work::Append(_) | Work::Maintain(..)) => {}
            }
        }
    }

    /// Removes the log's files, beside the log thread: a flush or the last batch of a compaction is waited for, and other partitions must
    /// not wait with it.
    fn delete(self: &Arc<Self>, log: Log, done: Ended) {
        let this = Arc::clone(self);
        let delete = move || {
            let end = this.view.log_end();
            let mut deleted = this.flushing.lock();
            *deleted = true;
            // The broker may have stopped waiting.
            let _ = done.send(log.delete(this.id.id).map(|()| end));
        };
        self.core.tasks.spawn_blocking_on(delete, &self.core.runtime);
    }

    fn write(self: &Arc<Self>, writer: &mut Writer, appends: Vec<AppendWork>, now: Now) {
        if self.awaits_groups(writer) {
            // A coordinator that loads would miss a marker that is written behind its back; its writer comes again.
            for append in appends {
                let _ = append.reply.send(Err(KafkaError::NotLeaderOrFollower));
            }
            return;
        }
        let mut batches = Vec::with_capacity(appends.len());
        let mut keeps = Vec::with_capacity(appends.len());
        let mut intents = Vec::with_capacity(appends.len());
        for append in appends {
            let header = *append.batch.header();
            let append_time = match header.attributes.timestamp_type() {
                TimestampType::LogAppendTime => header.max_timestamp,
                TimestampType::CreateTime => Timestamp::NONE,
            };
            let token = self.answers.open(Answer::Append { reply: append.reply, append_time });
            let AppendWork { batch, content, acks, deadline, origin, keep, .. } = append;
            keeps.push(keep);
            intents.push(Intent { token, header, content, acks, deadline, origin });
            batches.push(batch);
        }
        // The result reaches everybody through their tokens.
        if let Ok(proposal) = self.write_group(writer, &intents, &batches, now) {
            self.group_markers(writer, &proposal);
        }
    }

    /// Proposes, writes and applies one group. `Err` if the disk refused it; then nothing has moved.
    pub(super) fn write_group(
        self: &Arc<Self>,
        writer: &mut Writer,
        intents: &[Intent],
        batches: &[Batch],
        now: Now,
    ) -> Result<Proposal, KafkaError> {
        let proposal = self.with_machine(|machine| {
            machine.set_producer_bounds(self.producers.bounds(), now);
            machine.propose(now, intents)
        });
        for placed in &proposal.placed {
            if let Verdict::Duplicate { timestamp, .. } = placed.verdict {
                self.answers.set_append_time(placed.intent.token, timestamp);
            }
        }
        let stamped: Vec<StampedBatch> = proposal
            .placed
            .iter()
            .zip(batches)
            .filter_map(|(placed, batch)| match placed.verdict {
                Verdict::Append { base_offset } => Some(StampedBatch::new(batch, base_offset, proposal.epoch)),
                Verdict::Duplicate { .. } | Verdict::Reject(_) => None,
            })
            .collect();
        let mut snapshot = |_| Bytes::from(self.machine.lock().sums().producers.encode_snapshot());
        let written = if stamped.is_empty() {
            Ok(None)
        } else {
            writer.log.append(&stamped, &proposal.aborted, &mut snapshot, now).map(Some)
        };
        match written {
            Ok(appended) => {
                let effects = self.with_machine(|machine| {
                    let effects = machine.written(now, &proposal);
                    self.producers.settle(&machine.sums().producers);
                    effects
                });
                self.carry_out(effects);
                self.count(&proposal, &stamped);
                if appended.is_some()
                    && let Some(batches) = writer.refusals.written()
                {
                    info!(partition = %self.id, batches, "appends again; so many were refused meanwhile");
                }
                if appended.is_some_and(|appended| appended.rolled.is_some()) {
                    self.flush_by_setting(writer, true, now.monotonic);
                    self.wake_remote();
                }
                Ok(proposal)
            }
            Err(failure) => {
                if let Some(batches) = writer.refusals.refused(stamped.len(), now.monotonic) {
                    error!(partition = %self.id, error = %failure, batches, "cannot append");
                }
                let error = failure.kafka();
                let offline = self.view.offline().is_some();
                let effects = self.machine.lock().write_failed(&proposal, error, offline);
                self.carry_out(effects);
                Err(error)
            }
        }
    }

    fn count(&self, proposal: &Proposal, stamped: &[StampedBatch]) {
        let bytes: usize = stamped.iter().map(StampedBatch::size).sum();
        self.since_checkpoint.fetch_add(bytes as u64, Ordering::Relaxed);
        let duplicates = |placed: &&Placed| matches!(placed.verdict, Verdict::Duplicate { .. });
        // Unless it is a duplicate, the batches of the intents are those that were written.
        let written = proposal.placed.iter().filter(|placed| matches!(placed.verdict, Verdict::Append { .. }));
        let messages = written.map(|placed| u64::try_from(placed.intent.header.record_count).unwrap_or(0)).sum();
        self.traffic.came_in(bytes as u64, messages);
        metrics::counter!("tidelog_log_appended_bytes_total").increment(bytes as u64);
        metrics::counter!("tidelog_log_appended_batches_total").increment(stamped.len() as u64);
        metrics::counter!("tidelog_log_duplicate_batches_total")
            .increment(proposal.placed.iter().filter(duplicates).count() as u64);
        metrics::counter!("tidelog_producers_refused_total").increment(proposal.crowded_out as u64);
    }
}

/// Up to when time-outs may act: those that were due before the next piece of work came. What came in time is served first, however long
/// it has waited for this thread.
fn due(now: Now, waits_since: Option<Duration>) -> Now {
    Now { monotonic: waits_since.map_or(now.monotonic, |since| since.min(now.monotonic)), ..now }
}
