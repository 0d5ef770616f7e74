//! Configurations of topics and brokers: read with their origin (KIP-226), change entry by entry (KIP-339).

use tidelog_model::{KafkaError, NodeId};
use tidelog_protocol::Str;
use tidelog_protocol::messages::{
    AlterConfigsResource, AlterableConfig, DescribeConfigsRequest, DescribeConfigsResource,
    IncrementalAlterConfigsRequest,
};

use crate::{Client, ClientError};

/// What a configuration belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConfigResource {
    /// A topic by name.
    Topic(String),
    /// A broker; `None` is what all brokers share.
    Broker(Option<NodeId>),
    /// The loggers of a broker (KIP-412).
    Loggers(NodeId),
    /// A group by its id.
    Group(String),
}

impl ConfigResource {
    fn wire(&self) -> (i8, Str) {
        match self {
            ConfigResource::Topic(name) => (2, Str::from(name)),
            ConfigResource::Broker(Some(id)) => (4, Str::from(id.to_string())),
            ConfigResource::Broker(None) => (4, Str::EMPTY),
            ConfigResource::Loggers(id) => (8, Str::from(id.to_string())),
            ConfigResource::Group(id) => (32, Str::from(id)),
        }
    }

    fn what(&self) -> String {
        match self {
            ConfigResource::Topic(name) => format!("configuration of topic `{name}`"),
            ConfigResource::Broker(Some(id)) => format!("configuration of broker {id}"),
            ConfigResource::Broker(None) => "configuration of all brokers".into(),
            ConfigResource::Loggers(id) => format!("loggers of broker {id}"),
            ConfigResource::Group(id) => format!("configuration of group `{id}`"),
        }
    }
}

/// One configuration entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigEntry {
    /// Its name.
    pub name: String,
    /// Its value; `None` if it is a secret or unset.
    pub value: Option<String>,
    /// Where the value comes from: `topic`, `broker`, `brokers`, `file`, `default`, `unknown` …
    pub source: &'static str,
    /// It cannot be changed.
    pub read_only: bool,
    /// The value is a secret.
    pub is_sensitive: bool,
}

/// A change of one entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConfigChange {
    /// Give it this value.
    Set(String, String),
    /// Return it to the default.
    Delete(String),
    /// Add to a list.
    Append(String, String),
    /// Take from a list.
    Subtract(String, String),
}

impl ConfigChange {
    fn wire(&self) -> AlterableConfig {
        let (name, operation, value) = match self {
            ConfigChange::Set(name, value) => (name, 0, Some(value)),
            ConfigChange::Delete(name) => (name, 1, None),
            ConfigChange::Append(name, value) => (name, 2, Some(value)),
            ConfigChange::Subtract(name, value) => (name, 3, Some(value)),
        };
        AlterableConfig {
            name: Str::from(name),
            config_operation: operation,
            value: value.map(Str::from),
            ..Default::default()
        }
    }
}

impl Client {
    /// All entries of a resource, by name.
    pub async fn describe_configs(&self, resource: &ConfigResource) -> Result<Vec<ConfigEntry>, ClientError> {
        let (resource_type, resource_name) = resource.wire();
        let asked =
            DescribeConfigsResource { resource_type, resource_name, configuration_keys: None, ..Default::default() };
        let request = DescribeConfigsRequest { resources: vec![asked], ..Default::default() };
        let mut response = self.call(&request).await?;
        let answer = response.results.pop().ok_or_else(|| missing(resource))?;
        ClientError::check(answer.error_code, || resource.what(), answer.error_message.as_deref())?;
        let mut entries: Vec<ConfigEntry> = answer
            .configs
            .into_iter()
            .map(|entry| ConfigEntry {
                name: entry.name.as_str().to_owned(),
                value: entry.value.map(|value| value.as_str().to_owned()),
                source: source(entry.config_source),
                read_only: entry.read_only,
                is_sensitive: entry.is_sensitive,
            })
            .collect();
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }

    /// Changes entries of a resource, all or none.
    pub async fn alter_configs(
        &self,
        resource: &ConfigResource,
        changes: &[ConfigChange],
        validate_only: bool,
    ) -> Result<(), ClientError> {
        let (resource_type, resource_name) = resource.wire();
        let configs = changes.iter().map(ConfigChange::wire).collect();
        let request = IncrementalAlterConfigsRequest {
            resources: vec![AlterConfigsResource { resource_type, resource_name, configs, ..Default::default() }],
            validate_only,
            ..Default::default()
        };
        let response = self.call(&request).await?;
        let answer = response.responses.first().ok_or_else(|| missing(resource))?;
        ClientError::check(answer.error_code, || resource.what(), answer.error_message.as_deref())
    }
}

fn missing(resource: &ConfigResource) -> ClientError {
    ClientError::kafka(KafkaError::UnknownServerError, resource.what(), Some("the answer lacks it"))
}

fn source(code: i8) -> &'static str {
    match code {
        1 => "topic",
        2 => "broker",
        3 => "brokers",
        // Kafka's STATIC_BROKER_CONFIG: a file, an option or what the broker made of it.
        4 => "start",
        5 => "default",
        6 => "logger",
        7 => "client-metrics",
        8 => "group",
        _ => "unknown",
    }
}
