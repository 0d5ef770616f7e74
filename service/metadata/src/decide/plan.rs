//! A decision as transactions in order. Decides how they are cut to the port's limits; never runs one.

use tidelog_model::{PartitionIndex, TopicId};

use crate::keys::{Key, PartitionState};
use crate::limits::{MAX_TRANSACTION_BYTES, MAX_TRANSACTION_OPERATIONS};
use crate::port::{Compare, KeyValue, Revision, Transaction, Write};

/// Transactions that follow each other; each needs the one before to be committed.
///
/// The shell asks [`Plan::next`], runs it, reports [`Plan::committed`], until `next` is `None`. A conflict ends the plan: what is done so far
/// is invisible, and is taken up by the same decision made again or by a sweep.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Plan {
    steps: Vec<Step>,
    done: Vec<Revision>,
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct Step {
    compares: Vec<Guard>,
    writes: Vec<Write>,
}

/// A condition of a step.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Guard {
    /// On what the image showed.
    Seen(Compare),
    /// The key still is as the plan's first step wrote it.
    SinceFirst(String),
}

impl Guard {
    fn bytes(&self) -> usize {
        match self {
            Guard::Seen(compare) => compare.key.len(),
            Guard::SinceFirst(key) => key.len(),
        }
    }
}

impl From<Compare> for Guard {
    fn from(compare: Compare) -> Self {
        Guard::Seen(compare)
    }
}

impl Plan {
    /// One transaction.
    pub fn of(transaction: Transaction) -> Plan {
        let compares = transaction.compares.into_iter().map(Guard::Seen).collect();
        Plan { steps: vec![Step { compares, writes: transaction.writes }], done: Vec::new() }
    }

    /// The next transaction to run; `None` when all are committed.
    pub fn next(&self) -> Option<Transaction> {
        let step = self.steps.get(self.done.len())?;
        let first = self.done.first().copied().unwrap_or(Revision::ZERO);
        let compares = step.compares.iter().map(|guard| match guard {
            Guard::Seen(compare) => compare.clone(),
            Guard::SinceFirst(key) => Compare::unchanged(key.clone(), first),
        });
        Some(Transaction { compares: compares.collect(), writes: step.writes.clone() })
    }

    /// The transaction that [`Plan::next`] gave is committed.
    pub fn committed(&mut self, revision: Revision) {
        if self.done.len() < self.steps.len() {
            self.done.push(revision);
        }
    }

    /// Transactions not committed yet.
    pub fn remaining(&self) -> usize {
        self.steps.len().saturating_sub(self.done.len())
    }

    /// Adds a transaction.
    pub(super) fn step(&mut self, compares: Vec<Guard>, writes: Vec<Write>) {
        self.steps.push(Step { compares, writes });
    }

    /// Adds writes in as few transactions as the limits allow, each with the same guards.
    pub(super) fn chunks(&mut self, guards: &[Guard], writes: impl IntoIterator<Item = Write>) {
        let guard_bytes: usize = guards.iter().map(Guard::bytes).sum();
        let (mut chunk, mut bytes) = (Vec::new(), guard_bytes);
        for write in writes {
            let size = write_bytes(&write);
            let full = chunk.len() + guards.len() + 1 > MAX_TRANSACTION_OPERATIONS;
            if !chunk.is_empty() && (full || bytes + size > MAX_TRANSACTION_BYTES) {
                self.step(guards.to_vec(), std::mem::take(&mut chunk));
                bytes = guard_bytes;
            }
            bytes += size;
            chunk.push(write);
        }
        if !chunk.is_empty() {
            self.step(guards.to_vec(), chunk);
        }
    }

    /// Would these fit one transaction?
    pub(super) fn fits(guards: &[Guard], writes: &[Write]) -> bool {
        let bytes: usize =
            guards.iter().map(Guard::bytes).sum::<usize>() + writes.iter().map(write_bytes).sum::<usize>();
        guards.len() + writes.len() <= MAX_TRANSACTION_OPERATIONS && bytes <= MAX_TRANSACTION_BYTES
    }
}

fn write_bytes(write: &Write) -> usize {
    match write {
        Write::Put { key, value, .. } => key.len() + value.len(),
        Write::Delete { key } => key.len(),
    }
}

/// The write of a partition's state.
pub(super) fn put_partition(topic: TopicId, index: PartitionIndex, state: &PartitionState) -> Write {
    Write::put(Key::Partition(topic, index), state.encode())
}

/// Deletes of partitions' states.
pub(super) fn delete_partitions(
    topic: TopicId,
    indexes: impl IntoIterator<Item = PartitionIndex>,
) -> impl Iterator<Item = Write> {
    indexes.into_iter().map(move |index| Write::delete(Key::Partition(topic, index)))
}

/// After a lost answer: did the transaction happen? `read` is what the store holds now under the key of [`settle_key`].
/// `Some(revision)` = it did; `None` = it did not (yet): run it again, its compares make that safe, and settle again on a conflict.
///
/// All our transactions put values that nobody else puts (new ids, the next epoch), or only delete what is to be gone.
pub fn settle(transaction: &Transaction, read: Option<&KeyValue>, current: Revision) -> Option<Revision> {
    match (deciding_write(transaction)?, read) {
        (Write::Put { value, .. }, Some(found)) if *value == found.value => Some(found.mod_revision),
        (Write::Delete { .. }, None) => Some(current),
        _ => None,
    }
}

/// The key whose value tells whether the transaction happened.
pub fn settle_key(transaction: &Transaction) -> Option<&str> {
    deciding_write(transaction).map(Write::key)
}

fn deciding_write(transaction: &Transaction) -> Option<&Write> {
    let put = transaction.writes.iter().find(|write| matches!(write, Write::Put { .. }));
    put.or_else(|| transaction.writes.first())
}
