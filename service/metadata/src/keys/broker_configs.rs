//! `configs/broker/<node id>` and `configs/broker/default`: settings changed while brokers run (KIP-226).
//!
//! Bytes: `{"version":1,"configs":{"log.retention.ms":"1000"}}` (configs in ascending order of names)

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tidelog_model::NodeId;

use super::{Key, KeyError, from_json, invalid, to_json};
use crate::broker_config::BrokerOverrides;

const VERSION: u32 = 1;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    version: u32,
    configs: BTreeMap<String, String>,
}

impl BrokerOverrides {
    /// The stored bytes.
    pub fn encode(&self) -> Bytes {
        let configs = self.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
        to_json(&Stored { version: VERSION, configs })
    }

    /// Reads the stored bytes; `node` is `None` for the default of all brokers.
    pub fn decode(node: Option<NodeId>, bytes: &[u8]) -> Result<Self, KeyError> {
        let key = Key::BrokerConfigs(node);
        let stored: Stored = from_json(&key, VERSION, bytes)?;
        BrokerOverrides::new(stored.configs).map_err(|error| invalid(&key, error))
    }
}
