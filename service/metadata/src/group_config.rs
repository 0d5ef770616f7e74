//! A group's own settings (resource type GROUP), under Kafka's names. Decides which hold, and what holds where they and the broker's bounds
//! disagree; never acts on one.
//!
//! Settings of share and streams groups are only kept, within the brokers' bounds as in Kafka: those groups do not exist here.

use std::time::Duration;

use crate::broker_config::{BrokerConfig, BrokerOverrides, broker_config};
use crate::config::{Check, ConfigDef, ConfigError, ConfigSource, MAX_INT, find, unknown};
use crate::consumer_times::ConsumerTimes;
use crate::described::{Described, Synonym, unknown_ones};
use crate::overrides::{Overrides, Settings};

const ASSIGNMENT_INTERVAL: &str = "consumer.assignment.interval.ms";
const HEARTBEAT_INTERVAL: &str = "consumer.heartbeat.interval.ms";
const SESSION_TIMEOUT: &str = "consumer.session.timeout.ms";
const SHARE_SESSION_TIMEOUT: &str = "share.session.timeout.ms";

const OF_SHARE_GROUPS: &str = "Of share groups (KIP-932).";
const NO_SHARE_GROUPS: &str = "there are no share groups";
const NO_STREAMS_GROUPS: &str = "there are no groups of the streams protocol";

const fn share(name: &'static str, default: &'static str, min: i64) -> ConfigDef {
    let def = ConfigDef::int(name, default, min, MAX_INT, OF_SHARE_GROUPS);
    def.inert(NO_SHARE_GROUPS)
}

const fn streams(name: &'static str, default: &'static str, min: i64) -> ConfigDef {
    let def = ConfigDef::int(name, default, min, MAX_INT, "Of groups of the streams protocol (KIP-1071).");
    def.inert(NO_STREAMS_GROUPS)
}

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
    share("share.assignment.interval.ms", "1000", 0).from_broker("group.share.assignment.interval.ms"),
    ConfigDef::text("share.auto.offset.reset", "latest", Check::OffsetReset, OF_SHARE_GROUPS).inert(NO_SHARE_GROUPS),
    share("share.delivery.count.limit", "5", 2).from_broker("group.share.delivery.count.limit"),
    share("share.heartbeat.interval.ms", "5000", 1).from_broker("group.share.heartbeat.interval.ms"),
    ConfigDef::one_of(
        "share.isolation.level",
        "read_uncommitted",
        &["read_committed", "read_uncommitted"],
        OF_SHARE_GROUPS,
    )
    .inert(NO_SHARE_GROUPS),
    share("share.partition.max.record.locks", "2000", 100).from_broker("group.share.partition.max.record.locks"),
    share("share.record.lock.duration.ms", "30000", 1000).from_broker("group.share.record.lock.duration.ms"),
    ConfigDef::boolean("share.renew.acknowledge.enable", "true", OF_SHARE_GROUPS).inert(NO_SHARE_GROUPS),
    share(SHARE_SESSION_TIMEOUT, "45000", 1).from_broker("group.share.session.timeout.ms"),
    streams("streams.assignment.interval.ms", "1000", 0).from_broker("group.streams.assignment.interval.ms"),
    streams("streams.heartbeat.interval.ms", "5000", 1).from_broker("group.streams.heartbeat.interval.ms"),
    streams("streams.initial.rebalance.delay.ms", "3000", 0).from_broker("group.streams.initial.rebalance.delay.ms"),
    streams("streams.num.standby.replicas", "0", 0).from_broker("group.streams.num.standby.replicas"),
    streams("streams.session.timeout.ms", "45000", 1).from_broker("group.streams.session.timeout.ms"),
];

/// Settings of share and streams groups, and the brokers' settings between which they lie.
const BOUNDS: &[(&str, Option<&str>, &str)] = &[
    (
        "share.assignment.interval.ms",
        Some("group.share.min.assignment.interval.ms"),
        "group.share.max.assignment.interval.ms",
    ),
    (
        "share.delivery.count.limit",
        Some("group.share.min.delivery.count.limit"),
        "group.share.max.delivery.count.limit",
    ),
    (
        "share.heartbeat.interval.ms",
        Some("group.share.min.heartbeat.interval.ms"),
        "group.share.max.heartbeat.interval.ms",
    ),
    (
        "share.partition.max.record.locks",
        Some("group.share.min.partition.max.record.locks"),
        "group.share.max.partition.max.record.locks",
    ),
    (
        "share.record.lock.duration.ms",
        Some("group.share.min.record.lock.duration.ms"),
        "group.share.max.record.lock.duration.ms",
    ),
    (SHARE_SESSION_TIMEOUT, Some("group.share.min.session.timeout.ms"), "group.share.max.session.timeout.ms"),
    (
        "streams.assignment.interval.ms",
        Some("group.streams.min.assignment.interval.ms"),
        "group.streams.max.assignment.interval.ms",
    ),
    (
        "streams.heartbeat.interval.ms",
        Some("group.streams.min.heartbeat.interval.ms"),
        "group.streams.max.heartbeat.interval.ms",
    ),
    ("streams.num.standby.replicas", None, "group.streams.max.standby.replicas"),
    (
        "streams.session.timeout.ms",
        Some("group.streams.min.session.timeout.ms"),
        "group.streams.max.session.timeout.ms",
    ),
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
        self.asked(broker.group_consumer_times).check(&broker.group_consumer_bounds, "consumer.")?;
        self.check_kept(broker)
    }

    /// The same for what is only kept.
    fn check_kept(&self, broker: &BrokerConfig) -> Result<(), ConfigError> {
        let number = |name: &str| self.get(name).and_then(|value| value.parse::<i64>().ok());
        for (name, least, most) in BOUNDS {
            let Some(value) = number(name) else { continue };
            if let Some(least) = least.filter(|least| broker.number(least).is_some_and(|bound| value < bound)) {
                return Err(ConfigError::Conflict(format!("{name} must be greater than or equal to {least}")));
            }
            if broker.number(most).is_some_and(|bound| value > bound) {
                return Err(ConfigError::Conflict(format!("{name} must be less than or equal to {most}")));
            }
        }
        for kind in ["share", "streams"] {
            let [session, heartbeat] = ["session.timeout.ms", "heartbeat.interval.ms"].map(|name| {
                let own = number(&format!("{kind}.{name}"));
                own.or_else(|| broker.number(&format!("group.{kind}.{name}")))
            });
            if session.zip(heartbeat).is_some_and(|(session, heartbeat)| session <= heartbeat) {
                let text = format!("{kind}.session.timeout.ms must be greater than {kind}.heartbeat.interval.ms");
                return Err(ConfigError::Conflict(text));
            }
        }
        Ok(())
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
            let default = match def.broker_name {
                Some(name) => broker_config(name).and_then(|broker| Some((name, broker.default?))),
                None => def.default.map(|default| (def.name, default)),
            };
            let default = default.map(|(name, value)| Synonym::new(name, value, ConfigSource::Default));
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
        assert!(OfGroup::check("share.session.timeouts", "50000").is_err());
        assert!(OfGroup::check(SESSION_TIMEOUT, "0").is_err());
    }

    /// Each as a Kafka 4.3 answered.
    #[test]
    fn settings_of_groups_that_do_not_exist_here_are_judged_as_kafka_does() {
        let broker = BrokerConfig::default();
        let takes = |name: &str, value: &str| {
            let own = GroupOverrides::new([(name.to_owned(), value.to_owned())]);
            own.and_then(|own| own.check(&broker)).map_err(|error| error.to_string())
        };
        for (name, good, bad) in [
            ("share.session.timeout.ms", &["45000", "60000"][..], &["44999", "60001", "0", "x"][..]),
            ("share.heartbeat.interval.ms", &["5000", "15000"], &["4999", "15001"]),
            ("share.record.lock.duration.ms", &["15000", "60000"], &["999", "14999", "60001"]),
            (
                "share.auto.offset.reset",
                &["latest", " earliest ", "by_duration:PT1H", "by_duration:P1DT2H3M4.5S", "by_duration:p1d"],
                &[
                    "LATEST",
                    "by_duration:",
                    "by_duration:-PT1H",
                    "by_duration:PT",
                    "by_duration:P",
                    "by_duration:PT1M1H",
                    "by_duration:1H",
                    "by_duration:x",
                ],
            ),
            ("share.isolation.level", &["read_committed"], &["READ_COMMITTED", "x"]),
            ("share.delivery.count.limit", &["2", "10"], &["1", "11"]),
            ("share.partition.max.record.locks", &["100", "4000"], &["99", "4001"]),
            ("share.renew.acknowledge.enable", &["false"], &["x"]),
            ("share.assignment.interval.ms", &["0", "15000"], &["-1", "15001"]),
            ("streams.session.timeout.ms", &["45000", "60000"], &["44999", "60001"]),
            ("streams.heartbeat.interval.ms", &["5000", "15000"], &["4999", "15001"]),
            ("streams.num.standby.replicas", &["0", "2"], &["-1", "3"]),
            ("streams.initial.rebalance.delay.ms", &["0", "100000000"], &["-1"]),
            ("streams.assignment.interval.ms", &["0", "15000"], &["15001"]),
            ("share.assignor.offload.enable", &[], &["true"]),
        ] {
            for value in good {
                assert_eq!(takes(name, value), Ok(()), "{name}={value}");
            }
            for value in bad {
                assert!(takes(name, value).is_err(), "{name}={value}");
            }
        }
        let told = takes("streams.num.standby.replicas", "3").unwrap_err();
        assert_eq!(
            told,
            "streams.num.standby.replicas must be less than or equal to group.streams.max.standby.replicas"
        );
        let broker = BrokerConfig::new([
            ("group.share.max.session.timeout.ms", "50000"),
            ("group.share.min.session.timeout.ms", "1"),
        ]);
        let (broker, own) = (broker.unwrap(), |value| overrides(&[(SHARE_SESSION_TIMEOUT, value)]));
        assert!(own("50001").check(&broker).is_err() && own("50000").check(&broker).is_ok());
        let told = own("5000").check(&broker).unwrap_err().to_string();
        assert_eq!(told, "share.session.timeout.ms must be greater than share.heartbeat.interval.ms");
    }

    #[test]
    fn the_table_is_sorted_and_every_setting_of_it_is_listed() {
        assert!(GROUP_CONFIGS.is_sorted_by(|a, b| a.name < b.name));
        let formats = include_str!("../../../FORMATS.md");
        for def in GROUP_CONFIGS {
            assert!(def.default.is_none_or(|default| def.validate(default).is_ok()), "{}", def.name);
            let broker = def.broker_name.map(|name| broker_config(name).unwrap());
            assert!(broker.is_none_or(|broker| broker.default == def.default), "{}", def.name);
            assert!(def.inert.is_none() || formats.contains(&format!("`{}`", def.name)), "{}", def.name);
        }
        for (name, least, most) in BOUNDS {
            assert!(group_config(name).is_some() && broker_config(most).is_some(), "{name}");
            assert!(least.is_none_or(|least| broker_config(least).is_some()), "{name}");
        }
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
        let of_other_groups = |name: &str| name.starts_with("share.") || name.starts_with("streams.");
        let default = described.iter().find(|d| d.name == "share.isolation.level").unwrap();
        let synonyms = default.synonyms.iter().map(|s| (s.name.as_str(), s.value.as_deref(), s.source.code()));
        assert_eq!(synonyms.collect::<Vec<_>>(), [("share.isolation.level", Some("read_uncommitted"), 5)]);
        let seen = described.iter().filter(|d| !of_other_groups(&d.name));
        let seen: Vec<_> = seen.map(|d| (d.name.as_str(), d.value.as_deref(), d.source.code())).collect();
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
