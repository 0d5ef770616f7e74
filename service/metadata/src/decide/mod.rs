//! What the cluster's metadata shall become: requests against the image → plans of transactions, or a Kafka error and its sentence.
//!
//! Nothing here writes: the shell runs the plan, waits until its own image has reached the committed revision, then answers. On a conflict
//! it waits for the conflict's revision and decides again. Decisions with a name or an id that is new take it as an argument.

mod acls;
mod adopt;
mod configs;
mod create;
mod delegation_tokens;
mod delete;
mod elect;
mod features;
mod partitions;
mod placement;
mod plan;
mod producer_ids;
mod quotas;
mod reassign;
mod register;
mod scram;
mod sweep;
#[cfg(test)]
mod tests;

use tidelog_model::KafkaError;

use crate::broker_config::BrokerConfig;
use crate::config::ConfigError;
use crate::topic_config::TopicDefaults;

pub use acls::{AclFilter, PatternFilter, check_acl, create_acls, delete_acls};
pub use adopt::{
    FoundTopic, Inherited, Place, Told, adopt_topic, inherit_rest, inherited_topics, is_adoptable, is_compacted,
    skip_adopted_producer_ids,
};
pub use configs::{
    ConfigChange, ConfigEdit, ConfigOperation, alter_broker_configs, alter_client_metrics, alter_group_configs,
    alter_topic_configs, altered_broker_configs,
};
pub use create::{CLUSTER_METADATA, CreateTopic, NewTopic, auto_topic, create_topics};
pub use delegation_tokens::{NewToken, TokenLifetimes, create_token, expire_token, renew_token, sweep_tokens};
pub use delete::{TopicRef, delete_topic, finish_deletion};
pub use elect::{Election, elect_leader};
pub use features::{FeatureUpdate, update_features};
pub use partitions::create_partitions;
pub use plan::{Plan, settle, settle_key};
pub use producer_ids::{ProducerIdBlock, reserve_producer_ids};
pub use quotas::{QuotaChange, alter_quotas};
pub use reassign::check_reassignment;
pub use register::{LastStop, Registration, claim_controller, register_broker, start_leading};
pub use scram::{ScramChange, alter_scram};
pub use sweep::sweep;

/// Why a request is refused: Kafka's error and a sentence for the caller.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{error}: {message}")]
pub struct Refusal {
    /// The error.
    pub error: KafkaError,
    /// What exactly is wrong.
    pub message: String,
}

impl Refusal {
    /// An error with its sentence.
    pub fn new(error: KafkaError, message: impl Into<String>) -> Self {
        Refusal { error, message: message.into() }
    }
}

impl From<KafkaError> for Refusal {
    fn from(error: KafkaError) -> Self {
        Refusal::new(error, error.message())
    }
}

impl From<ConfigError> for Refusal {
    fn from(error: ConfigError) -> Self {
        Refusal::new(KafkaError::InvalidConfig, error.to_string())
    }
}

/// The broker's settings that decisions obey.
#[derive(Clone, Copy, Debug)]
pub struct Settings<'a> {
    /// The broker's own.
    pub broker: &'a BrokerConfig,
    /// What topics get where they set nothing.
    pub defaults: &'a TopicDefaults,
}
