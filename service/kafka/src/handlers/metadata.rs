//! Metadata (key 3): brokers, topics, partitions and their leaders; creates topics where that is on.

use std::collections::HashSet;

use tidelog_broker::{BrokerError, PartitionDescription, TopicDescription, TopicRef};
use tidelog_model::{KafkaError, TopicId};
use tidelog_protocol::Str;
use tidelog_protocol::messages::{
    MetadataRequest, MetadataRequestTopic, MetadataResponse, MetadataResponseBroker, MetadataResponsePartition,
    MetadataResponseTopic,
};

use crate::answer::{Hangup, Waiting};
use crate::request::Request;

/// Versions 10 and 11 have a field for ids, but no answer to them (KIP-516).
const FIRST_BY_ID: i16 = 12;

pub(crate) async fn handle(request: Request<'_>, message: MetadataRequest) -> Result<Waiting, Hangup> {
    let broker = &request.session.broker;
    let caller = &request.caller;
    // Version 0 knows no null: there an empty list means all topics.
    let asked = message.topics.filter(|list| request.header.version > 0 || !list.is_empty());
    let mut topics = Vec::new();
    match asked {
        None => topics.extend(broker.topics(caller).iter().map(describe)),
        Some(list) => {
            // A topic that is named twice is answered once.
            let mut seen = HashSet::with_capacity(list.len());
            for topic in list.into_iter().filter(|topic| seen.insert((topic.name.clone(), topic.topic_id))) {
                topics.push(one(&request, topic, message.allow_auto_topic_creation).await);
            }
        }
    }
    if message.include_topic_authorized_operations {
        for topic in &mut topics {
            if let (Some(name), 0) = (&topic.name, topic.error_code) {
                topic.topic_authorized_operations = broker.topic_operations(caller, name);
            }
        }
    }
    let mut response = MetadataResponse { topics, ..Default::default() };
    match broker.cluster(caller) {
        Ok(cluster) => {
            let (host, port) = request.session.advertised();
            response.brokers = cluster
                .brokers
                .iter()
                .map(|node| MetadataResponseBroker {
                    node_id: node.get(),
                    host: Str::from(&host),
                    port: i32::from(port),
                    ..Default::default()
                })
                .collect();
            response.cluster_id = Some(Str::from(&cluster.cluster_id));
            response.controller_id = cluster.controller.get();
        }
        Err(error) => response.error_code = error.error.code(),
    }
    if message.include_cluster_authorized_operations {
        response.cluster_authorized_operations = broker.cluster_operations(caller);
    }
    request.ready(&response)
}

async fn one(request: &Request<'_>, topic: MetadataRequestTopic, create: bool) -> MetadataResponseTopic {
    let broker = &request.session.broker;
    let version = request.header.version;
    if version < FIRST_BY_ID && (topic.name.is_none() || topic.topic_id != TopicId::ZERO) {
        return refused(topic, KafkaError::InvalidRequest, version);
    }
    let found = match &topic.name {
        Some(name) if topic.topic_id == TopicId::ZERO => {
            // Versions before 4 cannot ask for no creation.
            if create || version < 4 {
                broker.topic_or_create(&request.caller, name).await
            } else {
                broker.topic(&request.caller, &TopicRef::from(name.as_str()))
            }
        }
        _ => broker.topic(&request.caller, &TopicRef::Id(topic.topic_id)),
    };
    match found {
        Ok(found) => describe(&found),
        Err(BrokerError { error, .. }) => refused(topic, error, version),
    }
}

fn refused(topic: MetadataRequestTopic, error: KafkaError, version: i16) -> MetadataResponseTopic {
    let by_id = topic.topic_id != TopicId::ZERO;
    MetadataResponseTopic {
        error_code: error.code(),
        // Earlier versions have no null here.
        name: if version < FIRST_BY_ID { topic.name.or(Some(Str::EMPTY)) } else { topic.name.filter(|_| !by_id) },
        topic_id: topic.topic_id,
        ..Default::default()
    }
}

fn describe(topic: &TopicDescription) -> MetadataResponseTopic {
    MetadataResponseTopic {
        name: Some(Str::from(&topic.name)),
        topic_id: topic.id,
        is_internal: topic.internal,
        partitions: topic.partitions.iter().map(partition).collect(),
        ..Default::default()
    }
}

fn partition(partition: &PartitionDescription) -> MetadataResponsePartition {
    let error = if partition.leader.is_some() { KafkaError::None } else { KafkaError::LeaderNotAvailable };
    let numbers = |nodes: &[tidelog_model::NodeId]| nodes.iter().map(|node| node.get()).collect();
    MetadataResponsePartition {
        error_code: error.code(),
        partition_index: partition.index.get(),
        leader_id: partition.leader.map_or(-1, |node| node.get()),
        leader_epoch: partition.leader_epoch.get(),
        replica_nodes: numbers(&partition.replicas),
        isr_nodes: numbers(&partition.isr),
        offline_replicas: numbers(&partition.offline),
        ..Default::default()
    }
}

#[cfg(test)]
mod tests {
    use tidelog_protocol::header::response_frame;

    use super::*;

    #[test]
    fn a_refusal_can_be_written_in_every_version() {
        let named = MetadataRequestTopic { name: Some(Str::from_static("t")), ..Default::default() };
        let by_id = MetadataRequestTopic { name: None, topic_id: TopicId::from_bytes([7; 16]), ..Default::default() };
        let neither = MetadataRequestTopic { name: None, ..Default::default() };
        for version in 0..=13 {
            for topic in [&named, &by_id, &neither] {
                let topics = vec![refused(topic.clone(), KafkaError::UnknownTopicId, version)];
                let written = response_frame(version, 1, &MetadataResponse { topics, ..Default::default() });
                assert!(written.is_ok(), "version {version}, {topic:?}: {written:?}");
            }
        }
    }
}
