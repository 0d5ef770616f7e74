//! The port to "the older part of this log": what a broker asks of the cold tier, and what the tier asks of the leader.
//!
//! Nothing here knows where the older part lives. The broker calls [`RemoteLog`]; whoever implements it reads closed segments
//! through [`LocalLog`]. Only the binary puts the two together.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use tidelog_model::{LeaderEpoch, Offset, Timestamp, TopicIdPartition};
use tidelog_record::{AbortedTransaction, LeaderEpochs};

use crate::{FileSlice, ReadError, SegmentInfo};

/// A boxed future, so that the port can stand behind `dyn`.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What is known of the remote part of one partition.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RemoteExtent {
    /// The manifest has not been read yet: nobody may guess where the log starts.
    Unknown,
    /// Everything in `[start, end)` is safely remote; the range is empty when nothing was uploaded.
    Known {
        /// First remote offset.
        start: Offset,
        /// First offset that is not remote.
        end: Offset,
    },
}

/// Why the remote part could not answer.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RemoteError {
    /// The manifest is not known yet, or the store does not answer: try again, never reset.
    #[error("the remote log is not available right now: {0}")]
    Unavailable(String),
    /// The offset is not in the remote range.
    #[error("offset {offset} is outside the remote range [{start}, {end})")]
    OutOfRange {
        /// The offset asked for.
        offset: Offset,
        /// First remote offset.
        start: Offset,
        /// First offset that is not remote.
        end: Offset,
    },
    /// What came back is not what was uploaded.
    #[error("a remote segment is damaged: {0}")]
    Corrupt(String),
}

/// Whole record batches read from the remote part.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RemoteBatches {
    /// Consecutive batches, the first of which contains the offset asked for, or is the next one if compaction has taken that. At least
    /// one, unless compaction has left none up to the end of what is remote.
    pub batches: Bytes,
    /// Aborted transactions that touch the range returned (for read_committed).
    pub aborted: Vec<AbortedTransaction>,
    /// The offset after the last record returned; without any the end of what is remote, from where the log goes on locally.
    pub next: Offset,
}

/// A record found by its timestamp.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TimestampedOffset {
    /// Its offset.
    pub offset: Offset,
    /// Its timestamp.
    pub timestamp: Timestamp,
    /// The leader epoch of its batch.
    pub epoch: LeaderEpoch,
}

/// The older part of every tiered partition, as the broker sees it. Calls return at once; futures carry the waiting.
pub trait RemoteLog: Send + Sync {
    /// This broker leads the partition from `epoch` on: load the manifest, then upload what `source` has closed.
    fn lead(&self, partition: &TopicIdPartition, epoch: LeaderEpoch, source: Arc<dyn LocalLog>);

    /// This broker leads the partition no longer: stop uploading.
    fn resign(&self, partition: &TopicIdPartition);

    /// Was something of this partition remote when this broker last knew? From this machine, without asking the store: what is forgotten
    /// is not there.
    fn remembers(&self, partition: &TopicIdPartition) -> bool;

    /// What is remote now, from memory.
    fn extent(&self, partition: &TopicIdPartition) -> RemoteExtent;

    /// The remote segments in order, from memory; `None` while the manifest is unknown. For retention.
    fn segments(&self, partition: &TopicIdPartition) -> Option<Vec<SegmentInfo>>;

    /// A segment was closed, or the watermark, the log start or the configuration moved: there may be something to do.
    fn wake(&self, partition: &TopicIdPartition);

    /// Batches from the one that contains `offset` on: at most `max_bytes`, but at least one if there is one.
    fn read(
        &self,
        partition: &TopicIdPartition,
        offset: Offset,
        max_bytes: usize,
    ) -> BoxFuture<'static, Result<RemoteBatches, RemoteError>>;

    /// The first remote record whose timestamp is at least `at`; `None` if there is none in the remote part.
    fn find_timestamp(
        &self,
        partition: &TopicIdPartition,
        at: Timestamp,
    ) -> BoxFuture<'static, Result<Option<TimestampedOffset>, RemoteError>>;

    /// The topic was deleted: stop uploading, forget the partition, delete its objects (manifest first). Ready once nothing of it is
    /// left in the store; after an error the caller asks again, also after a restart.
    fn delete(&self, partition: &TopicIdPartition) -> BoxFuture<'static, Result<(), RemoteError>>;
}

/// A closed segment that may be uploaded: wholly below the high watermark and the last stable offset.
#[derive(Clone)]
pub struct ClosedSegment {
    /// Its first offset.
    pub base: Offset,
    /// The offset after its last record.
    pub end: Offset,
    /// Timestamp of its first batch that has one; none if compaction has left no batch.
    pub first_timestamp: Timestamp,
    /// Largest timestamp in it; where no record has one, when its last record was written (Kafka's `largestTimestamp`).
    pub max_timestamp: Timestamp,
    /// Its record batches, the whole `.log` file; the slice holds the file open.
    pub log: FileSlice,
    /// Leader epochs up to its end.
    pub epochs: LeaderEpochs,
    /// Producer states at its end, as a Kafka `.snapshot` file holds them.
    pub producer_snapshot: Bytes,
    /// The aborted transactions that have records or their marker in it; all are decided, since it lies below the last stable offset.
    pub aborted: Vec<AbortedTransaction>,
}

/// The leader's own log, as the tier sees it. Every call answers from memory or from the local disk (may block briefly).
pub trait LocalLog: Send + Sync {
    /// The first closed segment that ends after `from`, if one is ready. Its base may lie below `from`. May block on the disk. Who gets an
    /// error asks again: nobody calls for a segment that could not be read.
    fn closed_segment(&self, from: Offset) -> Result<Option<ClosedSegment>, ReadError>;

    /// First offset a consumer may read; records below it need no upload and may go from the store. Does not block.
    fn log_start(&self) -> Offset;

    /// First offset that is still on the local disk.
    fn local_start(&self) -> Offset;

    /// If readers may ask for what left the local disk because the store has it: where that ends. A store that has less is not the one that
    /// had it. Does not block.
    fn needs_remote(&self) -> Option<Offset>;

    /// Is the whole log, from offset 0 on, in the active segment? Then nothing of it was ever closed, so nothing of it is remote. Does
    /// not block.
    fn is_all_active(&self) -> bool;

    /// Leader epochs of the whole local log. Does not block.
    fn leader_epochs(&self) -> LeaderEpochs;

    /// A manifest that covers everything below `end` is committed: the local copy below it is no longer the only one. May
    /// block on the disk.
    fn remote_committed(&self, end: Offset);
}
