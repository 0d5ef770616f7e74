//! Groups' offsets, without membership: commit, read and forget positions at the group's coordinator.

use tidelog_model::{KafkaError, LeaderEpoch, NodeId, Offset, PartitionIndex};
use tidelog_protocol::Str;
use tidelog_protocol::messages::{
    FindCoordinatorRequest, OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
    OffsetDeleteRequest, OffsetDeleteRequestPartition, OffsetDeleteRequestTopic, OffsetFetchRequest,
    OffsetFetchRequestGroup,
};
use tokio::time::Instant;

use crate::client::Backoff;
use crate::{BrokerAddress, Client, ClientError, Connection};

/// A group's position in one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommittedOffset {
    /// The topic's name.
    pub topic: String,
    /// The partition's number.
    pub partition: PartitionIndex,
    /// The offset of the next record to read.
    pub offset: Offset,
    /// The leader epoch of the last record read, or −1.
    pub leader_epoch: LeaderEpoch,
    /// What the committer kept with it.
    pub metadata: String,
}

/// Later versions of both APIs name topics by id.
const LAST_WITH_NAMES: i16 = 9;

impl Client {
    /// Commits positions of a group that has no members.
    pub async fn commit_offsets(&self, group: &str, offsets: &[CommittedOffset]) -> Result<(), ClientError> {
        let mut topics: Vec<OffsetCommitRequestTopic> = Vec::new();
        for offset in offsets {
            let partition = OffsetCommitRequestPartition {
                partition_index: offset.partition.0,
                committed_offset: offset.offset.0,
                committed_leader_epoch: offset.leader_epoch.0,
                committed_metadata: Some(Str::from(&offset.metadata)),
                ..Default::default()
            };
            match topics.iter_mut().find(|topic| topic.name == *offset.topic) {
                Some(topic) => topic.partitions.push(partition),
                None => topics.push(OffsetCommitRequestTopic {
                    name: Str::from(&offset.topic),
                    partitions: vec![partition],
                    ..Default::default()
                }),
            }
        }
        let request = OffsetCommitRequest { group_id: Str::from(group), topics, ..Default::default() };
        let mut backoff = Backoff::until(Instant::now() + self.timeout());
        loop {
            let coordinator = self.group_coordinator(group).await?;
            let response = coordinator.call_up_to(LAST_WITH_NAMES, &request).await?;
            let mut result = Ok(());
            for topic in &response.topics {
                for partition in &topic.partitions {
                    let what = || format!("offset of {}-{}", topic.name, partition.partition_index);
                    result = result.and(ClientError::check(partition.error_code, what, None));
                }
            }
            match result {
                Err(error) if error.is_retriable() && backoff.wait().await => {}
                result => return result,
            }
        }
    }

    /// All positions of a group, by topic and partition.
    pub async fn committed_offsets(&self, group: &str) -> Result<Vec<CommittedOffset>, ClientError> {
        let mut backoff = Backoff::until(Instant::now() + self.timeout());
        loop {
            match self.committed_once(group).await {
                Err(error) if error.is_retriable() && !error.is_unreachable() && backoff.wait().await => {}
                result => return result,
            }
        }
    }

    async fn committed_once(&self, group: &str) -> Result<Vec<CommittedOffset>, ClientError> {
        let coordinator = self.group_coordinator(group).await?;
        let version = coordinator.versions().choose::<OffsetFetchRequest>(LAST_WITH_NAMES)?;
        let request = if version >= 8 {
            let asked = OffsetFetchRequestGroup { group_id: Str::from(group), topics: None, ..Default::default() };
            OffsetFetchRequest { groups: vec![asked], ..Default::default() }
        } else {
            OffsetFetchRequest { group_id: Str::from(group), topics: None, ..Default::default() }
        };
        let response = coordinator.call_up_to(LAST_WITH_NAMES, &request).await?;
        let what = || format!("group `{group}`");
        ClientError::check(response.error_code, what, None)?;
        let mut found = Vec::new();
        for topic in &response.topics {
            for p in &topic.partitions {
                ClientError::check(p.error_code, || format!("offset of {}-{}", topic.name, p.partition_index), None)?;
                found.push(committed(
                    &topic.name,
                    p.partition_index,
                    p.committed_offset,
                    p.committed_leader_epoch,
                    &p.metadata,
                ));
            }
        }
        for answer in &response.groups {
            ClientError::check(answer.error_code, what, None)?;
            for topic in &answer.topics {
                for p in &topic.partitions {
                    ClientError::check(
                        p.error_code,
                        || format!("offset of {}-{}", topic.name, p.partition_index),
                        None,
                    )?;
                    found.push(committed(
                        &topic.name,
                        p.partition_index,
                        p.committed_offset,
                        p.committed_leader_epoch,
                        &p.metadata,
                    ));
                }
            }
        }
        found.sort_by(|a, b| (&a.topic, a.partition).cmp(&(&b.topic, b.partition)));
        Ok(found)
    }

    /// Forgets positions of a group: one result for each, in this order. The error of the group as a whole (it is unknown, or its members are no
    /// consumers) is returned instead of them.
    pub async fn delete_offsets(
        &self,
        group: &str,
        partitions: &[(String, PartitionIndex)],
    ) -> Result<Vec<Result<(), ClientError>>, ClientError> {
        let mut topics: Vec<OffsetDeleteRequestTopic> = Vec::new();
        for (topic, partition) in partitions {
            let partition = OffsetDeleteRequestPartition { partition_index: partition.get(), ..Default::default() };
            match topics.iter_mut().find(|asked| asked.name == **topic) {
                Some(asked) => asked.partitions.push(partition),
                None => topics.push(OffsetDeleteRequestTopic {
                    name: Str::from(topic),
                    partitions: vec![partition],
                    ..Default::default()
                }),
            }
        }
        let request = OffsetDeleteRequest { group_id: Str::from(group), topics, ..Default::default() };
        let mut backoff = Backoff::until(Instant::now() + self.timeout());
        let response = loop {
            let response = self.group_coordinator(group).await?.call(&request).await?;
            match ClientError::check(response.error_code, || format!("group `{group}`"), None) {
                Err(error) if error.is_retriable() && backoff.wait().await => {}
                Err(error) => return Err(error),
                Ok(()) => break response,
            }
        };
        let result = |(topic, partition): &(String, PartitionIndex)| {
            let what = || format!("offset of {topic}-{partition}");
            let answer = response.topics.iter().find(|answer| answer.name == **topic);
            let answer =
                answer.and_then(|topic| topic.partitions.iter().find(|p| p.partition_index == partition.get()));
            match answer {
                Some(answer) => ClientError::check(answer.error_code, what, None),
                None => Err(ClientError::kafka(KafkaError::UnknownServerError, what(), Some("the answer lacks it"))),
            }
        };
        Ok(partitions.iter().map(result).collect())
    }

    /// A connection to the group's coordinator; waits while there is none.
    pub(crate) async fn group_coordinator(&self, group: &str) -> Result<Connection, ClientError> {
        self.coordinator(0, group, &format!("group `{group}`")).await
    }

    /// A connection to the transactional id's coordinator; waits while there is none.
    pub(super) async fn transaction_coordinator(&self, id: &str) -> Result<Connection, ClientError> {
        self.coordinator(1, id, &format!("transactional id `{id}`")).await
    }

    async fn coordinator(&self, key_type: i8, key: &str, what: &str) -> Result<Connection, ClientError> {
        let mut backoff = Backoff::until(Instant::now() + self.timeout());
        loop {
            let broker = self.any_broker().await?;
            let version = broker.versions().choose::<FindCoordinatorRequest>(i16::MAX)?;
            let request = if version >= 4 {
                FindCoordinatorRequest { key_type, coordinator_keys: vec![Str::from(key)], ..Default::default() }
            } else {
                FindCoordinatorRequest { key_type, key: Str::from(key), ..Default::default() }
            };
            let response = broker.call(&request).await?;
            let (code, message, node, host, port) = match response.coordinators.into_iter().next() {
                Some(c) => (c.error_code, c.error_message, c.node_id, c.host, c.port),
                None => (response.error_code, response.error_message, response.node_id, response.host, response.port),
            };
            match ClientError::check(code, || format!("coordinator of {what}"), message.as_deref()) {
                Err(error) if error.is_retriable() && backoff.wait().await => {}
                Err(error) => return Err(error),
                Ok(()) => {
                    let port = u16::try_from(port)
                        .map_err(|_| ClientError::kafka(KafkaError::CoordinatorNotAvailable, what, None))?;
                    return self.broker(NodeId(node), &BrokerAddress { host: host.as_str().to_owned(), port }).await;
                }
            }
        }
    }
}

fn committed(topic: &str, partition: i32, offset: i64, epoch: i32, metadata: &Option<Str>) -> CommittedOffset {
    CommittedOffset {
        topic: topic.to_owned(),
        partition: PartitionIndex(partition),
        offset: Offset(offset),
        leader_epoch: LeaderEpoch(epoch),
        metadata: metadata.as_deref().unwrap_or_default().to_owned(),
    }
}
