//! OffsetForLeaderEpoch (key 23): where a leader epoch ends, to find where logs diverge (KIP-101, KIP-320).

use crate::Str;
use crate::describe::{api, message, structure};

api!(23, OffsetForLeaderEpochRequest => OffsetForLeaderEpochResponse);

message! {
    /// Which epochs to look up.
    OffsetForLeaderEpochRequest, versions(2, 4), flexible(4) {
        /// The follower's number, −1 for consumers, −2 if unknown.
        replica_id: i32 = -2, since(3).ignorable();
        /// What to look up, by topic.
        topics: Vec<OffsetForLeaderTopic>, since(0);
    }
}

structure! {
    /// One topic to look up.
    OffsetForLeaderTopic {
        /// The topic's name.
        topic: Str, since(0);
        /// What to look up, by partition.
        partitions: Vec<OffsetForLeaderPartition>, since(0);
    }
}

structure! {
    /// One partition to look up.
    OffsetForLeaderPartition {
        /// The partition's number.
        partition: i32, since(0);
        /// The leader epoch that the client knows, or −1.
        current_leader_epoch: i32 = -1, since(2).ignorable();
        /// The epoch whose end is asked for.
        leader_epoch: i32, since(0);
    }
}

message! {
    /// The ends found.
    OffsetForLeaderEpochResponse, versions(2, 4), flexible(4) {
        /// How long the client was throttled, milliseconds.
        throttle_time_ms: i32, since(2).ignorable();
        /// The answers by topic.
        topics: Vec<OffsetForLeaderTopicResult>, since(0);
    }
}

structure! {
    /// One topic's answers.
    OffsetForLeaderTopicResult {
        /// The topic's name.
        topic: Str, since(0);
        /// The answers by partition.
        partitions: Vec<LeaderEpochEndOffset>, since(0);
    }
}

structure! {
    /// One partition's answer.
    LeaderEpochEndOffset {
        /// The error, or 0.
        error_code: i16, since(0);
        /// The partition's number.
        partition: i32, since(0);
        /// The largest epoch at or before the one asked for, or −1.
        leader_epoch: i32 = -1, since(1).ignorable();
        /// The offset after its last record, or −1.
        end_offset: i64 = -1, since(0);
    }
}
