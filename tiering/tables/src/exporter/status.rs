//! What `table status` shows, and what a query needs to know of a table. Plain data.

use serde::Serialize;
use tidelog_model::{Offset, PartitionIndex, TopicName};

use crate::infer::Schema;
use crate::source::TableTopic;

/// What a table's task is doing.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Reading the commits, or waiting for the store to do so.
    Loading,
    /// Exporting.
    Running,
    /// Ended, with the reason; another broker leads the topic, or a person must look.
    Stopped(String),
}

/// Something that happened, and when.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Happened {
    /// Milliseconds since 1970.
    pub at: i64,
    /// One sentence.
    pub what: String,
}

/// One table.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct TableStatus {
    /// The topic.
    pub topic: String,
    /// Its id.
    pub topic_id: String,
    /// The table's folder, below the store's root.
    pub folder: String,
    /// What the exporter is doing.
    pub phase: Phase,
    /// Version of the schema, if known.
    pub schema_id: Option<u32>,
    /// Leaf columns of values.
    pub columns: usize,
    /// Per partition, ascending.
    pub partitions: Vec<PartitionStatus>,
    /// Files in the store.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Their rows.
    pub rows: u64,
    /// Records that retention deleted before they were exported, or whose batch is damaged.
    pub skipped_records: u64,
    /// Number of the newest commit that exported or passed over records.
    pub last_commit: Option<u64>,
    /// When it was made, milliseconds since 1970.
    pub last_commit_at: Option<i64>,
    /// The last thing that went wrong since the start.
    pub last_error: Option<Happened>,
}

/// One partition of a table.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct PartitionStatus {
    /// Its number.
    pub partition: i32,
    /// Everything below is in the store; `None` before the first export.
    pub exported_end: Option<i64>,
    /// Everything below is committed; `None` while the log cannot tell.
    pub committed_end: Option<i64>,
    /// Offsets that are committed and not exported.
    pub lag: u64,
}

/// What retention may assume of a partition.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Exported {
    /// No table: nothing is held.
    NotATable,
    /// A table whose state is not known yet: everything is held.
    Unknown,
    /// Everything below is in the store.
    Below(Offset),
}

/// A table at one moment, for a query: the files, and from where the log has to be read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TableView {
    /// The topic.
    pub topic: TableTopic,
    /// The committed schema and what the records below `scanned` add to it.
    pub schema: Schema,
    /// Per partition, ascending.
    pub partitions: Vec<PartitionView>,
}

/// One partition of a [`TableView`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PartitionView {
    /// Its number.
    pub partition: PartitionIndex,
    /// Its files, ascending.
    pub files: Vec<TableFile>,
    /// Everything below is in the files; `None` if nothing was exported yet.
    pub exported_end: Option<Offset>,
    /// Everything below has been shown to the schema; `None` if nothing was.
    pub scanned: Option<Offset>,
}

/// One file of a table.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TableFile {
    /// Its key, below the root of the store that the exporter was given.
    pub key: String,
    /// Rows.
    pub rows: u64,
    /// Bytes.
    pub bytes: u64,
}

/// Why there is no [`TableView`].
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ViewError {
    /// The topic is no table here.
    #[error("topic {0} is not exported as a table here")]
    NotATable(TopicName),
    /// The commits are not known yet.
    #[error("the table of topic {topic} is not loaded yet{}", .reason.as_deref().map(|r| format!(": {r}")).unwrap_or_default())]
    NotLoaded {
        /// The topic.
        topic: TopicName,
        /// What stands in the way.
        reason: Option<String>,
    },
}

/// Why a flush did not happen.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum FlushError {
    /// The topic is no table here.
    #[error("topic {0} is not exported as a table here")]
    NotATable(TopicName),
    /// The export of the table ended.
    #[error("the export ended: {0}")]
    Stopped(String),
}
