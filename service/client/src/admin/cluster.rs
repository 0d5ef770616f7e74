//! The cluster as a whole (KIP-700).

use tidelog_model::NodeId;
use tidelog_protocol::messages::DescribeClusterRequest;

use crate::{BrokerAddress, Client, ClientError};

/// The cluster's id and brokers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterDescription {
    /// Its id.
    pub cluster_id: String,
    /// The controller, or −1.
    pub controller: NodeId,
    /// The brokers by number.
    pub brokers: Vec<ClusterBroker>,
}

/// One broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterBroker {
    /// Its number.
    pub id: NodeId,
    /// Where clients reach it.
    pub address: BrokerAddress,
    /// Its rack.
    pub rack: Option<String>,
}

impl Client {
    /// Describes the cluster.
    pub async fn describe_cluster(&self) -> Result<ClusterDescription, ClientError> {
        let response = self.call(&DescribeClusterRequest::default()).await?;
        ClientError::check(response.error_code, || "cluster".into(), response.error_message.as_deref())?;
        let broker = |broker: &tidelog_protocol::messages::DescribeClusterBroker| {
            Some(ClusterBroker {
                id: NodeId(broker.broker_id),
                address: BrokerAddress {
                    host: broker.host.as_str().to_owned(),
                    port: u16::try_from(broker.port).ok()?,
                },
                rack: broker.rack.as_deref().map(str::to_owned),
            })
        };
        let mut brokers: Vec<ClusterBroker> = response.brokers.iter().filter_map(broker).collect();
        brokers.sort_by_key(|broker| broker.id);
        Ok(ClusterDescription {
            cluster_id: response.cluster_id.as_str().to_owned(),
            controller: NodeId(response.controller_id),
            brokers,
        })
    }
}
