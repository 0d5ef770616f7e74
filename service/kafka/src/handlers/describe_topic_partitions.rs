//! DescribeTopicPartitions (key 75): topics page by page (KIP-966). One replica has no eligible leaders beside the ISR.

use tidelog_broker::{PartitionDescription, TopicCursor, TopicDescription};
use tidelog_model::{KafkaError, NodeId, PartitionIndex};
use tidelog_protocol::Str;
use tidelog_protocol::messages::{
    DescribeTopicPartitionsPartition, DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse,
    DescribeTopicPartitionsTopicResponse, TopicPartitionCursor,
};

use crate::answer::{Hangup, Waiting};
use crate::request::Request;

pub(crate) async fn handle(request: Request<'_>, message: DescribeTopicPartitionsRequest) -> Result<Waiting, Hangup> {
    let (broker, caller) = (&request.session.broker, &request.caller);
    let names = message.topics.iter().map(|topic| topic.name.to_string()).collect();
    let cursor = message.cursor.map(|cursor| TopicCursor {
        topic: cursor.topic_name.to_string(),
        partition: PartitionIndex(cursor.partition_index),
    });
    let page = match broker.topic_page(caller, &names, message.response_partition_limit, cursor.as_ref()) {
        Ok(page) => page,
        Err(error) => {
            // The answer has no error of its own: every topic gets it.
            let topics = message.topics.into_iter().map(|topic| refused(topic.name, error.error)).collect();
            return request.ready(&DescribeTopicPartitionsResponse { topics, ..Default::default() });
        }
    };
    let topics = page.topics.into_iter().map(|found| match found {
        Ok(found) => {
            let operations = broker.topic_operations(caller, found.name.as_str());
            DescribeTopicPartitionsTopicResponse { topic_authorized_operations: operations, ..topic(&found) }
        }
        // What the caller may not see has no operations; of what does not exist they are those of the name.
        Err((name, KafkaError::TopicAuthorizationFailed)) => {
            refused(Str::from(name), KafkaError::TopicAuthorizationFailed)
        }
        Err((name, error)) => DescribeTopicPartitionsTopicResponse {
            topic_authorized_operations: broker.topic_operations(caller, &name),
            ..refused(Str::from(name), error)
        },
    });
    let response = DescribeTopicPartitionsResponse {
        topics: topics.collect(),
        next_cursor: page.next.map(|next| TopicPartitionCursor {
            topic_name: Str::from(next.topic),
            partition_index: next.partition.get(),
            ..Default::default()
        }),
        ..Default::default()
    };
    request.ready(&response)
}

fn refused(name: Str, error: KafkaError) -> DescribeTopicPartitionsTopicResponse {
    DescribeTopicPartitionsTopicResponse { error_code: error.code(), name: Some(name), ..Default::default() }
}

fn topic(topic: &TopicDescription) -> DescribeTopicPartitionsTopicResponse {
    DescribeTopicPartitionsTopicResponse {
        name: Some(Str::from(&topic.name)),
        topic_id: topic.id,
        is_internal: topic.internal,
        partitions: topic.partitions.iter().map(partition).collect(),
        ..Default::default()
    }
}

fn partition(partition: &PartitionDescription) -> DescribeTopicPartitionsPartition {
    let numbers = |nodes: &[NodeId]| nodes.iter().map(|node| node.get()).collect();
    DescribeTopicPartitionsPartition {
        partition_index: partition.index.get(),
        leader_id: partition.leader.map_or(-1, |node| node.get()),
        leader_epoch: partition.leader_epoch.get(),
        replica_nodes: numbers(&partition.replicas),
        isr_nodes: numbers(&partition.isr),
        eligible_leader_replicas: Some(Vec::new()),
        last_known_elr: Some(Vec::new()),
        offline_replicas: numbers(&partition.offline),
        ..Default::default()
    }
}
