//! Writing one compacted segment and putting it in the place of the segments it was made of.

use std::collections::HashSet;
use std::io::IoSlice;
use std::path::Path;
use std::sync::Arc;

use tidelog_model::Offset;
use tidelog_model::limits::MAX_INFLATED_BATCH_BYTES;
use tidelog_record::{AbortedTransactions, Batch, RecordView, Retained, retain};

use super::{Keep, Part, STAGES, Transactions};
use crate::LogError;
use crate::disk::{Disk, DiskFile, write_file};
use crate::index::SegmentIndex;
use crate::limits::VERIFY_WINDOW_BYTES;
use crate::names::{Kind, Stage};
use crate::open::unlink_segment;
use crate::recover::{clear_inside, take_place};
use crate::state::Segment;
use crate::view::LogView;

/// A segment being written.
struct Output {
    file: Arc<dyn DiskFile>,
    size: u64,
    buffer: Vec<u8>,
    index: SegmentIndex,
    dropped: bool,
}

impl Output {
    fn push(&mut self, batch: &Batch, interval: u64) -> std::io::Result<()> {
        self.index.add(self.size, batch.header(), interval);
        self.buffer.extend_from_slice(batch.bytes());
        self.size += batch.size() as u64;
        if self.buffer.len() >= VERIFY_WINDOW_BYTES { self.write() } else { Ok(()) }
    }

    fn write(&mut self) -> std::io::Result<()> {
        self.file.write_at(self.size - self.buffer.len() as u64, &[IoSlice::new(&self.buffer)])?;
        self.buffer.clear();
        Ok(())
    }
}

impl LogView {
    /// Rewrites neighbouring segments as one; returns its bytes. Segments that lose nothing and are alone stay as they are. `unreadable`
    /// gets the offsets of batches whose records cannot be read.
    pub(super) fn rewrite_group(
        &self,
        group: &[Arc<Segment>],
        keep: &Keep<'_>,
        transactions: &mut Transactions,
        unreadable: &mut Vec<Offset>,
    ) -> Result<u64, LogError> {
        let Some(first) = group.first() else { return Ok(0) };
        let result = self.write_cleaned(group, keep, transactions, unreadable);
        let (output, aborted) = match result {
            Ok(written) => written,
            Err(error) => {
                // A start would remove it as well.
                let _ = unlink_segment(&*self.shared.disk, &self.shared.directory, first.base, Stage::Cleaned);
                return Err(error);
            }
        };
        if group.len() == 1 && !output.dropped {
            unlink_segment(&*self.shared.disk, &self.shared.directory, first.base, Stage::Cleaned)?;
            return Ok(first.size);
        }
        self.swap(group, output, &aborted)
    }

    fn write_cleaned(
        &self,
        group: &[Arc<Segment>],
        keep: &Keep<'_>,
        transactions: &mut Transactions,
        unreadable: &mut Vec<Offset>,
    ) -> Result<(Output, AbortedTransactions), LogError> {
        let shared = &self.shared;
        let base = group.first().map_or(Offset::ZERO, |segment| segment.base);
        let interval = shared.state.read().config.index_interval_bytes;
        let path = shared.path(base, Kind::Log, Stage::Cleaned);
        let failed = || LogError::io("cannot write", &path);
        let file = shared.disk.create(&path).map_err(failed())?;
        let mut output = Output { file, size: 0, buffer: Vec::new(), index: SegmentIndex::new(base), dropped: false };
        let mut aborted = AbortedTransactions::new();
        let end = group.last().map(|segment| segment.end);
        for segment in group {
            // Markers of transactions that have no batch any more: readers need not hear of them.
            let mut spent = HashSet::new();
            self.each_batch(segment, |batch| {
                let part = transactions.meet(&batch);
                if part == (Part::Control { spent: true }) {
                    spent.insert(batch.header().base_offset);
                }
                match cleaned(&batch, part, keep, Some(batch.header().next_offset()) == end, unreadable) {
                    Some(kept) => {
                        output.dropped |= kept != batch;
                        output.push(&kept, interval).map_err(failed())?;
                    }
                    None => output.dropped = true,
                }
                Ok(true)
            })?;
            for entry in self.aborted_in(segment)?.into_iter().filter(|entry| !spent.contains(&entry.last_offset)) {
                aborted.push(entry);
            }
        }
        output.write().map_err(failed())?;
        output.index.finish();
        Ok((output, aborted))
    }

    fn aborted_in(&self, segment: &Segment) -> Result<Vec<tidelog_record::AbortedTransaction>, LogError> {
        let mut found = self.aborted_transactions(segment.base, segment.end).map_err(|error| self.unreadable(error))?;
        found.retain(|entry| entry.last_offset >= segment.base && entry.last_offset < segment.end);
        Ok(found)
    }

    /// Commits the new segment by its name, then takes the old ones away.
    fn swap(&self, group: &[Arc<Segment>], output: Output, aborted: &AbortedTransactions) -> Result<u64, LogError> {
        let (Some(first), Some(last)) = (group.first(), group.last()) else { return Ok(0) };
        let shared = &self.shared;
        let [cleaned, swap] = STAGES;
        let directory = &shared.directory;
        // All of them, even if nothing was aborted: one that is not there has its last name already.
        let files = [
            (Kind::Index, output.index.offset_file()),
            (Kind::TimeIndex, output.index.time_file()),
            (Kind::TxnIndex, aborted.encode()),
        ];
        for (kind, bytes) in &files {
            let path = shared.path(first.base, *kind, cleaned);
            write_file(&*shared.disk, &path, bytes)
                .and_then(|file| file.flush())
                .map_err(LogError::io("cannot write", &path))?;
        }
        // What is compacted gets no younger, or records without a time would never be old.
        output.file.set_modified(last.modified).map_err(LogError::io("cannot set the time of", directory))?;
        output.file.flush().map_err(LogError::io("cannot flush", directory))?;
        for kind in files.iter().map(|(kind, _)| *kind).chain([Kind::Log]) {
            if kind == Kind::Log {
                shared.disk.flush_dir(directory).map_err(LogError::io("cannot flush", directory))?;
            }
            let (from, to) = (shared.path(first.base, kind, cleaned), shared.path(first.base, kind, swap));
            shared.disk.rename(&from, &to).map_err(LogError::io("cannot rename", &from))?;
        }
        let segment = Segment {
            id: shared.cache.new_id(),
            base: first.base,
            end: last.end,
            size: output.size,
            max: output.index.max(),
            first_timestamp: output.index.first_timestamp().map(std::sync::OnceLock::from).unwrap_or_default(),
            modified: last.modified,
            has_txn_index: !aborted.is_empty(),
            stage: Stage::Swap,
            index_refuted: Default::default(),
        };
        // A start would take it now, and so must everybody else from here on, even if the name cannot be flushed: a later compaction of
        // other segments, or what is appended, must not be met by a segment that nobody remembers. The files get their last names behind it.
        self.replace(group, segment);
        self.finish_swaps()?;
        Ok(output.size)
    }

    /// Takes away what a new segment stands for and gives it its last name, as a start would; also what an earlier attempt could not. Before
    /// it is done nothing may be compacted again: a file that is left under a live name is part of the log for the next start.
    pub(crate) fn finish_swaps(&self) -> Result<(), LogError> {
        let (shared, directory) = (&self.shared, &self.shared.directory);
        let waiting: Vec<Arc<Segment>> =
            shared.state.read().closed.iter().filter(|segment| segment.stage == Stage::Swap).cloned().collect();
        for segment in waiting {
            clear_inside(&*shared.disk, directory, segment.base, segment.end)?;
            let placed = take_place(&*shared.disk, directory, segment.base);
            let swap = shared.path(segment.base, Kind::Log, Stage::Swap);
            // Perhaps it has its name and only the flush of the directory failed: a start does the rest.
            if placed.is_err() && !is_gone(&*shared.disk, &swap) {
                return placed;
            }
            let live = Segment {
                id: segment.id,
                base: segment.base,
                end: segment.end,
                size: segment.size,
                max: segment.max,
                first_timestamp: segment.first_timestamp.clone(),
                modified: segment.modified,
                has_txn_index: segment.has_txn_index,
                stage: Stage::Live,
                index_refuted: Default::default(),
            };
            self.replace(&[segment], live);
            placed?;
        }
        Ok(())
    }

    /// Puts one segment in the place of those with these bases.
    fn replace(&self, old: &[Arc<Segment>], new: Segment) {
        let mut state = self.shared.state.write();
        let gone = |segment: &Arc<Segment>| old.iter().any(|old| old.base == segment.base);
        for segment in state.closed.iter().filter(|segment| gone(segment) && segment.id != new.id) {
            self.shared.cache.forget(segment.id);
        }
        let at = state.closed.partition_point(|segment| segment.base < new.base);
        state.closed.retain(|segment| !gone(segment));
        let at = at.min(state.closed.len());
        state.closed.insert(at, Arc::new(new));
    }
}

/// Is it known that the file is not there?
fn is_gone(disk: &dyn Disk, path: &Path) -> bool {
    disk.open(path, false).is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound)
}

/// What stays of a batch; `None` if nothing does. The last batch of a segment stays even without records: it tells where the segment
/// ends, so that a start finds no gap before the next one, whatever the topic's policy is by then.
fn cleaned(batch: &Batch, part: Part, keep: &Keep<'_>, last: bool, unreadable: &mut Vec<Offset>) -> Option<Batch> {
    let header = batch.header();
    let needed = last || keep.producers.end_with(header);
    match part {
        Part::Control { spent: false } => Some(batch.clone()),
        Part::Control { spent: true } => spent_marker(batch, keep, needed),
        Part::Aborted | Part::Data if header.record_count == 0 => needed.then(|| batch.clone()),
        Part::Aborted => match retain(batch, MAX_INFLATED_BATCH_BYTES, None, |_| false) {
            Ok(Retained::Empty(empty)) => needed.then_some(empty),
            // Nobody could show a record of it either.
            _ => needed.then(|| batch.clone()),
        },
        Part::Data => data(batch, keep, needed).unwrap_or_else(|| {
            // Whoever cannot read a batch must not throw it away.
            unreadable.push(header.base_offset);
            Some(batch.clone())
        }),
    }
}

/// From the first compaction that finds it without records a marker has so long to live as a tombstone.
fn spent_marker(batch: &Batch, keep: &Keep<'_>, needed: bool) -> Option<Batch> {
    match batch.header().delete_horizon() {
        Some(horizon) => (needed || !keep.forgets(horizon)).then(|| batch.clone()),
        None => match retain(batch, MAX_INFLATED_BATCH_BYTES, Some(keep.horizon), |_| true) {
            Ok(Retained::Some(marked)) => Some(marked),
            _ => Some(batch.clone()),
        },
    }
}

/// `None` if its records cannot be read.
fn data(batch: &Batch, keep: &Keep<'_>, needed: bool) -> Option<Option<Batch>> {
    let horizon = batch.header().delete_horizon();
    let forgotten = horizon.is_some_and(|horizon| keep.forgets(horizon));
    let mut tombstones = false;
    let mut stays = |record: &RecordView<'_>| {
        // Beyond what the map of keys covers nothing is decided: what a tombstone there deletes may still lie before it.
        let tombstone = record.key.is_some() && record.value.is_none() && record.offset < keep.keys.end;
        let goes = keep.is_superseded(record.offset, record.key) || (tombstone && forgotten);
        tombstones |= !goes && tombstone;
        !goes
    };
    let mut kept = retain(batch, MAX_INFLATED_BATCH_BYTES, None, &mut stays);
    if tombstones && horizon.is_none() {
        // From the first compaction that passes it a tombstone has so long to live (KIP-534).
        kept = retain(batch, MAX_INFLATED_BATCH_BYTES, Some(keep.horizon), |record: &RecordView<'_>| {
            !keep.is_superseded(record.offset, record.key)
        });
    }
    Some(match kept.ok()? {
        Retained::All => Some(batch.clone()),
        Retained::Some(part) => Some(part),
        Retained::Empty(empty) => needed.then_some(empty),
    })
}
