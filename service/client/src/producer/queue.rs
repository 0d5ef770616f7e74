//! One partition's batches: decides which may be sent, in which order and with which sequence numbers, and what an answer
//! means for them. It does no I/O and reads no clock.
//!
//! Sequences are given when a batch is sealed. After a batch has failed for good the sequences have a *gap*: only what lies
//! before it is still sent. Once nothing of that is left and nothing is in flight, the queue takes a new identity, numbers the
//! batches that were surely not stored anew, and fails those of unknown outcome, which a second sending could duplicate.
//!
//! A leader that knows nothing of a producer accepts any sequence, and so the second batch after refusing the first; the first
//! would then be out of order for ever. So one batch goes alone until the leader has stored one, and again after every retry.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tidelog_model::limits::MAX_INFLATED_BATCH_BYTES;
use tidelog_model::{KafkaError, Offset, ProducerEpoch, ProducerId, Sequence, Timestamp};
use tidelog_record::{Batch, BatchBuilder};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use super::delivery::{Delivery, Placed, Settle};
use super::{NewRecord, ProducerOptions, Unsettled};
use crate::ClientError;
use crate::limits::{FIRST_BACKOFF, MAX_BACKOFF, MAX_IN_FLIGHT};

/// Who a partition's batches come from, and the next sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Identity {
    id: ProducerId,
    epoch: ProducerEpoch,
    next: Sequence,
}

impl Identity {
    pub(super) fn new(id: i64, epoch: i16) -> Self {
        Identity { id: ProducerId(id), epoch: ProducerEpoch(epoch), next: Sequence(0) }
    }
}

/// The batch that takes records.
#[derive(Debug)]
struct Open {
    builder: BatchBuilder,
    settle: Settle,
    opened: Instant,
}

/// A batch that is ready to go.
#[derive(Debug)]
pub(super) struct Sealed {
    number: u64,
    pub(super) bytes: Bytes,
    /// When its first record came: the delivery time counts from here.
    created: Instant,
    /// It was sent, and nobody knows whether it was stored.
    doubtful: bool,
    /// It was sent while an earlier one was unanswered, which the leader may then not have had.
    behind: bool,
    settle: Settle,
}

/// What a push did.
#[derive(Debug)]
pub(super) struct Pushed {
    pub(super) delivery: Delivery,
    /// A batch became full.
    pub(super) sealed: bool,
    /// A batch was begun.
    pub(super) opened: bool,
}

/// What a batch's answer said.
#[derive(Debug)]
pub(super) enum Answered {
    /// Stored.
    Stored(Placed),
    /// The leader says that it has it already, and cannot say where.
    Duplicate(Placed, ClientError),
    /// Surely not stored.
    Refused(KafkaError, ClientError),
    /// Nobody knows.
    Unknown(ClientError),
}

/// What the sender must do after an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// Nothing special.
    Continue,
    /// The leader may be another.
    Refresh,
}

/// A partition's batches in the order of their records.
#[derive(Debug, Default)]
pub(super) struct PartitionQueue {
    open: Option<Open>,
    ready: VecDeque<Sealed>,
    /// Numbers of the batches that are sent and unanswered.
    in_flight: BTreeMap<u64, ()>,
    next_number: u64,
    identity: Option<Identity>,
    /// The leader has stored a batch of this identity and nothing had to be retried since; otherwise only one is in flight.
    established: bool,
    /// The first batch whose sequences are of no use to those behind it, because it failed or its identity is forgotten.
    gap: Option<u64>,
    retry_at: Option<Instant>,
    backoff: Duration,
    last_error: Option<String>,
    /// The sender has it on its list.
    queued: bool,
}

impl PartitionQueue {
    /// An empty queue. The identity is there before the first record: a batch sealed without one would not be protected.
    pub(super) fn new(identity: Option<Identity>) -> Self {
        PartitionQueue { identity, ..PartitionQueue::default() }
    }

    /// Adds a record to the open batch; `None` if a new batch is needed, and so memory.
    pub(super) fn push(
        &mut self,
        record: &NewRecord,
        size: usize,
        timestamp: Timestamp,
        options: &ProducerOptions,
    ) -> Result<Option<Pushed>, ClientError> {
        let Some(open) = &mut self.open else { return Ok(None) };
        if open.builder.size().saturating_add(size) > options.batch_bytes {
            return Ok(None);
        }
        Ok(Some(Pushed { delivery: open.push(record, timestamp)?, sealed: false, opened: false }))
    }

    /// Adds a record, with memory for a new batch if the open one is full.
    pub(super) fn push_with(
        &mut self,
        record: &NewRecord,
        size: usize,
        timestamp: Timestamp,
        options: &ProducerOptions,
        memory: OwnedSemaphorePermit,
        unsettled: Arc<Unsettled>,
    ) -> Result<Pushed, ClientError> {
        // Someone else may have begun a batch meanwhile.
        if let Some(pushed) = self.push(record, size, timestamp, options)? {
            return Ok(pushed);
        }
        let builder = BatchBuilder::new(Offset::ZERO).codec(options.codec);
        let mut open = Open { builder, settle: Settle::new(unsettled, Some(memory)), opened: Instant::now() };
        // A record that fits no batch must not cost the open one.
        let delivery = open.push(record, timestamp)?;
        let sealed = self.seal();
        self.open = Some(open);
        Ok(Pushed { delivery, sealed, opened: true })
    }

    /// Closes the open batch and gives it its sequences; false if there is none.
    pub(super) fn seal(&mut self) -> bool {
        let Some(Open { mut builder, settle, opened }) = self.open.take() else { return false };
        if let Some(identity) = &mut self.identity {
            let count = builder.count();
            builder = builder.producer(identity.id, identity.epoch, identity.next);
            identity.next = identity.next.plus(count);
        }
        let number = self.next_number;
        self.next_number = number.saturating_add(1);
        match builder.build() {
            Ok(batch) => {
                let bytes = batch.into_bytes();
                let (created, doubtful, behind) = (opened, false, false);
                self.ready.push_back(Sealed { number, bytes, created, doubtful, behind, settle });
            }
            Err(error) => {
                settle.settle(Err(error.into()));
                self.open_gap(number);
            }
        }
        true
    }

    /// Marks it as known to the sender; true if it was not.
    pub(super) fn enqueue(&mut self) -> bool {
        !std::mem::replace(&mut self.queued, true)
    }

    /// Nothing to do: leaves the sender's list. A queue with a gap and no batches waits for the next record.
    pub(super) fn dequeue_if_idle(&mut self) -> bool {
        let idle = self.open.is_none() && self.ready.is_empty() && self.in_flight.is_empty();
        self.queued = !idle;
        idle
    }

    /// Has batches that wait for a new identity, nothing in flight, nothing before the gap, and no pause.
    pub(super) fn needs_identity(&self, now: Instant) -> bool {
        let waits = self.open.is_some() || !self.ready.is_empty();
        let Some(gap) = self.gap else { return false };
        let before_gap = self.ready.front().is_some_and(|batch| batch.number < gap);
        waits && !before_gap && self.in_flight.is_empty() && self.retry_at.is_none_or(|at| at <= now)
    }

    /// Takes the next batch to send, or tells when to look again. `hurry` seals an open batch that still lingers.
    pub(super) fn take(&mut self, now: Instant, linger: Duration, hurry: bool) -> Take {
        if let Some(at) = self.retry_at {
            if now < at {
                return Take::At(at);
            }
            self.retry_at = None;
        }
        if let Some(gap) = self.gap
            && self.ready.front().is_none_or(|batch| batch.number >= gap)
        {
            return Take::Nothing;
        }
        let limit = if self.identity.is_some() && !self.established { 1 } else { MAX_IN_FLIGHT };
        if self.in_flight.len() >= limit || !self.is_remembered() {
            return Take::Nothing;
        }
        let mut sealed_open = false;
        if self.ready.is_empty() {
            let Some(open) = &self.open else { return Take::Nothing };
            let due = open.opened + linger;
            if !hurry && now < due {
                return Take::At(due);
            }
            sealed_open = self.seal();
        }
        match self.ready.pop_front() {
            Some(mut batch) => {
                batch.behind = self.in_flight.keys().next().is_some_and(|first| *first < batch.number);
                self.in_flight.insert(batch.number, ());
                Take::Batch(batch, sealed_open)
            }
            None => Take::Nothing,
        }
    }

    /// Will the leader still know the oldest unanswered batch after storing the next one? A retry of what it has forgotten is
    /// out of order for ever, so the batches behind that one count whether they are answered or not.
    fn is_remembered(&self) -> bool {
        let next = self.ready.front().map_or(self.next_number, |batch| batch.number);
        let oldest = self.in_flight.keys().next().copied().unwrap_or(next);
        self.identity.is_none() || next.saturating_sub(oldest) < MAX_IN_FLIGHT as u64
    }

    /// Puts a batch back that was taken and not sent.
    pub(super) fn put_back(&mut self, batch: Sealed) {
        self.in_flight.remove(&batch.number);
        let at = self.ready.partition_point(|other| other.number < batch.number);
        self.ready.insert(at, batch);
    }

    /// Settles a batch, or puts it back for another try.
    pub(super) fn answered(&mut self, mut batch: Sealed, answer: Answered, now: Instant) -> Next {
        self.in_flight.remove(&batch.number);
        match answer {
            Answered::Stored(placed) => {
                (self.backoff, self.last_error, self.established) = (Duration::ZERO, None, true);
                batch.settle.settle(Ok(placed));
                Next::Continue
            }
            // By an earlier try, but so long ago that the broker no longer knows where.
            Answered::Duplicate(placed, _) if batch.doubtful => self.answered(batch, Answered::Stored(placed), now),
            Answered::Duplicate(_, why) => self.refused(batch, KafkaError::DuplicateSequenceNumber, why, now),
            Answered::Unknown(error) => {
                batch.doubtful = true;
                self.retry(batch, error.to_string(), now);
                Next::Refresh
            }
            Answered::Refused(error, why) => self.refused(batch, error, why, now),
        }
    }

    fn refused(&mut self, mut batch: Sealed, error: KafkaError, why: ClientError, now: Instant) -> Next {
        use KafkaError::*;
        let protected = self.identity.is_some();
        match error {
            // The batch before it was still to be stored, or failed and left a gap: surely not stored.
            OutOfOrderSequenceNumber if protected && (batch.behind || self.has_before(batch.number)) => {
                self.retry(batch, why.to_string(), now);
                Next::Continue
            }
            // The broker has forgotten the producer; under a new identity it starts afresh.
            OutOfOrderSequenceNumber | DuplicateSequenceNumber | UnknownProducerId | InvalidProducerEpoch
                if protected && !batch.doubtful =>
            {
                self.open_gap(batch.number);
                self.retry(batch, why.to_string(), now);
                Next::Continue
            }
            _ if why.is_retriable() => {
                // Only these are said before anything is written. A leader that steps down may have stored what it refuses.
                batch.doubtful |= !matches!(error, NotEnoughReplicas | CorruptMessage);
                self.retry(batch, why.to_string(), now);
                Next::Refresh
            }
            _ => {
                // An earlier try may have been more successful.
                let doubt = batch.doubtful.then(|| ClientError::OutcomeUnknown { last: why.to_string() });
                self.fail(batch, doubt.unwrap_or(why));
                Next::Continue
            }
        }
    }

    /// Is there something before it that the leader may lack?
    fn has_before(&self, number: u64) -> bool {
        self.gap.is_some_and(|gap| gap < number)
            || self.ready.front().is_some_and(|batch| batch.number < number)
            || self.in_flight.keys().next().is_some_and(|first| *first < number)
    }

    fn retry(&mut self, batch: Sealed, error: String, now: Instant) {
        self.last_error = Some(error);
        self.backoff = self.backoff.saturating_mul(2).clamp(FIRST_BACKOFF, MAX_BACKOFF);
        self.retry_at = Some(now + self.backoff);
        self.established = false;
        self.put_back(batch);
    }

    fn fail(&mut self, batch: Sealed, error: ClientError) {
        self.open_gap(batch.number);
        batch.settle.settle(Err(error));
    }

    /// Later batches are numbered as if this one had been stored.
    fn open_gap(&mut self, number: u64) {
        if self.identity.is_some() {
            self.gap = Some(self.gap.map_or(number, |gap| gap.min(number)));
        }
    }

    /// Pauses the partition; the sender calls it when the leader is unknown or away.
    pub(super) fn pause(&mut self, until: Instant, why: String) {
        self.retry_at = Some(until);
        self.last_error = Some(why);
    }

    /// Fails the waiting records whose delivery time is over. Answers when the next ones' will be.
    pub(super) fn expire(&mut self, now: Instant, timeout: Duration) -> Option<Instant> {
        while let Some(front) = self.ready.front() {
            if now < front.created + timeout {
                return Some(front.created + timeout);
            }
            let error = self.expired(timeout);
            if let Some(batch) = self.ready.pop_front() {
                self.fail(batch, error);
            }
        }
        let at = self.open.as_ref()?.opened + timeout;
        if now < at {
            return Some(at);
        }
        let error = self.expired(timeout);
        if let Some(open) = self.open.take() {
            // It has no sequences yet, so it leaves no gap.
            open.settle.settle(Err(error));
        }
        None
    }

    /// Why the last try failed, unless a later one succeeded.
    pub(super) fn last_error(&self) -> Option<&str> {
        self.last_error.as_deref()
    }

    fn expired(&self, after: Duration) -> ClientError {
        ClientError::Expired { after, last: self.last_error.clone().unwrap_or_else(|| "none".into()) }
    }

    /// Closes the gap with a new identity.
    pub(super) fn restart(&mut self, identity: Identity) {
        let mut identity = identity;
        (self.gap, self.established) = (None, false);
        for mut batch in std::mem::take(&mut self.ready) {
            if batch.doubtful {
                let last = "an earlier batch failed".to_owned();
                batch.settle.settle(Err(ClientError::OutcomeUnknown { last }));
                continue;
            }
            match renumbered(&batch.bytes, &identity) {
                Ok((bytes, next)) => {
                    (batch.bytes, identity.next) = (bytes, next);
                    self.ready.push_back(batch);
                }
                Err(error) => batch.settle.settle(Err(error)),
            }
        }
        self.identity = Some(identity);
    }

    /// Fails everything: no new identity is to be had. The next record asks again.
    pub(super) fn abandon(&mut self, error: &ClientError) {
        for batch in std::mem::take(&mut self.ready) {
            let doubt = batch.doubtful.then(|| ClientError::OutcomeUnknown { last: error.to_string() });
            batch.settle.settle(Err(doubt.unwrap_or_else(|| error.clone())));
        }
        if let Some(open) = self.open.take() {
            open.settle.settle(Err(error.clone()));
        }
    }
}

/// What a look at the queue found.
#[derive(Debug)]
pub(super) enum Take {
    /// A batch to send; true if it was sealed for it.
    Batch(Sealed, bool),
    /// Nothing before this time.
    At(Instant),
    /// Nothing until something happens.
    Nothing,
}

impl Open {
    fn push(&mut self, record: &NewRecord, timestamp: Timestamp) -> Result<Delivery, ClientError> {
        let index = u32::try_from(self.builder.count()).unwrap_or(u32::MAX);
        self.builder.push(timestamp, record.key.as_deref(), record.value.as_deref(), &record.headers)?;
        Ok(Delivery::new(Arc::clone(self.settle.outcome()), index))
    }
}

/// The same records under another identity; rare, so the batch is simply built again.
fn renumbered(bytes: &Bytes, identity: &Identity) -> Result<(Bytes, Sequence), ClientError> {
    let batch = Batch::parse(bytes)?;
    let mut builder = BatchBuilder::like(batch.header()).producer(identity.id, identity.epoch, identity.next);
    for record in batch.records(MAX_INFLATED_BATCH_BYTES)? {
        let record = record?;
        builder.push(record.timestamp, record.key.as_deref(), record.value.as_deref(), &record.headers)?;
    }
    let next = identity.next.plus(builder.count());
    Ok((builder.build()?.into_bytes(), next))
}
