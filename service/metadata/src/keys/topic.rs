//! `topics/<topic id>`: a topic. Written last by a creation and removed first by a deletion: where it is, the topic exists.
//!
//! Partitions at or above `partitions` are not part of the topic yet, even if their states are stored.
//!
//! Bytes: `{"version":1,"name":"orders","partitions":3,"configs":{"retention.ms":"1000"}}` (configs in ascending order of names; a
//! name or value that another version took is kept and does not hold)

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tidelog_model::limits::MAX_PARTITIONS_PER_TOPIC;
use tidelog_model::{TopicId, TopicName};

use super::{Key, KeyError, from_json, invalid, to_json};
use crate::topic_config::TopicOverrides;

const VERSION: u32 = 1;

/// A topic's stored facts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TopicValue {
    /// Its name.
    pub name: TopicName,
    /// How many partitions it has, at least one.
    pub partitions: i32,
    /// The settings that differ from the broker's defaults.
    pub configs: TopicOverrides,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    version: u32,
    name: String,
    partitions: i32,
    configs: BTreeMap<String, String>,
}

impl TopicValue {
    /// The stored bytes.
    pub fn encode(&self) -> Bytes {
        to_json(&Stored {
            version: VERSION,
            name: self.name.as_str().to_string(),
            partitions: self.partitions,
            configs: self.configs.texts(),
        })
    }

    /// Reads the stored bytes.
    pub fn decode(topic: TopicId, bytes: &[u8]) -> Result<Self, KeyError> {
        let key = Key::Topic(topic);
        let stored: Stored = from_json(&key, VERSION, bytes)?;
        let name = TopicName::new(&stored.name).map_err(|error| invalid(&key, error))?;
        if !(1..=MAX_PARTITIONS_PER_TOPIC).contains(&stored.partitions) {
            return Err(invalid(&key, format!("{} partitions", stored.partitions)));
        }
        Ok(TopicValue { name, partitions: stored.partitions, configs: TopicOverrides::stored(stored.configs) })
    }
}
