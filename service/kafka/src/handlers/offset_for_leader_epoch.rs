//! OffsetForLeaderEpoch (key 23): where leader epochs end (KIP-101, KIP-279, KIP-320).

use tidelog_broker::{BrokerError, EpochEnd, TopicRef};
use tidelog_model::{LeaderEpoch, PartitionIndex};
use tidelog_protocol::messages::{
    LeaderEpochEndOffset, OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse, OffsetForLeaderTopicResult,
};

use crate::answer::{Hangup, Waiting};
use crate::request::Request;

pub(crate) async fn handle(request: Request<'_>, message: OffsetForLeaderEpochRequest) -> Result<Waiting, Hangup> {
    let (broker, caller) = (&request.session.broker, &request.caller);
    let mut topics = Vec::with_capacity(message.topics.len());
    for topic in message.topics {
        let reference = TopicRef::from(topic.topic.as_str());
        let partitions = topic.partitions.iter().map(|asked| {
            let index = PartitionIndex(asked.partition);
            let (believed, epoch) = (LeaderEpoch(asked.current_leader_epoch), LeaderEpoch(asked.leader_epoch));
            end(asked.partition, broker.end_of_leader_epoch(caller, &reference, index, believed, epoch))
        });
        let partitions = partitions.collect();
        topics.push(OffsetForLeaderTopicResult { topic: topic.topic, partitions, ..Default::default() });
    }
    request.ready(&OffsetForLeaderEpochResponse { topics, ..Default::default() })
}

fn end(partition: i32, found: Result<EpochEnd, BrokerError>) -> LeaderEpochEndOffset {
    match found {
        Ok(found) => LeaderEpochEndOffset {
            partition,
            leader_epoch: found.epoch.get(),
            end_offset: found.end.get(),
            ..Default::default()
        },
        Err(error) => LeaderEpochEndOffset { partition, error_code: error.error.code(), ..Default::default() },
    }
}
