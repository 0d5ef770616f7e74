//! Topics as tables: committed records → Arrow → Parquet, and the commits that make every record appear exactly once.
//!
//! It decides which columns a table has (`infer`), which column holds what (`columns`), what a commit is and how it is settled (`commit`),
//! and when a file is written (`exporter`). It reads committed records only through the port [`CommittedLog`] and never writes to the log.

pub mod columns;
pub mod commit;
pub mod exporter;
pub mod infer;
pub mod limits;
pub mod retention;
pub mod settings;
pub mod source;
pub mod writer;

pub use exporter::{Exported, Exporter, ExporterConfig, TableStatus, TableView};
pub use retention::RetentionHold;
pub use settings::{KeyFormat, TableSettings};
pub use source::{BoxFuture, CommittedBatches, CommittedLog, CommittedRange, SourceError, TableTopic, TopicLookup};
