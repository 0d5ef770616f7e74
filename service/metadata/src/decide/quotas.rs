//! Changed quotas (KIP-546). Decides what an entity's quotas become.

use std::collections::BTreeSet;

use tidelog_model::{KafkaError, QuotaEntity, QuotaKind};

use super::Refusal;
use crate::image::ClusterImage;
use crate::keys::Key;
use crate::limits::MAX_KEY_BYTES;
use crate::port::{Compare, Transaction, Write};

/// One change of one quota: its name, and the value or (`None`) its removal.
pub type QuotaChange = (String, Option<f64>);

/// Changes an entity's quotas: all of them or, with an error, none. `None` = nothing differs, so there is nothing to write.
pub fn alter_quotas(
    image: &ClusterImage,
    entity: &QuotaEntity,
    changes: &[QuotaChange],
) -> Result<Option<Transaction>, Refusal> {
    let refuse = |message: String| Err(Refusal::new(KafkaError::InvalidRequest, message));
    let key = Key::Quotas(entity.clone());
    if key.to_string().len() > MAX_KEY_BYTES {
        return refuse(format!("The names of a quota's entity take at most {MAX_KEY_BYTES} bytes together."));
    }
    let stored = image.quotas_of(entity);
    let before = stored.map(|stored| stored.value.clone()).unwrap_or_default();
    let mut after = before.clone();
    let mut seen = BTreeSet::new();
    for (name, value) in changes {
        if !seen.insert(name) {
            return refuse(format!("Duplicate quota key {name}"));
        }
        // Whatever is changed stops being what another version left; to remove is all that can be done with what nobody knows.
        let was_unfit = after.unfit.remove(name).is_some();
        let kind = match QuotaKind::from_name(name).filter(|kind| entity.can_have(*kind)) {
            Some(kind) => kind,
            None if was_unfit && value.is_none() => continue,
            None => return refuse(format!("Invalid configuration key {name}")),
        };
        match value {
            Some(value) if kind.takes(*value) => drop(after.quotas.insert(kind, *value)),
            Some(value) => {
                return refuse(format!(
                    "{value} is no value of {kind}: it must be larger than 0, and whole for a rate of bytes or connections."
                ));
            }
            None => drop(after.quotas.remove(&kind)),
        }
    }
    if after == before {
        return Ok(None);
    }
    let compare =
        stored.map_or_else(|| Compare::absent(key.clone()), |stored| Compare::unchanged(key.clone(), stored.revision));
    let write = if after.is_empty() { Write::delete(key) } else { Write::put(key, after.encode()) };
    Ok(Some(Transaction { compares: vec![compare], writes: vec![write] }))
}
