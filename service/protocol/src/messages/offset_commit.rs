//! OffsetCommit (key 8): stores a group's positions. 9 admits members of the consumer protocol (KIP-848), 10 names
//! topics by id.

use tidelog_model::TopicId;

use crate::Str;
use crate::describe::{api, message, structure};

api!(8, OffsetCommitRequest => OffsetCommitResponse);

message! {
    /// Positions to store.
    OffsetCommitRequest, versions(2, 10), flexible(8) {
        /// The group.
        group_id: Str, since(0);
        /// The generation, the member's epoch in the consumer protocol, or −1 outside of a membership.
        generation_id_or_member_epoch: i32 = -1, since(1).ignorable();
        /// The member.
        member_id: Str, since(1).ignorable();
        /// The static member's name (KIP-345).
        group_instance_id: Option<Str> = None, since(7).null(7);
        /// How long to keep the positions, milliseconds; −1 is the server's default.
        retention_time_ms: i64 = -1, between(2, 4).ignorable();
        /// The positions by topic.
        topics: Vec<OffsetCommitRequestTopic>, since(0);
    }
}

structure! {
    /// One topic's positions.
    OffsetCommitRequestTopic {
        /// The topic's name.
        name: Str, between(0, 9).ignorable();
        /// The topic's id.
        topic_id: TopicId = TopicId::ZERO, since(10).ignorable();
        /// The positions by partition.
        partitions: Vec<OffsetCommitRequestPartition>, since(0);
    }
}

structure! {
    /// One partition's position.
    OffsetCommitRequestPartition {
        /// The partition's number.
        partition_index: i32, since(0);
        /// The offset of the next record to read.
        committed_offset: i64, since(0);
        /// The leader epoch of the last record read, or −1 (KIP-320).
        committed_leader_epoch: i32 = -1, since(6).ignorable();
        /// Whatever the client wants to keep with the position.
        committed_metadata: Option<Str> = Some(Str::EMPTY), since(0).null(0);
    }
}

message! {
    /// What became of the positions.
    OffsetCommitResponse, versions(2, 10), flexible(8) {
        /// How long the client was throttled, milliseconds.
        throttle_time_ms: i32, since(3).ignorable();
        /// The results by topic.
        topics: Vec<OffsetCommitResponseTopic>, since(0);
    }
}

structure! {
    /// One topic's results.
    OffsetCommitResponseTopic {
        /// The topic's name.
        name: Str, between(0, 9).ignorable();
        /// The topic's id.
        topic_id: TopicId = TopicId::ZERO, since(10).ignorable();
        /// The results by partition.
        partitions: Vec<OffsetCommitResponsePartition>, since(0);
    }
}

structure! {
    /// One partition's result.
    OffsetCommitResponsePartition {
        /// The partition's number.
        partition_index: i32, since(0);
        /// The error, or 0.
        error_code: i16, since(0);
    }
}
