//! Levels of features (KIP-584). Decides what the cluster agrees on; what may be agreed on is a matter of [`crate::features`].

use super::Refusal;
use crate::features::{FEATURES, FeatureChange, check_update};
use crate::image::ClusterImage;
use crate::keys::Key;
use crate::port::{Compare, Transaction, Write};

/// One wanted level: the feature's name, the level, and how it may change.
pub type FeatureUpdate = (String, i16, Option<FeatureChange>);

/// Agrees on all of these levels or, with an error, on none. `None` = they hold already, so there is nothing to write.
pub fn update_features(image: &ClusterImage, updates: &[FeatureUpdate]) -> Result<Option<Transaction>, Refusal> {
    let stored = image.features();
    let before = stored.map(|stored| stored.value.clone()).unwrap_or_default();
    let mut after = before.clone();
    for (name, level, change) in updates {
        let feature = check_update(FEATURES, |feature| after.level(feature), name, *level, *change)?;
        after.set(feature, *level);
    }
    if after == before {
        return Ok(None);
    }
    let compare =
        stored.map_or_else(|| Compare::absent(Key::Features), |s| Compare::unchanged(Key::Features, s.revision));
    let write = if after.is_empty() { Write::delete(Key::Features) } else { Write::put(Key::Features, after.encode()) };
    Ok(Some(Transaction { compares: vec![compare], writes: vec![write] }))
}
