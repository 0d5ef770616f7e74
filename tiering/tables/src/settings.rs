//! A topic's table settings: keys, defaults, bounds.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Turns the export on.
pub const ENABLE: &str = "tidelog.table.enable";
/// What `_key` holds.
pub const KEY_FORMAT: &str = "tidelog.table.key.format";
/// Fields whose numbers are BIGINT.
pub const JSON_INTEGERS: &str = "tidelog.table.json.integers";
/// A file is written at the latest when this many records wait.
pub const FLUSH_RECORDS: &str = "tidelog.table.flush.records";
/// A file is written at the latest when this many bytes of records wait.
pub const FLUSH_BYTES: &str = "tidelog.table.flush.bytes";
/// A file is written at the latest this long after its first record.
pub const FLUSH_INTERVAL_MS: &str = "tidelog.table.flush.interval.ms";
/// How long deletion by retention waits for the export.
pub const RETENTION_GRACE_MS: &str = "tidelog.table.retention.grace.ms";

/// One key of the topic configuration, for the generated reference.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TopicKey {
    /// The key.
    pub name: &'static str,
    /// Its default as it would be written.
    pub default: &'static str,
    /// Type, unit and bounds.
    pub values: &'static str,
    /// What it does. Every key takes effect without a restart.
    pub doc: &'static str,
}

/// Every key that this crate owns.
pub const KEYS: [TopicKey; 7] = [
    TopicKey {
        name: ENABLE,
        default: "false",
        values: "true or false",
        doc: "Exports the topic as a table of Parquet files and lets SQL read it.",
    },
    TopicKey {
        name: KEY_FORMAT,
        default: "binary",
        values: "binary or string",
        doc: "The type of the column _key. Fixed when the table's first commit is made.",
    },
    TopicKey {
        name: JSON_INTEGERS,
        default: "",
        values: "a comma-separated list of field paths, as id,properties.time",
        doc: "JSON fields whose numbers are BIGINT instead of DOUBLE. Counts for columns that do not exist yet.",
    },
    TopicKey {
        name: FLUSH_RECORDS,
        default: "1000000",
        values: "records, 1 to 100000000",
        doc: "A file is written at the latest when this many records of a partition wait.",
    },
    TopicKey {
        name: FLUSH_BYTES,
        default: "134217728",
        values: "bytes of keys, values and headers, 1024 to 1073741824",
        doc: "A file is written at the latest when this many bytes of a partition wait; it is held in memory meanwhile.",
    },
    TopicKey {
        name: FLUSH_INTERVAL_MS,
        default: "60000",
        values: "milliseconds, 1 to 604800000",
        doc: "A file is written at the latest this long after the first unexported record of a partition was seen.",
    },
    TopicKey {
        name: RETENTION_GRACE_MS,
        default: "604800000",
        values: "milliseconds, 0 or more",
        doc: "How long deletion by retention waits for the export; then it proceeds and the table records the skipped range.",
    },
];

/// What the column `_key` holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KeyFormat {
    /// The key's bytes.
    #[default]
    Binary,
    /// UTF-8 text; a byte that is none is written as `\xNN`.
    String,
}

/// The settings of one table.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TableSettings {
    /// What `_key` holds.
    pub key_format: KeyFormat,
    /// Paths of the JSON fields that are BIGINT.
    pub integers: BTreeSet<String>,
    /// Records that make a file.
    pub flush_records: u64,
    /// Bytes of keys, values and headers that make a file.
    pub flush_bytes: u64,
    /// Longest wait of the first unexported record.
    pub flush_interval: Duration,
    /// How long retention waits for the export.
    pub retention_grace: Duration,
}

impl Default for TableSettings {
    fn default() -> Self {
        TableSettings {
            key_format: KeyFormat::Binary,
            integers: BTreeSet::new(),
            flush_records: 1_000_000,
            flush_bytes: 128 * 1024 * 1024,
            flush_interval: Duration::from_millis(60_000),
            retention_grace: Duration::from_millis(604_800_000),
        }
    }
}

/// A value that a key does not take.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{key} cannot be {value:?}: it takes {values}")]
pub struct InvalidSetting {
    /// The key.
    pub key: &'static str,
    /// What was given.
    pub value: String,
    /// What it takes.
    pub values: &'static str,
}

impl TableSettings {
    /// Reads a topic's configuration; `None` if the topic is no table. Also checks values while the table is off.
    pub fn from_configs<'a>(get: impl Fn(&str) -> Option<&'a str>) -> Result<Option<Self>, InvalidSetting> {
        let mut settings = TableSettings::default();
        let mut enabled = false;
        for key in &KEYS {
            let Some(value) = get(key.name) else { continue };
            let understood = settings.set(key.name, value.trim(), &mut enabled);
            if understood.is_none() {
                return Err(InvalidSetting { key: key.name, value: value.to_owned(), values: key.values });
            }
        }
        Ok(enabled.then_some(settings))
    }

    fn set(&mut self, key: &str, value: &str, enabled: &mut bool) -> Option<()> {
        match key {
            ENABLE => *enabled = value.parse().ok()?,
            KEY_FORMAT => {
                self.key_format = match value {
                    "binary" => KeyFormat::Binary,
                    "string" => KeyFormat::String,
                    _ => return None,
                }
            }
            JSON_INTEGERS => {
                self.integers =
                    value.split(',').map(str::trim).filter(|path| !path.is_empty()).map(str::to_owned).collect();
            }
            FLUSH_RECORDS => self.flush_records = within(value, 1, 100_000_000)?,
            FLUSH_BYTES => self.flush_bytes = within(value, 1024, 1024 * 1024 * 1024)?,
            FLUSH_INTERVAL_MS => self.flush_interval = Duration::from_millis(within(value, 1, 604_800_000)?),
            RETENTION_GRACE_MS => self.retention_grace = Duration::from_millis(within(value, 0, i64::MAX as u64)?),
            _ => return None,
        }
        Some(())
    }
}

fn within(value: &str, least: u64, most: u64) -> Option<u64> {
    value.parse().ok().filter(|number| (least..=most).contains(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&'static str, &'static str)]) -> Result<Option<TableSettings>, InvalidSetting> {
        TableSettings::from_configs(|key| pairs.iter().find(|(name, _)| *name == key).map(|(_, value)| *value))
    }

    #[test]
    fn a_topic_is_a_table_only_if_it_says_so() {
        assert_eq!(read(&[]), Ok(None));
        assert_eq!(read(&[(FLUSH_RECORDS, "5")]), Ok(None));
        assert_eq!(read(&[(ENABLE, "true")]), Ok(Some(TableSettings::default())));
    }

    #[test]
    fn the_defaults_are_those_that_the_reference_shows() {
        let shown = TableSettings::from_configs(|key| {
            if key == ENABLE { Some("true") } else { KEYS.iter().find(|k| k.name == key).map(|k| k.default) }
        });
        assert_eq!(shown, Ok(Some(TableSettings::default())));
    }

    #[test]
    fn values_are_checked() {
        let settings = read(&[(ENABLE, "true"), (JSON_INTEGERS, " id, properties.time ,")]).unwrap().unwrap();
        assert_eq!(settings.integers, BTreeSet::from(["id".to_owned(), "properties.time".to_owned()]));
        for (key, value) in [
            (ENABLE, "yes"),
            (KEY_FORMAT, "utf8"),
            (FLUSH_RECORDS, "0"),
            (FLUSH_BYTES, "12"),
            (FLUSH_INTERVAL_MS, "-1"),
        ] {
            let refused = read(&[(key, value)]).unwrap_err();
            assert_eq!((refused.key, refused.value.as_str()), (key, value));
        }
    }
}
