//! Limits of tables, each with its reason.

/// Deepest nesting of a column: a top-level column is 1, every struct or list below it adds 1. Readers (Spark, Trino) slow
/// down far below it, and recursion over it stays small.
pub const MAX_NESTING: usize = 16;

/// Most leaf columns that values may have: a footer describes every column of every row group, and a topic whose fields are
/// really keys ("user-4711": …) must not grow without end.
pub const MAX_COLUMNS: usize = 1_000;

/// Longest field name that becomes a column, bytes.
pub const MAX_FIELD_NAME_BYTES: usize = 255;

/// Most significant digits that are compared when a number is tested against a double; no double's usual text has more than 17.
pub const MAX_SIGNIFICANT_DIGITS: usize = 40;

/// First field id of a value column; ids below belong to the columns of our own.
pub const FIRST_VALUE_FIELD_ID: i32 = 100;

/// Bytes of batches asked of the log at once. One batch may be larger.
pub const READ_BYTES: usize = 1024 * 1024;

/// Most rows that are converted before they go to the Parquet writer or to a query.
pub const ROWS_PER_CHUNK: usize = 8_192;

/// Most bytes of keys, values and headers that are converted at once; one larger record makes a chunk of its own. Far below
/// 2 GiB, where Arrow's 32-bit string offsets end.
pub const BYTES_PER_CHUNK: usize = 16 * 1024 * 1024;

/// What a header takes in a chunk beside its bytes: offsets and validity.
pub const BYTES_PER_HEADER: usize = 16;

/// Most cells (a leaf column's place in one row or one list element) of a chunk, a few times 8 bytes each; the last record may go
/// beyond by [`LIST_CELLS_PER_RECORD`].
pub const CELLS_PER_CHUNK: usize = 4 * 1024 * 1024;

/// Most cells that the elements of one record's lists take, or as many as the value has bytes if that is more. A list beyond does
/// not fit.
pub const LIST_CELLS_PER_RECORD: usize = 1024 * 1024;

/// A row group ends when its encoded size reaches this many bytes: it is held in memory until then.
pub const ROW_GROUP_BYTES: usize = 32 * 1024 * 1024;

/// A row group ends when the records in it have this many bytes, however small they are encoded: a reader holds a decoded batch of
/// rows, and a batch lies in one row group.
pub const ROW_GROUP_RECORD_BYTES: usize = 64 * 1024 * 1024;

/// Most rows of one row group; readers parallelise over row groups of 100,000 to 1,000,000 rows.
pub const ROW_GROUP_ROWS: usize = 1_000_000;

/// Every commit whose number is a multiple of this carries a snapshot, so that a start reads at most as many.
pub const COMMITS_PER_SNAPSHOT: u64 = 128;

/// Creates of one commit that may go without an answer before the writer waits and reads the table again.
pub const TRIES_PER_COMMIT: usize = 8;

/// Most ranges that one commit names: bounds a commit's size and what a restart puts.
pub const MAX_RANGES_PER_COMMIT: usize = 256;

/// Largest commit object that is read, bytes: a snapshot of a million files has about half of it.
pub const MAX_COMMIT_BYTES: usize = 128 * 1024 * 1024;

/// Files that are written at the same time over all tables: each holds up to one encoded file in memory.
pub const FILES_IN_WRITING: usize = 2;

/// First wait after the store or the log failed, milliseconds; doubles up to [`RETRY_MAX_MS`].
pub const RETRY_MIN_MS: u64 = 100;

/// A partition whose next try is at least this far away, milliseconds, is told of: three tries in half a second have failed.
pub const TOLD_FROM_WAIT_MS: u64 = 4 * RETRY_MIN_MS;

/// Longest wait between two tries, milliseconds.
pub const RETRY_MAX_MS: u64 = 30_000;

const _: () = assert!(COMMITS_PER_SNAPSHOT > 0 && TRIES_PER_COMMIT > 0);
const _: () = assert!(BYTES_PER_CHUNK < i32::MAX as usize / 2);
const _: () = assert!(RETRY_MIN_MS < TOLD_FROM_WAIT_MS && TOLD_FROM_WAIT_MS < RETRY_MAX_MS);
