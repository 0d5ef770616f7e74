//! Topics: create, delete, add partitions.

use tidelog_model::{KafkaError, TopicId};
use tidelog_protocol::Str;
use tidelog_protocol::messages::{
    CreatableTopic, CreatableTopicConfig, CreatePartitionsRequest, CreatePartitionsTopic, CreateTopicsRequest,
    DeleteTopicState, DeleteTopicsRequest,
};

use crate::{Client, ClientError};

/// A topic to create.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewTopic {
    /// Its name.
    pub name: String,
    /// How many partitions; `None` is the server's default.
    pub partitions: Option<i32>,
    /// How many replicas each; `None` is the server's default.
    pub replication_factor: Option<i16>,
    /// Its configuration.
    pub config: Vec<(String, String)>,
}

/// A topic that was created, as far as the server tells (KIP-525); −1 and zero where it does not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreatedTopic {
    /// Its name.
    pub name: String,
    /// Its id.
    pub id: TopicId,
    /// How many partitions.
    pub partitions: i32,
    /// How many replicas each.
    pub replication_factor: i16,
}

impl Client {
    /// Creates topics, or only checks whether they could be. The results have the topics' order.
    pub async fn create_topics(
        &self,
        topics: &[NewTopic],
        validate_only: bool,
    ) -> Result<Vec<Result<CreatedTopic, ClientError>>, ClientError> {
        let config = |(name, value): &(String, String)| CreatableTopicConfig {
            name: Str::from(name),
            value: Some(Str::from(value)),
            ..Default::default()
        };
        let topic = |topic: &NewTopic| CreatableTopic {
            name: Str::from(&topic.name),
            num_partitions: topic.partitions.unwrap_or(-1),
            replication_factor: topic.replication_factor.unwrap_or(-1),
            configs: topic.config.iter().map(config).collect(),
            ..Default::default()
        };
        let request = CreateTopicsRequest {
            topics: topics.iter().map(topic).collect(),
            timeout_ms: self.timeout_ms(),
            validate_only,
            ..Default::default()
        };
        let response = self.call(&request).await?;
        let result = |topic: &NewTopic| {
            let answer = response.topics.iter().find(|answer| answer.name == *topic.name);
            let answer = answer.ok_or_else(|| missing(&topic.name))?;
            ClientError::check(answer.error_code, || what(&topic.name), answer.error_message.as_deref())?;
            Ok(CreatedTopic {
                name: topic.name.clone(),
                id: answer.topic_id,
                partitions: answer.num_partitions,
                replication_factor: answer.replication_factor,
            })
        };
        Ok(topics.iter().map(result).collect())
    }

    /// Deletes topics by name. The results have the names' order.
    pub async fn delete_topics(&self, names: &[&str]) -> Result<Vec<Result<(), ClientError>>, ClientError> {
        let by_name = |name: &&str| DeleteTopicState { name: Some(Str::from(*name)), ..Default::default() };
        let mut request = DeleteTopicsRequest { timeout_ms: self.timeout_ms(), ..Default::default() };
        let broker = self.any_broker().await?;
        if broker.versions().choose::<DeleteTopicsRequest>(i16::MAX)? >= 6 {
            request.topics = names.iter().map(by_name).collect();
        } else {
            request.topic_names = names.iter().map(|name| Str::from(*name)).collect();
        }
        let response = broker.call(&request).await?;
        let result = |name: &&str| {
            let answer = response.responses.iter().find(|answer| answer.name.as_deref() == Some(*name));
            let answer = answer.ok_or_else(|| missing(name))?;
            ClientError::check(answer.error_code, || what(name), answer.error_message.as_deref())
        };
        Ok(names.iter().map(result).collect())
    }

    /// Raises a topic's number of partitions to `total` (KIP-195).
    pub async fn create_partitions(&self, name: &str, total: i32, validate_only: bool) -> Result<(), ClientError> {
        let topic =
            CreatePartitionsTopic { name: Str::from(name), count: total, assignments: None, ..Default::default() };
        let request = CreatePartitionsRequest {
            topics: vec![topic],
            timeout_ms: self.timeout_ms(),
            validate_only,
            ..Default::default()
        };
        let response = self.call(&request).await?;
        let answer = response.results.iter().find(|answer| answer.name == name).ok_or_else(|| missing(name))?;
        ClientError::check(answer.error_code, || what(name), answer.error_message.as_deref())
    }

    pub(crate) fn timeout_ms(&self) -> i32 {
        i32::try_from(self.timeout().as_millis()).unwrap_or(i32::MAX)
    }
}

fn what(name: &str) -> String {
    format!("topic `{name}`")
}

fn missing(name: &str) -> ClientError {
    ClientError::kafka(KafkaError::UnknownServerError, what(name), Some("the answer lacks it"))
}
