//! Every setting of a broker, under Kafka's names. Decides whether a value holds; never acts on one.
//!
//! Four tables: what is honoured ([`BROKER_CONFIGS`]), what has no meaning here and is only kept ([`INERT_BROKER_CONFIGS`]), what the broker
//! is ([`BROKER_FACTS`]), and what is decided elsewhere ([`ELSEWHERE`]). Of the first two each can be set; a setting without effect says why.
//! What is in none of them is unknown. A setting that can have one value only on one node takes that one and says why it takes no other.

mod connections;
mod elsewhere;
mod facts;
mod inert;
mod listener_tls;
mod listeners;
mod table;
#[cfg(test)]
mod tests;
mod threads;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

pub(crate) use connections::parse_hosts;
pub use elsewhere::ELSEWHERE;
pub use facts::BROKER_FACTS;
pub use inert::INERT_BROKER_CONFIGS;
pub use listener_tls::{KeyStore, ListenerTls, TrustStore, is_listener_tls};
pub use listeners::{check_listener, listener_config, settable_of_listeners};
pub use table::BROKER_CONFIGS;

use listener_tls::{LISTENER_TLS, refused_password};

use crate::config::{ConfigDef, ConfigError, ConfigSource, Values, find, parse_bool, parse_list, unknown};
use crate::consumer_times::{ConsumerBounds, ConsumerTimes};
use crate::described::{Described, Synonym, unknown_ones};
use crate::limits::STRONG_TOKEN_SECRET_BYTES;
use crate::overrides::{Overrides, Settings};
use crate::topic_config::{TOPIC_CONFIGS, TopicDefaults};

/// How the names of the settings of groups of the consumer protocol begin.
const OF_CONSUMER_GROUPS: &str = "group.consumer.";

/// The one secret among the settings that can be set.
const TOKEN_SECRET: &str = "delegation.token.secret.key";

/// The one of them that may be changed while brokers run.
const ASSIGNMENT_INTERVAL: &str = "group.consumer.assignment.interval.ms";

/// Every setting that can be set, those that are honoured first.
pub fn settable() -> impl Iterator<Item = &'static ConfigDef> {
    BROKER_CONFIGS.iter().chain(INERT_BROKER_CONFIGS)
}

/// The setting of this name, if there is one that can be set; of a listener's own the one that it stands above there.
pub fn broker_config(name: &str) -> Option<&'static ConfigDef> {
    let inert = || INERT_BROKER_CONFIGS.iter().find(|def| def.name == name);
    find(BROKER_CONFIGS, name).or_else(inert).or_else(|| Some(listener_config(name)?.1))
}

/// Is this a setting of the start, and this text a value of it?
pub fn check_broker_config(name: &str, value: &str) -> Result<(), ConfigError> {
    if is_listener_tls(name) {
        let message =
            format!("{name} is set only while the server runs; at the start TLS is set under [tls] and [kafka.tls]");
        return Err(ConfigError::Conflict(message));
    }
    check_value(name, value)
}

fn check_value(name: &str, value: &str) -> Result<(), ConfigError> {
    known_config(name)?.validate(value).map_err(|error| error.about(name))
}

/// Can it be set for one broker only, and not for all at once?
pub fn is_per_broker(name: &str) -> bool {
    is_listener_tls(name) || name == "cordoned.log.dirs"
}

fn known_config(name: &str) -> Result<&'static ConfigDef, ConfigError> {
    broker_config(name).ok_or_else(|| match shown_only().find(|def| def.name == name) {
        Some(def) => ConfigError::Conflict(format!("{name} cannot be set under this name. {}", def.doc)),
        None => unknown(settable(), "broker", name),
    })
}

/// What is shown and cannot be set.
fn shown_only() -> impl Iterator<Item = &'static ConfigDef> {
    BROKER_FACTS.iter().chain(ELSEWHERE)
}

/// Marks what is set while brokers run.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct OfBroker;

/// Settings changed while brokers run (KIP-226); only those that may.
pub type BrokerOverrides = Overrides<OfBroker>;

impl Settings for OfBroker {
    fn def(name: &str) -> Option<&'static ConfigDef> {
        broker_config(name)
    }

    fn check(name: &str, value: &str) -> Result<(), ConfigError> {
        if let Some(refused) = not_while_running(name) {
            return Err(ConfigError::Conflict(refused));
        }
        check_value(name, value)?;
        connections::check_change(name, value)
    }
}

/// What somebody is told who wants to set this while brokers run, if it is none of those that can be.
fn not_while_running(name: &str) -> Option<String> {
    let refused = format!("Cannot update these configs dynamically: [{name}]");
    if let Some(def) = broker_config(name) {
        return (!def.dynamic).then_some(refused);
    }
    if BROKER_FACTS.iter().any(|fact| fact.name == name) {
        return Some(format!("{refused}. It is what the broker was started with."));
    }
    if let Some(elsewhere) = ELSEWHERE.iter().find(|def| def.name == name) {
        if LISTENER_TLS.iter().any(|def| def.name == name && def.name != "ssl.client.auth") {
            let prefixed =
                "These security configs can be dynamically updated only per-listener using the listener prefix";
            return Some(format!("{prefixed}: [{name}]. {}", elsewhere.doc));
        }
        return Some(format!("{refused}. {}", elsewhere.doc));
    }
    if let Some(why) = refused_password(name) {
        return Some(format!("Invalid configuration {name}: {why}"));
    }
    let of_listener = |def: &'static ConfigDef| Some((listeners::listener_of(name, def.name)?, def));
    let (listener, def) = settable().chain(shown_only()).find_map(of_listener)?;
    Some(format!("Configs cannot be updated dynamically for existing listener {listener}: [{name}]. {}", def.doc))
}

/// What was set while brokers run, for this one or else for all.
fn running_millis(name: &str, for_all: &BrokerOverrides, for_this: &BrokerOverrides) -> Option<Duration> {
    let changed = for_this.get(name).or_else(|| for_all.get(name));
    changed.and_then(|value| value.parse().ok()).map(Duration::from_millis)
}

/// A secret; shown to nobody.
#[derive(Clone, PartialEq, Eq)]
pub struct HiddenText(pub String);

impl fmt::Debug for HiddenText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HiddenText")
    }
}

/// A broker's settings as they hold from its start. A change needs a restart.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BrokerConfig {
    /// `auto.create.topics.enable`
    pub auto_create_topics: bool,
    /// `log.cleaner.backoff.ms`
    pub cleaner_backoff: Duration,
    /// `connections.max.idle.ms`
    pub connections_max_idle: Duration,
    /// `connections.max.reauth.ms`; zero: an authentication lasts as long as its connection
    pub connections_max_reauth: Duration,
    /// `default.replication.factor`
    pub default_replication_factor: i16,
    /// `delegation.token.expiry.check.interval.ms`
    pub delegation_token_check_interval: Duration,
    /// `delegation.token.expiry.time.ms`
    pub delegation_token_renewal: Duration,
    /// `delegation.token.max.lifetime.ms`
    pub delegation_token_max_lifetime: Duration,
    /// `delegation.token.secret.key`
    pub delegation_token_secret: Option<HiddenText>,
    /// `delete.topic.enable`
    pub delete_topics: bool,
    /// `fetch.max.bytes`
    pub fetch_max_bytes: i32,
    /// `group.consumer.assignors`
    pub group_consumer_assignors: Vec<String>,
    /// `group.consumer.min.…` and `group.consumer.max.…`
    pub group_consumer_bounds: ConsumerBounds,
    /// `group.consumer.max.size`
    pub group_consumer_max_size: i32,
    /// `group.consumer.migration.policy`
    pub group_consumer_migration_policy: String,
    /// `group.consumer.session.timeout.ms`, `group.consumer.heartbeat.interval.ms`, and `group.consumer.assignment.interval.ms` as of the
    /// start ([`BrokerConfig::consumer_times`])
    pub group_consumer_times: ConsumerTimes,
    /// `group.initial.rebalance.delay.ms`
    pub group_initial_rebalance_delay: Duration,
    /// `group.max.session.timeout.ms`
    pub group_max_session_timeout: Duration,
    /// `group.max.size`
    pub group_max_size: i32,
    /// `group.min.session.timeout.ms`
    pub group_min_session_timeout: Duration,
    /// `log.retention.check.interval.ms`
    pub retention_check_interval: Duration,
    /// `max.incremental.fetch.session.cache.slots`
    pub fetch_session_slots: i32,
    /// `num.partitions`
    pub num_partitions: i32,
    /// `offset.metadata.max.bytes`
    pub offset_metadata_max_bytes: i32,
    /// `offsets.retention.check.interval.ms`
    pub offsets_retention_check_interval: Duration,
    /// `offsets.retention.minutes`
    pub offsets_retention: Duration,
    /// `offsets.topic.num.partitions`
    pub offsets_topic_partitions: i32,
    /// `offsets.topic.segment.bytes`
    pub offsets_topic_segment_bytes: i32,
    /// `producer.id.expiration.ms`
    pub producer_id_expiration: Duration,
    /// `remote.fetch.max.wait.ms`
    pub remote_fetch_max_wait: Duration,
    /// `socket.request.max.bytes`
    pub request_max_bytes: i32,
    /// `ssl.allow.dn.changes`
    pub ssl_allow_dn_changes: bool,
    /// `ssl.allow.san.changes`
    pub ssl_allow_san_changes: bool,
    /// `transaction.max.timeout.ms`
    pub transaction_max_timeout_ms: i32,
    /// `transaction.remove.expired.transaction.cleanup.interval.ms`
    pub transactional_id_check_interval: Duration,
    /// `transaction.state.log.num.partitions`
    pub transaction_topic_partitions: i32,
    /// `transaction.state.log.segment.bytes`
    pub transaction_topic_segment_bytes: i32,
    /// `transactional.id.expiration.ms`
    pub transactional_id_expiration: Duration,
    explicit: Values,
    /// Values of [`BROKER_FACTS`].
    facts: Values,
}

impl Default for BrokerConfig {
    fn default() -> Self {
        BrokerConfig::from_values(Values::new())
    }
}

/// Topic settings whose default a broker's setting gives in another unit or has no default of its own:
/// (topic's, broker's, factor to the topic's unit), best first.
const CONVERTED: &[(&str, &str, i64)] = &[
    ("flush.ms", "log.flush.interval.ms", 1),
    ("retention.ms", "log.retention.ms", 1),
    ("retention.ms", "log.retention.minutes", 60_000),
    ("retention.ms", "log.retention.hours", 3_600_000),
    ("segment.ms", "log.roll.ms", 1),
    ("segment.ms", "log.roll.hours", 3_600_000),
];

/// What decides which records of topics go for good.
const REMOVING: &[&str] =
    &["log.cleanup.policy", "log.retention.bytes", "log.retention.hours", "log.retention.minutes", "log.retention.ms"];

impl BrokerConfig {
    /// Settings by name, as the configuration file, environment and flags gave them. Unknown names, unfit values and a name given
    /// twice are refused.
    pub fn new<N, V>(pairs: impl IntoIterator<Item = (N, V)>) -> Result<Self, ConfigError>
    where
        N: AsRef<str>,
        V: AsRef<str>,
    {
        let mut explicit = Values::new();
        for (name, value) in pairs {
            let (name, value) = (name.as_ref(), value.as_ref().trim());
            check_broker_config(name, value)?;
            let value = broker_config(name).map_or_else(|| value.to_owned(), |def| def.normal(value));
            if explicit.insert(name.to_string(), value).is_some() {
                return Err(ConfigError::Conflict(format!("{name} is given twice")));
            }
        }
        let config = BrokerConfig::from_values(explicit);
        if config.group_min_session_timeout > config.group_max_session_timeout {
            return Err(ConfigError::Conflict(
                "group.min.session.timeout.ms is larger than group.max.session.timeout.ms".into(),
            ));
        }
        config.group_consumer_times.check(&config.group_consumer_bounds, OF_CONSUMER_GROUPS)?;
        if config.group_consumer_assignors.is_empty() {
            return Err(ConfigError::Conflict("group.consumer.assignors names no assignor".into()));
        }
        config.check_connections(&BrokerOverrides::default(), &BrokerOverrides::default())?;
        // The topics' defaults must fit together as a topic's own settings must.
        let defaults = config.topic_defaults(&BrokerOverrides::default(), &BrokerOverrides::default())?;
        crate::topic_config::TopicOverrides::default().check(&defaults)?;
        Ok(config)
    }

    /// Can the key of tokens be guessed? Everybody who gets a token can try keys on it for as long as he likes. Kafka takes keys of any
    /// length, and tokens that were made with one go on with that one only: it is no reason to refuse a start.
    pub fn has_weak_token_secret(&self) -> bool {
        self.delegation_token_secret.as_ref().is_some_and(|secret| secret.0.len() < STRONG_TOKEN_SECRET_BYTES)
    }

    fn from_values(mut explicit: Values) -> Self {
        // Not among those that are listed.
        let secret = explicit.remove(TOKEN_SECRET).filter(|secret| !secret.is_empty());
        let text = |name: &str| {
            let given = explicit.get(name).map(String::as_str);
            given.or_else(|| broker_config(name)?.default).unwrap_or_default()
        };
        let long = |name: &str| text(name).parse::<i64>().unwrap_or(0);
        let int = |name: &str| i32::try_from(long(name)).unwrap_or(i32::MAX);
        let millis = |name: &str| Duration::from_millis(u64::try_from(long(name)).unwrap_or(0));
        let flag = |name: &str| parse_bool(text(name)).unwrap_or(false);
        let range = |name: &str| {
            let bound = |end: &str| millis(&format!("{OF_CONSUMER_GROUPS}{end}.{name}"));
            bound("min")..=bound("max")
        };
        BrokerConfig {
            auto_create_topics: flag("auto.create.topics.enable"),
            cleaner_backoff: millis("log.cleaner.backoff.ms"),
            connections_max_idle: millis("connections.max.idle.ms"),
            connections_max_reauth: millis("connections.max.reauth.ms"),
            default_replication_factor: i16::try_from(long("default.replication.factor")).unwrap_or(i16::MAX),
            delegation_token_check_interval: millis("delegation.token.expiry.check.interval.ms"),
            delegation_token_renewal: millis("delegation.token.expiry.time.ms"),
            delegation_token_max_lifetime: millis("delegation.token.max.lifetime.ms"),
            delegation_token_secret: secret.map(HiddenText),
            delete_topics: flag("delete.topic.enable"),
            fetch_max_bytes: int("fetch.max.bytes"),
            group_consumer_assignors: parse_list(text("group.consumer.assignors"))
                .into_iter()
                .map(Into::into)
                .collect(),
            group_consumer_bounds: ConsumerBounds {
                session_timeout: range("session.timeout.ms"),
                heartbeat_interval: range("heartbeat.interval.ms"),
                assignment_interval: range("assignment.interval.ms"),
            },
            group_consumer_max_size: int("group.consumer.max.size"),
            group_consumer_migration_policy: text("group.consumer.migration.policy").to_owned(),
            group_consumer_times: ConsumerTimes {
                session_timeout: millis("group.consumer.session.timeout.ms"),
                heartbeat_interval: millis("group.consumer.heartbeat.interval.ms"),
                assignment_interval: millis(ASSIGNMENT_INTERVAL),
            },
            group_initial_rebalance_delay: millis("group.initial.rebalance.delay.ms"),
            group_max_session_timeout: millis("group.max.session.timeout.ms"),
            group_max_size: int("group.max.size"),
            group_min_session_timeout: millis("group.min.session.timeout.ms"),
            retention_check_interval: millis("log.retention.check.interval.ms"),
            fetch_session_slots: int("max.incremental.fetch.session.cache.slots"),
            num_partitions: int("num.partitions"),
            offset_metadata_max_bytes: int("offset.metadata.max.bytes"),
            offsets_retention_check_interval: millis("offsets.retention.check.interval.ms"),
            offsets_retention: Duration::from_secs(
                u64::try_from(long("offsets.retention.minutes")).unwrap_or(0).saturating_mul(60),
            ),
            offsets_topic_partitions: int("offsets.topic.num.partitions"),
            offsets_topic_segment_bytes: int("offsets.topic.segment.bytes"),
            producer_id_expiration: millis("producer.id.expiration.ms"),
            remote_fetch_max_wait: millis("remote.fetch.max.wait.ms"),
            request_max_bytes: int("socket.request.max.bytes"),
            ssl_allow_dn_changes: flag("ssl.allow.dn.changes"),
            ssl_allow_san_changes: flag("ssl.allow.san.changes"),
            transaction_max_timeout_ms: int("transaction.max.timeout.ms"),
            transactional_id_check_interval: millis("transaction.remove.expired.transaction.cleanup.interval.ms"),
            transaction_topic_partitions: int("transaction.state.log.num.partitions"),
            transaction_topic_segment_bytes: int("transaction.state.log.segment.bytes"),
            transactional_id_expiration: millis("transactional.id.expiration.ms"),
            explicit,
            facts: Values::new(),
        }
    }

    /// The same with what the broker is, by the names of [`BROKER_FACTS`]; other names are not shown.
    #[must_use]
    pub fn with_facts(mut self, facts: impl IntoIterator<Item = (&'static str, String)>) -> Self {
        self.facts = facts.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        self
    }

    /// What was given at the start, ascending by name.
    pub fn explicit(&self) -> impl Iterator<Item = (&str, &str)> {
        self.explicit.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// A number as it was given at the start, or else its default.
    pub(crate) fn number(&self, name: &str) -> Option<i64> {
        let given = self.explicit.get(name).map(String::as_str);
        given.or_else(|| broker_config(name)?.default)?.parse().ok()
    }

    /// The pause between two searches for logs to compact: the running change for this broker, or for all, or what was given at the start.
    pub fn cleaner_backoff(&self, for_all: &BrokerOverrides, for_this: &BrokerOverrides) -> Duration {
        running_millis("log.cleaner.backoff.ms", for_all, for_this).unwrap_or(self.cleaner_backoff)
    }

    /// How long a silent producer is remembered, likewise.
    pub fn producer_id_expiration(&self, for_all: &BrokerOverrides, for_this: &BrokerOverrides) -> Duration {
        running_millis("producer.id.expiration.ms", for_all, for_this).unwrap_or(self.producer_id_expiration)
    }

    /// How long a fetch waits for the cold tier, likewise.
    pub fn remote_fetch_max_wait(&self, for_all: &BrokerOverrides, for_this: &BrokerOverrides) -> Duration {
        running_millis("remote.fetch.max.wait.ms", for_all, for_this).unwrap_or(self.remote_fetch_max_wait)
    }

    /// What groups of the consumer protocol get where they set nothing: from this start's settings, the running changes for all brokers
    /// (`for_all`) and for this one (`for_this`).
    pub fn consumer_times(&self, for_all: &BrokerOverrides, for_this: &BrokerOverrides) -> ConsumerTimes {
        let changed = running_millis(ASSIGNMENT_INTERVAL, for_all, for_this);
        let of_start = self.group_consumer_times;
        ConsumerTimes { assignment_interval: changed.unwrap_or(of_start.assignment_interval), ..of_start }
    }

    /// Do the running changes leave groups of the consumer protocol within their bounds, and somebody a connection?
    pub(crate) fn check_running(
        &self,
        for_all: &BrokerOverrides,
        for_this: &BrokerOverrides,
    ) -> Result<(), ConfigError> {
        self.consumer_times(for_all, for_this).check(&self.group_consumer_bounds, OF_CONSUMER_GROUPS)?;
        self.check_connections(for_all, for_this)
    }

    /// What topics get where they set nothing: from this start's settings, the running changes for all brokers (`for_all`) and for this
    /// one (`for_this`). Fails only if values contradict the topics' bounds, which their own checks prevent.
    pub fn topic_defaults(
        &self,
        for_all: &BrokerOverrides,
        for_this: &BrokerOverrides,
    ) -> Result<TopicDefaults, ConfigError> {
        let layers = [
            (ConfigSource::DynamicBroker, for_this.values()),
            (ConfigSource::DynamicDefaultBroker, for_all.values()),
            (ConfigSource::StaticBroker, &self.explicit),
        ];
        let mut defaults = TopicDefaults::default();
        if for_this.unfit().chain(for_all.unfit()).any(|(name, _)| REMOVING.contains(&name)) {
            defaults.keep_everything();
        }
        for (source, values) in layers {
            for def in TOPIC_CONFIGS {
                if let Some(name) = def.broker_name
                    && let Some(value) = values.get(name)
                {
                    defaults.set(def.name, name, value.clone(), source)?;
                }
            }
            for (topic_name, name, factor) in CONVERTED {
                if let Some(value) = values.get(*name).and_then(|value| value.parse::<i64>().ok()) {
                    let value = if value < 0 { -1 } else { value.saturating_mul(*factor) };
                    defaults.set(topic_name, name, value.to_string(), source)?;
                }
            }
        }
        Ok(defaults)
    }

    /// Every setting of the broker as DescribeConfigs answers it, ascending by name; stored ones of unknown names last.
    pub fn describe(&self, for_all: &BrokerOverrides, for_this: &BrokerOverrides) -> Vec<Described> {
        let layers: BTreeMap<ConfigSource, &Values> = BTreeMap::from([
            (ConfigSource::DynamicBroker, for_this.values()),
            (ConfigSource::DynamicDefaultBroker, for_all.values()),
            (ConfigSource::StaticBroker, &self.explicit),
        ]);
        let facts = BROKER_FACTS.iter().map(|def| {
            let value = self.facts.get(def.name).map(|value| Synonym::new(def.name, value, ConfigSource::StaticBroker));
            Described::new(def, value.into_iter().collect(), true)
        });
        let elsewhere = ELSEWHERE.iter().map(|def| {
            let default = def.default.map(|default| Synonym::new(def.name, default, ConfigSource::Default));
            Described::new(def, default.into_iter().collect(), true)
        });
        let with_unfit = |described: Described| {
            let of = |ones: &BrokerOverrides| ones.unfit_ones().get(&described.name).cloned();
            let (of_all, of_this) = (of(for_all), of(for_this));
            described
                .with_unfit(of_all.as_ref(), ConfigSource::DynamicDefaultBroker)
                .with_unfit(of_this.as_ref(), ConfigSource::DynamicBroker)
        };
        // Kafka's too are listed only where they are set.
        let set = layers.values().flat_map(|values| values.keys());
        let set: BTreeSet<&String> =
            set.chain(for_all.unfit_ones().keys()).chain(for_this.unfit_ones().keys()).collect();
        let of_listeners = set.into_iter().filter_map(|name| {
            let (_, def) = listener_config(name)?;
            let of = |name: &str| -> Vec<Synonym> {
                let shown = |value: &String| (!def.is_secret()).then(|| value.clone());
                let entry = |value, source| Synonym { name: name.to_owned(), value: shown(value), source };
                layers.iter().filter_map(|(source, values)| Some(entry(values.get(name)?, *source))).collect()
            };
            let default = def.default.map(|default| Synonym::new(def.name, default, ConfigSource::Default));
            let synonyms = of(name).into_iter().chain(of(def.name)).chain(default).collect();
            let described = Described { name: name.to_owned(), ..Described::new(def, synonyms, !def.dynamic) };
            Some(with_unfit(described))
        });
        let mut known: Vec<Described> = settable()
            .map(|def| {
                let entry = |source, value: Option<String>| Synonym { name: def.name.to_string(), value, source };
                let mut synonyms: Vec<Synonym> = layers
                    .iter()
                    .filter_map(|(source, values)| Some(entry(*source, Some(values.get(def.name)?.clone()))))
                    .collect();
                // Nobody is shown its value, but that it is set, and where.
                if def.name == TOKEN_SECRET && self.delegation_token_secret.is_some() {
                    synonyms.push(entry(ConfigSource::StaticBroker, None));
                }
                if let Some(default) = def.default {
                    synonyms.push(entry(ConfigSource::Default, Some(default.to_string())));
                }
                with_unfit(Described::new(def, synonyms, !def.dynamic))
            })
            .chain(facts)
            .chain(elsewhere)
            .chain(of_listeners)
            .collect();
        known.sort_by(|a, b| a.name.cmp(&b.name));
        known
            .into_iter()
            .chain(unknown_ones(for_this.unfit_ones(), broker_config, ConfigSource::DynamicBroker))
            .chain(unknown_ones(for_all.unfit_ones(), broker_config, ConfigSource::DynamicDefaultBroker))
            .collect()
    }
}
