//! AlterPartitionReassignments (key 45).

use std::sync::Arc;

use tidelog_broker::NamedPartition;
use tidelog_model::{NodeId, PartitionIndex};
use tidelog_protocol::messages::{
    AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse, ReassignablePartitionResponse,
    ReassignableTopic, ReassignableTopicResponse,
};

use crate::answer::{Hangup, Waiting};
use crate::request::{Request, code, sentence};

pub(crate) async fn handle(
    request: Request<'_>,
    message: AlterPartitionReassignmentsRequest,
) -> Result<Waiting, Hangup> {
    let another_factor = message.allow_replication_factor_change;
    let base = AlterPartitionReassignmentsResponse {
        allow_replication_factor_change: another_factor,
        error_message: None,
        ..Default::default()
    };
    let targets = message.topics.iter().flat_map(targets);
    let results = match request.session.broker.reassign(&request.caller, targets, another_factor) {
        Ok(results) => results,
        Err(error) => {
            return request.ready(&AlterPartitionReassignmentsResponse {
                error_code: error.error.code(),
                error_message: sentence(&error),
                ..base
            });
        }
    };
    let mut results = results.into_iter();
    let responses = message
        .topics
        .into_iter()
        .map(|topic| ReassignableTopicResponse {
            name: topic.name,
            partitions: topic
                .partitions
                .iter()
                .zip(&mut results)
                .map(|(partition, result)| {
                    let error = result.err();
                    ReassignablePartitionResponse {
                        partition_index: partition.partition_index,
                        error_code: code(error.as_ref()),
                        error_message: error.as_ref().and_then(sentence),
                        ..Default::default()
                    }
                })
                .collect(),
            ..Default::default()
        })
        .collect();
    request.ready(&AlterPartitionReassignmentsResponse { responses, ..base })
}

fn targets(topic: &ReassignableTopic) -> impl Iterator<Item = (NamedPartition, Option<Vec<NodeId>>)> {
    let name: Arc<str> = Arc::from(topic.name.as_str());
    topic.partitions.iter().map(move |partition| {
        let replicas = partition.replicas.as_ref().map(|list| list.iter().map(|id| NodeId(*id)).collect());
        ((Arc::clone(&name), PartitionIndex(partition.partition_index)), replicas)
    })
}
