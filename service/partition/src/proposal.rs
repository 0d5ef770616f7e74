//! Offsets and verdicts for everything that waits in the queue: decides what the log thread writes. Moves nothing.

use std::collections::BTreeMap;

use tidelog_model::{Deadline, KafkaError, LeaderEpoch, Now, Offset, ProducerId, Timestamp};
use tidelog_record::{self as record, BatchHeader, Origin, ProducerEntry, ProducerStates};

use crate::Token;

/// How many replicas must have a batch before its producer hears of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Acks {
    /// Nobody waits, but the token is answered so that the shell can forget it.
    None,
    /// Answer when the leader has written it.
    Leader,
    /// Answer when it is below the high watermark.
    All,
}

/// One checked batch that waits to be written.
#[derive(Clone, Copy, Debug)]
pub struct Intent {
    /// Names the waiting answer.
    pub token: Token,
    /// The batch's header as the producer sent it; already checked against its bytes.
    pub header: BatchHeader,
    /// When to answer.
    pub acks: Acks,
    /// When to give up waiting; `None` never.
    pub deadline: Option<Deadline>,
    /// A client's batch is checked against its producer's state, the service's own is not.
    pub origin: Origin,
}

/// What becomes of one intent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// Write it at this offset.
    Append {
        /// Offset of its first record.
        base_offset: Offset,
    },
    /// It was appended before: answer with the original's offset once the original is durable.
    Duplicate {
        /// Offset of the original's first record.
        base_offset: Offset,
        /// The offset after the original.
        end: Offset,
        /// The original's largest timestamp.
        timestamp: Timestamp,
    },
    /// Refused; nothing is written.
    Reject(KafkaError),
}

/// One intent with its verdict.
#[derive(Clone, Copy, Debug)]
pub struct Placed {
    /// What was asked.
    pub intent: Intent,
    /// What becomes of it.
    pub verdict: Verdict,
}

/// What the log thread carries out, in order. Nothing of it is true before the machine is told that it was written.
#[derive(Clone, Debug)]
pub struct Proposal {
    /// Stamped into every batch.
    pub epoch: LeaderEpoch,
    /// The log end it builds on.
    pub first: Offset,
    /// The log end after it.
    pub end: Offset,
    /// One per intent, in queue order.
    pub placed: Vec<Placed>,
}

impl Proposal {
    /// Is there anything to write?
    pub fn writes(&self) -> bool {
        self.end > self.first
    }
}

/// Producer states as they will be if everything proposed so far is written: a few entries over the real ones.
pub(crate) struct Overlay<'a> {
    states: &'a ProducerStates,
    pending: BTreeMap<ProducerId, ProducerEntry>,
}

impl<'a> Overlay<'a> {
    pub(crate) fn new(states: &'a ProducerStates) -> Self {
        Overlay { states, pending: BTreeMap::new() }
    }

    /// Places one batch at `base_offset` if its producer may write it there.
    pub(crate) fn place(&mut self, header: &BatchHeader, origin: Origin, base_offset: Offset, now: Now) -> Verdict {
        if !header.has_producer() {
            return Verdict::Append { base_offset };
        }
        let pending = self.pending.get(&header.producer_id);
        match self.states.check_from(header, origin, pending) {
            Ok(record::Verdict::Append) => {
                let states = self.states;
                let next = self.pending.entry(header.producer_id).or_insert_with(|| states.entry(header.producer_id));
                next.apply(header, base_offset, now);
                Verdict::Append { base_offset }
            }
            Ok(record::Verdict::Duplicate { base_offset, last_offset, timestamp }) => {
                Verdict::Duplicate { base_offset, end: last_offset.plus(1), timestamp }
            }
            Err(error) => Verdict::Reject(error),
        }
    }
}
