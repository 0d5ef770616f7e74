//! `producer-ids`: the first producer id that no block has taken. Lives as long as the cluster; only grows.
//!
//! Bytes: `{"version":1,"next":3000}`

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tidelog_model::ProducerId;

use super::{Key, KeyError, from_json, invalid, to_json};

const VERSION: u32 = 1;

/// Where the next block begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ProducerIdsValue {
    /// The first free id.
    pub next: ProducerId,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    version: u32,
    next: i64,
}

impl ProducerIdsValue {
    /// The stored bytes.
    pub fn encode(&self) -> Bytes {
        to_json(&Stored { version: VERSION, next: self.next.get() })
    }

    /// Reads the stored bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, KeyError> {
        let stored: Stored = from_json(&Key::ProducerIds, VERSION, bytes)?;
        if stored.next < 0 {
            return Err(invalid(&Key::ProducerIds, format!("next is {}", stored.next)));
        }
        Ok(ProducerIdsValue { next: ProducerId(stored.next) })
    }
}
