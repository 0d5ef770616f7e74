//! OffsetDelete (key 47, KIP-496).

use tidelog_broker::TopicRef;
use tidelog_coordinator::group::GroupId;
use tidelog_model::{KafkaError, PartitionIndex};
use tidelog_protocol::messages::{
    OffsetDeleteRequest, OffsetDeleteRequestTopic, OffsetDeleteResponse, OffsetDeleteResponsePartition,
    OffsetDeleteResponseTopic,
};

use crate::answer::{Hangup, Waiting};
use crate::request::Request;

pub(crate) async fn handle(request: Request<'_>, message: OffsetDeleteRequest) -> Result<Waiting, Hangup> {
    let to = request.reply_to();
    let asked: Vec<(TopicRef, Vec<PartitionIndex>)> = message
        .topics
        .iter()
        .map(|topic| {
            let indexes = topic.partitions.iter().map(|partition| PartitionIndex(partition.partition_index));
            (TopicRef::from(topic.name.as_str()), indexes.collect())
        })
        .collect();
    let group = GroupId::from(message.group_id.as_str());
    let ticket = request.session.broker.delete_offsets(&request.caller, group, &asked).await;
    drop(request);
    Ok(Box::pin(async move {
        let response = match ticket.await {
            Ok(results) => OffsetDeleteResponse { topics: by_topic(message.topics, results), ..Default::default() },
            Err(error) => OffsetDeleteResponse { error_code: error.error.code(), ..Default::default() },
        };
        to.answer(&response)
    }))
}

/// The results, which are in the request's order, in the request's shape.
fn by_topic(
    asked: Vec<OffsetDeleteRequestTopic>,
    results: Vec<Result<(), KafkaError>>,
) -> Vec<OffsetDeleteResponseTopic> {
    let mut results = results.into_iter();
    let topic = |topic: OffsetDeleteRequestTopic| {
        let partitions =
            topic.partitions.into_iter().zip(&mut results).map(|(partition, result)| OffsetDeleteResponsePartition {
                partition_index: partition.partition_index,
                error_code: result.err().unwrap_or(KafkaError::None).code(),
                ..Default::default()
            });
        OffsetDeleteResponseTopic { name: topic.name, partitions: partitions.collect(), ..Default::default() }
    };
    asked.into_iter().map(topic).collect()
}
