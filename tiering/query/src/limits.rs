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
    /// Most bytes of one answer in memory.
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

/// Longest SQL text, bytes: planning costs more than the text's size.
pub const MAX_SQL_BYTES: usize = 64 * 1024;

/// Bytes read from a Parquet file's end at once: the footer of a usual file, so that it takes one request.
pub const FOOTER_BYTES: usize = 64 * 1024;

/// Topic names that an error message lists at most.
pub const NAMES_IN_HINT: usize = 5;

/// Widest cell that [`crate::format_table`] prints, characters; longer ones end with `…`.
pub const CELL_CHARS: usize = 60;
