//! ConsumerGroupDescribe (key 69): groups of the consumer protocol and their members (KIP-848). 1 tells which protocol a
//! member speaks (KIP-1099).

use tidelog_model::TopicId;

use super::NO_AUTHORIZED_OPERATIONS;
use crate::Str;
use crate::describe::{api, message, structure};

api!(69, ConsumerGroupDescribeRequest => ConsumerGroupDescribeResponse);

message! {
    /// Which groups to describe.
    ConsumerGroupDescribeRequest, versions(0, 1), flexible(0) {
        /// The groups.
        group_ids: Vec<Str>, since(0);
        /// Answer with what the caller may do to each (KIP-430).
        include_authorized_operations: bool, since(0);
    }
}

message! {
    /// The groups.
    ConsumerGroupDescribeResponse, versions(0, 1), flexible(0) {
        /// How long the client was throttled, milliseconds.
        throttle_time_ms: i32, since(0);
        /// The groups.
        groups: Vec<DescribedConsumerGroup>, since(0);
    }
}

structure! {
    /// One group.
    DescribedConsumerGroup {
        /// The error, or 0.
        error_code: i16, since(0);
        /// What was wrong.
        error_message: Option<Str> = None, since(0).null(0);
        /// The group.
        group_id: Str, since(0);
        /// Its state, or empty.
        group_state: Str, since(0);
        /// Its epoch.
        group_epoch: i32, since(0);
        /// The epoch of its target assignment.
        assignment_epoch: i32, since(0);
        /// The assignor.
        assignor_name: Str, since(0);
        /// The members.
        members: Vec<ConsumerGroupMember>, since(0);
        /// Bits of what the caller may do to the group.
        authorized_operations: i32 = NO_AUTHORIZED_OPERATIONS, since(0);
    }
}

structure! {
    /// One member.
    ConsumerGroupMember {
        /// Its id.
        member_id: Str, since(0);
        /// The static member's name.
        instance_id: Option<Str> = None, since(0).null(0);
        /// Where it runs.
        rack_id: Option<Str> = None, since(0).null(0);
        /// Its epoch.
        member_epoch: i32, since(0);
        /// The client's own name.
        client_id: Str, since(0);
        /// The client's address.
        client_host: Str, since(0);
        /// The topics that it reads.
        subscribed_topic_names: Vec<Str>, since(0);
        /// The same as a regular expression.
        subscribed_topic_regex: Option<Str> = None, since(0).null(0);
        /// What it owns.
        assignment: ConsumerGroupAssignment, since(0);
        /// What it shall own.
        target_assignment: ConsumerGroupAssignment, since(0);
        /// −1 unknown, 0 the classic protocol, 1 the consumer protocol.
        member_type: i8 = -1, since(1).ignorable();
    }
}

structure! {
    /// Partitions of a member.
    ConsumerGroupAssignment {
        /// By topic.
        topic_partitions: Vec<ConsumerGroupTopicPartitions>, since(0);
    }
}

structure! {
    /// Partitions of one topic.
    ConsumerGroupTopicPartitions {
        /// The topic's id.
        topic_id: TopicId = TopicId::ZERO, since(0);
        /// The topic's name.
        topic_name: Str, since(0);
        /// The partitions.
        partitions: Vec<i32>, since(0);
    }
}
