//! `features`: levels of features that were agreed on and are not the highest (KIP-584). Absent while all are.
//!
//! Bytes: `{"version":1,"levels":{"group.version":0}}` (ascending; what another version wrote and this one does not know is kept)

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{Key, KeyError, from_json, to_json};
use crate::features::Feature;

const VERSION: u32 = 1;

/// The levels by feature.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct FeaturesValue {
    levels: BTreeMap<String, i16>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    version: u32,
    levels: BTreeMap<String, i16>,
}

impl FeaturesValue {
    /// The level that holds: the highest, unless a lower one that this program can have was agreed on.
    pub fn level(&self, feature: &Feature) -> i16 {
        let agreed = self.levels.get(feature.name).copied();
        agreed.filter(|level| (feature.lowest..=feature.level).contains(level)).unwrap_or(feature.level)
    }

    /// Agrees on a level.
    pub(crate) fn set(&mut self, feature: &Feature, level: i16) {
        match level == feature.level {
            true => drop(self.levels.remove(feature.name)),
            false => drop(self.levels.insert(feature.name.to_owned(), level)),
        }
    }

    /// Are all the highest?
    pub(crate) fn is_empty(&self) -> bool {
        self.levels.is_empty()
    }

    /// The stored bytes.
    pub fn encode(&self) -> Bytes {
        to_json(&Stored { version: VERSION, levels: self.levels.clone() })
    }

    /// Reads the stored bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, KeyError> {
        let stored: Stored = from_json(&Key::Features, VERSION, bytes)?;
        Ok(FeaturesValue { levels: stored.levels })
    }
}
