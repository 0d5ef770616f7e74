//! The cluster as a whole (KIP-700).

use tidelog_model::{NodeId, Operation};
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
    /// May the caller describe the cluster, and so see its access rules?
    pub may_describe: bool,
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
        let request = DescribeClusterRequest { include_cluster_authorized_operations: true, ..Default::default() };
        let response = self.call(&request).await?;
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
            may_describe: response.cluster_authorized_operations & (1 << Operation::Describe.code()) != 0,
        })
    }
}
