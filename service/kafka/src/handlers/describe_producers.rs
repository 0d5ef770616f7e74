//! DescribeProducers (key 61): who writes to partitions (KIP-664).

use std::collections::BTreeSet;

use tidelog_broker::{ActiveProducer, BrokerError, TopicRef};
use tidelog_model::{Offset, PartitionIndex};
use tidelog_protocol::messages::{
    DescribeProducersPartitionResponse, DescribeProducersRequest, DescribeProducersResponse,
    DescribeProducersTopicResponse, DescribedProducer,
};

use crate::answer::{Hangup, Waiting};
use crate::request::{Request, sentence};

pub(crate) async fn handle(request: Request<'_>, message: DescribeProducersRequest) -> Result<Waiting, Hangup> {
    let (broker, caller) = (&request.session.broker, &request.caller);
    let mut topics = Vec::with_capacity(message.topics.len());
    let mut seen = BTreeSet::new();
    for topic in message.topics {
        let reference = TopicRef::from(topic.name.as_str());
        // Each partition once, or a small request that repeats one would have an answer of any size.
        let indexes: BTreeSet<i32> = topic.partition_indexes.into_iter().collect();
        let partitions = indexes
            .iter()
            .filter(|index| seen.insert((topic.name.clone(), **index)))
            .map(|index| partition(*index, broker.active_producers(caller, &reference, PartitionIndex(*index))));
        let partitions = partitions.collect();
        topics.push(DescribeProducersTopicResponse { name: topic.name, partitions, ..Default::default() });
    }
    request.ready(&DescribeProducersResponse { topics, ..Default::default() })
}

fn partition(
    partition_index: i32,
    found: Result<Vec<ActiveProducer>, BrokerError>,
) -> DescribeProducersPartitionResponse {
    match found {
        Ok(active) => DescribeProducersPartitionResponse {
            partition_index,
            active_producers: active.iter().map(producer).collect(),
            ..Default::default()
        },
        Err(error) => DescribeProducersPartitionResponse {
            partition_index,
            error_code: error.error.code(),
            error_message: sentence(&error),
            ..Default::default()
        },
    }
}

fn producer(active: &ActiveProducer) -> DescribedProducer {
    DescribedProducer {
        producer_id: active.id.get(),
        producer_epoch: i32::from(active.epoch.get()),
        last_sequence: active.last_sequence.get(),
        last_timestamp: active.last_timestamp.get(),
        coordinator_epoch: active.coordinator_epoch,
        current_txn_start_offset: active.transaction_start.unwrap_or(Offset::NONE).get(),
        ..Default::default()
    }
}
