//! Acknowledgements, each waiting under the offset it depends on. Decides who may be answered; never answers.

use std::collections::BTreeMap;

use tidelog_model::{Deadline, Now, Offset};

/// The shell's name for a parked answer; it means nothing to the machine.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Token(pub u64);

/// What is answered when the offset is reached.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Parked {
    pub(crate) token: Token,
    /// Base offset to report.
    pub(crate) base_offset: Offset,
    /// When to give up; `None` waits as long as the leadership lasts.
    pub(crate) deadline: Option<Deadline>,
}

/// Parked answers by the end offset that must be durable first.
#[derive(Default, Debug)]
pub(crate) struct Waiting {
    by_offset: BTreeMap<Offset, Vec<Parked>>,
    /// A lower bound of all deadlines: exact after `expire`, never later than the earliest.
    earliest: Option<Deadline>,
}

impl Waiting {
    /// Parks an answer until everything below `end` is durable.
    pub(crate) fn park(&mut self, end: Offset, parked: Parked) {
        self.earliest = match (self.earliest, parked.deadline) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        self.by_offset.entry(end).or_default().push(parked);
    }

    /// Takes everything that waits at or below `watermark`, in offset order.
    pub(crate) fn release(&mut self, watermark: Offset) -> Vec<Parked> {
        let later = self.by_offset.split_off(&watermark.plus(1));
        let ready = std::mem::replace(&mut self.by_offset, later);
        ready.into_values().flatten().collect()
    }

    /// Takes everything whose deadline has passed.
    pub(crate) fn expire(&mut self, now: Now) -> Vec<Parked> {
        if !self.earliest.is_some_and(|deadline| deadline.passed(now)) {
            return Vec::new();
        }
        let mut expired = Vec::new();
        let mut earliest: Option<Deadline> = None;
        self.by_offset.retain(|_, parked| {
            parked.retain(|one| match one.deadline {
                Some(deadline) if deadline.passed(now) => {
                    expired.push(*one);
                    false
                }
                Some(deadline) => {
                    earliest = Some(earliest.map_or(deadline, |e| e.min(deadline)));
                    true
                }
                None => true,
            });
            !parked.is_empty()
        });
        self.earliest = earliest;
        expired
    }

    /// Takes everything: leadership or the disk is lost.
    pub(crate) fn drain(&mut self) -> Vec<Parked> {
        self.earliest = None;
        std::mem::take(&mut self.by_offset).into_values().flatten().collect()
    }

    /// When `expire` has work at the earliest.
    pub(crate) fn next_deadline(&self) -> Option<Deadline> {
        self.earliest
    }

    /// How many answers wait.
    pub(crate) fn len(&self) -> usize {
        self.by_offset.values().map(Vec::len).sum()
    }
}
