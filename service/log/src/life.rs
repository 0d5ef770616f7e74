//! A log's later life: its start moves, old segments go, it is closed or deleted.

use std::sync::Arc;

use bytes::Bytes;
use tidelog_model::{Offset, Timestamp, TopicId};
use tidelog_record::ProducerStates;

use crate::append::Log;
use crate::datadir::{DELETED_SUFFIX, read_topic_id};
use crate::disk::{read_file, unlink_if_there};
use crate::limits::{MAX_FILE_NAME_BYTES, MAX_SMALL_FILE_BYTES};
use crate::names::{self, Kind, Stage};
use crate::open::unlink_segment;
use crate::read::Reader;
use crate::retention::RetentionPlan;
use crate::state::{Segment, SegmentInfo};
use crate::view::LogView;
use crate::{ClosedSegment, FileSlice, LogError, ReadError};

impl LogView {
    /// Records below `offset` may no longer be read; it never moves back nor beyond the log's end. The caller keeps it in the
    /// data directory's checkpoint. Files go later, by retention.
    pub fn advance_log_start(&self, offset: Offset) -> Offset {
        let mut state = self.shared.state.write();
        let start = offset.min(state.log_end()).max(state.log_start);
        if start > state.log_start {
            state.log_start = start;
            if state.epochs.truncate_from_start(start) {
                state.epochs_version += 1;
            }
        }
        state.log_start
    }

    /// Carries out what retention decided; returns the segments that went. Slices that were handed out stay readable. What goes behind the
    /// log start goes because the store has it, and the log is [marked](LogView::is_tiered) first.
    pub fn apply_retention(&self, plan: &RetentionPlan) -> Result<Vec<SegmentInfo>, LogError> {
        self.advance_log_start(plan.log_start);
        self.delete_before(plan.delete_before)
    }

    /// Removes the closed segments that end at or before `offset`; returns them.
    ///
    /// Flushes first if the segments' successors are not flushed: their producer snapshots must not be lost with the older ones.
    /// Removes nothing while a compaction runs: the log thread asks at every check, and must not wait for one. Whoever compacts asks again.
    pub fn delete_before(&self, offset: Offset) -> Result<Vec<SegmentInfo>, LogError> {
        let shared = &self.shared;
        if shared.state.read().closed.first().is_none_or(|segment| segment.end > offset) {
            return Ok(Vec::new());
        }
        let Some(_maintenance) = shared.maintenance.try_lock() else { return Ok(Vec::new()) };
        // Whoever held the lock may have deleted the log, and another one may be in its folder by now.
        self.check_online()?;
        // What a compacted segment stands for would come back, with a hole behind it.
        self.finish_swaps()?;
        let (any, dirty, readable) = {
            let state = shared.state.read();
            let going = state.closed.partition_point(|segment| segment.end <= offset);
            let last = going.checked_sub(1).and_then(|last| state.closed.get(last));
            (last.is_some(), !state.unflushed.files.is_empty(), last.is_some_and(|last| last.end > state.log_start))
        };
        if any && dirty {
            self.flush()?;
        }
        let mut gone = Vec::new();
        if readable {
            self.mark()?;
        }
        if any {
            // A removal that failed before must be durable before a later one: no power cut may leave a hole. The mark is durable with it.
            shared.disk.flush_dir(&shared.directory).map_err(LogError::io("cannot flush", &shared.directory))?;
        }
        while let Some(segment) = self.delete_first(offset)? {
            gone.push(segment);
        }
        if !gone.is_empty() {
            self.delete_snapshots_below(self.first_base())?;
        }
        Ok(gone)
    }

    /// Removes the first segment if it is closed and ends at or before `offset`.
    fn delete_first(&self, offset: Offset) -> Result<Option<SegmentInfo>, LogError> {
        let shared = &self.shared;
        let segment = {
            let mut state = shared.state.write();
            if state.closed.first().is_none_or(|segment| segment.end > offset) {
                return Ok(None);
            }
            state.closed.remove(0)
        };
        shared.cache.forget(segment.id);
        let result = unlink_segment(&*shared.disk, &shared.directory, segment.base, segment.stage);
        if result.is_err() {
            let path = shared.path(segment.base, Kind::Log, segment.stage);
            // Still there, then it is still part of the log: the next attempt must not begin behind it.
            if shared.disk.open(&path, false).is_ok() {
                shared.state.write().closed.insert(0, Arc::clone(&segment));
            }
        }
        result.map(|()| Some(segment.info()))
    }

    /// First offset of the first segment on this disk.
    pub fn first_base(&self) -> Offset {
        let state = self.shared.state.read();
        state.closed.first().map_or(state.active.base, |segment| segment.base)
    }

    fn delete_snapshots_below(&self, offset: Offset) -> Result<(), LogError> {
        let shared = &self.shared;
        let entries = shared.disk.list(&shared.directory).map_err(LogError::io("cannot list", &shared.directory))?;
        for entry in entries {
            if let Some((at, Kind::Snapshot, Stage::Live)) = names::parse(&entry.name)
                && at < offset
            {
                let path = shared.path(at, Kind::Snapshot, Stage::Live);
                unlink_if_there(&*shared.disk, &path).map_err(LogError::io("cannot remove", &path))?;
            }
        }
        Ok(())
    }

    /// The first closed segment that ends after `from` and at or before `up_to` (what is flushed, replicated and decided), with
    /// everything that belongs to it. `None` if there is none.
    pub fn closed_segment(&self, from: Offset, up_to: Offset) -> Result<Option<ClosedSegment>, ReadError> {
        let shared = &self.shared;
        let (segment, reader) = {
            let state = shared.state.read();
            let first = state.closed.partition_point(|segment| segment.end <= from);
            match state.closed.get(first) {
                Some(segment) if segment.end <= up_to => (Arc::clone(segment), shared.reader(&state, segment)?),
                _ => return Ok(None),
            }
        };
        let (base, end) = (segment.base, segment.end);
        let first_timestamp = self.first_timestamp(&segment, &reader)?;
        let path = shared.path(end, Kind::Snapshot, Stage::Live);
        let snapshot = match read_file(&*shared.disk, &path, MAX_SMALL_FILE_BYTES) {
            // Another broker kept only the newest ones, and whoever needs this one needs newer ones too.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => ProducerStates::new().encode_snapshot(),
            read => read.map_err(ReadError::io(&path))?,
        };
        // Also those whose marker lies in a later segment: whoever reads this one alone must skip their records.
        let aborted = self.aborted_transactions(base, end)?;
        let mut epochs = self.leader_epochs();
        epochs.truncate_from_end(end);
        Ok(Some(ClosedSegment {
            base,
            end,
            first_timestamp,
            max_timestamp: segment.max.map_or(segment.modified, |(timestamp, _)| timestamp),
            log: FileSlice { file: reader.log, position: 0, len: segment.size as usize },
            epochs,
            producer_snapshot: Bytes::from(snapshot),
            aborted,
        }))
    }

    fn first_timestamp(&self, segment: &Segment, reader: &Reader) -> Result<Timestamp, ReadError> {
        if let Some(known) = segment.first_timestamp.get() {
            return Ok(*known);
        }
        let mut scan = crate::scan::Scan::headers(&*reader.log, 0, reader.size);
        let mut timestamp = Timestamp::NONE;
        while timestamp == Timestamp::NONE
            && let Some(located) = reader.step(&mut scan)?
        {
            timestamp = located.header.max_timestamp;
        }
        Ok(*segment.first_timestamp.get_or_init(|| timestamp))
    }
}

impl Log {
    /// A clean stop: producer states, indexes and epochs are written, everything is flushed. Returns the flushed end, which the
    /// caller keeps as the recovery checkpoint; the next start then reads next to nothing.
    pub fn close(self, snapshot: &Bytes) -> Result<Offset, LogError> {
        self.write_last(snapshot)?.flush()
    }

    /// A clean stop but for the flush, so that one call may serve many logs.
    pub fn write_last(self, snapshot: &Bytes) -> Result<LogView, LogError> {
        let view = self.view();
        view.check_online()?;
        let (base, end, mut index) = {
            let state = self.shared.state.read();
            if state.log_end() == Offset::ZERO {
                // Nothing has ever come, and there is nothing to tell of it.
                return Ok(view);
            }
            (state.active.base, state.active.end, state.active.index.clone())
        };
        index.finish();
        for (offset, kind, bytes) in [
            (base, Kind::Index, index.offset_file()),
            (base, Kind::TimeIndex, index.time_file()),
            (end, Kind::Snapshot, snapshot.to_vec()),
        ] {
            let file = self.write_small(offset, kind, &bytes)?;
            self.shared.state.write().unflushed.push(file);
        }
        self.shared.state.write().unflushed.names_version += 1;
        Ok(view)
    }

    /// Deletes the partition's log. Its directory gets another name first, `<topic>-<partition>.<topic id>-delete`, which a start
    /// recognises and removes, so that an interruption leaves nothing that looks like a log. A compaction that runs is ended first.
    /// A directory that is another topic's by now stays, and that is an error.
    pub fn delete(self, topic_id: TopicId) -> Result<(), LogError> {
        let view = self.view();
        view.end_compaction();
        let _maintenance = self.shared.maintenance.lock();
        let directory = &self.shared.directory;
        {
            let mut state = self.shared.state.write();
            state.offline = Some(Arc::from("the partition was deleted"));
            // Views outlive the log: no path of theirs may lead into another log that gets the same folder.
            for segment in std::mem::take(&mut state.closed) {
                self.shared.cache.forget(segment.id);
            }
        }
        drop(view);
        if let Some(found) = read_topic_id(&*self.shared.disk, directory).filter(|found| *found != topic_id) {
            let reason = format!("it belongs to topic {found} now, and stays");
            return Err(LogError::Format { path: directory.clone(), reason });
        }
        let suffix = format!(".{topic_id}{DELETED_SUFFIX}");
        let name = directory.file_name().and_then(|name| name.to_str()).unwrap_or("partition");
        // The longest topic names leave no room for a suffix; topics are ASCII.
        let kept = name.get(..name.len().min(MAX_FILE_NAME_BYTES - suffix.len())).unwrap_or("partition");
        let doomed = &directory.with_file_name(format!("{kept}{suffix}"));
        self.shared.disk.rename(directory, doomed).map_err(LogError::io("cannot rename", directory))?;
        crate::datadir::remove_directory(&*self.shared.disk, doomed)
    }
}
