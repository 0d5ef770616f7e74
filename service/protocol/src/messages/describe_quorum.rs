//! DescribeQuorum (key 55): who keeps the cluster's metadata (KIP-595); 1 has times (KIP-836), 2 directories and addresses
//! (KIP-853).

use tidelog_model::TopicId;

use crate::Str;
use crate::describe::{api, message, structure};

api!(55, DescribeQuorumRequest => DescribeQuorumResponse);

message! {
    /// Which quorums; there is one, `__cluster_metadata-0`.
    DescribeQuorumRequest, versions(0, 2), flexible(0) {
        /// The partitions by topic.
        topics: Vec<DescribeQuorumTopic>, since(0);
    }
}

structure! {
    /// One topic's partitions.
    DescribeQuorumTopic {
        /// The topic.
        topic_name: Str, since(0);
        /// Its partitions.
        partitions: Vec<DescribeQuorumPartition>, since(0);
    }
}

structure! {
    /// One partition.
    DescribeQuorumPartition {
        /// Its number.
        partition_index: i32, since(0);
    }
}

message! {
    /// The quorums.
    DescribeQuorumResponse, versions(0, 2), flexible(0) {
        /// The error of the whole request, or 0.
        error_code: i16, since(0);
        /// What was wrong.
        error_message: Option<Str> = Some(Str::EMPTY), since(2).null(2).ignorable();
        /// The quorums by topic.
        topics: Vec<DescribedQuorumTopic>, since(0);
        /// Where the voters are.
        nodes: Vec<DescribedQuorumNode>, since(2);
    }
}

structure! {
    /// One topic's quorums.
    DescribedQuorumTopic {
        /// The topic.
        topic_name: Str, since(0);
        /// Its partitions.
        partitions: Vec<DescribedQuorumPartition>, since(0);
    }
}

structure! {
    /// One partition's quorum.
    DescribedQuorumPartition {
        /// Its number.
        partition_index: i32, since(0);
        /// The error, or 0.
        error_code: i16, since(0);
        /// What was wrong.
        error_message: Option<Str> = Some(Str::EMPTY), since(2).null(2).ignorable();
        /// The leader, or −1.
        leader_id: i32, since(0);
        /// Its epoch.
        leader_epoch: i32, since(0);
        /// Below it everything is committed.
        high_watermark: i64, since(0);
        /// Those whose word counts.
        current_voters: Vec<QuorumReplicaState>, since(0);
        /// Those who only read.
        observers: Vec<QuorumReplicaState>, since(0);
    }
}

structure! {
    /// How far one replica is.
    QuorumReplicaState {
        /// The replica's node.
        replica_id: i32, since(0);
        /// The id of its directory.
        replica_directory_id: TopicId = TopicId::ZERO, since(2);
        /// The end of its log, or −1.
        log_end_offset: i64, since(0);
        /// When it last fetched, by the leader's clock, or −1.
        last_fetch_timestamp: i64 = -1, since(1).ignorable();
        /// When it last had everything, by the leader's clock, or −1.
        last_caught_up_timestamp: i64 = -1, since(1).ignorable();
    }
}

structure! {
    /// One node.
    DescribedQuorumNode {
        /// Its number.
        node_id: i32, since(2);
        /// Its listeners.
        listeners: Vec<DescribedQuorumListener>, since(2);
    }
}

structure! {
    /// One listener.
    DescribedQuorumListener {
        /// Its name.
        name: Str, since(2);
        /// The host.
        host: Str, since(2);
        /// The port.
        port: u16, since(2);
    }
}
