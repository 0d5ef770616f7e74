//! Limits of the stores: each number once, with its reason.

/// Commands that wait for the store's thread: more callers than that wait in line at the channel.
pub(crate) const QUEUE: usize = 256;

/// Transactions that share one durable commit: bounds the time that the first of them waits for the others.
pub(crate) const MAX_GROUP: usize = 64;

/// Events kept for watchers that fall behind; a start with 10,000 partitions makes about as many at once.
pub(crate) const HISTORY_EVENTS: usize = 100_000;

/// Bytes kept for watchers that fall behind; whoever is further behind lists again.
pub(crate) const HISTORY_BYTES: usize = 16 * 1024 * 1024;

/// redb's cache, bytes: the metadata of 10,000 partitions is 3 MiB.
pub(crate) const CACHE_BYTES: usize = 16 * 1024 * 1024;

/// Bytes written at once when the file is written again after a failed flush.
pub(crate) const REWRITE_BYTES: usize = 256 * 1024;

/// Lost answers that one transaction may meet before the caller is told.
pub(crate) const MAX_LOST_ANSWERS: usize = 8;

/// Independent transactions under way at once: two full groups keep the store's thread busy while one is made durable.
pub(crate) const MAX_AT_ONCE: usize = 2 * MAX_GROUP;

const _: () = assert!(MAX_AT_ONCE <= QUEUE);
