//! The table: every topic setting of Kafka 4.3 and ours. Sorted by name (a test proves it, lookup needs it).

use crate::config::{Check, ConfigDef, MAX, MAX_INT, NEVER};
use crate::limits::{MIN_INTERNAL_SEGMENT_BYTES, MIN_SEGMENT_BYTES};

/// Every topic setting, ascending by name.
pub static TOPIC_CONFIGS: &[ConfigDef] = &[
    ConfigDef::list(
        "cleanup.policy",
        "delete",
        Check::EachOneOf(&["delete", "compact"]),
        "How old data goes: delete (by retention), compact (the newest record of each key stays), both, or empty: never.",
    )
    .from_broker("log.cleanup.policy"),
    ConfigDef::int("compression.gzip.level", "-1", 1, 9, "Level if compression.type is gzip: 1 to 9, -1 is the codec's default.")
        .checked(Check::RangeOrMinusOne(1, 9))
        .from_broker("compression.gzip.level"),
    ConfigDef::int("compression.lz4.level", "9", 1, 17, "Level if compression.type is lz4: 1 to 17.")
        .from_broker("compression.lz4.level")
        .inert("the LZ4 encoder has one level"),
    ConfigDef::one_of(
        "compression.type",
        "producer",
        &["producer", "uncompressed", "gzip", "snappy", "lz4", "zstd"],
        "The codec of stored batches; producer keeps each batch as it came.",
    )
    .from_broker("compression.type"),
    ConfigDef::int("compression.zstd.level", "3", -131_072, 22, "Level if compression.type is zstd: -131072 to 22.")
        .from_broker("compression.zstd.level"),
    ConfigDef::long("delete.retention.ms", "86400000", 0, MAX, "How long tombstones of a compacted topic stay, ms.")
        .from_broker("log.cleaner.delete.retention.ms"),
    ConfigDef::long("file.delete.delay.ms", "60000", 0, MAX, "How long the files of a removed segment stay, ms.")
        .from_broker("log.segment.delete.delay.ms")
        .inert("a removed segment's files go at once; a reader holds them open until it is done"),
    ConfigDef::long("flush.messages", NEVER, 1, MAX, "Flush after this many records, beside the broker's durability setting.")
        .from_broker("log.flush.interval.messages"),
    ConfigDef::long("flush.ms", NEVER, 0, MAX, "Flush after this time, ms, beside the broker's durability setting."),
    ConfigDef::list(
        "follower.replication.throttled.replicas",
        "",
        Check::ThrottledReplicas,
        "Followers whose replication is throttled: partition:broker pairs, or * for all.",
    )
    .inert("a node alone replicates nothing"),
    ConfigDef::int("index.interval.bytes", "4096", 0, MAX_INT, "Bytes of log between two entries of the offset index.")
        .from_broker("log.index.interval.bytes"),
    ConfigDef::int(
        "internal.segment.bytes",
        "1073741824",
        MIN_INTERNAL_SEGMENT_BYTES,
        MAX_INT,
        "Overrides segment.bytes, for tests: it may be smaller.",
    )
    .unset(),
    ConfigDef::list(
        "leader.replication.throttled.replicas",
        "",
        Check::ThrottledReplicas,
        "Replicas whose reads are throttled at the leader: partition:broker pairs, or * for all.",
    )
    .inert("a node alone replicates nothing"),
    ConfigDef::long(
        "local.retention.bytes",
        "-2",
        -2,
        MAX,
        "Bytes per partition that a tiered topic keeps locally; -1 is unlimited, -2 is retention.bytes.",
    )
    .from_broker("log.local.retention.bytes"),
    ConfigDef::long(
        "local.retention.ms",
        "-2",
        -2,
        MAX,
        "How long a tiered topic keeps segments locally, ms; -1 is unlimited, -2 is retention.ms.",
    )
    .from_broker("log.local.retention.ms"),
    ConfigDef::long("max.compaction.lag.ms", NEVER, 1, MAX, "A record is compacted after this time at the latest, ms.")
        .from_broker("log.cleaner.max.compaction.lag.ms"),
    ConfigDef::int("max.message.bytes", "1048588", 0, MAX_INT, "Largest record batch, bytes.")
        .from_broker("message.max.bytes"),
    ConfigDef::long(
        "message.timestamp.after.max.ms",
        "3600000",
        0,
        MAX,
        "How far a record's timestamp may lie ahead of the broker's clock, ms.",
    )
    .from_broker("log.message.timestamp.after.max.ms"),
    ConfigDef::long(
        "message.timestamp.before.max.ms",
        NEVER,
        0,
        MAX,
        "How far a record's timestamp may lie behind the broker's clock, ms.",
    )
    .from_broker("log.message.timestamp.before.max.ms"),
    ConfigDef::one_of(
        "message.timestamp.type",
        "CreateTime",
        &["CreateTime", "LogAppendTime"],
        "Whose clock stamps records: the producer's or the broker's.",
    )
    .from_broker("log.message.timestamp.type"),
    ConfigDef::double(
        "min.cleanable.dirty.ratio",
        "0.5",
        0.0,
        1.0,
        "Share of uncompacted bytes in the closed segments at which compaction starts.",
    )
    .from_broker("log.cleaner.min.cleanable.ratio"),
    ConfigDef::long("min.compaction.lag.ms", "0", 0, MAX, "A record stays uncompacted at least this long, ms.")
        .from_broker("log.cleaner.min.compaction.lag.ms"),
    ConfigDef::int("min.insync.replicas", "1", 1, MAX_INT, "In-sync replicas that an append with acks=all needs.")
        .from_broker("min.insync.replicas")
        .inert("a partition has one replica, and no append asks for more than there are"),
    ConfigDef::boolean("preallocate", "false", "Allocate a segment's file whole when it is created.")
        .from_broker("log.preallocate")
        .inert("segments grow as they are written"),
    ConfigDef::boolean("remote.log.copy.disable", "false", "Upload nothing more of a tiered topic; what is remote stays readable."),
    ConfigDef::boolean(
        "remote.log.delete.on.disable",
        "false",
        "Allows remote.storage.enable to be turned off, which deletes the remote part of the log.",
    ),
    ConfigDef::boolean(
        "remote.storage.enable",
        "false",
        "Move closed segments to the object store. Not possible with a cleanup.policy that contains compact.",
    ),
    ConfigDef::long("retention.bytes", "-1", -1, MAX, "Bytes kept per partition, local and remote together; -1 is unlimited.")
        .from_broker("log.retention.bytes"),
    ConfigDef::long("retention.ms", "604800000", -1, MAX, "How long records are kept, ms; -1 is for ever."),
    ConfigDef::int("segment.bytes", "1073741824", MIN_SEGMENT_BYTES, MAX_INT, "A segment ends at this size, bytes.")
        .from_broker("log.segment.bytes"),
    ConfigDef::int("segment.index.bytes", "10485760", 4, MAX_INT, "A segment ends when an index has this size, bytes.")
        .from_broker("log.index.size.max.bytes"),
    ConfigDef::long("segment.jitter.ms", "0", 0, MAX, "Largest random part taken off segment.ms, ms.")
        .inert("uploads and flushes are bounded, so rolls need no spreading"),
    ConfigDef::long("segment.ms", "604800000", 1, MAX, "A segment ends at this age, ms."),
    ConfigDef::boolean("tidelog.table.enable", "false", "Export the topic continuously as a table of Parquet files."),
    // The encoded file is held in memory until it is put, hence the upper bound.
    ConfigDef::long(
        "tidelog.table.flush.bytes",
        "134217728",
        1024 * 1024,
        1024 * 1024 * 1024,
        "A Parquet file ends at about this many bytes of keys, values and headers.",
    ),
    ConfigDef::long(
        "tidelog.table.flush.interval.ms",
        "60000",
        100,
        MAX,
        "A Parquet file ends this long after its first record arrived, ms.",
    ),
    ConfigDef::long("tidelog.table.flush.records", "1000000", 1, MAX, "A Parquet file ends at this many records."),
    ConfigDef::list(
        "tidelog.table.json.integers",
        "",
        Check::FieldPaths,
        "Fields of plain JSON values (dots between levels) whose numbers are BIGINT instead of DOUBLE.",
    ),
    ConfigDef::one_of(
        "tidelog.table.key.format",
        "binary",
        &["binary", "string"],
        "Type of the column _key: binary, or string if every key is UTF-8.",
    ),
    ConfigDef::long(
        "tidelog.table.retention.grace.ms",
        "604800000",
        0,
        MAX,
        "How long retention waits for records that the table still lacks, ms.",
    ),
    ConfigDef::long(
        "tidelog.tier.roll.ms",
        "3600000",
        100,
        MAX,
        "A tiered topic's segment ends so long after its first record came, ms, even if segment.ms is longer.",
    ),
    ConfigDef::boolean(
        "unclean.leader.election.enable",
        "false",
        "May a replica that is not in sync become leader, losing what it lacks?",
    )
    .from_broker("unclean.leader.election.enable")
    .inert("a node alone replicates nothing"),
];
