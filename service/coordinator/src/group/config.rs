//! The groups' settings. They keep Kafka's names; all can change while running.

use std::sync::Arc;
use std::time::Duration;

use super::consumer::Assignor;

/// Which groups may change over to the other protocol while members are in them (`group.consumer.migration.policy`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MigrationPolicy {
    /// A classic group, when a member of the consumer protocol joins.
    pub upgrade: bool,
    /// A group of the consumer protocol, when the last member that speaks it goes.
    pub downgrade: bool,
}

/// Settings of one shard's groups.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GroupConfig {
    /// `group.min.session.timeout.ms`, milliseconds, default 6,000: shorter ones get INVALID_SESSION_TIMEOUT.
    pub min_session_timeout_ms: i32,
    /// `group.max.session.timeout.ms`, milliseconds, default 1,800,000.
    pub max_session_timeout_ms: i32,
    /// `group.initial.rebalance.delay.ms`, default 0 (one node): how long an empty group waits for further members.
    pub initial_rebalance_delay: Duration,
    /// `group.max.size`, members, default no limit but memory; at least 1.
    pub max_size: usize,
    /// `offset.metadata.max.bytes`, bytes, default 4,096: longer notes get OFFSET_METADATA_TOO_LARGE.
    pub offset_metadata_max_bytes: usize,
    /// `offsets.retention.minutes` as a duration, default 7 days: how long offsets outlive their group's last member
    /// (or, outside of group management, their commit).
    pub offsets_retention: Duration,
    /// `offsets.retention.check.interval.ms`, default 10 minutes.
    pub offsets_retention_check_interval: Duration,
    /// `group.consumer.session.timeout.ms`, milliseconds, default 45,000: a silent member of the consumer protocol is removed.
    pub consumer_session_timeout_ms: i32,
    /// `group.consumer.heartbeat.interval.ms`, milliseconds, default 5,000: how often members of the consumer protocol report.
    pub consumer_heartbeat_interval_ms: i32,
    /// `group.consumer.assignment.interval.ms`, milliseconds, default 1,000: how much time lies between two target assignments of a group of
    /// the consumer protocol at least.
    pub consumer_assignment_interval_ms: i32,
    /// `group.consumer.assignors`, default all: those that members may ask for; the first is that of groups that ask for none.
    pub assignors: Arc<[Assignor]>,
    /// `group.consumer.max.size`, members, default no limit but memory.
    pub consumer_max_size: usize,
    /// `group.consumer.migration.policy`, default both ways.
    pub migration: MigrationPolicy,
}

/// What one group sets of its own, milliseconds; `None` for the shard's setting.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct OwnTimes {
    /// `consumer.session.timeout.ms`
    pub session_timeout_ms: Option<i32>,
    /// `consumer.heartbeat.interval.ms`
    pub heartbeat_interval_ms: Option<i32>,
    /// `consumer.assignment.interval.ms`
    pub assignment_interval_ms: Option<i32>,
}

impl GroupConfig {
    /// The settings as they hold for a group that sets these.
    pub(crate) fn with(&self, own: OwnTimes) -> Self {
        GroupConfig {
            consumer_session_timeout_ms: own.session_timeout_ms.unwrap_or(self.consumer_session_timeout_ms),
            consumer_heartbeat_interval_ms: own.heartbeat_interval_ms.unwrap_or(self.consumer_heartbeat_interval_ms),
            consumer_assignment_interval_ms: own.assignment_interval_ms.unwrap_or(self.consumer_assignment_interval_ms),
            ..self.clone()
        }
    }
}

impl Default for GroupConfig {
    fn default() -> Self {
        GroupConfig {
            min_session_timeout_ms: 6_000,
            max_session_timeout_ms: 1_800_000,
            initial_rebalance_delay: Duration::ZERO,
            max_size: i32::MAX as usize,
            offset_metadata_max_bytes: 4_096,
            offsets_retention: Duration::from_secs(7 * 24 * 60 * 60),
            offsets_retention_check_interval: Duration::from_secs(600),
            consumer_session_timeout_ms: 45_000,
            consumer_heartbeat_interval_ms: 5_000,
            consumer_assignment_interval_ms: 1_000,
            assignors: Arc::new(Assignor::ALL),
            consumer_max_size: i32::MAX as usize,
            migration: MigrationPolicy { upgrade: true, downgrade: true },
        }
    }
}
