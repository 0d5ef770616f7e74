//! The features that clients and brokers agree on (KIP-584). Decides which levels hold and whether another may; stores nothing: each
//! level is fixed by the program's version.

use tidelog_model::KafkaError;

use crate::decide::Refusal;

/// One feature.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Feature {
    /// Kafka's name.
    pub name: &'static str,
    /// The lowest level that this program can work with.
    pub min: i16,
    /// The highest one, which is the one that holds.
    pub level: i16,
}

/// Every feature of this program. A row is added together with what it promises: clients behave otherwise because of it.
pub const FEATURES: &[Feature] = &[
    // 1: the consumer protocol (KIP-848).
    Feature { name: "group.version", min: 0, level: 1 },
    // 2: each transaction has an epoch of its own, and producing makes a partition part of it (KIP-890).
    Feature { name: "transaction.version", min: 0, level: 2 },
];

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

/// May this level of a feature hold from now on? What passes holds already.
pub fn check_update(
    features: &[Feature],
    name: &str,
    level: i16,
    change: Option<FeatureChange>,
) -> Result<(), Refusal> {
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
    if level < feature.level {
        return refuse(match change {
            FeatureChange::Upgrade => {
                "Can't downgrade the version of this feature without setting the upgrade type to either safe or unsafe downgrade."
            }
            FeatureChange::Downgrade => "This broker keeps the highest version that it supports.",
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_level_that_holds_passes() {
        let features = [Feature { name: "group.version", min: 0, level: 1 }];
        let check = |name: &str, level, code| check_update(&features, name, level, FeatureChange::from_code(code));
        assert_eq!(check("group.version", 1, 1), Ok(()));
        for (name, level, code, reason) in [
            ("group.version", 0, 1, "without setting the upgrade type"),
            ("group.version", 0, 2, "keeps the highest"),
            ("group.version", 2, 1, "supports versions 0 to 1"),
            ("group.version", -1, 1, "less than 0"),
            ("group.version", 1, 0, "upgrade type"),
            ("no.such.version", 1, 1, "does not support this feature"),
        ] {
            let refusal = check(name, level, code).unwrap_err();
            assert_eq!(refusal.error, KafkaError::InvalidUpdateVersion);
            assert!(refusal.message.contains(reason), "{refusal}");
        }
    }

    #[test]
    fn levels_lie_in_their_ranges_and_names_are_used_once() {
        for (at, feature) in FEATURES.iter().enumerate() {
            assert!(0 <= feature.min && feature.min <= feature.level && feature.level > 0, "{feature:?}");
            assert!(FEATURES.iter().skip(at + 1).all(|other| other.name != feature.name), "{feature:?}");
        }
    }
}
