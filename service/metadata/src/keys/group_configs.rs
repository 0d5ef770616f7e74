//! `configs/group/<group>`: what a group sets of its own (KIP-848). The group is everything behind the second `/`.
//!
//! Bytes: `{"version":1,"configs":{"consumer.session.timeout.ms":"50000"}}` (configs in ascending order of names; a name or value that
//! another version took is kept and does not hold)

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{Key, KeyError, from_json, to_json};
use crate::group_config::GroupOverrides;

const VERSION: u32 = 1;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    version: u32,
    configs: BTreeMap<String, String>,
}

impl GroupOverrides {
    /// The stored bytes.
    pub fn encode(&self) -> Bytes {
        to_json(&Stored { version: VERSION, configs: self.texts() })
    }

    /// Reads the stored bytes.
    pub fn decode(group: &str, bytes: &[u8]) -> Result<Self, KeyError> {
        let stored: Stored = from_json(&Key::GroupConfigs(group.to_owned()), VERSION, bytes)?;
        Ok(GroupOverrides::stored(stored.configs))
    }
}
