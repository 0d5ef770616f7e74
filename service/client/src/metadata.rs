//! What a Metadata answer says, in our words.

use tidelog_model::{KafkaError, LeaderEpoch, NodeId, PartitionIndex, TopicId};
use tidelog_protocol::messages::{MetadataResponse, MetadataResponsePartition, MetadataResponseTopic};

use crate::{BrokerAddress, ClientError};

/// The cluster as one broker sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterMetadata {
    /// The cluster's id.
    pub cluster_id: Option<String>,
    /// The controller, or −1.
    pub controller: NodeId,
    /// The brokers.
    pub brokers: Vec<BrokerInfo>,
    /// The topics asked for, each with its own error.
    pub topics: Vec<TopicInfo>,
}

/// One broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokerInfo {
    /// Its number.
    pub id: NodeId,
    /// Where clients reach it.
    pub address: BrokerAddress,
    /// Its rack.
    pub rack: Option<String>,
}

/// One topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicInfo {
    /// Its name.
    pub name: String,
    /// Its id; zero from servers that do not tell.
    pub id: TopicId,
    /// Only the service itself writes to it.
    pub is_internal: bool,
    /// Why the rest is missing.
    pub error: Option<KafkaError>,
    /// Its partitions by number.
    pub partitions: Vec<PartitionInfo>,
}

/// One partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionInfo {
    /// Its number.
    pub index: PartitionIndex,
    /// Its leader, or −1.
    pub leader: NodeId,
    /// The leader's epoch, or −1.
    pub leader_epoch: LeaderEpoch,
    /// All replicas.
    pub replicas: Vec<NodeId>,
    /// The replicas in sync.
    pub isr: Vec<NodeId>,
    /// The replicas that are not there.
    pub offline: Vec<NodeId>,
    /// Why there is no leader.
    pub error: Option<KafkaError>,
}

impl ClusterMetadata {
    pub(crate) fn of(response: MetadataResponse) -> Result<Self, ClientError> {
        ClientError::check(response.error_code, || "metadata".into(), None)?;
        let mut brokers = Vec::with_capacity(response.brokers.len());
        for broker in response.brokers {
            // A port outside 1..65535 cannot be reached; the broker then counts as absent.
            let Ok(port) = u16::try_from(broker.port) else { continue };
            brokers.push(BrokerInfo {
                id: NodeId(broker.node_id),
                address: BrokerAddress { host: broker.host.as_str().to_owned(), port },
                rack: broker.rack.map(|rack| rack.as_str().to_owned()),
            });
        }
        Ok(ClusterMetadata {
            cluster_id: response.cluster_id.map(|id| id.as_str().to_owned()),
            controller: NodeId(response.controller_id),
            brokers,
            topics: response.topics.into_iter().map(TopicInfo::of).collect(),
        })
    }

    /// The topic of this name, if it was asked for.
    pub fn topic(&self, name: &str) -> Option<&TopicInfo> {
        self.topics.iter().find(|topic| topic.name == name)
    }
}

impl TopicInfo {
    fn of(topic: MetadataResponseTopic) -> Self {
        let mut partitions: Vec<_> = topic.partitions.into_iter().map(PartitionInfo::of).collect();
        partitions.sort_by_key(|partition| partition.index);
        TopicInfo {
            name: topic.name.map(|name| name.as_str().to_owned()).unwrap_or_default(),
            id: topic.topic_id,
            is_internal: topic.is_internal,
            error: error_of(topic.error_code),
            partitions,
        }
    }

    /// The partition of this number.
    pub fn partition(&self, index: PartitionIndex) -> Option<&PartitionInfo> {
        let at = self.partitions.binary_search_by_key(&index, |partition| partition.index).ok()?;
        self.partitions.get(at)
    }
}

impl PartitionInfo {
    fn of(partition: MetadataResponsePartition) -> Self {
        let nodes = |ids: Vec<i32>| ids.into_iter().map(NodeId).collect();
        PartitionInfo {
            index: PartitionIndex(partition.partition_index),
            leader: NodeId(partition.leader_id),
            leader_epoch: LeaderEpoch(partition.leader_epoch),
            replicas: nodes(partition.replica_nodes),
            isr: nodes(partition.isr_nodes),
            offline: nodes(partition.offline_replicas),
            error: error_of(partition.error_code),
        }
    }
}

/// The error of a code; `None` for 0.
pub(crate) fn error_of(code: i16) -> Option<KafkaError> {
    match code {
        0 => None,
        code => Some(KafkaError::from_code(code).unwrap_or(KafkaError::UnknownServerError)),
    }
}
