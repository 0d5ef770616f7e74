//! Writing one compacted segment and putting it in the place of the segments it was made of.

use std::io::IoSlice;
use std::sync::Arc;

use tidelog_model::Offset;
use tidelog_model::limits::MAX_INFLATED_BATCH_BYTES;
use tidelog_record::{AbortedTransactions, Batch, RecordView, Retained, retain};

use super::{Keep, STAGES, is_aborted};
use crate::LogError;
use crate::disk::{DiskFile, unlink_if_there, write_file};
use crate::index::SegmentIndex;
use crate::limits::VERIFY_WINDOW_BYTES;
use crate::names::{Kind, Stage};
use crate::open::unlink_segment;
use crate::recover::take_place;
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
    /// Rewrites neighbouring segments as one; returns its bytes. Segments that lose nothing and are alone stay as they are.
    pub(super) fn rewrite_group(&self, group: &[Arc<Segment>], keep: &Keep<'_>) -> Result<u64, LogError> {
        let Some(first) = group.first() else { return Ok(0) };
        let result = self.write_cleaned(group, keep);
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
            self.each_batch(segment, |batch| {
                match cleaned(&batch, keep, Some(batch.header().next_offset()) == end) {
                    Some(kept) => {
                        output.dropped |= kept != batch;
                        output.push(&kept, interval).map_err(failed())?;
                    }
                    None => output.dropped = true,
                }
                Ok(true)
            })?;
            for entry in self.aborted_in(segment)? {
                aborted.push(entry);
            }
        }
        output.write().map_err(failed())?;
        output.index.finish();
        Ok((output, aborted))
    }

    fn aborted_in(&self, segment: &Segment) -> Result<Vec<tidelog_record::AbortedTransaction>, LogError> {
        let mut found =
            self.aborted_transactions(segment.base, segment.end).map_err(|error| self.unreadable(&error))?;
        found.retain(|entry| entry.last_offset >= segment.base && entry.last_offset < segment.end);
        Ok(found)
    }

    /// Commits the new segment by its name, then takes the old ones away.
    fn swap(&self, group: &[Arc<Segment>], output: Output, aborted: &AbortedTransactions) -> Result<u64, LogError> {
        let (Some(first), Some(last)) = (group.first(), group.last()) else { return Ok(0) };
        let shared = &self.shared;
        let [cleaned, swap] = STAGES;
        let directory = &shared.directory;
        let mut files = vec![(Kind::Index, output.index.offset_file()), (Kind::TimeIndex, output.index.time_file())];
        if !aborted.is_empty() {
            files.push((Kind::TxnIndex, aborted.encode()));
        }
        for (kind, bytes) in &files {
            let path = shared.path(first.base, *kind, cleaned);
            write_file(&*shared.disk, &path, bytes)
                .and_then(|file| file.flush())
                .map_err(LogError::io("cannot write", &path))?;
        }
        output.file.flush().map_err(LogError::io("cannot flush", directory))?;
        for kind in files.iter().map(|(kind, _)| *kind).chain([Kind::Log]) {
            if kind == Kind::Log {
                shared.disk.flush_dir(directory).map_err(LogError::io("cannot flush", directory))?;
            }
            let (from, to) = (shared.path(first.base, kind, cleaned), shared.path(first.base, kind, swap));
            shared.disk.rename(&from, &to).map_err(LogError::io("cannot rename", &from))?;
        }
        shared.disk.flush_dir(directory).map_err(LogError::io("cannot flush", directory))?;

        let id = shared.cache.new_id();
        let segment = |stage| Segment {
            id,
            base: first.base,
            end: last.end,
            size: output.size,
            max: output.index.max(),
            first_timestamp: output.index.first_timestamp().map(std::sync::OnceLock::from).unwrap_or_default(),
            has_txn_index: !aborted.is_empty(),
            stage,
            index_refuted: Default::default(),
        };
        // From here on readers see the new segment; its files get their last names behind it.
        self.replace(group, segment(Stage::Swap));
        for old in group.iter().skip(1) {
            unlink_segment(&*shared.disk, directory, old.base, Stage::Live)?;
            let path = shared.path(old.base, Kind::Snapshot, Stage::Live);
            unlink_if_there(&*shared.disk, &path).map_err(LogError::io("cannot remove", &path))?;
        }
        take_place(&*shared.disk, directory, first.base)?;
        let live = segment(Stage::Live);
        self.replace(&[Arc::new(segment(Stage::Swap))], live);
        Ok(output.size)
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

/// What stays of a batch; `None` if nothing does. The last batch of a segment stays even without records: it tells where the segment
/// ends, so that a start finds no gap before the next one, whatever the topic's policy is by then.
fn cleaned(batch: &Batch, keep: &Keep<'_>, last: bool) -> Option<Batch> {
    if batch.header().attributes.is_control() {
        return Some(batch.clone());
    }
    if batch.header().record_count == 0 {
        return last.then(|| batch.clone());
    }
    if is_aborted(batch, keep.aborted) {
        return match retain(batch, MAX_INFLATED_BATCH_BYTES, None, |_| false) {
            Ok(Retained::Empty(empty)) if last => Some(empty),
            _ => None,
        };
    }
    let horizon = batch.header().delete_horizon();
    let forgotten = horizon.is_some_and(|horizon| horizon <= keep.now);
    let mut tombstones = false;
    let mut stays = |record: &RecordView<'_>| {
        let tombstone = record.key.is_some() && record.value.is_none();
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
    match kept {
        // Whoever cannot read a batch must not throw it away.
        Ok(Retained::All) | Err(_) => Some(batch.clone()),
        Ok(Retained::Some(part)) => Some(part),
        Ok(Retained::Empty(empty)) => last.then_some(empty),
    }
}
