//! The walk over a log's files at a start. It decides which segments are sound, where the log ends, and what its batches add
//! up to. Below the recovery checkpoint damage is an error; above it the log ends at the first damage, whatever follows.

use std::io::IoSlice;
use std::path::Path;
use std::sync::Arc;

use tidelog_model::{Now, Offset};
use tidelog_record::limits::MAX_PRODUCER_STATE_BYTES;
use tidelog_record::{AbortedTransactions, BatchSums, EndTransactionMarker, ProducerStates, check_crc};

use crate::cache::{FileCache, SegmentId};
use crate::disk::{Disk, DiskFile, read_exact, read_file, write_file};
use crate::error::Damage;
use crate::index::{OffsetIndexFile, SegmentIndex, TimeIndexFile};
use crate::limits::{MAX_INDEX_FILE_BYTES, MAX_SMALL_FILE_BYTES, VERIFY_WINDOW_BYTES};
use crate::names::{self, Kind, PARTITION_METADATA, Stage};
use crate::open::{Checkpoints, Cut, read_epochs};
use crate::scan::{Located, Scan, ScanError};
use crate::state::{Active, Segment, Unflushed};
use crate::{LogConfig, LogError};

mod cut;
mod tidy;

use tidy::Folder;
pub(crate) use tidy::take_place;

/// One start's look at one directory.
pub(crate) struct Recovery<'a> {
    disk: &'a dyn Disk,
    cache: &'a FileCache,
    directory: &'a Path,
    config: &'a LogConfig,
    checkpoints: Checkpoints,
}

/// What the walk found.
pub(crate) struct Walked {
    pub(crate) closed: Vec<Arc<Segment>>,
    /// The last segment, open for writing; `None` if there is none.
    pub(crate) last: Option<Active>,
    pub(crate) sums: BatchSums,
    pub(crate) flushed_end: Offset,
    pub(crate) verified_bytes: u64,
    pub(crate) cut: Option<Cut>,
}

/// One sound segment.
struct Found {
    base: Offset,
    end: Offset,
    size: u64,
    /// Known if the segment's batches were walked.
    index: Option<SegmentIndex>,
    max: Option<(tidelog_model::Timestamp, Offset)>,
    aborted: AbortedTransactions,
}

/// Where and why the log ends early.
struct Break {
    /// The damaged segment and byte. A segment that does not follow its predecessor is damaged from its first byte on, whole.
    base: Offset,
    position: u64,
    whole: bool,
    reason: String,
}

/// The state of a walk.
struct Walk<'a> {
    recovery: &'a Recovery<'a>,
    sums: BatchSums,
    /// Batches from here on are not in the producer snapshot.
    replay_from: Offset,
    /// The offset expected next.
    end: Offset,
    verified: u64,
    now: Now,
}

impl<'a> Recovery<'a> {
    pub(crate) fn new(
        disk: &'a dyn Disk,
        cache: &'a FileCache,
        directory: &'a Path,
        config: &'a LogConfig,
        checkpoints: Checkpoints,
    ) -> Self {
        Recovery { disk, cache, directory, config, checkpoints }
    }

    pub(crate) fn damage(&self, base: Offset, position: u64, offset: Offset, reason: &str) -> Box<Damage> {
        let path = names::path(self.directory, base, Kind::Log, Stage::Live);
        Box::new(Damage {
            directory: self.directory.display().to_string(),
            file: path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default(),
            position,
            offset,
            recovery_point: self.checkpoints.recovery_point,
            reason: reason.to_owned(),
        })
    }

    fn path(&self, base: Offset, kind: Kind) -> std::path::PathBuf {
        names::path(self.directory, base, kind, Stage::Live)
    }

    fn open_file(&self, base: Offset, kind: Kind, write: bool) -> Result<Arc<dyn DiskFile>, LogError> {
        let path = self.path(base, kind);
        self.disk.open(&path, write).map_err(LogError::io("cannot open", &path))
    }

    pub(crate) fn run(&self, now: Now) -> Result<Walked, LogError> {
        let mut folder = tidy::tidy(self.disk, self.directory)?;
        if folder.flush_failed {
            self.rewrite_small(&folder)?;
        }
        let recovery_point = self.checkpoints.recovery_point;
        let Some((&first, _)) = folder.logs.first_key_value() else {
            return self.nothing_there();
        };
        let mut walk = self.begin(&mut folder, first, now)?;
        let mut found: Vec<Found> = Vec::new();
        let mut broken = None;
        let logs: Vec<(Offset, u64)> = folder.logs.iter().map(|(base, size)| (*base, *size)).collect();
        for (number, &(base, size)) in logs.iter().enumerate() {
            let next = logs.get(number + 1).map(|(base, _)| *base);
            if let Some(gap) = walk.gap_before(base)? {
                broken = Some(gap);
                break;
            }
            match next {
                Some(next) if next <= recovery_point => {
                    found.push(walk.closed_segment(&folder, base, size, next)?);
                    if !folder.snapshots.contains(&next) {
                        // It was rolled just before a power cut, after the last flush.
                        self.keep_snapshot(&mut folder, &walk)?;
                    }
                }
                _ => {
                    let (segment, stop) = walk.open_segment(&folder, base, size)?;
                    found.push(segment);
                    if stop.is_some() {
                        broken = stop;
                        break;
                    }
                    if next.is_some() {
                        self.keep_snapshot(&mut folder, &walk)?;
                    }
                }
            }
        }
        if walk.end < recovery_point {
            let last = found.last().map_or((first, 0), |last| (last.base, last.size));
            return Err(self.damage(last.0, last.1, walk.end, "the log ends there").into());
        }
        let cut = match broken {
            Some(stop) => Some(self.cut(&folder, stop, &found, walk.end)?),
            None => None,
        };
        self.drop_snapshots(&folder, walk.end, cut.is_some())?;
        let flushed_end = recovery_point.max(first).min(walk.end);
        let (closed, last) = self.build(found)?;
        Ok(Walked { closed, last, sums: walk.sums, flushed_end, verified_bytes: walk.verified, cut })
    }

    fn nothing_there(&self) -> Result<Walked, LogError> {
        let Checkpoints { recovery_point, log_start } = self.checkpoints;
        if recovery_point > log_start {
            return Err(self.damage(log_start, 0, log_start, "the segments are missing").into());
        }
        let sums = BatchSums::load(read_epochs(self.disk, self.directory).unwrap_or_default(), ProducerStates::new());
        Ok(Walked { closed: Vec::new(), last: None, sums, flushed_end: log_start, verified_bytes: 0, cut: None })
    }

    /// After a failed flush: writes the small files that may be on no disk once more, so that the next flush means something.
    fn rewrite_small(&self, folder: &Folder) -> Result<(), LogError> {
        tracing::warn!(log = %self.directory.display(), "an earlier flush failed: everything above the recovery checkpoint is written again");
        let snapshots = folder.snapshots.iter().map(|offset| (*offset, Kind::Snapshot));
        let indexes = folder.files.iter().copied();
        for (offset, kind) in snapshots.chain(indexes) {
            let path = self.path(offset, kind);
            let len = self.disk.open(&path, false).and_then(|file| file.len());
            self.rewrite(&path, 0, len.map_err(LogError::io("cannot open", &path))?)?;
            let flushed = self.disk.open(&path, false).and_then(|file| file.flush());
            flushed.map_err(LogError::io("cannot flush", &path))?;
        }
        let metadata = self.directory.join(PARTITION_METADATA);
        match self.disk.open(&metadata, false).and_then(|file| file.len()) {
            Ok(len) => self.rewrite(&metadata, 0, len),
            Err(_) => Ok(()),
        }
    }

    /// Writes the bytes `[from, to)` of a file over themselves, so that the kernel counts them as changed.
    fn rewrite(&self, path: &Path, from: u64, to: u64) -> Result<(), LogError> {
        let failed = || LogError::io("cannot write again", path);
        let file = self.disk.open(path, true).map_err(failed())?;
        let mut at = from;
        while at < to {
            let len = ((to - at) as usize).min(VERIFY_WINDOW_BYTES);
            let bytes = read_exact(&*file, at, len).map_err(failed())?;
            file.write_at(at, &[IoSlice::new(&bytes)]).map_err(failed())?;
            at += len as u64;
        }
        Ok(())
    }

    /// Loads leader epochs and the newest producer snapshot that was flushed with the log.
    fn begin(&'a self, folder: &mut Folder, first: Offset, now: Now) -> Result<Walk<'a>, LogError> {
        let mut chosen = None;
        let floor = self.checkpoints.recovery_point.max(first);
        for offset in folder.snapshots.clone().into_iter().rev().filter(|offset| *offset <= floor) {
            let path = self.path(offset, Kind::Snapshot);
            let bytes =
                read_file(self.disk, &path, MAX_SMALL_FILE_BYTES).map_err(LogError::io("cannot read", &path))?;
            match ProducerStates::decode_snapshot(&bytes, now, MAX_PRODUCER_STATE_BYTES) {
                Ok(states) => {
                    chosen = Some((offset, states));
                    break;
                }
                Err(error) => {
                    tracing::warn!(path = %path.display(), %error, "an older producer snapshot is used instead");
                    folder.snapshots.remove(&offset);
                    crate::disk::unlink_if_there(self.disk, &path).map_err(LogError::io("cannot remove", &path))?;
                }
            }
        }
        if chosen.is_none() && first > Offset::ZERO {
            tracing::error!(log = %self.directory.display(), "no producer snapshot is left: producers before the first segment are forgotten");
        }
        let (replay_from, producers) = chosen.unwrap_or((first, ProducerStates::new()));
        let mut epochs = match read_epochs(self.disk, self.directory) {
            Some(epochs) => epochs,
            None => self.epochs_of_batches(folder, replay_from)?,
        };
        epochs.truncate_from_end(replay_from);
        let sums = BatchSums::load(epochs, producers);
        Ok(Walk { recovery: self, sums, replay_from, end: first, verified: 0, now })
    }

    /// The leader epochs of all batches below `end`, for a log that has lost their file. Damage is met again by the walk.
    fn epochs_of_batches(&self, folder: &Folder, end: Offset) -> Result<tidelog_record::LeaderEpochs, LogError> {
        let mut epochs = tidelog_record::LeaderEpochs::new();
        for (&base, &size) in folder.logs.range(..end) {
            let file = self.open_file(base, Kind::Log, false)?;
            let mut scan = Scan::headers(&*file, 0, size);
            while let Ok(Some(located)) = scan.next_header() {
                epochs.assign(located.header.leader_epoch, located.header.base_offset);
            }
        }
        Ok(epochs)
    }

    /// Writes the producer states between two segments anew: a power cut may have taken that snapshot, or its bytes.
    fn keep_snapshot(&self, folder: &mut Folder, walk: &Walk<'_>) -> Result<(), LogError> {
        if walk.end < walk.replay_from {
            return Ok(());
        }
        let path = self.path(walk.end, Kind::Snapshot);
        write_file(self.disk, &path, &walk.sums.producers.encode_snapshot())
            .and_then(|file| file.flush())
            .and_then(|()| self.disk.flush_dir(self.directory))
            .map_err(LogError::io("cannot write", &path))?;
        folder.snapshots.insert(walk.end);
        Ok(())
    }

    /// A snapshot beyond the end would be believed once the log has grown past it again, so it goes for good.
    fn drop_snapshots(&self, folder: &Folder, end: Offset, cut: bool) -> Result<(), LogError> {
        let mut dropped = cut;
        for offset in folder.snapshots.range(end.plus(1)..) {
            let path = self.path(*offset, Kind::Snapshot);
            crate::disk::unlink_if_there(self.disk, &path).map_err(LogError::io("cannot remove", &path))?;
            dropped = true;
        }
        if dropped {
            self.disk.flush_dir(self.directory).map_err(LogError::io("cannot flush", self.directory))?;
        }
        Ok(())
    }

    /// Makes segments of what was found; the last one becomes active.
    fn build(&self, mut found: Vec<Found>) -> Result<(Vec<Arc<Segment>>, Option<Active>), LogError> {
        let Some(last) = found.pop() else { return Ok((Vec::new(), None)) };
        let mut closed = Vec::with_capacity(found.len());
        for segment in found {
            if let Some(mut index) = segment.index.clone() {
                index.finish();
                self.write_indexes(segment.base, &index, false)?;
            }
            closed.push(Arc::new(segment.into_segment(self.cache.new_id())));
        }
        let has_txn_index = !last.aborted.is_empty();
        let active = Active {
            id: self.cache.new_id(),
            base: last.base,
            file: self.open_file(last.base, Kind::Log, true)?,
            size: last.size,
            end: last.end,
            index: last.index.unwrap_or(SegmentIndex::new(last.base)),
            aborted: last.aborted,
            txn_file: if has_txn_index { Some(self.open_file(last.base, Kind::TxnIndex, true)?) } else { None },
        };
        Ok((closed, Some(active)))
    }

    fn write_indexes(&self, base: Offset, index: &SegmentIndex, flush: bool) -> Result<(), LogError> {
        for (kind, bytes) in [(Kind::Index, index.offset_file()), (Kind::TimeIndex, index.time_file())] {
            let path = self.path(base, kind);
            write_file(self.disk, &path, &bytes)
                .and_then(|file| if flush { file.flush() } else { Ok(()) })
                .map_err(LogError::io("cannot write", &path))?;
        }
        Ok(())
    }

    /// Everything above the checkpoint is in the page cache at best: the next flush takes it along.
    pub(crate) fn unflushed(&self, closed: &[Arc<Segment>], flushed_end: Offset) -> Result<Unflushed, LogError> {
        let mut unflushed = Unflushed {
            active_version: 1,
            names_version: 1,
            new_directory: true,
            marked: true,
            ..Unflushed::default()
        };
        let metadata = self.directory.join(PARTITION_METADATA);
        if let Ok(file) = self.disk.open(&metadata, false) {
            unflushed.push(file);
        }
        for segment in closed.iter().filter(|segment| segment.end > flushed_end) {
            for kind in Kind::SEGMENT {
                if kind != Kind::TxnIndex || segment.has_txn_index {
                    unflushed.push(self.open_file(segment.base, kind, false)?);
                }
            }
            if let Ok(file) = self.open_file(segment.end, Kind::Snapshot, false) {
                unflushed.push(file);
            }
        }
        Ok(unflushed)
    }
}

impl Found {
    fn into_segment(self, id: SegmentId) -> Segment {
        let first = self.index.as_ref().and_then(SegmentIndex::first_timestamp);
        Segment {
            id,
            base: self.base,
            end: self.end,
            size: self.size,
            max: self.max.or(self.index.as_ref().and_then(SegmentIndex::max)),
            first_timestamp: first.map(std::sync::OnceLock::from).unwrap_or_default(),
            has_txn_index: !self.aborted.is_empty(),
            stage: Stage::Live,
            index_refuted: Default::default(),
        }
    }
}

impl Walk<'_> {
    /// The break before a segment that does not continue its predecessor; below the checkpoint it is damage.
    fn gap_before(&mut self, base: Offset) -> Result<Option<Break>, LogError> {
        // Compaction may have taken the last records before `base`.
        if self.end == base || (self.end < base && self.recovery.config.compacted) {
            self.end = base;
            return Ok(None);
        }
        let reason = format!("the log ends at offset {} before it", self.end);
        if self.end < self.recovery.checkpoints.recovery_point {
            return Err(self.recovery.damage(base, 0, self.end, &reason).into());
        }
        Ok(Some(Break { base, position: 0, whole: true, reason }))
    }

    /// A segment wholly below the checkpoint: shapes only, unless the producer snapshot is older.
    fn closed_segment(&mut self, folder: &Folder, base: Offset, size: u64, next: Offset) -> Result<Found, LogError> {
        let recovery = self.recovery;
        if size == 0 && recovery.config.compacted {
            // Compaction has taken every record.
            self.end = next;
            return Ok(Found { base, end: next, size, index: None, max: None, aborted: AbortedTransactions::new() });
        }
        let file = recovery.open_file(base, Kind::Log, false)?;
        let (hint, mut max) = recovery.indexes(base, next, size, &*file);
        let mut tail = self.tail(&*file, base, size, hint.unwrap_or(0));
        if tail.is_err() && hint.is_some() {
            // Perhaps only the index is wrong.
            tail = self.tail(&*file, base, size, 0);
        }
        let end = tail?;
        let fits = end == next || (end < next && recovery.config.compacted);
        if !fits {
            let reason = format!("the segment ends at offset {end}, the next one begins at {next}");
            return Err(recovery.damage(base, size, end, &reason).into());
        }
        if hint.is_none() || max.is_none() {
            max = recovery.rebuild_indexes(&*file, base, size)?;
        }
        let on_disk = recovery.read_aborted(folder, base)?;
        let mut replayed = AbortedTransactions::new();
        if next > self.replay_from {
            let mut scan = Scan::batches(&*file, 0, size);
            while let Some(located) = self.step(&mut scan, base, base, Offset(i64::MAX), &mut replayed)? {
                self.end = located.header.next_offset();
            }
        }
        self.end = next;
        let aborted = recovery.merge_aborted(base, &*file, size, on_disk, replayed, self.replay_from)?;
        Ok(Found { base, end: next, size, index: None, max, aborted })
    }

    /// The offset after the last batch, walking from `from` to the very end.
    fn tail(&self, file: &dyn DiskFile, base: Offset, size: u64, from: u64) -> Result<Offset, LogError> {
        let mut end = base;
        let mut scan = Scan::headers(file, from, size);
        loop {
            match scan.next_header() {
                Ok(Some(located)) if located.header.base_offset >= end => end = located.header.next_offset(),
                Ok(Some(located)) => {
                    return Err(self.recovery.damage(base, located.position, end, "offsets go back").into());
                }
                Ok(None) => return Ok(end),
                Err(error) => return Err(self.failed(base, end, error)),
            }
        }
    }

    fn failed(&self, base: Offset, offset: Offset, error: ScanError) -> LogError {
        match error {
            ScanError::Io(source) => LogError::io("cannot read", &self.recovery.path(base, Kind::Log))(source),
            ScanError::Batch { position, error } => {
                self.recovery.damage(base, position, offset, &error.to_string()).into()
            }
        }
    }

    /// A segment that reaches beyond the checkpoint: every batch is walked, those beyond it are verified.
    fn open_segment(&mut self, folder: &Folder, base: Offset, size: u64) -> Result<(Found, Option<Break>), LogError> {
        let recovery = self.recovery;
        let file = recovery.open_file(base, Kind::Log, false)?;
        let known_below = recovery.checkpoints.recovery_point.min(self.replay_from);
        let resumed = recovery.resume(folder, base, size, &*file, known_below);
        let (mut index, start) = resumed.unwrap_or((SegmentIndex::new(base), 0));
        let interval = recovery.config.index_interval_bytes;
        let mut replayed = AbortedTransactions::new();
        let mut scan = Scan::batches(&*file, start, size);
        let (mut first, mut unflushed_from) = (true, None);
        let stop = loop {
            // After a resume the first batch tells where we are.
            let floor = if first && start > 0 { base } else { self.end };
            match self.step(&mut scan, base, floor, recovery.checkpoints.recovery_point, &mut replayed) {
                Ok(Some(located)) => {
                    if located.header.next_offset() > recovery.checkpoints.recovery_point {
                        unflushed_from = unflushed_from.or(Some(located.position));
                    }
                    index.add(located.position, &located.header, interval);
                    self.end = located.header.next_offset();
                    first = false;
                }
                Ok(None) => break None,
                Err(LogError::Damaged(damage)) if self.end >= recovery.checkpoints.recovery_point => {
                    break Some(Break { base, position: damage.position, whole: false, reason: damage.reason });
                }
                Err(error) => return Err(error),
            }
        };
        if folder.flush_failed {
            let end = stop.as_ref().map_or(size, |stop| stop.position);
            recovery.rewrite(&recovery.path(base, Kind::Log), unflushed_from.unwrap_or(end), end)?;
        }
        let on_disk = recovery.read_aborted(folder, base)?;
        let size = stop.as_ref().map_or(size, |stop| stop.position);
        let aborted = recovery.merge_aborted(base, &*file, size, on_disk, replayed, self.replay_from)?;
        Ok((Found { base, end: self.end, size, max: None, index: Some(index), aborted }, stop))
    }

    /// One batch: its checksum if it reaches beyond `trusted_below`, its effect if the snapshot does not have it.
    fn step(
        &mut self,
        scan: &mut Scan<'_>,
        base: Offset,
        floor: Offset,
        trusted_below: Offset,
        aborted: &mut AbortedTransactions,
    ) -> Result<Option<Located>, LogError> {
        let failed = |error| self.failed(base, floor, error);
        let Some(located) = scan.next_header().map_err(failed)? else { return Ok(None) };
        let header = located.header;
        let damaged = |reason: &str| LogError::from(self.recovery.damage(base, located.position, floor, reason));
        if header.base_offset < floor {
            return Err(damaged(&format!("offset {} comes after {floor}", header.base_offset)));
        }
        let replay = header.base_offset >= self.replay_from;
        let verify = header.next_offset() > trusted_below;
        let (mut marker, mut verified) = (None, 0);
        if verify || (replay && header.attributes.is_control()) {
            scan.rewind(&located);
            let batch = scan.next_batch().map_err(failed)?.map(|(_, batch)| batch);
            if let Some(batch) = batch {
                if verify {
                    check_crc(&batch).map_err(|error| damaged(&error.to_string()))?;
                    verified = batch.size() as u64;
                }
                marker = EndTransactionMarker::of_batch(&batch).unwrap_or_default();
            }
        }
        self.verified += verified;
        if replay
            && let Some(entry) = self.sums.apply(&header, marker, self.now).and_then(|completed| completed.aborted())
        {
            aborted.push(entry);
        }
        Ok(Some(located))
    }
}

impl Recovery<'_> {
    /// A position near the end from which the tail can be walked, and the largest timestamp, if the indexes look sound.
    #[allow(clippy::type_complexity)]
    fn indexes(
        &self,
        base: Offset,
        end: Offset,
        size: u64,
        log: &dyn DiskFile,
    ) -> (Option<u64>, Option<(tidelog_model::Timestamp, Offset)>) {
        let hint = (|| {
            let mut index = OffsetIndexFile::open(self.disk.open(&self.path(base, Kind::Index), false).ok()?).ok()?;
            if !index.is_sane(base, end, size).ok()? {
                return None;
            }
            let position = index.position_of(base, end.plus(-1)).ok()?;
            let header = Scan::headers(log, position, size).next_header().ok()??.header;
            (header.base_offset >= base).then_some(position)
        })();
        let max = (|| {
            let mut index = TimeIndexFile::open(self.disk.open(&self.path(base, Kind::TimeIndex), false).ok()?).ok()?;
            if index.is_empty() || !index.is_sane(base, end).ok()? {
                return None;
            }
            index.max(base).ok()?
        })();
        (hint, max)
    }

    fn rebuild_indexes(
        &self,
        file: &dyn DiskFile,
        base: Offset,
        size: u64,
    ) -> Result<Option<(tidelog_model::Timestamp, Offset)>, LogError> {
        let mut index = SegmentIndex::new(base);
        let mut scan = Scan::headers(file, 0, size);
        while let Some(located) = scan.next_header().map_err(|error| match error {
            ScanError::Io(source) => LogError::io("cannot read", &self.path(base, Kind::Log))(source),
            ScanError::Batch { position, error } => self.damage(base, position, base, &error.to_string()).into(),
        })? {
            index.add(located.position, &located.header, self.config.index_interval_bytes);
        }
        index.finish();
        tracing::warn!(log = %self.directory.display(), base = base.0, "the indexes of a segment were rebuilt");
        self.write_indexes(base, &index, true)?;
        Ok(index.max())
    }

    /// The index of the batches below `below`, if the files of the last clean stop are still good, and where to go on.
    fn resume(
        &self,
        folder: &Folder,
        base: Offset,
        size: u64,
        log: &dyn DiskFile,
        below: Offset,
    ) -> Option<(SegmentIndex, u64)> {
        if below <= base || !folder.files.contains(&(base, Kind::Index)) {
            return None;
        }
        let offsets = read_file(self.disk, &self.path(base, Kind::Index), MAX_INDEX_FILE_BYTES).ok()?;
        let times = read_file(self.disk, &self.path(base, Kind::TimeIndex), MAX_INDEX_FILE_BYTES).ok()?;
        let first = Scan::headers(log, 0, size).next_header().ok()??.header;
        let (index, last, position) = SegmentIndex::resume(base, &offsets, &times, below, first.max_timestamp)?;
        let header = Scan::headers(log, position, size).next_header().ok()??.header;
        (header.base_offset >= base && header.last_offset() == last).then_some((index, position))
    }

    /// The entries of a segment's transaction index; `None` if it is damaged.
    fn read_aborted(&self, folder: &Folder, base: Offset) -> Result<Option<AbortedTransactions>, LogError> {
        if !folder.files.contains(&(base, Kind::TxnIndex)) {
            return Ok(Some(AbortedTransactions::new()));
        }
        let path = self.path(base, Kind::TxnIndex);
        let bytes = read_file(self.disk, &path, MAX_INDEX_FILE_BYTES).map_err(LogError::io("cannot read", &path))?;
        Ok(AbortedTransactions::decode(&bytes).ok())
    }

    /// The aborted transactions of one segment, from its batches and the producer states before it.
    fn rebuild_aborted(&self, base: Offset, log: &dyn DiskFile, size: u64) -> Result<AbortedTransactions, LogError> {
        let path = self.path(base, Kind::Snapshot);
        let no_time = Now { monotonic: Default::default(), wall: tidelog_model::Timestamp::NONE };
        let producers = match read_file(self.disk, &path, MAX_SMALL_FILE_BYTES) {
            Ok(bytes) => ProducerStates::decode_snapshot(&bytes, no_time, MAX_PRODUCER_STATE_BYTES).ok(),
            Err(_) => (base == Offset::ZERO).then(ProducerStates::new),
        };
        let Some(producers) = producers else {
            let reason = "its transaction index is damaged and no producer snapshot is there to rebuild it from";
            return Err(self.damage(base, 0, base, reason).into());
        };
        let mut sums = BatchSums::load(Default::default(), producers);
        let mut aborted = AbortedTransactions::new();
        let mut scan = Scan::batches(log, 0, size);
        // Damage among the batches was met before; what lies behind it is no longer in the log.
        while let Ok(Some((_, batch))) = scan.next_batch() {
            let marker = EndTransactionMarker::of_batch(&batch).unwrap_or_default();
            if let Some(entry) = sums.apply(batch.header(), marker, no_time).and_then(|ended| ended.aborted()) {
                aborted.push(entry);
            }
        }
        Ok(aborted)
    }

    /// What was flushed before the replay began, then what the replay found; the file is made to say the same.
    fn merge_aborted(
        &self,
        base: Offset,
        log: &dyn DiskFile,
        size: u64,
        on_disk: Option<AbortedTransactions>,
        replayed: AbortedTransactions,
        replay_from: Offset,
    ) -> Result<AbortedTransactions, LogError> {
        let mut merged = match &on_disk {
            Some(on_disk) => on_disk.clone(),
            None if replay_from <= base => AbortedTransactions::new(),
            None => self.rebuild_aborted(base, log, size)?,
        };
        merged.truncate_from_end(replay_from);
        for entry in replayed.entries() {
            merged.push(*entry);
        }
        if on_disk.as_ref() != Some(&merged) {
            let path = self.path(base, Kind::TxnIndex);
            if merged.is_empty() {
                crate::disk::unlink_if_there(self.disk, &path).map_err(LogError::io("cannot remove", &path))?;
            } else {
                write_file(self.disk, &path, &merged.encode())
                    .and_then(|file| file.flush())
                    .map_err(LogError::io("cannot write", &path))?;
            }
        }
        Ok(merged)
    }
}
