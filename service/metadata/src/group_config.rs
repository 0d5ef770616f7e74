//! A group's own settings (resource type GROUP), under Kafka's names. Decides which hold, and what holds where they and the broker's bounds
//! disagree; never acts on one.
//!
//! Settings of share and streams groups are not in the table: those groups do not exist here.

use std::time::Duration;

use crate::broker_config::{BrokerConfig, BrokerOverrides, broker_config};
use crate::config::{ConfigDef, ConfigError, ConfigSource, Described, Synonym, find, unknown, unknown_ones};
use crate::consumer_times::ConsumerTimes;
use crate::overrides::{Overrides, Settings};

const ASSIGNMENT_INTERVAL: &str = "consumer.assignment.interval.ms";
const HEARTBEAT_INTERVAL: &str = "consumer.heartbeat.interval.ms";
const SESSION_TIMEOUT: &str = "consumer.session.timeout.ms";
const MAX_INT: i64 = i32::MAX as i64;

/// Every setting of a group, ascending by name.
pub static GROUP_CONFIGS: &[ConfigDef] = &[
    ConfigDef::int(
        ASSIGNMENT_INTERVAL,
        "1000",
        0,
        MAX_INT,
        "How much time lies between two target assignments of the group (KIP-848) at least, ms.",
    )
    .from_broker("group.consumer.assignment.interval.ms"),
    ConfigDef::int(
        HEARTBEAT_INTERVAL,
        "5000",
        1,
        MAX_INT,
        "How often the group's members of the consumer protocol (KIP-848) report, ms.",
    )
    .from_broker("group.consumer.heartbeat.interval.ms"),
    ConfigDef::int(
        SESSION_TIMEOUT,
        "45000",
        1,
        MAX_INT,
        "A member of the consumer protocol that is silent for this time is removed from the group, ms.",
    )
    .from_broker("group.consumer.session.timeout.ms"),
];

/// The setting of this name, if there is one.
pub fn group_config(name: &str) -> Option<&'static ConfigDef> {
    find(GROUP_CONFIGS, name)
}

/// Marks what groups set.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct OfGroup;

/// What one group sets, and what is stored of it and does not hold.
pub type GroupOverrides = Overrides<OfGroup>;

impl Settings for OfGroup {
    fn def(name: &str) -> Option<&'static ConfigDef> {
        group_config(name)
    }

    fn check(name: &str, value: &str) -> Result<(), ConfigError> {
        group_config(name).ok_or_else(|| unknown(GROUP_CONFIGS, "group", name))?.validate(value)
    }
}

impl GroupOverrides {
    /// What the group asks for, and what it gets where it does not.
    fn asked(&self, given: ConsumerTimes) -> ConsumerTimes {
        let millis = |name: &str| self.get(name)?.parse().ok().map(Duration::from_millis);
        ConsumerTimes {
            session_timeout: millis(SESSION_TIMEOUT).unwrap_or(given.session_timeout),
            heartbeat_interval: millis(HEARTBEAT_INTERVAL).unwrap_or(given.heartbeat_interval),
            assignment_interval: millis(ASSIGNMENT_INTERVAL).unwrap_or(given.assignment_interval),
        }
    }

    /// Do the settings lie within the broker's bounds, and fit each other?
    pub fn check(&self, broker: &BrokerConfig) -> Result<(), ConfigError> {
        self.asked(broker.group_consumer_times).check(&broker.group_consumer_bounds, "consumer.")
    }

    /// What holds beside what the broker gives (`given`). Its bounds may have been narrowed since the group's settings were made: then the
    /// nearest bound holds, and what the broker gives if those contradict each other.
    pub fn effective(&self, broker: &BrokerConfig, given: ConsumerTimes) -> ConsumerTimes {
        self.asked(given).within(&broker.group_consumer_bounds).unwrap_or(given)
    }

    /// Every setting of the group as DescribeConfigs answers it, ascending by name; stored ones of unknown names last.
    pub fn describe(
        &self,
        broker: &BrokerConfig,
        for_all: &BrokerOverrides,
        for_this: &BrokerOverrides,
    ) -> Vec<Described> {
        let source = ConfigSource::DynamicGroup;
        let described = GROUP_CONFIGS.iter().map(|def| {
            let own = self.get(def.name).map(|value| Synonym::new(def.name, value, source));
            let running = [(for_this, ConfigSource::DynamicBroker), (for_all, ConfigSource::DynamicDefaultBroker)];
            let running = running.into_iter().filter_map(|(changes, source)| {
                let name = def.broker_name?;
                Some(Synonym::new(name, changes.get(name)?, source))
            });
            let given = def.broker_name.and_then(|name| {
                let (_, value) = broker.explicit().find(|(given, _)| *given == name)?;
                Some(Synonym::new(name, value, ConfigSource::StaticBroker))
            });
            let default = def
                .broker_name
                .and_then(|name| Some(Synonym::new(name, broker_config(name)?.default?, ConfigSource::Default)));
            let synonyms = own.into_iter().chain(running).chain(given).chain(default).collect();
            Described::new(def, synonyms, false).with_unfit(self.unfit_ones().get(def.name), source)
        });
        described.chain(unknown_ones(self.unfit_ones(), group_config, source)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn overrides(pairs: &[(&str, &str)]) -> GroupOverrides {
        GroupOverrides::new(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))).unwrap()
    }

    fn seconds(session: u64, heartbeat: u64) -> ConsumerTimes {
        let (session_timeout, heartbeat_interval) = (Duration::from_secs(session), Duration::from_secs(heartbeat));
        ConsumerTimes { session_timeout, heartbeat_interval, assignment_interval: Duration::from_secs(1) }
    }

    fn effective(own: &GroupOverrides, broker: &BrokerConfig) -> ConsumerTimes {
        own.effective(broker, broker.group_consumer_times)
    }

    #[test]
    fn a_group_sets_its_own_within_the_brokers_bounds() {
        let broker = BrokerConfig::default();
        assert_eq!(effective(&GroupOverrides::default(), &broker), seconds(45, 5));
        let own = overrides(&[(SESSION_TIMEOUT, "60000"), (HEARTBEAT_INTERVAL, "15000")]);
        assert_eq!((own.check(&broker), effective(&own, &broker)), (Ok(()), seconds(60, 15)));
        for (name, value, reason) in [
            (SESSION_TIMEOUT, "44999", "greater than or equal to group.consumer.min.session.timeout.ms"),
            (SESSION_TIMEOUT, "60001", "less than or equal to group.consumer.max.session.timeout.ms"),
            (HEARTBEAT_INTERVAL, "4999", "greater than or equal to group.consumer.min.heartbeat.interval.ms"),
            (HEARTBEAT_INTERVAL, "15001", "less than or equal to group.consumer.max.heartbeat.interval.ms"),
            (ASSIGNMENT_INTERVAL, "15001", "less than or equal to group.consumer.max.assignment.interval.ms"),
        ] {
            let error = overrides(&[(name, value)]).check(&broker).unwrap_err().to_string();
            assert!(error.contains(reason), "{error}");
        }
        assert!(OfGroup::check("share.session.timeout.ms", "50000").is_err());
        assert!(OfGroup::check(SESSION_TIMEOUT, "0").is_err());
    }

    #[test]
    fn what_no_longer_lies_within_narrower_bounds_is_moved_to_them() {
        let broker = BrokerConfig::new([("group.consumer.max.session.timeout.ms", "50000")]).unwrap();
        let own = overrides(&[(SESSION_TIMEOUT, "60000")]);
        assert_eq!(effective(&own, &broker), seconds(50, 5));
        // Bounds that leave no room between the two: the broker's own hold.
        let broker = BrokerConfig::new([
            ("group.consumer.min.session.timeout.ms", "6000"),
            ("group.consumer.max.session.timeout.ms", "8000"),
            ("group.consumer.session.timeout.ms", "8000"),
        ]);
        let own = overrides(&[(SESSION_TIMEOUT, "45000"), (HEARTBEAT_INTERVAL, "15000")]);
        assert_eq!(effective(&own, &broker.unwrap()), seconds(8, 5));
    }

    #[test]
    fn each_setting_is_described_with_where_it_comes_from() {
        let broker = BrokerConfig::new([("group.consumer.heartbeat.interval.ms", "6000")]).unwrap();
        let stored = [(SESSION_TIMEOUT, "50000"), ("newer.setting", "x")].map(|(n, v)| (n.to_owned(), v.to_owned()));
        let changed = [("group.consumer.assignment.interval.ms".to_owned(), "0".to_owned())];
        let (changed, none) = (BrokerOverrides::new(changed).unwrap(), BrokerOverrides::default());
        let described = GroupOverrides::stored(stored).describe(&broker, &changed, &none);
        let seen: Vec<_> = described.iter().map(|d| (d.name.as_str(), d.value.as_deref(), d.source.code())).collect();
        let expected = [
            (ASSIGNMENT_INTERVAL, Some("0"), 3),
            (HEARTBEAT_INTERVAL, Some("6000"), 4),
            (SESSION_TIMEOUT, Some("50000"), 8),
            ("newer.setting", Some("x"), 8),
        ];
        assert_eq!(seen, expected);
        let names: Vec<_> = described[2].synonyms.iter().map(|s| (s.name.as_str(), s.source.code())).collect();
        assert_eq!(names, [(SESSION_TIMEOUT, 8), ("group.consumer.session.timeout.ms", 5)]);
    }
}
