//! AlterReplicaLogDirs (key 34): moves replicas between a broker's log directories (KIP-113).

use crate::Str;
use crate::describe::{api, message, structure};

api!(34, AlterReplicaLogDirsRequest => AlterReplicaLogDirsResponse);

message! {
    /// Where replicas shall lie.
    AlterReplicaLogDirsRequest, versions(1, 2), flexible(2) {
        /// What shall lie where, by directory.
        dirs: Vec<AlterReplicaLogDir>, since(0);
    }
}

structure! {
    /// One directory and what shall lie in it.
    AlterReplicaLogDir {
        /// The directory's absolute path.
        path: Str, since(0);
        /// What shall lie there, by topic.
        topics: Vec<AlterReplicaLogDirTopic>, since(0);
    }
}

structure! {
    /// One topic.
    AlterReplicaLogDirTopic {
        /// The topic's name.
        name: Str, since(0);
        /// The partitions' numbers.
        partitions: Vec<i32>, since(0);
    }
}

message! {
    /// What came of it.
    AlterReplicaLogDirsResponse, versions(1, 2), flexible(2) {
        /// How long the client was throttled, milliseconds.
        throttle_time_ms: i32, since(0);
        /// The results by topic.
        results: Vec<AlterReplicaLogDirTopicResult>, since(0);
    }
}

structure! {
    /// One topic's results.
    AlterReplicaLogDirTopicResult {
        /// The topic's name.
        topic_name: Str, since(0);
        /// The results by partition.
        partitions: Vec<AlterReplicaLogDirPartitionResult>, since(0);
    }
}

structure! {
    /// One partition's result.
    AlterReplicaLogDirPartitionResult {
        /// The partition's number.
        partition_index: i32, since(0);
        /// The error, or 0.
        error_code: i16, since(0);
    }
}
