//! Taking back the end of a log, as a repair does. What was flushed can go this way too.

use std::sync::Arc;

use tidelog_model::Offset;
use tidelog_record::AbortedTransactions;

use crate::LogError;
use crate::append::Log;
use crate::cut::scan_failed;
use crate::disk::{read_file, unlink_if_there};
use crate::flush::{mark_unsettled, unmark};
use crate::index::SegmentIndex;
use crate::limits::MAX_INDEX_FILE_BYTES;
use crate::names::{self, Kind, Stage};
use crate::open::unlink_segment;
use crate::scan::Scan;
use crate::state::{Active, Segment};

impl Log {
    /// Where [`Log::truncate_to`] will end the log: the base of the batch that holds `end`, or `end` itself.
    pub fn truncation_point(&self, end: Offset) -> Result<Offset, crate::ReadError> {
        let view = self.view();
        let readers = view.readers(end, view.log_end(), 0)?;
        match readers.first().map(|reader| reader.locate(end)).transpose()?.flatten() {
            Some(located) => Ok(located.header.base_offset.min(end)),
            None => Ok(end.min(view.log_end())),
        }
    }

    /// Cuts the log so that it ends at or before `end`: at the end of the last batch that lies wholly below it. Returns the new
    /// end. The caller first lowers its recovery checkpoint to [`Log::truncation_point`], so that after a crash it does not lie
    /// beyond the log, and loads producer states anew afterwards.
    ///
    /// On return the cut is durable. If it fails half way the log is offline.
    pub fn truncate_to(&mut self, end: Offset) -> Result<Offset, LogError> {
        self.view().check_online()?;
        if end >= self.shared.state.read().log_end() {
            return Ok(self.shared.state.read().log_end());
        }
        let shared = Arc::clone(&self.shared);
        let _maintenance = shared.maintenance.lock();
        self.view().check_online()?;
        // If the process ends before the cut is flushed, the next start must not take the shorter file for a durable one.
        self.view().finish_swaps()?;
        let result = mark_unsettled(&*shared.disk, &shared.directory)
            .and_then(|()| self.truncate_locked(end))
            .and_then(|end| unmark(&*shared.disk, &shared.directory).map(|()| end));
        if let Err(error) = &result {
            self.view().take_offline(&format!("a truncation to offset {end} failed: {error}"));
        }
        result
    }

    fn truncate_locked(&mut self, end: Offset) -> Result<Offset, LogError> {
        let (keep, last) = {
            let state = self.shared.state.read();
            let count = state.closed.partition_point(|segment| segment.base < end);
            let in_active = state.active.base < end || state.closed.is_empty();
            let mut keep: Vec<Arc<Segment>> = state.closed.iter().take(count).cloned().collect();
            let last = if in_active { state.active.base } else { keep.pop().map_or(end, |segment| segment.base) };
            (keep, last)
        };
        let doomed: Vec<(Offset, Option<crate::cache::SegmentId>)> = {
            let state = self.shared.state.read();
            let closed = state.closed.iter().map(|segment| (segment.base, Some(segment.id)));
            closed.chain([(state.active.base, None)]).filter(|(base, _)| *base > last).collect()
        };
        // From the end on, so that an interruption leaves a log without a hole.
        for (base, id) in doomed.iter().rev() {
            if let Some(id) = id {
                self.shared.cache.forget(*id);
            }
            unlink_segment(&*self.shared.disk, &self.shared.directory, *base, Stage::Live)?;
        }
        let active = self.cut_segment(last, end)?;
        let new_end = active.end;
        self.drop_snapshots_above(new_end)?;
        active.file.flush().map_err(LogError::io("cannot flush", &self.shared.directory))?;
        self.shared
            .disk
            .flush_dir(&self.shared.directory)
            .map_err(LogError::io("cannot flush", &self.shared.directory))?;
        self.install(keep, active, new_end);
        Ok(new_end)
    }

    /// Cuts one segment's files at the last batch wholly below `end` and makes it active.
    fn cut_segment(&self, base: Offset, end: Offset) -> Result<Active, LogError> {
        let shared = &self.shared;
        let path = shared.path(base, Kind::Log, Stage::Live);
        let file = shared.disk.open(&path, true).map_err(LogError::io("cannot open", &path))?;
        let (size, modified) = {
            let state = shared.state.read();
            let closed = state.closed.iter().find(|segment| segment.base == base);
            closed.map_or((state.active.size, state.active.modified), |segment| (segment.size, segment.modified))
        };
        let interval = shared.state.read().config.index_interval_bytes;
        let mut index = SegmentIndex::new(base);
        let (mut position, mut new_end) = (0, base);
        let mut scan = Scan::headers(&*file, 0, size);
        while let Some(located) = scan.next_header().map_err(|error| scan_failed(&path, error))? {
            if located.header.next_offset() > end {
                break;
            }
            index.add(located.position, &located.header, interval);
            (position, new_end) = (located.end(), located.header.next_offset());
        }
        file.truncate(position).map_err(LogError::io("cannot truncate", &path))?;
        for kind in [Kind::Index, Kind::TimeIndex] {
            let path = shared.path(base, kind, Stage::Live);
            unlink_if_there(&*shared.disk, &path).map_err(LogError::io("cannot remove", &path))?;
        }
        let (aborted, txn_file) = self.cut_aborted(base, new_end)?;
        let id = shared.cache.new_id();
        Ok(Active { id, base, file, size: position, end: new_end, index, modified, since: None, aborted, txn_file })
    }

    #[allow(clippy::type_complexity)]
    fn cut_aborted(
        &self,
        base: Offset,
        end: Offset,
    ) -> Result<(AbortedTransactions, Option<Arc<dyn crate::DiskFile>>), LogError> {
        let path = self.shared.path(base, Kind::TxnIndex, Stage::Live);
        let bytes = match read_file(&*self.shared.disk, &path, MAX_INDEX_FILE_BYTES) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Default::default()),
            other => other.map_err(LogError::io("cannot read", &path))?,
        };
        let mut aborted = AbortedTransactions::decode(&bytes)
            .map_err(|error| LogError::Format { path: path.clone(), reason: error.to_string() })?;
        aborted.truncate_from_end(end);
        let file = self.shared.disk.open(&path, true).map_err(LogError::io("cannot open", &path))?;
        file.truncate(aborted.encode().len() as u64)
            .and_then(|()| file.flush())
            .map_err(LogError::io("cannot truncate", &path))?;
        Ok((aborted, Some(file)))
    }

    fn drop_snapshots_above(&self, end: Offset) -> Result<(), LogError> {
        let shared = &self.shared;
        let entries = shared.disk.list(&shared.directory).map_err(LogError::io("cannot list", &shared.directory))?;
        for entry in entries {
            if let Some((at, Kind::Snapshot, Stage::Live)) = names::parse(&entry.name)
                && at > end
            {
                let path = shared.path(at, Kind::Snapshot, Stage::Live);
                unlink_if_there(&*shared.disk, &path).map_err(LogError::io("cannot remove", &path))?;
            }
        }
        Ok(())
    }

    fn install(&mut self, closed: Vec<Arc<Segment>>, active: Active, end: Offset) {
        let mut guard = self.shared.state.write();
        let state = &mut *guard;
        state.closed = closed;
        state.active = active;
        state.flushed_end = state.flushed_end.min(end);
        state.log_start = state.log_start.min(end);
        state.truncations += 1;
        state.epochs.truncate_from_end(end);
        state.epochs_version += 1;
        state.unflushed.active_version += 1;
        state.unflushed.names_version += 1;
        self.debris = false;
    }
}
