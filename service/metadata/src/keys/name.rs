//! `names/<topic name>`: which topic has this name. Reserves the name from the first step of a creation to the deletion.
//!
//! A name whose `topics/<id>` does not exist belongs to a creation under way, or to one that died: a sweep removes it.
//!
//! Bytes: `{"version":1,"topic":"AAAAAAAAAAAAAAAAAAAAAQ"}`

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tidelog_model::{TopicId, TopicName};

use super::{Key, KeyError, from_json, invalid, to_json};

const VERSION: u32 = 1;

/// The topic behind a name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NameValue {
    /// Its id.
    pub topic: TopicId,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    version: u32,
    topic: String,
}

impl NameValue {
    /// The stored bytes.
    pub fn encode(&self) -> Bytes {
        to_json(&Stored { version: VERSION, topic: self.topic.to_string() })
    }

    /// Reads the stored bytes.
    pub fn decode(name: &TopicName, bytes: &[u8]) -> Result<Self, KeyError> {
        let key = Key::Name(name.clone());
        let stored: Stored = from_json(&key, VERSION, bytes)?;
        let topic = stored.topic.parse().map_err(|error| invalid(&key, error))?;
        Ok(NameValue { topic })
    }
}
