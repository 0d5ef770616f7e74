//! OffsetFetch (key 9): reads groups' positions. Up to 7 one group, from 8 several (KIP-709); 9 admits members of the
//! consumer protocol (KIP-848), 10 names topics by id.

use tidelog_model::TopicId;

use crate::Str;
use crate::describe::{api, message, structure};

api!(9, OffsetFetchRequest => OffsetFetchResponse);

message! {
    /// Whose positions to read.
    OffsetFetchRequest, versions(1, 10), flexible(6) {
        /// The group, up to version 7.
        group_id: Str, between(0, 7);
        /// Its topics, up to version 7; null is all.
        topics: Option<Vec<OffsetFetchRequestTopic>> = Some(Vec::new()), between(0, 7).null(2);
        /// The groups, from version 8.
        groups: Vec<OffsetFetchRequestGroup>, since(8);
        /// Answer UNSTABLE_OFFSET_COMMIT while a transaction is about to move a position (KIP-447).
        require_stable: bool, since(7);
    }
}

structure! {
    /// One topic, up to version 7.
    OffsetFetchRequestTopic {
        /// The topic's name.
        name: Str, since(0);
        /// The partitions' numbers.
        partition_indexes: Vec<i32>, since(0);
    }
}

structure! {
    /// One group, from version 8.
    OffsetFetchRequestGroup {
        /// The group.
        group_id: Str, since(8);
        /// The member, or null.
        member_id: Option<Str> = None, since(9).null(9).ignorable();
        /// The member's epoch, or −1.
        member_epoch: i32 = -1, since(9).ignorable();
        /// The topics; null is all.
        topics: Option<Vec<OffsetFetchRequestTopics>> = Some(Vec::new()), since(8).null(8);
    }
}

structure! {
    /// One topic, from version 8.
    OffsetFetchRequestTopics {
        /// The topic's name.
        name: Str, between(8, 9).ignorable();
        /// The topic's id.
        topic_id: TopicId = TopicId::ZERO, since(10).ignorable();
        /// The partitions' numbers.
        partition_indexes: Vec<i32>, since(8);
    }
}

message! {
    /// The positions.
    OffsetFetchResponse, versions(1, 10), flexible(6) {
        /// How long the client was throttled, milliseconds.
        throttle_time_ms: i32, since(3).ignorable();
        /// The positions by topic, up to version 7.
        topics: Vec<OffsetFetchResponseTopic>, between(0, 7);
        /// An error of the group, or 0; up to version 7.
        error_code: i16, between(2, 7).ignorable();
        /// The groups, from version 8.
        groups: Vec<OffsetFetchResponseGroup>, since(8);
    }
}

structure! {
    /// One topic's positions, up to version 7.
    OffsetFetchResponseTopic {
        /// The topic's name.
        name: Str, since(0);
        /// The positions by partition.
        partitions: Vec<OffsetFetchResponsePartition>, since(0);
    }
}

structure! {
    /// One partition's position, up to version 7.
    OffsetFetchResponsePartition {
        /// The partition's number.
        partition_index: i32, since(0);
        /// The offset of the next record to read, or −1.
        committed_offset: i64, since(0);
        /// The leader epoch of the last record read, or −1.
        committed_leader_epoch: i32 = -1, since(5).ignorable();
        /// What the client kept with the position.
        metadata: Option<Str> = Some(Str::EMPTY), since(0).null(0);
        /// The error, or 0.
        error_code: i16, since(0);
    }
}

structure! {
    /// One group's positions, from version 8.
    OffsetFetchResponseGroup {
        /// The group.
        group_id: Str, since(8);
        /// The positions by topic.
        topics: Vec<OffsetFetchResponseTopics>, since(8);
        /// An error of the group, or 0.
        error_code: i16, since(8);
    }
}

structure! {
    /// One topic's positions, from version 8.
    OffsetFetchResponseTopics {
        /// The topic's name.
        name: Str, between(8, 9).ignorable();
        /// The topic's id.
        topic_id: TopicId = TopicId::ZERO, since(10).ignorable();
        /// The positions by partition.
        partitions: Vec<OffsetFetchResponsePartitions>, since(8);
    }
}

structure! {
    /// One partition's position, from version 8.
    OffsetFetchResponsePartitions {
        /// The partition's number.
        partition_index: i32, since(8);
        /// The offset of the next record to read, or −1.
        committed_offset: i64, since(8);
        /// The leader epoch of the last record read, or −1.
        committed_leader_epoch: i32 = -1, since(8).ignorable();
        /// What the client kept with the position.
        metadata: Option<Str> = Some(Str::EMPTY), since(8).null(8);
        /// The error, or 0.
        error_code: i16, since(8);
    }
}
