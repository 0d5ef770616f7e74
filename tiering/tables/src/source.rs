//! The port through which committed records are read. The binary implements it on the broker; nothing here knows how.
//!
//! Committed means: below the last stable offset and the high watermark, so that nothing read here is ever taken back.

use std::future::Future;
use std::pin::Pin;

use bytes::Bytes;
use tidelog_model::{LeaderEpoch, Offset, PartitionIndex, TopicId, TopicIdPartition, TopicName};
use tidelog_record::AbortedTransaction;

use crate::settings::TableSettings;

/// A boxed future, so that the port can stand behind `dyn`.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A topic that is exported as a table.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TableTopic {
    /// Its name.
    pub name: TopicName,
    /// Its id.
    pub id: TopicId,
    /// Its number of partitions.
    pub partitions: i32,
    /// Leader epoch of partition 0 on this broker: fences the table's older committers.
    pub epoch: LeaderEpoch,
    /// Its table settings.
    pub settings: TableSettings,
}

impl TableTopic {
    /// One of its partitions.
    pub fn partition(&self, index: PartitionIndex) -> TopicIdPartition {
        TopicIdPartition { id: self.id, topic: self.name.clone(), partition: index }
    }

    /// All of its partitions, ascending.
    pub fn indexes(&self) -> impl Iterator<Item = PartitionIndex> + use<> {
        (0..self.partitions.max(0)).map(PartitionIndex)
    }
}

/// What is known of a name that a query asks for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TopicLookup {
    /// No topic has this name.
    Unknown,
    /// A topic, but not a table.
    NotATable,
    /// A table.
    Table(Box<TableTopic>),
}

/// What can be read of one partition.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CommittedRange {
    /// First offset that can be read.
    pub log_start: Offset,
    /// First offset that is not committed.
    pub end: Offset,
}

/// Consecutive batches of one partition.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CommittedBatches {
    /// Whole batches of format v2; the first one contains the offset asked for, or is the first after it.
    pub batches: Bytes,
    /// Aborted transactions that touch these batches.
    pub aborted: Vec<AbortedTransaction>,
    /// The offset after the last batch: where to read on. Above the offset asked for.
    pub next: Offset,
}

/// Why committed records could not be read.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SourceError {
    /// Not now: the partition recovers, moves, or lies in a store that is away.
    #[error("the log cannot be read right now: {0}")]
    Unavailable(String),
    /// The offset was deleted.
    #[error("the log starts at {log_start}")]
    OutOfRange {
        /// First offset that can be read.
        log_start: Offset,
    },
    /// The batch with the offset is not as it was written: its records are lost.
    #[error("{reason}")]
    Damaged {
        /// The offset behind it: where to read on. Above the offset asked for.
        end: Offset,
        /// Where it is, what is wrong and what can be done, as sentences.
        reason: String,
    },
    /// The topic does not exist any more, or is led elsewhere.
    #[error("the partition is not here any more")]
    Gone,
}

/// Committed records of the topics that this broker leads.
///
/// Events come the other way: whoever implements this calls `Exporter::wake` when a partition's committed end or log start moves, and
/// `Exporter::refresh` when a topic is created, deleted, reconfigured or led from now on.
pub trait CommittedLog: Send + Sync + 'static {
    /// Every topic with `tidelog.table.enable=true` whose partition 0 this broker leads.
    fn tables(&self) -> Vec<TableTopic>;

    /// Looks a topic up by its name, for queries.
    fn lookup(&self, name: &str) -> TopicLookup;

    /// Names of all topics, for hints in messages.
    fn topic_names(&self) -> Vec<TopicName>;

    /// What can be read now, from memory.
    fn range(&self, partition: &TopicIdPartition) -> Result<CommittedRange, SourceError>;

    /// Batches from the one that contains `from` on, each with a checksum that was found right, none of it above the committed end: at most `max_bytes`, but always at least one
    /// batch. `from` is below the committed end.
    fn read(
        &self,
        partition: &TopicIdPartition,
        from: Offset,
        max_bytes: usize,
    ) -> BoxFuture<'static, Result<CommittedBatches, SourceError>>;
}
