//! The table: settings of Kafka's brokers that have no meaning here. They are checked, stored and returned, so that tools that set them go on;
//! each group says why it changes nothing. What has a meaning under another name is not here but in [`super::elsewhere`].

use crate::config::{Check, ConfigDef, MAX, MAX_INT, NEVER};

/// Bounds where Kafka has none.
const ANY_INT: i64 = i32::MIN as i64;
const ANY_LONG: i64 = i64::MIN;

/// Settings that have no effect for the same reason.
struct Group {
    /// What they are about; told of each.
    about: &'static str,
    why: &'static str,
}

impl Group {
    const fn int(&self, name: &'static str, default: &'static str, min: i64) -> ConfigDef {
        ConfigDef::int(name, default, min, MAX_INT, self.about).inert(self.why)
    }

    const fn short(&self, name: &'static str, default: &'static str, min: i64) -> ConfigDef {
        ConfigDef::short(name, default, min, i16::MAX as i64, self.about).inert(self.why)
    }

    const fn long(&self, name: &'static str, default: &'static str, min: i64) -> ConfigDef {
        ConfigDef::long(name, default, min, MAX, self.about).inert(self.why)
    }

    const fn double(&self, name: &'static str, default: &'static str) -> ConfigDef {
        ConfigDef::double(name, default, f64::MIN, f64::MAX, self.about).inert(self.why)
    }

    const fn boolean(&self, name: &'static str, default: &'static str) -> ConfigDef {
        ConfigDef::boolean(name, default, self.about).inert(self.why)
    }

    const fn text(&self, name: &'static str, default: &'static str) -> ConfigDef {
        ConfigDef::text(name, default, Check::Any, self.about).inert(self.why)
    }

    const fn list(&self, name: &'static str, default: &'static str) -> ConfigDef {
        ConfigDef::list(name, default, Check::Any, self.about).inert(self.why)
    }
}

const SHARE: Group = Group { about: "Of share groups (KIP-932).", why: "there are no share groups" };
const STREAMS: Group = Group {
    about: "Of groups of the streams protocol (KIP-1071).",
    why: "there are no groups of the streams protocol",
};
const COORDINATORS: Group = Group {
    about: "Of the coordinators of groups and transactions.",
    why: "a coordinator writes each batch at once, keeps its timers exactly, and always serves the classic and the consumer protocol",
};
const QUORUM: Group = Group {
    about: "Of KRaft: brokers among each other and their metadata.",
    why: "there is one node, and its metadata is no log",
};
const QUOTAS: Group =
    Group { about: "How quotas are measured.", why: "rates are always those of eleven windows of a second" };
const REPLICATION: Group = Group { about: "Of replication.", why: "a node alone replicates nothing" };
const TIER: Group = Group { about: "Of tiered storage.", why: "its work has limits of its own" };
const CLEANER: Group =
    Group { about: "Of compaction.", why: "compaction has one thread and a memory budget of its own" };
const FLUSHES: Group = Group {
    about: "Of flushes and checkpoints.",
    why: "flushes follow --durability, and checkpoints what they are about",
};
const METRICS: Group = Group { about: "Of metrics.", why: "metrics are at /metrics of the HTTP port" };
const WAITING: Group =
    Group { about: "Of requests that wait.", why: "a request that is answered is forgotten at once" };
const THREADS: Group = Group { about: "Of threads.", why: "threads follow the machine's cores" };
const NETWORK: Group = Group {
    about: "Of connections and their queues.",
    why: "requests have memory budgets and the system sizes its buffers",
};

/// Every one of them, by groups.
pub static INERT_BROKER_CONFIGS: &[ConfigDef] = &[
    SHARE.int("group.share.assignment.interval.ms", "1000", 0).dynamic(),
    SHARE.list("group.share.assignors", "simple"),
    SHARE.int("group.share.delivery.count.limit", "5", 2).checked(Check::Range(2, 10)),
    SHARE.int("group.share.heartbeat.interval.ms", "5000", 1),
    SHARE.int("group.share.max.assignment.interval.ms", "15000", 0),
    SHARE.int("group.share.max.delivery.count.limit", "10", 5).checked(Check::Range(5, 25)),
    SHARE.int("group.share.max.heartbeat.interval.ms", "15000", 1),
    SHARE.int("group.share.max.partition.max.record.locks", "4000", 2000).checked(Check::Range(2000, 10_000)),
    SHARE.int("group.share.max.record.lock.duration.ms", "60000", 30_000).checked(Check::Range(30000, 3_600_000)),
    SHARE.int("group.share.max.session.timeout.ms", "60000", 1),
    SHARE.int("group.share.max.share.sessions", "2000", 1),
    SHARE.int("group.share.max.size", "200", 1).checked(Check::Range(1, 1_000)),
    SHARE.int("group.share.min.assignment.interval.ms", "0", 0),
    SHARE.int("group.share.min.delivery.count.limit", "2", 2).checked(Check::Range(2, 5)),
    SHARE.int("group.share.min.heartbeat.interval.ms", "5000", 1),
    SHARE.int("group.share.min.partition.max.record.locks", "100", 100).checked(Check::Range(100, 2_000)),
    SHARE.int("group.share.min.record.lock.duration.ms", "15000", 1000).checked(Check::Range(1000, 30_000)),
    SHARE.int("group.share.min.session.timeout.ms", "45000", 1),
    SHARE.int("group.share.partition.max.record.locks", "2000", 100).checked(Check::Range(100, 10_000)),
    SHARE.int("group.share.record.lock.duration.ms", "30000", 1000).checked(Check::Range(1000, 3_600_000)),
    SHARE.int("group.share.session.timeout.ms", "45000", 1),
    SHARE.int("share.coordinator.append.linger.ms", "-1", -1),
    SHARE.int("share.coordinator.cached.buffer.max.bytes", "1048588", 524_288).dynamic(),
    SHARE.int("share.coordinator.load.buffer.size", "5242880", 1),
    SHARE.int("share.coordinator.snapshot.update.records.per.snapshot", "500", 0).checked(Check::Range(0, 500)),
    SHARE.int("share.coordinator.state.topic.compression.codec", "0", ANY_INT),
    SHARE.short("share.coordinator.state.topic.min.isr", "2", 1),
    SHARE.int("share.coordinator.state.topic.num.partitions", "50", 1),
    SHARE.short("share.coordinator.state.topic.replication.factor", "3", 1),
    SHARE.int("share.coordinator.state.topic.segment.bytes", "104857600", 1),
    SHARE.int("share.coordinator.threads", "1", 1),
    SHARE.int("share.coordinator.write.timeout.ms", "5000", 1),
    SHARE.int("share.fetch.purgatory.purge.interval.requests", "1000", ANY_INT),
    STREAMS.int("group.streams.assignment.interval.ms", "1000", 0).dynamic(),
    STREAMS.int("group.streams.heartbeat.interval.ms", "5000", 1),
    STREAMS.int("group.streams.initial.rebalance.delay.ms", "3000", 0),
    STREAMS.int("group.streams.max.assignment.interval.ms", "15000", 0),
    STREAMS.int("group.streams.max.heartbeat.interval.ms", "15000", 1),
    STREAMS.int("group.streams.max.session.timeout.ms", "60000", 1),
    STREAMS.int("group.streams.max.size", "2147483647", 1),
    STREAMS.int("group.streams.max.standby.replicas", "2", 0),
    STREAMS.int("group.streams.min.assignment.interval.ms", "0", 0),
    STREAMS.int("group.streams.min.heartbeat.interval.ms", "5000", 1),
    STREAMS.int("group.streams.min.session.timeout.ms", "45000", 1),
    STREAMS.int("group.streams.num.standby.replicas", "0", 0),
    STREAMS.int("group.streams.session.timeout.ms", "45000", 1),
    COORDINATORS.int("add.partitions.to.txn.retry.backoff.max.ms", "100", 0),
    COORDINATORS.int("add.partitions.to.txn.retry.backoff.ms", "20", 1),
    COORDINATORS.int("group.coordinator.append.linger.ms", "-1", -1),
    COORDINATORS.int("group.coordinator.background.threads", "2", 1),
    COORDINATORS.int("group.coordinator.cached.buffer.max.bytes", "1048588", 524_288).dynamic(),
    COORDINATORS
        .list("group.coordinator.rebalance.protocols", "classic,consumer,streams")
        .checked(Check::EachOneOf(&["consumer", "classic", "share", "streams"])),
    COORDINATORS.int("group.coordinator.threads", "4", 1),
    COORDINATORS.int("offsets.commit.timeout.ms", "5000", 1),
    COORDINATORS.int("offsets.load.buffer.size", "5242880", 1),
    COORDINATORS.int("transaction.abort.timed.out.transaction.cleanup.interval.ms", "10000", 1),
    COORDINATORS.int("transaction.state.log.load.buffer.size", "5242880", 1),
    QUORUM.int("broker.heartbeat.interval.ms", "2000", ANY_INT),
    QUORUM.int("broker.session.timeout.ms", "9000", ANY_INT),
    QUORUM.int("controller.quorum.append.linger.ms", "25", 0),
    QUORUM.int("controller.quorum.election.backoff.max.ms", "1000", 0),
    QUORUM.int("controller.quorum.election.timeout.ms", "1000", 0),
    QUORUM.int("controller.quorum.fetch.max.bytes", "1048576", 1),
    QUORUM.int("controller.quorum.fetch.snapshot.max.bytes", "1048576", 1),
    QUORUM.int("controller.quorum.fetch.timeout.ms", "2000", 0),
    QUORUM.int("controller.quorum.request.timeout.ms", "2000", 0),
    QUORUM.int("controller.quorum.retry.backoff.ms", "20", 0),
    QUORUM.int("controller.socket.timeout.ms", "30000", ANY_INT),
    QUORUM.int("initial.broker.registration.timeout.ms", "60000", ANY_INT),
    QUORUM.long("metadata.log.max.record.bytes.between.snapshots", "20971520", 1),
    QUORUM.long("metadata.log.max.snapshot.interval.ms", "3600000", 0),
    QUORUM.int("metadata.log.segment.bytes", "1073741824", 8_388_608),
    QUORUM.long("metadata.log.segment.ms", "604800000", ANY_LONG),
    QUORUM.int("metadata.max.idle.interval.ms", "500", 0),
    QUORUM.long("metadata.max.retention.bytes", "104857600", ANY_LONG),
    QUORUM.long("metadata.max.retention.ms", "604800000", ANY_LONG),
    QUOTAS.int("controller.quota.window.num", "11", 1),
    QUOTAS.int("controller.quota.window.size.seconds", "1", 1),
    QUOTAS.int("quota.window.num", "11", 1),
    QUOTAS.int("quota.window.size.seconds", "1", 1),
    QUOTAS.int("remote.log.manager.copy.quota.window.num", "11", 1),
    QUOTAS.int("remote.log.manager.copy.quota.window.size.seconds", "1", 1),
    QUOTAS.int("remote.log.manager.fetch.quota.window.num", "11", 1),
    QUOTAS.int("remote.log.manager.fetch.quota.window.size.seconds", "1", 1),
    REPLICATION.int("alter.log.dirs.replication.quota.window.num", "11", 1),
    REPLICATION.int("alter.log.dirs.replication.quota.window.size.seconds", "1", 1),
    REPLICATION.boolean("follower.fetch.last.tiered.offset.enable", "false").dynamic(),
    REPLICATION.long("leader.imbalance.check.interval.seconds", "300", 1),
    REPLICATION.int("num.replica.alter.log.dirs.threads", "", ANY_INT).unset(),
    REPLICATION.int("num.replica.fetchers", "1", 1).dynamic(),
    REPLICATION.int("replica.fetch.backoff.ms", "1000", 0),
    REPLICATION.int("replica.fetch.max.bytes", "1048576", 0),
    REPLICATION.int("replica.fetch.min.bytes", "1", ANY_INT),
    REPLICATION.int("replica.fetch.response.max.bytes", "10485760", 0),
    REPLICATION.int("replica.fetch.wait.max.ms", "500", ANY_INT),
    REPLICATION.long("replica.high.watermark.checkpoint.interval.ms", "5000", ANY_LONG),
    REPLICATION.long("replica.lag.time.max.ms", "30000", ANY_LONG),
    REPLICATION.text("replica.selector.class", "").unset(),
    REPLICATION.int("replica.socket.receive.buffer.bytes", "65536", ANY_INT),
    REPLICATION.int("replica.socket.timeout.ms", "30000", ANY_INT),
    REPLICATION.int("replication.quota.window.num", "11", 1),
    REPLICATION.int("replication.quota.window.size.seconds", "1", 1),
    REPLICATION.int("request.timeout.ms", "30000", ANY_INT),
    TIER.long("remote.list.offsets.request.timeout.ms", "30000", 1).dynamic(),
    TIER.long("remote.log.index.file.cache.total.size.bytes", "1073741824", 1).dynamic(),
    TIER.int("remote.log.manager.copier.thread.pool.size", "10", 1).dynamic(),
    TIER.long("remote.log.manager.copy.max.bytes.per.second", NEVER, 1).dynamic(),
    TIER.int("remote.log.manager.expiration.thread.pool.size", "10", 1).dynamic(),
    TIER.long("remote.log.manager.fetch.max.bytes.per.second", NEVER, 1).dynamic(),
    TIER.int("remote.log.manager.follower.thread.pool.size", "2", 1).dynamic(),
    TIER.long("remote.log.manager.task.interval.ms", "30000", 1),
    TIER.int("remote.log.manager.thread.pool.size", "2", 1),
    TIER.int("remote.log.reader.max.pending.tasks", "100", 1),
    TIER.int("remote.log.reader.threads", "10", 1).dynamic(),
    CLEANER.long("log.cleaner.dedupe.buffer.size", "134217728", ANY_LONG).dynamic(),
    CLEANER.double("log.cleaner.io.buffer.load.factor", "0.9").dynamic(),
    CLEANER.int("log.cleaner.io.buffer.size", "524288", 0).dynamic(),
    CLEANER.double("log.cleaner.io.max.bytes.per.second", "1.7976931348623157E308").dynamic(),
    CLEANER.int("log.cleaner.threads", "1", 0).dynamic(),
    FLUSHES.long("log.dir.failure.timeout.ms", "30000", 1),
    FLUSHES.int("log.flush.offset.checkpoint.interval.ms", "60000", 0),
    FLUSHES.long("log.flush.scheduler.interval.ms", NEVER, ANY_LONG),
    FLUSHES.int("log.flush.start.offset.checkpoint.interval.ms", "60000", 0),
    METRICS.int("kafka.metrics.polling.interval.secs", "10", 1),
    METRICS.list("kafka.metrics.reporters", ""),
    METRICS.list("metric.reporters", "org.apache.kafka.common.metrics.JmxReporter").dynamic(),
    METRICS.int("metrics.num.samples", "2", 1),
    METRICS.text("metrics.recording.level", "INFO"),
    METRICS.long("metrics.sample.window.ms", "30000", 1),
    METRICS.int("telemetry.max.bytes", "1048576", 1),
    WAITING.int("delete.records.purgatory.purge.interval.requests", "1", ANY_INT),
    WAITING.int("fetch.purgatory.purge.interval.requests", "1000", ANY_INT),
    WAITING.int("producer.purgatory.purge.interval.requests", "1000", ANY_INT),
    THREADS.int("background.threads", "10", 1).dynamic(),
    THREADS.int("num.io.threads", "8", 1).dynamic(),
    THREADS.int("num.network.threads", "3", 1).dynamic(),
    THREADS.int("num.recovery.threads.per.data.dir", "2", 1).dynamic(),
    NETWORK.int("max.request.partition.size.limit", "2000", 1),
    NETWORK.long("queued.max.request.bytes", "-1", ANY_LONG),
    NETWORK.int("queued.max.requests", "500", 1),
    NETWORK.long("socket.connection.setup.timeout.max.ms", "30000", ANY_LONG),
    NETWORK.long("socket.connection.setup.timeout.ms", "10000", ANY_LONG),
    NETWORK.int("socket.listen.backlog.size", "50", 1),
    NETWORK.int("socket.receive.buffer.bytes", "102400", ANY_INT),
    NETWORK.int("socket.send.buffer.bytes", "102400", ANY_INT),
];
