//! `cluster`: the cluster's identity. Lives as long as the cluster.
//!
//! Bytes: `{"version":1,"cluster_id":"5L6g3nShT-eMCtK--X86sw"}`

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{Key, KeyError, from_json, invalid, to_json};

const VERSION: u32 = 1;

/// Who this cluster is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ClusterValue {
    /// The cluster id: 1 to 64 letters, digits, `-` and `_`; Kafka's are 22 characters of URL-safe base64. It is part of object keys.
    pub cluster_id: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    version: u32,
    cluster_id: String,
}

impl ClusterValue {
    /// The stored bytes.
    pub fn encode(&self) -> Bytes {
        to_json(&Stored { version: VERSION, cluster_id: self.cluster_id.clone() })
    }

    /// Reads the stored bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, KeyError> {
        let stored: Stored = from_json(&Key::Cluster, VERSION, bytes)?;
        let id = stored.cluster_id;
        let letters = id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        if id.is_empty() || id.len() > 64 || !letters {
            return Err(invalid(&Key::Cluster, format!("{id:?} is no cluster id")));
        }
        Ok(ClusterValue { cluster_id: id })
    }
}
