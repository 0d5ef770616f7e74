//! ElectLeaders (key 43): asks for elections of partitions' leaders (KIP-183); 1 knows unclean ones (KIP-460).

use crate::Str;
use crate::describe::{api, message, structure};

api!(43, ElectLeadersRequest => ElectLeadersResponse);

message! {
    /// The elections asked for.
    ElectLeadersRequest, versions(0, 2), flexible(2) {
        /// 0: the preferred replica, 1: an unclean one if there is no other.
        election_type: i8, since(1);
        /// The partitions, or null for all.
        topic_partitions: Option<Vec<ElectLeadersTopic>> = Some(Vec::new()), since(0).null(0);
        /// How long to wait for the elections, milliseconds.
        timeout_ms: i32 = 60_000, since(0);
    }
}

structure! {
    /// One topic's partitions.
    ElectLeadersTopic {
        /// The topic.
        topic: Str, since(0);
        /// The partitions' numbers.
        partitions: Vec<i32>, since(0);
    }
}

message! {
    /// What became of them.
    ElectLeadersResponse, versions(0, 2), flexible(2) {
        /// How long the client was throttled, milliseconds.
        throttle_time_ms: i32, since(0);
        /// The error of the whole request, or 0.
        error_code: i16, since(1);
        /// The results by topic.
        replica_election_results: Vec<ReplicaElectionResult>, since(0);
    }
}

structure! {
    /// One topic's results.
    ReplicaElectionResult {
        /// The topic.
        topic: Str, since(0);
        /// The results by partition.
        partition_result: Vec<ElectedPartition>, since(0);
    }
}

structure! {
    /// One partition's result.
    ElectedPartition {
        /// The partition's number.
        partition_id: i32, since(0);
        /// The error, or 0.
        error_code: i16, since(0);
        /// What was wrong.
        error_message: Option<Str> = Some(Str::EMPTY), since(0).null(0);
    }
}
