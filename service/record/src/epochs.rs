//! Leader epochs of one log: decides which epoch wrote which offsets (KIP-101, KIP-279); never goes below what the log still holds.

use std::fmt::Write;

use tidelog_model::{LeaderEpoch, Offset};

use crate::limits::MAX_LEADER_EPOCHS;

/// An epoch and the offset of its first record.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct EpochEntry {
    /// The epoch.
    pub epoch: LeaderEpoch,
    /// Offset of the first record written in it.
    pub start: Offset,
}

/// A text that is not a leader epoch checkpoint.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("not a leader epoch checkpoint: {0}")]
pub struct InvalidEpochCheckpoint(&'static str);

/// Epoch → first offset, ascending in both.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct LeaderEpochs {
    entries: Vec<EpochEntry>,
}

impl LeaderEpochs {
    /// No epochs yet.
    pub const fn new() -> Self {
        LeaderEpochs { entries: Vec::new() }
    }

    /// The entries, ascending.
    pub fn entries(&self) -> &[EpochEntry] {
        &self.entries
    }

    /// No epochs?
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The newest entry.
    pub fn latest(&self) -> Option<EpochEntry> {
        self.entries.last().copied()
    }

    /// The oldest entry.
    pub fn earliest(&self) -> Option<EpochEntry> {
        self.entries.first().copied()
    }

    /// Records that `epoch` starts at `start`; true if that was news. Entries that contradict the new one (a later or equal epoch or
    /// start) go. Negative epochs and offsets are ignored: they mean "unknown".
    pub fn assign(&mut self, epoch: LeaderEpoch, start: Offset) -> bool {
        if epoch.0 < 0 || start.0 < 0 {
            return false;
        }
        if self.latest().is_some_and(|latest| latest.epoch == epoch && latest.start <= start) {
            return false;
        }
        let kept = self.entries.partition_point(|entry| entry.epoch < epoch && entry.start < start);
        self.entries.truncate(kept);
        self.entries.push(EpochEntry { epoch, start });
        true
    }

    /// Answers `OffsetForLeaderEpoch`: the largest known epoch not above the one asked for, and the offset after its last record.
    ///
    /// The latest epoch ends at the log's end. An epoch older than all ends where the first known one starts. (−1, −1) means
    /// unknown: nothing is known, or the epoch is newer than all.
    pub fn end_offset_for(&self, epoch: LeaderEpoch, log_end: Offset) -> (LeaderEpoch, Offset) {
        let unknown = (LeaderEpoch::NONE, Offset::NONE);
        if epoch.0 < 0 {
            return unknown;
        }
        if self.latest().is_some_and(|latest| latest.epoch == epoch) {
            return (epoch, log_end);
        }
        let above = self.entries.partition_point(|entry| entry.epoch <= epoch);
        let Some(higher) = self.entries.get(above) else { return unknown };
        let floor = above.checked_sub(1).and_then(|index| self.entries.get(index));
        (floor.map_or(epoch, |entry| entry.epoch), higher.start)
    }

    /// The epoch that wrote this offset, if it is known.
    pub fn epoch_at(&self, offset: Offset) -> Option<LeaderEpoch> {
        let above = self.entries.partition_point(|entry| entry.start <= offset);
        above.checked_sub(1).and_then(|index| self.entries.get(index)).map(|entry| entry.epoch)
    }

    /// The log was cut to end at `end`: epochs that start there or later go. True if any did.
    pub fn truncate_from_end(&mut self, end: Offset) -> bool {
        let kept = self.entries.partition_point(|entry| entry.start < end);
        let changed = kept < self.entries.len();
        self.entries.truncate(kept);
        changed
    }

    /// The log now starts at `start`: older epochs go, the one that holds `start` starts there. True if anything changed.
    pub fn truncate_from_start(&mut self, start: Offset) -> bool {
        let above = self.entries.partition_point(|entry| entry.start <= start);
        let Some(last) = above.checked_sub(1) else { return false };
        let changed = last > 0 || self.entries.first().is_some_and(|entry| entry.start != start);
        self.entries.drain(..last);
        if let Some(first) = self.entries.first_mut() {
            first.start = start;
        }
        changed
    }

    /// The epochs of `[start, end)` alone, as a segment's copy needs them.
    pub fn range(&self, start: Offset, end: Offset) -> LeaderEpochs {
        let mut part = self.clone();
        part.truncate_from_start(start);
        part.truncate_from_end(end);
        part
    }

    /// The text of Kafka's file `leader-epoch-checkpoint`, version 0: version, count, then `epoch start` a line.
    pub fn encode(&self) -> String {
        let mut text = format!("0\n{}\n", self.entries.len());
        for entry in &self.entries {
            // Writing into a string cannot fail.
            let _ = writeln!(text, "{} {}", entry.epoch, entry.start);
        }
        text
    }

    /// Reads Kafka's file. Refuses unknown versions, wrong counts, and entries that do not ascend.
    pub fn decode(text: &str) -> Result<Self, InvalidEpochCheckpoint> {
        let mut lines = text.lines();
        if lines.next() != Some("0") {
            return Err(InvalidEpochCheckpoint("its version is not 0"));
        }
        let count: usize = lines
            .next()
            .and_then(|line| line.parse().ok())
            .ok_or(InvalidEpochCheckpoint("its count is not a number"))?;
        let mut epochs = LeaderEpochs::new();
        for line in lines {
            let (epoch, start) = line.split_once(' ').ok_or(InvalidEpochCheckpoint("a line has no two numbers"))?;
            let epoch = epoch.parse().map_err(|_| InvalidEpochCheckpoint("an epoch is not a number"))?;
            let start = start.parse().map_err(|_| InvalidEpochCheckpoint("an offset is not a number"))?;
            let before = epochs.entries.len();
            if before >= count.min(MAX_LEADER_EPOCHS) {
                return Err(InvalidEpochCheckpoint("it has more lines than it announces"));
            }
            epochs.assign(LeaderEpoch(epoch), Offset(start));
            if epochs.entries.len() != before + 1 {
                return Err(InvalidEpochCheckpoint("its entries do not ascend"));
            }
        }
        if epochs.entries.len() == count {
            Ok(epochs)
        } else {
            Err(InvalidEpochCheckpoint("it has fewer lines than it announces"))
        }
    }
}
