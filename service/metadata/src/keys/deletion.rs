//! `deletions/<topic id>`: a topic that is gone but has left something behind: partition states, objects of the cold tier.
//!
//! Put in the transaction that removes `topics/<id>`; removed by whoever has cleaned up. Brokers delete local folders of unknown topic
//! ids without it.
//!
//! Bytes: `{"version":1,"name":"orders","partitions":3}`

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tidelog_model::{TopicId, TopicName};

use super::{Key, KeyError, from_json, invalid, to_json};

const VERSION: u32 = 1;

/// What the deleted topic was.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DeletionValue {
    /// Its name then; another topic may have it now.
    pub name: TopicName,
    /// How many partitions it had.
    pub partitions: i32,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    version: u32,
    name: String,
    partitions: i32,
}

impl DeletionValue {
    /// The stored bytes.
    pub fn encode(&self) -> Bytes {
        to_json(&Stored { version: VERSION, name: self.name.as_str().to_string(), partitions: self.partitions })
    }

    /// Reads the stored bytes.
    pub fn decode(topic: TopicId, bytes: &[u8]) -> Result<Self, KeyError> {
        let key = Key::Deletion(topic);
        let stored: Stored = from_json(&key, VERSION, bytes)?;
        let name = TopicName::new(&stored.name).map_err(|error| invalid(&key, error))?;
        Ok(DeletionValue { name, partitions: stored.partitions })
    }
}
