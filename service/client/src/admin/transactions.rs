//! Transactions (KIP-664): list, describe, and end one by its coordinator, or in a partition by its marker. A transactional id is its
//! coordinator's; a list is every broker's; producers and markers are the partition's leader's.

use std::collections::BTreeMap;

use tidelog_model::{KafkaError, LeaderEpoch, NodeId, Offset, PartitionIndex, TRANSACTIONS_TOPIC};
use tidelog_protocol::Str;
use tidelog_protocol::messages::{
    DescribeProducersRequest, DescribeProducersTopic, DescribeTransactionsRequest, InitProducerIdRequest,
    ListTransactionsRequest, WritableTxnMarker, WritableTxnMarkerTopic, WriteTxnMarkersRequest,
};
use tokio::time::Instant;

use crate::client::Backoff;
use crate::connection::Connection;
use crate::offsets::no_leader;
use crate::{Client, ClientError};

/// A transactional id that nobody has, and that no access rule names but one for all of them.
const NOBODYS_ID: &str = "?are-all-transactional-ids-seen";

/// Which transactions to list; what is not set lists all.
#[derive(Debug, Clone, Default)]
pub struct TransactionQuery {
    /// Only these states, as `Ongoing`.
    pub states: Vec<String>,
    /// Only these producer ids.
    pub producer_ids: Vec<i64>,
    /// Only those that have been running for longer, milliseconds (KIP-994).
    pub longer_than_ms: Option<i64>,
    /// Only transactional ids that this regular expression matches as a whole (KIP-1152).
    pub pattern: Option<String>,
}

/// A transactional id in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransactionListing {
    /// The transactional id.
    pub id: String,
    /// Who coordinates it.
    pub coordinator: NodeId,
    /// Its producer's id.
    pub producer_id: i64,
    /// Its state, as `Ongoing`.
    pub state: String,
}

/// What a coordinator knows of a transactional id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransactionDescription {
    /// The transactional id.
    pub id: String,
    /// Its state, as `Ongoing`.
    pub state: String,
    /// Its producer's id.
    pub producer_id: i64,
    /// The producer's epoch.
    pub producer_epoch: i16,
    /// An open transaction is aborted after this time, milliseconds.
    pub timeout_ms: i32,
    /// When the transaction began, milliseconds since 1970; `None` if none is open.
    pub started_ms: Option<i64>,
    /// The partitions that it writes to, by topic and number.
    pub partitions: Vec<(String, PartitionIndex)>,
}

/// A producer that a partition remembers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ActiveProducer {
    /// Its id.
    pub id: i64,
    /// Its epoch.
    pub epoch: i16,
    /// The epoch of the coordinator that ended its last transaction here; −1 before the first.
    pub coordinator_epoch: i32,
    /// Where its open transaction begins.
    pub transaction_start: Option<Offset>,
    /// Sequence of its last record; −1 if none is remembered.
    pub last_sequence: i32,
    /// When it wrote last, milliseconds since 1970; `None` if that is not remembered.
    pub last_written_ms: Option<i64>,
}

impl Client {
    /// The transactional ids that the caller may see, by name.
    pub async fn list_transactions(&self, query: &TransactionQuery) -> Result<Vec<TransactionListing>, ClientError> {
        let request = ListTransactionsRequest {
            state_filters: query.states.iter().map(|state| Str::from(state.as_str())).collect(),
            producer_id_filters: query.producer_ids.clone(),
            duration_filter: query.longer_than_ms.unwrap_or(-1),
            transactional_id_pattern: query.pattern.as_deref().map(Str::from),
            ..Default::default()
        };
        let mut listed = Vec::new();
        for broker in self.metadata(Some(&[]), false).await?.brokers {
            let mut backoff = Backoff::until(Instant::now() + self.timeout());
            let response = loop {
                let response = self.broker(broker.id, &broker.address).await?.call(&request).await?;
                match ClientError::check(response.error_code, || format!("transactions of broker {}", broker.id), None)
                {
                    // Those that are being loaded would be missing.
                    Err(error) if error.is_retriable() && backoff.wait().await => {}
                    Err(error) => return Err(error),
                    Ok(()) => break response,
                }
            };
            listed.extend(response.transaction_states.into_iter().map(|one| TransactionListing {
                id: one.transactional_id.as_str().to_owned(),
                coordinator: broker.id,
                producer_id: one.producer_id,
                state: one.transaction_state.as_str().to_owned(),
            }));
        }
        listed.sort_by(|a, b| a.id.cmp(&b.id));
        Ok(listed)
    }

    /// What a transactional id's coordinator knows of it.
    pub async fn describe_transaction(&self, id: &str) -> Result<TransactionDescription, ClientError> {
        let what = || format!("transactional id `{id}`");
        let request = DescribeTransactionsRequest { transactional_ids: vec![Str::from(id)], ..Default::default() };
        let mut backoff = Backoff::until(Instant::now() + self.timeout());
        let found = loop {
            let response = self.transaction_coordinator(id).await?.call(&request).await?;
            let found = response.transaction_states.into_iter().next().ok_or_else(|| lacks(what()))?;
            match ClientError::check(found.error_code, what, None) {
                Err(error) if error.is_retriable() && backoff.wait().await => {}
                Err(error) => return Err(error),
                Ok(()) => break found,
            }
        };
        let of_topic = |topic: tidelog_protocol::messages::DescribedTransactionTopic| {
            let name = topic.topic.as_str().to_owned();
            topic.partitions.into_iter().map(move |index| (name.clone(), PartitionIndex(index)))
        };
        Ok(TransactionDescription {
            id: id.to_owned(),
            state: found.transaction_state.as_str().to_owned(),
            producer_id: found.producer_id,
            producer_epoch: found.producer_epoch,
            timeout_ms: found.transaction_timeout_ms,
            started_ms: Some(found.transaction_start_time_ms).filter(|time| *time >= 0),
            partitions: found.topics.into_iter().flat_map(of_topic).collect(),
        })
    }

    /// May the caller see every transactional id? What he may not see is left out of lists, without a word.
    pub async fn sees_all_transactions(&self) -> Result<bool, ClientError> {
        match self.describe_transaction(NOBODYS_ID).await {
            Ok(_) => Ok(true),
            Err(ClientError::Kafka { error: KafkaError::TransactionalIdNotFound, .. }) => Ok(true),
            Err(ClientError::Kafka { error: KafkaError::TransactionalIdAuthorizationFailed, .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Takes the transactional id over as a new instance of its producer would: what was open is aborted everywhere when this answers, and
    /// who had the id before is fenced (Kafka's `fenceProducers`). Answers the next producer id and its epoch.
    pub async fn fence_producer(&self, id: &str, timeout_ms: i32) -> Result<(i64, i16), ClientError> {
        let request = InitProducerIdRequest {
            transactional_id: Some(Str::from(id)),
            transaction_timeout_ms: timeout_ms,
            ..Default::default()
        };
        let mut backoff = Backoff::until(Instant::now() + self.timeout());
        loop {
            let response = self.transaction_coordinator(id).await?.call(&request).await?;
            match ClientError::check(response.error_code, || format!("transactional id `{id}`"), None) {
                // Also while what was open is being aborted.
                Err(error) if error.is_retriable() && backoff.wait().await => {}
                Err(error) => return Err(error),
                Ok(()) => return Ok((response.producer_id, response.producer_epoch)),
            }
        }
    }

    /// The producers that a partition remembers.
    pub async fn active_producers(
        &self,
        topic: &str,
        partition: PartitionIndex,
    ) -> Result<Vec<ActiveProducer>, ClientError> {
        let what = || format!("partition {topic}-{partition}");
        let topics = vec![DescribeProducersTopic {
            name: Str::from(topic),
            partition_indexes: vec![partition.get()],
            ..Default::default()
        }];
        let request = DescribeProducersRequest { topics, ..Default::default() };
        let response = self.leader_of(topic, partition).await?.call(&request).await?;
        let found = response.topics.into_iter().flat_map(|topic| topic.partitions).next();
        let found = found.ok_or_else(|| lacks(what()))?;
        ClientError::check(found.error_code, what, found.error_message.as_deref())?;
        let producers = found.active_producers.into_iter().map(|one| ActiveProducer {
            id: one.producer_id,
            epoch: i16::try_from(one.producer_epoch).unwrap_or(i16::MAX),
            coordinator_epoch: one.coordinator_epoch,
            transaction_start: Some(Offset(one.current_txn_start_offset)).filter(|offset| offset.get() >= 0),
            last_sequence: one.last_sequence,
            last_written_ms: Some(one.last_timestamp).filter(|time| *time >= 0),
        });
        Ok(producers.collect())
    }

    /// The epoch that each coordinator of transactions has now, by its partition; none before there is one.
    pub async fn coordinator_epochs(&self) -> Result<BTreeMap<PartitionIndex, LeaderEpoch>, ClientError> {
        let metadata = self.metadata(Some(&[TRANSACTIONS_TOPIC]), false).await?;
        let partitions = metadata.topics.iter().flat_map(|topic| &topic.partitions);
        Ok(partitions.map(|partition| (partition.index, partition.leader_epoch)).collect())
    }

    /// Aborts the producer's open transaction in one partition by its marker. The coordinator is not asked: this is for a transaction
    /// that it does not know any more.
    pub async fn abort_in_partition(
        &self,
        topic: &str,
        partition: PartitionIndex,
        producer: &ActiveProducer,
    ) -> Result<(), ClientError> {
        let what = || format!("partition {topic}-{partition}");
        let topics = vec![WritableTxnMarkerTopic {
            name: Str::from(topic),
            partition_indexes: vec![partition.get()],
            ..Default::default()
        }];
        let marker = WritableTxnMarker {
            producer_id: producer.id,
            producer_epoch: producer.epoch,
            transaction_result: false,
            topics,
            // Nobody has written a marker before: any epoch is new.
            coordinator_epoch: producer.coordinator_epoch.max(0),
            ..Default::default()
        };
        let request = WriteTxnMarkersRequest { markers: vec![marker], ..Default::default() };
        let response = self.leader_of(topic, partition).await?.call(&request).await?;
        let mut results = response.markers.into_iter().flat_map(|marker| marker.topics).flat_map(|t| t.partitions);
        let result = results.next().ok_or_else(|| lacks(what()))?;
        ClientError::check(result.error_code, what, None)
    }

    async fn leader_of(&self, topic: &str, partition: PartitionIndex) -> Result<Connection, ClientError> {
        let what = format!("partition {topic}-{partition}");
        let info = self.topic(topic, false).await?;
        if info.partition(partition).is_none() {
            return Err(ClientError::kafka(KafkaError::UnknownTopicOrPartition, what, None));
        }
        let leader = self.leader(topic, partition).ok_or_else(|| no_leader(&what))?;
        self.broker(leader.node, &leader.address).await
    }
}

fn lacks(what: String) -> ClientError {
    ClientError::kafka(KafkaError::UnknownServerError, what, Some("the answer lacks it"))
}
