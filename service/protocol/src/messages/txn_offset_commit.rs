//! TxnOffsetCommit (key 28): a group's positions that count once a transaction commits (KIP-98); from 3 on with the consumer's
//! membership (KIP-447), 5 makes the group part of the transaction by itself (KIP-890).

use crate::Str;
use crate::describe::{api, message, structure};

api!(28, TxnOffsetCommitRequest => TxnOffsetCommitResponse);

message! {
    /// Positions to store.
    TxnOffsetCommitRequest, versions(0, 5), flexible(3) {
        /// The transactional id.
        transactional_id: Str, since(0);
        /// The group.
        group_id: Str, since(0);
        /// The producer.
        producer_id: i64, since(0);
        /// Its epoch.
        producer_epoch: i16, since(0);
        /// The consumer's generation, or −1.
        generation_id: i32 = -1, since(3);
        /// The consumer's member id.
        member_id: Str, since(3);
        /// The static member's name (KIP-345).
        group_instance_id: Option<Str> = None, since(3).null(3);
        /// The positions by topic.
        topics: Vec<TxnOffsetCommitRequestTopic>, since(0);
    }
}

structure! {
    /// One topic's positions.
    TxnOffsetCommitRequestTopic {
        /// The topic's name.
        name: Str, since(0);
        /// The positions by partition.
        partitions: Vec<TxnOffsetCommitRequestPartition>, since(0);
    }
}

structure! {
    /// One partition's position.
    TxnOffsetCommitRequestPartition {
        /// The partition's number.
        partition_index: i32, since(0);
        /// The offset of the next record to read.
        committed_offset: i64, since(0);
        /// The leader epoch of the last record read, or −1 (KIP-320).
        committed_leader_epoch: i32 = -1, since(2).ignorable();
        /// Whatever the client wants to keep with the position.
        committed_metadata: Option<Str> = Some(Str::EMPTY), since(0).null(0);
    }
}

message! {
    /// What became of the positions.
    TxnOffsetCommitResponse, versions(0, 5), flexible(3) {
        /// How long the client was throttled, milliseconds.
        throttle_time_ms: i32, since(0);
        /// The results by topic.
        topics: Vec<TxnOffsetCommitResponseTopic>, since(0);
    }
}

structure! {
    /// One topic's results.
    TxnOffsetCommitResponseTopic {
        /// The topic's name.
        name: Str, since(0);
        /// The results by partition.
        partitions: Vec<TxnOffsetCommitResponsePartition>, since(0);
    }
}

structure! {
    /// One partition's result.
    TxnOffsetCommitResponsePartition {
        /// The partition's number.
        partition_index: i32, since(0);
        /// The error, or 0.
        error_code: i16, since(0);
    }
}
