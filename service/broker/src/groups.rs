//! Groups: finds a group's coordinator, asks it, and resolves topics for offsets.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tidelog_coordinator::group::{
    Assignor, CommitOffsets, CommittedOffset, Epoch, FetchOffsets, FetchedOffset, Generation, GroupCall, GroupConfig,
    GroupId, GroupReply, GroupShard, InstanceId, MemberId, MigrationPolicy, OffsetToCommit, TopicDirectory,
};
use tidelog_coordinator::{CoordinatorRecord, Forgetting, Replayed, Unreadable, partition_for};
use tidelog_metadata::{ClusterImage, Topic, decide};
use tidelog_model::{
    Caller, KafkaError, LeaderEpoch, NodeId, OFFSETS_TOPIC, Offset, PartitionIndex, TopicId, TopicName,
};
use tidelog_record::{BatchHeader, EndTransactionMarker, MarkerKind};
use tidelog_security::{Operation, Resource};
use tokio::sync::oneshot;
use uuid::Uuid;

use crate::broker::Broker;
use crate::coordinator_log::{self, Replay};
use crate::lookup::nameless;
use crate::replica::{GroupWork, Replica, Work};
use crate::{BrokerError, TopicRef};

/// A question to a coordinator on its way: the waiting stage.
pub struct GroupTicket<T>(oneshot::Receiver<Result<T, KafkaError>>);

impl<T> GroupTicket<T> {
    pub(crate) fn ready(result: Result<T, KafkaError>) -> Self {
        let (sender, receiver) = oneshot::channel();
        let _ = sender.send(result);
        GroupTicket(receiver)
    }
}

impl<T> Future for GroupTicket<T> {
    type Output = Result<T, BrokerError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(cx).map(|answer| match answer {
            Ok(result) => result.map_err(BrokerError::from),
            Err(_) => Err(KafkaError::NotCoordinator.into()),
        })
    }
}

/// OffsetCommit as a door hands it over.
#[derive(Clone, Debug)]
pub struct CommitRequest {
    /// The group.
    pub group: GroupId,
    /// The member's generation; −1 from outside of group management.
    pub generation: Generation,
    /// The member's id; empty from outside of group management.
    pub member_id: MemberId,
    /// The static member's name.
    pub instance_id: Option<InstanceId>,
    /// How long to keep the offsets, milliseconds; `None` for the broker's setting.
    pub retention_ms: Option<i64>,
    /// The client knows that members of the consumer protocol commit in an epoch.
    pub knows_epochs: bool,
    /// The offsets.
    pub offsets: Vec<PartitionCommit>,
}

/// One offset to commit.
#[derive(Clone, Debug)]
pub struct PartitionCommit {
    /// The topic.
    pub topic: TopicRef,
    /// The partition.
    pub partition: PartitionIndex,
    /// The next offset to read.
    pub offset: Offset,
    /// The leader epoch of the last record read; −1 if unknown.
    pub leader_epoch: LeaderEpoch,
    /// The client's note.
    pub metadata: Arc<str>,
}

/// The results of a commit, in the request's order; some may be refused before the coordinator sees them.
pub struct CommitTicket {
    refused: Vec<Option<KafkaError>>,
    rest: Rest,
}

/// What the coordinator is still asked.
enum Rest {
    Nothing,
    Commit(GroupTicket<GroupReply>),
    InTransaction(GroupTicket<Vec<Result<(), KafkaError>>>),
}

impl CommitTicket {
    /// Nothing is left to ask.
    pub(crate) fn refused(refused: Vec<Option<KafkaError>>) -> Self {
        CommitTicket { refused, rest: Rest::Nothing }
    }

    /// A commit that is part of a transaction.
    pub(crate) fn transactional(
        refused: Vec<Option<KafkaError>>,
        rest: GroupTicket<Vec<Result<(), KafkaError>>>,
    ) -> Self {
        CommitTicket { refused, rest: Rest::InTransaction(rest) }
    }

    /// Waits for the coordinator.
    async fn results(self) -> Vec<Result<(), KafkaError>> {
        let accepted = self.refused.iter().filter(|refused| refused.is_none()).count();
        let answers = match self.rest {
            Rest::Nothing => Ok(Vec::new()),
            Rest::InTransaction(ticket) => ticket.await,
            Rest::Commit(ticket) => ticket.await.and_then(|reply| match reply {
                GroupReply::Commit(results) => Ok(results),
                _ => Err(KafkaError::UnknownServerError.into()),
            }),
        };
        let mut answers = answers.unwrap_or_else(|error| vec![Err(error.error); accepted]).into_iter();
        let result = |refused: Option<KafkaError>| match refused {
            Some(error) => Err(error),
            None => answers.next().unwrap_or(Err(KafkaError::UnknownServerError)),
        };
        self.refused.into_iter().map(result).collect()
    }
}

impl IntoFuture for CommitTicket {
    type Output = Vec<Result<(), KafkaError>>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.results())
    }
}

/// OffsetFetch as a door hands it over.
#[derive(Clone, Debug)]
pub struct OffsetsRequest {
    /// The group.
    pub group: GroupId,
    /// The partitions, or all that have an offset.
    pub topics: Option<Vec<(TopicRef, Vec<PartitionIndex>)>>,
    /// Refuse offsets that an open transaction may change (KIP-447).
    pub require_stable: bool,
    /// The member of the consumer protocol that asks, and its epoch.
    pub member: Option<(MemberId, Epoch)>,
}

/// One position of a group.
#[derive(Clone, Debug)]
pub struct GroupOffset {
    /// The topic as it was asked for; by name if all were asked for.
    pub topic: TopicRef,
    /// Its id, zero if unknown.
    pub topic_id: TopicId,
    /// The partition.
    pub partition: PartitionIndex,
    /// The offset, `None` if there is none.
    pub committed: Result<Option<CommittedOffset>, KafkaError>,
}

/// A topic as it was asked for, what it is if it is known and the caller may see it, and the partitions.
type AskedTopic = (TopicRef, Result<Option<(TopicName, TopicId)>, KafkaError>, Vec<PartitionIndex>);

/// The waiting stage of OffsetFetch.
pub struct OffsetsTicket {
    asked: Option<Vec<AskedTopic>>,
    image: Arc<ClusterImage>,
    /// Whoever asks for all gets those of topics that he may see.
    visible: Box<dyn Fn(&str) -> bool + Send>,
    rest: GroupTicket<Vec<FetchedOffset>>,
}

impl OffsetsTicket {
    async fn results(self) -> Result<Vec<GroupOffset>, BrokerError> {
        let found = self.rest.await?;
        let Some(asked) = self.asked else {
            let known = |name: &TopicName| self.image.topic(name.as_str()).map_or(TopicId::ZERO, |topic| topic.id);
            let offset = |fetched: FetchedOffset| {
                let topic_id = known(&fetched.topic);
                GroupOffset {
                    topic: TopicRef::from(fetched.topic.as_str()),
                    topic_id,
                    partition: fetched.partition,
                    committed: of_this_topic(fetched.committed, topic_id),
                }
            };
            let offsets = found.into_iter().filter(|fetched| (self.visible)(fetched.topic.as_str())).map(offset);
            return Ok(offsets.filter(|offset| !matches!(offset.committed, Ok(None))).collect());
        };
        let mut found = found.into_iter();
        let mut offsets = Vec::new();
        for (topic, known, partitions) in asked {
            for partition in partitions {
                // The coordinator was asked for the known ones, in this order.
                let committed = match &known {
                    Err(error) => Err(*error),
                    Ok(Some((_, id))) => found.next().map_or(Ok(None), |fetched| of_this_topic(fetched.committed, *id)),
                    Ok(None) => Ok(None),
                };
                let topic_id = known.as_ref().ok().and_then(Option::as_ref).map_or(TopicId::ZERO, |(_, id)| *id);
                offsets.push(GroupOffset { topic: topic.clone(), topic_id, partition, committed });
            }
        }
        Ok(offsets)
    }
}

/// An offset that was committed for an earlier topic of the same name is none of this one's.
fn of_this_topic(
    committed: Result<Option<CommittedOffset>, KafkaError>,
    id: TopicId,
) -> Result<Option<CommittedOffset>, KafkaError> {
    let own =
        |offset: &CommittedOffset| offset.topic_id == TopicId::ZERO || id == TopicId::ZERO || offset.topic_id == id;
    committed.map(|offset| offset.filter(own))
}

impl IntoFuture for OffsetsTicket {
    type Output = Result<Vec<GroupOffset>, BrokerError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.results())
    }
}

impl Broker {
    /// Chance for a new member's id.
    pub fn fresh_member_id(&self) -> Arc<str> {
        Arc::from(Uuid::new_v4().to_string())
    }

    /// The node that coordinates a group. Creates the topic of the groups' records if this is the first.
    pub async fn group_coordinator(&self, caller: &Caller, group: &str) -> Result<NodeId, BrokerError> {
        if !self.may(caller, Operation::Describe, Resource::Group(group)) {
            return Err(KafkaError::GroupAuthorizationFailed.into());
        }
        let topic = self.internal_topic(OFFSETS_TOPIC).await?;
        let index = partition_for(group, topic.partition_count);
        let leader = topic.partition(index).and_then(|partition| partition.state.leader);
        leader.ok_or_else(|| KafkaError::CoordinatorNotAvailable.into())
    }

    /// A topic of coordinators' records; created when it is first needed.
    pub(crate) async fn internal_topic(&self, name: &str) -> Result<Arc<Topic>, BrokerError> {
        if let Some(topic) = self.image().topic(name) {
            return Ok(Arc::clone(topic));
        }
        let name = TopicName::new(name)
            .map_err(|invalid| BrokerError::new(KafkaError::UnknownServerError, invalid.to_string()))?;
        match self.create(decide::auto_topic(&name, self.config()), false).await {
            Ok(_) => {}
            Err(error) if error.error == KafkaError::TopicAlreadyExists => {}
            // Some of its partitions may be there: each group or transaction hears from its own.
            Err(error) if error.error == KafkaError::KafkaStorageError => {}
            Err(error) => return Err(error),
        }
        self.image().topic(name.as_str()).cloned().ok_or_else(|| KafkaError::CoordinatorNotAvailable.into())
    }

    pub(crate) fn coordinator(&self, group: &str) -> Result<Arc<Replica>, KafkaError> {
        let image = self.image();
        let topic = image.topic(OFFSETS_TOPIC).ok_or(KafkaError::NotCoordinator)?;
        self.coordinator_at(topic.id, partition_for(group, topic.partition_count))
    }

    /// The replica in which one shard of the coordinator lives.
    pub(crate) fn coordinator_at(&self, topic: TopicId, index: PartitionIndex) -> Result<Arc<Replica>, KafkaError> {
        match self.replicas().leading(topic, index) {
            // It could not load, or can store nothing any more.
            Ok(replica) if replica.view.offline().is_some() => Err(KafkaError::CoordinatorNotAvailable),
            Ok(replica) => Ok(replica),
            Err(KafkaError::KafkaStorageError) => Err(KafkaError::CoordinatorNotAvailable),
            Err(_) => Err(KafkaError::CoordinatorLoadInProgress),
        }
    }

    /// Enqueues a request to a group's coordinator.
    pub async fn group(&self, caller: &Caller, group: GroupId, call: GroupCall) -> GroupTicket<GroupReply> {
        let operation = match call {
            GroupCall::Delete | GroupCall::DeleteOffsets(_) => Operation::Delete,
            GroupCall::Join(_)
            | GroupCall::Sync(_)
            | GroupCall::Heartbeat(_)
            | GroupCall::Leave(_)
            | GroupCall::Consumer(_)
            | GroupCall::Commit(_) => Operation::Read,
        };
        if !self.may(caller, operation, Resource::Group(group.as_str())) {
            return GroupTicket::ready(Err(KafkaError::GroupAuthorizationFailed));
        }
        let deletes = matches!(call, GroupCall::Delete);
        let ticket = self.call_group(group.clone(), self.topic_directory(), call).await;
        if !deletes {
            return ticket;
        }
        self.overhear(caller, ticket, move |broker, caller, reply| {
            let deleted = match reply {
                Ok(GroupReply::Delete(deleted)) => deleted.map_err(BrokerError::from),
                Ok(_) => Err(KafkaError::UnknownServerError.into()),
                Err(error) => Err((*error).into()),
            };
            broker.audit_change(caller, "DELETE_GROUP", &group.as_str(), &deleted);
        })
    }

    /// The same answer, of which the audit log hears first, also when whoever asked is gone by then.
    pub(crate) fn overhear<T: Send + 'static>(
        &self,
        caller: &Caller,
        ticket: GroupTicket<T>,
        tell: impl FnOnce(&Broker, &Caller, &Result<T, KafkaError>) + Send + 'static,
    ) -> GroupTicket<T> {
        if !self.has_audit() {
            return ticket;
        }
        let (broker, caller) = (self.clone(), caller.clone());
        let (sender, receiver) = oneshot::channel();
        tokio::spawn(async move {
            let answer = ticket.0.await.unwrap_or(Err(KafkaError::NotCoordinator));
            tell(&broker, &caller, &answer);
            let _ = sender.send(answer);
        });
        GroupTicket(receiver)
    }

    /// Enqueues a request that was authorized.
    pub(crate) async fn call_group(
        &self,
        group: GroupId,
        topics: Arc<TopicDirectory>,
        call: GroupCall,
    ) -> GroupTicket<GroupReply> {
        let own = self.own_times(&group);
        self.ask(&group.clone(), |reply| GroupWork::Call { group, topics, own, call, reply }).await
    }

    /// Enqueues anything to the coordinator of a group.
    pub(crate) async fn ask<T>(
        &self,
        group: &GroupId,
        work: impl FnOnce(oneshot::Sender<Result<T, KafkaError>>) -> GroupWork,
    ) -> GroupTicket<T> {
        match self.coordinator(group.as_str()) {
            Ok(replica) => ask_shard(&replica, work).await,
            Err(error) => GroupTicket::ready(Err(error)),
        }
    }

    /// Commits positions of a group. Offsets of topics that do not exist are refused one by one.
    pub async fn commit_offsets(&self, caller: &Caller, request: CommitRequest) -> CommitTicket {
        if !self.may(caller, Operation::Read, Resource::Group(request.group.as_str())) {
            return CommitTicket::refused(vec![Some(KafkaError::GroupAuthorizationFailed); request.offsets.len()]);
        }
        let (refused, offsets) = self.committable_offsets(caller, request.offsets);
        if offsets.is_empty() && !refused.is_empty() {
            return CommitTicket::refused(refused);
        }
        let call = GroupCall::Commit(CommitOffsets {
            generation: request.generation,
            member_id: request.member_id,
            instance_id: request.instance_id,
            retention_ms: request.retention_ms,
            knows_epochs: request.knows_epochs,
            offsets,
        });
        CommitTicket { refused, rest: Rest::Commit(self.group(caller, request.group, call).await) }
    }

    /// Which offsets name a topic that is there and that the caller may read: an error for each that does not, and the others.
    pub(crate) fn committable_offsets(
        &self,
        caller: &Caller,
        asked: Vec<PartitionCommit>,
    ) -> (Vec<Option<KafkaError>>, Vec<OffsetToCommit>) {
        let image = self.image();
        let mut refused = Vec::with_capacity(asked.len());
        let mut offsets = Vec::with_capacity(asked.len());
        for asked in asked {
            match self.committable(&image, caller, &asked) {
                Ok(topic) => {
                    refused.push(None);
                    offsets.push(OffsetToCommit {
                        topic: topic.name.clone(),
                        topic_id: topic.id,
                        partition: asked.partition,
                        offset: asked.offset,
                        leader_epoch: asked.leader_epoch,
                        metadata: asked.metadata,
                    });
                }
                Err(error) => refused.push(Some(error)),
            }
        }
        (refused, offsets)
    }

    fn committable(
        &self,
        image: &ClusterImage,
        caller: &Caller,
        asked: &PartitionCommit,
    ) -> Result<Arc<Topic>, KafkaError> {
        let topic = self.find_topic(image, caller, Operation::Read, &asked.topic);
        let topic = topic.map_err(|error| nameless(error).error)?;
        match topic.partition(asked.partition) {
            Some(_) => Ok(topic),
            None => Err(KafkaError::UnknownTopicOrPartition),
        }
    }

    /// Asks for positions of a group.
    pub async fn fetch_offsets(&self, caller: &Caller, request: OffsetsRequest) -> OffsetsTicket {
        let image = self.image();
        let asked = request.topics.map(|topics| {
            topics
                .into_iter()
                .map(|(topic, partitions)| {
                    let named = match (self.find_topic(&image, caller, Operation::Describe, &topic), &topic) {
                        (Ok(topic), _) => Ok(Some((topic.name.clone(), topic.id))),
                        (Err(error), TopicRef::Id(_)) => Err(error.error),
                        (Err(error), _) if error.error == KafkaError::TopicAuthorizationFailed => Err(error.error),
                        // Offsets outlive nothing but their topic: a name alone may still have some.
                        (Err(_), TopicRef::Name(name)) => {
                            Ok(TopicName::new(name).ok().map(|name| (name, TopicId::ZERO)))
                        }
                    };
                    (topic, named, partitions)
                })
                .collect::<Vec<_>>()
        });
        let wanted = asked.as_ref().map(|topics| {
            let known = topics.iter().filter_map(|(_, named, partitions)| {
                named.as_ref().ok().and_then(Option::as_ref).map(|(name, _)| (name.clone(), partitions.clone()))
            });
            known.collect()
        });
        let rest = if self.may(caller, Operation::Describe, Resource::Group(request.group.as_str())) {
            let fetch = FetchOffsets {
                group: request.group.clone(),
                topics: wanted,
                require_stable: request.require_stable,
                member: request.member,
            };
            self.ask(&request.group, |reply| GroupWork::Offsets(fetch, reply)).await
        } else {
            GroupTicket::ready(Err(KafkaError::GroupAuthorizationFailed))
        };
        let (broker, caller) = (self.clone(), caller.clone());
        let visible = move |topic: &str| broker.may(&caller, Operation::Describe, Resource::Topic(topic));
        OffsetsTicket { asked, image, visible: Box::new(visible), rest }
    }
}

/// Enqueues a question to the shard that lives in this partition.
pub(crate) async fn ask_shard<T>(
    replica: &Arc<Replica>,
    work: impl FnOnce(oneshot::Sender<Result<T, KafkaError>>) -> GroupWork,
) -> GroupTicket<T> {
    let (reply, answer) = oneshot::channel();
    replica.enqueue(Work::Group(work(reply))).await;
    GroupTicket(answer)
}

/// As the coordinator counts them.
pub(crate) fn milliseconds(duration: std::time::Duration) -> i32 {
    i32::try_from(duration.as_millis()).unwrap_or(i32::MAX)
}

/// The groups' settings from the broker's.
pub(crate) fn group_config(config: &tidelog_metadata::BrokerConfig) -> GroupConfig {
    let ms = milliseconds;
    let policy = config.group_consumer_migration_policy.as_str();
    GroupConfig {
        min_session_timeout_ms: ms(config.group_min_session_timeout),
        max_session_timeout_ms: ms(config.group_max_session_timeout),
        initial_rebalance_delay: config.group_initial_rebalance_delay,
        max_size: usize::try_from(config.group_max_size).unwrap_or(usize::MAX),
        offset_metadata_max_bytes: usize::try_from(config.offset_metadata_max_bytes).unwrap_or(0),
        offsets_retention: config.offsets_retention,
        offsets_retention_check_interval: config.offsets_retention_check_interval,
        consumer_session_timeout_ms: ms(config.group_consumer_times.session_timeout),
        consumer_heartbeat_interval_ms: ms(config.group_consumer_times.heartbeat_interval),
        consumer_assignment_interval_ms: ms(config.group_consumer_times.assignment_interval),
        assignors: config.group_consumer_assignors.iter().filter_map(|name| Assignor::by_name(name)).collect(),
        consumer_max_size: usize::try_from(config.group_consumer_max_size).unwrap_or(usize::MAX),
        migration: MigrationPolicy {
            upgrade: matches!(policy, "bidirectional" | "upgrade"),
            downgrade: matches!(policy, "bidirectional" | "downgrade"),
        },
    }
}

/// Loads the shard that lives in a partition and hands it over. Blocks.
pub(crate) fn load_shard(replica: &Arc<Replica>, config: GroupConfig) {
    if let Some(shard) = coordinator_log::load(replica, GroupShard::new(config)) {
        replica.enqueue_internal(Work::Group(GroupWork::Loaded(Box::new(shard))));
    }
}

impl Replay for GroupShard {
    fn record(&mut self, header: &BatchHeader, record: &CoordinatorRecord) -> Replayed {
        match header.attributes.is_transactional() {
            true => self.replay_transactional(header.producer_id, record),
            false => self.replay(record),
        }
    }

    fn marker(&mut self, header: &BatchHeader, marker: EndTransactionMarker) {
        self.replay_end_transaction(header.producer_id, marker.kind == MarkerKind::Commit);
    }

    fn forget(&self, unreadable: &Unreadable) -> Forgetting {
        GroupShard::forget(self, &unreadable.key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offset_belongs_to_the_topic_it_was_committed_for() {
        let (old, new) = (TopicId(Uuid::from_u128(1)), TopicId(Uuid::from_u128(2)));
        let shown = |committed_for, asked_for| {
            let offset = CommittedOffset {
                offset: Offset(5),
                leader_epoch: LeaderEpoch::NONE,
                metadata: Arc::from(""),
                commit_timestamp: tidelog_model::Timestamp(0),
                expire_timestamp: None,
                topic_id: committed_for,
            };
            of_this_topic(Ok(Some(offset)), asked_for).unwrap().is_some()
        };
        assert!(shown(old, old));
        assert!(!shown(old, new), "an earlier topic of the same name");
        // Kafka's own records name no id, and a topic that is gone has none.
        assert!(shown(TopicId::ZERO, new) && shown(old, TopicId::ZERO));
    }
}
