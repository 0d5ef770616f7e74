//! DescribeTransactions (key 65): what this coordinator knows of transactional ids (KIP-664).

use std::collections::BTreeMap;

use tidelog_broker::BrokerError;
use tidelog_coordinator::transaction::TransactionDescription;
use tidelog_protocol::Str;
use tidelog_protocol::messages::{
    DescribeTransactionsRequest, DescribeTransactionsResponse, DescribedTransaction, DescribedTransactionTopic,
};

use crate::answer::{Hangup, Waiting};
use crate::request::Request;

pub(crate) async fn handle(request: Request<'_>, message: DescribeTransactionsRequest) -> Result<Waiting, Hangup> {
    let to = request.reply_to();
    let (broker, caller) = (request.session.broker.clone(), request.caller.clone());
    drop(request);
    Ok(Box::pin(async move {
        let mut response = DescribeTransactionsResponse::default();
        for id in message.transactional_ids {
            let found = broker.describe_transaction(&caller, &id).await;
            response.transaction_states.push(described(id, found));
        }
        to.answer(&response)
    }))
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
