//! `quotas/<entity>`: the quotas of one user, client id or address (KIP-546). Names are percent-encoded, `*` is the default.
//!
//! Bytes: `{"version":1,"quotas":{"producer_byte_rate":1024.0}}` (ascending by name)

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tidelog_model::{QuotaEntity, QuotaKind};

use super::{Key, KeyError, from_json, invalid, to_json};

const VERSION: u32 = 1;

/// One entity's quotas.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct QuotasValue(pub BTreeMap<QuotaKind, f64>);

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    version: u32,
    quotas: BTreeMap<String, f64>,
}

impl QuotasValue {
    /// The stored bytes.
    pub fn encode(&self) -> Bytes {
        let quotas = self.0.iter().map(|(kind, value)| (kind.name().to_string(), *value)).collect();
        to_json(&Stored { version: VERSION, quotas })
    }

    /// Reads the stored bytes.
    pub fn decode(entity: &QuotaEntity, bytes: &[u8]) -> Result<Self, KeyError> {
        let key = Key::Quotas(entity.clone());
        let stored: Stored = from_json(&key, VERSION, bytes)?;
        let mut quotas = BTreeMap::new();
        for (name, value) in stored.quotas {
            // Not `takes`: a stricter rule for what may be set must not make what is set unreadable.
            let is_limit = value.is_finite() && value > 0.0;
            let kind = QuotaKind::from_name(&name).filter(|kind| entity.can_have(*kind) && is_limit);
            let kind = kind.ok_or_else(|| invalid(&key, format!("{name}={value} is no quota of it")))?;
            quotas.insert(kind, value);
        }
        Ok(QuotasValue(quotas))
    }
}
