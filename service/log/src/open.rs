//! Creating and opening a log: what a start finds on the disk becomes one consistent log, or an error that names the damage.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use parking_lot::{Mutex, RwLock};
use tidelog_model::{Now, Offset, Timestamp, TopicId};
use tidelog_record::{BatchSums, LeaderEpochs};

use crate::append::Log;
use crate::cache::FileCache;
use crate::disk::{Disk, read_file, unlink_if_there, write_file};
use crate::flush::mark_unsettled;
use crate::index::SegmentIndex;
use crate::limits::MAX_SMALL_FILE_BYTES;
use crate::names::{self, Kind, LEADER_EPOCHS, PARTITION_METADATA, Stage};
use crate::recover::{Recovery, Walked};
use crate::state::{Active, Shared, State, Unflushed};
use crate::{LogConfig, LogError, datadir, tiered};

/// What the data directory's checkpoints say about one partition.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Checkpoints {
    /// Everything below was flushed; zero if nothing is known.
    pub recovery_point: Offset,
    /// First offset that may be read; zero if nothing is known.
    pub log_start: Offset,
    /// Below it offsets may be missing: the last compaction ended here, or that of another broker did. Zero if nothing was compacted.
    pub gaps_below: Offset,
    /// Whoever wrote the log did not stop in order: what is below the recovery point is verified too, and damage there is an error still.
    pub suspect: bool,
}

impl Default for Checkpoints {
    /// Nothing is known: everything is verified, and cut at the first damage.
    fn default() -> Self {
        let zero = Offset::ZERO;
        Checkpoints { recovery_point: zero, log_start: zero, gaps_below: zero, suspect: false }
    }
}

/// What recovery had to cut off above the recovery checkpoint.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Cut {
    /// The log ends here now.
    pub offset: Offset,
    /// Name of the damaged file.
    pub file: String,
    /// First damaged byte in it.
    pub position: u64,
    /// Bytes cut off, later segments included; they are kept in `.log.cut` files.
    pub bytes: u64,
    /// Valid batches followed: records that were written are lost, and this replica must leave the in-sync replicas before it
    /// can lead.
    pub batches_followed: bool,
    /// What is wrong there.
    pub reason: String,
}

/// What a log was found to hold.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Recovered {
    /// Leader epochs, producer states and transactions up to the log's end.
    pub sums: BatchSums,
    /// First offset that may be read.
    pub log_start: Offset,
    /// The offset after the last record.
    pub log_end: Offset,
    /// What is known to be flushed: the recovery checkpoint. A flush makes it the log's end.
    pub flushed_end: Offset,
    /// The topic's id in `partition.metadata`; `None` if the file is missing or unreadable.
    pub topic_id: Option<TopicId>,
    /// Bytes whose checksums were verified.
    pub verified_bytes: u64,
    /// What was cut off, if anything.
    pub cut: Option<Cut>,
}

impl Log {
    /// Makes the directory of a new partition, its log beginning at `start`. Nothing is flushed before the first flush.
    pub fn create(
        disk: Arc<dyn Disk>,
        cache: Arc<FileCache>,
        directory: &Path,
        topic_id: TopicId,
        config: LogConfig,
        start: Offset,
    ) -> Result<Log, LogError> {
        disk.create_dir(directory).map_err(LogError::io("cannot create", directory))?;
        let entries = disk.list(directory).map_err(LogError::io("cannot list", directory))?;
        if entries.iter().any(|entry| matches!(names::parse(&entry.name), Some((_, Kind::Log, Stage::Live)))) {
            return Err(LogError::Refused(format!("{} holds a log already", directory.display())));
        }
        let metadata = directory.join(PARTITION_METADATA);
        let text = datadir::partition_metadata(topic_id);
        let file = write_file(&*disk, &metadata, text.as_bytes()).map_err(LogError::io("cannot write", &metadata))?;
        let mut unflushed =
            Unflushed { new_directory: true, names_version: 1, active_version: 1, ..Default::default() };
        unflushed.push(file);
        let active = new_segment(&*disk, &cache, directory, start)?;
        let epochs = LeaderEpochs::new();
        let parts = Parts {
            closed: Vec::new(),
            active,
            unflushed,
            epochs,
            epochs_dirty: true,
            thinned: config.compacted,
            tiered: false,
            start,
            flushed: start,
        };
        Ok(assemble(disk, cache, directory, config, parts))
    }

    /// Opens the log in `directory`.
    ///
    /// Below the recovery checkpoint it looks at shapes only: a missing or short file is [`LogError::Damaged`]. Above it verifies
    /// length, magic, checksum and the order of offsets, cuts at the first damage and keeps what it cuts. A directory without
    /// a log becomes an empty one at the log start, unless the checkpoint says that records were there.
    pub fn open(
        disk: Arc<dyn Disk>,
        cache: Arc<FileCache>,
        directory: &Path,
        config: LogConfig,
        checkpoints: Checkpoints,
        now: Now,
    ) -> Result<(Log, Recovered), LogError> {
        // A partition that was created shortly before a power cut may have lost even its directory.
        disk.create_dir(directory).map_err(LogError::io("cannot create", directory))?;
        let recovery = Recovery::new(&*disk, &cache, directory, &config, checkpoints);
        let walked = recovery.run(now).inspect_err(|error| {
            if matches!(error, LogError::Io { .. }) {
                // It may have been a flush: the next attempt must not believe the page cache.
                let marked = mark_unsettled(&*disk, directory);
                tracing::debug!(?marked, "a start failed");
            }
        })?;
        let topic_id = read_topic_id(&*disk, directory);
        let Walked { closed, last, mut sums, flushed_end, verified_bytes, cut } = walked;
        let active = match last {
            Some(active) => active,
            None => new_segment(&*disk, &cache, directory, checkpoints.log_start)?,
        };
        let first = closed.first().map_or(active.base, |segment| segment.base);
        let log_start = if config.remote { checkpoints.log_start } else { checkpoints.log_start.max(first) };
        let log_end = active.end;
        if log_start > log_end {
            return Err(recovery.damage(first, 0, log_end, "the log ends before its log start offset").into());
        }
        sums.epochs.truncate_from_end(log_end);
        sums.epochs.truncate_from_start(log_start);
        let mut unflushed = Unflushed::default();
        // A segment that begins at the checkpoint was made after that flush, and so was the snapshot before it.
        if flushed_end < log_end || cut.is_some() || active.base >= flushed_end {
            unflushed = recovery.unflushed(&closed, flushed_end)?;
        }
        // Recovery writes indexes anew and removes what is left over: the first flush makes the names durable that it leaves.
        unflushed.names_version += 1;
        let epochs = sums.epochs.clone();
        // Epochs found in the log but not flushed with it go into the file with the next flush.
        let epochs_dirty = read_epochs(&*disk, directory).as_ref() != Some(&epochs);
        let thinned = config.compacted || checkpoints.gaps_below > Offset::ZERO;
        let tiered = tiered::is_marked(&*disk, directory)?;
        let (start, flushed) = (log_start, flushed_end);
        let parts = Parts { closed, active, unflushed, epochs, epochs_dirty, thinned, tiered, start, flushed };
        let log = assemble(Arc::clone(&disk), Arc::clone(&cache), directory, config, parts);
        Ok((log, Recovered { sums, log_start, log_end, flushed_end, topic_id, verified_bytes, cut }))
    }

    /// Replaces `partition.metadata`, for a directory that came without one.
    pub fn write_topic_id(&mut self, topic_id: TopicId) -> Result<(), LogError> {
        let path = self.shared.directory.join(PARTITION_METADATA);
        crate::disk::replace_file(&*self.shared.disk, &path, datadir::partition_metadata(topic_id).as_bytes())
            .map_err(LogError::io("cannot write", &path))
    }
}

/// What a log is assembled from.
struct Parts {
    closed: Vec<Arc<crate::state::Segment>>,
    active: Active,
    unflushed: Unflushed,
    epochs: LeaderEpochs,
    epochs_dirty: bool,
    thinned: bool,
    tiered: bool,
    start: Offset,
    flushed: Offset,
}

fn assemble(disk: Arc<dyn Disk>, cache: Arc<FileCache>, directory: &Path, config: LogConfig, parts: Parts) -> Log {
    let state = State {
        config,
        closed: parts.closed,
        active: parts.active,
        log_start: parts.start,
        flushed_end: parts.flushed,
        epochs: parts.epochs,
        epochs_version: u64::from(parts.epochs_dirty),
        epochs_written: 0,
        thinned: parts.thinned,
        tiered: parts.tiered,
        unflushed: parts.unflushed,
        truncations: 0,
        offline: None,
    };
    let shared = Shared {
        disk,
        directory: directory.to_owned(),
        cache,
        state: RwLock::new(state),
        maintenance: Mutex::new(()),
        ending: AtomicBool::new(false),
        epochs_file: Mutex::new(()),
    };
    Log { shared: Arc::new(shared), debris: false }
}

/// An empty active segment at `base`.
pub(crate) fn new_segment(
    disk: &dyn Disk,
    cache: &FileCache,
    directory: &Path,
    base: Offset,
) -> Result<Active, LogError> {
    let path = names::path(directory, base, Kind::Log, Stage::Live);
    let file = disk.create(&path).map_err(LogError::io("cannot create", &path))?;
    Ok(Active {
        id: cache.new_id(),
        base,
        file,
        size: 0,
        end: base,
        index: SegmentIndex::new(base),
        modified: Timestamp::NONE,
        since: None,
        aborted: Default::default(),
        txn_file: None,
    })
}

/// Is the file there? Only a disk that says "not found" proves that it is not.
pub(crate) fn is_there(disk: &dyn Disk, path: &Path) -> Result<bool, LogError> {
    match disk.open(path, false) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(LogError::io("cannot open", path)(error)),
    }
}

fn read_topic_id(disk: &dyn Disk, directory: &Path) -> Option<TopicId> {
    let path = directory.join(PARTITION_METADATA);
    let text = read_file(disk, &path, MAX_SMALL_FILE_BYTES).ok()?;
    match datadir::parse_partition_metadata(&String::from_utf8_lossy(&text)) {
        Ok(id) => Some(id),
        Err(reason) => {
            tracing::warn!(path = %path.display(), reason, "the topic id cannot be read");
            None
        }
    }
}

/// The leader epochs as the file has them; `None` if it is missing or damaged.
pub(crate) fn read_epochs(disk: &dyn Disk, directory: &Path) -> Option<LeaderEpochs> {
    let path = directory.join(LEADER_EPOCHS);
    let text = read_file(disk, &path, MAX_SMALL_FILE_BYTES).ok()?;
    match LeaderEpochs::decode(&String::from_utf8_lossy(&text)) {
        Ok(epochs) => Some(epochs),
        Err(error) => {
            tracing::warn!(path = %path.display(), %error, "the leader epochs are taken from the batches instead");
            None
        }
    }
}

/// Removes every file of one segment, the log first and durably: a log that came back after a power cut without its indexes would
/// show aborted records.
pub(crate) fn unlink_segment(disk: &dyn Disk, directory: &Path, base: Offset, stage: Stage) -> Result<(), LogError> {
    for kind in Kind::SEGMENT.into_iter().rev() {
        let path: PathBuf = names::path(directory, base, kind, stage);
        unlink_if_there(disk, &path).map_err(LogError::io("cannot remove", &path))?;
        if kind == Kind::Log {
            disk.flush_dir(directory).map_err(LogError::io("cannot flush", directory))?;
        }
    }
    Ok(())
}
