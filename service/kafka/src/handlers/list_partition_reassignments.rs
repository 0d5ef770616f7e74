//! ListPartitionReassignments (key 46).

use std::sync::Arc;

use tidelog_broker::Reassignment;
use tidelog_model::{NodeId, PartitionIndex};
use tidelog_protocol::Str;
use tidelog_protocol::messages::{
    ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse, OngoingPartitionReassignment,
    OngoingTopicReassignment,
};

use crate::answer::{Hangup, Waiting};
use crate::request::{Request, sentence};

pub(crate) async fn handle(
    request: Request<'_>,
    message: ListPartitionReassignmentsRequest,
) -> Result<Waiting, Hangup> {
    let asked = message.topics.as_deref().map(|topics| {
        topics.iter().flat_map(|topic| {
            let name: Arc<str> = Arc::from(topic.name.as_str());
            topic.partition_indexes.iter().map(move |index| (name.clone(), PartitionIndex(*index)))
        })
    });
    request.ready(&match request.session.broker.reassignments(&request.caller, asked) {
        Ok(found) => {
            ListPartitionReassignmentsResponse { error_message: None, topics: by_topic(found), ..Default::default() }
        }
        Err(error) => ListPartitionReassignmentsResponse {
            error_code: error.error.code(),
            error_message: sentence(&error),
            ..Default::default()
        },
    })
}

/// The reassignments, which come in the order of their topics.
fn by_topic(found: Vec<Reassignment>) -> Vec<OngoingTopicReassignment> {
    let numbers = |nodes: &[NodeId]| nodes.iter().map(|node| node.get()).collect();
    let mut topics: Vec<OngoingTopicReassignment> = Vec::new();
    for Reassignment { partition: (topic, index), replicas, adding, removing } in found {
        let partition = OngoingPartitionReassignment {
            partition_index: index.get(),
            replicas: numbers(&replicas),
            adding_replicas: numbers(&adding),
            removing_replicas: numbers(&removing),
            ..Default::default()
        };
        match topics.last_mut().filter(|last| *last.name == *topic) {
            Some(last) => last.partitions.push(partition),
            None => topics.push(OngoingTopicReassignment {
                name: Str::from(topic.as_ref()),
                partitions: vec![partition],
                ..Default::default()
            }),
        }
    }
    topics
}
