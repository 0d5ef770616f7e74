//! One partition's leader: decides offsets, the high watermark and who may be answered. See the crate's first page.

use std::time::Duration;

use tidelog_model::{Deadline, KafkaError, LeaderEpoch, NodeId, Now, Offset, ProducerId};
use tidelog_record::limits::PRODUCER_MAY_RETRY;
use tidelog_record::{BatchSums, ProducerBounds};

use crate::proposal::{Acks, Intent, Overlay, Placed, Proposal, Verdict};
use crate::replicas::{InSync, ReplicaEnds};
use crate::verification::{Guard, Question, Verifications};
use crate::waiting::{Parked, Token, Waiting};

/// When a record counts as safe.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Durability {
    /// When every in-sync replica has flushed it: no power cut takes it back.
    Fsync,
    /// When every in-sync replica has written it: Kafka's rule.
    PageCache,
}

/// Where the partition stands. Always: log start ≤ last stable ≤ high watermark ≤ log end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Offsets {
    /// First offset a reader may ask for.
    pub log_start: Offset,
    /// Below it every transaction is decided.
    pub last_stable: Offset,
    /// Below it everything is safe on the in-sync replicas.
    pub high_watermark: Offset,
    /// After the last record written.
    pub log_end: Offset,
}

/// An answer that may leave now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Reply {
    /// Whose.
    pub token: Token,
    /// The first offset of the batch (or the offset that was waited for), or why not.
    pub result: Result<Offset, KafkaError>,
}

/// What the shell does after an event.
#[derive(Default, PartialEq, Eq, Debug)]
pub struct Effects {
    /// Answers that may leave, in order.
    pub replies: Vec<Reply>,
    /// There are written bytes that no flush covers yet, and somebody's durability depends on one.
    pub flush: bool,
    /// The high watermark or the last stable offset moved: wake readers.
    pub visible_moved: bool,
}

/// The machine.
pub struct Partition {
    durability: Durability,
    min_insync: usize,
    replicas: usize,
    epoch: LeaderEpoch,
    log_start: Offset,
    high_watermark: Offset,
    in_sync: InSync,
    sums: BatchSums,
    verifications: Verifications,
    waiting: Waiting,
    /// The log end that the proposal being written builds on; one at a time.
    writing: Option<Offset>,
    /// Monotonic time of the last batch that was refused because there was no room for its producer.
    crowded: Option<Duration>,
    /// Set when the log can take no more.
    offline: bool,
}

impl Partition {
    /// A leader at `epoch` over a recovered log whose whole content has just been flushed.
    ///
    /// `sums` are what the log's batches add up to; `log_start ≤ log_end`.
    pub fn lead(
        node: NodeId,
        epoch: LeaderEpoch,
        durability: Durability,
        mut sums: BatchSums,
        log_start: Offset,
        log_end: Offset,
    ) -> Self {
        sums.epochs.assign(epoch, log_end);
        Partition {
            durability,
            min_insync: 1,
            replicas: 1,
            epoch,
            log_start,
            high_watermark: log_end,
            in_sync: InSync::new(node, ReplicaEnds { written: log_end, flushed: log_end }),
            sums,
            verifications: Verifications::default(),
            waiting: Waiting::default(),
            writing: None,
            crowded: None,
            offline: false,
        }
    }

    /// `min.insync.replicas`; takes effect with the next proposal. More than the partition has replicas asks for all of them.
    pub fn set_min_insync(&mut self, count: usize) {
        self.min_insync = count.max(1);
    }

    /// How many replicas the partition has, in sync or not; one if nobody tells.
    pub fn set_replicas(&mut self, count: usize) {
        self.replicas = count.max(1);
    }

    /// Begins the first append of a transaction here: whoever gets a guard asks the producer's coordinator and brings the guard along
    /// with the batch. `None`: the transaction is open here, its coordinator knows of it.
    pub fn ask(&mut self, now: Now, question: &Question) -> Option<Guard> {
        let known = self.sums.producers.get(question.producer_id);
        let ongoing = known.is_some_and(|entry| entry.is_ongoing(question.producer_epoch));
        (!ongoing).then(|| self.verifications.ask(question, now))
    }

    /// Does a guard from [`ask`](Self::ask) still count? A batch or a marker of the producer has taken it away otherwise.
    pub fn is_asking(&self, producer_id: ProducerId, guard: Guard) -> bool {
        self.verifications.get(producer_id).is_some_and(|asked| asked.guard == guard)
    }

    /// Has the producer a transaction open here, of whatever epoch?
    pub fn has_open_transaction(&self, producer_id: ProducerId) -> bool {
        self.sums.transactions.open_of(producer_id).is_some()
    }

    /// What the partition's producers may take from now on: whoever hosts many partitions gives each its part of the memory.
    pub fn set_producer_bounds(&mut self, bounds: ProducerBounds, now: Now) {
        self.sums.producers.set_bounds(bounds, now);
    }

    /// Forgets producers that were silent for `expiration` (`producer.id.expiration.ms`).
    pub fn expire_producers(&mut self, now: Now, expiration: Duration) {
        self.sums.producers.expire(now, expiration);
        self.verifications.expire(now, expiration);
    }

    /// Decides offsets for everything that waits. Nothing of the log moves; exactly one of [`written`](Self::written) and
    /// [`write_failed`](Self::write_failed) must follow before the next proposal.
    pub fn propose(&mut self, now: Now, intents: &[Intent]) -> Proposal {
        debug_assert!(self.writing.is_none(), "one proposal at a time");
        let first = self.in_sync.own().written;
        let mut end = first;
        let is_crowded = self.crowded.is_some_and(|last| last.saturating_add(PRODUCER_MAY_RETRY) > now.monotonic);
        let mut overlay = Overlay::new(&self.sums, &self.verifications, is_crowded);
        let placed = intents
            .iter()
            .map(|intent| {
                let verdict = match self.refusal(intent) {
                    Some(error) => Verdict::Reject(error),
                    None => overlay.place(intent, end, now),
                };
                if let Verdict::Append { .. } = verdict {
                    end = end.plus(i64::from(intent.header.last_offset_delta) + 1);
                }
                Placed { intent: *intent, verdict }
            })
            .collect();
        let (aborted, crowded_out, is_full) = (overlay.aborted, overlay.crowded_out, overlay.is_full);
        self.writing = Some(first);
        if is_full {
            self.crowded = Some(now.monotonic);
        }
        Proposal { epoch: self.epoch, first, end, placed, aborted, crowded_out }
    }

    fn refusal(&self, intent: &Intent) -> Option<KafkaError> {
        if self.offline {
            Some(KafkaError::KafkaStorageError)
        } else if intent.acks == Acks::All && self.in_sync.len() < self.min_insync.min(self.replicas) {
            Some(KafkaError::NotEnoughReplicas)
        } else {
            None
        }
    }

    /// The proposal is in the file. Log end, sequences, epochs and transactions move; acks 0 and 1 are answered.
    pub fn written(&mut self, now: Now, proposal: &Proposal) -> Effects {
        self.writing = None;
        let mut effects = Effects::default();
        let own = self.in_sync.own();
        self.in_sync.set_own(ReplicaEnds { written: proposal.end, flushed: own.flushed });
        for Placed { intent, verdict } in &proposal.placed {
            match *verdict {
                Verdict::Append { base_offset } => {
                    let header = intent.header.stamped(base_offset, proposal.epoch);
                    self.sums.apply(&header, intent.content.marker(), now);
                    if header.attributes.is_transactional() {
                        self.verifications.settle(header.producer_id);
                    }
                    self.acknowledge(&mut effects, intent, base_offset, header.next_offset());
                }
                Verdict::Duplicate { base_offset, end, .. } => {
                    self.acknowledge(&mut effects, intent, base_offset, end);
                }
                Verdict::Reject(error) => effects.replies.push(Reply { token: intent.token, result: Err(error) }),
            }
        }
        effects.flush = self.durability == Durability::Fsync && proposal.writes();
        self.move_watermark(&mut effects);
        self.check();
        effects
    }

    fn acknowledge(&mut self, effects: &mut Effects, intent: &Intent, base_offset: Offset, end: Offset) {
        if intent.acks == Acks::All {
            self.waiting.park(end, Parked { token: intent.token, base_offset, deadline: intent.deadline });
        } else {
            effects.replies.push(Reply { token: intent.token, result: Ok(base_offset) });
        }
    }

    /// The proposal is not in the file, not even in part. Only answers come of it.
    ///
    /// `offline` says that the log can take no more: everybody who waits is told.
    pub fn write_failed(&mut self, proposal: &Proposal, error: KafkaError, offline: bool) -> Effects {
        self.writing = None;
        let mut effects = Effects::default();
        for Placed { intent, verdict } in &proposal.placed {
            match *verdict {
                // A duplicate of something that was written before stands on its own feet.
                Verdict::Duplicate { base_offset, end, .. } if end <= proposal.first => {
                    self.acknowledge(&mut effects, intent, base_offset, end);
                }
                Verdict::Reject(reason) => {
                    effects.replies.push(Reply { token: intent.token, result: Err(reason) });
                }
                Verdict::Append { .. } | Verdict::Duplicate { .. } => {
                    effects.replies.push(Reply { token: intent.token, result: Err(error) });
                }
            }
        }
        if offline {
            self.go_offline(&mut effects);
        } else {
            self.move_watermark(&mut effects);
        }
        self.check();
        effects
    }

    /// Everything below `end` is on the disk. Moves the high watermark and answers who waits below it.
    pub fn flushed(&mut self, end: Offset) -> Effects {
        let mut effects = Effects::default();
        let own = self.in_sync.own();
        // A flush that began before a truncation may report more than there is.
        let flushed = own.flushed.max(end.min(own.written));
        self.in_sync.set_own(ReplicaEnds { written: own.written, flushed });
        effects.flush = self.durability == Durability::Fsync && flushed < own.written;
        self.move_watermark(&mut effects);
        self.check();
        effects
    }

    /// A flush failed: what was written since the last good one may be lost, and nobody can tell. The log takes no more.
    pub fn flush_failed(&mut self) -> Effects {
        let mut effects = Effects::default();
        self.go_offline(&mut effects);
        effects
    }

    fn go_offline(&mut self, effects: &mut Effects) {
        self.offline = true;
        let error = KafkaError::KafkaStorageError;
        effects.replies.extend(self.waiting.drain().into_iter().map(|p| Reply { token: p.token, result: Err(error) }));
        effects.visible_moved = true;
    }

    /// This broker leads no longer: everybody who waits is told to look for the new leader.
    pub fn resign(&mut self) -> Effects {
        let error = KafkaError::NotLeaderOrFollower;
        let replies = self.waiting.drain().into_iter().map(|p| Reply { token: p.token, result: Err(error) }).collect();
        Effects { replies, flush: false, visible_moved: true }
    }

    /// Answers `token` with `offset` once everything below `offset` is safe; at once if it is.
    pub fn park(&mut self, token: Token, offset: Offset, deadline: Option<Deadline>) -> Effects {
        let mut effects = Effects::default();
        if self.offline {
            effects.replies.push(Reply { token, result: Err(KafkaError::KafkaStorageError) });
        } else {
            self.waiting.park(offset, Parked { token, base_offset: offset, deadline });
            self.move_watermark(&mut effects);
        }
        effects
    }

    /// Answers who has waited too long; the records stay where they are.
    pub fn expire(&mut self, now: Now) -> Effects {
        let error = KafkaError::RequestTimedOut;
        let expired = self.waiting.expire(now);
        let replies = expired.into_iter().map(|p| Reply { token: p.token, result: Err(error) }).collect();
        Effects { replies, ..Effects::default() }
    }

    /// Moves the log start forward, at most to the high watermark. Returns where it stands.
    pub fn advance_log_start(&mut self, to: Offset) -> Offset {
        self.log_start = self.log_start.max(to.min(self.high_watermark));
        self.check();
        self.log_start
    }

    fn move_watermark(&mut self, effects: &mut Effects) {
        if self.offline {
            return;
        }
        let before = (self.high_watermark, self.last_stable());
        self.high_watermark = self.high_watermark.max(self.in_sync.watermark(self.durability));
        self.sums.transactions.advance(self.high_watermark);
        effects.visible_moved |= before != (self.high_watermark, self.last_stable());
        let ready = self.waiting.release(self.high_watermark);
        effects.replies.extend(ready.into_iter().map(|p| Reply { token: p.token, result: Ok(p.base_offset) }));
    }

    fn last_stable(&self) -> Offset {
        // Retention may have passed an open transaction's first offset.
        self.sums.transactions.last_stable_offset(self.high_watermark).max(self.log_start)
    }

    /// Where the partition stands.
    pub fn offsets(&self) -> Offsets {
        Offsets {
            log_start: self.log_start,
            last_stable: self.last_stable(),
            high_watermark: self.high_watermark,
            log_end: self.in_sync.own().written,
        }
    }

    /// The leader epoch.
    pub fn epoch(&self) -> LeaderEpoch {
        self.epoch
    }

    /// Producer states, leader epochs and transactions: what snapshots and lookups are made from.
    pub fn sums(&self) -> &BatchSums {
        &self.sums
    }

    /// Can the log take no more?
    pub fn is_offline(&self) -> bool {
        self.offline
    }

    /// When [`expire`](Self::expire) has work at the earliest.
    pub fn next_deadline(&self) -> Option<Deadline> {
        self.waiting.next_deadline()
    }

    /// How many answers wait.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    fn check(&self) {
        let at = self.offsets();
        debug_assert!(
            at.log_start <= at.last_stable && at.last_stable <= at.high_watermark && at.high_watermark <= at.log_end,
            "offsets out of order: {at:?}"
        );
    }
}
