//! ListPartitionReassignments (key 46): the reassignments that are under way (KIP-455).

use crate::Str;
use crate::describe::{api, message, structure};

api!(46, ListPartitionReassignmentsRequest => ListPartitionReassignmentsResponse);

message! {
    /// Which reassignments.
    ListPartitionReassignmentsRequest, versions(0, 0), flexible(0) {
        /// How long to wait, milliseconds.
        timeout_ms: i32 = 60_000, since(0);
        /// The partitions, or null for all.
        topics: Option<Vec<ListReassignmentsTopic>> = None, since(0).null(0);
    }
}

structure! {
    /// One topic's partitions.
    ListReassignmentsTopic {
        /// The topic.
        name: Str, since(0);
        /// The partitions' numbers.
        partition_indexes: Vec<i32>, since(0);
    }
}

message! {
    /// The reassignments.
    ListPartitionReassignmentsResponse, versions(0, 0), flexible(0) {
        /// How long the client was throttled, milliseconds.
        throttle_time_ms: i32, since(0);
        /// The error, or 0.
        error_code: i16, since(0);
        /// What was wrong.
        error_message: Option<Str> = Some(Str::EMPTY), since(0).null(0);
        /// The reassignments by topic.
        topics: Vec<OngoingTopicReassignment>, since(0);
    }
}

structure! {
    /// One topic's reassignments.
    OngoingTopicReassignment {
        /// The topic.
        name: Str, since(0);
        /// The reassignments by partition.
        partitions: Vec<OngoingPartitionReassignment>, since(0);
    }
}

structure! {
    /// One partition's reassignment.
    OngoingPartitionReassignment {
        /// The partition's number.
        partition_index: i32, since(0);
        /// Its replicas.
        replicas: Vec<i32>, since(0);
        /// Those among them that are being added.
        adding_replicas: Vec<i32>, since(0);
        /// Those among them that are being removed.
        removing_replicas: Vec<i32>, since(0);
    }
}
