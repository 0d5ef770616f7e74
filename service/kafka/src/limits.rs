//! Limits of the Kafka door, each with its reason.

use std::time::Duration;

/// Answers that wait on one connection before reading stops: five produce requests in flight are usual, more are patience.
pub(crate) const MAX_WAITING_PER_CONNECTION: usize = 32;

/// Bytes of request frames that all connections together may hold (design: the request budget).
pub(crate) const REQUEST_BUDGET_BYTES: usize = 256 * 1024 * 1024;

/// The budget is counted in units of this size, because a semaphore counts to 2^29.
pub(crate) const BUDGET_UNIT: usize = 1024;

/// A frame's body has this long to begin with …
pub(crate) const FRAME_GRACE: Duration = Duration::from_secs(10);

/// … and must come at this rate, bytes per second; a slower one holds budget that others need.
pub(crate) const FRAME_MIN_RATE: usize = 128 * 1024;

/// A client has this long from connecting to being known: until then it is nobody's connection.
pub(crate) const AUTHENTICATION_PATIENCE: Duration = Duration::from_secs(30);

/// Largest frame of a client who is not known yet (Kafka's `sasl.server.max.receive.size`): tokens fit, and strangers hold little.
pub(crate) const MAX_STRANGERS_FRAME: usize = 512 * 1024;

/// Bytes of segment files that answers over TLS hold in memory together (design: the second budget).
pub(crate) const SEALED_BUDGET_BYTES: usize = 64 * 1024 * 1024;

/// Bytes of a segment file that one answer over TLS holds at a time: sixteen TLS records.
pub(crate) const SEALED_READ_BYTES: usize = 256 * 1024;

/// Room reserved for reading at first; small requests need no more.
pub(crate) const READ_BUFFER_BYTES: usize = 16 * 1024;

/// Most bytes one `sendfile` call moves on the blocking pool, so that one reader does not hold a thread for long.
pub(crate) const SENDFILE_BYTES: usize = 1024 * 1024;

/// Distance of the samples that tell whether a part of a file is in memory: below the kernel's usual read-ahead of 128 KiB, and 17 short
/// calls per MiB.
pub(crate) const RESIDENCE_SAMPLE_BYTES: usize = 64 * 1024;

/// A client that takes nothing of an answer for this long is closed: answers hold memory and open files.
pub(crate) const SEND_STALL: Duration = Duration::from_secs(120);

/// Buffers of one vectored write.
pub(crate) const MAX_IO_SLICES: usize = 64;

/// Most bytes of an error's sentence: old versions write 32,767 at most, and nobody reads as much.
pub(crate) const MAX_SENTENCE_BYTES: usize = 4096;

/// Producers that one DescribeProducers answer tells of, some 60 bytes each: those of eight partitions that are full of them.
pub(crate) const MAX_DESCRIBED_PRODUCERS: usize = 100_000;

/// Partitions that one DescribeTransactions answer names, some 10 bytes each beside their topics' names.
pub(crate) const MAX_DESCRIBED_TRANSACTION_PARTITIONS: usize = 100_000;

/// Memory that all fetch sessions together may take: some 200,000 partitions by id.
pub(crate) const MAX_FETCH_SESSION_BYTES: usize = 64 * 1024 * 1024;

/// A fetch session is safe from others for this long (Kafka's `min.incremental.fetch.session.eviction.ms`, which is no setting there either).
pub(crate) const MIN_FETCH_SESSION_EVICTION: Duration = Duration::from_secs(120);

/// Connections at once, whatever `max.connections` allows; each costs two tasks and a read buffer.
pub(crate) const MAX_CONNECTIONS: usize = 10_000;

/// Connections beyond a quota that are held open at once; each costs a task and a descriptor, and further ones are closed at once.
pub(crate) const MAX_HELD_CONNECTIONS: usize = 1_000;

/// Longest time that such a connection is held (Kafka's: one window).
pub(crate) const MAX_CONNECTION_PAUSE: Duration = Duration::from_secs(1);

// Two of the largest frames that an operator can allow (`socket.request.max.bytes`) fit, or one would keep all others out.
const _: () = assert!(REQUEST_BUDGET_BYTES >= 2 * tidelog_model::limits::MAX_REQUEST_BYTES);
