//! The broker's shell around one partition, cut into steps: what its log thread and its flusher do, with everything else able to
//! come in between. It decides nothing; the partition machine and the log do.

use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use tidelog_log::retention::{RetentionPlan, RetentionPolicy, RetentionState, decide};
use tidelog_log::{Checkpoints, Cut, Disk, FileCache, FlushTicket, Log, LogConfig, LogError, LogView, StampedBatch};
use tidelog_model::{Deadline, KafkaError, LeaderEpoch, NodeId, Now, Offset, TopicId};
use tidelog_partition::{Acks, Content, Durability, Effects, Intent, Offsets, Partition, Proposal, Token, Verdict};
use tidelog_record::{Batch, BatchSums, Origin};

use crate::ledger::Written;

/// Small segments, so that a short life sees many.
pub(crate) fn config() -> LogConfig {
    LogConfig { segment_bytes: 16 * 1024, segment_ms: 15_000, index_interval_bytes: 512, ..LogConfig::default() }
}

const RETENTION: RetentionPolicy =
    RetentionPolicy { time_ms: Some(40_000), bytes: Some(48 * 1024), local_time_ms: None, local_bytes: None };

/// Most batches of one write: small, so that queues are drained in several turns.
const BATCHES_PER_WRITE: usize = 6;

/// One produce request for this partition.
#[derive(Clone, Debug)]
pub(crate) struct Append {
    pub(crate) batch: Batch,
    pub(crate) content: Content,
    pub(crate) acks: Acks,
    pub(crate) deadline: Option<Deadline>,
    /// Who asks; comes back with the answer.
    pub(crate) producer: usize,
    pub(crate) origin: Origin,
}

/// Who waits for a token.
#[derive(Clone, Debug)]
pub(crate) enum Waiter {
    Append(Append),
    /// Somebody who wants everything below the offset to be safe.
    Safe(Offset),
}

/// An answer on its way out.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) waiter: Waiter,
    pub(crate) result: Result<Offset, KafkaError>,
}

/// How far the flusher is with this partition.
#[derive(Debug)]
enum Flushing {
    Idle,
    /// What is to be flushed is known.
    Captured(FlushTicket),
    /// It is on the disk.
    Synced(FlushTicket),
    /// The log knows it, the machine does not yet.
    Completed(Offset),
}

/// What one turn of the log thread did to the log.
#[derive(Default, Debug)]
pub(crate) struct Turn {
    /// Batches that are in the log now.
    pub(crate) written: Vec<Written>,
    /// Batches that a failed write may have left there.
    pub(crate) attempted: Vec<Written>,
    pub(crate) duplicates: usize,
    pub(crate) rolled: bool,
    pub(crate) failure: Option<LogError>,
}

/// A partition that leads.
pub(crate) struct Replica {
    log: Log,
    pub(crate) view: LogView,
    pub(crate) machine: Partition,
    durability: Durability,
    pub(crate) queue: VecDeque<Append>,
    waiters: BTreeMap<Token, Waiter>,
    next_token: u64,
    flush_wanted: bool,
    flushing: Flushing,
    outbox: Vec<Answer>,
    /// A token that was answered twice, or never opened.
    pub(crate) broken: Option<String>,
}

/// What a start needs to know about one partition.
pub(crate) struct Opening<'a> {
    pub(crate) directory: &'a Path,
    pub(crate) topic_id: TopicId,
    pub(crate) epoch: LeaderEpoch,
    pub(crate) durability: Durability,
    pub(crate) checkpoints: Checkpoints,
    /// Its topic is compacted: offsets may be missing.
    pub(crate) compacted: bool,
}

/// What a start found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Opened {
    pub(crate) verified_bytes: u64,
    pub(crate) cut: Option<Cut>,
}

impl Replica {
    /// As the broker opens a partition: create or recover, begin the epoch, flush, lead.
    pub(crate) fn open(disk: &Arc<dyn Disk>, opening: &Opening<'_>, now: Now) -> Result<(Replica, Opened), LogError> {
        let directory = opening.directory;
        let config = LogConfig { compacted: opening.compacted, ..config() };
        let (disk, files) = (Arc::clone(disk), FileCache::new(4));
        let exists = disk.list(directory).is_ok_and(|entries| !entries.is_empty());
        let mut opened = Opened { verified_bytes: 0, cut: None };
        let (mut log, sums, log_start) = if exists {
            let (log, recovered) = Log::open(disk, files, directory, config, opening.checkpoints, now)?;
            if recovered.topic_id.is_some_and(|found| found != opening.topic_id) {
                let (path, reason) = (PathBuf::from(directory), "another topic's id".to_owned());
                return Err(LogError::Format { path, reason });
            }
            opened = Opened { verified_bytes: recovered.verified_bytes, cut: recovered.cut };
            (log, recovered.sums, recovered.log_start)
        } else {
            let log = Log::create(disk, files, directory, opening.topic_id, config, Offset::ZERO)?;
            (log, BatchSums::default(), Offset::ZERO)
        };
        let end = log.view().log_end();
        log.assign_epoch(opening.epoch, end);
        log.view().flush()?;
        let machine = Partition::lead(NodeId(1), opening.epoch, opening.durability, sums, log_start, end);
        let replica = Replica {
            view: log.view(),
            log,
            machine,
            durability: opening.durability,
            queue: VecDeque::new(),
            waiters: BTreeMap::new(),
            next_token: 0,
            flush_wanted: false,
            flushing: Flushing::Idle,
            outbox: Vec::new(),
            broken: None,
        };
        Ok((replica, opened))
    }

    /// The answers that may leave.
    pub(crate) fn take_answers(&mut self) -> Vec<Answer> {
        std::mem::take(&mut self.outbox)
    }

    /// Does nobody wait and no work lie here?
    pub(crate) fn is_quiet(&self) -> bool {
        let idle = matches!(self.flushing, Flushing::Idle) && !self.flush_wanted;
        idle && self.queue.is_empty() && self.waiters.is_empty() && self.machine.waiting() == 0
    }

    fn token(&mut self, waiter: Waiter) -> Token {
        let token = Token(self.next_token);
        self.next_token += 1;
        self.waiters.insert(token, waiter);
        token
    }

    fn carry_out(&mut self, effects: Effects) {
        for reply in effects.replies {
            match self.waiters.remove(&reply.token) {
                Some(waiter) => self.outbox.push(Answer { waiter, result: reply.result }),
                None => self.broken = Some(format!("{:?} has nobody who waits for it", reply.token)),
            }
        }
        self.flush_wanted |= effects.flush;
    }

    /// One turn of the log thread: who waited too long, then one group of appends.
    pub(crate) fn drain(&mut self, now: Now) -> Turn {
        let expired = self.machine.expire(now);
        self.carry_out(expired);
        let count = self.queue.len().min(BATCHES_PER_WRITE);
        let appends: Vec<Append> = self.queue.drain(..count).collect();
        if appends.is_empty() {
            return Turn::default();
        }
        let mut intents = Vec::with_capacity(appends.len());
        let mut batches = Vec::with_capacity(appends.len());
        for append in appends {
            let (header, acks, deadline) = (*append.batch.header(), append.acks, append.deadline);
            let content = append.content;
            let origin = append.origin;
            batches.push(append.batch.clone());
            let token = self.token(Waiter::Append(append));
            intents.push(Intent { token, header, content, acks, deadline, origin });
        }
        self.write_group(&intents, &batches, now)
    }

    fn write_group(&mut self, intents: &[Intent], batches: &[Batch], now: Now) -> Turn {
        let proposal = self.machine.propose(now, intents);
        let stamped = stamp(&proposal, batches);
        let written: Vec<Written> = stamped.iter().map(Written::of).collect();
        let duplicate = |verdict: &Verdict| matches!(verdict, Verdict::Duplicate { .. });
        let duplicates = proposal.placed.iter().filter(|placed| duplicate(&placed.verdict)).count();
        let machine = &self.machine;
        let mut snapshot = |_| Bytes::from(machine.sums().producers.encode_snapshot());
        let result = if stamped.is_empty() {
            Ok(None)
        } else {
            self.log.append(&stamped, &proposal.aborted, &mut snapshot, now).map(Some)
        };
        match result {
            Ok(appended) => {
                let effects = self.machine.written(now, &proposal);
                self.carry_out(effects);
                let rolled = appended.is_some_and(|appended| appended.rolled.is_some());
                // Without fsync durability a closed segment is what asks for a flush.
                self.flush_wanted |= rolled && self.durability == Durability::PageCache;
                Turn { written, duplicates, rolled, ..Turn::default() }
            }
            Err(failure) => {
                let offline = self.view.offline().is_some();
                let effects = self.machine.write_failed(&proposal, failure.kafka(), offline);
                self.carry_out(effects);
                let attempted = if offline { written } else { Vec::new() };
                Turn { attempted, duplicates, failure: Some(failure), ..Turn::default() }
            }
        }
    }

    /// The flusher's next step on this partition, if it has anything to do; a failure is returned after the machine knows it.
    pub(crate) fn flush_step(&mut self) -> Result<Option<&'static str>, LogError> {
        let (next, done) = match std::mem::replace(&mut self.flushing, Flushing::Idle) {
            Flushing::Idle if !self.flush_wanted => return Ok(None),
            Flushing::Idle => {
                self.flush_wanted = false;
                match self.view.capture() {
                    Ok(ticket) => (Flushing::Captured(ticket), "captured"),
                    Err(failure) => return Err(self.flush_lost(failure)),
                }
            }
            Flushing::Captured(ticket) => match ticket.sync() {
                Ok(()) => (Flushing::Synced(ticket), "synced"),
                Err(source) => {
                    self.view.flush_failed(&source);
                    let path = self.view.directory().to_owned();
                    return Err(self.flush_lost(LogError::Io { action: "cannot flush", path, source }));
                }
            },
            Flushing::Synced(ticket) => (Flushing::Completed(self.view.complete(ticket)), "completed"),
            Flushing::Completed(end) => {
                let effects = self.machine.flushed(end);
                self.carry_out(effects);
                (Flushing::Idle, "flushed")
            }
        };
        self.flushing = next;
        Ok(Some(done))
    }

    fn flush_lost(&mut self, failure: LogError) -> LogError {
        let effects = self.machine.flush_failed();
        self.carry_out(effects);
        failure
    }

    /// Somebody asks for a flush, as a topic's `flush.messages` does.
    pub(crate) fn want_flush(&mut self) {
        self.flush_wanted = true;
    }

    /// Somebody waits until everything below `offset` is safe.
    pub(crate) fn wait_for(&mut self, offset: Offset, deadline: Option<Deadline>) {
        let token = self.token(Waiter::Safe(offset));
        let effects = self.machine.park(token, offset, deadline);
        self.carry_out(effects);
    }

    /// Rolls by age and removes what retention no longer keeps.
    pub(crate) fn tidy(&mut self, now: Now) -> Result<(), LogError> {
        let mut plan = self.plan(now);
        let old = |first: tidelog_model::Timestamp| now.wall.get().saturating_sub(first.get()) > config().segment_ms;
        let active = self.view.segments().last().copied();
        if plan.roll_active || active.and_then(|active| active.first_timestamp).is_some_and(old) {
            self.roll(now)?;
            plan = self.plan(now);
        }
        self.move_log_start(plan.log_start);
        self.view.apply_retention(&plan).map(drop)
    }

    fn plan(&self, now: Now) -> RetentionPlan {
        let offsets = self.machine.offsets();
        let segments = self.view.segments();
        let state = RetentionState {
            segments: &segments,
            log_start: offsets.log_start,
            high_watermark: offsets.high_watermark,
            remote: None,
            tiered: false,
        };
        decide(&RETENTION, &state, now.wall)
    }

    /// Closes the active segment.
    pub(crate) fn roll(&mut self, now: Now) -> Result<(), LogError> {
        let machine = &self.machine;
        let mut snapshot = |_| Bytes::from(machine.sums().producers.encode_snapshot());
        self.log.roll(&mut snapshot, now)?;
        self.flush_wanted = true;
        Ok(())
    }

    /// Moves the log start forward, in the machine and in the log.
    pub(crate) fn move_log_start(&mut self, to: Offset) {
        let moved = self.machine.advance_log_start(to);
        self.view.advance_log_start(moved);
    }

    /// A clean stop. Returns the last answers, who was forgotten, and the flushed end if the log could be closed.
    pub(crate) fn close(mut self, flusher_ends: bool) -> Closed {
        if flusher_ends && !matches!(self.flushing, Flushing::Idle) {
            // The flusher was at work, and is not interrupted.
            while !matches!(self.flushing, Flushing::Idle) && self.flush_step().is_ok() {}
        }
        let effects = self.machine.resign();
        self.carry_out(effects);
        let offsets = self.machine.offsets();
        let snapshot = Bytes::from(self.machine.sums().producers.encode_snapshot());
        let end = self.log.close(&snapshot);
        for append in self.queue.drain(..) {
            let result = Err(KafkaError::NotLeaderOrFollower);
            self.outbox.push(Answer { waiter: Waiter::Append(append), result });
        }
        Closed { answers: self.outbox, forgotten: self.waiters.len(), end, view: self.view, offsets }
    }
}

/// What is left of a replica after a clean stop.
pub(crate) struct Closed {
    pub(crate) answers: Vec<Answer>,
    pub(crate) forgotten: usize,
    pub(crate) end: Result<Offset, LogError>,
    pub(crate) view: LogView,
    pub(crate) offsets: Offsets,
}

fn stamp(proposal: &Proposal, batches: &[Batch]) -> Vec<StampedBatch> {
    let pairs = proposal.placed.iter().zip(batches);
    pairs
        .filter_map(|(placed, batch)| match placed.verdict {
            Verdict::Append { base_offset } => Some(StampedBatch::new(batch, base_offset, proposal.epoch)),
            Verdict::Duplicate { .. } | Verdict::Reject(_) => None,
        })
        .collect()
}
