//! The limits of the cold tier, each with its reason.

use std::time::Duration;

/// Every so many versions a snapshot of the manifest is written: a load reads one snapshot and fewer than twice as many deltas.
pub const SNAPSHOT_EVERY: u64 = 128;

/// Versions that are never deleted, counted from the newest: a writer that was paused for a moment still finds its predecessor.
pub const VERSIONS_KEPT: u64 = 16;

/// Most entries of one manifest; a petabyte in segments of 1 GiB. Bounds what decoding may allocate.
pub const MAX_ENTRIES: usize = 1 << 20;

/// Most leader epochs of one entry: elections within one segment.
pub const MAX_EPOCHS: usize = 1 << 16;

/// Most changes of one version: a cut, a removal, an addition and room for more.
pub const MAX_CHANGES: usize = 64;

/// Most configuration keys of one topic; Kafka has a few dozen.
pub const MAX_CONFIGS: usize = 1024;

/// Nonces remembered of the tries of one version: more than an hour of a store that does not answer.
pub const MAX_TRIED: usize = 1024;

/// Most bytes of a manifest version or snapshot that are read: `MAX_ENTRIES` of typical size.
pub const MAX_MANIFEST_BYTES: u64 = 256 * 1024 * 1024;

/// An unreferenced object of the present epoch is left alone for so long by the store's clock: its upload may be at work.
pub const GRACE: Duration = Duration::from_secs(15 * 60);

/// Log bytes between two entries of the offset index, as Kafka's `index.interval.bytes`.
pub const INDEX_INTERVAL: u64 = 4096;

/// Bytes read from a local segment at a time.
pub const READ_BYTES: usize = 1024 * 1024;

/// Largest record batch that is taken from a segment: `message.max.bytes` can be raised, but a frame is the outer wall.
pub const MAX_BATCH_BYTES: usize = tidelog_model::limits::MAX_REQUEST_BYTES;

/// Most bytes of one cold read; a fetch asks for more only to be answered again.
pub const MAX_READ_BYTES: usize = 8 * 1024 * 1024;

/// Bytes of verified indexes kept in memory over all objects; those of a 1 GiB segment take 5 MiB.
pub const MAX_TAIL_BYTES: usize = 32 * 1024 * 1024;

/// Most objects in one page of a listing.
pub const LIST_PAGE: usize = 1000;

/// Versions of one manifest read at the same time while it is loaded.
pub const VERSION_READS: usize = 16;

/// Known manifests read or written on the local disk at the same time over all partitions. Leaderships begin by the thousand, and each
/// thread keeps allocator memory of its own after its work.
pub const DISK_TURNS: usize = 4;

/// First wait after a failure; doubles up to [`MAX_BACKOFF`].
pub const MIN_BACKOFF: Duration = Duration::from_millis(100);

/// Longest wait between two tries while the store is away: it must be found again within seconds.
pub const MAX_BACKOFF: Duration = Duration::from_secs(5);

/// Wait after a local segment turned out to be damaged: looking at it again is expensive and will hardly help.
pub const DAMAGED_BACKOFF: Duration = Duration::from_secs(60);

/// Bounds of one [`crate::Tier`]; constructor argument.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TierLimits {
    /// Uploads at the same time over all partitions; each holds at most 80 MiB.
    pub uploads: usize,
    /// Manifests loaded, committed or collected at the same time over all partitions.
    pub manifests: usize,
    /// Chunk downloads at the same time; each holds one chunk in memory.
    pub downloads: usize,
    /// Bytes of the disk cache of chunks.
    pub cache_bytes: u64,
    /// Bytes of one chunk: one GET. 4 MiB costs one request per 4 MiB however many consumers read it.
    pub chunk_bytes: u64,
    /// Chunks fetched ahead of a sequential reader.
    pub read_ahead: usize,
    /// Age at which unreferenced objects of the present epoch are removed.
    pub grace: Duration,
    /// First wait after a failure.
    pub min_backoff: Duration,
}

impl Default for TierLimits {
    fn default() -> Self {
        TierLimits {
            uploads: 4,
            manifests: 16,
            downloads: 8,
            cache_bytes: 4 * 1024 * 1024 * 1024,
            chunk_bytes: 4 * 1024 * 1024,
            read_ahead: 2,
            grace: GRACE,
            min_backoff: MIN_BACKOFF,
        }
    }
}

const _: () = assert!(VERSIONS_KEPT < SNAPSHOT_EVERY);
