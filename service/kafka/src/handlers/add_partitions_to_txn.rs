//! AddPartitionsToTxn (key 24): partitions that a transaction writes to. Up to version 3 from a producer; from 4 on from brokers, for
//! several transactions, or only to ask (KIP-890).

use std::sync::Arc;

use tidelog_broker::{BrokerError, PartitionsToAdd, TransactionCheck};
use tidelog_coordinator::transaction::Producer;
use tidelog_model::{KafkaError, PartitionIndex};
use tidelog_protocol::messages::{
    AddPartitionsToTxnPartitionResult, AddPartitionsToTxnRequest, AddPartitionsToTxnResponse, AddPartitionsToTxnResult,
    AddPartitionsToTxnTopic, AddPartitionsToTxnTopicResult, AddPartitionsToTxnTransaction,
};

use super::transaction_answer::fenced;
use crate::answer::{Hangup, Waiting};
use crate::request::Request;

const FIRST_OF_BROKERS: i16 = 4;

pub(crate) async fn handle(request: Request<'_>, message: AddPartitionsToTxnRequest) -> Result<Waiting, Hangup> {
    let to = request.reply_to();
    let by_broker = to.version >= FIRST_OF_BROKERS;
    let transactions = if by_broker { message.transactions } else { vec![only(message)] };
    let mut waiting = Vec::with_capacity(transactions.len());
    for AddPartitionsToTxnTransaction { transactional_id, producer_id, producer_epoch, verify_only, topics, .. } in
        transactions
    {
        let check = if verify_only { TransactionCheck::Verify } else { TransactionCheck::Add };
        let asked = PartitionsToAdd {
            id: transactional_id.to_string(),
            producer: Producer { id: producer_id.into(), epoch: producer_epoch.into() },
            from_broker: by_broker.then_some(check),
        };
        let partitions = topics.iter().flat_map(named);
        let ticket = request.session.broker.add_partitions_to_transaction(&request.caller, asked, partitions).await;
        waiting.push((transactional_id, topics, ticket));
    }
    drop(request);
    Ok(Box::pin(async move {
        let mut response = AddPartitionsToTxnResponse::default();
        for (transactional_id, topics, ticket) in waiting {
            let results = match ticket.await {
                Ok(results) => results,
                Err(BrokerError { error, .. }) => {
                    let error_code = error.code();
                    return to.answer(&AddPartitionsToTxnResponse { error_code, ..Default::default() });
                }
            };
            let topic_results = by_topic(topics, results, to.version);
            if by_broker {
                let result = AddPartitionsToTxnResult { transactional_id, topic_results, ..Default::default() };
                response.results_by_transaction.push(result);
            } else {
                response.results_by_topic_v3_and_below = topic_results;
            }
        }
        to.answer(&response)
    }))
}

/// A producer's request in the form of the brokers'.
fn only(message: AddPartitionsToTxnRequest) -> AddPartitionsToTxnTransaction {
    AddPartitionsToTxnTransaction {
        transactional_id: message.v3_and_below_transactional_id,
        producer_id: message.v3_and_below_producer_id,
        producer_epoch: message.v3_and_below_producer_epoch,
        topics: message.v3_and_below_topics,
        ..Default::default()
    }
}

fn named(topic: &AddPartitionsToTxnTopic) -> impl Iterator<Item = (Arc<str>, PartitionIndex)> {
    let name: Arc<str> = Arc::from(topic.name.as_str());
    topic.partitions.iter().map(move |partition| (Arc::clone(&name), PartitionIndex(*partition)))
}

fn by_topic(
    topics: Vec<AddPartitionsToTxnTopic>,
    results: Vec<Result<(), KafkaError>>,
    version: i16,
) -> Vec<AddPartitionsToTxnTopicResult> {
    let mut results = results.into_iter();
    let mut one = |partition_index| {
        let result = results.next().unwrap_or(Err(KafkaError::UnknownServerError));
        let error = result.err().map_or(KafkaError::None, |error| fenced(error, version >= 2));
        AddPartitionsToTxnPartitionResult { partition_index, partition_error_code: error.code(), ..Default::default() }
    };
    topics
        .into_iter()
        .map(|topic| AddPartitionsToTxnTopicResult {
            name: topic.name,
            results_by_partition: topic.partitions.into_iter().map(&mut one).collect(),
            ..Default::default()
        })
        .collect()
}
