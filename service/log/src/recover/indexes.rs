//! Indexes at a start: believed if they look sound, otherwise made anew from the log.

use tidelog_model::{Now, Offset, Timestamp};
use tidelog_record::limits::MAX_PRODUCER_STATE_BYTES;
use tidelog_record::{AbortedTransactions, BatchSums, EndTransactionMarker, ProducerStates};

use super::Recovery;
use super::tidy::Folder;
use crate::LogError;
use crate::disk::{DiskFile, read_file, write_file};
use crate::index::{OffsetIndexFile, SegmentIndex, TimeIndexFile};
use crate::limits::{MAX_INDEX_FILE_BYTES, MAX_SMALL_FILE_BYTES};
use crate::names::Kind;
use crate::scan::{Scan, ScanError};

impl Recovery<'_> {
    /// A position near the end from which the tail can be walked, and the largest timestamp, if the indexes look sound.
    #[allow(clippy::type_complexity)]
    pub(super) fn indexes(
        &self,
        base: Offset,
        end: Offset,
        size: u64,
        log: &dyn DiskFile,
    ) -> (Option<u64>, Option<(Timestamp, Offset)>) {
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

    /// Makes both anew; answers the largest timestamp, and whether the segment has markers.
    #[allow(clippy::type_complexity)]
    pub(super) fn rebuild_indexes(
        &self,
        file: &dyn DiskFile,
        base: Offset,
        size: u64,
    ) -> Result<(Option<(Timestamp, Offset)>, bool), LogError> {
        let (mut index, mut markers) = (SegmentIndex::new(base), false);
        let mut scan = Scan::headers(file, 0, size);
        while let Some(located) = scan.next_header().map_err(|error| match error {
            ScanError::Io(source) => LogError::io("cannot read", &self.path(base, Kind::Log))(source),
            ScanError::Batch { position, error } => self.damage(base, position, base, &error.to_string()).into(),
        })? {
            index.add(located.position, &located.header, self.config.index_interval_bytes);
            markers |= located.header.attributes.is_control();
        }
        index.finish();
        tracing::warn!(log = %self.directory.display(), base = base.0, "the indexes of a segment were rebuilt");
        self.write_indexes(base, &index, true)?;
        Ok((index.max(), markers))
    }

    /// The index of the batches below `below`, if the files of the last clean stop are still good, and where to go on.
    pub(super) fn resume(
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

    /// The entries of a segment's transaction index; `None` if it is damaged. A segment that aborts nothing has none; but where the
    /// other indexes are gone although there are markers, this one may be gone as well (`suspect`).
    pub(super) fn read_aborted(
        &self,
        folder: &Folder,
        base: Offset,
        suspect: bool,
    ) -> Result<Option<AbortedTransactions>, LogError> {
        if !folder.files.contains(&(base, Kind::TxnIndex)) {
            return Ok((!suspect).then(AbortedTransactions::new));
        }
        let path = self.path(base, Kind::TxnIndex);
        let bytes = read_file(self.disk, &path, MAX_INDEX_FILE_BYTES).map_err(LogError::io("cannot read", &path))?;
        // A hole in the file reads as an entry of zeros; a marker always lies in this segment and behind a record of its own.
        let sound = |index: &AbortedTransactions| {
            index.entries().iter().all(|entry| entry.last_offset >= base && entry.first_offset < entry.last_offset)
        };
        Ok(AbortedTransactions::decode(&bytes).ok().filter(sound))
    }

    /// The aborted transactions of one segment, from its batches and the producer states before it: the newest snapshot that can be
    /// read, and the segments since.
    fn rebuild_aborted(&self, folder: &Folder, base: Offset, size: u64) -> Result<AbortedTransactions, LogError> {
        let no_time = Now { monotonic: Default::default(), wall: Timestamp::NONE };
        let snapshot = folder.snapshots.range(..=base).rev().find_map(|at| {
            let bytes = read_file(self.disk, &self.path(*at, Kind::Snapshot), MAX_SMALL_FILE_BYTES).ok()?;
            Some((*at, ProducerStates::decode_snapshot(&bytes, no_time, MAX_PRODUCER_STATE_BYTES).ok()?))
        });
        let known = snapshot.filter(|(at, _)| folder.logs.contains_key(at));
        // Without one: of a transaction that began before the first segment, what lies in the log is all that a list must cover.
        let first = folder.logs.keys().next().copied().unwrap_or(base);
        let (from, producers) = known.unwrap_or_else(|| (first, ProducerStates::new()));
        let mut sums = BatchSums::load(Default::default(), producers);
        let mut aborted = AbortedTransactions::new();
        for (segment, bytes) in folder.logs.range(from..=base) {
            let path = self.path(*segment, Kind::Log);
            let log = self.disk.open(&path, false).map_err(LogError::io("cannot open", &path))?;
            let mut scan = Scan::batches(&*log, 0, if *segment == base { size } else { *bytes });
            loop {
                let batch = match scan.next_batch() {
                    Ok(Some((_, batch))) => batch,
                    // Damage among the batches was met before; what lies behind it is no longer in the log.
                    Ok(None) | Err(ScanError::Batch { .. }) => break,
                    Err(ScanError::Io(source)) => return Err(LogError::io("cannot read", &path)(source)),
                };
                let marker = EndTransactionMarker::of_batch(&batch).unwrap_or_default();
                let ended = sums.apply(batch.header(), marker, no_time).and_then(|ended| ended.aborted());
                if let Some(entry) = ended.filter(|_| *segment == base) {
                    aborted.push(entry);
                }
            }
        }
        Ok(aborted)
    }

    /// What was flushed before the replay began, then what the replay found; the file is made to say the same.
    pub(super) fn merge_aborted(
        &self,
        folder: &Folder,
        base: Offset,
        size: u64,
        on_disk: Option<AbortedTransactions>,
        replayed: AbortedTransactions,
        replay_from: Offset,
    ) -> Result<AbortedTransactions, LogError> {
        let mut merged = match &on_disk {
            Some(on_disk) => on_disk.clone(),
            None if replay_from <= base => AbortedTransactions::new(),
            None => self.rebuild_aborted(folder, base, size)?,
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

    /// Writes both index files of a segment.
    pub(super) fn write_indexes(&self, base: Offset, index: &SegmentIndex, flush: bool) -> Result<(), LogError> {
        for (kind, bytes) in [(Kind::Index, index.offset_file()), (Kind::TimeIndex, index.time_file())] {
            let path = self.path(base, kind);
            write_file(self.disk, &path, &bytes)
                .and_then(|file| if flush { file.flush() } else { Ok(()) })
                .map_err(LogError::io("cannot write", &path))?;
        }
        Ok(())
    }
}
