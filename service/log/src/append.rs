//! The writer: puts stamped batches at the end of the active segment and rolls it. It decides where bytes go, never what
//! offsets or epochs they get, and moves the log's end only after the write has succeeded.

use std::io::{self, IoSlice};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use tidelog_model::{LeaderEpoch, Now, Offset, Timestamp};
use tidelog_record::{AbortedTransaction, AbortedTransactions, Batch, BatchHeader, stamped_prefix};

use crate::disk::{DiskFile, unlink_if_there, write_file};
use crate::index::{OFFSET_ENTRY, SegmentIndex};
use crate::limits::MAX_SEGMENT_BYTES;
use crate::names::{Kind, LEADER_EPOCHS, Stage};
use crate::state::{Active, Segment, Shared, State};
use crate::view::LogView;
use crate::{LogConfig, LogError};

/// A batch with its place in the log: the frame as it came, and the 16 bytes that replace its first 16.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StampedBatch {
    /// The header as it will lie in the log (base offset and leader epoch set).
    pub header: BatchHeader,
    /// Base offset, length and leader epoch.
    pub prefix: [u8; 16],
    /// The whole batch as it came; its first 16 bytes are not written.
    pub bytes: Bytes,
}

impl StampedBatch {
    /// Gives a batch its base offset and leader epoch.
    pub fn new(batch: &Batch, base_offset: Offset, leader_epoch: LeaderEpoch) -> Self {
        StampedBatch {
            header: batch.header().stamped(base_offset, leader_epoch),
            prefix: stamped_prefix(batch, base_offset, leader_epoch),
            bytes: batch.bytes().clone(),
        }
    }

    /// Bytes it takes in the log.
    pub fn size(&self) -> usize {
        self.bytes.len()
    }

    fn rest(&self) -> &[u8] {
        self.bytes.get(self.prefix.len()..).unwrap_or_default()
    }
}

/// A group of batches that now lies in the log (not yet flushed).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Appended {
    /// Offset of the first record.
    pub base: Offset,
    /// The log's new end.
    pub end: Offset,
    /// Bytes written.
    pub bytes: u64,
    /// The segment that was closed before the group was written, by its base offset.
    pub rolled: Option<Offset>,
}

/// The writer's side of one partition's log. Exactly one thread owns it at a time.
#[derive(Debug)]
pub struct Log {
    pub(crate) shared: Arc<Shared>,
    /// Bytes after the active segment's end that a failed write has left and that could not be cut off yet.
    pub(crate) debris: bool,
}

impl Log {
    /// The readers' side; cheap to clone, stays valid for the life of the log.
    pub fn view(&self) -> LogView {
        LogView { shared: Arc::clone(&self.shared) }
    }

    /// Changes the settings; they rule from the next append on.
    pub fn set_config(&mut self, config: LogConfig) {
        let mut state = self.shared.state.write();
        state.thinned |= config.compacted;
        state.config = config;
    }

    /// Writes a group of batches with one vectored write.
    ///
    /// The batches continue the log's end in order. If the group does not fit, the segment is rolled *before* it: a group
    /// is never split, so a segment exceeds `segment.bytes` by at most one group. `snapshot` is asked for the producer states
    /// before the group, as Kafka's `.snapshot` holds them, only if the segment rolls. `aborted` are the transactions which
    /// the abort markers of this group end.
    ///
    /// On an error nothing has moved. If a failed write cannot be taken back, the log is offline.
    pub fn append(
        &mut self,
        batches: &[StampedBatch],
        aborted: &[AbortedTransaction],
        snapshot: &mut dyn FnMut(Offset) -> Bytes,
        now: Now,
    ) -> Result<Appended, LogError> {
        self.check_online()?;
        let group = Group::of(batches, aborted, self.shared.state.read().log_end())?;
        let rolled = if self.must_roll(&group, now) { Some(self.roll(snapshot, now)?) } else { None };
        self.write_group(&group, batches)?;
        let mut txn_file = None;
        if !aborted.is_empty() {
            match self.write_aborted(aborted) {
                Ok(file) => txn_file = Some(file),
                // Without its entry a reader of committed records would see aborted ones: the group must not count.
                Err(error) => return Err(self.take_back(error)),
            }
        }
        self.publish(batches, aborted, txn_file, now);
        Ok(Appended { base: group.base, end: group.end, bytes: group.bytes, rolled })
    }

    fn check_online(&mut self) -> Result<(), LogError> {
        if let Some(reason) = &self.shared.state.read().offline {
            return Err(LogError::Offline { directory: self.shared.directory.clone(), reason: reason.to_string() });
        }
        Ok(())
    }

    fn must_roll(&self, group: &Group, now: Now) -> bool {
        let state = self.shared.state.read();
        let (active, config) = (&state.active, &state.config);
        if active.size == 0 {
            // An empty segment takes anything whose offsets it can express.
            return group.last_delta(active.base).is_none();
        }
        let too_large = active.size.saturating_add(group.bytes) > config.max_segment_bytes();
        let index_full = active.index.offset_bytes() + OFFSET_ENTRY > config.segment_index_bytes.max(OFFSET_ENTRY);
        let age = segment_age(active.index.first_timestamp(), group.max_timestamp, active.since, now.wall);
        too_large || index_full || age > config.segment_ms || group.last_delta(active.base).is_none()
    }

    fn write_group(&mut self, group: &Group, batches: &[StampedBatch]) -> Result<(), LogError> {
        let (file, size) = {
            let state = self.shared.state.read();
            (Arc::clone(&state.active.file), state.active.size)
        };
        if size.saturating_add(group.bytes) > MAX_SEGMENT_BYTES {
            return Err(LogError::Refused(format!("{} bytes are more than a segment can hold", group.bytes)));
        }
        let parts: Vec<IoSlice<'_>> =
            batches.iter().flat_map(|batch| [IoSlice::new(&batch.prefix), IoSlice::new(batch.rest())]).collect();
        if let Err(source) = self.cut_debris().and_then(|()| file.write_at(size, &parts)) {
            let error = LogError::io("cannot append to", &self.active_path())(source);
            return Err(self.take_back(error));
        }
        Ok(())
    }

    fn active_path(&self) -> std::path::PathBuf {
        self.shared.path(self.shared.state.read().active.base, Kind::Log, Stage::Live)
    }

    /// Cuts off what a failed write has left behind. If that fails the log goes offline.
    fn take_back(&mut self, error: LogError) -> LogError {
        self.debris = true;
        if let Err(second) = self.cut_debris() {
            self.view()
                .flush_failed(&io::Error::other(format!("{error}, and what was written cannot be cut off: {second}")));
        }
        error
    }

    fn cut_debris(&mut self) -> io::Result<()> {
        if !self.debris {
            return Ok(());
        }
        let (file, size, txn_file, txn_size) = {
            let state = self.shared.state.read();
            let active = &state.active;
            let txn_size = txn_bytes(active);
            (Arc::clone(&active.file), active.size, active.txn_file.clone(), txn_size)
        };
        // Flushed at once: after a power cut the failed batches must not stand there as if they had been accepted.
        file.truncate(size)?;
        file.flush()?;
        if let Some(txn_file) = txn_file {
            txn_file.truncate(txn_size)?;
            txn_file.flush()?;
        }
        self.debris = false;
        self.shared.state.write().unflushed.active_version += 1;
        Ok(())
    }

    fn write_aborted(&mut self, aborted: &[AbortedTransaction]) -> Result<Arc<dyn DiskFile>, LogError> {
        let (file, path, at) = {
            let state = self.shared.state.read();
            let path = self.shared.path(state.active.base, Kind::TxnIndex, Stage::Live);
            (state.active.txn_file.clone(), path, txn_bytes(&state.active))
        };
        let file = match file {
            Some(file) => file,
            None => self.shared.disk.create(&path).map_err(LogError::io("cannot create", &path))?,
        };
        let bytes: Vec<u8> = aborted.iter().flat_map(AbortedTransaction::encode).collect();
        if let Err(source) = file.write_at(at, &[IoSlice::new(&bytes)]) {
            // Publishes the handle, so that the debris in this file is cut off as well. Its name is new, if the file is.
            let mut state = self.shared.state.write();
            state.unflushed.names_version += u64::from(state.active.txn_file.is_none());
            state.active.txn_file = Some(file);
            return Err(LogError::io("cannot write", &path)(source));
        }
        Ok(file)
    }

    /// The one place where the log's end moves forward.
    fn publish(
        &mut self,
        batches: &[StampedBatch],
        aborted: &[AbortedTransaction],
        txn_file: Option<Arc<dyn DiskFile>>,
        now: Now,
    ) {
        let mut guard = self.shared.state.write();
        let state = &mut *guard;
        state.active.since.get_or_insert(now.wall);
        state.active.modified = now.wall;
        let interval = state.config.index_interval_bytes;
        for batch in batches {
            let active = &mut state.active;
            active.index.add(active.size, &batch.header, interval);
            active.size += batch.size() as u64;
            active.end = batch.header.next_offset();
            if state.epochs.assign(batch.header.leader_epoch, batch.header.base_offset) {
                state.epochs_version += 1;
            }
        }
        if txn_file.is_some() {
            if state.active.txn_file.is_none() {
                state.unflushed.names_version += 1;
            }
            state.active.txn_file = txn_file;
            for transaction in aborted {
                state.active.aborted.push(*transaction);
            }
        }
        state.unflushed.active_version += 1;
    }

    /// Closes the active segment and begins the next one at the log's end; returns the closed segment's base.
    ///
    /// Indexes and the producer snapshot are written but not flushed; a flush covers them together with the records.
    pub fn roll(&mut self, snapshot: &mut dyn FnMut(Offset) -> Bytes, _now: Now) -> Result<Offset, LogError> {
        self.check_online()?;
        let (base, end) = {
            let state = self.shared.state.read();
            (state.active.base, state.active.end)
        };
        if base == end {
            return Ok(base);
        }
        self.cut_debris().map_err(LogError::io("cannot truncate", &self.active_path()))?;
        self.flush_names()?;
        let mut index = self.shared.state.read().active.index.clone();
        index.finish();
        let written = self
            .write_small(base, Kind::Index, &index.offset_file())
            .and_then(|first| Ok([first, self.write_small(base, Kind::TimeIndex, &index.time_file())?]))
            .and_then(|[a, b]| Ok([a, b, self.write_small(end, Kind::Snapshot, &snapshot(end))?]));
        let path = self.shared.path(end, Kind::Log, Stage::Live);
        let created = written.and_then(|files| {
            let file = self.shared.disk.create(&path).map_err(LogError::io("cannot create", &path))?;
            Ok((files, file))
        });
        let (files, file) = created.inspect_err(|_| self.unmake(base, end))?;
        let mut guard = self.shared.state.write();
        begin_segment(&self.shared, &mut guard, index, files, file, end);
        Ok(base)
    }

    /// A segment's name must be durable before the next segment has one: otherwise a power cut could take the front of the log and
    /// leave what follows, which would look like a log that begins later. Nothing to do if a flush came by since the last roll.
    fn flush_names(&self) -> Result<(), LogError> {
        let version = {
            let unflushed = &self.shared.state.read().unflushed;
            if unflushed.names_version == unflushed.names_flushed {
                return Ok(());
            }
            unflushed.names_version
        };
        let directory = &self.shared.directory;
        if let Err(source) = self.shared.disk.flush_dir(directory) {
            self.view().flush_failed(&io::Error::new(source.kind(), format!("a flush failed: {source}")));
            return Err(LogError::io("cannot flush", directory)(source));
        }
        let mut state = self.shared.state.write();
        state.unflushed.names_flushed = state.unflushed.names_flushed.max(version);
        Ok(())
    }

    /// Writes a file that belongs to an offset, without flushing it.
    pub(crate) fn write_small(&self, base: Offset, kind: Kind, bytes: &[u8]) -> Result<Arc<dyn DiskFile>, LogError> {
        let path = self.shared.path(base, kind, Stage::Live);
        write_file(&*self.shared.disk, &path, bytes).map_err(LogError::io("cannot write", &path))
    }

    /// Removes what a failed roll has written: a snapshot or index that is only half there must not be found later.
    fn unmake(&self, base: Offset, end: Offset) {
        for (offset, kind) in [(base, Kind::Index), (base, Kind::TimeIndex), (end, Kind::Snapshot), (end, Kind::Log)] {
            let path = self.shared.path(offset, kind, Stage::Live);
            if let Err(error) = unlink_if_there(&*self.shared.disk, &path) {
                tracing::warn!(path = %path.display(), %error, "cannot remove what a failed roll has written");
            }
        }
    }

    /// A new leader epoch begins at `start`. The file follows with the next flush.
    pub fn assign_epoch(&mut self, epoch: LeaderEpoch, start: Offset) {
        let mut state = self.shared.state.write();
        if state.epochs.assign(epoch, start) {
            state.epochs_version += 1;
        }
    }

    /// Writes the leader epochs of a log that has just been created, with its other files, so that its first record needs no further
    /// flush for them.
    pub fn write_first_epochs(&mut self) -> Result<(), LogError> {
        let (text, version) = {
            let state = self.shared.state.read();
            (state.epochs.encode(), state.epochs_version)
        };
        let path = self.shared.directory.join(LEADER_EPOCHS);
        let written = write_file(&*self.shared.disk, &path, text.as_bytes());
        let file = written.map_err(LogError::io("cannot write", &path))?;
        let mut state = self.shared.state.write();
        state.unflushed.push(file);
        state.epochs_written = version;
        Ok(())
    }
}

/// How old a segment has become when a group comes, ms: by the records' own time, so that what is copied from long ago lies in segments
/// of that time; where no record has one, by the clock since the first record came (Kafka's `timeWaitedForRoll`).
fn segment_age(first: Option<Timestamp>, newest: Option<Timestamp>, since: Option<Timestamp>, now: Timestamp) -> i64 {
    match (first, newest, since) {
        (Some(first), Some(newest), _) => newest.0.saturating_sub(first.0),
        (None, _, Some(since)) => now.0.saturating_sub(since.0),
        _ => 0,
    }
}

/// Bytes of the active segment's `.txnindex`.
fn txn_bytes(active: &Active) -> u64 {
    (active.aborted.entries().len() * AbortedTransaction::LEN) as u64
}

/// Turns the active segment into a closed one and starts the next.
fn begin_segment(
    shared: &Shared,
    state: &mut State,
    index: SegmentIndex,
    files: [Arc<dyn DiskFile>; 3],
    file: Arc<dyn DiskFile>,
    end: Offset,
) {
    let next = Active {
        id: shared.cache.new_id(),
        base: end,
        file,
        size: 0,
        end,
        index: SegmentIndex::new(end),
        modified: Timestamp::NONE,
        since: None,
        aborted: AbortedTransactions::new(),
        txn_file: None,
    };
    let old = std::mem::replace(&mut state.active, next);
    for file in files {
        state.unflushed.push(file);
    }
    state.unflushed.push(Arc::clone(&old.file));
    if let Some(txn_file) = &old.txn_file {
        state.unflushed.push(Arc::clone(txn_file));
    }
    state.unflushed.names_version += 1;
    state.unflushed.active_version += 1;
    shared.cache.put(old.id, Kind::Log, Arc::clone(&old.file));
    let segment = Segment {
        id: old.id,
        base: old.base,
        end: old.end,
        size: old.size,
        max: index.max(),
        first_timestamp: index.first_timestamp().map(OnceLock::from).unwrap_or_default(),
        modified: old.modified,
        has_txn_index: old.txn_file.is_some(),
        stage: Stage::Live,
        index_refuted: Default::default(),
    };
    state.closed.push(Arc::new(segment));
}

/// The ends of a group that continues the log.
struct Group {
    base: Offset,
    end: Offset,
    bytes: u64,
    max_timestamp: Option<Timestamp>,
}

impl Group {
    fn of(batches: &[StampedBatch], aborted: &[AbortedTransaction], log_end: Offset) -> Result<Group, LogError> {
        let Some(first) = batches.first() else {
            return Err(LogError::Refused("an empty group".into()));
        };
        let mut group = Group { base: first.header.base_offset, end: log_end, bytes: 0, max_timestamp: None };
        for batch in batches {
            let header = &batch.header;
            if header.base_offset < group.end || batch.size() != header.size() {
                let (base, end) = (header.base_offset, group.end);
                return Err(LogError::Refused(format!("a batch at offset {base} does not continue the log at {end}")));
            }
            group.end = header.next_offset();
            group.bytes += batch.size() as u64;
            group.max_timestamp = group.max_timestamp.max(Some(header.max_timestamp));
        }
        let mut floor = group.base.plus(-1);
        for entry in aborted {
            if entry.last_offset <= floor || entry.last_offset >= group.end {
                return Err(LogError::Refused("aborted transactions that do not end in this group, in order".into()));
            }
            floor = entry.last_offset;
        }
        Ok(group)
    }

    /// The last offset as the indexes hold it; `None` if the segment at `base` cannot express it.
    fn last_delta(&self, base: Offset) -> Option<i32> {
        i32::try_from(self.end.0.checked_sub(base.0)?.checked_sub(1)?).ok()
    }
}
