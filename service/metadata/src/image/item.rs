//! One key and its decoded value: what an event puts into the image.

use tidelog_model::{NodeId, PartitionIndex, QuotaEntity, ScramMechanism, TopicId, TopicName};
use uuid::Uuid;

use crate::broker_config::BrokerOverrides;
use crate::client_metrics::ClientMetricsOverrides;
use crate::group_config::GroupOverrides;
use crate::keys::{
    AclValue, BrokerValue, ClusterValue, ControllerValue, DelegationTokenValue, DeletionValue, FeaturesValue, Key,
    KeyError, NameValue, PartitionState, ProducerIdsValue, QuotasValue, ScramValue, TopicValue,
};

/// A stored fact.
pub(super) enum Item {
    Cluster(ClusterValue),
    Broker(NodeId, BrokerValue),
    Controller(ControllerValue),
    Name(TopicName, NameValue),
    Topic(TopicId, TopicValue),
    Partition(TopicId, PartitionIndex, PartitionState),
    Deletion(TopicId, DeletionValue),
    BrokerConfigs(Option<NodeId>, BrokerOverrides),
    GroupConfigs(String, GroupOverrides),
    ClientMetrics(String, ClientMetricsOverrides),
    Features(FeaturesValue),
    ProducerIds(ProducerIdsValue),
    Quotas(QuotaEntity, QuotasValue),
    Acl(Uuid, AclValue),
    Scram(ScramMechanism, String, ScramValue),
    DelegationToken(String, DelegationTokenValue),
}

impl Item {
    /// Decodes the value of a key.
    pub(super) fn decode(key: &Key, value: &[u8]) -> Result<Item, KeyError> {
        Ok(match key {
            Key::Cluster => Item::Cluster(ClusterValue::decode(value)?),
            Key::Broker(node) => Item::Broker(*node, BrokerValue::decode(*node, value)?),
            Key::Controller => Item::Controller(ControllerValue::decode(value)?),
            Key::Name(name) => Item::Name(name.clone(), NameValue::decode(name, value)?),
            Key::Topic(id) => Item::Topic(*id, TopicValue::decode(*id, value)?),
            Key::Partition(id, index) => Item::Partition(*id, *index, PartitionState::decode(*id, *index, value)?),
            Key::Deletion(id) => Item::Deletion(*id, DeletionValue::decode(*id, value)?),
            Key::BrokerConfigs(node) => Item::BrokerConfigs(*node, BrokerOverrides::decode(key, value)?),
            Key::GroupConfigs(group) => Item::GroupConfigs(group.clone(), GroupOverrides::decode(key, value)?),
            Key::ClientMetrics(name) => Item::ClientMetrics(name.clone(), ClientMetricsOverrides::decode(key, value)?),
            Key::Acl(id) => Item::Acl(*id, AclValue::decode(*id, value)?),
            Key::Scram(mechanism, user) => {
                Item::Scram(*mechanism, user.clone(), ScramValue::decode(*mechanism, user, value)?)
            }
            Key::DelegationToken(id) => Item::DelegationToken(id.clone(), DelegationTokenValue::decode(id, value)?),
            Key::Features => Item::Features(FeaturesValue::decode(value)?),
            Key::ProducerIds => Item::ProducerIds(ProducerIdsValue::decode(value)?),
            Key::Quotas(entity) => Item::Quotas(entity.clone(), QuotasValue::decode(entity, value)?),
        })
    }
}
