//! Limits of the gateway, each with its reason.

use std::time::Duration;

/// Default of the largest request body, bytes: sixteen of the largest default batches. A bulk load sends several.
pub const DEFAULT_MAX_BODY_BYTES: usize = 16 * 1024 * 1024;

/// What is in memory at a time, bytes (design §4: the second budget): one half for requests, the other for chunks of the log that
/// are read, inflated batches and answers of SQL, so that those who read and do not take never keep others from publishing.
/// Beyond it a request is refused instead of the process growing. Each half has room for the largest inflated batch.
pub const DEFAULT_MEMORY_BUDGET_BYTES: usize = 288 * 1024 * 1024;

/// Largest body of requests that carry no events, bytes: a topic with a thousand settings fits.
pub const MAX_ADMIN_BODY_BYTES: usize = 256 * 1024;

/// Most records of one publish request: their results are held until the answer.
pub const MAX_RECORDS_PER_REQUEST: usize = 100_000;

/// Uncompressed bytes after which the gateway closes a batch and begins another: below Kafka's default
/// `max.message.bytes`, with room for the header.
pub const TARGET_BATCH_BYTES: usize = 1_000_000;

/// How long an acks=all append may wait for durability and replicas (the Java producer's `request.timeout.ms`).
pub const APPEND_TIMEOUT: Duration = Duration::from_secs(30);

/// A body that sends nothing for this long is given up.
pub const BODY_STALL_TIMEOUT: Duration = Duration::from_secs(30);

/// After that time a body must have come at this rate, bytes per second: one that drips holds memory and a connection for
/// hours. A tenth of the slowest link that anybody calls broadband.
pub const BODY_MIN_RATE: u32 = 16 * 1024;

/// What a record costs while it is on its way, beside its own bytes: its place, its outcome, its line in the answer.
pub const RECORD_OVERHEAD_BYTES: usize = 256;

/// Longest JSON pointer, in steps: each reads the rest of the value again. Deeper documents are data, not keys.
pub const MAX_POINTER_DEPTH: usize = 64;

/// Bytes of an unwanted body which are still read and thrown away: a client that is cut off while it sends often sees a
/// broken connection instead of the answer.
pub const MAX_DISCARDED_BYTES: usize = 64 * 1024 * 1024;

/// The same, in time.
pub const DISCARD_TIMEOUT: Duration = Duration::from_secs(5);

/// A connection that takes nothing of its answer for this long is closed: nobody reads it.
pub const WRITE_STALL_TIMEOUT: Duration = Duration::from_secs(60);

/// An answer whose next piece nobody has asked for in this long is given up: an HTTP/2 stream can be shut while its connection
/// lives. Twice the above: a connection that moves at all gets there first.
pub const TAKE_TIMEOUT: Duration = Duration::from_secs(120);

/// Bytes per piece of an answer of SQL: only pieces are copied.
pub const ANSWER_PIECE_BYTES: usize = 64 * 1024;

/// Headers must be complete after this long, and the first bytes of a connection must be there.
pub const HEADER_TIMEOUT: Duration = Duration::from_secs(30);

/// A connection on which nobody who is known has anything open, nor had for this long, is closed: its place is one of few. As long as Kafka's
/// `connections.max.idle.ms`.
pub const CONNECTION_IDLE: Duration = Duration::from_secs(600);

/// Such a client is told, and hears it within this time or not at all.
pub const GOODBYE: Duration = Duration::from_secs(1);

/// Longest time of a stream of a gRPC service that is open to anybody, health and reflection, on whosever connection: behind a proxy they are
/// everybody's. Who watches asks again.
pub const OPEN_CALL_LIFE: Duration = Duration::from_secs(3600);

/// HTTP/2's preface: with fewer bytes a connection has not begun to speak.
pub const OPENING_BYTES: usize = 24;

/// Longest time that an ordinary request (no stream, no long poll, no gRPC) may take.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(65);

/// Events of one GET without `limit`.
pub const DEFAULT_READ_LIMIT: u64 = 100;

/// Most events of one GET; more is a stream's work.
pub const MAX_READ_LIMIT: u64 = 100_000;

/// Longest `wait` of a long poll: what proxies usually let an idle request live.
pub const MAX_WAIT: Duration = Duration::from_secs(60);

/// Bytes asked of the log per read of one partition.
pub const READ_CHUNK_BYTES: usize = 256 * 1024;

/// Smallest share of that when many partitions are asked at once: below it answers are mostly overhead.
pub const MIN_CHUNK_BYTES: usize = 16 * 1024;

/// One wait for events that are in the object store; then others get their turn.
pub const LOADING_WAIT: Duration = Duration::from_secs(1);

/// After this long without a single event from the object store a GET answers 503 and a gRPC Read ends with UNAVAILABLE: a store
/// that is away must look like an error, never like the end of the topic.
pub const LOADING_PATIENCE: Duration = Duration::from_secs(30);

/// Largest inflated batch that a reader unpacks, bytes; what the log itself accepts.
pub const MAX_INFLATED_BYTES: usize = tidelog_model::limits::MAX_INFLATED_BATCH_BYTES;

/// Most partitions of one event stream or multi-partition read: the id of each server-sent event names all of them and
/// comes back in one request header.
pub const MAX_STREAM_PARTITIONS: usize = 256;

/// Server-sent events: a comment goes out after this much silence, so that proxies keep the connection.
pub const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// How long one wait for new events lasts before it is renewed: shutdown and token expiry are noticed at once anyway.
pub const FOLLOW_WAIT: Duration = Duration::from_secs(30);

/// Publish requests of one gRPC stream that may wait for durability before the server stops reading.
pub const MAX_OUTSTANDING_PUBLISHES: usize = 32;

/// Bytes of events per message of a gRPC read stream, below the 4 MiB that clients accept by default.
pub const MAX_READ_RESPONSE_BYTES: usize = 1024 * 1024;

/// Topics per page of `ListTopics`.
pub const MAX_TOPICS_PER_PAGE: usize = 1000;

/// HTTP/2 requests of one connection at a time.
pub const MAX_CONCURRENT_STREAMS: u32 = 256;

/// Bytes of an answer that wait in memory for the window of their HTTP/2 stream: a client may open all its streams and read
/// none of them.
pub const MAX_SEND_BUFFER_BYTES: usize = 64 * 1024;

/// All headers of one request, bytes; beyond it the answer says so.
pub const MAX_HEADER_BYTES: usize = 64 * 1024;

/// Bytes of headers that are taken from the wire at all, so that who is a little above the limit is told in the style of its API.
pub const MAX_HEAD_BUFFER_BYTES: usize = 2 * MAX_HEADER_BYTES;

/// After a stop, connections may finish what they do for this long.
pub const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);

/// Longest request id taken over from a client, bytes.
pub const MAX_REQUEST_ID_BYTES: usize = 128;

const _: () = assert!(TARGET_BATCH_BYTES < tidelog_model::limits::DEFAULT_MAX_BATCH_BYTES);
const _: () = assert!(
    2 * DEFAULT_MAX_BODY_BYTES + MAX_RECORDS_PER_REQUEST * RECORD_OVERHEAD_BYTES < DEFAULT_MEMORY_BUDGET_BYTES / 2
);
const _: () = assert!(MAX_INFLATED_BYTES + READ_CHUNK_BYTES < DEFAULT_MEMORY_BUDGET_BYTES / 2);
const _: () = assert!(MAX_WAIT.as_secs() < REQUEST_TIMEOUT.as_secs());
