//! Every setting of a topic, once. Decides which value holds: the topic's, the broker's or the default. Never acts on one.

mod table;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

pub use table::TOPIC_CONFIGS;

use crate::config::{ConfigDef, ConfigError, ConfigSource, find, parse_bool, parse_list, unknown};
use crate::described::{Described, Synonym, unknown_ones};
use crate::overrides::{Overrides, Settings};

/// The setting of this name, if there is one.
pub fn topic_config(name: &str) -> Option<&'static ConfigDef> {
    find(TOPIC_CONFIGS, name)
}

/// Marks what topics set.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct OfTopic;

/// A topic's own settings; see [`TopicOverrides::check`] for what they must be together.
pub type TopicOverrides = Overrides<OfTopic>;

impl Settings for OfTopic {
    fn def(name: &str) -> Option<&'static ConfigDef> {
        topic_config(name)
    }

    fn check(name: &str, value: &str) -> Result<(), ConfigError> {
        topic_config(name).ok_or_else(|| unknown(TOPIC_CONFIGS, "topic", name))?.validate(value)
    }
}

impl TopicOverrides {
    /// What the topic itself says of a setting that is true or false.
    fn flag(&self, name: &str) -> Option<bool> {
        self.get(name).and_then(parse_bool)
    }

    /// Does the topic itself ask to be tiered, not only the broker's default?
    pub(crate) fn asks_for_tier(&self) -> bool {
        self.flag(REMOTE) == Some(true)
    }

    /// Do the settings fit together, with the broker's defaults in the places that the topic leaves open?
    pub fn check(&self, defaults: &TopicDefaults) -> Result<(), ConfigError> {
        let config = TopicConfig::effective(self, defaults);
        let conflict = |text: String| Err(ConfigError::Conflict(text));
        if config.cleanup.compact && self.asks_for_tier() {
            return conflict(format!("{REMOTE}=true is not possible with a cleanup.policy that contains compact"));
        }
        if config.min_compaction_lag_ms > config.max_compaction_lag_ms {
            return conflict(format!(
                "min.compaction.lag.ms ({}) is larger than max.compaction.lag.ms ({})",
                config.min_compaction_lag_ms, config.max_compaction_lag_ms
            ));
        }
        for (local, total, unit) in [
            (config.local_retention_ms, config.retention_ms, "ms"),
            (config.local_retention_bytes, config.retention_bytes, "bytes"),
        ] {
            let longer = match (local, total) {
                (_, None) => false,
                (None, Some(_)) => true,
                (Some(local), Some(total)) => local > total,
            };
            // Kafka asks this of topics that ask to be tiered; of one that is so by default the shorter one holds.
            if self.asks_for_tier() && longer {
                return conflict(format!("local.retention.{unit} must not be larger than retention.{unit}"));
            }
        }
        Ok(())
    }
}

pub(crate) const REMOTE: &str = "remote.storage.enable";

/// Overrides `segment.bytes`; shown only where it is set, as in Kafka.
pub(crate) const INTERNAL_SEGMENT_BYTES: &str = "internal.segment.bytes";

/// What decides which records go for good.
const REMOVING: &[&str] = &["cleanup.policy", "retention.bytes", "retention.ms", "tidelog.table.retention.grace.ms"];

/// What the broker puts in the places that topics leave open: per topic setting every value set on the broker's side.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct TopicDefaults {
    values: BTreeMap<&'static str, Vec<Synonym>>,
    /// A stored setting of the brokers that decides what is removed does not hold.
    keeps_everything: bool,
}

impl TopicDefaults {
    /// Adds a value that was set on the broker's side; the lowest source wins, among equals the first.
    /// `topic_name` is the topic's setting, `value` in its unit. An unfit value is refused.
    pub fn set(
        &mut self,
        topic_name: &str,
        broker_name: &str,
        value: String,
        source: ConfigSource,
    ) -> Result<(), ConfigError> {
        let def = topic_config(topic_name).ok_or_else(|| unknown(TOPIC_CONFIGS, "topic", topic_name))?;
        def.validate(&value)?;
        let list = self.values.entry(def.name).or_default();
        list.push(Synonym { name: broker_name.to_string(), value: Some(value), source });
        list.sort_by_key(|synonym| synonym.source);
        Ok(())
    }

    /// Is the topics' default for `remote.storage.enable` true?
    #[must_use]
    pub fn with_remote_storage(mut self, enabled: bool) -> Self {
        self.values.remove(REMOTE);
        if enabled && let Some(def) = topic_config(REMOTE) {
            let synonym = Synonym { name: REMOTE.into(), value: Some("true".into()), source: ConfigSource::Default };
            self.values.insert(def.name, vec![synonym]);
        }
        self
    }

    /// Nothing may be removed by these defaults: what a stored setting said about removing is not understood.
    pub(crate) fn keep_everything(&mut self) {
        self.keeps_everything = true;
    }

    fn layers(&self, name: &str) -> &[Synonym] {
        self.values.get(name).map_or(&[], Vec::as_slice)
    }
}

/// `cleanup.policy`: neither means that nothing is ever removed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CleanupPolicy {
    /// Old segments go.
    pub delete: bool,
    /// Records with a newer one of the same key go.
    pub compact: bool,
}

/// `compression.type`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Compression {
    /// Whatever the producer chose; batches stay as they are.
    Producer,
    /// None.
    Uncompressed,
    /// gzip.
    Gzip,
    /// Snappy.
    Snappy,
    /// LZ4.
    Lz4,
    /// Zstandard.
    Zstd,
}

/// `message.timestamp.type`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TimestampType {
    /// The producer's.
    CreateTime,
    /// The broker's, at the append.
    LogAppendTime,
}

/// `tidelog.table.key.format`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum KeyFormat {
    /// The column `_key` holds bytes.
    Binary,
    /// The column `_key` holds text.
    String,
}

impl KeyFormat {
    /// The setting's value.
    pub const fn name(self) -> &'static str {
        match self {
            KeyFormat::Binary => "binary",
            KeyFormat::String => "string",
        }
    }
}

/// How a topic's records become rows.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TableConfig {
    /// Is the topic exported?
    pub enable: bool,
    /// Type of the column `_key`.
    pub key_format: KeyFormat,
    /// Fields whose JSON numbers are BIGINT.
    pub json_integers: Vec<String>,
    /// A file ends at this many records.
    pub flush_records: i64,
    /// A file ends at about this many bytes.
    pub flush_bytes: i64,
    /// A file ends this long after its first record arrived, ms.
    pub flush_interval_ms: i64,
    /// How long retention waits for the export, ms.
    pub retention_grace_ms: i64,
}

/// A topic's settings as they hold: typed, in the units of their names. What is inert has no field.
#[derive(Clone, PartialEq, Debug)]
pub struct TopicConfig {
    /// What is removed, and how.
    pub cleanup: CleanupPolicy,
    /// The codec of stored batches.
    pub compression: Compression,
    /// Level of gzip, 1 to 9; `None` = the codec's default.
    pub gzip_level: Option<i32>,
    /// Level of zstd.
    pub zstd_level: i32,
    /// How long tombstones stay, ms.
    pub delete_retention_ms: i64,
    /// A flush after this many records.
    pub flush_messages: i64,
    /// A flush after this time, ms.
    pub flush_ms: i64,
    /// Bytes of log per entry of the offset index.
    pub index_interval_bytes: i32,
    /// Local bytes per partition of a tiered topic; `None` = unlimited. −2 is resolved to `retention_bytes`, which is the most too.
    pub local_retention_bytes: Option<i64>,
    /// Local age of a tiered topic, ms; `None` = unlimited. −2 is resolved to `retention_ms`, which is the most too.
    pub local_retention_ms: Option<i64>,
    /// A record is compacted after this time at the latest, ms.
    pub max_compaction_lag_ms: i64,
    /// Largest batch, bytes.
    pub max_message_bytes: i32,
    /// How far a timestamp may lie ahead of the broker's clock, ms.
    pub timestamp_after_max_ms: i64,
    /// How far a timestamp may lie behind the broker's clock, ms.
    pub timestamp_before_max_ms: i64,
    /// Whose clock stamps records.
    pub timestamp_type: TimestampType,
    /// Share of uncompacted bytes that makes compaction start.
    pub min_cleanable_dirty_ratio: f64,
    /// A record stays uncompacted at least this long, ms.
    pub min_compaction_lag_ms: i64,
    /// In-sync replicas needed for acks=all.
    pub min_insync_replicas: i32,
    /// No further uploads of a tiered topic.
    pub remote_log_copy_disable: bool,
    /// Turning the tier off deletes the remote part.
    pub remote_log_delete_on_disable: bool,
    /// Is the remote part given up? Only the topic itself can say so, with `remote.storage.enable=false` and
    /// `remote.log.delete.on.disable=true`: no default ever does. Otherwise what is remote stays readable.
    pub remote_log_given_up: bool,
    /// Is what the topic closes uploaded? Never true for a compacted one.
    pub remote_storage_enable: bool,
    /// Bytes kept per partition; `None` = unlimited.
    pub retention_bytes: Option<i64>,
    /// Age kept, ms; `None` = unlimited.
    pub retention_ms: Option<i64>,
    /// A segment ends at this size, bytes.
    pub segment_bytes: i32,
    /// A segment ends when an index has this size, bytes.
    pub segment_index_bytes: i32,
    /// A segment ends at this age, ms.
    pub segment_ms: i64,
    /// A tiered topic's segment ends at this age, ms, even if `segment_ms` is longer.
    pub tier_roll_ms: i64,
    /// The table.
    pub table: TableConfig,
}

impl TopicConfig {
    /// What holds for a topic: its own settings, then the broker's, then the defaults.
    pub fn effective(overrides: &TopicOverrides, defaults: &TopicDefaults) -> TopicConfig {
        let reader = Reader { overrides, defaults };
        let unlimited = |value: i64| (value >= 0).then_some(value);
        // A default in the place of a text that is not understood must not remove what that text may have meant to keep.
        let keeps = defaults.keeps_everything || overrides.unfit().any(|(name, _)| REMOVING.contains(&name));
        let cleanup = CleanupPolicy {
            delete: reader.items("cleanup.policy").contains(&"delete") && !keeps,
            compact: reader.items("cleanup.policy").contains(&"compact"),
        };
        let retention_bytes = unlimited(reader.long("retention.bytes"));
        let retention_ms = unlimited(reader.long("retention.ms"));
        let local = |name: &str, total: Option<i64>| match reader.long(name) {
            -2 => total,
            value if overrides.asks_for_tier() => unlimited(value),
            value => unlimited(value).into_iter().chain(total).min(),
        };
        TopicConfig {
            cleanup,
            compression: match reader.text("compression.type") {
                "uncompressed" => Compression::Uncompressed,
                "gzip" => Compression::Gzip,
                "snappy" => Compression::Snappy,
                "lz4" => Compression::Lz4,
                "zstd" => Compression::Zstd,
                _ => Compression::Producer,
            },
            gzip_level: Some(reader.int("compression.gzip.level")).filter(|level| *level >= 0),
            zstd_level: reader.int("compression.zstd.level"),
            delete_retention_ms: reader.long("delete.retention.ms"),
            flush_messages: reader.long("flush.messages"),
            flush_ms: reader.long("flush.ms"),
            index_interval_bytes: reader.int("index.interval.bytes"),
            local_retention_bytes: local("local.retention.bytes", retention_bytes),
            local_retention_ms: local("local.retention.ms", retention_ms),
            max_compaction_lag_ms: reader.long("max.compaction.lag.ms"),
            max_message_bytes: reader.int("max.message.bytes"),
            timestamp_after_max_ms: reader.long("message.timestamp.after.max.ms"),
            timestamp_before_max_ms: reader.long("message.timestamp.before.max.ms"),
            timestamp_type: match reader.text("message.timestamp.type") {
                "LogAppendTime" => TimestampType::LogAppendTime,
                _ => TimestampType::CreateTime,
            },
            min_cleanable_dirty_ratio: reader.text("min.cleanable.dirty.ratio").parse().unwrap_or(0.5),
            min_compaction_lag_ms: reader.long("min.compaction.lag.ms"),
            min_insync_replicas: reader.int("min.insync.replicas"),
            remote_log_copy_disable: reader.flag("remote.log.copy.disable"),
            remote_log_delete_on_disable: reader.flag("remote.log.delete.on.disable"),
            remote_log_given_up: overrides.flag(REMOTE) == Some(false)
                && overrides.flag("remote.log.delete.on.disable") == Some(true),
            remote_storage_enable: reader.flag(REMOTE) && !cleanup.compact,
            retention_bytes,
            retention_ms,
            segment_bytes: reader.int(if overrides.get(INTERNAL_SEGMENT_BYTES).is_some() {
                INTERNAL_SEGMENT_BYTES
            } else {
                "segment.bytes"
            }),
            segment_index_bytes: reader.int("segment.index.bytes"),
            segment_ms: reader.long("segment.ms"),
            tier_roll_ms: reader.long("tidelog.tier.roll.ms"),
            table: reader.table(),
        }
    }

    /// The age of its records at which a segment ends, ms: `segment.ms`, for a compacted topic at most `max.compaction.lag.ms`, because
    /// only closed segments are compacted.
    pub fn segment_age_ms(&self) -> i64 {
        if self.cleanup.compact { self.segment_ms.min(self.max_compaction_lag_ms) } else { self.segment_ms }
    }

    /// How long a segment takes records at most, ms: so long as their age may be, for a tiered topic at most `tidelog.tier.roll.ms`,
    /// because only closed segments are uploaded.
    pub fn roll_ms(&self) -> i64 {
        let age = self.segment_age_ms();
        if self.remote_storage_enable { age.min(self.tier_roll_ms) } else { age }
    }
}

/// Every setting of a topic as DescribeConfigs answers it, ascending by name; stored ones of unknown names last.
pub fn describe_topic(overrides: &TopicOverrides, defaults: &TopicDefaults) -> Vec<Described> {
    let config = TopicConfig::effective(overrides, defaults);
    TOPIC_CONFIGS
        .iter()
        .filter(|def| {
            def.name != INTERNAL_SEGMENT_BYTES
                || overrides.get(def.name).is_some()
                || overrides.unfit_ones().contains_key(def.name)
        })
        .map(|def| {
            let own = overrides.get(def.name);
            let mut synonyms: Vec<Synonym> =
                own.map(|value| Synonym::new(def.name, value, ConfigSource::DynamicTopic)).into_iter().collect();
            // The broker's default for tiering does not reach compacted topics.
            if def.name != REMOTE || !config.cleanup.compact {
                synonyms.extend(defaults.layers(def.name).iter().cloned());
            }
            if let Some(broker_name) = def.broker_name {
                synonyms.push(Synonym {
                    name: broker_name.to_string(),
                    value: def.default.map(str::to_string),
                    source: ConfigSource::Default,
                });
            }
            Described::new(def, synonyms, false)
                .with_unfit(overrides.unfit_ones().get(def.name), ConfigSource::DynamicTopic)
        })
        .chain(unknown_ones(overrides.unfit_ones(), topic_config, ConfigSource::DynamicTopic))
        .collect()
}

/// Reads effective values. Both sides were checked when they were set or read, so a value always parses; should one not, the default holds.
struct Reader<'a> {
    overrides: &'a TopicOverrides,
    defaults: &'a TopicDefaults,
}

impl<'a> Reader<'a> {
    fn text(&self, name: &str) -> &'a str {
        let broker = || self.defaults.layers(name).first().and_then(|synonym| synonym.value.as_deref());
        self.overrides.get(name).or_else(broker).unwrap_or_else(|| default_of(name))
    }

    fn long(&self, name: &str) -> i64 {
        self.text(name).parse().or_else(|_| default_of(name).parse()).unwrap_or(0)
    }

    fn int(&self, name: &str) -> i32 {
        let long = self.long(name);
        i32::try_from(long).unwrap_or(if long < 0 { i32::MIN } else { i32::MAX })
    }

    fn flag(&self, name: &str) -> bool {
        parse_bool(self.text(name)).unwrap_or(false)
    }

    fn items(&self, name: &str) -> Vec<&'a str> {
        parse_list(self.text(name))
    }

    fn table(&self) -> TableConfig {
        TableConfig {
            enable: self.flag("tidelog.table.enable"),
            key_format: match self.text("tidelog.table.key.format") {
                "string" => KeyFormat::String,
                _ => KeyFormat::Binary,
            },
            json_integers: self.items("tidelog.table.json.integers").into_iter().map(str::to_string).collect(),
            flush_records: self.long("tidelog.table.flush.records"),
            flush_bytes: self.long("tidelog.table.flush.bytes"),
            flush_interval_ms: self.long("tidelog.table.flush.interval.ms"),
            retention_grace_ms: self.long("tidelog.table.retention.grace.ms"),
        }
    }
}

fn default_of(name: &str) -> &'static str {
    topic_config(name).and_then(|def| def.default).unwrap_or("")
}
