//! ListPartitionReassignments (key 46).

use std::collections::BTreeMap;

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
    let asked = message.topics.map(|topics| {
        let mut asked: BTreeMap<String, Vec<PartitionIndex>> = BTreeMap::new();
        for topic in topics {
            let indexes = topic.partition_indexes.into_iter().map(PartitionIndex);
            asked.entry(topic.name.to_string()).or_default().extend(indexes);
        }
        asked
    });
    request.ready(&match request.session.broker.reassignments(&request.caller, asked.as_ref()) {
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
