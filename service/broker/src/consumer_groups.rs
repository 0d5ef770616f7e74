//! Groups of the consumer protocol (KIP-848): members report, administrators look. What they need to know of topics is added here.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::Pin;
use std::sync::Arc;

use tidelog_coordinator::group::{
    AnyDescription, ConsumerDescription, ConsumerHeartbeat, GroupCall, GroupId, GroupReply, Meant, OwnTimes,
    TopicDirectory,
};
use tidelog_model::{Caller, KafkaError, TopicId, TopicName};
use tidelog_security::{Operation, Resource};

use crate::BrokerError;
use crate::broker::Broker;
use crate::fair_places::Sharer;
use crate::groups::{GroupTicket, milliseconds};
use crate::limits::MAX_RESOLUTIONS;

/// The waiting stage of ConsumerGroupHeartbeat.
pub struct HeartbeatTicket {
    broker: Broker,
    caller: Caller,
    group: GroupId,
    /// What is asked once more if it matters what an expression means.
    again: Option<Box<ConsumerHeartbeat>>,
    rest: GroupTicket<GroupReply>,
}

impl HeartbeatTicket {
    async fn result(self) -> Result<GroupReply, BrokerError> {
        let mut reply = self.rest.await?;
        let Some(beat) = self.again else { return Ok(reply) };
        for _ in 0..MAX_RESOLUTIONS {
            let GroupReply::Unresolved(expressions) = reply else { return Ok(reply) };
            let (topics, meant) = self.broker.meant(&self.caller, expressions).await?;
            let beat = Box::new(ConsumerHeartbeat { meant: Some(meant), ..(*beat).clone() });
            reply = self.broker.call_group(self.group.clone(), topics, GroupCall::Consumer(beat)).await.await?;
        }
        match reply {
            // Others bring new expressions faster than theirs are looked up, or topics come and go.
            GroupReply::Unresolved(_) => Err(KafkaError::CoordinatorLoadInProgress.into()),
            reply => Ok(reply),
        }
    }
}

impl IntoFuture for HeartbeatTicket {
    type Output = Result<GroupReply, BrokerError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.result())
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
        self.cluster_image().directory()
    }

    /// Those that the caller may not see, under the rules that this directory knows or newer ones.
    fn hidden(&self, caller: &Caller, topics: &TopicDirectory) -> BTreeSet<TopicName> {
        let is_hidden = |name: &&TopicName| !self.may(caller, Operation::Describe, Resource::Topic(name.as_str()));
        topics.names().filter(is_hidden).cloned().collect()
    }

    /// What these expressions mean to the caller, among the topics that there are. The caller has to wait for one of the few places: an
    /// expression of the worst kind takes seconds to match many names.
    async fn meant(
        &self,
        caller: &Caller,
        expressions: Vec<Arc<str>>,
    ) -> Result<(Arc<TopicDirectory>, Meant), BrokerError> {
        // The one error that lets every client come again.
        let refused = || BrokerError::from(KafkaError::CoordinatorLoadInProgress);
        let place = self.expressions().place(Sharer::from(caller)).await.ok_or_else(refused)?;
        let (broker, caller) = (self.clone(), caller.clone());
        let look = move || {
            let _place = place;
            let topics = broker.topic_directory();
            // Without rules whoever gets here sees everything.
            let hidden = if broker.has_acls() { broker.hidden(&caller, &topics) } else { BTreeSet::new() };
            let meant = Meant::of(&expressions, &topics, &hidden);
            (topics, meant)
        };
        tokio::task::spawn_blocking(look).await.map_err(|_| KafkaError::UnknownServerError.into())
    }

    /// What the group sets of its own, and what was changed for all of them since the start.
    pub(crate) fn own_times(&self, group: &GroupId) -> OwnTimes {
        let image = self.image();
        let config = self.config();
        let given = self.with_running(&image, |for_all, for_this| config.consumer_times(for_all, for_this));
        let times = match image.group_configs(group.as_str()) {
            Some(own) => own.value.effective(config, given),
            None => given,
        };
        OwnTimes {
            session_timeout_ms: Some(milliseconds(times.session_timeout)),
            heartbeat_interval_ms: Some(milliseconds(times.heartbeat_interval)),
            assignment_interval_ms: Some(milliseconds(times.assignment_interval)),
        }
    }

    /// Enqueues the report of a member of the consumer protocol. What its group's expressions mean is looked up only if the coordinator asks:
    /// that is a question for each topic, and hardly any report needs it.
    pub async fn consumer_heartbeat(
        &self,
        caller: &Caller,
        group: GroupId,
        beat: ConsumerHeartbeat,
    ) -> HeartbeatTicket {
        let ticket = |again, rest| HeartbeatTicket {
            broker: self.clone(),
            caller: caller.clone(),
            group: group.clone(),
            again,
            rest,
        };
        // Before anybody's rights, as Kafka: it is no secret which features there are.
        if !self.has_consumer_protocol() {
            return ticket(None, GroupTicket::ready(Err(KafkaError::UnsupportedVersion)));
        }
        // The group before its topics, as Kafka asks.
        if !self.may(caller, Operation::Read, Resource::Group(group.as_str())) {
            return ticket(None, GroupTicket::ready(Err(KafkaError::GroupAuthorizationFailed)));
        }
        let mut named = beat.topics.iter().flatten();
        if named.any(|name| !self.may(caller, Operation::Describe, Resource::Topic(name))) {
            return ticket(None, GroupTicket::ready(Err(KafkaError::TopicAuthorizationFailed)));
        }
        let beat = Box::new(beat);
        let again = Some(beat.clone());
        ticket(again, self.group(caller, group.clone(), GroupCall::Consumer(beat)).await)
    }

    /// Asks for one group of the consumer protocol. GROUP_ID_NOT_FOUND if there is none, or if it is a classic one.
    pub async fn describe_consumer_group(&self, caller: &Caller, group: GroupId) -> ConsumerGroupTicket {
        let rest = match self.has_consumer_protocol() {
            true => self.describe_any_group(caller, group.clone(), false).await,
            false => GroupTicket::ready(Err(KafkaError::UnsupportedVersion)),
        };
        ConsumerGroupTicket { broker: self.clone(), caller: caller.clone(), group, rest }
    }
}
