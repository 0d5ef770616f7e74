//! Offsets by time or position (ListOffsets), over many partitions and their leaders.

use std::collections::BTreeMap;

use tidelog_model::{KafkaError, LeaderEpoch, Offset, PartitionIndex, Timestamp};
use tidelog_protocol::Str;
use tidelog_protocol::messages::{ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic};
use tokio::time::Instant;

use crate::client::{Backoff, Leader};
use crate::metadata::error_of;
use crate::{Client, ClientError};

/// Which records a reader sees (KIP-98).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Isolation {
    /// All below the high watermark.
    #[default]
    ReadUncommitted,
    /// Those of committed transactions, below the last stable offset.
    ReadCommitted,
}

impl Isolation {
    pub(crate) fn level(self) -> i8 {
        match self {
            Isolation::ReadUncommitted => 0,
            Isolation::ReadCommitted => 1,
        }
    }
}

/// What to look up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OffsetQuery {
    /// The first offset that exists.
    Earliest,
    /// The end: the offset after the last record that the isolation shows.
    Latest,
    /// The first record with this time or a later one.
    AtOrAfter(Timestamp),
    /// The record with the largest timestamp (KIP-734).
    MaxTimestamp,
    /// The first offset on the leader's own disk (KIP-405).
    EarliestLocal,
}

impl OffsetQuery {
    fn timestamp(self) -> i64 {
        match self {
            OffsetQuery::Latest => -1,
            OffsetQuery::Earliest => -2,
            OffsetQuery::MaxTimestamp => -3,
            OffsetQuery::EarliestLocal => -4,
            OffsetQuery::AtOrAfter(time) => time.get().max(0),
        }
    }

    /// The first version that knows the query.
    fn min_version(self) -> i16 {
        match self {
            OffsetQuery::MaxTimestamp => 7,
            OffsetQuery::EarliestLocal => 8,
            OffsetQuery::Earliest | OffsetQuery::Latest | OffsetQuery::AtOrAfter(_) => 1,
        }
    }
}

/// What was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListedOffset {
    /// The offset; `None` if no record is that late.
    pub offset: Option<Offset>,
    /// The timestamp of the record found, if the query was for a time.
    pub timestamp: Option<Timestamp>,
    /// The leader epoch of the record found, or −1.
    pub leader_epoch: LeaderEpoch,
}

/// One partition to look up.
type Target<'a> = (&'a str, PartitionIndex, OffsetQuery);

impl Client {
    /// Looks up one offset per target; the answers have the targets' order. Retries until the request timeout.
    pub async fn list_offsets(
        &self,
        targets: &[(&str, PartitionIndex, OffsetQuery)],
        isolation: Isolation,
    ) -> Result<Vec<ListedOffset>, ClientError> {
        let mut found: Vec<Option<ListedOffset>> = vec![None; targets.len()];
        let mut backoff = Backoff::until(Instant::now() + self.timeout());
        loop {
            let mut last_error = None;
            for (leader, indexes) in self.by_leader(targets, &found).await? {
                let wanted: Vec<(usize, Target<'_>)> =
                    indexes.iter().filter_map(|at| Some((*at, *targets.get(*at)?))).collect();
                match self.list_at(&leader, &wanted, isolation).await {
                    Ok(results) => {
                        for (at, result) in results {
                            match result {
                                Ok(offset) => {
                                    if let Some(slot) = found.get_mut(at) {
                                        *slot = Some(offset);
                                    }
                                }
                                Err(error) if error.is_retriable() => last_error = Some(error),
                                Err(error) => return Err(error),
                            }
                        }
                    }
                    Err(error) if error.is_retriable() => last_error = Some(error),
                    Err(error) => return Err(error),
                }
            }
            let Some(open) = found.iter().position(Option::is_none) else {
                self.waits_over(None);
                return Ok(found.into_iter().flatten().collect());
            };
            let what = targets.get(open).map(|(topic, partition, _)| format!("partition {topic}-{partition}"));
            let error = last_error.unwrap_or_else(|| no_leader(&what.unwrap_or_default()));
            self.waits_over(Some(&error));
            if !backoff.wait().await {
                self.waits_over(None);
                return Err(error);
            }
            let topics: Vec<String> = targets.iter().map(|(topic, ..)| (*topic).to_owned()).collect();
            // If the refresh itself fails the next round finds out.
            drop(self.refresh(&topics).await);
        }
    }

    /// The open targets by leader; asks for metadata of unknown topics. Partitions without a leader are left out.
    async fn by_leader(
        &self,
        targets: &[Target<'_>],
        found: &[Option<ListedOffset>],
    ) -> Result<Vec<(Leader, Vec<usize>)>, ClientError> {
        // A request may name a partition once only, so its second query goes into a second request.
        let mut groups: BTreeMap<(i32, usize), (Leader, Vec<usize>)> = BTreeMap::new();
        let mut seen: BTreeMap<(&str, PartitionIndex), usize> = BTreeMap::new();
        for (at, (topic, partition, _)) in targets.iter().enumerate() {
            if found.get(at).is_some_and(Option::is_some) {
                continue;
            }
            let mut info = self.topic(topic, false).await?;
            if info.partition(*partition).is_none() {
                info = self.refresh_topic(topic, false).await?;
            }
            if info.partition(*partition).is_none() {
                let what = format!("partition {topic}-{partition}");
                return Err(ClientError::kafka(
                    KafkaError::UnknownTopicOrPartition,
                    what,
                    Some("there is no such partition"),
                ));
            }
            if let Some(leader) = self.leader(topic, *partition) {
                let turn = seen.entry((topic, *partition)).or_default();
                groups.entry((leader.node.0, *turn)).or_insert_with(|| (leader, Vec::new())).1.push(at);
                *turn += 1;
            }
        }
        Ok(groups.into_values().collect())
    }

    async fn list_at(
        &self,
        leader: &Leader,
        wanted: &[(usize, Target<'_>)],
        isolation: Isolation,
    ) -> Result<Vec<(usize, Result<ListedOffset, ClientError>)>, ClientError> {
        let mut topics: BTreeMap<&str, Vec<ListOffsetsPartition>> = BTreeMap::new();
        let mut min_version = if isolation == Isolation::ReadCommitted { 2 } else { 1 };
        for (_, (topic, partition, query)) in wanted {
            min_version = min_version.max(query.min_version());
            topics.entry(topic).or_default().push(ListOffsetsPartition {
                partition_index: partition.0,
                timestamp: query.timestamp(),
                ..Default::default()
            });
        }
        let topics = topics.into_iter().map(|(name, partitions)| ListOffsetsTopic {
            name: Str::from(name),
            partitions,
            ..Default::default()
        });
        let request = ListOffsetsRequest {
            replica_id: -1,
            isolation_level: isolation.level(),
            topics: topics.collect(),
            timeout_ms: i32::try_from(self.timeout().as_millis()).unwrap_or(i32::MAX),
            ..Default::default()
        };
        let connection = self.broker(leader.node, &leader.address).await?;
        let version = connection.versions().choose::<ListOffsetsRequest>(i16::MAX)?;
        if version < min_version {
            return Err(ClientError::kafka(KafkaError::UnsupportedVersion, "offset lookup", None));
        }
        let response = connection.call(&request).await?;
        let mut results = Vec::with_capacity(wanted.len());
        for (at, (topic, partition, _)) in wanted {
            let answer = response.topics.iter().filter(|t| t.name == *topic).flat_map(|t| &t.partitions);
            let answer = answer.into_iter().find(|p| p.partition_index == partition.0);
            let what = || format!("partition {topic}-{partition}");
            let result = match answer {
                None => Err(ClientError::kafka(KafkaError::UnknownServerError, what(), Some("the answer lacks it"))),
                Some(p) => match error_of(p.error_code) {
                    Some(error) => Err(ClientError::kafka(error, what(), None)),
                    None => Ok(ListedOffset {
                        offset: (p.offset >= 0).then_some(Offset(p.offset)),
                        timestamp: (p.timestamp >= 0).then_some(Timestamp(p.timestamp)),
                        leader_epoch: LeaderEpoch(p.leader_epoch),
                    }),
                },
            };
            results.push((*at, result));
        }
        Ok(results)
    }
}

pub(crate) fn no_leader(what: &str) -> ClientError {
    const WHY: &str = "it has no leader now; if it stays so, the server's log says why";
    ClientError::kafka(KafkaError::LeaderNotAvailable, what, Some(WHY))
}
