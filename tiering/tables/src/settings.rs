//! A topic's table settings, as the export uses them. Keys, bounds and defaults stand in the metadata's table of topic settings.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};

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
    /// What `_key` holds; counts until the table has a file.
    pub key_format: KeyFormat,
    /// Paths of the JSON fields that are BIGINT; counts for columns that no commit has yet.
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
