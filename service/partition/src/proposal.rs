//! Offsets and verdicts for everything that waits in the queue: decides what the log thread writes. Moves nothing.

use std::collections::{BTreeMap, BTreeSet};

use tidelog_model::{Deadline, KafkaError, LeaderEpoch, Now, Offset, ProducerId, Sequence, Timestamp};
use tidelog_record::{
    self as record, AbortedTransaction, BatchHeader, BatchSums, EndTransactionMarker, MarkerKind, Origin, ProducerEntry,
};

use crate::Token;
use crate::verification::{Guard, Verifications};

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

/// What a batch holds, as far as transactions care.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Content {
    /// Records.
    Records {
        /// For the first batch of a transaction here: under which guard its coordinator was asked.
        verified: Option<Guard>,
    },
    /// The end of its producer's transaction.
    Marker {
        /// What the control record says.
        marker: EndTransactionMarker,
        /// The transaction version that the coordinator's request tells.
        transaction_version: i16,
    },
}

impl Content {
    /// Records that nobody was asked about.
    pub const PLAIN: Content = Content::Records { verified: None };

    /// The marker, if it is one.
    pub const fn marker(&self) -> Option<EndTransactionMarker> {
        match self {
            Content::Records { .. } => None,
            Content::Marker { marker, .. } => Some(*marker),
        }
    }
}

/// One checked batch that waits to be written.
#[derive(Clone, Copy, Debug)]
pub struct Intent {
    /// Names the waiting answer.
    pub token: Token,
    /// The batch's header as the producer sent it; already checked against its bytes.
    pub header: BatchHeader,
    /// What it holds.
    pub content: Content,
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
    /// The transactions that its abort markers end, in the order of the markers: the transaction index must have them.
    pub aborted: Vec<AbortedTransaction>,
    /// Batches of new producers that are refused because the partition remembers as many as it can.
    pub crowded_out: usize,
}

impl Proposal {
    /// Is there anything to write?
    pub fn writes(&self) -> bool {
        self.end > self.first
    }
}

/// The state as it will be if everything proposed so far is written: a few producers over the real ones.
pub(crate) struct Overlay<'a> {
    sums: &'a BatchSums,
    verifications: &'a Verifications,
    pending: BTreeMap<ProducerId, ProducerEntry>,
    /// Producers whose guard a batch or a marker of this proposal uses up.
    settled: BTreeSet<ProducerId>,
    pub(crate) aborted: Vec<AbortedTransaction>,
    pub(crate) crowded_out: usize,
    /// Was a new producer refused a moment ago?
    is_crowded: bool,
    /// Was one refused now, for want of room?
    pub(crate) is_full: bool,
}

impl<'a> Overlay<'a> {
    pub(crate) fn new(sums: &'a BatchSums, verifications: &'a Verifications, is_crowded: bool) -> Self {
        let (pending, settled) = (BTreeMap::new(), BTreeSet::new());
        let (aborted, crowded_out, is_full) = (Vec::new(), 0, false);
        Overlay { sums, verifications, pending, settled, aborted, crowded_out, is_crowded, is_full }
    }

    /// Places one batch at `base_offset` if its producer may write it there.
    pub(crate) fn place(&mut self, intent: &Intent, base_offset: Offset, now: Now) -> Verdict {
        let header = &intent.header;
        if !header.has_producer() {
            return Verdict::Append { base_offset };
        }
        let placed = match intent.content {
            Content::Records { verified } => self.place_records(header, intent.origin, verified, base_offset, now),
            Content::Marker { marker, transaction_version } => {
                self.place_marker(header, marker, transaction_version, base_offset, now)
            }
        };
        placed.unwrap_or_else(Verdict::Reject)
    }

    fn place_records(
        &mut self,
        header: &BatchHeader,
        origin: Origin,
        verified: Option<Guard>,
        base_offset: Offset,
        now: Now,
    ) -> Result<Verdict, KafkaError> {
        let (producer_id, transactional) = (header.producer_id, header.attributes.is_transactional());
        let judged = self.sums.producers.check_from(header, origin, self.pending.get(&producer_id));
        if let Ok(record::Verdict::Duplicate { base_offset, last_offset, timestamp }) = judged {
            return Ok(Verdict::Duplicate { base_offset, end: last_offset.plus(1), timestamp });
        }
        if transactional {
            self.check_verified(header, verified)?;
        }
        judged?;
        self.check_room(header, origin, now)?;
        if transactional && origin == Origin::Client {
            self.check_first_sequence(header)?;
        }
        self.entry(producer_id).apply(header, base_offset, now);
        if transactional {
            self.settled.insert(producer_id);
        }
        Ok(Verdict::Append { base_offset })
    }

    /// NOT_ENOUGH_REPLICAS, which every client tries again later and knows that nothing was written: the partition cannot remember another
    /// producer without forgetting one that may still send a batch again. Or it could not a moment ago, and the batch is not its producer's
    /// first: that one may have been refused then, and would be out of order behind this one. Who was known once, and was forgotten, waits
    /// with the new ones, or begins a new epoch.
    fn check_room(&mut self, header: &BatchHeader, origin: Origin, now: Now) -> Result<(), KafkaError> {
        if origin != Origin::Client || self.known(header.producer_id).is_some() {
            return Ok(());
        }
        let is_full = !self.sums.producers.has_room(self.pending.len(), now);
        self.is_full |= is_full;
        if is_full || (self.is_crowded && header.base_sequence != Sequence(0)) {
            self.crowded_out += 1;
            return Err(KafkaError::NotEnoughReplicas);
        }
        Ok(())
    }

    /// INVALID_TXN_STATE: no transaction of this epoch is open here, and the coordinator's word does not count (any more).
    fn check_verified(&self, header: &BatchHeader, verified: Option<Guard>) -> Result<(), KafkaError> {
        if self.known(header.producer_id).is_some_and(|entry| entry.is_ongoing(header.producer_epoch)) {
            return Ok(());
        }
        let guard = self.asked(header.producer_id).map(|asked| asked.guard);
        if verified.is_some() && verified == guard { Ok(()) } else { Err(KafkaError::InvalidTxnState) }
    }

    /// OUT_OF_ORDER_SEQUENCE_NUMBER: an earlier batch of the transaction still asks; or a transaction with an epoch of its own does not
    /// begin at 0 here.
    fn check_first_sequence(&self, header: &BatchHeader) -> Result<(), KafkaError> {
        // What an earlier instance of the producer still asks is no measure for this one.
        let asked = self.asked(header.producer_id).filter(|asked| asked.epoch == header.producer_epoch);
        let Some(asked) = asked else { return Ok(()) };
        let unknown = self.known(header.producer_id).is_none_or(|entry| entry.batches().is_empty());
        let first = header.base_sequence;
        if first > asked.lowest || (asked.epoch_per_transaction && unknown && first != Sequence(0)) {
            return Err(KafkaError::OutOfOrderSequenceNumber);
        }
        Ok(())
    }

    fn place_marker(
        &mut self,
        header: &BatchHeader,
        marker: EndTransactionMarker,
        transaction_version: i16,
        base_offset: Offset,
        now: Now,
    ) -> Result<Verdict, KafkaError> {
        let producer_id = header.producer_id;
        let empty = ProducerEntry::empty(producer_id);
        let entry = self.known(producer_id).unwrap_or(&empty);
        entry.check_marker(header, marker, transaction_version)?;
        let first_offset = entry.open_transaction;
        self.entry(producer_id).apply_marker(header, marker, now);
        self.settled.insert(producer_id);
        if let (MarkerKind::Abort, Some(first_offset)) = (marker.kind, first_offset) {
            let last_stable_offset = self.first_open().unwrap_or(base_offset.plus(1));
            let last_offset = base_offset;
            self.aborted.push(AbortedTransaction { producer_id, first_offset, last_offset, last_stable_offset });
        }
        Ok(Verdict::Append { base_offset })
    }

    /// The first offset of the transaction that began first among those that are open.
    fn first_open(&self) -> Option<Offset> {
        let untouched = |open: &record::OpenTransaction| !self.pending.contains_key(&open.producer_id);
        let old = self.sums.transactions.open().find(untouched).map(|open| open.first_offset);
        let new = self.pending.values().filter_map(|entry| entry.open_transaction);
        old.into_iter().chain(new).min()
    }

    fn known(&self, producer_id: ProducerId) -> Option<&ProducerEntry> {
        self.pending.get(&producer_id).or_else(|| self.sums.producers.get(producer_id))
    }

    fn asked(&self, producer_id: ProducerId) -> Option<&crate::verification::Verification> {
        if self.settled.contains(&producer_id) { None } else { self.verifications.get(producer_id) }
    }

    /// The producer's entry over the real one.
    fn entry(&mut self, producer_id: ProducerId) -> &mut ProducerEntry {
        let producers = &self.sums.producers;
        self.pending.entry(producer_id).or_insert_with(|| producers.entry(producer_id))
    }
}
