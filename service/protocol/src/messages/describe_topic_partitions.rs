//! DescribeTopicPartitions (key 75): topics page by page (KIP-966).

use tidelog_model::TopicId;

use super::NO_AUTHORIZED_OPERATIONS;
use crate::Str;
use crate::describe::{api, message, structure};

api!(75, DescribeTopicPartitionsRequest => DescribeTopicPartitionsResponse);

message! {
    /// What to describe.
    DescribeTopicPartitionsRequest, versions(0, 0), flexible(0) {
        /// The topics; none for all.
        topics: Vec<DescribeTopicPartitionsTopic>, since(0);
        /// Most partitions of the answer.
        response_partition_limit: i32 = 2000, since(0);
        /// Where the page begins; null for the first page.
        cursor: Option<TopicPartitionCursor> = None, since(0).null(0);
    }
}

structure! {
    /// One topic to describe.
    DescribeTopicPartitionsTopic {
        /// The topic's name.
        name: Str, since(0);
    }
}

structure! {
    /// The first partition of a page.
    TopicPartitionCursor {
        /// The topic's name.
        topic_name: Str, since(0);
        /// The partition's number.
        partition_index: i32, since(0);
    }
}

message! {
    /// One page.
    DescribeTopicPartitionsResponse, versions(0, 0), flexible(0) {
        /// How long the client was throttled, milliseconds.
        throttle_time_ms: i32, since(0).ignorable();
        /// The topics.
        topics: Vec<DescribeTopicPartitionsTopicResponse>, since(0);
        /// Where the next page begins; null if this is the last one.
        next_cursor: Option<TopicPartitionCursor> = None, since(0).null(0);
    }
}

structure! {
    /// One topic.
    DescribeTopicPartitionsTopicResponse {
        /// The topic's error, or 0.
        error_code: i16, since(0);
        /// Its name.
        name: Option<Str> = Some(Str::EMPTY), since(0).null(0);
        /// Its id.
        topic_id: TopicId = TopicId::ZERO, since(0);
        /// Written only by the service itself?
        is_internal: bool, since(0);
        /// Its partitions, as many as the page has room for.
        partitions: Vec<DescribeTopicPartitionsPartition>, since(0);
        /// Bits of what the caller may do to the topic (KIP-430).
        topic_authorized_operations: i32 = NO_AUTHORIZED_OPERATIONS, since(0);
    }
}

structure! {
    /// One partition.
    DescribeTopicPartitionsPartition {
        /// The partition's error, or 0.
        error_code: i16, since(0);
        /// The partition's number.
        partition_index: i32, since(0);
        /// The leader, or −1.
        leader_id: i32, since(0);
        /// The leader's epoch.
        leader_epoch: i32 = -1, since(0).ignorable();
        /// All replicas.
        replica_nodes: Vec<i32>, since(0);
        /// The replicas in sync.
        isr_nodes: Vec<i32>, since(0);
        /// Replicas that may be elected though they left the ISR, or null.
        eligible_leader_replicas: Option<Vec<i32>> = None, since(0).null(0);
        /// The last such replicas, or null.
        last_known_elr: Option<Vec<i32>> = None, since(0).null(0);
        /// Replicas whose broker or directory is offline.
        offline_replicas: Vec<i32>, since(0);
    }
}
