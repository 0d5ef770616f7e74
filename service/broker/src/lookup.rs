//! From what callers name to what is hosted: topics by name or id, partitions by leader.

use std::fmt;
use std::sync::Arc;

use tidelog_metadata::{ClusterImage, Topic};
use tidelog_model::{Caller, KafkaError, LeaderEpoch, PartitionIndex, TopicName};
use tidelog_security::{Operation, Resource, Way};

use crate::broker::Broker;
use crate::error::CurrentLeader;
use crate::replica::Replica;
use crate::{BrokerError, TopicRef};

impl Broker {
    /// Asks the authorizer.
    pub(crate) fn may(&self, caller: &Caller, operation: Operation, resource: Resource<'_>) -> bool {
        self.authorizer().authorize(caller, operation, &resource).is_allowed()
    }

    /// Asks the authorizer, and tells the audit log what of the resource the question is about.
    pub(crate) fn may_about(
        &self,
        caller: &Caller,
        operation: Operation,
        resource: Resource<'_>,
        about: &dyn fmt::Display,
    ) -> bool {
        self.authorizer().authorize_about(caller, operation, &resource, about).is_allowed()
    }

    /// Refuses who may not do this to the cluster; `about` tells the audit log what of it is meant.
    pub(crate) fn may_cluster_about(
        &self,
        caller: &Caller,
        operation: Operation,
        about: &dyn fmt::Display,
    ) -> Result<(), BrokerError> {
        if self.may_about(caller, operation, Resource::Cluster, about) {
            Ok(())
        } else {
            Err(KafkaError::ClusterAuthorizationFailed.into())
        }
    }

    /// Asks the authorizer for one of several ways; the last says what the question is about.
    pub(crate) fn may_one_of(&self, caller: &Caller, ways: &[Way<'_>]) -> bool {
        self.authorizer().authorize_one_of(caller, ways).is_allowed()
    }

    /// Asks the authorizer what to show, or which question to ask: the answer is no refusal.
    pub(crate) fn would_allow(&self, caller: &Caller, operation: Operation, resource: Resource<'_>) -> bool {
        self.authorizer().would_allow(caller, operation, &resource)
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
                self.known_topic(image, topic)
            }
            TopicRef::Id(_) => {
                let found = self.known_topic(image, topic)?;
                // As Kafka: nobody guesses an id, and a reader who heard of an unknown one would ask for ever instead of giving up.
                if !self.may(caller, operation, Resource::Topic(found.name.as_str())) {
                    return Err(KafkaError::TopicAuthorizationFailed.into());
                }
                Ok(found)
            }
        }
    }

    /// The topic of a name or id, for those who were authorized otherwise.
    pub(crate) fn known_topic(&self, image: &ClusterImage, topic: &TopicRef) -> Result<Arc<Topic>, BrokerError> {
        match topic {
            TopicRef::Name(name) => image.topic(name).cloned().ok_or_else(|| unknown(name)),
            TopicRef::Id(id) => Ok(Arc::clone(image.topic_by_id(*id).ok_or(KafkaError::UnknownTopicId)?)),
        }
    }

    /// The name of the topic behind an id, for callers that may read it. It tells a door later that the name has got another id.
    pub fn name_behind(&self, caller: &Caller, topic: &TopicRef) -> Option<TopicName> {
        let TopicRef::Id(_) = topic else { return None };
        self.find_topic(&self.image(), caller, Operation::Read, topic).ok().map(|topic| topic.name.clone())
    }

    /// Is there a topic of this name that the caller may read?
    pub fn has_topic(&self, caller: &Caller, name: &TopicName) -> bool {
        self.find_topic(&self.image(), caller, Operation::Read, &TopicRef::from(name.as_str())).is_ok()
    }

    /// The replica that serves a partition of a topic.
    pub(crate) fn find_replica(&self, topic: &Topic, partition: PartitionIndex) -> Result<Arc<Replica>, BrokerError> {
        let Some(state) = topic.partition(partition) else {
            let message = match topic.partition_count {
                1 => format!("topic {} has one partition, 0", topic.name),
                count => format!("topic {} has {count} partitions, numbered from 0", topic.name),
            };
            return Err(BrokerError::new(KafkaError::UnknownTopicOrPartition, message));
        };
        self.replicas().leading(topic.id, partition).map_err(|error| {
            let mut refused = match self.replicas().why_closed(topic.id, partition) {
                Some(why) => BrokerError::new(error, why),
                None => BrokerError::from(error),
            };
            if let (KafkaError::NotLeaderOrFollower, Some(node)) = (error, state.state.leader) {
                refused.leader = Some(CurrentLeader { node, epoch: state.state.leader_epoch });
            }
            refused
        })
    }

    /// Checks the leader epoch that a caller believes in (KIP-320). Whoever is refused hears who leads (KIP-951).
    pub(crate) fn check_leader_epoch(&self, replica: &Replica, believed: LeaderEpoch) -> Result<(), BrokerError> {
        replica.check_epoch(believed).map_err(|error| {
            let leader = CurrentLeader { node: self.node(), epoch: replica.with_machine(|machine| machine.epoch()) };
            BrokerError { leader: Some(leader), ..BrokerError::from(error) }
        })
    }

    /// Both steps at once, for those that read and write: a topic that no name can have is as unknown to them as any other.
    pub(crate) fn find_partition(
        &self,
        caller: &Caller,
        operation: Operation,
        topic: &TopicRef,
        partition: PartitionIndex,
    ) -> Result<(Arc<Topic>, Arc<Replica>), BrokerError> {
        let topic = self.find_topic(&self.image(), caller, operation, topic).map_err(nameless)?;
        let replica = self.find_replica(&topic, partition)?;
        Ok((topic, replica))
    }
}

/// For APIs that look a name up without judging it: a topic that no name can have is as unknown as any other.
pub(crate) fn nameless(error: BrokerError) -> BrokerError {
    match error.error {
        KafkaError::InvalidTopicException => BrokerError { error: KafkaError::UnknownTopicOrPartition, ..error },
        _ => error,
    }
}

/// The sentence for a topic that is not there.
fn unknown(name: &str) -> BrokerError {
    match tidelog_model::TopicName::new(name) {
        Ok(_) => BrokerError::new(KafkaError::UnknownTopicOrPartition, format!("there is no topic {name}")),
        Err(invalid) => BrokerError::new(KafkaError::InvalidTopicException, invalid.to_string()),
    }
}
