//! Fetch (key 1): reads record batches, for consumers and followers. 13 names topics by id (KIP-516), 15 has the
//! follower's state (KIP-903), 16 the addresses of new leaders (KIP-951), 17 directory ids (KIP-853), 18 the
//! follower's high watermark (KIP-1166).

use tidelog_model::TopicId;

use crate::describe::{api, message, structure};
use crate::{Records, Str};

api!(1, FetchRequest => FetchResponse);

message! {
    /// Where to read and how much.
    FetchRequest, versions(4, 18), flexible(12) {
        /// The cluster that the follower believes to be in.
        cluster_id: Option<Str> = None, since(12).null(12).tag(0).ignorable();
        /// The follower's number, −1 for consumers.
        replica_id: i32 = -1, between(0, 14);
        /// The follower's number and epoch.
        replica_state: ReplicaState, since(15).tag(1);
        /// How long to wait for `min_bytes`, milliseconds.
        max_wait_ms: i32, since(0);
        /// How many bytes to wait for.
        min_bytes: i32, since(0);
        /// How many bytes to answer with at most (KIP-74: the first batch may exceed it).
        max_bytes: i32 = i32::MAX, since(3).ignorable();
        /// 0: all records, 1: only of committed transactions (KIP-98).
        isolation_level: i8, since(4);
        /// The fetch session, or 0 (KIP-227).
        session_id: i32, since(7).ignorable();
        /// The request's number in its session: −1 none, 0 new (KIP-227).
        session_epoch: i32 = -1, since(7).ignorable();
        /// What to read, by topic.
        topics: Vec<FetchTopic>, since(0);
        /// Partitions that leave the session.
        forgotten_topics_data: Vec<ForgottenTopic>, since(7);
        /// The consumer's rack (KIP-392).
        rack_id: Str, since(11).ignorable();
    }
}

structure! {
    /// Who follows.
    ReplicaState {
        /// The follower's number, −1 for consumers.
        replica_id: i32 = -1, since(0);
        /// The epoch of the follower's registration, or −1.
        replica_epoch: i64 = -1, since(0);
    }
}

structure! {
    /// One topic to read.
    FetchTopic {
        /// The topic's name.
        topic: Str, between(0, 12).ignorable();
        /// The topic's id.
        topic_id: TopicId = TopicId::ZERO, since(13).ignorable();
        /// The partitions to read.
        partitions: Vec<FetchPartition>, since(0);
    }
}

structure! {
    /// One partition to read.
    FetchPartition {
        /// The partition's number.
        partition: i32, since(0);
        /// The leader epoch that the client knows, or −1 (KIP-320).
        current_leader_epoch: i32 = -1, since(9).ignorable();
        /// The first offset to read.
        fetch_offset: i64, since(0);
        /// The epoch of the follower's last record, or −1 (KIP-595).
        last_fetched_epoch: i32 = -1, since(12);
        /// The follower's first offset; −1 for consumers.
        log_start_offset: i64 = -1, since(5).ignorable();
        /// How many bytes to answer with at most.
        partition_max_bytes: i32, since(0);
        /// The follower's directory.
        replica_directory_id: TopicId = TopicId::ZERO, since(17).tag(0).ignorable();
        /// The follower's high watermark, −1 if it knows none, the largest number if it does not tell.
        high_watermark: i64 = i64::MAX, since(18).tag(1).ignorable();
    }
}

structure! {
    /// Partitions of one topic that leave the session.
    ForgottenTopic {
        /// The topic's name.
        topic: Str, between(0, 12).ignorable();
        /// The topic's id.
        topic_id: TopicId = TopicId::ZERO, since(13).ignorable();
        /// The partitions' numbers.
        partitions: Vec<i32>, since(0);
    }
}

message! {
    /// Batches and watermarks.
    FetchResponse, versions(4, 18), flexible(12) {
        /// How long the client was throttled, milliseconds.
        throttle_time_ms: i32, since(1).ignorable();
        /// An error of the whole request, or 0.
        error_code: i16, since(7).ignorable();
        /// The fetch session, or 0.
        session_id: i32, since(7);
        /// The answers by topic.
        responses: Vec<FetchableTopicResponse>, since(0);
        /// Addresses of the leaders named in the answers (KIP-951).
        node_endpoints: Vec<FetchNodeEndpoint>, since(16).tag(0).ignorable();
    }
}

structure! {
    /// One topic's answer.
    FetchableTopicResponse {
        /// The topic's name.
        topic: Str, between(0, 12).ignorable();
        /// The topic's id.
        topic_id: TopicId = TopicId::ZERO, since(13).ignorable();
        /// The answers by partition.
        partitions: Vec<PartitionData>, since(0);
    }
}

structure! {
    /// One partition's answer.
    PartitionData {
        /// The partition's number.
        partition_index: i32, since(0);
        /// The error, or 0.
        error_code: i16, since(0);
        /// The high watermark.
        high_watermark: i64, since(0);
        /// The last stable offset: no open transaction has records before it.
        last_stable_offset: i64 = -1, since(4).ignorable();
        /// The partition's first offset.
        log_start_offset: i64 = -1, since(5).ignorable();
        /// Where the follower's log diverges (KIP-595).
        diverging_epoch: FetchEpochEndOffset, since(12).tag(0).ignorable();
        /// The leader to turn to, if it is another.
        current_leader: FetchLeader, since(12).tag(1).ignorable();
        /// The snapshot to load instead; only in KRaft's own log.
        snapshot_id: SnapshotId, since(12).tag(2).ignorable();
        /// Transactions with records in the answer that were aborted; null if all records were asked for.
        aborted_transactions: Option<Vec<AbortedTransaction>> = Some(Vec::new()), since(4).null(4).ignorable();
        /// The replica that the consumer should read from, or −1 (KIP-392).
        preferred_read_replica: i32 = -1, since(11);
        /// The batches.
        records: Option<Records> = Some(Records::default()), since(0).null(0);
    }
}

structure! {
    /// The end of a leader epoch.
    FetchEpochEndOffset {
        /// The epoch, or −1.
        epoch: i32 = -1, since(0);
        /// The offset after its last record, or −1.
        end_offset: i64 = -1, since(0);
    }
}

structure! {
    /// A partition's leader.
    FetchLeader {
        /// The broker, or −1.
        leader_id: i32 = -1, since(0);
        /// The leader's epoch, or −1.
        leader_epoch: i32 = -1, since(0);
    }
}

structure! {
    /// A snapshot of KRaft's log.
    SnapshotId {
        /// The offset after its last record, or −1.
        end_offset: i64 = -1, since(0);
        /// Its epoch, or −1.
        epoch: i32 = -1, since(0);
    }
}

structure! {
    /// An aborted transaction.
    AbortedTransaction {
        /// The transaction's producer.
        producer_id: i64, since(0);
        /// Its first offset.
        first_offset: i64, since(0);
    }
}

structure! {
    /// A broker's address.
    FetchNodeEndpoint {
        /// The broker.
        node_id: i32, since(0);
        /// Its host.
        host: Str, since(0);
        /// Its port.
        port: i32, since(0);
        /// Its rack, or null.
        rack: Option<Str> = None, since(0).null(0);
    }
}
