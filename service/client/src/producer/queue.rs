//! One partition's batches: decides which may be sent, in which order and with which sequence numbers, and what an answer
//! means for them. It does no I/O and reads no clock.
//!
//! Sequences are given when a batch is sealed. After a batch was refused for good the following sequences have a gap, so the
//! queue is *broken*: it sends nothing until nothing is in flight, then takes a new identity, numbers the batches that were
//! surely not stored anew, and fails those of unknown outcome, which a second sending could duplicate.

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
    /// The leader has stored a batch of this identity. Until then only one batch is in flight: a leader that knows nothing of a
    /// producer accepts any sequence, and so the second batch after refusing the first.
    established: bool,
    broken: bool,
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
                self.ready.push_back(Sealed { number, bytes, created: opened, doubtful: false, settle });
            }
            Err(error) => {
                settle.settle(Err(error.into()));
                self.broken = self.identity.is_some();
            }
        }
        true
    }

    /// Marks it as known to the sender; true if it was not.
    pub(super) fn enqueue(&mut self) -> bool {
        !std::mem::replace(&mut self.queued, true)
    }

    /// Nothing to do: leaves the sender's list. A broken queue without batches waits for the next record.
    pub(super) fn dequeue_if_idle(&mut self) -> bool {
        let idle = self.open.is_none() && self.ready.is_empty() && self.in_flight.is_empty();
        self.queued = !idle;
        idle
    }

    /// Has batches that wait for a new identity, and nothing in flight.
    pub(super) fn needs_identity(&self) -> bool {
        self.broken && self.in_flight.is_empty() && (self.open.is_some() || !self.ready.is_empty())
    }

    /// Takes the next batch to send, or tells when to look again. `hurry` seals an open batch that still lingers.
    pub(super) fn take(&mut self, now: Instant, linger: Duration, hurry: bool) -> Take {
        if self.broken {
            return Take::Nothing;
        }
        if let Some(at) = self.retry_at {
            if now < at {
                return Take::At(at);
            }
            self.retry_at = None;
        }
        let limit = if self.identity.is_some() && !self.established { 1 } else { MAX_IN_FLIGHT };
        if self.in_flight.len() >= limit {
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
            Some(batch) => {
                self.in_flight.insert(batch.number, ());
                Take::Batch(batch, sealed_open)
            }
            None => Take::Nothing,
        }
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
            Answered::Unknown(error) => {
                batch.doubtful = true;
                self.retry(batch, error.to_string(), now);
                Next::Refresh
            }
            Answered::Refused(KafkaError::OutOfOrderSequenceNumber, error) => {
                if self.broken || self.has_before(batch.number) {
                    // The batch before it is still to be stored, or failed and left a gap: surely not stored.
                    self.retry(batch, error.to_string(), now);
                } else {
                    self.fail(batch, error);
                }
                Next::Continue
            }
            Answered::Refused(KafkaError::UnknownProducerId | KafkaError::InvalidProducerEpoch, error)
                if self.identity.is_some() && !batch.doubtful =>
            {
                // The broker has forgotten the producer; a new identity starts afresh.
                self.broken = true;
                self.retry(batch, error.to_string(), now);
                Next::Continue
            }
            Answered::Refused(_, error) if error.is_retriable() => {
                self.retry(batch, error.to_string(), now);
                Next::Refresh
            }
            Answered::Refused(_, error) => {
                self.fail(batch, error);
                Next::Continue
            }
        }
    }

    fn has_before(&self, number: u64) -> bool {
        self.ready.front().is_some_and(|batch| batch.number < number)
            || self.in_flight.keys().next().is_some_and(|first| *first < number)
    }

    fn retry(&mut self, batch: Sealed, error: String, now: Instant) {
        self.last_error = Some(error);
        self.backoff = self.backoff.saturating_mul(2).clamp(FIRST_BACKOFF, MAX_BACKOFF);
        self.retry_at = Some(now + self.backoff);
        self.put_back(batch);
    }

    fn fail(&mut self, batch: Sealed, error: ClientError) {
        batch.settle.settle(Err(error));
        // Later batches are numbered as if this one had been stored.
        self.broken = self.identity.is_some();
    }

    /// Pauses the partition; the sender calls it when the leader is unknown or away.
    pub(super) fn pause(&mut self, until: Instant, why: String) {
        self.retry_at = Some(until);
        self.last_error = Some(why);
    }

    /// Fails the waiting batches whose delivery time is over. Answers when the next one's will be.
    pub(super) fn expire(&mut self, now: Instant, timeout: Duration) -> Option<Instant> {
        while let Some(front) = self.ready.front() {
            if now < front.created + timeout {
                return Some(front.created + timeout);
            }
            if let Some(batch) = self.ready.pop_front() {
                let last = self.last_error.clone().unwrap_or_else(|| "none".into());
                self.fail(batch, ClientError::Expired { after: timeout, last });
            }
        }
        None
    }

    /// Mends a broken queue with a new identity.
    pub(super) fn restart(&mut self, identity: Identity) {
        let mut identity = identity;
        (self.broken, self.established) = (false, false);
        self.retry_at = None;
        for mut batch in std::mem::take(&mut self.ready) {
            if batch.doubtful {
                batch.settle.settle(Err(ClientError::OutcomeUnknown));
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
            batch.settle.settle(Err(error.clone()));
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
