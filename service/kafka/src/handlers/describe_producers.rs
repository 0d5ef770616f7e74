//! DescribeProducers (key 61): who writes to partitions (KIP-664).

use std::collections::BTreeSet;

use tidelog_broker::{ActiveProducer, BrokerError, TopicRef};
use tidelog_model::{KafkaError, Offset, PartitionIndex};
use tidelog_protocol::messages::{
    DescribeProducersPartitionResponse, DescribeProducersRequest, DescribeProducersResponse,
    DescribeProducersTopicResponse, DescribedProducer,
};

use crate::answer::{Hangup, Waiting};
use crate::limits::MAX_DESCRIBED_PRODUCERS;
use crate::request::{Request, sentence};

/// What a partition is told for which the answer has no room.
const FULL: &str = "The answer is full; ask for fewer partitions at a time.";

pub(crate) async fn handle(request: Request<'_>, message: DescribeProducersRequest) -> Result<Waiting, Hangup> {
    let (broker, caller) = (&request.session.broker, &request.caller);
    let mut topics = Vec::with_capacity(message.topics.len());
    let mut seen = BTreeSet::new();
    let mut left = MAX_DESCRIBED_PRODUCERS;
    for topic in message.topics {
        let reference = TopicRef::from(topic.name.as_str());
        // Each partition once, or a small request that repeats one would have an answer of any size.
        let indexes: BTreeSet<i32> = topic.partition_indexes.into_iter().collect();
        let partitions = indexes.iter().filter(|index| seen.insert((topic.name.clone(), **index))).map(|index| {
            partition(*index, &mut left, || broker.active_producers(caller, &reference, PartitionIndex(*index)))
        });
        let partitions = partitions.collect();
        topics.push(DescribeProducersTopicResponse { name: topic.name, partitions, ..Default::default() });
    }
    request.ready(&DescribeProducersResponse { topics, ..Default::default() })
}

fn partition(
    partition_index: i32,
    left: &mut usize,
    find: impl FnOnce() -> Result<Vec<ActiveProducer>, BrokerError>,
) -> DescribeProducersPartitionResponse {
    let found = find().and_then(|active| {
        // The first partition with producers has room however many it has: its own states are bounded.
        let fits = active.len() <= *left || *left == MAX_DESCRIBED_PRODUCERS;
        *left = left.saturating_sub(active.len());
        if fits { Ok(active) } else { Err(BrokerError::new(KafkaError::InvalidRequest, FULL)) }
    });
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

#[cfg(test)]
mod tests {
    use tidelog_model::{ProducerEpoch, ProducerId, Sequence, Timestamp};

    use super::*;

    #[test]
    fn an_answer_has_room_for_so_many_producers_and_for_those_of_the_first_partition() {
        let many = |count| {
            let one = ActiveProducer {
                id: ProducerId(1),
                epoch: ProducerEpoch(0),
                last_sequence: Sequence(0),
                last_timestamp: Timestamp(0),
                coordinator_epoch: -1,
                transaction_start: None,
            };
            move || Ok(vec![one; count])
        };
        let mut left = MAX_DESCRIBED_PRODUCERS;
        let answer = [0, MAX_DESCRIBED_PRODUCERS + 1, 1, 0].map(|count| partition(0, &mut left, many(count)));
        let found = answer.map(|partition| (partition.error_code, partition.active_producers.len()));
        assert_eq!(found, [(0, 0), (0, MAX_DESCRIBED_PRODUCERS + 1), (KafkaError::InvalidRequest.code(), 0), (0, 0)]);
    }
}
