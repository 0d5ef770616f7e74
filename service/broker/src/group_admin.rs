//! Groups as administrators see them: describe, list, delete, forget positions. Membership itself is in `groups`.

use std::fmt;
use std::pin::Pin;

use tidelog_coordinator::group::{AnyDescription, GroupCall, GroupDescription, GroupId, GroupListing, GroupReply};
use tidelog_metadata::ClusterImage;
use tidelog_model::{Caller, KafkaError, OFFSETS_TOPIC, PartitionIndex, TopicName};
use tidelog_security::{Operation, Resource};

use crate::broker::Broker;
use crate::groups::{GroupTicket, ask_shard};
use crate::lookup::nameless;
use crate::replica::GroupWork;
use crate::{BrokerError, TopicRef};

/// Which groups ListGroups shall show; names without regard to case, none means all.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct GroupFilter {
    /// Kafka's names of states.
    pub states: Vec<String>,
    /// Kafka's names of group types.
    pub types: Vec<String>,
}

impl GroupFilter {
    fn shows(&self, listing: &GroupListing) -> bool {
        let fits = |names: &[String], name: &str| {
            names.is_empty() || names.iter().any(|wanted| wanted.eq_ignore_ascii_case(name))
        };
        fits(&self.states, listing.state) && fits(&self.types, listing.kind.name())
    }
}

/// The waiting stage of ListGroups.
pub struct ListedGroups {
    broker: Broker,
    caller: Caller,
    filter: GroupFilter,
    shards: Vec<GroupTicket<Vec<GroupListing>>>,
}

impl ListedGroups {
    /// One shard that cannot answer yet fails the whole list, as in Kafka: a list with holes would be believed.
    async fn results(self) -> Result<Vec<GroupListing>, BrokerError> {
        let mut groups = Vec::new();
        for shard in self.shards {
            match shard.await {
                Ok(listed) => groups.extend(listed),
                // The shard has moved away: whoever has it now lists its groups.
                Err(error) if error.error == KafkaError::NotCoordinator => {}
                Err(error) => return Err(error),
            }
        }
        groups.retain(|listing| self.filter.shows(listing));
        if !self.broker.would_allow(&self.caller, Operation::Describe, Resource::Cluster) {
            let visible = |listing: &GroupListing| {
                self.broker.may(&self.caller, Operation::Describe, Resource::Group(listing.group.as_str()))
            };
            groups.retain(visible);
        }
        Ok(groups)
    }
}

impl IntoFuture for ListedGroups {
    type Output = Result<Vec<GroupListing>, BrokerError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.results())
    }
}

/// The results of OffsetDelete, in the request's order; some may be refused before the coordinator sees them.
pub struct DeleteOffsetsTicket {
    refused: Vec<Option<KafkaError>>,
    rest: GroupTicket<GroupReply>,
}

impl DeleteOffsetsTicket {
    async fn results(self) -> Result<Vec<Result<(), KafkaError>>, BrokerError> {
        let mut answers = match self.rest.await? {
            GroupReply::DeleteOffsets(results) => results?.into_iter(),
            _ => return Err(KafkaError::UnknownServerError.into()),
        };
        let result = |refused: Option<KafkaError>| match refused {
            Some(error) => Err(error),
            None => answers.next().unwrap_or(Err(KafkaError::UnknownServerError)),
        };
        Ok(self.refused.into_iter().map(result).collect())
    }
}

impl IntoFuture for DeleteOffsetsTicket {
    type Output = Result<Vec<Result<(), KafkaError>>, BrokerError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.results())
    }
}

/// The waiting stage of DescribeGroups for one group.
pub struct GroupDescriptionTicket {
    group: GroupId,
    rest: GroupTicket<AnyDescription>,
}

impl GroupDescriptionTicket {
    async fn result(self) -> Result<GroupDescription, BrokerError> {
        let missing =
            |what: &str| BrokerError::new(KafkaError::GroupIdNotFound, format!("Group {} {what}.", self.group));
        match self.rest.await {
            Ok(AnyDescription::Classic(group)) => Ok(group),
            Ok(AnyDescription::Consumer(_)) => Err(missing("is not a classic group")),
            Err(error) if error.error == KafkaError::GroupIdNotFound => Err(missing("not found")),
            Err(error) => Err(error),
        }
    }
}

impl IntoFuture for GroupDescriptionTicket {
    type Output = Result<GroupDescription, BrokerError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.result())
    }
}

impl Broker {
    /// Asks for one group of the classic protocol. GROUP_ID_NOT_FOUND if there is none, or if it is one of the consumer protocol.
    pub async fn describe_group(&self, caller: &Caller, group: GroupId) -> GroupDescriptionTicket {
        let rest = self.describe_any_group(caller, group.clone(), true).await;
        GroupDescriptionTicket { group, rest }
    }

    /// Asks for one group, whatever it speaks. The group '' of old simple consumers is one for who may ask for the `nameless`.
    pub(crate) async fn describe_any_group(
        &self,
        caller: &Caller,
        group: GroupId,
        nameless: bool,
    ) -> GroupTicket<AnyDescription> {
        if !self.may(caller, Operation::Describe, Resource::Group(group.as_str())) {
            return GroupTicket::ready(Err(KafkaError::GroupAuthorizationFailed));
        }
        if group.is_empty() && !nameless {
            return GroupTicket::ready(Err(KafkaError::InvalidGroupId));
        }
        self.ask(&group.clone(), |reply| GroupWork::Describe(group, reply)).await
    }

    /// `authorized_operations` of a group (KIP-430).
    pub fn group_operations(&self, caller: &Caller, group: &str) -> i32 {
        self.authorizer().authorized_operations(caller, &Resource::Group(group))
    }

    /// Asks every shard that this broker has for its groups; the caller gets those that it may see.
    pub async fn list_groups(&self, caller: &Caller, filter: GroupFilter) -> ListedGroups {
        let image = self.image();
        let mut shards = Vec::new();
        if let Some(topic) = image.topic(OFFSETS_TOPIC) {
            for (index, partition) in topic.partitions() {
                if partition.state.leader == Some(self.node()) {
                    match self.coordinator_at(topic.id, index) {
                        Ok(replica) => shards.push(ask_shard(&replica, GroupWork::List).await),
                        // A broken log has no coordinator: its groups are nobody's until it is repaired.
                        Err(KafkaError::CoordinatorNotAvailable) => {}
                        Err(error) => shards.push(GroupTicket::ready(Err(error))),
                    }
                }
            }
        }
        ListedGroups { broker: self.clone(), caller: caller.clone(), filter, shards }
    }

    /// Forgets positions of a group. Those of topics that do not exist are refused one by one.
    pub async fn delete_offsets(
        &self,
        caller: &Caller,
        group: GroupId,
        asked: &[(TopicRef, Vec<PartitionIndex>)],
    ) -> DeleteOffsetsTicket {
        if !self.may(caller, Operation::Delete, Resource::Group(group.as_str())) {
            let rest = GroupTicket::ready(Err(KafkaError::GroupAuthorizationFailed));
            return DeleteOffsetsTicket { refused: Vec::new(), rest };
        }
        let image = self.image();
        let mut refused = Vec::new();
        let mut partitions = Vec::new();
        for (topic, indexes) in asked {
            for partition in indexes {
                match self.deletable(&image, caller, topic, *partition) {
                    Ok(name) => {
                        refused.push(None);
                        partitions.push((name, *partition));
                    }
                    Err(error) => {
                        self.audit_position(caller, &group, &format_args!("{topic}-{partition}"), Err(error));
                        refused.push(Some(error));
                    }
                }
            }
        }
        if partitions.is_empty() && !refused.is_empty() {
            let rest = GroupTicket::ready(Ok(GroupReply::DeleteOffsets(Ok(Vec::new()))));
            return DeleteOffsetsTicket { refused, rest };
        }
        let call = GroupCall::DeleteOffsets(partitions.clone());
        let rest = self.call_group(group.clone(), self.topic_directory(), call).await;
        let rest = self.overhear(caller, rest, move |broker, caller, reply| {
            let results = match reply {
                Ok(GroupReply::DeleteOffsets(results)) => results.as_ref().map_err(|error| *error),
                Ok(_) => Err(KafkaError::UnknownServerError),
                Err(error) => Err(*error),
            };
            for (at, (topic, partition)) in partitions.iter().enumerate() {
                let result =
                    results.and_then(|all| all.get(at).copied().unwrap_or(Err(KafkaError::UnknownServerError)));
                broker.audit_position(caller, &group, &format_args!("{topic}-{partition}"), result);
            }
        });
        DeleteOffsetsTicket { refused, rest }
    }

    /// Tells the audit log how it ended that a group's position was to be forgotten.
    fn audit_position(
        &self,
        caller: &Caller,
        group: &GroupId,
        partition: &dyn fmt::Display,
        result: Result<(), KafkaError>,
    ) {
        let name = format_args!("{}: {partition}", group.as_str());
        self.audit_change(caller, "DELETE_OFFSET", &name, &result.map_err(BrokerError::from));
    }

    fn deletable(
        &self,
        image: &ClusterImage,
        caller: &Caller,
        topic: &TopicRef,
        partition: PartitionIndex,
    ) -> Result<TopicName, KafkaError> {
        let topic = self.find_topic(image, caller, Operation::Read, topic);
        let topic = topic.map_err(|error| nameless(error).error)?;
        match topic.partition(partition) {
            Some(_) => Ok(topic.name.clone()),
            None => Err(KafkaError::UnknownTopicOrPartition),
        }
    }
}
