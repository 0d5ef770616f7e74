//! DeleteRecords (key 21): moves partitions' first offsets (KIP-107).

use crate::Str;
use crate::describe::{api, message, structure};

api!(21, DeleteRecordsRequest => DeleteRecordsResponse);

message! {
    /// What to delete.
    DeleteRecordsRequest, versions(0, 2), flexible(2) {
        /// What to delete, by topic.
        topics: Vec<DeleteRecordsTopic>, since(0);
        /// How long to wait for it, milliseconds.
        timeout_ms: i32, since(0);
    }
}

structure! {
    /// One topic.
    DeleteRecordsTopic {
        /// The topic's name.
        name: Str, since(0);
        /// What to delete, by partition.
        partitions: Vec<DeleteRecordsPartition>, since(0);
    }
}

structure! {
    /// One partition.
    DeleteRecordsPartition {
        /// The partition's number.
        partition_index: i32, since(0);
        /// Records before this offset go; −1 is the high watermark.
        offset: i64, since(0);
    }
}

message! {
    /// What is left.
    DeleteRecordsResponse, versions(0, 2), flexible(2) {
        /// How long the client was throttled, milliseconds.
        throttle_time_ms: i32, since(0);
        /// The results by topic.
        topics: Vec<DeleteRecordsTopicResult>, since(0);
    }
}

structure! {
    /// One topic's results.
    DeleteRecordsTopicResult {
        /// The topic's name.
        name: Str, since(0);
        /// The results by partition.
        partitions: Vec<DeleteRecordsPartitionResult>, since(0);
    }
}

structure! {
    /// One partition's result.
    DeleteRecordsPartitionResult {
        /// The partition's number.
        partition_index: i32, since(0);
        /// The new first offset.
        low_watermark: i64, since(0);
        /// The error, or 0.
        error_code: i16, since(0);
    }
}
