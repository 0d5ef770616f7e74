//! CreateTopics (key 19).

use std::collections::BTreeSet;

use tidelog_broker::{BrokerError, NewTopic, TopicDescription, TopicRef};
use tidelog_metadata::Described;
use tidelog_model::{NodeId, PartitionIndex, QuotaKind};
use tidelog_protocol::Str;
use tidelog_protocol::messages::{
    CreatableTopic, CreatableTopicConfigs, CreatableTopicResult, CreateTopicsRequest, CreateTopicsResponse,
};

use crate::answer::{Hangup, Waiting};
use crate::request::{Request, mutations, sentence};

/// The first version whose clients understand THROTTLING_QUOTA_EXCEEDED (KIP-599).
const STRICT_FROM: i16 = 6;

pub(crate) async fn handle(request: Request<'_>, message: CreateTopicsRequest) -> Result<Waiting, Hangup> {
    let asked: Vec<NewTopic> = message.topics.into_iter().map(specification).collect();
    let broker = &request.session.broker;
    let mut mutations = mutations(&request, STRICT_FROM);
    let results =
        broker.create_topics_within(&request.caller, asked.clone(), message.validate_only, &mut mutations).await;
    request.meter.pause(QuotaKind::ControllerMutationRate, mutations.pause());
    // A name that is given twice is answered once.
    let mut answered = BTreeSet::new();
    let topics = asked
        .iter()
        .zip(results)
        .filter(|(asked, _)| answered.insert(asked.name.as_str()))
        .map(|(asked, result)| topic(&request, asked, result, message.validate_only))
        .collect();
    request.ready(&CreateTopicsResponse { topics, ..Default::default() })
}

fn specification(topic: CreatableTopic) -> NewTopic {
    NewTopic {
        name: topic.name.to_string(),
        // −1 leaves the number to the broker (KIP-464), and to the assignments if there are some.
        partitions: (topic.num_partitions != -1).then_some(topic.num_partitions),
        replication_factor: (topic.replication_factor != -1).then_some(topic.replication_factor),
        assignments: topic
            .assignments
            .iter()
            .map(|one| (PartitionIndex(one.partition_index), one.broker_ids.iter().map(|id| NodeId(*id)).collect()))
            .collect(),
        config: topic.configs.into_iter().map(|c| (c.name.to_string(), c.value.map(|v| v.to_string()))).collect(),
    }
}

fn topic(
    request: &Request<'_>,
    asked: &NewTopic,
    result: Result<TopicDescription, BrokerError>,
    validate_only: bool,
) -> CreatableTopicResult {
    let name = Str::from(&asked.name);
    let created = match result {
        Ok(created) => created,
        Err(error) => {
            return CreatableTopicResult {
                name,
                error_code: error.error.code(),
                error_message: sentence(&error),
                ..Default::default()
            };
        }
    };
    let base = CreatableTopicResult { name, topic_id: created.id, error_message: None, ..Default::default() };
    let broker = &request.session.broker;
    let configs = if validate_only {
        broker.would_be_configs(&request.caller, &asked.name, &asked.config)
    } else {
        broker.topic_configs(&request.caller, &TopicRef::from(asked.name.as_str()))
    };
    match configs {
        Ok(configs) => CreatableTopicResult {
            num_partitions: created.partitions.len() as i32,
            replication_factor: created.partitions.first().map_or(-1, |partition| partition.replicas.len() as i16),
            configs: Some(configs.iter().map(setting).collect()),
            ..base
        },
        // Who may not see the settings hears of the topic without its details (KIP-525).
        Err(error) => CreatableTopicResult { topic_config_error_code: error.error.code(), ..base },
    }
}

fn setting(config: &Described) -> CreatableTopicConfigs {
    CreatableTopicConfigs {
        name: Str::from(&config.name),
        value: config.value.as_ref().map(Str::from),
        read_only: config.read_only,
        config_source: config.source.code(),
        ..Default::default()
    }
}
