//! Deletion of records from the beginning of partitions (KIP-107), at their leaders.

use std::collections::BTreeMap;

use tidelog_model::{KafkaError, Offset, PartitionIndex};
use tidelog_protocol::Str;
use tidelog_protocol::messages::{DeleteRecordsPartition, DeleteRecordsRequest, DeleteRecordsTopic};
use tokio::time::Instant;

use crate::client::{Backoff, Leader};
use crate::offsets::no_leader;
use crate::{Client, ClientError};

impl Client {
    /// Deletes what lies before an offset of each partition of a topic (`None`: everything that is committed). The results, each the
    /// partition's new first offset, have the partitions' order. Retries until the request timeout.
    pub async fn delete_records(
        &self,
        topic: &str,
        before: &[(PartitionIndex, Option<Offset>)],
    ) -> Result<Vec<Result<Offset, ClientError>>, ClientError> {
        let unheard = |(partition, _): &(PartitionIndex, _)| Err(no_leader(&format!("partition {topic}-{partition}")));
        let mut results: Vec<Result<Offset, ClientError>> = before.iter().map(unheard).collect();
        let mut open: Vec<usize> = (0..before.len()).collect();
        let mut backoff = Backoff::until(Instant::now() + self.timeout());
        self.topic(topic, false).await?;
        loop {
            let mut by_leader: BTreeMap<i32, (Leader, Vec<usize>)> = BTreeMap::new();
            for at in open.iter().copied() {
                if let Some(leader) = before.get(at).and_then(|(partition, _)| self.leader(topic, *partition)) {
                    by_leader.entry(leader.node.0).or_insert_with(|| (leader, Vec::new())).1.push(at);
                }
            }
            for (leader, indexes) in by_leader.into_values() {
                let asked: Vec<_> = indexes.iter().filter_map(|at| Some((*at, *before.get(*at)?))).collect();
                let answers = self.delete_at(&leader, topic, &asked).await;
                for (at, answer) in answers {
                    if let Some(slot) = results.get_mut(at) {
                        *slot = answer;
                    }
                }
            }
            open.retain(|at| {
                let result = results.get(*at);
                matches!(result, Some(Err(error)) if error.is_retriable() && !error.is_unreachable())
            });
            if open.is_empty() || !backoff.wait().await {
                return Ok(results);
            }
            // If the refresh itself fails the next round finds out.
            drop(self.refresh(&[topic.to_owned()]).await);
        }
    }

    async fn delete_at(
        &self,
        leader: &Leader,
        topic: &str,
        asked: &[(usize, (PartitionIndex, Option<Offset>))],
    ) -> Vec<(usize, Result<Offset, ClientError>)> {
        let partition = |(_, (index, before)): &(usize, (PartitionIndex, Option<Offset>))| DeleteRecordsPartition {
            partition_index: index.0,
            offset: before.map_or(-1, Offset::get),
            ..Default::default()
        };
        let topics = vec![DeleteRecordsTopic {
            name: Str::from(topic),
            partitions: asked.iter().map(partition).collect(),
            ..Default::default()
        }];
        let request = DeleteRecordsRequest { topics, timeout_ms: self.timeout_ms(), ..Default::default() };
        let response = match self.broker(leader.node, &leader.address).await {
            Ok(connection) => connection.call(&request).await,
            Err(error) => Err(error),
        };
        let answer = |index: PartitionIndex| {
            let what = || format!("partition {topic}-{index}");
            let response = response.as_ref().map_err(Clone::clone)?;
            let mut answers = response.topics.iter().filter(|answer| answer.name == *topic).flat_map(|t| &t.partitions);
            let answer = answers.find(|answer| answer.partition_index == index.0).ok_or_else(|| {
                ClientError::kafka(KafkaError::UnknownServerError, what(), Some("the answer lacks it"))
            })?;
            ClientError::check(answer.error_code, what, None).map(|()| Offset(answer.low_watermark))
        };
        asked.iter().map(|(at, (index, _))| (*at, answer(*index))).collect()
    }
}
