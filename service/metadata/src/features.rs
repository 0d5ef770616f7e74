//! The features that clients and brokers agree on (KIP-584). Decides which levels may hold; changes none. Where nobody has said anything the
//! highest level of this program holds.

use tidelog_model::KafkaError;

use crate::decide::Refusal;

/// One feature.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Feature {
    /// Kafka's name.
    pub name: &'static str,
    /// The lowest level that this program can work with.
    pub min: i16,
    /// The highest one.
    pub level: i16,
    /// The lowest one that may be agreed on; below it something would have to be undone.
    pub lowest: i16,
}

/// Every feature of this program. A row is added together with what it promises: clients behave otherwise because of it.
pub const FEATURES: &[Feature] = &[
    // 1: the consumer protocol (KIP-848). Without it its requests are refused; groups keep what they have.
    Feature { name: GROUP_VERSION, min: 0, level: 1, lowest: 0 },
    // 2: each transaction has an epoch of its own, and producing makes a partition part of it (KIP-890).
    Feature { name: "transaction.version", min: 0, level: 2, lowest: 2 },
];

/// The feature of the consumer protocol.
pub const GROUP_VERSION: &str = "group.version";

/// A feature with the level that holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FeatureLevel {
    /// The feature.
    pub feature: &'static Feature,
    /// The level; 0 is none.
    pub level: i16,
}

/// How a level may change; the numbers are UpdateFeatures' codes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FeatureChange {
    /// Only to a higher level.
    Upgrade,
    /// To a lower level too.
    Downgrade,
}

impl FeatureChange {
    /// Kafka's codes: 1 upgrades, 2 (if nothing is lost) and 3 (whatever is lost) downgrade.
    pub const fn from_code(code: i8) -> Option<FeatureChange> {
        match code {
            1 => Some(FeatureChange::Upgrade),
            2 | 3 => Some(FeatureChange::Downgrade),
            _ => None,
        }
    }
}

/// May this level of a feature hold from now on, where `current` tells what does now? The feature, if so.
pub fn check_update(
    features: &'static [Feature],
    current: impl Fn(&Feature) -> i16,
    name: &str,
    level: i16,
    change: Option<FeatureChange>,
) -> Result<&'static Feature, Refusal> {
    let refuse = |reason: &str| {
        let message = format!("Invalid update version {level} for feature {name}. {reason}");
        Err(Refusal::new(KafkaError::InvalidUpdateVersion, message))
    };
    let Some(change) = change else { return refuse("The controller does not support the given upgrade type.") };
    if level < 0 {
        return refuse("A feature version cannot be less than 0.");
    }
    let Some(feature) = features.iter().find(|feature| feature.name == name) else {
        return refuse("This broker does not support this feature.");
    };
    if !(feature.min..=feature.level).contains(&level) {
        let range = format!("This broker supports versions {} to {} of it.", feature.min, feature.level);
        return refuse(&range);
    }
    let holds = current(feature);
    match change {
        FeatureChange::Upgrade if level < holds => refuse(
            "Can't downgrade the version of this feature without setting the upgrade type to either safe or unsafe downgrade.",
        ),
        FeatureChange::Downgrade if level > holds => refuse("Can't downgrade to a newer version."),
        FeatureChange::Downgrade if level < feature.lowest => {
            refuse("This broker keeps the highest version that it supports.")
        }
        FeatureChange::Upgrade | FeatureChange::Downgrade => Ok(feature),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_may_be_lowered_where_nothing_must_be_undone() {
        let check = |holds: i16, name: &str, level, code| {
            check_update(FEATURES, |_| holds, name, level, FeatureChange::from_code(code)).map(|feature| feature.name)
        };
        for (holds, level, code) in [(1, 1, 1), (1, 1, 2), (1, 0, 2), (1, 0, 3), (0, 0, 1), (0, 1, 1)] {
            assert_eq!(check(holds, GROUP_VERSION, level, code), Ok(GROUP_VERSION), "{holds} to {level}");
        }
        for (holds, name, level, code, reason) in [
            (1, GROUP_VERSION, 0, 1, "without setting the upgrade type"),
            (0, GROUP_VERSION, 1, 2, "Can't downgrade to a newer version"),
            (1, GROUP_VERSION, 2, 1, "supports versions 0 to 1"),
            (1, GROUP_VERSION, -1, 1, "less than 0"),
            (1, GROUP_VERSION, 1, 0, "upgrade type"),
            (2, "transaction.version", 1, 2, "keeps the highest"),
            (1, "no.such.version", 1, 1, "does not support this feature"),
        ] {
            let refusal = check(holds, name, level, code).unwrap_err();
            assert_eq!(refusal.error, KafkaError::InvalidUpdateVersion);
            assert!(refusal.message.contains(reason), "{refusal}");
        }
    }

    #[test]
    fn levels_lie_in_their_ranges_and_names_are_used_once() {
        for (at, feature) in FEATURES.iter().enumerate() {
            assert!(0 <= feature.min && feature.min <= feature.lowest, "{feature:?}");
            assert!(feature.lowest <= feature.level && feature.level > 0, "{feature:?}");
            assert!(FEATURES.iter().skip(at + 1).all(|other| other.name != feature.name), "{feature:?}");
        }
    }
}
