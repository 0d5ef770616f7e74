//! What happens to a manifest and what it wants done, as data.

use std::sync::Arc;

use tidelog_model::{LeaderEpoch, Offset, Timestamp};

use super::codec::ManifestError;
use super::image::{Entry, Image, Version};
use crate::keys::ObjectName;

/// What happened. Answers come in the order of the effects that asked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// The leader's own log, looked at now: everything below `log_start` is past retention.
    Observed {
        /// First offset a consumer may read.
        log_start: Offset,
        /// Leader epochs of the local log and where they begin.
        epochs: Vec<(LeaderEpoch, Offset)>,
        /// Consumers may read records that left the local log because the store has them: where those end.
        needs_remote: Option<Offset>,
    },
    /// Answer to [`Effect::ListVersions`]: the numbers found, ascending.
    Listed(Vec<u64>),
    /// Answer to [`Effect::ReadSnapshot`]; `None` if there is none.
    SnapshotRead(Option<Result<Image, ManifestError>>),
    /// Answer to [`Effect::ReadVersions`]: those that exist, ascending.
    VersionsRead(Vec<(u64, Result<Version, ManifestError>)>),
    /// Answer to [`Effect::Create`]: `false` if a version with this number exists.
    Created(bool),
    /// Answer to [`Effect::Create`]: none came, so the version may exist or not.
    CreateUnclear,
    /// Answer to [`Effect::Upload`]: no segment that ends after the offset is closed.
    NothingClosed,
    /// Answer to [`Effect::Upload`]: the object is in the store.
    Uploaded(Entry),
    /// Answer to [`Effect::Upload`]: it failed; the shell will come back with [`Event::Observed`].
    UploadFailed,
    /// Answer to [`Effect::WriteSnapshot`].
    SnapshotWritten(u64),
    /// Answer to [`Effect::ListObjects`].
    Found(Found),
    /// It is time to look for unreferenced objects again (after [`Effect::CollectLater`]).
    Collect,
}

/// What lies in the partition's folder.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Found {
    /// Segment objects and when they were written, by the store's clock.
    pub segments: Vec<(ObjectName, Timestamp)>,
    /// Versions, ascending, with the same.
    pub versions: Vec<(u64, Timestamp)>,
    /// Snapshots, ascending.
    pub snapshots: Vec<u64>,
}

/// What the shell shall do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Effect {
    /// List the versions after this number.
    ListVersions {
        /// Only later ones.
        after: u64,
    },
    /// Read one snapshot.
    ReadSnapshot(u64),
    /// Read versions `first..=last`.
    ReadVersions {
        /// The first.
        first: u64,
        /// The last.
        last: u64,
    },
    /// Create a version if its number is free; sent once.
    Create(Version),
    /// The manifest could not be read; wait before the next effect, and tell the operator.
    Troubled(String),
    /// Find the first closed segment that ends after `from` and put what of it lies at or after `from`.
    Upload {
        /// Object to write; a repeated upload keeps its name.
        name: ObjectName,
        /// First offset of the entry.
        from: Offset,
    },
    /// This image is committed and verified: everything below its `next` need not stay local.
    Committed(Arc<Image>),
    /// Write a snapshot.
    WriteSnapshot(Arc<Image>),
    /// Delete versions one after another in this order.
    DeleteVersions(Vec<u64>),
    /// Delete snapshots.
    DeleteSnapshots(Vec<u64>),
    /// Delete segment objects.
    DeleteObjects(Vec<ObjectName>),
    /// List the partition's folder.
    ListObjects,
    /// Objects too young to judge were found: come back with [`Event::Collect`] after the grace period.
    CollectLater,
    /// Delete everything in the partition's folder: segments and snapshots first, then versions in ascending order.
    DeleteAll,
}

/// Why a manifest has come to an end for this writer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stop {
    /// A leader with a higher epoch writes now.
    Fenced,
    /// The topic was deleted.
    Dropped,
    /// The store has less than it had: it is another one, or was emptied or set back.
    Gone,
}

impl std::fmt::Display for Stop {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Stop::Fenced => "fenced",
            Stop::Dropped => "dropped",
            Stop::Gone => "gone",
        })
    }
}
