//! Groups of the consumer protocol (KIP-848): members report, administrators look. What they need to know of topics is added here.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use tidelog_coordinator::group::{
    AnyDescription, ConsumerDescription, ConsumerHeartbeat, GroupCall, GroupId, GroupReply, Meant, OwnTimes,
    TopicDirectory,
};
use tidelog_model::{Caller, KafkaError, TopicId, TopicName};
use tidelog_security::{Operation, Resource};

use crate::BrokerError;
use crate::broker::Broker;
use crate::fair_places::{FairPlace, Sharer};
use crate::groups::{GroupTicket, milliseconds};
use crate::limits::{MAX_RESOLUTIONS, SOONEST_REPORT};

/// The waiting stage of ConsumerGroupHeartbeat.
pub struct HeartbeatTicket {
    broker: Broker,
    caller: Caller,
    group: GroupId,
    rest: GroupTicket<GroupReply>,
}

impl HeartbeatTicket {
    /// Looks up what the coordinator asks for, one expression at a time: whoever wants others looked up has a turn between them.
    async fn result(mut self) -> Result<GroupReply, BrokerError> {
        let mut reply = (&mut self.rest).await?;
        for _ in 0..MAX_RESOLUTIONS {
            let GroupReply::Unresolved(beat, _) = reply else { return Ok(reply) };
            let (waited, place) = self.turn(beat).await?;
            let (mut beat, expression, place) = match (waited, place) {
                (GroupReply::Unresolved(beat, expression), Some(place)) => (beat, expression, place),
                (reply, _) => return Ok(reply),
            };
            let (topics, meant, place) = self.broker.meant(&self.caller, expression, place).await?;
            beat.meant = Some(meant);
            reply = self.ask(topics, beat).await?;
            // Who is next asks the coordinator before it looks, which knows by now.
            drop(place);
        }
        match reply {
            // Topics come and go faster than what the group's expressions mean is looked up.
            GroupReply::Unresolved(..) => Err(KafkaError::CoordinatorLoadInProgress.into()),
            reply => Ok(reply),
        }
    }

    /// Waits for one of the few places, as an expression of the worst kind takes seconds to match many names, and then asks once more: others
    /// may have brought what this report needs. As often as members report it asks without a place as well, so that its member stays.
    async fn turn(
        &self,
        mut beat: Box<ConsumerHeartbeat>,
    ) -> Result<(GroupReply, Option<FairPlace<Sharer>>), BrokerError> {
        let interval = self.broker.own_times(&self.group).heartbeat_interval_ms.and_then(|ms| u64::try_from(ms).ok());
        let interval = Duration::from_millis(interval.unwrap_or_default()).max(SOONEST_REPORT);
        let mut place = pin!(self.broker.expressions().place(Sharer::from(&self.caller)));
        loop {
            let place = match tokio::time::timeout(interval, &mut place).await {
                // The one error that lets every client come again.
                Ok(None) => return Err(KafkaError::CoordinatorLoadInProgress.into()),
                Ok(place) => place,
                Err(_) => None,
            };
            let reply = self.ask(self.broker.topic_directory(), beat).await?;
            match reply {
                GroupReply::Unresolved(again, _) if place.is_none() => beat = again,
                reply => return Ok((reply, place)),
            }
        }
    }

    async fn ask(&self, topics: Arc<TopicDirectory>, beat: Box<ConsumerHeartbeat>) -> Result<GroupReply, BrokerError> {
        self.broker.call_group(self.group.clone(), topics, GroupCall::Consumer(beat)).await.await
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

    /// What the expression means to the caller, among the topics that there are. The place is in use for as long as that takes, also when
    /// nobody waits for it any more.
    async fn meant(
        &self,
        caller: &Caller,
        expression: Arc<str>,
        place: FairPlace<Sharer>,
    ) -> Result<(Arc<TopicDirectory>, Meant, FairPlace<Sharer>), BrokerError> {
        let (broker, caller) = (self.clone(), caller.clone());
        let look = move || {
            let topics = broker.topic_directory();
            // Without rules whoever gets here sees everything.
            let hidden = if broker.has_acls() { broker.hidden(&caller, &topics) } else { BTreeSet::new() };
            let meant = Meant::of(&expression, &topics, &hidden);
            (topics, meant, place)
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
        let ticket =
            |rest| HeartbeatTicket { broker: self.clone(), caller: caller.clone(), group: group.clone(), rest };
        // Before anybody's rights, as Kafka: it is no secret which features there are.
        if !self.has_consumer_protocol() {
            return ticket(GroupTicket::ready(Err(KafkaError::UnsupportedVersion)));
        }
        // The group before its topics, as Kafka asks.
        if !self.may(caller, Operation::Read, Resource::Group(group.as_str())) {
            return ticket(GroupTicket::ready(Err(KafkaError::GroupAuthorizationFailed)));
        }
        let mut named = beat.topics.iter().flatten();
        if named.any(|name| !self.may(caller, Operation::Describe, Resource::Topic(name))) {
            return ticket(GroupTicket::ready(Err(KafkaError::TopicAuthorizationFailed)));
        }
        ticket(self.group(caller, group.clone(), GroupCall::Consumer(Box::new(beat))).await)
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
