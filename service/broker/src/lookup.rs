//! From what callers name to what is hosted: topics by name or id, partitions by leader.

use std::sync::Arc;

use tidelog_metadata::{ClusterImage, Topic};
use tidelog_model::{Caller, KafkaError, PartitionIndex};
use tidelog_security::{Operation, Resource};

use crate::broker::Broker;
use crate::error::CurrentLeader;
use crate::replica::Replica;
use crate::{BrokerError, TopicRef};

impl Broker {
    /// Asks the authorizer.
    pub(crate) fn may(&self, caller: &Caller, operation: Operation, resource: Resource<'_>) -> bool {
        self.authorizer().authorize(caller, operation, &resource).is_allowed()
    }

    /// The topic a caller names. One that the caller may not even see is refused before it is known whether it exists.
    pub(crate) fn find_topic(
        &self,
        image: &ClusterImage,
        caller: &Caller,
        operation: Operation,
        topic: &TopicRef,
    ) -> Result<Arc<Topic>, BrokerError> {
        match topic {
            TopicRef::Name(name) => {
                if !self.may(caller, operation, Resource::Topic(name)) {
                    return Err(KafkaError::TopicAuthorizationFailed.into());
                }
                image.topic(name).cloned().ok_or_else(|| unknown(name))
            }
            TopicRef::Id(id) => {
                let found = image.topic_by_id(*id).ok_or(KafkaError::UnknownTopicId)?;
                if !self.may(caller, operation, Resource::Topic(found.name.as_str())) {
                    // Whoever only knows an id must not learn that it exists (KIP-516).
                    return Err(KafkaError::UnknownTopicId.into());
                }
                Ok(Arc::clone(found))
            }
        }
    }

    /// The replica that serves a partition of a topic.
    pub(crate) fn find_replica(&self, topic: &Topic, partition: PartitionIndex) -> Result<Arc<Replica>, BrokerError> {
        let Some(state) = topic.partition(partition) else {
            let message = format!("topic {} has {} partitions, numbered from 0", topic.name, topic.partition_count);
            return Err(BrokerError::new(KafkaError::UnknownTopicOrPartition, message));
        };
        self.replicas().leading(topic.id, partition).map_err(|error| {
            let mut refused = BrokerError::from(error);
            if let (KafkaError::NotLeaderOrFollower, Some(node)) = (error, state.state.leader) {
                refused.leader = Some(CurrentLeader { node, epoch: state.state.leader_epoch });
            }
            refused
        })
    }

    /// Both steps at once.
    pub(crate) fn find_partition(
        &self,
        caller: &Caller,
        operation: Operation,
        topic: &TopicRef,
        partition: PartitionIndex,
    ) -> Result<(Arc<Topic>, Arc<Replica>), BrokerError> {
        let topic = self.find_topic(&self.image(), caller, operation, topic)?;
        let replica = self.find_replica(&topic, partition)?;
        Ok((topic, replica))
    }
}

/// The sentence for a topic that is not there.
fn unknown(name: &str) -> BrokerError {
    match tidelog_model::TopicName::new(name) {
        Ok(_) => BrokerError::new(KafkaError::UnknownTopicOrPartition, format!("there is no topic {name}")),
        Err(invalid) => BrokerError::new(KafkaError::InvalidTopicException, invalid.to_string()),
    }
}
