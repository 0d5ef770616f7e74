//! `configs/…`: what is set of one kind of resource, all in one form.
//!
//! | key | what |
//! |---|---|
//! | `configs/broker/<node id>`, `configs/broker/default` | settings changed while brokers run (KIP-226) |
//! | `configs/group/<group>` | what a group sets of its own (KIP-848); the group is everything behind the second `/` |
//! | `configs/client-metrics/<name>` | a subscription to clients' metrics (KIP-714); the name is everything behind the second `/` |
//!
//! Bytes: `{"version":1,"configs":{"log.retention.ms":"1000"}}` (configs in ascending order of names; a name or value that another version
//! took is kept and does not hold)

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{Key, KeyError, from_json, to_json};
use crate::overrides::{Overrides, Settings};

const VERSION: u32 = 1;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    version: u32,
    configs: BTreeMap<String, String>,
}

impl<Of: Settings> Overrides<Of> {
    /// The stored bytes.
    pub fn encode(&self) -> Bytes {
        to_json(&Stored { version: VERSION, configs: self.texts() })
    }

    /// Reads the bytes stored under this key.
    pub fn decode(key: &Key, bytes: &[u8]) -> Result<Self, KeyError> {
        let stored: Stored = from_json(key, VERSION, bytes)?;
        Ok(Overrides::stored(stored.configs))
    }
}
