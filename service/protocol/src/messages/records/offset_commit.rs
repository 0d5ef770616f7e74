//! A group's position in one partition, as `__consumer_offsets` stores it.

use tidelog_model::TopicId;

use crate::Str;
use crate::describe::{NEVER, message};

/// The key type that Kafka 4.3 writes; 0 is read the same way.
pub const OFFSET_COMMIT_KEY_VERSION: i16 = 1;

/// The value version that Kafka 4.3 writes.
pub const OFFSET_COMMIT_VALUE_VERSION: i16 = 4;

message! {
    /// Key, types 0 and 1.
    OffsetCommitKey, versions(0, 1), flexible(NEVER) {
        /// The group.
        group: Str, since(0);
        /// The topic's name.
        topic: Str, since(0);
        /// The partition's number.
        partition: i32, since(0);
    }
}

message! {
    /// Value; without one the position is gone.
    OffsetCommitValue, versions(0, 4), flexible(4) {
        /// The offset of the next record to read.
        offset: i64, since(0);
        /// The leader epoch of the last record read, or −1.
        leader_epoch: i32 = -1, since(3).ignorable();
        /// What the client kept with the position.
        metadata: Str, since(0);
        /// When it was committed, milliseconds since 1970.
        commit_timestamp: i64, since(0);
        /// When it expires, milliseconds since 1970, or −1; version 1 only.
        expire_timestamp: i64 = -1, between(1, 1).ignorable();
        /// The topic's id, if known; a position outlives no re-creation of its topic.
        topic_id: TopicId = TopicId::ZERO, since(4).tag(0).ignorable();
    }
}
