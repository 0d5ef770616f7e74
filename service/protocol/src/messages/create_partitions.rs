//! CreatePartitions (key 37): more partitions for existing topics (KIP-195).

use crate::Str;
use crate::describe::{api, message, structure};

api!(37, CreatePartitionsRequest => CreatePartitionsResponse);

message! {
    /// The topics that grow.
    CreatePartitionsRequest, versions(0, 3), flexible(2) {
        /// The topics.
        topics: Vec<CreatePartitionsTopic>, since(0);
        /// How long to wait for it, milliseconds.
        timeout_ms: i32, since(0);
        /// Only check them.
        validate_only: bool, since(0);
    }
}

structure! {
    /// One topic that grows.
    CreatePartitionsTopic {
        /// Its name.
        name: Str, since(0);
        /// How many partitions it is to have.
        count: i32, since(0);
        /// The new partitions' brokers; null leaves it to the server.
        assignments: Option<Vec<CreatePartitionsAssignment>> = Some(Vec::new()), since(0).null(0);
    }
}

structure! {
    /// One new partition's brokers.
    CreatePartitionsAssignment {
        /// The brokers, the preferred leader first.
        broker_ids: Vec<i32>, since(0);
    }
}

message! {
    /// What became of them.
    CreatePartitionsResponse, versions(0, 3), flexible(2) {
        /// How long the client was throttled, milliseconds.
        throttle_time_ms: i32, since(0);
        /// The results by topic.
        results: Vec<CreatePartitionsTopicResult>, since(0);
    }
}

structure! {
    /// One topic's result.
    CreatePartitionsTopicResult {
        /// Its name.
        name: Str, since(0);
        /// The error, or 0.
        error_code: i16, since(0);
        /// What was wrong.
        error_message: Option<Str> = None, since(0).null(0);
    }
}
