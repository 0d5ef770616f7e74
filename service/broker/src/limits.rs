//! Limits of the broker, each with its reason.

use std::time::Duration;

use tidelog_coordinator::limits::MAX_EXPRESSIONS_PER_GROUP;
use tidelog_metadata::limits::{MAX_DELEGATION_TOKENS_OF_ONE, MAX_TOKEN_ID_BYTES, MAX_TOKEN_RENEWERS, MAX_USER_BYTES};
use tidelog_security::FairLimits;

/// Appends and coordinator events that wait for one partition; further ones make their connection wait.
pub(crate) const MAX_QUEUE: usize = 1_024;

/// Batches of one vectored write: two buffers each, and Linux takes 1,024 buffers at once.
pub(crate) const MAX_BATCHES_PER_WRITE: usize = 256;

/// Bytes of one write: larger ones gain nothing and make the next queue entries wait.
pub(crate) const MAX_BYTES_PER_WRITE: u64 = 8 * 1024 * 1024;

/// Recovery checkpoints follow the flushed offsets at least this often.
pub(crate) const CHECKPOINT_INTERVAL: Duration = Duration::from_secs(5);

/// But no more often than this: each time all partitions are written.
pub(crate) const CHECKPOINT_PAUSE: Duration = Duration::from_secs(1);

/// And as soon as so many bytes of one partition were appended since the last one: what recovery verifies of it in a tenth of a second.
pub(crate) const CHECKPOINT_BYTES: u64 = 64 * 1024 * 1024;

/// How long an admin request waits for this broker's own image and partitions.
pub(crate) const ADMIN_PATIENCE: Duration = Duration::from_secs(30);

/// What DeleteRecords grants the disk at least: the answer of a client without patience would always be a timeout.
pub(crate) const CHECKPOINT_PATIENCE: Duration = Duration::from_secs(1);

/// How often a decision is made again after another writer was faster.
pub(crate) const MAX_CONFLICTS: usize = 16;

/// Pause between an opened partition and the next look at all of them: a look at 10,000 takes milliseconds.
pub(crate) const RECONCILE_PAUSE: Duration = Duration::from_millis(100);

/// Partitions of deleted topics that end at once: few, so that others' appends find their log threads between them.
pub(crate) const ENDING_AT_ONCE: usize = 16;

/// Logs that are closed together at a stop: each holds three more files open until it is flushed.
pub(crate) const CLOSING_AT_ONCE: usize = 256;

/// Partitions that are opened at once when the broker starts: recovery reads the disk, and the disk is one.
pub(crate) const OPENING_AT_ONCE: usize = 8;

/// Bytes of one read while a coordinator loads its partition.
pub(crate) const LOAD_READ_BYTES: usize = 4 * 1024 * 1024;

/// Most records, and most kinds of records, of a coordinator's log that a line of ours names: a person looks at the first ones.
pub(crate) const MAX_TOLD_RECORDS: usize = 5;

/// A lease of a shared store lives this long without a sign of life.
pub(crate) const BROKER_LEASE: Duration = Duration::from_secs(18);

/// Segment files that stay open beyond the active ones: a fraction of the usual limit of open files.
pub(crate) const OPEN_FILES: usize = 512;

/// Logs that wait for a flush before one `syncfs` serves them all: below it the flushers' own parallel calls are as fast.
pub(crate) const SYNCFS_FROM: usize = 16;

/// Logs that one `syncfs` serves at most, so that the first of them does not wait for a thousand lookups.
pub(crate) const SYNCFS_MOST: usize = 4_096;

/// However short `segment.ms` is, a segment in which nothing comes any more waits so long from when it is looked at: a roll writes four files.
pub(crate) const ROLL_LEAST: Duration = Duration::from_secs(1);

/// Pause before a roll that the disk refused is tried again: a line for each try says nothing new.
pub(crate) const ROLL_RETRY: Duration = Duration::from_secs(300);

/// Rolls that are further away get no timer: the checks of retention come often enough for those.
pub(crate) const ROLL_TIMER_MOST: Duration = Duration::from_secs(3_600);

/// Pause before the remains of deleted topics are tried again when the store does not answer.
pub(crate) const DELETION_RETRY: Duration = Duration::from_secs(5);

/// Pause before a partition that a full disk kept from opening is tried again; it doubles with every try.
pub(crate) const REOPEN_FIRST: Duration = Duration::from_millis(500);

/// Longest such pause: somebody who has made room waits no longer.
pub(crate) const REOPEN_MOST: Duration = Duration::from_secs(30);

/// Places of a partition that are told when readers meet damage there, until a restart.
pub(crate) const MAX_TOLD_DAMAGES: usize = 256;

/// Bytes of closed segments that are looked at for damage in a second: 340 GiB a day, and no disk feels it.
pub(crate) const SCRUB_BYTES_PER_SECOND: u64 = 4 * 1024 * 1024;

/// Bytes of one such look.
pub(crate) const SCRUB_STEP: u64 = 1024 * 1024;

/// The first such look at all logs begins so long after the start, when recovery and clients' first reads are over.
pub(crate) const SCRUB_FIRST: Duration = Duration::from_secs(600);

/// A look at all logs begins so long after the one before it, or when that has ended: what it tells is told once a day.
pub(crate) const SCRUB_EVERY: Duration = Duration::from_secs(24 * 3_600);

/// Bytes that clients may append between two looks at the disk: far less than the reserve, and a look takes a microsecond.
pub(crate) const ROOM_STEP: i64 = 8 * 1024 * 1024;

/// What a new partition may take of the disk, bytes: its files and its metadata.
pub(crate) const PARTITION_BYTES: usize = 16 * 1024;

/// Memory of the producers that all partitions remember, bytes: some 16 partitions may have all that one may. What is beyond it is
/// [`PRODUCERS_LEAST_BYTES`] of each partition, and those of open transactions, for each of which its coordinator has as much.
pub(crate) const PRODUCERS_BUDGET_BYTES: usize = 256 * 1024 * 1024;

/// What each partition has of it, whatever others take, bytes: some 50 producers at a time.
pub(crate) const PRODUCERS_LEAST_BYTES: usize = 16 * 1024;

/// Memory of the groups of all partitions of their internal topic, and of the transactions of all of theirs, bytes: ten groups that commit
/// 100,000 partitions each have room, or some 100,000 small ones.
pub(crate) const COORDINATORS_BUDGET_BYTES: usize = 256 * 1024 * 1024;

/// What each such partition has of it, whatever others take, bytes: some 650 groups or transactional ids.
pub(crate) const COORDINATORS_LEAST_BYTES: usize = 1024 * 1024;

/// Longest pause between two searches for logs to compact, whatever `log.cleaner.backoff.ms` says: a timer takes no longer one.
pub(crate) const MAX_CLEANER_BACKOFF: Duration = Duration::from_secs(365 * 24 * 3_600);

/// Pause before a compaction that failed is tried again; it doubles with every try.
pub(crate) const COMPACTION_RETRY: Duration = Duration::from_secs(10);

/// Longest such pause: each try reads what is to be compacted.
pub(crate) const COMPACTION_RETRY_MOST: Duration = Duration::from_secs(300);

/// A partition whose appends the disk refuses says so at most this often.
pub(crate) const REFUSALS_QUIET: Duration = Duration::from_secs(10);

/// Reads of the cold tier that one fetch starts: each may hold several MiB.
pub(crate) const MAX_COLD_READS: usize = 8;

/// Bytes that answers to fetches may hold of the cold tier, which have no file to go from: some full fetches of the default size. What
/// those who read slowly keep is given up for others.
pub(crate) const COLD_BUDGET_BYTES: usize = 128 * 1024 * 1024;

/// Distance of the places in such an answer from which it can be read again, when its bytes were given up: far less than what is read then.
pub(crate) const COLD_MARK_BYTES: usize = 64 * 1024;

/// The budget is counted in units of this size.
pub(crate) const COLD_BUDGET_UNIT: usize = 1024;

/// Most bytes that one read of the cold tier is asked for; one batch may still be larger.
pub(crate) const COLD_READ_BYTES: usize = 8 * 1024 * 1024;

/// What a fetch may bring of the cold tier however much hot bytes it has, bytes; so far an answer may exceed what was asked for, as Kafka's
/// may by its first batch.
pub(crate) const COLD_LEAST_BYTES: usize = 1024 * 1024;

/// How long a fetch that has hot records waits for cold ones: enough for what lies in the cache on disk, little beside a consumer's round.
pub(crate) const COLD_BESIDE_HOT: Duration = Duration::from_millis(50);

/// Most partitions of one page of topics (Kafka's `max.request.partition.size.limit`): some 100 KiB.
pub(crate) const MAX_PAGE_PARTITIONS: usize = 2_000;

/// What is told of delegation tokens in one answer, bytes: all that may be, with names as they are; and all of one owner with the longest.
pub(crate) const MAX_DESCRIBED_TOKEN_BYTES: usize = 8 * 1024 * 1024;

/// Passwords that are checked at once: each takes a thread some milliseconds, and whoever guesses must not take them all. Of one network
/// so many wait as may come with a start of all its clients, a second's work or a few: others wait for one of them at most.
pub(crate) const PASSWORD_CHECKS: FairLimits = FairLimits { places: 2, places_of_one: 2, of_one: 256, of_all: 2_048 };

/// The same for logins with delegation tokens: they never wait for passwords.
pub(crate) const TOKEN_CHECKS: FairLimits = FairLimits { places: 2, places_of_one: 2, of_one: 512, of_all: 2_048 };

/// When whoever found no place for its password may try again.
pub(crate) const CHECK_RETRY: Duration = Duration::from_secs(1);

/// How long producing to a partition waits for the end of the producer's transaction before (Kafka's
/// `add.partitions.to.txn.retry.backoff.max.ms`): the client would only ask again, and the markers take a few flushes.
pub(crate) const ADD_PARTITION_PATIENCE: Duration = Duration::from_millis(100);

/// How long beyond `transaction.max.timeout.ms` an open transaction is not yet called late, milliseconds: Kafka's five minutes, in which its
/// coordinator has ended it.
pub(crate) const LATE_TRANSACTION_GRACE_MS: i64 = 5 * 60 * 1_000;

/// The pause between two attempts (`add.partitions.to.txn.retry.backoff.ms`).
pub(crate) const ADD_PARTITION_RETRY: Duration = Duration::from_millis(20);

/// Memory of one compiled regular expression of a client, bytes: patterns of a few hundred characters take a few KiB.
pub(crate) const MAX_PATTERN_BYTES: usize = 1024 * 1024;

/// Clients' expressions that are compiled and matched at once, of lists and of subscriptions: while it is compiled one takes up to 15 MiB, and
/// the worst take seconds to match 10,000 long names on a thread that reads of the disk want too. One principal leaves a place to the others.
pub(crate) const EXPRESSIONS: FairLimits = FairLimits { places: 2, places_of_one: 1, of_one: 256, of_all: 1_024 };

/// How many expressions are looked up for one report: all of a group, and again if topics or rules came between.
pub(crate) const MAX_RESOLUTIONS: usize = 2 * MAX_EXPRESSIONS_PER_GROUP;

/// How soon a report that waits for a place is made once more, at the soonest: the interval of reports may be set to a millisecond.
pub(crate) const SOONEST_REPORT: Duration = Duration::from_secs(1);

/// Longest long poll, whatever the client asks for: a fetch holds its partitions.
pub(crate) const MAX_FETCH_WAIT: Duration = Duration::from_secs(300);

/// How long it waits at least, whatever the client grants its request: an answer of the coordinator takes a flush, and a client that grants
/// nothing (`timeout_ms` 0 is allowed) would never be verified.
pub(crate) const COORDINATOR_PATIENCE_LEAST: Duration = Duration::from_secs(5);

/// How long a transactional append waits for its transaction's coordinator, which is here: longer means that its disk stalls, and the
/// client sends again.
pub(crate) const COORDINATOR_PATIENCE: Duration = Duration::from_secs(30);

/// Most partitions that one request creates, over all its topics, as in Kafka: the decision about them is one piece of work.
pub(crate) const MAX_PARTITIONS_AT_ONCE: i64 = 10_000;

/// Connections beyond their address' rate that are held open at once; each costs a task and a descriptor, and further ones are closed at once.
pub(crate) const MAX_HELD_CONNECTIONS: usize = 1_000;

/// How long a host's name may take to become addresses: whoever changes a setting waits for it.
pub(crate) const HOST_PATIENCE: Duration = Duration::from_secs(5);

const _: () = assert!(COORDINATOR_PATIENCE_LEAST.as_millis() <= COORDINATOR_PATIENCE.as_millis());
const _: () = assert!(PRODUCERS_BUDGET_BYTES / 2 >= tidelog_record::ProducerBounds::DEFAULT.most);
const _: () = assert!(PRODUCERS_LEAST_BYTES <= tidelog_record::ProducerBounds::DEFAULT.silent);
const _: () = assert!(COORDINATORS_BUDGET_BYTES >= 4 * tidelog_coordinator::limits::MAX_SHARD_BYTES);
const _: () = assert!(COORDINATORS_LEAST_BYTES <= tidelog_coordinator::limits::MAX_SHARD_BYTES);
const _: () = assert!(COLD_BUDGET_BYTES >= 2 * MAX_COLD_READS * COLD_READ_BYTES);
const _: () = assert!(
    MAX_DELEGATION_TOKENS_OF_ONE
        * (MAX_TOKEN_ID_BYTES + 64 + (MAX_TOKEN_RENEWERS + 2) * (MAX_USER_BYTES + "User:".len()))
        <= MAX_DESCRIBED_TOKEN_BYTES
);
const _: () = assert!(ROOM_STEP as u64 * 4 <= tidelog_log::limits::RESERVE_BYTES);
