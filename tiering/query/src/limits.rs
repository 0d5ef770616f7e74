//! Limits of queries, each with its reason. An operator's own values replace the defaults of [`QueryLimits`].

use std::time::Duration;

/// Bounds of the query engine.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct QueryLimits {
    /// Memory of all queries together, bytes: sorts, joins and groups reserve from it and fail when it is used up. They never
    /// spill to disk.
    pub memory_bytes: usize,
    /// Longest run of one query.
    pub time: Duration,
    /// Most rows of one answer; a query that has more fails and is told to use LIMIT.
    pub rows: usize,
    /// Most bytes of one answer's rows, as JSON: they are held in memory, and every row repeats the names of its columns.
    pub answer_bytes: usize,
    /// Queries that run at the same time; others wait within their own time.
    pub running: usize,
    /// Threads of all queries together. They are not the broker's: a heavy query delays no heartbeat.
    pub threads: usize,
}

impl Default for QueryLimits {
    fn default() -> Self {
        QueryLimits {
            memory_bytes: 256 * 1024 * 1024,
            time: Duration::from_secs(30),
            rows: 100_000,
            answer_bytes: 64 * 1024 * 1024,
            running: 4,
            threads: 2,
        }
    }
}

/// Most operators, brackets and keywords of a statement: so deep can it nest at most.
pub const MAX_NESTING_TOKENS: usize = 1_000;

/// Stack of a query's thread, bytes: room for a tree that is [`MAX_NESTING_TOKENS`] deep. Only what is used takes memory.
pub const THREAD_STACK_BYTES: usize = 32 * 1024 * 1024;

/// Rows that a nested loop compares with its other side before it lets go of the thread. The other side fits into the memory of
/// queries, so that this is a matter of seconds at most.
pub const ROWS_PER_PACE: usize = 8;

/// Longest message about a statement, bytes: one about a column would list all that there are.
pub const MESSAGE_BYTES: usize = 1_000;

/// Bytes read from a Parquet file's end at once: the footer of a usual file, so that it takes one request.
pub const FOOTER_BYTES: usize = 64 * 1024;

/// Topic names that an error message lists at most.
pub const NAMES_IN_HINT: usize = 5;

/// How long a query waits for a table whose commits are being read: one that has just been created, or the server's start.
pub const LOAD_WAIT: Duration = Duration::from_secs(5);

/// Time between two looks at a table that is being read.
pub const LOAD_POLL: Duration = Duration::from_millis(10);

/// Bytes that all calls of a statement that grow their arguments may make at once, together: they make them a batch at a time, where
/// the memory of queries is not asked.
pub const GROWING_BYTES: usize = 128 * 1024 * 1024;

/// Bytes that a value takes in a column beside its own, or in place of them if it is a number.
pub const BYTES_PER_CELL: usize = 16;

/// Most bytes of a statement's constants, computed ones included: they are repeated for the rows of a batch, 8,192 at most, so that
/// they take up to 256 MiB.
pub const LITERAL_BYTES: usize = 32 * 1024;
