//! Limits of the coordinators, each with its reason.

use std::time::Duration;

/// Longest group id, member id, instance id, protocol type or protocol name, bytes: Kafka's records write them with a
/// 16-bit length.
pub const MAX_ID_BYTES: usize = i16::MAX as usize;

/// How much of a client id goes into a generated member id, bytes: a member id is repeated in every record and reply.
pub const MAX_CLIENT_ID_IN_MEMBER_ID: usize = 255;

/// Most protocols that one member may offer: stock clients offer one per assignor, a handful.
pub const MAX_PROTOCOLS_PER_MEMBER: usize = 64;

/// Most bytes of protocol metadata that one member may offer: the group's record holds all members' metadata and must
/// fit one batch of 1 MiB, so that a larger one could never be stored.
pub const MAX_MEMBER_METADATA_BYTES: usize = 1024 * 1024;

/// Most memory of one shard, bytes: one group that commits 100,000 partitions needs about 20 MiB. What all shards hold the shell bounds,
/// by giving each less ([`crate::GroupShard::set_most_bytes`]).
pub const MAX_SHARD_BYTES: usize = 32 * 1024 * 1024;

/// What a group costs beyond its strings, bytes: the maps' nodes and fields, rounded up.
pub const GROUP_OVERHEAD_BYTES: usize = 512;

/// What a member (or a pending member id) costs beyond its strings and metadata, bytes.
pub const MEMBER_OVERHEAD_BYTES: usize = 256;

/// What a committed offset costs beyond its metadata text, bytes.
pub const OFFSET_OVERHEAD_BYTES: usize = 128;

/// What a transactional id costs beyond its text, bytes: the maps' nodes and fields, rounded up.
pub const TRANSACTION_OVERHEAD_BYTES: usize = 384;

/// What one partition of a transaction costs, bytes: its name of at most 249 bytes, counts and the set's node.
pub const PARTITION_OVERHEAD_BYTES: usize = 320;

/// First wait before markers that could not be written are tried again; it doubles with every try. Kafka's retries wait 100 ms as well.
pub const MARKER_RETRY: Duration = Duration::from_millis(100);

/// Longest such wait: a partition that is back holds its producers up no longer, and one that stays away costs next to nothing.
pub const MARKER_RETRY_MOST: Duration = Duration::from_secs(5);

/// How long a time-out or a completion waits after a refused append: nobody waits for it, and storage may be away for days.
pub const TRANSACTION_RETRY: Duration = Duration::from_secs(5);

/// What a partition costs in an assignment, in a target or among those that have an owner, bytes: a map's entry, rounded up.
pub const PARTITION_BYTES: usize = 64;

/// Most classes of characters in one expression, one of Unicode's counting as 16: its tree holds their ranges, which are up to 8 KiB of one
/// of Unicode's. Nobody needs a hundred, and with 8,000 of them the tree of 32 KiB of text was 94 MiB.
pub const MAX_EXPRESSION_CLASSES: usize = 4_096;

/// Largest compiled regular expression of a subscription, bytes: topic names are short, and every new topic is tried.
pub const MAX_EXPRESSION_BYTES: usize = 256 * 1024;

/// Longest regular expression of any client, bytes: a subscription's is repeated in the group's records, and nobody writes one by hand.
pub const MAX_EXPRESSION_TEXT_BYTES: usize = MAX_ID_BYTES;

/// Most different expressions in one group: after each change of topics or rules all are looked up anew, one after the other, and the worst
/// take seconds. Groups have one, and two while they change over to another.
pub const MAX_EXPRESSIONS_PER_GROUP: usize = 64;

/// What one topic of an expression costs while a group has not been told of all: a pointer to its name, with its share of the set, rounded up.
pub const MEANT_TOPIC_BYTES: usize = 32;

/// How long a group waits before it tries again what it had no room for, meanings of expressions or a target: a usual heartbeat's interval.
pub const NO_ROOM_RETRY: Duration = Duration::from_secs(5);

/// Rounds over all topics when different subscriptions are evened out: each moves less than the one before; real groups need two or
/// three, and what is left after these is a little uneven.
pub const MAX_BALANCING_ROUNDS: usize = 32;

/// Most bytes of the records that change a group over: they must fit one batch of 1 MiB, with room for its frame.
pub const MAX_CONVERTED_BYTES: usize = 900 * 1024;

/// Most tombstones in one outcome of a timer: with keys of a few hundred bytes they fit one batch of 1 MiB.
pub const MAX_TOMBSTONES_PER_OUTCOME: usize = 1_000;

/// Most bytes of keys whose last record cannot be read, while a log is loaded: it is not served then, and a person is told the first ones.
pub const MAX_DAMAGED_BYTES: usize = 1024 * 1024;

/// How long a sweep waits after a refused append: nobody waits for it, and storage may be away for days.
pub const SWEEP_RETRY: Duration = Duration::from_secs(60);

/// How long a new member's first JoinGroup may stay parked (Kafka's fixed value): it does not know its member id yet
/// and cannot send heartbeats, so that a vanished one would otherwise stay for ever.
pub const NEW_MEMBER_JOIN_TIMEOUT: Duration = Duration::from_secs(5 * 60);

/// Least wait before a rebalance that nobody joined is looked at again: a rebalance timeout of 0 must not spin.
pub const MIN_REBALANCE_RETRY: Duration = Duration::from_secs(1);

/// Most topics that are read from a member's subscription when offsets expire; a longer list counts as unreadable.
pub const MAX_SUBSCRIBED_TOPICS: usize = 100_000;

const _: () = assert!(MAX_MEMBER_METADATA_BYTES * 4 <= MAX_SHARD_BYTES);
const _: () = assert!(MAX_CLIENT_ID_IN_MEMBER_ID < MAX_ID_BYTES);
