//! Topics as both REST and gRPC show them, and the changes both ask for. Decides which settings are shown: those that
//! somebody set, as the topic's own.

use std::collections::BTreeMap;

use tidelog_broker::{Broker, BrokerError, NewTopic, TopicDescription, TopicRef};
use tidelog_metadata::ConfigSource;
use tidelog_metadata::decide::{ConfigChange, ConfigOperation};
use tidelog_model::{Caller, KafkaError};

/// The topic's own settings; empty if the caller may not see them.
pub(crate) fn own_config(
    broker: &Broker,
    caller: &Caller,
    topic: &TopicDescription,
) -> Result<BTreeMap<String, String>, BrokerError> {
    let entries = match broker.topic_configs(caller, &TopicRef::Id(topic.id)) {
        Ok(entries) => entries,
        // Whoever may describe a topic need not be allowed to see its settings.
        Err(error) if error.error == KafkaError::TopicAuthorizationFailed => Vec::new(),
        Err(error) => return Err(error),
    };
    let own = entries.into_iter().filter(|entry| entry.source == ConfigSource::DynamicTopic);
    Ok(own.filter_map(|entry| Some((entry.name, entry.value?))).collect())
}

/// Creates one topic.
pub(crate) async fn create(
    broker: &Broker,
    caller: &Caller,
    topic: NewTopic,
    validate_only: bool,
) -> Result<TopicDescription, BrokerError> {
    let mut answers = broker.create_topics(caller, vec![topic], validate_only).await;
    answers.pop().unwrap_or_else(|| Err(BrokerError::from(KafkaError::UnknownServerError)))
}

/// What to change of a topic.
#[derive(Default)]
pub(crate) struct TopicUpdate {
    pub(crate) partitions: Option<i32>,
    pub(crate) set: Vec<(String, String)>,
    pub(crate) reset: Vec<String>,
    pub(crate) validate_only: bool,
}

/// Changes settings and then the number of partitions; the settings are checked as a whole first.
pub(crate) async fn update(
    broker: &Broker,
    caller: &Caller,
    name: &str,
    update: TopicUpdate,
) -> Result<TopicDescription, BrokerError> {
    let topic = TopicRef::from(name);
    let described = broker.topic(caller, &topic)?;
    let set = update.set.into_iter().map(|(name, value)| ConfigChange {
        name,
        operation: ConfigOperation::Set,
        value: Some(value),
    });
    let reset =
        update.reset.into_iter().map(|name| ConfigChange { name, operation: ConfigOperation::Delete, value: None });
    let changes: Vec<ConfigChange> = set.chain(reset).collect();
    // PATCH with the number that is already there changes nothing, so that it can be repeated.
    let total = update.partitions.filter(|total| usize::try_from(*total).ok() != Some(described.partitions.len()));
    if let Some(total) = total {
        broker.create_partitions(caller, name, total, None, true).await?;
    }
    if !changes.is_empty() {
        broker.alter_topic_configs(caller, name, changes, update.validate_only).await?.hold().await?;
    }
    if let Some(total) = total
        && !update.validate_only
    {
        broker.create_partitions(caller, name, total, None, false).await?;
    }
    broker.topic(caller, &topic)
}

/// Deletes one topic.
pub(crate) async fn delete(broker: &Broker, caller: &Caller, name: &str) -> Result<(), BrokerError> {
    let mut answers = broker.delete_topics(caller, vec![TopicRef::from(name)]).await;
    answers.pop().unwrap_or_else(|| Err(BrokerError::from(KafkaError::UnknownServerError))).map(drop)
}
