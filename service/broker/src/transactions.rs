//! Transactions: finds a transactional id's coordinator, asks it, and answers the partitions that ask about one.

use std::collections::{BTreeSet, HashSet};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use futures::future::join_all;
use tidelog_coordinator::transaction::{
    AddPartitions, ClientVersion, EndTransaction, InitProducer, Producer, TransactionCall, TransactionConfig,
    TransactionDescription, TransactionListing, TransactionReply, TransactionState, TransactionalId,
};
use tidelog_coordinator::{partition_for, whole};
use tidelog_model::{
    Caller, KafkaError, NodeId, OFFSETS_TOPIC, PartitionIndex, TRANSACTIONS_TOPIC, TopicName, TopicPartition,
};
use tidelog_security::{Operation, Resource};
use tokio::sync::oneshot;

use crate::broker::Broker;
use crate::fair_places::{FairPlace, Sharer};
use crate::limits::MAX_PATTERN_BYTES;
use crate::replica::{Replica, TransactionWork, Work};
use crate::{BrokerError, ProducerIdentity};

/// A question to a transaction's coordinator on its way: the waiting stage.
pub type TransactionTicket<T> = Pin<Box<dyn Future<Output = Result<T, BrokerError>> + Send>>;

/// Where the coordinator's answer arrives.
type Answer = oneshot::Receiver<Result<TransactionReply, KafkaError>>;

/// AddPartitionsToTxn for one transactional id, as a door hands it over.
#[derive(Clone, Debug)]
pub struct PartitionsToAdd {
    /// The transactional id.
    pub id: String,
    /// Who asks.
    pub producer: Producer,
    /// Another broker asks for a producer (AddPartitionsToTxn from version 4 on), or asks only whether they are part of it.
    pub from_broker: Option<TransactionCheck>,
}

/// What a partition asks of a transaction's coordinator (KIP-890).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TransactionCheck {
    /// Is it part of the open transaction? The producer has added it before.
    Verify,
    /// Make it part of the transaction, and open one if none is.
    Add,
}

/// Which transactions ListTransactions shows; what is not set shows all.
#[derive(Clone, Debug, Default)]
pub struct TransactionFilter {
    /// Only these producer ids.
    pub producer_ids: HashSet<i64>,
    /// Only those in these states, by name.
    pub states: Vec<String>,
    /// Only those that have been running for longer, milliseconds.
    pub longer_than_ms: Option<i64>,
    /// Only transactional ids that this regular expression matches as a whole.
    pub pattern: Option<String>,
}

/// What ListTransactions shows.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ListedTransactions {
    /// The transactions, in the order of their ids.
    pub listings: Vec<TransactionListing>,
    /// States of the filter that no transaction can be in.
    pub unknown_states: Vec<String>,
}

impl Broker {
    /// The node that coordinates a transactional id. Creates the topic of the transactions' records if this is the first.
    pub async fn transaction_coordinator(&self, caller: &Caller, id: &str) -> Result<NodeId, BrokerError> {
        if !self.may(caller, Operation::Describe, Resource::TransactionalId(id)) {
            return Err(KafkaError::TransactionalIdAuthorizationFailed.into());
        }
        let topic = self.internal_topic(TRANSACTIONS_TOPIC).await?;
        let leader = topic.partition(partition_for(id, topic.partition_count)).and_then(|part| part.state.leader);
        leader.ok_or_else(|| KafkaError::CoordinatorNotAvailable.into())
    }

    /// InitProducerId with a transactional id: the producer's id and its next epoch; whoever had the id before is fenced.
    pub async fn init_transactional_producer(
        &self,
        caller: &Caller,
        id: &str,
        timeout_ms: i32,
        current: Option<Producer>,
    ) -> TransactionTicket<ProducerIdentity> {
        let call = TransactionCall::Init(InitProducer { timeout_ms, current, fresh: None });
        let answer = self.call(caller, id, call).await;
        Box::pin(async move {
            match answer.await? {
                TransactionReply::Init(result) => {
                    let Producer { id, epoch } = result?;
                    Ok(ProducerIdentity { id, epoch })
                }
                _ => Err(KafkaError::UnknownServerError.into()),
            }
        })
    }

    /// EndTxn: what the producer goes on with.
    pub async fn end_transaction(&self, caller: &Caller, id: &str, end: EndTransaction) -> TransactionTicket<Producer> {
        let answer = self.call(caller, id, TransactionCall::End(end)).await;
        Box::pin(async move {
            match answer.await? {
                TransactionReply::End(result) => Ok(result?),
                _ => Err(KafkaError::UnknownServerError.into()),
            }
        })
    }

    /// AddPartitionsToTxn: one result for each of `partitions` (by their topics' names), all of them good or none. A request names a topic
    /// once for very many partitions: they are counted out only for who may ask.
    pub async fn add_partitions_to_transaction(
        &self,
        caller: &Caller,
        asked: PartitionsToAdd,
        partitions: impl Iterator<Item = (Arc<str>, PartitionIndex)>,
    ) -> TransactionTicket<Vec<Result<(), KafkaError>>> {
        let by_broker = asked.from_broker.is_some();
        if by_broker && !self.may(caller, Operation::ClusterAction, Resource::Cluster) {
            return ready(Err(KafkaError::ClusterAuthorizationFailed.into()));
        }
        if !by_broker && !self.may(caller, Operation::Write, Resource::TransactionalId(&asked.id)) {
            return ready(Ok(partitions.map(|_| Err(KafkaError::TransactionalIdAuthorizationFailed)).collect()));
        }
        let image = self.image();
        let mut last: Option<(Arc<str>, Result<TopicName, KafkaError>)> = None;
        let known: Vec<Result<TopicPartition, KafkaError>> = partitions
            .map(|(name, partition)| {
                let (_, topic) = match last.take().filter(|(last, _)| *last == name) {
                    Some(known) => last.insert(known),
                    None => last.insert((Arc::clone(&name), self.addable(caller, by_broker, &name))),
                };
                let topic = topic.clone()?;
                let exists = image.topic(&name).and_then(|topic| topic.partition(partition)).is_some();
                if exists { Ok(TopicPartition { topic, partition }) } else { Err(KafkaError::UnknownTopicOrPartition) }
            })
            .collect();
        if known.iter().any(Result::is_err) {
            let refused = known.into_iter().map(|known| known.and(Err(KafkaError::OperationNotAttempted)));
            return ready(Ok(refused.collect()));
        }
        let partitions: Vec<TopicPartition> = known.into_iter().flatten().collect();
        let count = partitions.len();
        let version = if by_broker { ClientVersion::V2 } else { ClientVersion::V0 };
        let check = asked.from_broker.unwrap_or(TransactionCheck::Add);
        let call = question(asked.producer, partitions, check, version);
        let answer = self.ask_transaction(&TransactionalId::from(asked.id), call).await;
        Box::pin(async move { Ok(each(count, heard(answer).await)) })
    }

    /// AddOffsetsToTxn: the group's partition of the offsets becomes part of the transaction.
    pub async fn add_offsets_to_transaction(
        &self,
        caller: &Caller,
        id: &str,
        producer: Producer,
        group: &str,
    ) -> TransactionTicket<()> {
        let partition = self.offsets_partition(caller, id, group).await;
        let answer = match partition {
            Ok(partition) => {
                let partitions = BTreeSet::from([partition]);
                let call = TransactionCall::Add(AddPartitions { producer, partitions, version: ClientVersion::V0 });
                self.ask_transaction(&TransactionalId::from(id), call).await
            }
            Err(error) => return ready(Err(error)),
        };
        Box::pin(async move {
            match heard(answer).await? {
                TransactionReply::Add(result) => Ok(result?),
                _ => Err(KafkaError::UnknownServerError.into()),
            }
        })
    }

    async fn offsets_partition(&self, caller: &Caller, id: &str, group: &str) -> Result<TopicPartition, BrokerError> {
        if !self.may(caller, Operation::Write, Resource::TransactionalId(id)) {
            return Err(KafkaError::TransactionalIdAuthorizationFailed.into());
        }
        if !self.may(caller, Operation::Read, Resource::Group(group)) {
            return Err(KafkaError::GroupAuthorizationFailed.into());
        }
        let topic = self.internal_topic(OFFSETS_TOPIC).await?;
        Ok(TopicPartition { topic: topic.name.clone(), partition: partition_for(group, topic.partition_count) })
    }

    /// Are the partitions part of the producer's open transaction (made so by [`TransactionCheck::Add`], all of them or none)? One result
    /// for each, once that is committed. For the partitions of this process; nobody is authorized.
    ///
    /// - CONCURRENT_TRANSACTIONS: the transaction before is still being ended: come again.
    /// - INVALID_PRODUCER_ID_MAPPING, PRODUCER_FENCED: the transactional id has another producer.
    /// - TRANSACTION_ABORTABLE: it is not part of it (`Verify`).
    /// - NOT_COORDINATOR, COORDINATOR_LOAD_IN_PROGRESS, COORDINATOR_NOT_AVAILABLE: come again.
    pub(crate) async fn verify_or_add_partitions(
        &self,
        id: &str,
        producer: Producer,
        partitions: Vec<TopicPartition>,
        check: TransactionCheck,
    ) -> Vec<Result<(), KafkaError>> {
        let count = partitions.len();
        let call = question(producer, partitions, check, ClientVersion::V2);
        each(count, heard(self.ask_transaction(&TransactionalId::from(id), call).await).await)
    }

    /// DescribeTransactions for one transactional id. Partitions of topics that the caller may not see are left out.
    pub async fn describe_transaction(&self, caller: &Caller, id: &str) -> Result<TransactionDescription, BrokerError> {
        if !self.may(caller, Operation::Describe, Resource::TransactionalId(id)) {
            return Err(KafkaError::TransactionalIdAuthorizationFailed.into());
        }
        if id.is_empty() {
            return Err(KafkaError::InvalidRequest.into());
        }
        let (reply, answer) = oneshot::channel();
        let replica = self.coordinator_of(id)?;
        replica.enqueue(Work::Transaction(TransactionWork::Describe(TransactionalId::from(id), reply))).await;
        let mut found = answer.await.unwrap_or(Err(KafkaError::NotCoordinator))?;
        found
            .partitions
            .retain(|partition| self.may(caller, Operation::Describe, Resource::Topic(partition.topic.as_str())));
        Ok(found)
    }

    /// ListTransactions: the transactional ids that this broker coordinates and the caller may see. A filter that knows no state by its name
    /// shows none.
    pub async fn list_transactions(
        &self,
        caller: &Caller,
        filter: TransactionFilter,
    ) -> Result<ListedTransactions, BrokerError> {
        let text = filter.pattern.clone();
        // Compiling one of the worst kind, and matching many names, is work for a thread: for few of them, whoever asks.
        let place = self.expression_place(caller, text.is_some()).await?;
        let compile = move || {
            let _place = place;
            text.map(|text| whole(&text, MAX_PATTERN_BYTES)).transpose()
        };
        let pattern = tokio::task::spawn_blocking(compile).await.map_err(|_| KafkaError::UnknownServerError)?;
        let pattern =
            pattern.map_err(|error| BrokerError::new(KafkaError::InvalidRegularExpression, error.to_string()))?;
        let (mut states, mut unknown_states) = (Vec::new(), Vec::new());
        for name in &filter.states {
            match TransactionState::from_name(name) {
                Some(state) if states.contains(&state) => {}
                Some(state) => states.push(state),
                None => unknown_states.push(name.clone()),
            }
        }
        let nothing = ListedTransactions { listings: Vec::new(), unknown_states: unknown_states.clone() };
        let image = self.image();
        let Some(topic) = image.topic(TRANSACTIONS_TOPIC) else { return Ok(nothing) };
        if states.is_empty() && !filter.states.is_empty() {
            return Ok(nothing);
        }
        let mut answers = Vec::new();
        for (index, partition) in topic.partitions() {
            if partition.state.leader != Some(self.node()) {
                continue;
            }
            let replica = self.coordinator_at(topic.id, index)?;
            let (reply, answer) = oneshot::channel();
            replica.enqueue(Work::Transaction(TransactionWork::List(reply))).await;
            answers.push(answer);
        }
        let mut all = Vec::new();
        for listed in join_all(answers).await {
            all.extend(listed.unwrap_or(Err(KafkaError::NotCoordinator))?);
        }
        let now = self.clock().now().wall;
        all.retain(|listing| {
            (states.is_empty() || states.contains(&listing.state))
                && self.may(caller, Operation::Describe, Resource::TransactionalId(listing.id.as_str()))
        });
        let place = self.expression_place(caller, pattern.is_some()).await?;
        let show = move || {
            let _place = place;
            all.retain(|listing| {
                filter.shows(listing, now.get())
                    && pattern.as_ref().is_none_or(|pattern| pattern.is_match(listing.id.as_str()))
            });
            all.sort_by(|a, b| a.id.cmp(&b.id));
            all
        };
        let listings = tokio::task::spawn_blocking(show).await.map_err(|_| KafkaError::UnknownServerError)?;
        Ok(ListedTransactions { listings, unknown_states })
    }

    /// Waits for a place if there is an expression. The thread gives it back, however long ago the client hung up.
    async fn expression_place(&self, caller: &Caller, wanted: bool) -> Result<Option<FairPlace<Sharer>>, BrokerError> {
        if !wanted {
            return Ok(None);
        }
        let place = self.expressions().place(Sharer::from(caller)).await;
        let refused = || BrokerError::new(KafkaError::ThrottlingQuotaExceeded, "Too many expressions wait; try again.");
        place.map(Some).ok_or_else(refused)
    }

    /// A call by the transactional id's owner, with a fresh producer id if it turns out that one is needed.
    async fn call(&self, caller: &Caller, id: &str, call: TransactionCall) -> TransactionTicket<TransactionReply> {
        if !self.may(caller, Operation::Write, Resource::TransactionalId(id)) {
            return ready(Err(KafkaError::TransactionalIdAuthorizationFailed.into()));
        }
        if id.is_empty() {
            return ready(Err(KafkaError::InvalidRequest.into()));
        }
        let id = TransactionalId::from(id);
        let first = self.ask_transaction(&id, call.clone()).await;
        let broker = self.clone();
        Box::pin(async move {
            let reply = heard(first).await?;
            if reply != TransactionReply::NeedsProducerId {
                return Ok(reply);
            }
            let fresh = Some(broker.next_producer_id().await?);
            let call = match call {
                TransactionCall::Init(init) => TransactionCall::Init(InitProducer { fresh, ..init }),
                TransactionCall::End(end) => TransactionCall::End(EndTransaction { fresh, ..end }),
                other => other,
            };
            Ok(heard(broker.ask_transaction(&id, call).await).await?)
        })
    }

    /// Enqueues a call.
    async fn ask_transaction(&self, id: &TransactionalId, call: TransactionCall) -> Answer {
        let (reply, answer) = oneshot::channel();
        match self.coordinator_of(id.as_str()) {
            Ok(replica) => {
                let work = TransactionWork::Call(id.clone(), call, reply);
                replica.enqueue(Work::Transaction(work)).await;
            }
            Err(error) => drop(reply.send(Err(error))),
        }
        answer
    }

    fn coordinator_of(&self, id: &str) -> Result<Arc<Replica>, KafkaError> {
        let image = self.image();
        let topic = image.topic(TRANSACTIONS_TOPIC).ok_or(KafkaError::NotCoordinator)?;
        let index = partition_for(id, topic.partition_count);
        self.coordinator_at(topic.id, index)
    }

    /// May the caller write to the topic in a transaction?
    fn addable(&self, caller: &Caller, by_broker: bool, topic: &str) -> Result<TopicName, KafkaError> {
        let name = TopicName::new(topic).map_err(|_| KafkaError::UnknownTopicOrPartition)?;
        let writable = !name.is_internal() && self.may(caller, Operation::Write, Resource::Topic(topic));
        if by_broker || writable { Ok(name) } else { Err(KafkaError::TopicAuthorizationFailed) }
    }
}

/// What the coordinator is asked about these partitions.
fn question(
    producer: Producer,
    partitions: Vec<TopicPartition>,
    check: TransactionCheck,
    version: ClientVersion,
) -> TransactionCall {
    match check {
        TransactionCheck::Verify => TransactionCall::Verify { producer, partitions },
        TransactionCheck::Add => {
            TransactionCall::Add(AddPartitions { producer, partitions: partitions.into_iter().collect(), version })
        }
    }
}

/// What the answer says of each of so many partitions.
fn each(count: usize, answer: Result<TransactionReply, KafkaError>) -> Vec<Result<(), KafkaError>> {
    match answer {
        Ok(TransactionReply::Verify(results)) if results.len() == count => results,
        Ok(TransactionReply::Add(result)) => vec![result; count],
        Ok(_) => vec![Err(KafkaError::UnknownServerError); count],
        Err(error) => vec![Err(error); count],
    }
}

/// An answer that is known already.
fn ready<T: Send + 'static>(result: Result<T, BrokerError>) -> TransactionTicket<T> {
    Box::pin(std::future::ready(result))
}

/// Waits for the coordinator; one that went away with the question in its queue is no coordinator any more.
async fn heard(answer: Answer) -> Result<TransactionReply, KafkaError> {
    answer.await.unwrap_or(Err(KafkaError::NotCoordinator))
}

impl TransactionFilter {
    fn shows(&self, listing: &TransactionListing, now_ms: i64) -> bool {
        let by_producer = self.producer_ids.is_empty() || self.producer_ids.contains(&listing.producer_id.get());
        let by_time = self.longer_than_ms.is_none_or(|least| now_ms.saturating_sub(listing.started.get()) > least);
        by_producer && by_time
    }
}

/// The transactions' settings from the broker's.
pub(crate) fn transaction_config(config: &tidelog_metadata::BrokerConfig) -> TransactionConfig {
    TransactionConfig {
        max_timeout_ms: config.transaction_max_timeout_ms,
        id_expiration: config.transactional_id_expiration,
        id_expiration_interval: config.transactional_id_check_interval,
    }
}
