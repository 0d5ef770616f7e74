//! A member of a group by the consumer protocol (KIP-848): it reports to the coordinator, hears which partitions it may read, and
//! commits positions. It reads no records and chooses no partitions.

use std::time::Duration;

use tidelog_model::{KafkaError, Offset, PartitionIndex, TopicId};
use tidelog_protocol::Str;
use tidelog_protocol::messages::{
    ConsumerGroupHeartbeatRequest, HeartbeatTopicPartitions, OffsetCommitRequest, OffsetCommitRequestPartition,
    OffsetCommitRequestTopic,
};
use tokio::time::Instant;
use uuid::Uuid;

use crate::client::Backoff;
use crate::limits::{FIRST_BACKOFF, GIVE_UP_TIME};
use crate::{Client, ClientError, TopicInfo};

/// Epochs that say something else than how often the group has changed.
const JOINS: i32 = 0;
const LEAVES: i32 = -1;

/// Later versions name topics by id.
const LAST_WITH_NAMES: i16 = 9;

/// What a report brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Report {
    /// Nothing new.
    Unchanged,
    /// All that the member may read from now on, and of which topic. Another id than before: the topic was deleted and made again, and what
    /// was owned of the old one is gone with it.
    Assigned(TopicId, Vec<PartitionIndex>),
    /// The group has given the member up: it has no partitions any more, and the next report joins anew.
    Fenced,
}

/// What became of positions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Committed {
    /// They are stored.
    Stored,
    /// The group has given the member up, as [`Report::Fenced`]: whoever has its partitions now begins at their last positions.
    Fenced,
    /// The topic that they are of was deleted; one of the same name is another.
    TopicGone,
}

/// A member that reads one topic. It stays one only as long as it reports in time.
#[derive(Debug)]
pub struct Membership {
    client: Client,
    group: String,
    topic: String,
    topic_id: TopicId,
    id: Str,
    epoch: i32,
    due: Instant,
    patience: Duration,
}

impl Membership {
    /// A member that joins with its first report. `patience` is how long it bears a coordinator that cannot answer.
    pub fn new(client: &Client, group: &str, topic: &TopicInfo, patience: Duration) -> Self {
        Membership {
            patience,
            client: client.clone(),
            group: group.to_owned(),
            topic: topic.name.clone(),
            topic_id: topic.id,
            id: Str::from(Uuid::new_v4().to_string()),
            epoch: JOINS,
            due: Instant::now(),
        }
    }

    /// When the next report is due.
    pub fn due(&self) -> Instant {
        self.due
    }

    /// The next report is due at once: what is owned has changed.
    pub fn hurry(&mut self) {
        self.due = Instant::now();
    }

    /// Says what is owned, and hears what may be.
    pub async fn report(&mut self, owned: &[PartitionIndex]) -> Result<Report, ClientError> {
        let mut backoff = Backoff::until(Instant::now() + self.patience);
        loop {
            let result = self.report_once(owned).await;
            // A server that starts again knows the group and its members from its log.
            let obstacle = result.as_ref().err().filter(|error| error.is_retriable());
            self.client.waits_over(obstacle);
            if obstacle.is_none() || !backoff.wait().await {
                return result;
            }
        }
    }

    async fn report_once(&mut self, owned: &[PartitionIndex]) -> Result<Report, ClientError> {
        let owned = HeartbeatTopicPartitions {
            topic_id: self.topic_id,
            partitions: owned.iter().map(|partition| partition.get()).collect(),
            ..Default::default()
        };
        let request = ConsumerGroupHeartbeatRequest {
            rebalance_timeout_ms: i32::try_from(GIVE_UP_TIME.as_millis()).unwrap_or(i32::MAX),
            subscribed_topic_names: Some(vec![Str::from(&self.topic)]),
            topic_partitions: Some(if owned.partitions.is_empty() { Vec::new() } else { vec![owned] }),
            ..self.heartbeat(self.epoch)
        };
        let answer = self.client.group_coordinator(&self.group).await?.call(&request).await?;
        match KafkaError::from_code(answer.error_code) {
            Some(KafkaError::FencedMemberEpoch | KafkaError::UnknownMemberId) if self.epoch != JOINS => {
                self.rejoin();
                return Ok(Report::Fenced);
            }
            _ => ClientError::check(answer.error_code, || self.what(), answer.error_message.as_deref())?,
        }
        self.epoch = answer.member_epoch;
        let interval = Duration::from_millis(u64::try_from(answer.heartbeat_interval_ms).unwrap_or(0));
        self.due = Instant::now() + interval.max(FIRST_BACKOFF);
        let Some(assignment) = answer.assignment else { return Ok(Report::Unchanged) };
        let mut topics = assignment.topic_partitions;
        topics.retain(|topic| !topic.partitions.is_empty());
        // The member subscribes to one name, so that another topic than its own is the next of that name.
        let ours = topics.iter().find(|topic| topic.topic_id == self.topic_id).or(topics.first());
        self.topic_id = ours.map_or(self.topic_id, |topic| topic.topic_id);
        let partitions = ours.iter().flat_map(|topic| &topic.partitions).copied().map(PartitionIndex);
        Ok(Report::Assigned(self.topic_id, partitions.collect()))
    }

    fn rejoin(&mut self) {
        (self.epoch, self.due) = (JOINS, Instant::now());
    }

    /// Stores positions: the offsets of the next records to read. `owned` is what is read, with news or without.
    pub async fn commit(
        &mut self,
        positions: &[(PartitionIndex, Offset)],
        owned: &[PartitionIndex],
    ) -> Result<Committed, ClientError> {
        let mut backoff = Backoff::until(Instant::now() + self.patience);
        loop {
            let result = self.commit_once(positions).await;
            let Err(error) = result else {
                self.client.waits_over(None);
                return Ok(Committed::Stored);
            };
            match error.kafka_error() {
                Some(KafkaError::UnknownTopicId | KafkaError::UnknownTopicOrPartition) => {
                    return Ok(Committed::TopicGone);
                }
                Some(KafkaError::FencedMemberEpoch | KafkaError::UnknownMemberId) => {
                    self.rejoin();
                    return Ok(Committed::Fenced);
                }
                // The group has moved on, and this member with it: the next report brings the epoch. What else it brings comes with the
                // one after it again: each report is a full one.
                Some(KafkaError::StaleMemberEpoch) if self.epoch != JOINS => {
                    if self.report(owned).await? == Report::Fenced {
                        return Ok(Committed::Fenced);
                    }
                }
                _ if error.is_retriable() => self.client.waits_over(Some(&error)),
                _ => return Err(error),
            }
            if !backoff.wait().await {
                return Err(error);
            }
        }
    }

    async fn commit_once(&self, positions: &[(PartitionIndex, Offset)]) -> Result<(), ClientError> {
        let partition = |(index, offset): &(PartitionIndex, Offset)| OffsetCommitRequestPartition {
            partition_index: index.get(),
            committed_offset: offset.get(),
            ..Default::default()
        };
        let topic = OffsetCommitRequestTopic {
            name: Str::from(&self.topic),
            topic_id: self.topic_id,
            partitions: positions.iter().map(partition).collect(),
            ..Default::default()
        };
        let request = OffsetCommitRequest {
            group_id: Str::from(&self.group),
            generation_id_or_member_epoch: self.epoch,
            member_id: self.id.clone(),
            topics: vec![topic],
            ..Default::default()
        };
        let coordinator = self.client.group_coordinator(&self.group).await?;
        // By its id where the server can: a position is none of the next topic of that name.
        let most = if self.topic_id == TopicId::ZERO { LAST_WITH_NAMES } else { i16::MAX };
        let answer = coordinator.call_up_to(most, &request).await?;
        answer.topics.iter().flat_map(|topic| &topic.partitions).try_for_each(|partition| {
            let what = || format!("position of {}-{}", self.topic, partition.partition_index);
            ClientError::check(partition.error_code, what, None)
        })
    }

    /// Leaves, so that the others need not wait until the group gives this member up.
    pub async fn leave(self) -> Result<(), ClientError> {
        if self.epoch == JOINS {
            return Ok(());
        }
        let answer = self.client.group_coordinator(&self.group).await?.call(&self.heartbeat(LEAVES)).await?;
        ClientError::check(answer.error_code, || self.what(), answer.error_message.as_deref())
    }

    fn heartbeat(&self, member_epoch: i32) -> ConsumerGroupHeartbeatRequest {
        ConsumerGroupHeartbeatRequest {
            group_id: Str::from(&self.group),
            member_id: self.id.clone(),
            member_epoch,
            ..Default::default()
        }
    }

    fn what(&self) -> String {
        format!("group `{}`", self.group)
    }
}
