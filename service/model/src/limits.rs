//! Limits that several crates share, each with its reason. A crate's own limits live with the crate.

/// Longest topic name (Kafka): with a partition number it is still a file name.
pub const MAX_TOPIC_NAME_LENGTH: usize = 249;

/// Largest request frame, bytes (Kafka's `socket.request.max.bytes`).
pub const MAX_REQUEST_BYTES: usize = 100 * 1024 * 1024;

/// Default of `message.max.bytes` and `max.message.bytes`, bytes: 1 MiB and Kafka's overhead of 12.
pub const DEFAULT_MAX_BATCH_BYTES: usize = 1_048_588;

/// Largest batch after inflation, bytes: what one decompression may allocate at most.
pub const MAX_INFLATED_BATCH_BYTES: usize = 128 * 1024 * 1024;

/// Most records that one batch may announce; a batch of one-byte records cannot hold more in a frame.
pub const MAX_RECORDS_PER_BATCH: i32 = 16 * 1024 * 1024;

/// Most partitions of one topic: 10,000 partitions on a node are a normal day, a typing error is not.
pub const MAX_PARTITIONS_PER_TOPIC: i32 = 10_000;

/// Longest SQL text, bytes: planning costs more than the text's size. The door refuses what the engine would not read.
pub const MAX_SQL_BYTES: usize = 64 * 1024;

const _: () = assert!(DEFAULT_MAX_BATCH_BYTES < MAX_REQUEST_BYTES);
const _: () = assert!(MAX_REQUEST_BYTES <= MAX_INFLATED_BATCH_BYTES);
