//! Limits of record batches and of the state they add up to, each with its reason.

use std::time::Duration;

use tidelog_model::limits::MAX_INFLATED_BATCH_BYTES;

/// Smallest encoded record, bytes: length, attributes, timestamp delta, offset delta, key length, value length and header
/// count take one byte each. A record count that exceeds `body / 7` is a lie, found before anything is allocated.
pub const MIN_RECORD_BYTES: usize = 7;

/// Smallest encoded header, bytes: key length and value length.
pub const MIN_HEADER_BYTES: usize = 2;

/// Most headers of one record. A header of two bytes takes 64 in memory; without a limit one hostile record of a few MiB would
/// take hundreds. Kafka has no limit; applications use fewer than a hundred.
pub const MAX_HEADERS_PER_RECORD: usize = 65_536;

/// Most records of one batch that are named when it is refused: enough for whoever looks, and a refusal stays smaller than the batch.
pub const MAX_RECORD_FAULTS: usize = 1000;

/// First allocation of an inflation, bytes; it doubles from there, so that memory follows what really came out.
pub const FIRST_INFLATION_BYTES: usize = 16 * 1024;

/// Uncompressed bytes per Snappy block: what Java's Snappy stream writes.
pub const SNAPPY_BLOCK_BYTES: usize = 32 * 1024;

/// A Snappy block inflates at most to this multiple of its size: a copy of 64 bytes takes 3.
pub const SNAPPY_MAX_RATIO: usize = 22;

/// Zstandard's default level, which Kafka uses too.
pub const ZSTD_LEVEL: i32 = 3;

/// Largest Zstandard window accepted, as a power of two: 128 MiB is what the highest level
/// announces, whatever the size of its data. The decoder reserves it, but touches only as much as it puts out.
pub const ZSTD_MAX_WINDOW_LOG: u32 = 27;

/// Batches remembered per producer: a producer may have that many in flight (KIP-98).
pub const BATCHES_PER_PRODUCER: usize = 5;

/// Default bound of one partition's producer states, bytes: about 12,000 producers. Whoever makes up producer ids must not fill the
/// memory; beyond it the producers that were silent longest are forgotten, but none that may still send a batch again.
pub const MAX_PRODUCER_STATE_BYTES: usize = 4 * 1024 * 1024;

/// Producers that may still send a batch again take at most so many times the bound: 48,000 new ones in two minutes are more than any
/// application starts, and the memory of a partition stays that of a few requests.
pub const MOST_PRODUCER_STATE_FACTOR: usize = 4;

/// How long after its last batch a producer may still send it again: Kafka's default of `delivery.timeout.ms`. If it were forgotten before,
/// a batch whose answer was lost would be written twice.
pub const PRODUCER_MAY_RETRY: Duration = Duration::from_secs(120);

/// Most transactions that may be open in one partition at a time: each holds back the last stable offset and cannot be evicted.
pub const MAX_OPEN_TRANSACTIONS: usize = 10_000;

/// Most entries of a leader epoch checkpoint, and so of its memory: a leader change a minute for two years.
pub const MAX_LEADER_EPOCHS: usize = 1_000_000;

const _: () = assert!(1usize << ZSTD_MAX_WINDOW_LOG <= MAX_INFLATED_BATCH_BYTES);
