//! Metadata (key 3): brokers, topics, partitions and their leaders. 10 has topic ids (KIP-516), 12 asks by id, 13 has
//! an error of the whole answer (KIP-1102).

use tidelog_model::TopicId;

use crate::Str;
use crate::describe::{api, message, structure};

api!(3, MetadataRequest => MetadataResponse);

/// "Not asked for" in the fields of authorized operations (KIP-430).
pub const NO_AUTHORIZED_OPERATIONS: i32 = i32::MIN;

message! {
    /// Which topics to describe.
    MetadataRequest, versions(0, 13), flexible(9) {
        /// The topics; null is all of them. Version 0 says "all" with an empty array.
        topics: Option<Vec<MetadataRequestTopic>> = Some(Vec::new()), since(0).null(1);
        /// May the server create topics that it does not know?
        allow_auto_topic_creation: bool = true, since(4);
        /// Answer with what the caller may do to the cluster (KIP-430).
        include_cluster_authorized_operations: bool, between(8, 10);
        /// Answer with what the caller may do to each topic (KIP-430).
        include_topic_authorized_operations: bool, since(8);
    }
}

structure! {
    /// One topic by name or id.
    MetadataRequestTopic {
        /// The topic's id, or zero.
        topic_id: TopicId = TopicId::ZERO, since(10).ignorable();
        /// The topic's name; null if it is asked for by id.
        name: Option<Str> = Some(Str::EMPTY), since(0).null(10);
    }
}

message! {
    /// The cluster as clients see it.
    MetadataResponse, versions(0, 13), flexible(9) {
        /// How long the client was throttled, milliseconds.
        throttle_time_ms: i32, since(3).ignorable();
        /// The brokers.
        brokers: Vec<MetadataResponseBroker>, since(0);
        /// The cluster's id.
        cluster_id: Option<Str> = None, since(2).null(2).ignorable();
        /// The controller, or −1.
        controller_id: i32 = -1, since(1).ignorable();
        /// The topics.
        topics: Vec<MetadataResponseTopic>, since(0);
        /// Bits of what the caller may do to the cluster.
        cluster_authorized_operations: i32 = NO_AUTHORIZED_OPERATIONS, between(8, 10);
        /// An error of the whole answer, or 0.
        error_code: i16, since(13).ignorable();
    }
}

structure! {
    /// One broker.
    MetadataResponseBroker {
        /// Its number.
        node_id: i32, since(0);
        /// Its host.
        host: Str, since(0);
        /// Its port.
        port: i32, since(0);
        /// Its rack, or null.
        rack: Option<Str> = None, since(1).null(1).ignorable();
    }
}

structure! {
    /// One topic.
    MetadataResponseTopic {
        /// The error, or 0.
        error_code: i16, since(0);
        /// The topic's name; null if it was asked for by an id that is not known.
        name: Option<Str> = Some(Str::EMPTY), since(0).null(12);
        /// The topic's id; zero if it was asked for by a name that is not known.
        topic_id: TopicId = TopicId::ZERO, since(10).ignorable();
        /// Does only the service itself write to it?
        is_internal: bool, since(1).ignorable();
        /// The partitions.
        partitions: Vec<MetadataResponsePartition>, since(0);
        /// Bits of what the caller may do to the topic.
        topic_authorized_operations: i32 = NO_AUTHORIZED_OPERATIONS, since(8);
    }
}

structure! {
    /// One partition.
    MetadataResponsePartition {
        /// The error, or 0.
        error_code: i16, since(0);
        /// The partition's number.
        partition_index: i32, since(0);
        /// The leader, or −1.
        leader_id: i32, since(0);
        /// The leader's epoch, or −1.
        leader_epoch: i32 = -1, since(7).ignorable();
        /// All replicas.
        replica_nodes: Vec<i32>, since(0);
        /// The replicas in sync.
        isr_nodes: Vec<i32>, since(0);
        /// The replicas that are not there.
        offline_replicas: Vec<i32>, since(5).ignorable();
    }
}
