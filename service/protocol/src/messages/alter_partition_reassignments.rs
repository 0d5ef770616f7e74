//! AlterPartitionReassignments (key 45): moves partitions to other brokers, or stops that (KIP-455); 1 can forbid another
//! replication factor (KIP-860).

use crate::Str;
use crate::describe::{api, message, structure};

api!(45, AlterPartitionReassignmentsRequest => AlterPartitionReassignmentsResponse);

message! {
    /// The reassignments.
    AlterPartitionReassignmentsRequest, versions(0, 1), flexible(0) {
        /// How long to wait, milliseconds.
        timeout_ms: i32 = 60_000, since(0);
        /// May a partition get more or fewer replicas than it has?
        allow_replication_factor_change: bool = true, since(1);
        /// The reassignments by topic.
        topics: Vec<ReassignableTopic>, since(0);
    }
}

structure! {
    /// One topic's reassignments.
    ReassignableTopic {
        /// The topic.
        name: Str, since(0);
        /// The reassignments by partition.
        partitions: Vec<ReassignablePartition>, since(0);
    }
}

structure! {
    /// One partition's reassignment.
    ReassignablePartition {
        /// The partition's number.
        partition_index: i32, since(0);
        /// The replicas it shall have; null ends a reassignment that is under way.
        replicas: Option<Vec<i32>> = None, since(0).null(0);
    }
}

message! {
    /// What became of them.
    AlterPartitionReassignmentsResponse, versions(0, 1), flexible(0) {
        /// How long the client was throttled, milliseconds.
        throttle_time_ms: i32, since(0);
        /// As in the request.
        allow_replication_factor_change: bool = true, since(1).ignorable();
        /// The error of the whole request, or 0.
        error_code: i16, since(0);
        /// What was wrong.
        error_message: Option<Str> = Some(Str::EMPTY), since(0).null(0);
        /// The results by topic.
        responses: Vec<ReassignableTopicResponse>, since(0);
    }
}

structure! {
    /// One topic's results.
    ReassignableTopicResponse {
        /// The topic.
        name: Str, since(0);
        /// The results by partition.
        partitions: Vec<ReassignablePartitionResponse>, since(0);
    }
}

structure! {
    /// One partition's result.
    ReassignablePartitionResponse {
        /// The partition's number.
        partition_index: i32, since(0);
        /// The error, or 0.
        error_code: i16, since(0);
        /// What was wrong.
        error_message: Option<Str> = Some(Str::EMPTY), since(0).null(0);
    }
}
