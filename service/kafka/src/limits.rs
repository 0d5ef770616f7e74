//! Limits of the Kafka door, each with its reason.

use std::time::Duration;

/// Answers that wait on one connection before reading stops: five produce requests in flight are usual, more are patience.
pub(crate) const MAX_WAITING_PER_CONNECTION: usize = 32;

/// Bytes of encoded answers that wait on one connection before reading stops: answers to Metadata, DescribeConfigs and the like are made at once
/// and may be large, and a client may leave them where they are.
pub(crate) const MAX_UNSENT_BYTES: usize = 128 * 1024;

/// Bytes of small request frames, those that fit into a read buffer, that all connections together hold while they are carried out. Heartbeats,
/// fetches and admin requests are small: this part of the request budget (design §4) is theirs alone.
pub(crate) const SMALL_BUDGET_BYTES: usize = 32 * 1024 * 1024;

/// Bytes of all larger ones.
pub(crate) const LARGE_BUDGET_BYTES: usize = 208 * 1024 * 1024;

/// What one principal may hold of these, or one address whose clients say no names: half, and one of the largest frames.
pub(crate) const LARGE_SHARE_BYTES: usize = 104 * 1024 * 1024;

/// Bytes of larger frames of clients who are not known yet: nothing but very long tokens.
pub(crate) const STRANGERS_BUDGET_BYTES: usize = 16 * 1024 * 1024;

/// What one address may hold of these: two of the largest.
pub(crate) const STRANGERS_SHARE_BYTES: usize = 1024 * 1024;

/// What a request may be decoded into beside its frame before it is charged, bytes: usual requests are not. And it may take as much as its
/// frame.
pub(crate) const DECODED_FREE_BYTES: usize = 2 * 1024;

/// What requests that are decoded into more hold together while they are carried out, each [`CARRIED_OUT_FACTOR`] times as much: half of it, what
/// one principal may hold, is a request of a quarter of a million partitions.
pub(crate) const DECODED_BUDGET_BYTES: usize = 256 * 1024 * 1024;

/// A decoded request and what its handler makes of it, questions for partitions and coordinators, what they answer, and the answer, as a multiple
/// of what it was decoded into: DescribeGroups came to 4.5 when it was measured, Fetch and Metadata to nearly 4, others to less.
pub(crate) const CARRIED_OUT_FACTOR: usize = 5;

/// What a large frame gets when it is more than its connection's own buffer; what it gets later is a few times what has come.
pub(crate) const FRAME_FIRST_LOAN: usize = 64 * 1024;

/// Up to here it gets three times what has come, so that the usual frame of a megabyte is moved twice; then as much as has come.
pub(crate) const FRAME_QUICK_LOAN: usize = 1024 * 1024;

/// A frame that finds no room for this long is given up, and its connection with it: clients wait 30 s for an answer and ask again.
pub(crate) const FRAME_ROOM_PATIENCE: Duration = Duration::from_secs(30);

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

/// Bytes of a segment file that one answer over TLS holds at a time, and of the cold tier any answer: sixteen TLS records.
pub(crate) const SEND_STEP_MOST: usize = 256 * 1024;

/// The same for a client whose socket took less than that last time: what TLS keeps on the way is as much.
pub(crate) const SEND_STEP_LEAST: usize = 64 * 1024;

/// Room reserved for reading at first; small requests need no more.
pub(crate) const READ_BUFFER_BYTES: usize = 16 * 1024;

/// Most bytes one `sendfile` call moves on the blocking pool, so that one reader does not hold a thread for long.
pub(crate) const SENDFILE_BYTES: usize = 1024 * 1024;

/// Distance of the samples that tell whether a part of a file is in memory: below the kernel's usual read-ahead of 128 KiB, and 17 short
/// calls per MiB.
pub(crate) const RESIDENCE_SAMPLE_BYTES: usize = 64 * 1024;

/// A client that takes nothing of an answer for this long is closed: answers hold memory and open files.
pub(crate) const SEND_STALL: Duration = Duration::from_secs(120);

/// After that time it must have taken an answer at this rate, bytes per second, as whoever sends a body over HTTP: a byte now and then is
/// as good as nothing.
pub(crate) const SEND_MIN_RATE: usize = 16 * 1024;

/// Buffers of one vectored write.
pub(crate) const MAX_IO_SLICES: usize = 64;

/// Most bytes of an error's sentence: old versions write 32,767 at most, and nobody reads as much.
pub(crate) const MAX_SENTENCE_BYTES: usize = 4096;

/// Producers that one DescribeProducers answer tells of, some 60 bytes each: those of eight partitions that are full of them.
pub(crate) const MAX_DESCRIBED_PRODUCERS: usize = 100_000;

/// Partitions that one DescribeTransactions answer names, some 10 bytes each beside their topics' names.
pub(crate) const MAX_DESCRIBED_TRANSACTION_PARTITIONS: usize = 100_000;

/// Memory that fetches hold together while they wait for records: those of half a million partitions, and half of it those of one principal.
/// One that finds no room is answered at once with what there is, and asks again.
pub(crate) const WAITING_FETCHES_BYTES: usize = 128 * 1024 * 1024;

/// What a fetch holds while it waits, beside its partitions: a task and the answer's shape, rounded up.
pub(crate) const WAITING_FETCH_BYTES: usize = 2 * 1024;

/// What each of its partitions adds: what is asked of it, and its place among those whom the partition wakes; rounded up.
pub(crate) const WAITING_PARTITION_BYTES: usize = 256;

/// Memory that all fetch sessions together may take: some 200,000 partitions by id.
pub(crate) const MAX_FETCH_SESSION_BYTES: usize = 64 * 1024 * 1024;

/// A fetch session is safe from others for this long (Kafka's `min.incremental.fetch.session.eviction.ms`, which is no setting there either).
pub(crate) const MIN_FETCH_SESSION_EVICTION: Duration = Duration::from_secs(120);

// The largest frame that an operator can allow (`socket.request.max.bytes`) fits into a share, and two shares into the budget, or one would
// keep all others out.
const _: () = assert!(LARGE_SHARE_BYTES >= tidelog_model::limits::MAX_REQUEST_BYTES);
const _: () = assert!(LARGE_BUDGET_BYTES >= 2 * LARGE_SHARE_BYTES);
const _: () =
    assert!(STRANGERS_SHARE_BYTES >= MAX_STRANGERS_FRAME && STRANGERS_BUDGET_BYTES >= 2 * STRANGERS_SHARE_BYTES);
const _: () = assert!(FRAME_FIRST_LOAN >= READ_BUFFER_BYTES);
