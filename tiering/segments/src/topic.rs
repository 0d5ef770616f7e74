//! `topic/<n>`: what the bucket says about a topic, so that it can be created again from the bucket alone.
//!
//! ```text
//! format u8 = 1 · topic id 16 bytes · name: length u32, UTF-8 · partitions u32 · configs u32
//! · each: key length u32, UTF-8, value length u32, UTF-8 · CRC32C u32
//! ```

use std::collections::BTreeMap;

use tidelog_model::{TopicId, TopicName};

use crate::limits::MAX_CONFIGS;
use crate::wire::{Reader, Writer};

const FORMAT: u8 = 1;

/// A topic as its newest description in the bucket has it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TopicDescription {
    /// Its name.
    pub name: TopicName,
    /// Its id.
    pub id: TopicId,
    /// How many partitions it has.
    pub partitions: u32,
    /// Its own configuration, without defaults.
    pub configs: BTreeMap<String, String>,
}

impl TopicDescription {
    /// The bytes of `topic/<n>`.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer::default();
        out.u8(FORMAT).uuid(self.id.0).text(self.name.as_str()).u32(self.partitions).count(self.configs.len());
        for (key, value) in &self.configs {
            out.text(key).text(value);
        }
        out.finish()
    }

    /// Reads `topic/<n>`; `None` if it is damaged or of a newer format.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut input = Reader::checked(bytes)?;
        if input.u8()? != FORMAT {
            return None;
        }
        let id = TopicId(input.uuid()?);
        let name = TopicName::new(&input.text()?).ok()?;
        let partitions = input.u32()?;
        let count = input.count(8, MAX_CONFIGS)?;
        let configs = (0..count).map(|_| Some((input.text()?, input.text()?))).collect::<Option<_>>()?;
        input.is_empty().then_some(TopicDescription { name, id, partitions, configs })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptions_come_back_and_damage_does_not() {
        let description = TopicDescription {
            name: TopicName::new("quakes").unwrap(),
            id: TopicId(uuid::Uuid::from_u128(7)),
            partitions: 3,
            configs: BTreeMap::from([("retention.ms".to_owned(), "1".to_owned())]),
        };
        let bytes = description.encode();
        assert_eq!(TopicDescription::decode(&bytes), Some(description));
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1;
            assert_eq!(TopicDescription::decode(&damaged), None);
            assert_eq!(TopicDescription::decode(&bytes[..at]), None);
        }
    }
}
