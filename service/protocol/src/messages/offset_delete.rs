//! OffsetDelete (key 47): forgets positions of a group for topics that it does not read (KIP-496).

use crate::Str;
use crate::describe::{NEVER, api, message, structure};

api!(47, OffsetDeleteRequest => OffsetDeleteResponse);

message! {
    /// Positions to forget.
    OffsetDeleteRequest, versions(0, 0), flexible(NEVER) {
        /// The group.
        group_id: Str, since(0);
        /// The topics.
        topics: Vec<OffsetDeleteRequestTopic>, since(0);
    }
}

structure! {
    /// One topic.
    OffsetDeleteRequestTopic {
        /// Its name.
        name: Str, since(0);
        /// Its partitions.
        partitions: Vec<OffsetDeleteRequestPartition>, since(0);
    }
}

structure! {
    /// One partition.
    OffsetDeleteRequestPartition {
        /// Its number.
        partition_index: i32, since(0);
    }
}

message! {
    /// What became of them.
    OffsetDeleteResponse, versions(0, 0), flexible(NEVER) {
        /// The group's error, or 0.
        error_code: i16, since(0);
        /// How long the client was throttled, milliseconds.
        throttle_time_ms: i32, since(0).ignorable();
        /// The results by topic.
        topics: Vec<OffsetDeleteResponseTopic>, since(0);
    }
}

structure! {
    /// One topic's results.
    OffsetDeleteResponseTopic {
        /// Its name.
        name: Str, since(0);
        /// The results by partition.
        partitions: Vec<OffsetDeleteResponsePartition>, since(0);
    }
}

structure! {
    /// One partition's result.
    OffsetDeleteResponsePartition {
        /// Its number.
        partition_index: i32, since(0);
        /// The error, or 0.
        error_code: i16, since(0);
    }
}
