//! Every limit of the local log, each with its reason.

/// Smallest segment, bytes: small enough for tests that watch segments roll, large enough for a batch or two.
pub const MIN_SEGMENT_BYTES: u64 = 1024;

/// Largest segment, bytes: Kafka's indexes hold positions as `i32`.
pub const MAX_SEGMENT_BYTES: u64 = i32::MAX as u64;

/// Default of `segment.bytes` (Kafka).
pub const DEFAULT_SEGMENT_BYTES: u64 = 1024 * 1024 * 1024;

/// Default of `segment.ms`, milliseconds (Kafka): seven days.
pub const DEFAULT_SEGMENT_MS: i64 = 7 * 24 * 60 * 60 * 1000;

/// Default of `segment.index.bytes` (Kafka): a segment rolls when its offset index would outgrow this.
pub const DEFAULT_SEGMENT_INDEX_BYTES: u64 = 10 * 1024 * 1024;

/// Default of `index.interval.bytes` (Kafka): a lookup scans at most this much and one batch.
pub const DEFAULT_INDEX_INTERVAL_BYTES: u64 = 4096;

/// Buffers in one `pwritev` call: Linux refuses more (IOV_MAX).
pub const MAX_WRITE_PARTS: usize = 1024;

/// Bytes read at once while batch headers are scanned: an index interval and a header, so most lookups read once.
pub const SCAN_WINDOW_BYTES: usize = 8 * 1024;

/// Bytes read at once while whole batches are verified or copied.
pub const VERIFY_WINDOW_BYTES: usize = 256 * 1024;

/// Bytes whose checksums are tried in a search for valid batches behind damage: whoever fills records with headers must not keep a start
/// busy for hours. A tail without hostile bytes has one candidate or none.
pub const MAX_SEARCHED_BYTES: u64 = 64 * 1024 * 1024;

/// Index entries read at once in a binary search on disk; a page.
pub const INDEX_BLOCK_BYTES: u64 = 4096;

/// Largest index file that is believed, bytes: an index of the smallest interval over the largest segment is far below.
pub const MAX_INDEX_FILE_BYTES: u64 = 512 * 1024 * 1024;

/// Largest checkpoint, metadata or snapshot file that is read, bytes: 10,000 partitions make about 3 MiB.
pub const MAX_SMALL_FILE_BYTES: u64 = 64 * 1024 * 1024;

/// Largest batch that recovery believes, bytes: nothing larger fits into a request frame.
pub const MAX_BATCH_BYTES: usize = tidelog_model::limits::MAX_REQUEST_BYTES;

/// Descriptors of closed segments kept open per data directory: enough for the readers of a busy node, far below the
/// usual 1,024 of an untuned shell.
pub const DEFAULT_OPEN_FILES: usize = 512;

/// Default memory for the keys of one compaction, bytes (Kafka's `log.cleaner.dedupe.buffer.size`).
pub const DEFAULT_COMPACTION_MEMORY_BYTES: usize = 128 * 1024 * 1024;

/// What one key costs in a compaction's map beside its bytes, bytes (entry, hash, allocation).
pub const COMPACTION_KEY_OVERHEAD_BYTES: usize = 96;

/// Gaps between the segments of another broker's log that are named: whoever has lost more looks at the folder itself.
pub const MAX_GAPS_NAMED: usize = 8;

/// The last part of a disk, bytes, that is kept for the service itself: a deletion writes a few KiB of metadata, groups go on for hours.
pub const RESERVE_BYTES: u64 = 64 * 1024 * 1024;

/// But never more than this share of the whole: a disk of 100 MiB is mostly for records.
pub const RESERVE_SHARE: u64 = 8;

/// Longest name of a file or directory, bytes: what Linux file systems allow.
pub const MAX_FILE_NAME_BYTES: usize = 255;

/// Damaged batches of a segment that one look of the scrub tells: whoever reads of so many knows that the disk is at its end.
pub const MAX_DAMAGED_TOLD: usize = 64;

const _: () = assert!(MIN_SEGMENT_BYTES <= DEFAULT_SEGMENT_BYTES && DEFAULT_SEGMENT_BYTES <= MAX_SEGMENT_BYTES);
const _: () = assert!(DEFAULT_INDEX_INTERVAL_BYTES as usize + 61 <= SCAN_WINDOW_BYTES);
const _: () = assert!(MAX_BATCH_BYTES as u64 <= MAX_SEGMENT_BYTES);
