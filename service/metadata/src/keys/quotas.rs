//! `quotas/<entity>`: the quotas of one user, client id or address (KIP-546). Names are percent-encoded, `*` is the default.
//!
//! Bytes: `{"version":1,"quotas":{"producer_byte_rate":1024.0}}` (ascending by name; a quota that another version took is kept and does not hold)

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tidelog_model::{QuotaEntity, QuotaKind};

use super::{Key, KeyError, from_json, to_json};

const VERSION: u32 = 1;

/// One entity's quotas.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct QuotasValue {
    /// Those that hold.
    pub quotas: BTreeMap<QuotaKind, f64>,
    /// Those that another version took and this one does not know, or not for this entity: kept, so that they can be seen and removed.
    pub unfit: BTreeMap<String, f64>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    version: u32,
    quotas: BTreeMap<String, f64>,
}

impl QuotasValue {
    /// Every quota as it is stored, ascending by name.
    pub fn stored(&self) -> BTreeMap<String, f64> {
        let known = self.quotas.iter().map(|(kind, value)| (kind.name().to_string(), *value));
        self.unfit.clone().into_iter().chain(known).collect()
    }

    /// Is nothing stored?
    pub fn is_empty(&self) -> bool {
        self.quotas.is_empty() && self.unfit.is_empty()
    }

    /// The stored bytes.
    pub fn encode(&self) -> Bytes {
        to_json(&Stored { version: VERSION, quotas: self.stored() })
    }

    /// Reads the stored bytes.
    pub fn decode(entity: &QuotaEntity, bytes: &[u8]) -> Result<Self, KeyError> {
        let stored: Stored = from_json(&Key::Quotas(entity.clone()), VERSION, bytes)?;
        let mut value = QuotasValue::default();
        for (name, limit) in stored.quotas {
            // Not `takes`: a stricter rule for what may be set must not undo what is set.
            let holds = limit.is_finite() && limit > 0.0;
            match QuotaKind::from_name(&name).filter(|kind| entity.can_have(*kind) && holds) {
                Some(kind) => drop(value.quotas.insert(kind, limit)),
                None => drop(value.unfit.insert(name, limit)),
            }
        }
        Ok(value)
    }
}
