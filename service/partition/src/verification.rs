//! Which producers were told by their coordinator that this partition is part of their transaction, and have not written yet: decides
//! whether that still holds when the batch arrives (KIP-890). Never asks the coordinator itself.
//!
//! Between the coordinator's word and the append a marker may have ended the transaction; a batch written after it would stay open
//! for ever and hold the last stable offset back. So a guard is taken here *before* the coordinator is asked, the first append and
//! every marker of the producer take it away, and a batch whose guard is gone is refused.

use std::collections::BTreeMap;

use tidelog_model::{Now, ProducerEpoch, ProducerId, Sequence};

use crate::limits::MAX_VERIFICATIONS;

/// One question to the coordinator; never the same twice.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Guard(u64);

/// What is asked about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Question {
    /// The producer.
    pub producer_id: ProducerId,
    /// Its epoch.
    pub producer_epoch: ProducerEpoch,
    /// Sequence of the batch's first record; none from a coordinator.
    pub sequence: Sequence,
    /// Does each of the producer's transactions have an epoch of its own (transaction version 2)?
    pub epoch_per_transaction: bool,
}

/// A producer that asks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Verification {
    pub(crate) guard: Guard,
    pub(crate) epoch: ProducerEpoch,
    /// The earliest sequence seen: a later batch must not overtake one that still asks.
    pub(crate) lowest: Sequence,
    pub(crate) epoch_per_transaction: bool,
    since: std::time::Duration,
}

/// Everybody who asks, bounded: over the limit the oldest question is forgotten, and its batch refused.
#[derive(Default, Debug)]
pub(crate) struct Verifications {
    next: u64,
    by_producer: BTreeMap<ProducerId, Verification>,
    /// Guards ascend, so that the first is the oldest.
    by_age: BTreeMap<Guard, ProducerId>,
}

impl Verifications {
    /// The guard of a question. Batches of one producer that ask at the same time share it.
    pub(crate) fn ask(&mut self, question: &Question, now: Now) -> Guard {
        if let Some(known) = self.by_producer.get_mut(&question.producer_id) {
            let newer = question.producer_epoch > known.epoch;
            if newer || (question.producer_epoch == known.epoch && question.sequence < known.lowest) {
                known.epoch = question.producer_epoch;
                known.lowest = question.sequence;
            }
            return known.guard;
        }
        while self.by_age.len() >= MAX_VERIFICATIONS
            && let Some((_, oldest)) = self.by_age.pop_first()
        {
            self.by_producer.remove(&oldest);
        }
        let guard = Guard(self.next);
        self.next += 1;
        let verification = Verification {
            guard,
            epoch: question.producer_epoch,
            lowest: question.sequence,
            epoch_per_transaction: question.epoch_per_transaction,
            since: now.monotonic,
        };
        self.by_producer.insert(question.producer_id, verification);
        self.by_age.insert(guard, question.producer_id);
        guard
    }

    /// The producer's open question.
    pub(crate) fn get(&self, producer_id: ProducerId) -> Option<&Verification> {
        self.by_producer.get(&producer_id)
    }

    /// A batch or a marker of the producer is in the log: what was asked before counts no more.
    pub(crate) fn settle(&mut self, producer_id: ProducerId) {
        if let Some(settled) = self.by_producer.remove(&producer_id) {
            self.by_age.remove(&settled.guard);
        }
    }

    /// Forgets questions whose batch never came.
    pub(crate) fn expire(&mut self, now: Now, expiration: std::time::Duration) {
        while let Some((_, producer_id)) = self.by_age.first_key_value().map(|(guard, id)| (*guard, *id)) {
            let old = |asked: &Verification| asked.since.saturating_add(expiration) <= now.monotonic;
            if !self.by_producer.get(&producer_id).is_none_or(old) {
                return;
            }
            self.by_age.pop_first();
            self.by_producer.remove(&producer_id);
        }
    }
}
