//! The key layout of the metadata store: which keys exist and what their values are. One file per kind; decides nothing.
//!
//! Every value is one JSON object whose first field is `version`; an unknown version is refused, and so is an unknown field or key
//! (somebody newer wrote it, and guessing could mean ignoring an access rule).
//!
//! | key | value | written |
//! |---|---|---|
//! | `cluster` | [`ClusterValue`] | once, by the first broker |
//! | `brokers/<node id>` | [`BrokerValue`] | by each start of a broker, bound to its lease; the mod revision is the broker epoch |
//! | `controller` | [`ControllerValue`] | by the broker that holds the controller lease |
//! | `names/<topic name>` | [`NameValue`] | first when a topic is created: it reserves the name |
//! | `partitions/<topic id>/<n>` | [`PartitionState`] | before the topic exists, then by every change of leadership or replicas |
//! | `topics/<topic id>` | [`TopicValue`] | last: it makes the topic and its first `partitions` partitions exist |
//! | `deletions/<topic id>` | [`DeletionValue`] | when a topic is deleted, until all that it left behind is gone |
//! | `configs/broker/<node id or default>` | [`BrokerOverrides`](crate::broker_config::BrokerOverrides) | by IncrementalAlterConfigs |
//! | `configs/group/<group>` | [`GroupOverrides`](crate::group_config::GroupOverrides) | by IncrementalAlterConfigs |
//! | `configs/client-metrics/<name>` | [`ClientMetricsOverrides`](crate::client_metrics::ClientMetricsOverrides) | by IncrementalAlterConfigs |
//! | `features` | [`FeaturesValue`] | by UpdateFeatures, while a level is not the highest |
//! | `quotas/<entity>` | [`QuotasValue`] | by AlterClientQuotas |
//! | `acls/<id>` | [`AclValue`] | by CreateAcls, until DeleteAcls |
//! | `scram/<mechanism>/<user>` | [`ScramValue`] | by AlterUserScramCredentials, and by `tidelog user create` |
//! | `delegation-tokens/<id>` | [`DelegationTokenValue`] | by CreateDelegationToken and renewals, until it has expired |
//! | `producer-ids` | [`ProducerIdsValue`] | by each reservation of a block |

mod acl;
mod broker;
mod cluster;
mod configs;
mod controller;
mod delegation_token;
mod deletion;
mod features;
mod name;
mod partition;
mod producer_ids;
mod quotas;
mod scram;
#[cfg(test)]
mod tests;
mod topic;

use std::fmt;

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tidelog_model::{NodeId, PartitionIndex, QuotaEntity, ScramMechanism, TopicId, TopicName};
use uuid::Uuid;

pub use acl::AclValue;
pub use broker::{BrokerValue, Endpoint};
pub use cluster::ClusterValue;
pub use controller::ControllerValue;
pub use delegation_token::DelegationTokenValue;
pub(crate) use delegation_token::is_token_id;
pub use deletion::DeletionValue;
pub use features::FeaturesValue;
pub use name::NameValue;
pub use partition::{IsrMember, PartitionState};
pub use producer_ids::ProducerIdsValue;
pub use quotas::QuotasValue;
pub use scram::ScramValue;
pub use topic::TopicValue;

use crate::limits::{MAX_CONFIGURED_NAME_BYTES, MAX_KEY_BYTES, MAX_TRANSACTION_BYTES, MAX_USER_BYTES};

/// A key of the store, parsed. Its text form is its `Display`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Key {
    /// `cluster`
    Cluster,
    /// `brokers/<node id>`
    Broker(NodeId),
    /// `controller`
    Controller,
    /// `names/<topic name>`
    Name(TopicName),
    /// `partitions/<topic id>/<n>`
    Partition(TopicId, PartitionIndex),
    /// `topics/<topic id>`
    Topic(TopicId),
    /// `deletions/<topic id>`
    Deletion(TopicId),
    /// `configs/broker/<node id>`, or `configs/broker/default` for all brokers
    BrokerConfigs(Option<NodeId>),
    /// `configs/group/<group>`; the group is everything behind the second `/`
    GroupConfigs(String),
    /// `configs/client-metrics/<name>`; the name is everything behind the second `/`
    ClientMetrics(String),
    /// `features`
    Features,
    /// `producer-ids`
    ProducerIds,
    /// `quotas/<entity>`
    Quotas(QuotaEntity),
    /// `acls/<id>`
    Acl(Uuid),
    /// `scram/<mechanism>/<user>`; the user is everything behind the second `/`
    Scram(ScramMechanism, String),
    /// `delegation-tokens/<id>`
    DelegationToken(String),
}

/// Why a key or a value of the store cannot be used.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum KeyError {
    /// The key has no known form.
    #[error("the metadata store holds an unknown key {0:?}; was it written by a newer version?")]
    UnknownKey(String),
    /// The value's version is not known.
    #[error("{key}: format version {found}; this program knows version {known}")]
    Version {
        /// The key.
        key: String,
        /// What the value says.
        found: u32,
        /// What this program writes.
        known: u32,
    },
    /// The value makes no sense.
    #[error("{key}: {reason}")]
    Value {
        /// The key.
        key: String,
        /// What is wrong.
        reason: String,
    },
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Key::Cluster => f.write_str("cluster"),
            Key::Broker(node) => write!(f, "brokers/{node}"),
            Key::Controller => f.write_str("controller"),
            Key::Name(name) => write!(f, "names/{name}"),
            Key::Partition(topic, partition) => write!(f, "partitions/{topic}/{partition}"),
            Key::Topic(topic) => write!(f, "topics/{topic}"),
            Key::Deletion(topic) => write!(f, "deletions/{topic}"),
            Key::BrokerConfigs(Some(node)) => write!(f, "configs/broker/{node}"),
            Key::BrokerConfigs(None) => f.write_str("configs/broker/default"),
            Key::GroupConfigs(group) => write!(f, "configs/group/{group}"),
            Key::ClientMetrics(name) => write!(f, "configs/client-metrics/{name}"),
            Key::Features => f.write_str("features"),
            Key::ProducerIds => f.write_str("producer-ids"),
            Key::Quotas(entity) => write!(f, "quotas/{entity}"),
            Key::Acl(id) => write!(f, "acls/{}", id.hyphenated()),
            Key::Scram(mechanism, user) => write!(f, "scram/{}/{user}", mechanism.name()),
            Key::DelegationToken(id) => write!(f, "delegation-tokens/{id}"),
        }
    }
}

impl Key {
    /// Parses a key; the exact inverse of `Display`.
    pub fn parse(text: &str) -> Result<Key, KeyError> {
        let unknown = || {
            let mut shown = text.to_string();
            shown.truncate(shown.floor_char_boundary(MAX_KEY_BYTES));
            KeyError::UnknownKey(shown)
        };
        let (kind, rest) = text.split_once('/').unwrap_or((text, ""));
        let key = match (kind, rest) {
            ("cluster", "") => Some(Key::Cluster),
            ("controller", "") => Some(Key::Controller),
            ("features", "") => Some(Key::Features),
            ("producer-ids", "") => Some(Key::ProducerIds),
            ("brokers", node) => number(node).map(|node| Key::Broker(NodeId(node))),
            ("names", name) => TopicName::new(name).ok().map(Key::Name),
            ("topics", id) => id.parse().ok().map(Key::Topic),
            ("deletions", id) => id.parse().ok().map(Key::Deletion),
            ("quotas", entity) => entity.parse().ok().map(Key::Quotas),
            ("partitions", rest) => rest
                .split_once('/')
                .and_then(|(id, n)| Some(Key::Partition(id.parse().ok()?, PartitionIndex(number(n)?)))),
            ("acls", id) => id.parse().ok().map(Key::Acl),
            ("scram", rest) => rest.split_once('/').and_then(|(mechanism, user)| {
                is_user(user).then_some(())?;
                Some(Key::Scram(ScramMechanism::from_name(mechanism)?, user.to_string()))
            }),
            ("delegation-tokens", id) => is_token_id(id).then(|| Key::DelegationToken(id.to_string())),
            ("configs", "broker/default") => Some(Key::BrokerConfigs(None)),
            ("configs", rest) => match rest.split_once('/') {
                Some(("broker", node)) => number(node).map(|node| Key::BrokerConfigs(Some(NodeId(node)))),
                Some(("group", group)) => is_configurable(group).then(|| Key::GroupConfigs(group.to_string())),
                Some(("client-metrics", name)) => is_configurable(name).then(|| Key::ClientMetrics(name.to_string())),
                _ => None,
            },
            _ => None,
        };
        // A second spelling of a key (`cluster/`, `brokers/01`) is not that key.
        key.filter(|key| key.to_string() == text).ok_or_else(unknown)
    }
}

impl From<Key> for String {
    fn from(key: Key) -> String {
        key.to_string()
    }
}

/// May a user be called so? Any text that fits a key and that nobody could hide something in.
pub fn is_user(name: &str) -> bool {
    !name.is_empty() && name.len() <= MAX_USER_BYTES && !name.contains(char::is_control)
}

/// May a group, or a subscription to clients' metrics, of this name have settings? If it fits a key, and nobody could hide something in it.
pub fn is_configurable(name: &str) -> bool {
    !name.is_empty() && name.len() <= MAX_CONFIGURED_NAME_BYTES && !name.contains(char::is_control)
}

fn number(text: &str) -> Option<i32> {
    text.parse::<i32>().ok().filter(|n| *n >= 0)
}

/// The value as JSON; the stored structs begin with their version.
fn to_json<T: Serialize>(stored: &T) -> Bytes {
    match serde_json::to_vec(stored) {
        Ok(bytes) => Bytes::from(bytes),
        Err(error) => unreachable!("numbers, texts and lists always serialise: {error}"),
    }
}

/// The version first, then the whole; limits the size before parsing.
fn from_json<T: DeserializeOwned>(key: &Key, known: u32, bytes: &[u8]) -> Result<T, KeyError> {
    #[derive(Deserialize)]
    struct Head {
        version: u32,
    }
    let invalid = |reason: String| KeyError::Value { key: key.to_string(), reason };
    if bytes.len() > MAX_TRANSACTION_BYTES {
        return Err(invalid(format!("a value of {} bytes", bytes.len())));
    }
    let head: Head = serde_json::from_slice(bytes).map_err(|error| invalid(error.to_string()))?;
    if head.version != known {
        return Err(KeyError::Version { key: key.to_string(), found: head.version, known });
    }
    serde_json::from_slice(bytes).map_err(|error| invalid(error.to_string()))
}

/// A [`KeyError::Value`] for this key.
fn invalid(key: &Key, reason: impl fmt::Display) -> KeyError {
    KeyError::Value { key: key.to_string(), reason: reason.to_string() }
}
