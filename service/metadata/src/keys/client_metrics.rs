//! `configs/client-metrics/<name>`: a subscription to clients' metrics (KIP-714). The name is everything behind the second `/`.
//!
//! Bytes: `{"version":1,"configs":{"interval.ms":"60000"}}` (configs in ascending order of names; a name or value that another version took
//! is kept and does not hold)

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{Key, KeyError, from_json, to_json};
use crate::client_metrics::ClientMetricsOverrides;

const VERSION: u32 = 1;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    version: u32,
    configs: BTreeMap<String, String>,
}

impl ClientMetricsOverrides {
    /// The stored bytes.
    pub fn encode(&self) -> Bytes {
        to_json(&Stored { version: VERSION, configs: self.texts() })
    }

    /// Reads the stored bytes.
    pub fn decode(name: &str, bytes: &[u8]) -> Result<Self, KeyError> {
        let stored: Stored = from_json(&Key::ClientMetrics(name.to_owned()), VERSION, bytes)?;
        Ok(ClientMetricsOverrides::stored(stored.configs))
    }
}
