//! Groups of the consumer protocol (KIP-848): members report, administrators look. What they need to know of topics is added here.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::Pin;
use std::sync::Arc;

use tidelog_coordinator::group::{
    AnyDescription, ConsumerDescription, ConsumerHeartbeat, GroupCall, GroupId, GroupReply, TopicDirectory, TopicFacts,
};
use tidelog_metadata::{ClusterImage, Revision};
use tidelog_model::{Caller, KafkaError, TopicId, TopicName};
use tidelog_security::{Operation, Resource};

use crate::BrokerError;
use crate::broker::Broker;
use crate::groups::{GroupTicket, milliseconds};

/// The topics as the coordinator was last told, and of which image that was.
#[derive(Default)]
pub(crate) struct Directory {
    of: Option<Revision>,
    last: Arc<TopicDirectory>,
}

impl Directory {
    /// The topics of this image; the same as before if none of them has changed.
    fn of(&mut self, image: &ClusterImage) -> Arc<TopicDirectory> {
        if self.of != Some(image.revision()) {
            let facts = |topic: &Arc<tidelog_metadata::Topic>| {
                (topic.name.clone(), TopicFacts { id: topic.id, partitions: topic.partition_count })
            };
            let topics: BTreeMap<TopicName, TopicFacts> = image.topics().map(facts).collect();
            if self.last.revision == 0 || *self.last.topics() != topics {
                self.last = Arc::new(TopicDirectory::new(self.last.revision + 1, topics));
            }
            self.of = Some(image.revision());
        }
        Arc::clone(&self.last)
    }
}

/// A group of the consumer protocol with the names of its topics.
#[derive(Clone, Debug)]
pub struct DescribedConsumerGroup {
    /// The group.
    pub group: ConsumerDescription,
    /// The names of the topics that exist.
    pub names: BTreeMap<TopicId, TopicName>,
}

/// The waiting stage of ConsumerGroupDescribe for one group.
pub struct ConsumerGroupTicket {
    broker: Broker,
    caller: Caller,
    group: GroupId,
    rest: GroupTicket<AnyDescription>,
}

impl ConsumerGroupTicket {
    async fn result(self) -> Result<DescribedConsumerGroup, BrokerError> {
        let missing =
            |what: &str| BrokerError::new(KafkaError::GroupIdNotFound, format!("Group {} {what}.", self.group));
        let group = match self.rest.await {
            Ok(AnyDescription::Consumer(group)) => group,
            Ok(AnyDescription::Classic(_)) => return Err(missing("is not a consumer group")),
            Err(error) if error.error == KafkaError::GroupIdNotFound => return Err(missing("not found")),
            Err(error) => return Err(error),
        };
        let image = self.broker.image();
        let mut names = BTreeMap::new();
        for member in &group.members {
            for topic in member.assigned.iter().chain(&member.target) {
                names.extend(image.topic_by_id(topic.topic).map(|found| (topic.topic, found.name.clone())));
            }
        }
        let subscribed = group.members.iter().flat_map(|member| member.topics.iter().map(|name| &**name));
        let mut topics = subscribed.chain(names.values().map(TopicName::as_str));
        if topics.any(|name| !self.broker.may(&self.caller, Operation::Describe, Resource::Topic(name))) {
            let message = "the group reads topics that the caller may not describe";
            return Err(BrokerError::new(KafkaError::TopicAuthorizationFailed, message));
        }
        Ok(DescribedConsumerGroup { group, names })
    }
}

impl IntoFuture for ConsumerGroupTicket {
    type Output = Result<DescribedConsumerGroup, BrokerError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.result())
    }
}

impl Broker {
    /// The topics that exist, as coordinators see them.
    pub(crate) fn topic_directory(&self) -> Arc<TopicDirectory> {
        self.directory().lock().of(&self.image())
    }

    /// Enqueues the report of a member of the consumer protocol. What it may not see, and what the group sets of its own, is put into it
    /// here.
    pub async fn consumer_heartbeat(
        &self,
        caller: &Caller,
        group: GroupId,
        mut beat: ConsumerHeartbeat,
    ) -> GroupTicket<GroupReply> {
        let mut named = beat.topics.iter().flatten();
        if named.any(|name| !self.may(caller, Operation::Describe, Resource::Topic(name))) {
            return GroupTicket::ready(Err(KafkaError::TopicAuthorizationFailed));
        }
        let image = self.image();
        if let Some(own) = image.group_configs(group.as_str()) {
            let times = own.value.effective(self.config());
            beat.session_timeout_ms = Some(milliseconds(times.session_timeout));
            beat.heartbeat_interval_ms = Some(milliseconds(times.heartbeat_interval));
        }
        let is_hidden = |name: &&TopicName| !self.may(caller, Operation::Describe, Resource::Topic(name.as_str()));
        beat.hidden = self.topic_directory().topics().keys().filter(is_hidden).cloned().collect::<BTreeSet<_>>();
        self.group(caller, group, GroupCall::Consumer(Box::new(beat))).await
    }

    /// Asks for one group of the consumer protocol. GROUP_ID_NOT_FOUND if there is none, or if it is a classic one.
    pub async fn describe_consumer_group(&self, caller: &Caller, group: GroupId) -> ConsumerGroupTicket {
        let rest = self.describe_any_group(caller, group.clone()).await;
        ConsumerGroupTicket { broker: self.clone(), caller: caller.clone(), group, rest }
    }
}
