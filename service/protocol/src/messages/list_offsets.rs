//! ListOffsets (key 2): offsets by time, or by position for negative times. 10 waits for the cold tier (KIP-1075), 11
//! knows the earliest offset that is not uploaded yet (KIP-1023).

use crate::Str;
use crate::describe::{api, message, structure};

api!(2, ListOffsetsRequest => ListOffsetsResponse);

message! {
    /// Which offsets to look up.
    ListOffsetsRequest, versions(1, 11), flexible(6) {
        /// The follower's number, −1 for consumers.
        replica_id: i32, since(0);
        /// 0: the end is the high watermark, 1: the last stable offset (KIP-98).
        isolation_level: i8, since(2);
        /// What to look up, by topic.
        topics: Vec<ListOffsetsTopic>, since(0);
        /// How long to wait for the cold tier, milliseconds.
        timeout_ms: i32, since(10).ignorable();
    }
}

structure! {
    /// One topic to look up.
    ListOffsetsTopic {
        /// The topic's name.
        name: Str, since(0);
        /// What to look up, by partition.
        partitions: Vec<ListOffsetsPartition>, since(0);
    }
}

structure! {
    /// One partition to look up.
    ListOffsetsPartition {
        /// The partition's number.
        partition_index: i32, since(0);
        /// The leader epoch that the client knows, or −1 (KIP-320).
        current_leader_epoch: i32 = -1, since(4).ignorable();
        /// A time in milliseconds, or −1 latest, −2 earliest, −3 largest timestamp (KIP-734), −4 earliest local
        /// (KIP-405), −5 latest tiered (KIP-1005), −6 earliest not yet uploaded (KIP-1023).
        timestamp: i64, since(0);
    }
}

message! {
    /// The offsets found.
    ListOffsetsResponse, versions(1, 11), flexible(6) {
        /// How long the client was throttled, milliseconds.
        throttle_time_ms: i32, since(2).ignorable();
        /// The answers by topic.
        topics: Vec<ListOffsetsTopicResponse>, since(0);
    }
}

structure! {
    /// One topic's answers.
    ListOffsetsTopicResponse {
        /// The topic's name.
        name: Str, since(0);
        /// The answers by partition.
        partitions: Vec<ListOffsetsPartitionResponse>, since(0);
    }
}

structure! {
    /// One partition's answer.
    ListOffsetsPartitionResponse {
        /// The partition's number.
        partition_index: i32, since(0);
        /// The error, or 0.
        error_code: i16, since(0);
        /// The timestamp of the record found, or −1.
        timestamp: i64 = -1, since(1);
        /// The offset found, or −1.
        offset: i64 = -1, since(1);
        /// The leader epoch of the record found, or −1.
        leader_epoch: i32 = -1, since(4);
    }
}
