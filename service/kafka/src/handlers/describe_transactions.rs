//! DescribeTransactions (key 65): what this coordinator knows of transactional ids (KIP-664).

use std::collections::{BTreeMap, BTreeSet};

use tidelog_broker::BrokerError;
use tidelog_coordinator::transaction::TransactionDescription;
use tidelog_model::KafkaError;
use tidelog_protocol::Str;
use tidelog_protocol::messages::{
    DescribeTransactionsRequest, DescribeTransactionsResponse, DescribedTransaction, DescribedTransactionTopic,
};

use crate::answer::{Hangup, Waiting};
use crate::limits::MAX_DESCRIBED_TRANSACTION_PARTITIONS;
use crate::request::Request;

pub(crate) async fn handle(request: Request<'_>, message: DescribeTransactionsRequest) -> Result<Waiting, Hangup> {
    let to = request.reply_to();
    let (broker, caller) = (request.session.broker.clone(), request.caller.clone());
    drop(request);
    Ok(Box::pin(async move {
        let mut response = DescribeTransactionsResponse::default();
        let mut left = MAX_DESCRIBED_TRANSACTION_PARTITIONS;
        // Each id once, or a small request that repeats one would have an answer of any size.
        for id in message.transactional_ids.into_iter().collect::<BTreeSet<_>>() {
            let found = broker.describe_transaction(&caller, &id).await;
            response.transaction_states.push(described(id, found.and_then(|found| within(&mut left, found))));
        }
        to.answer(&response)
    }))
}

/// The first transaction has room however many partitions it has. INVALID_REQUEST: ask for fewer at a time.
fn within(left: &mut usize, found: TransactionDescription) -> Result<TransactionDescription, BrokerError> {
    let fits = found.partitions.len() <= *left || *left == MAX_DESCRIBED_TRANSACTION_PARTITIONS;
    *left = left.saturating_sub(found.partitions.len());
    if fits { Ok(found) } else { Err(KafkaError::InvalidRequest.into()) }
}

fn described(transactional_id: Str, found: Result<TransactionDescription, BrokerError>) -> DescribedTransaction {
    let found = match found {
        Ok(found) => found,
        Err(refused) => {
            let error_code = refused.error.code();
            return DescribedTransaction { error_code, transactional_id, ..Default::default() };
        }
    };
    let mut topics: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
    for partition in &found.partitions {
        topics.entry(partition.topic.as_str()).or_default().push(partition.partition.get());
    }
    let topic = |(topic, partitions): (&str, Vec<i32>)| DescribedTransactionTopic {
        topic: Str::from(topic),
        partitions,
        ..Default::default()
    };
    DescribedTransaction {
        error_code: 0,
        transactional_id,
        transaction_state: Str::from(found.state.name()),
        transaction_timeout_ms: found.timeout_ms,
        transaction_start_time_ms: found.started.get(),
        producer_id: found.producer.id.get(),
        producer_epoch: found.producer.epoch.get(),
        topics: topics.into_iter().map(topic).collect(),
        ..Default::default()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use tidelog_coordinator::transaction::{Producer, TransactionState};
    use tidelog_model::{PartitionIndex, ProducerEpoch, ProducerId, Timestamp, TopicName, TopicPartition};

    use super::*;

    #[test]
    fn an_answer_has_room_for_so_many_partitions_and_for_those_of_the_first_transaction() {
        let topic = TopicName::new("t").unwrap();
        let partitions: BTreeSet<TopicPartition> = (0..=MAX_DESCRIBED_TRANSACTION_PARTITIONS as i32)
            .map(|index| TopicPartition { topic: topic.clone(), partition: PartitionIndex(index) })
            .collect();
        let open = TransactionDescription {
            producer: Producer { id: ProducerId(1), epoch: ProducerEpoch(0) },
            state: TransactionState::Ongoing,
            timeout_ms: 1,
            started: Timestamp(0),
            partitions,
        };
        let idle = TransactionDescription { partitions: BTreeSet::new(), ..open.clone() };
        let mut left = MAX_DESCRIBED_TRANSACTION_PARTITIONS;
        let fit = [&idle, &open, &open, &idle].map(|found| within(&mut left, found.clone()).is_ok());
        assert_eq!(fit, [true, true, false, true]);
    }
}
