//! The client's limits, each with its reason.

use std::time::Duration;

/// Largest answer accepted, bytes: a fetch answer holds at most `max_bytes` and one batch more, and no server's batch exceeds
/// the largest request frame.
pub const MAX_RESPONSE_BYTES: usize = 200 * 1024 * 1024;

/// How much of an announced answer is reserved before its bytes arrive; the buffer grows with what really came.
pub const READ_STEP_BYTES: usize = 1024 * 1024;

/// Requests that may wait in one connection. Kafka's brokers stop reading a connection at some depth (ours at 32).
pub const MAX_QUEUED_REQUESTS: usize = 64;

/// Produce requests in flight per broker: an idempotent producer's broker remembers five batches per partition (KIP-98).
pub const MAX_IN_FLIGHT: usize = 5;

/// How long a connection attempt may take.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a server that takes nothing more may take to say why.
pub const LAST_WORDS: Duration = Duration::from_secs(1);

/// How long it may take to learn whether a server that has hung up asks who its clients are.
pub const ASK_TIMEOUT: Duration = Duration::from_secs(5);

/// Default time for one request, as Kafka's `request.timeout.ms`.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// Default time from `send` to success or failure, as Kafka's `delivery.timeout.ms`.
pub const DELIVERY_TIMEOUT: Duration = Duration::from_secs(120);

/// Pause before the first retry; it doubles from there.
pub const FIRST_BACKOFF: Duration = Duration::from_millis(20);

/// Longest pause between retries, as Kafka's `retry.backoff.max.ms`.
pub const MAX_BACKOFF: Duration = Duration::from_secs(1);

/// Default size at which a batch is full, bytes. Larger than Java's 16 KiB: fewer, larger writes on both sides.
pub const BATCH_BYTES: usize = 128 * 1024;

/// Default size of a produce request, bytes; one larger batch still goes, alone.
pub const REQUEST_BYTES: usize = 8 * 1024 * 1024;

/// Largest record that is tried, bytes; topics allow 1 MiB unless configured otherwise.
pub const MAX_RECORD_BYTES: usize = 64 * 1024 * 1024;

/// Default memory of a producer's batches, bytes; `send` waits when it is used up.
pub const BUFFER_BYTES: usize = 64 * 1024 * 1024;

/// Default size of a fetch answer, bytes.
pub const FETCH_BYTES: i32 = 32 * 1024 * 1024;

/// Default size of one partition's part of a fetch answer, bytes.
pub const FETCH_PARTITION_BYTES: i32 = 4 * 1024 * 1024;

/// How long a topic may stay unknown after the server was asked to create it. A server that does says "no leader yet" or knows it
/// within a second; one that is not allowed to stays silent about why.
pub const TOPIC_CREATION_WAIT: Duration = Duration::from_secs(5);

/// How long a member of a group may take to give partitions up, as Kafka's `max.poll.interval.ms`.
pub const GIVE_UP_TIME: Duration = Duration::from_secs(300);

/// Topics per metadata request when the cache is refreshed.
pub const MAX_CACHED_TOPICS: usize = 10_000;

const _: () = assert!(BATCH_BYTES <= REQUEST_BYTES && REQUEST_BYTES <= BUFFER_BYTES);
const _: () = assert!(MAX_RECORD_BYTES <= BUFFER_BYTES);
const _: () = assert!(FETCH_BYTES as usize + tidelog_model::limits::MAX_REQUEST_BYTES <= MAX_RESPONSE_BYTES);
const _: () = assert!(MAX_IN_FLIGHT < MAX_QUEUED_REQUESTS);
