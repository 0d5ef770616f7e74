//! Kafka's rule of threads: while a broker runs their number is at most doubled and at most halved at once. They have no effect here, and
//! whoever raises them is refused where Kafka would refuse him.

use std::collections::BTreeSet;

use super::{BrokerConfig, BrokerOverrides, listener_config};
use crate::config::{ConfigDef, ConfigError};

/// What they all are called but those of compaction, whose refusals Kafka words on its own.
const THREADS: &[&str] = &[
    "background.threads",
    NETWORK,
    "num.io.threads",
    "num.recovery.threads.per.data.dir",
    "num.replica.fetchers",
    "remote.log.manager.copier.thread.pool.size",
    "remote.log.manager.expiration.thread.pool.size",
    "remote.log.manager.follower.thread.pool.size",
    "remote.log.reader.threads",
];

const NETWORK: &str = "num.network.threads";

const CLEANER: &str = "log.cleaner.threads";

/// The running settings for all brokers, and for one.
pub(crate) type Running<'a> = (&'a BrokerOverrides, &'a BrokerOverrides);

impl BrokerConfig {
    /// Does a change leave all threads between half and double of what they are?
    pub(crate) fn check_threads(&self, before: Running<'_>, after: Running<'_>) -> Result<(), ConfigError> {
        let all = [before.0, before.1, after.0, after.1].into_iter().flat_map(BrokerOverrides::iter);
        let of_listeners = all.map(|(name, _)| name).filter(|name| listener_config(name).is_some_and(is_network));
        let names: BTreeSet<&str> = THREADS.iter().copied().chain([CLEANER]).chain(of_listeners).collect();
        for name in names {
            let (Some(old), Some(new)) = (self.threads(name, before), self.threads(name, after)) else { continue };
            if let Some(wrong) = wrong(name, old, new) {
                return Err(ConfigError::Conflict(wrong));
            }
        }
        Ok(())
    }

    /// How many there are; of a listener without a number of its own as many as the broker's others have.
    fn threads(&self, name: &str, (for_all, for_this): Running<'_>) -> Option<i64> {
        let running = |name: &str| for_this.get(name).or_else(|| for_all.get(name))?.parse().ok();
        let own = running(name).or_else(|| self.explicit.get(name)?.parse().ok());
        let base = listener_config(name).map_or(name, |(_, def)| def.name);
        own.or_else(|| running(base)).or_else(|| self.number(base))
    }
}

fn is_network((_, def): (&str, &ConfigDef)) -> bool {
    def.name == NETWORK
}

/// What Kafka says of such a change, if it refuses it.
fn wrong(name: &str, old: i64, new: i64) -> Option<String> {
    let (few, many) = (new < old / 2, new > old.saturating_mul(2));
    let [least, half, double] = if name == CLEANER {
        [
            "Log cleaner threads should be at least 1".to_owned(),
            format!("Log cleaner threads cannot be reduced to less than half the current value {old}"),
            format!("Log cleaner threads cannot be increased to more than double the current value {old}"),
        ]
    } else {
        let failed = format!("Dynamic thread count update validation failed for {name}={new}, value should");
        [
            format!("{failed} be at least 1"),
            format!("{failed} be at least half the current value {old}"),
            format!("{failed} not be greater than double the current value {old}"),
        ]
    };
    if new < 1 && new != old {
        Some(least)
    } else if few {
        Some(half)
    } else {
        many.then_some(double)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(pairs: &[(&str, &str)]) -> BrokerOverrides {
        BrokerOverrides::new(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))).unwrap()
    }

    #[test]
    fn threads_are_at_most_doubled_and_at_most_halved_at_once() {
        let config = BrokerConfig::new([("num.io.threads", "20")]).unwrap();
        let none = BrokerOverrides::default();
        let change = |before: &BrokerOverrides, after: &[(&str, &str)]| {
            config.check_threads((&none, before), (&none, &set(after))).map_err(|error| error.to_string())
        };
        for (name, current) in [("num.io.threads", 20), ("num.network.threads", 3), ("background.threads", 10)] {
            for fits in [current / 2, current, current * 2] {
                assert_eq!(change(&none, &[(name, &fits.to_string())]), Ok(()), "{name}={fits}");
            }
            let many = change(&none, &[(name, &(current * 2 + 1).to_string())]).unwrap_err();
            let told = format!("{name}={}, value should not be greater than double the current value", current * 2 + 1);
            assert!(many.contains(&told), "{many}");
        }
        let few = change(&none, &[("num.io.threads", "9")]).unwrap_err();
        assert!(few.ends_with("num.io.threads=9, value should be at least half the current value 20"), "{few}");
        // A step counts from the one before, the way back too.
        let network = |value| set(&[("num.network.threads", value)]);
        assert_eq!(change(&network("6"), &[("num.network.threads", "12")]), Ok(()));
        assert!(change(&network("12"), &[]).is_err());
        let cleaner = change(&none, &[("log.cleaner.threads", "3")]).unwrap_err();
        assert_eq!(cleaner, "Log cleaner threads cannot be increased to more than double the current value 1");
        assert_eq!(
            change(&none, &[("log.cleaner.threads", "0")]).unwrap_err(),
            "Log cleaner threads should be at least 1"
        );
    }

    #[test]
    fn a_listener_has_the_brokers_threads_unless_it_has_its_own() {
        let (config, none) = (BrokerConfig::default(), BrokerOverrides::default());
        let own = |value| set(&[("listener.name.in.num.network.threads", value)]);
        let check = |before: Running<'_>, after: Running<'_>| config.check_threads(before, after).is_ok();
        assert!(check((&none, &none), (&none, &own("6"))) && !check((&none, &none), (&none, &own("7"))));
        assert!(check((&none, &none), (&own("6"), &none)), "for all brokers");
        assert!(!check((&none, &own("12")), (&none, &none)), "back to 3");
        let base = set(&[("num.network.threads", "6")]);
        assert!(check((&base, &none), (&base, &own("12"))));
        let given = BrokerConfig::new([("listener.name.in.num.network.threads", "8")]).unwrap();
        assert!(given.check_threads((&none, &none), (&none, &own("16"))).is_ok());
        assert!(given.check_threads((&none, &none), (&none, &own("3"))).is_err());
    }
}
