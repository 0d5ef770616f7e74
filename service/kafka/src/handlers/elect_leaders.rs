//! ElectLeaders (key 43).

use std::sync::Arc;

use tidelog_broker::{BrokerError, NamedPartition};
use tidelog_metadata::decide::Election;
use tidelog_model::{KafkaError, PartitionIndex};
use tidelog_protocol::Str;
use tidelog_protocol::messages::{
    ElectLeadersRequest, ElectLeadersResponse, ElectLeadersTopic, ElectedPartition, ReplicaElectionResult,
};

use crate::answer::{Hangup, Waiting};
use crate::request::{Request, code, sentence};

type Results = Vec<(NamedPartition, Result<(), BrokerError>)>;

pub(crate) async fn handle(request: Request<'_>, message: ElectLeadersRequest) -> Result<Waiting, Hangup> {
    let asked = message.topic_partitions.as_deref();
    let elected = match Election::from_code(message.election_type) {
        Some(election) => request.session.broker.elect_leaders(&request.caller, election, asked.map(named)).await,
        None => {
            let reason = format!("election type {} is unknown", message.election_type);
            Err(BrokerError::new(KafkaError::InvalidRequest, reason))
        }
    };
    let (error, results) = match elected {
        Ok(results) => (None, by_topic(results, asked.is_none())),
        // Version 0 has no place for the whole request's error, so each partition carries it.
        Err(error) => {
            let all = asked.unwrap_or_default().iter().map(|topic| refused(topic, &error)).collect();
            (Some(error), all)
        }
    };
    request.ready(&ElectLeadersResponse {
        error_code: if request.header.version > 0 { code(error.as_ref()) } else { 0 },
        replica_election_results: results,
        ..Default::default()
    })
}

fn named(topics: &[ElectLeadersTopic]) -> impl Iterator<Item = NamedPartition> {
    topics.iter().flat_map(|topic| {
        let name: Arc<str> = Arc::from(topic.topic.as_str());
        topic.partitions.iter().map(move |index| (name.clone(), PartitionIndex(*index)))
    })
}

/// A topic of which nothing was done.
fn refused(topic: &ElectLeadersTopic, error: &BrokerError) -> ReplicaElectionResult {
    let message = sentence(error);
    let partition = |index: &i32| ElectedPartition {
        partition_id: *index,
        error_code: error.error.code(),
        error_message: message.clone(),
        ..Default::default()
    };
    ReplicaElectionResult {
        topic: topic.topic.clone(),
        partition_result: topic.partitions.iter().map(partition).collect(),
        ..Default::default()
    }
}

/// The results in their order, neighbours of one topic together. Of all topics each is named, and of its partitions those that needed an
/// election.
fn by_topic(results: Results, of_all: bool) -> Vec<ReplicaElectionResult> {
    let mut topics: Vec<ReplicaElectionResult> = Vec::new();
    for ((topic, index), result) in results {
        let error = result.err();
        let needless = error.as_ref().is_some_and(|error| error.error == KafkaError::ElectionNotNeeded);
        let partition = (!(of_all && needless)).then(|| ElectedPartition {
            partition_id: index.get(),
            error_code: code(error.as_ref()),
            error_message: error.as_ref().and_then(sentence),
            ..Default::default()
        });
        match topics.last_mut().filter(|last| *last.topic == *topic) {
            Some(last) => last.partition_result.extend(partition),
            None => topics.push(ReplicaElectionResult {
                topic: Str::from(topic.as_ref()),
                partition_result: partition.into_iter().collect(),
                ..Default::default()
            }),
        }
    }
    topics
}
