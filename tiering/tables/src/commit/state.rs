//! What the commits of a table add up to: its schema, its files, how far each partition is exported. It decides whether a
//! commit may follow; it never creates one.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tidelog_model::{Offset, PartitionIndex};

use super::body::{Commit, Skipped, Written};
use crate::infer::Schema;

/// A table after some commit.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TableState {
    /// The columns.
    pub schema: Schema,
    /// Every partition that a commit named.
    pub partitions: BTreeMap<i32, PartitionState>,
}

/// One partition of a table.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PartitionState {
    /// First offset that no commit names.
    pub end: i64,
    /// Exported ranges, ascending.
    pub ranges: Vec<ExportedRange>,
    /// Skipped ranges `[start, end)`, ascending.
    pub skipped: Vec<(i64, i64)>,
}

/// A range that a commit named.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(from = "(i64, i64, u64, Option<u64>)", into = "(i64, i64, u64, Option<u64>)")]
pub struct ExportedRange {
    /// First offset.
    pub start: Offset,
    /// Offset after the last.
    pub end: Offset,
    /// Rows of its file; 0 if it has none.
    pub rows: u64,
    /// Size of its file once it is known to be in the store; a range without rows has no file and is complete with `Some(0)`.
    pub bytes: Option<u64>,
}

impl PartitionState {
    fn unwritten(&self) -> Option<&ExportedRange> {
        self.ranges.last().filter(|range| range.bytes.is_none())
    }
}

impl From<(i64, i64, u64, Option<u64>)> for ExportedRange {
    fn from((start, end, rows, bytes): (i64, i64, u64, Option<u64>)) -> Self {
        ExportedRange { start: Offset(start), end: Offset(end), rows, bytes }
    }
}

impl From<ExportedRange> for (i64, i64, u64, Option<u64>) {
    fn from(range: ExportedRange) -> Self {
        (range.start.get(), range.end.get(), range.rows, range.bytes)
    }
}

/// Why a commit does not follow from the state before it.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0}")]
pub struct InvalidCommit(pub String);

impl TableState {
    /// A table without commits.
    pub fn new(schema: Schema) -> Self {
        TableState { schema, partitions: BTreeMap::new() }
    }

    /// First offset of the partition that no commit names; `None` if no commit names the partition.
    pub fn end(&self, partition: PartitionIndex) -> Option<Offset> {
        self.partitions.get(&partition.get()).map(|state| Offset(state.end))
    }

    /// The offset below which everything is in the store (or skipped): the log may forget it. `None` as for [`Self::end`].
    pub fn exported_end(&self, partition: PartitionIndex) -> Option<Offset> {
        let state = self.partitions.get(&partition.get())?;
        Some(state.unwritten().map_or(Offset(state.end), |range| range.start))
    }

    /// Ranges whose file is not known to be in the store: at most one per partition, its last.
    pub fn unwritten(&self) -> Vec<(PartitionIndex, ExportedRange)> {
        let partitions = self.partitions.iter();
        partitions.filter_map(|(p, state)| state.unwritten().map(|range| (PartitionIndex(*p), *range))).collect()
    }

    /// The parts of a range that no commit has skipped, ascending.
    pub fn not_skipped(&self, range: Skipped) -> Vec<Skipped> {
        let mut left = Vec::new();
        let mut start = range.start;
        let known = self.partitions.get(&range.partition.get()).map_or(&[][..], |state| &state.skipped);
        for (from, to) in known.iter().map(|(from, to)| (Offset(*from), Offset(*to))) {
            if from > start && start < range.end {
                left.push(Skipped { start, end: from.min(range.end), ..range });
            }
            start = start.max(to);
        }
        if start < range.end {
            left.push(Skipped { start, ..range });
        }
        left
    }

    /// A file is in the store. False if no commit named it.
    pub fn mark_written(&mut self, written: Written) -> bool {
        let Some(state) = self.partitions.get_mut(&written.partition.get()) else { return false };
        match state.ranges.iter_mut().rev().find(|range| range.start == written.start) {
            Some(range) => {
                range.rows = written.rows;
                range.bytes = Some(written.bytes);
                true
            }
            None => false,
        }
    }

    /// Moves to the state after `commit`. After an error the state must not be used any more.
    pub fn apply(&mut self, commit: &Commit) -> Result<(), InvalidCommit> {
        if let Some(schema) = &commit.schema {
            schema.check().map_err(InvalidCommit)?;
            if schema.next_field_id < self.schema.next_field_id {
                return Err(InvalidCommit("the schema's next field id goes back".to_owned()));
            }
            self.schema = schema.clone();
        }
        for written in &commit.written {
            if !self.mark_written(*written) {
                let (partition, start) = (written.partition, written.start);
                return Err(InvalidCommit(format!("it confirms an unknown file: partition {partition} from {start}")));
            }
        }
        for skipped in &commit.skipped {
            self.skip(*skipped)?;
        }
        for range in &commit.ranges {
            let state = self.follow(range.partition, range.start, range.end)?;
            let bytes = if range.rows == 0 { Some(0) } else { None };
            state.ranges.push(ExportedRange { start: range.start, end: range.end, rows: range.rows, bytes });
        }
        Ok(())
    }

    /// A skipped range either follows the partition's end, or lies in the last range: its file was named, but the records
    /// went before it was put.
    fn skip(&mut self, skipped: Skipped) -> Result<(), InvalidCommit> {
        let named = self.partitions.get(&skipped.partition.get()).and_then(|state| state.ranges.last());
        let inside = named.is_some_and(|range| range.start <= skipped.start && skipped.end <= range.end);
        let pair = (skipped.start.get(), skipped.end.get());
        if inside && skipped.start < skipped.end {
            if let Some(state) = self.partitions.get_mut(&skipped.partition.get()) {
                let at = state.skipped.partition_point(|known| *known < pair);
                state.skipped.insert(at, pair);
            }
            return Ok(());
        }
        self.follow(skipped.partition, skipped.start, skipped.end)?.skipped.push(pair);
        Ok(())
    }

    /// Ranges never overlap and leave no gap; only a partition's first one may start anywhere. A partition gets its next range
    /// only when the file of the one before is confirmed, so that a restart has at most one file per partition to put.
    fn follow(
        &mut self,
        partition: PartitionIndex,
        start: Offset,
        end: Offset,
    ) -> Result<&mut PartitionState, InvalidCommit> {
        if partition.get() < 0 || start.get() < 0 || end <= start {
            return Err(InvalidCommit(format!("partition {partition} has no range [{start}, {end})")));
        }
        if let Some(range) = self.partitions.get(&partition.get()).and_then(PartitionState::unwritten) {
            return Err(InvalidCommit(format!(
                "partition {partition}: the file from {} is not confirmed",
                range.start
            )));
        }
        let state = self.partitions.entry(partition.get()).or_insert_with(|| PartitionState {
            end: start.get(),
            ranges: Vec::new(),
            skipped: Vec::new(),
        });
        if state.end != start.get() {
            return Err(InvalidCommit(format!(
                "partition {partition}: [{start}, {end}) does not follow {}",
                state.end
            )));
        }
        state.end = end.get();
        Ok(state)
    }
}
