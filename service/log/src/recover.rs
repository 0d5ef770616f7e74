//! The walk over a log's files at a start. It decides which segments are sound, where the log ends, and what its batches add
//! up to. Below the recovery checkpoint damage is an error; above it the log ends at the first damage, whatever follows.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tidelog_model::{Now, Offset, Timestamp};
use tidelog_record::limits::MAX_PRODUCER_STATE_BYTES;
use tidelog_record::{AbortedTransactions, BatchSums, ProducerStates};

use crate::cache::{FileCache, SegmentId};
use crate::disk::{Disk, DiskFile, read_file, write_file};
use crate::error::Damage;
use crate::index::SegmentIndex;
use crate::limits::MAX_SMALL_FILE_BYTES;
use crate::names::{self, Kind, PARTITION_METADATA, Stage};
use crate::open::{Checkpoints, Cut, read_epochs};
use crate::scan::Scan;
use crate::state::{Active, Segment, Unflushed};
use crate::{LogConfig, LogError};

mod cut;
mod indexes;
mod rewrite;
mod tidy;
mod walk;

use tidy::Folder;
pub(crate) use tidy::{clear_inside, take_place};

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
    max: Option<(Timestamp, Offset)>,
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
    /// Where the next segment begins; `None` in the last one.
    next: Option<Offset>,
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

    fn path(&self, base: Offset, kind: Kind) -> PathBuf {
        names::path(self.directory, base, kind, Stage::Live)
    }

    /// May offsets be missing before the segment at `base`? Kafka's compaction may take the last records before it (ours leaves no gap), but
    /// nothing behind its own checkpoint, and ours nothing that is not flushed. Elsewhere a gap is a segment that is lost.
    fn may_follow_a_gap(&self, base: Offset) -> bool {
        let Checkpoints { recovery_point, gaps_below, .. } = self.checkpoints;
        base <= gaps_below || (self.config.compacted && base <= recovery_point)
    }

    /// What lies below it needs no look.
    fn trusted_below(&self) -> Offset {
        if self.checkpoints.suspect { Offset::ZERO } else { self.checkpoints.recovery_point }
    }

    fn open_file(&self, base: Offset, kind: Kind, write: bool) -> Result<Arc<dyn DiskFile>, LogError> {
        let path = self.path(base, kind);
        self.disk.open(&path, write).map_err(LogError::io("cannot open", &path))
    }

    pub(crate) fn run(&self, now: Now) -> Result<Walked, LogError> {
        let mut folder = tidy::tidy(self.disk, self.directory)?;
        if folder.unsettled {
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
            walk.next = next;
            if let Some(gap) = walk.gap_before(base)? {
                broken = Some(gap);
                break;
            }
            match next {
                Some(next) if next <= self.trusted_below() => {
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
        let (closed, last) = self.build(&folder, found)?;
        Ok(Walked { closed, last, sums: walk.sums, flushed_end, verified_bytes: walk.verified, cut })
    }

    fn nothing_there(&self) -> Result<Walked, LogError> {
        let Checkpoints { recovery_point, log_start, .. } = self.checkpoints;
        if recovery_point > log_start {
            return Err(self.damage(log_start, 0, log_start, "the segments are missing").into());
        }
        let sums = BatchSums::load(read_epochs(self.disk, self.directory).unwrap_or_default(), ProducerStates::new());
        Ok(Walked { closed: Vec::new(), last: None, sums, flushed_end: log_start, verified_bytes: 0, cut: None })
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
            // The records are all there: a producer of those days that is still alive gets its next sequence accepted.
            tracing::warn!(log = %self.directory.display(), "no producer snapshot is left: producers before the first segment are forgotten");
        }
        let (replay_from, producers) = chosen.unwrap_or((first, ProducerStates::new()));
        let mut epochs = match read_epochs(self.disk, self.directory) {
            Some(epochs) => epochs,
            None => self.epochs_of_batches(folder, replay_from)?,
        };
        epochs.truncate_from_end(replay_from);
        let sums = BatchSums::load(epochs, producers);
        Ok(Walk { recovery: self, sums, replay_from, end: first, next: None, verified: 0, now })
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
    fn build(&self, folder: &Folder, mut found: Vec<Found>) -> Result<(Vec<Arc<Segment>>, Option<Active>), LogError> {
        let Some(last) = found.pop() else { return Ok((Vec::new(), None)) };
        let modified = |base: Offset| folder.modified.get(&base).copied().unwrap_or(Timestamp::NONE);
        let mut closed = Vec::with_capacity(found.len());
        // What another broker compacted may end before the next segment begins, or have no batch at all: no offset is in no segment.
        let nexts: Vec<Offset> = found.iter().skip(1).map(|next| next.base).chain([last.base]).collect();
        for (segment, next) in found.into_iter().zip(nexts) {
            let segment = Found { end: segment.end.max(next), ..segment };
            if let Some(mut index) = segment.index.clone() {
                index.finish();
                self.write_indexes(segment.base, &index, false)?;
            }
            let modified = modified(segment.base);
            closed.push(Arc::new(segment.into_segment(self.cache.new_id(), modified)));
        }
        let has_txn_index = !last.aborted.is_empty();
        let active = Active {
            id: self.cache.new_id(),
            base: last.base,
            file: self.open_file(last.base, Kind::Log, true)?,
            size: last.size,
            end: last.end,
            index: last.index.unwrap_or(SegmentIndex::new(last.base)),
            modified: modified(last.base),
            // It may be longer; but an end that is put off at each start by no more than this comes.
            since: (last.size > 0).then_some(modified(last.base)),
            aborted: last.aborted,
            txn_file: if has_txn_index { Some(self.open_file(last.base, Kind::TxnIndex, true)?) } else { None },
        };
        Ok((closed, Some(active)))
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
        let mut push_if_there = |path: PathBuf| match self.disk.open(&path, false) {
            Ok(file) => {
                unflushed.push(file);
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            // It may be there and not on the disk: a flush that passes it over would prove nothing.
            Err(source) => Err(LogError::io("cannot open", &path)(source)),
        };
        push_if_there(self.directory.join(PARTITION_METADATA))?;
        for segment in closed.iter().filter(|segment| segment.end >= flushed_end) {
            for kind in Kind::SEGMENT.into_iter().filter(|_| segment.end > flushed_end) {
                push_if_there(self.path(segment.base, kind))?;
            }
            // The snapshot at the checkpoint itself was written when the segment rolled, after that flush.
            push_if_there(self.path(segment.end, Kind::Snapshot))?;
        }
        Ok(unflushed)
    }
}

impl Found {
    fn into_segment(self, id: SegmentId, modified: Timestamp) -> Segment {
        let first = self.index.as_ref().and_then(SegmentIndex::first_timestamp);
        Segment {
            id,
            base: self.base,
            end: self.end,
            size: self.size,
            max: self.max.or(self.index.as_ref().and_then(SegmentIndex::max)),
            first_timestamp: first.map(std::sync::OnceLock::from).unwrap_or_default(),
            modified,
            has_txn_index: !self.aborted.is_empty(),
            stage: Stage::Live,
            index_refuted: Default::default(),
        }
    }
}
