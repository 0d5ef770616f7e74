//! What a log's writer and its readers share: the list of segments, the ends, and what is not yet flushed.
//!
//! Readers take the lock for lookups in memory only; no call to the disk is made under it, save opening a file and the
//! renames of a compaction that readers must not see half done.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::AtomicBool;

use parking_lot::{Mutex, RwLock};
use tidelog_model::{Offset, Timestamp};
use tidelog_record::{AbortedTransactions, LeaderEpochs};

use crate::LogConfig;
use crate::cache::{FileCache, SegmentId};
use crate::disk::{Disk, DiskFile};
use crate::index::SegmentIndex;
use crate::names::{self, Kind, Stage};

/// Everything the handles of one log have in common.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) directory: PathBuf,
    pub(crate) cache: Arc<FileCache>,
    pub(crate) state: RwLock<State>,
    /// Held while segments are removed, rewritten or cut off: these exclude one another, not appends or reads.
    pub(crate) maintenance: Mutex<()>,
    /// The log is about to be closed or deleted: a compaction ends at its next batch.
    pub(crate) ending: AtomicBool,
    /// Held while `leader-epoch-checkpoint` is replaced.
    pub(crate) epochs_file: Mutex<()>,
}

impl Shared {
    pub(crate) fn path(&self, base: Offset, kind: Kind, stage: Stage) -> PathBuf {
        names::path(&self.directory, base, kind, stage)
    }
}

/// The mutable part, behind one lock. `log start ≤ flushed end ≤ log end` once opened and not truncated.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) config: LogConfig,
    /// Closed segments, ascending, without overlaps.
    pub(crate) closed: Vec<Arc<Segment>>,
    pub(crate) active: Active,
    pub(crate) log_start: Offset,
    pub(crate) flushed_end: Offset,
    pub(crate) epochs: LeaderEpochs,
    /// Counts changes of `epochs`; `epochs_written` is the count that the file holds durably.
    pub(crate) epochs_version: u64,
    pub(crate) epochs_written: u64,
    /// Compaction has been at work here, or another broker's has.
    pub(crate) thinned: bool,
    /// The directory has the mark of a log of which the store has a part that is not local.
    pub(crate) tiered: bool,
    pub(crate) unflushed: Unflushed,
    /// Counts truncations: a flush that began before one proves nothing about the end after it.
    pub(crate) truncations: u64,
    pub(crate) offline: Option<Arc<str>>,
}

impl State {
    /// Written end: the offset after the last record.
    pub(crate) const fn log_end(&self) -> Offset {
        self.active.end
    }

    /// Do the batches on this disk tell every leader epoch? Not those of what is only remote, nor those of which compaction has left nothing.
    pub(crate) fn batches_tell_epochs(&self) -> bool {
        let first = self.closed.first().map_or(self.active.base, |segment| segment.base);
        !self.thinned && self.epochs.earliest().is_none_or(|earliest| earliest.start >= first)
    }

    /// First offset on this disk that may be read.
    pub(crate) fn local_start(&self) -> Offset {
        self.closed.first().map_or(self.active.base, |segment| segment.base).max(self.log_start)
    }
}

/// What only a flush makes safe.
#[derive(Default, Debug)]
pub(crate) struct Unflushed {
    /// Files that are complete, in the order they were closed, each with its number.
    pub(crate) files: Vec<(u64, Arc<dyn DiskFile>)>,
    pub(crate) next_number: u64,
    /// Counts changes of the active segment's files; `active_flushed` is the count that a flush has covered.
    pub(crate) active_version: u64,
    pub(crate) active_flushed: u64,
    /// The same for names in the log's directory.
    pub(crate) names_version: u64,
    pub(crate) names_flushed: u64,
    /// The log's directory itself is new in its parent.
    pub(crate) new_directory: bool,
    /// The mark of an unsettled page cache is there; it goes with the first flush that succeeds.
    pub(crate) marked: bool,
}

impl Unflushed {
    pub(crate) fn push(&mut self, file: Arc<dyn DiskFile>) {
        self.files.push((self.next_number, file));
        self.next_number += 1;
    }
}

/// The segment that grows.
#[derive(Debug)]
pub(crate) struct Active {
    pub(crate) id: SegmentId,
    pub(crate) base: Offset,
    pub(crate) file: Arc<dyn DiskFile>,
    pub(crate) size: u64,
    pub(crate) end: Offset,
    pub(crate) index: SegmentIndex,
    /// When the last record was put into it, by the wall clock.
    pub(crate) modified: Timestamp,
    /// When its first record was put into it here, by the wall clock; `None` if nobody knows, and if there is none.
    pub(crate) since: Option<Timestamp>,
    pub(crate) aborted: AbortedTransactions,
    pub(crate) txn_file: Option<Arc<dyn DiskFile>>,
}

/// A closed segment. Immutable; compaction puts another in its place.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) id: SegmentId,
    pub(crate) base: Offset,
    /// The next segment's base.
    pub(crate) end: Offset,
    pub(crate) size: u64,
    /// Largest timestamp and the last offset of the first batch that has it.
    pub(crate) max: Option<(Timestamp, Offset)>,
    /// Timestamp of the first batch that has one, once someone has read it.
    pub(crate) first_timestamp: OnceLock<Timestamp>,
    /// When its last record was put into it, by the wall clock: the time of its file, which a start goes by.
    pub(crate) modified: Timestamp,
    pub(crate) has_txn_index: bool,
    /// `Live`, or `Swap` for the moments in which compaction takes the place of the old files.
    pub(crate) stage: Stage,
    /// The index led astray; scans begin at the front.
    pub(crate) index_refuted: AtomicBool,
}

/// What is known of one segment without reading it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SegmentInfo {
    /// Its first offset.
    pub base: Offset,
    /// The offset after its last record (the next segment's base).
    pub end: Offset,
    /// Bytes of its `.log` file.
    pub size: u64,
    /// Timestamp of its first batch that has one, if it is known without reading.
    pub first_timestamp: Option<Timestamp>,
    /// Its largest timestamp; `None` if it is empty or no batch has one.
    pub max_timestamp: Option<Timestamp>,
    /// When its last record was written, by the wall clock; `None` if it is empty or that is not known. Its age, where no record has a time.
    pub modified: Option<Timestamp>,
    /// Closed segments never grow again.
    pub closed: bool,
}

impl Segment {
    pub(crate) fn info(&self) -> SegmentInfo {
        SegmentInfo {
            base: self.base,
            end: self.end,
            size: self.size,
            first_timestamp: self.first_timestamp.get().copied(),
            max_timestamp: self.max.map(|(timestamp, _)| timestamp),
            modified: Some(self.modified).filter(|modified| *modified > Timestamp::NONE),
            closed: true,
        }
    }
}

impl Active {
    pub(crate) fn info(&self) -> SegmentInfo {
        SegmentInfo {
            base: self.base,
            end: self.end,
            size: self.size,
            first_timestamp: self.index.first_timestamp(),
            max_timestamp: self.index.max().map(|(timestamp, _)| timestamp),
            modified: Some(self.modified).filter(|modified| self.size > 0 && *modified > Timestamp::NONE),
            closed: false,
        }
    }
}
