//! The table: the broker settings that are honoured, and those that have no effect because what they are the default of has none. Sorted by name (a test proves it, lookup needs it).

use crate::config::{Check, ConfigDef, MAX, MAX_INT, NEVER};
use crate::limits::{MIN_INTERNAL_SEGMENT_BYTES, MIN_SEGMENT_BYTES};
use tidelog_model::limits::MAX_PARTITIONS_PER_TOPIC;

/// Why nothing has more replicas.
const ONE_NODE: &str = "there is one node";

/// Every broker setting, ascending by name.
pub static BROKER_CONFIGS: &[ConfigDef] = &[
    ConfigDef::boolean(
        "auto.create.topics.enable",
        "true",
        "Create a topic when a client asks for it and allows its creation.",
    ),
    ConfigDef::boolean("auto.leader.rebalance.enable", "true", "Do preferred replicas become leaders by themselves?")
        .only("true", "a node alone leads everything"),
    ConfigDef::int("compression.gzip.level", "-1", 1, 9, "Topics' default of compression.gzip.level.")
        .checked(Check::RangeOrMinusOne(1, 9))
        .dynamic(),
    ConfigDef::int("compression.lz4.level", "9", 1, 17, "Topics' default of compression.lz4.level.")
        .dynamic()
        .inert("the LZ4 encoder has one level"),
    ConfigDef::one_of(
        "compression.type",
        "producer",
        &["producer", "uncompressed", "gzip", "snappy", "lz4", "zstd"],
        "Topics' default of compression.type.",
    )
    .dynamic(),
    ConfigDef::int("compression.zstd.level", "3", -131_072, 22, "Topics' default of compression.zstd.level.").dynamic(),
    ConfigDef::long("connections.max.idle.ms", "600000", 1, MAX, "An idle connection is closed after this time, ms."),
    ConfigDef::long(
        "connections.max.reauth.ms",
        "0",
        0,
        MAX,
        "After this time a client of a SASL listener must authenticate again, ms; 0 is never.",
    ),
    ConfigDef::boolean("controlled.shutdown.enable", "true", "Does a broker that stops give its partitions up first?")
        .only("true", "a stop always closes every log in order"),
    ConfigDef::list(
        "cordoned.log.dirs",
        "",
        Check::Any,
        "Directories that get no new partitions.",
    )
    .only("", "there is one directory")
    .dynamic(),
    ConfigDef::int(
        "default.replication.factor",
        "1",
        1,
        32,
        "Replicas of topics that are created without saying how many.",
    ),
    ConfigDef::long(
        "delegation.token.expiry.check.interval.ms",
        "3600000",
        1,
        MAX,
        "How often delegation tokens that are over are forgotten, ms.",
    ),
    ConfigDef::long(
        "delegation.token.expiry.time.ms",
        "86400000",
        1,
        MAX,
        "A delegation token ends after this time unless it is renewed, ms.",
    ),
    ConfigDef::long(
        "delegation.token.max.lifetime.ms",
        "604800000",
        1,
        MAX,
        "After this time a delegation token cannot be renewed any more, ms.",
    ),
    ConfigDef::password(
        "delegation.token.secret.key",
        "From this secret those of delegation tokens are made; without it there are none. Below 32 bytes it can be guessed, which a start warns of. The same on every broker.",
    ),
    ConfigDef::boolean("delete.topic.enable", "true", "May topics be deleted?"),
    ConfigDef::int(
        "fetch.max.bytes",
        "57671680",
        1024,
        MAX_INT,
        "Most bytes of one fetch answer; at least one batch is always sent.",
    ),
    ConfigDef::long(
        "follower.replication.throttled.rate",
        NEVER,
        0,
        MAX,
        "Bytes a second that throttled followers replicate.",
    )
    .unset()
    .dynamic()
    .inert("a node alone replicates nothing"),
    ConfigDef::int(
        "group.consumer.assignment.interval.ms",
        "1000",
        0,
        MAX_INT,
        "How much time lies between two target assignments of a group of the consumer protocol at least, ms: members that come and go \
         within it get theirs together.",
    )
    .dynamic(),
    ConfigDef::list(
        "group.consumer.assignors",
        "uniform,range",
        Check::EachOneOf(&["uniform", "range"]),
        "The assignors that members of the consumer protocol may ask for; the first is that of groups that ask for none.",
    ),
    ConfigDef::int(
        "group.consumer.heartbeat.interval.ms",
        "5000",
        1,
        MAX_INT,
        "How often members of the consumer protocol (KIP-848) report, ms.",
    ),
    ConfigDef::int(
        "group.consumer.max.assignment.interval.ms",
        "15000",
        0,
        MAX_INT,
        "Longest time between two assignments that may be set for a group (consumer.assignment.interval.ms), ms.",
    ),
    ConfigDef::int(
        "group.consumer.max.heartbeat.interval.ms",
        "15000",
        1,
        MAX_INT,
        "Longest interval of reports that may be set for a group (consumer.heartbeat.interval.ms), ms.",
    ),
    ConfigDef::int(
        "group.consumer.max.session.timeout.ms",
        "60000",
        1,
        MAX_INT,
        "Longest session timeout that may be set for a group (consumer.session.timeout.ms), ms.",
    ),
    ConfigDef::int(
        "group.consumer.max.size",
        "2147483647",
        1,
        MAX_INT,
        "Most members of one group of the consumer protocol.",
    ),
    ConfigDef::one_of(
        "group.consumer.migration.policy",
        "bidirectional",
        &["bidirectional", "upgrade", "downgrade", "disabled"],
        "Which groups may change over to the other protocol (KIP-848) while members are in them: classic ones (upgrade), those of the \
         consumer protocol (downgrade), both or none.",
    ),
    ConfigDef::int(
        "group.consumer.min.assignment.interval.ms",
        "0",
        0,
        MAX_INT,
        "Shortest time between two assignments that may be set for a group (consumer.assignment.interval.ms), ms.",
    ),
    ConfigDef::int(
        "group.consumer.min.heartbeat.interval.ms",
        "5000",
        1,
        MAX_INT,
        "Shortest interval of reports that may be set for a group (consumer.heartbeat.interval.ms), ms.",
    ),
    ConfigDef::int(
        "group.consumer.min.session.timeout.ms",
        "45000",
        1,
        MAX_INT,
        "Shortest session timeout that may be set for a group (consumer.session.timeout.ms), ms.",
    ),
    ConfigDef::int(
        "group.consumer.session.timeout.ms",
        "45000",
        1,
        MAX_INT,
        "A member of the consumer protocol that is silent for this time is removed, ms.",
    ),
    ConfigDef::int(
        "group.initial.rebalance.delay.ms",
        "0",
        0,
        MAX_INT,
        "How long an empty group waits for more members before its first rebalance, ms.",
    ),
    ConfigDef::int(
        "group.max.session.timeout.ms",
        "1800000",
        1,
        MAX_INT,
        "Longest session timeout of a group member, ms.",
    ),
    ConfigDef::int("group.max.size", "2147483647", 1, MAX_INT, "Most members of one group."),
    ConfigDef::int(
        "group.min.session.timeout.ms",
        "6000",
        1,
        MAX_INT,
        "Shortest session timeout of a group member, ms.",
    ),
    ConfigDef::long(
        "leader.replication.throttled.rate",
        NEVER,
        0,
        MAX,
        "Bytes a second that are read from throttled leaders.",
    )
    .unset()
    .dynamic()
    .inert("a node alone replicates nothing"),
    ConfigDef::long("log.cleaner.backoff.ms", "15000", 0, MAX, "Pause between two searches for logs to compact, ms.")
        .dynamic(),
    ConfigDef::long("log.cleaner.delete.retention.ms", "86400000", 0, MAX, "Topics' default of delete.retention.ms.")
        .dynamic(),
    ConfigDef::boolean("log.cleaner.enable", "true", "Are topics compacted that ask for it?")
        .only("true", "the service's own topics are compacted"),
    ConfigDef::long("log.cleaner.max.compaction.lag.ms", NEVER, 1, MAX, "Topics' default of max.compaction.lag.ms.")
        .dynamic(),
    ConfigDef::double(
        "log.cleaner.min.cleanable.ratio",
        "0.5",
        0.0,
        1.0,
        "Topics' default of min.cleanable.dirty.ratio.",
    )
    .dynamic(),
    ConfigDef::long("log.cleaner.min.compaction.lag.ms", "0", 0, MAX, "Topics' default of min.compaction.lag.ms.")
        .dynamic(),
    ConfigDef::list(
        "log.cleanup.policy",
        "delete",
        Check::EachOneOf(&["delete", "compact"]),
        "Topics' default of cleanup.policy.",
    )
    .dynamic(),
    ConfigDef::long("log.flush.interval.messages", NEVER, 1, MAX, "Topics' default of flush.messages.").dynamic(),
    ConfigDef::long("log.flush.interval.ms", NEVER, 0, MAX, "Topics' default of flush.ms.").unset().dynamic(),
    ConfigDef::int("log.index.interval.bytes", "4096", 0, MAX_INT, "Topics' default of index.interval.bytes.")
        .dynamic(),
    ConfigDef::int("log.index.size.max.bytes", "10485760", 4, MAX_INT, "Topics' default of segment.index.bytes.")
        .dynamic(),
    ConfigDef::long("log.local.retention.bytes", "-2", -2, MAX, "Topics' default of local.retention.bytes.").dynamic(),
    ConfigDef::long("log.local.retention.ms", "-2", -2, MAX, "Topics' default of local.retention.ms.").dynamic(),
    ConfigDef::long(
        "log.message.timestamp.after.max.ms",
        "3600000",
        0,
        MAX,
        "Topics' default of message.timestamp.after.max.ms.",
    )
    .dynamic(),
    ConfigDef::long(
        "log.message.timestamp.before.max.ms",
        NEVER,
        0,
        MAX,
        "Topics' default of message.timestamp.before.max.ms.",
    )
    .dynamic(),
    ConfigDef::one_of(
        "log.message.timestamp.type",
        "CreateTime",
        &["CreateTime", "LogAppendTime"],
        "Topics' default of message.timestamp.type.",
    )
    .dynamic(),
    ConfigDef::boolean("log.preallocate", "false", "Topics' default of preallocate.")
        .dynamic()
        .inert("segments grow as they are written"),
    ConfigDef::long("log.retention.bytes", "-1", -1, MAX, "Topics' default of retention.bytes.").dynamic(),
    ConfigDef::long(
        "log.retention.check.interval.ms",
        "300000",
        1,
        MAX,
        "How often logs are searched for segments past retention, ms.",
    ),
    ConfigDef::int(
        "log.retention.hours",
        "168",
        -1,
        MAX_INT,
        "Topics' default of retention.ms, in hours; -1 is for ever.",
    ),
    ConfigDef::int(
        "log.retention.minutes",
        "0",
        -1,
        MAX_INT,
        "As log.retention.hours, which it overrides, in minutes.",
    )
    .unset(),
    ConfigDef::long("log.retention.ms", "0", -1, MAX, "As log.retention.minutes, which it overrides, in ms.")
        .unset()
        .dynamic(),
    ConfigDef::int("log.roll.hours", "168", 1, MAX_INT, "Topics' default of segment.ms, in hours."),
    ConfigDef::int("log.roll.jitter.hours", "0", 0, MAX_INT, "Topics' default of segment.jitter.ms, in hours.")
        .inert("uploads and flushes are bounded, so rolls need no spreading"),
    ConfigDef::long("log.roll.jitter.ms", "0", 0, MAX, "As log.roll.jitter.hours, which it overrides, in ms.")
        .unset()
        .dynamic()
        .inert("uploads and flushes are bounded, so rolls need no spreading"),
    ConfigDef::long("log.roll.ms", "1", 1, MAX, "As log.roll.hours, which it overrides, in ms.").unset().dynamic(),
    ConfigDef::int("log.segment.bytes", "1073741824", MIN_SEGMENT_BYTES, MAX_INT, "Topics' default of segment.bytes.")
        .dynamic(),
    ConfigDef::long("log.segment.delete.delay.ms", "60000", 0, MAX, "Topics' default of file.delete.delay.ms.")
        .dynamic()
        .inert("a removed segment's files go at once; a reader holds them open until it is done"),
    ConfigDef::int(
        "max.connection.creation.rate",
        "2147483647",
        0,
        MAX_INT,
        "Most new connections a second; further ones wait. listener.name.<name>.max.connection.creation.rate is the same of one listener \
         (its name in small letters; http is the gateway's), beside this one.",
    )
    .dynamic(),
    ConfigDef::int(
        "max.connections",
        "2147483647",
        0,
        MAX_INT,
        "Most connections at once; further ones wait, and those that are open stay when it is lowered. Never more than 10000 of Kafka \
         clients, and as many over HTTP. listener.name.<name>.max.connections is the same of one listener (its name in small letters; http \
         is the gateway's), beside this one.",
    )
    .dynamic(),
    ConfigDef::int(
        "max.connections.per.ip",
        "2147483647",
        0,
        MAX_INT,
        "Most connections from one address at once; further ones are closed, and those that are open stay when it is lowered.",
    )
    .dynamic(),
    ConfigDef::text(
        "max.connections.per.ip.overrides",
        "",
        Check::ConnectionsByHost,
        "The same for some hosts or addresses: host:count, with commas between them.",
    )
    .dynamic(),
    ConfigDef::int(
        "max.incremental.fetch.session.cache.slots",
        "1000",
        0,
        100_000,
        "Most fetch sessions at once; a consumer without one names all its partitions in every fetch.",
    ),
    ConfigDef::int("message.max.bytes", "1048588", 0, MAX_INT, "Topics' default of max.message.bytes.").dynamic(),
    ConfigDef::int("min.insync.replicas", "1", 1, MAX_INT, "Topics' default of min.insync.replicas.")
        .dynamic()
        .inert("a partition has one replica, and no append asks for more than there are"),
    ConfigDef::int(
        "num.partitions",
        "1",
        1,
        MAX_PARTITIONS_PER_TOPIC as i64,
        "Partitions of topics that are created without saying how many.",
    ),
    ConfigDef::int(
        "offset.metadata.max.bytes",
        "4096",
        0,
        MAX_INT,
        "Most bytes of metadata beside a committed offset.",
    ),
    ConfigDef::long(
        "offsets.retention.check.interval.ms",
        "600000",
        1,
        MAX,
        "How often committed offsets are searched for expired ones, ms.",
    ),
    ConfigDef::int(
        "offsets.retention.minutes",
        "10080",
        1,
        MAX_INT,
        "How long the committed offsets of an empty group are kept, minutes.",
    ),
    ConfigDef::int("offsets.topic.compression.codec", "0", 0, 4, "The codec of batches in __consumer_offsets.")
        .only("0", "they are not compressed"),
    ConfigDef::int(
        "offsets.topic.num.partitions",
        "50",
        1,
        1000,
        "Partitions of __consumer_offsets when it is created.",
    ),
    ConfigDef::short("offsets.topic.replication.factor", "1", 1, 32, "Replicas of __consumer_offsets.")
        .only("1", ONE_NODE),
    ConfigDef::int(
        "offsets.topic.segment.bytes",
        "104857600",
        MIN_INTERNAL_SEGMENT_BYTES,
        MAX_INT,
        "Segment size of __consumer_offsets when it is created, bytes.",
    ),
    ConfigDef::int(
        "producer.id.expiration.ms",
        "86400000",
        1,
        MAX_INT,
        "A producer's state is kept this long after its last batch, ms.",
    )
    .dynamic(),
    ConfigDef::int(
        "remote.fetch.max.wait.ms",
        "500",
        1,
        MAX_INT,
        "How long a fetch waits for the object store before it answers empty, ms.",
    )
    .dynamic(),
    ConfigDef::long(
        "replica.alter.log.dirs.io.max.bytes.per.second",
        NEVER,
        0,
        MAX,
        "Bytes a second that replicas move between directories.",
    )
    .unset()
    .dynamic()
    .inert("there is one directory"),
    ConfigDef::int(
        "socket.request.max.bytes",
        "104857600",
        1024,
        tidelog_model::limits::MAX_REQUEST_BYTES as i64,
        "Largest request, bytes.",
    ),
    ConfigDef::boolean(
        "ssl.allow.dn.changes",
        "false",
        "May a listener get a certificate with another subject while the server runs?",
    ),
    ConfigDef::boolean(
        "ssl.allow.san.changes",
        "false",
        "May a listener get a certificate while the server runs that lacks subject alternative names of the one before?",
    ),
    ConfigDef::int(
        "transaction.max.timeout.ms",
        "900000",
        1,
        MAX_INT,
        "Longest time-out that a producer may ask for its transactions, ms.",
    ),
    ConfigDef::boolean(
        "transaction.partition.verification.enable",
        "true",
        "Is it checked that a partition is in the transaction whose records it takes (KIP-890)?",
    )
    .only("true", "unverified records could hang for ever")
    .dynamic(),
    ConfigDef::int(
        "transaction.remove.expired.transaction.cleanup.interval.ms",
        "3600000",
        1,
        MAX_INT,
        "How often transactional ids are searched for expired ones, ms.",
    ),
    ConfigDef::int("transaction.state.log.min.isr", "1", 1, 32, "min.insync.replicas of __transaction_state.")
        .only("1", ONE_NODE),
    ConfigDef::int(
        "transaction.state.log.num.partitions",
        "50",
        1,
        1000,
        "Partitions of __transaction_state when it is created.",
    ),
    ConfigDef::short("transaction.state.log.replication.factor", "1", 1, 32, "Replicas of __transaction_state.")
        .only("1", ONE_NODE),
    ConfigDef::int(
        "transaction.state.log.segment.bytes",
        "104857600",
        MIN_INTERNAL_SEGMENT_BYTES,
        MAX_INT,
        "Segment size of __transaction_state when it is created, bytes.",
    ),
    ConfigDef::boolean(
        "transaction.two.phase.commit.enable",
        "false",
        "May a transaction be without a time-out, because somebody else decides about it (KIP-939)?",
    )
    .only("false", "every transaction has a time-out"),
    ConfigDef::int(
        "transactional.id.expiration.ms",
        "604800000",
        1,
        MAX_INT,
        "A transactional id that is not used for so long is forgotten, ms.",
    ),
    ConfigDef::boolean("unclean.leader.election.enable", "false", "Topics' default of unclean.leader.election.enable.")
        .dynamic()
        .inert("a node alone replicates nothing"),
];
