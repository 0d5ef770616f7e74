//! ConsumerGroupHeartbeat (key 68): the whole membership of the consumer protocol (KIP-848): joins, reports, learns what is
//! assigned, leaves. 1 subscribes by regular expression and lets clients make their member ids.

use tidelog_model::TopicId;

use crate::Str;
use crate::describe::{api, message, structure};

api!(68, ConsumerGroupHeartbeatRequest => ConsumerGroupHeartbeatResponse);

message! {
    /// A member's report. What is null, or −1, has not changed since the last one.
    ConsumerGroupHeartbeatRequest, versions(0, 1), flexible(0) {
        /// The group.
        group_id: Str, since(0);
        /// The member's id; from version 1 on the client makes it.
        member_id: Str, since(0);
        /// The member's epoch: 0 joins, −1 leaves, −2 leaves for a while (a static member).
        member_epoch: i32, since(0);
        /// The static member's name.
        instance_id: Option<Str> = None, since(0).null(0);
        /// Where the member runs.
        rack_id: Option<Str> = None, since(0).null(0);
        /// How long the member may take to give partitions up, milliseconds.
        rebalance_timeout_ms: i32 = -1, since(0);
        /// The topics that it reads.
        subscribed_topic_names: Option<Vec<Str>> = None, since(0).null(0);
        /// The topics that it reads, as a regular expression.
        subscribed_topic_regex: Option<Str> = None, since(1).null(1);
        /// The server's assignor that it prefers.
        server_assignor: Option<Str> = None, since(0).null(0);
        /// The partitions that it owns.
        topic_partitions: Option<Vec<HeartbeatTopicPartitions>> = None, since(0).null(0);
    }
}

message! {
    /// What the member shall be and own.
    ConsumerGroupHeartbeatResponse, versions(0, 1), flexible(0) {
        /// How long the client was throttled, milliseconds.
        throttle_time_ms: i32, since(0);
        /// The error, or 0.
        error_code: i16, since(0);
        /// What was wrong.
        error_message: Option<Str> = None, since(0).null(0);
        /// The member's id.
        member_id: Option<Str> = None, since(0).null(0);
        /// The member's epoch.
        member_epoch: i32, since(0);
        /// When to report again, milliseconds.
        heartbeat_interval_ms: i32, since(0);
        /// What is assigned; null if nothing has changed.
        assignment: Option<HeartbeatAssignment> = None, since(0).null(0);
    }
}

structure! {
    /// Everything that the member may own now.
    HeartbeatAssignment {
        /// The partitions by topic.
        topic_partitions: Vec<HeartbeatTopicPartitions>, since(0);
    }
}

structure! {
    /// Partitions of one topic.
    HeartbeatTopicPartitions {
        /// The topic.
        topic_id: TopicId = TopicId::ZERO, since(0);
        /// The partitions.
        partitions: Vec<i32>, since(0);
    }
}
