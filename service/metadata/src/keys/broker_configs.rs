//! `configs/broker/<node id>` and `configs/broker/default`: settings changed while brokers run (KIP-226).
//!
//! Bytes: `{"version":1,"configs":{"log.retention.ms":"1000"}}` (configs in ascending order of names; a name or value that
//! another version took is kept and does not hold)

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tidelog_model::NodeId;

use super::{Key, KeyError, from_json, to_json};
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
        to_json(&Stored { version: VERSION, configs: self.texts() })
    }

    /// Reads the stored bytes; `node` is `None` for the default of all brokers.
    pub fn decode(node: Option<NodeId>, bytes: &[u8]) -> Result<Self, KeyError> {
        let key = Key::BrokerConfigs(node);
        let stored: Stored = from_json(&key, VERSION, bytes)?;
        Ok(BrokerOverrides::stored(stored.configs))
    }
}
