//! What the doors say to the broker and hear from it. No wire format appears here.

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tidelog_log::FileSlice;
use tidelog_model::{
    KafkaError, LeaderEpoch, NodeId, Offset, PartitionIndex, ProducerEpoch, ProducerId, Sequence, Timestamp, TopicId,
    TopicName,
};
use tidelog_record::AbortedTransaction;

use crate::replica::Counted;
use crate::{BrokerError, ColdPart};

/// A topic as a caller names it.
#[derive(Clone, PartialEq, Eq, Debug, Hash, PartialOrd, Ord)]
pub enum TopicRef {
    /// By name; may be invalid or unknown. Shared: a request names a topic once for very many partitions.
    Name(Arc<str>),
    /// By id (KIP-516).
    Id(TopicId),
}

impl fmt::Display for TopicRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TopicRef::Name(name) => f.write_str(name),
            TopicRef::Id(id) => id.fmt(f),
        }
    }
}

impl From<&str> for TopicRef {
    fn from(name: &str) -> Self {
        TopicRef::Name(Arc::from(name))
    }
}

/// How many replicas must have a record before the producer hears of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Acks {
    /// `acks=0`: nobody waits.
    None,
    /// `acks=1`: the leader's log has it (written, not necessarily flushed).
    Leader,
    /// `acks=all`: it is below the high watermark, hence durable.
    All,
}

/// One record batch for one partition.
#[derive(Clone, Debug)]
pub struct AppendRequest {
    /// The topic.
    pub topic: TopicRef,
    /// The partition.
    pub partition: PartitionIndex,
    /// Exactly one batch of format v2, as the producer built it; offset and epoch are the broker's to write.
    pub batch: Bytes,
    /// When to answer.
    pub acks: Acks,
    /// How long `acks=all` may wait.
    pub timeout: Duration,
    /// Dropped once the batch's bytes are in the log or refused: a door's reservation of memory.
    pub keep: Option<Arc<dyn Any + Send + Sync>>,
}

/// A batch that was appended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Appended {
    /// Offset of its first record; the original's if it was a duplicate.
    pub base_offset: Offset,
    /// The broker's timestamp if the topic asks for it, otherwise −1.
    pub log_append_time: Timestamp,
    /// The partition's first readable offset.
    pub log_start_offset: Offset,
}

/// How far a reader may see.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Isolation {
    /// Up to the high watermark.
    #[default]
    ReadUncommitted,
    /// Up to the last stable offset; the answer lists aborted transactions (KIP-98).
    ReadCommitted,
}

/// What to read of one partition.
#[derive(Clone, Debug)]
pub struct FetchPartition {
    /// The topic.
    pub topic: TopicRef,
    /// The partition.
    pub partition: PartitionIndex,
    /// The first offset wanted.
    pub offset: Offset,
    /// The leader epoch the reader believes in; −1 if it does not say.
    pub leader_epoch: LeaderEpoch,
    /// The epoch of the last record that it has; −1 if it does not say.
    pub last_fetched_epoch: LeaderEpoch,
    /// Most bytes of this partition; the first batch comes whole whatever its size.
    pub max_bytes: usize,
}

/// A long poll over several partitions.
#[derive(Clone, Debug)]
pub struct FetchRequest {
    /// The partitions, in the order in which they may use up `max_bytes`.
    pub partitions: Vec<FetchPartition>,
    /// How long to wait for `min_bytes`.
    pub max_wait: Duration,
    /// Answer as soon as this many bytes are there.
    pub min_bytes: usize,
    /// Most bytes of the whole answer.
    pub max_bytes: usize,
    /// How far the reader may see.
    pub isolation: Isolation,
}

/// A piece of an answer: bytes in memory, or a part of a file that need not be read into memory.
#[derive(Clone)]
pub enum Piece {
    /// In memory.
    Bytes(Bytes),
    /// In a segment file.
    File(FilePart),
    /// In the cold tier, and in memory as long as there is room.
    Cold(ColdPart),
}

/// A part of a segment file that can go to a socket without passing through this process.
#[derive(Clone)]
pub struct FilePart {
    /// The part; it holds the file open.
    pub slice: FileSlice,
    /// Near the log end, so very likely in memory: sending it will not wait for the disk.
    pub recent: bool,
}

impl Piece {
    /// Its size in bytes.
    pub fn len(&self) -> usize {
        match self {
            Piece::Bytes(bytes) => bytes.len(),
            Piece::File(part) => part.slice.len,
            Piece::Cold(part) => part.len(),
        }
    }

    /// True if it holds nothing.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// One partition of a fetch's answer, in the request's order.
#[derive(Clone)]
pub struct FetchedPartition {
    /// The error that stands in place of records.
    pub error: Option<BrokerError>,
    /// The offset below which everything is durable on the in-sync replicas; −1 if unknown.
    pub high_watermark: Offset,
    /// The offset below which every transaction is decided; −1 if unknown.
    pub last_stable_offset: Offset,
    /// First readable offset; −1 if unknown.
    pub log_start_offset: Offset,
    /// For read_committed: aborted transactions that touch the records.
    pub aborted: Vec<AbortedTransaction>,
    /// There are no records, since what the reader has is not of this log from here on (KIP-595).
    pub diverging: Option<EpochEnd>,
    /// Whole record batches; the first may begin below the offset asked for.
    pub records: Vec<Piece>,
    /// Whose records they are; `None` if there are none.
    pub(crate) traffic: Option<Arc<Counted>>,
}

impl FetchedPartition {
    /// Bytes of records.
    pub fn size(&self) -> usize {
        self.records.iter().map(Piece::len).sum()
    }

    /// Counts the records for their topic: whoever asked gets them.
    pub fn sent(&self) {
        if let Some(traffic) = &self.traffic {
            traffic.went_out(self.size() as u64);
        }
    }
}

/// Which offset is asked for (ListOffsets' timestamps).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OffsetSpec {
    /// −2: the first readable one, local or remote.
    Earliest,
    /// −1: the end of what the reader may see.
    Latest,
    /// −3: the record with the largest timestamp.
    MaxTimestamp,
    /// −4: the first one on the local disk (KIP-405).
    EarliestLocal,
    /// −5: the last one in the remote part (KIP-1005); −1 if there is none.
    LatestTiered,
    /// −6: the first one that waits for upload (KIP-1023).
    EarliestPendingUpload,
    /// The first record at or after a time.
    At(Timestamp),
}

/// An offset that was asked for; −1 where no record matches.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ListedOffset {
    /// The offset.
    pub offset: Offset,
    /// The record's timestamp where the question was about time, otherwise −1.
    pub timestamp: Timestamp,
    /// The leader epoch of the record.
    pub leader_epoch: LeaderEpoch,
}

/// A topic to create.
#[derive(Clone, Debug, Default)]
pub struct NewTopic {
    /// Its name.
    pub name: String,
    /// Number of partitions; `None` for the broker's default.
    pub partitions: Option<i32>,
    /// Replicas of each partition; `None` for the broker's default.
    pub replication_factor: Option<i16>,
    /// Partitions and their replicas by hand; excludes the two above. Empty: the broker chooses.
    pub assignments: Vec<(PartitionIndex, Vec<NodeId>)>,
    /// Settings that differ from the broker's defaults.
    pub config: Vec<(String, Option<String>)>,
}

/// A topic as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicDescription {
    /// Its name.
    pub name: TopicName,
    /// Its id.
    pub id: TopicId,
    /// Written only by the service itself?
    pub internal: bool,
    /// Its partitions, by index.
    pub partitions: Vec<PartitionDescription>,
}

/// A partition as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionDescription {
    /// Its number.
    pub index: PartitionIndex,
    /// The leader; `None` while there is none or it is recovering.
    pub leader: Option<NodeId>,
    /// The leader's epoch.
    pub leader_epoch: LeaderEpoch,
    /// All replicas.
    pub replicas: Vec<NodeId>,
    /// The replicas in sync.
    pub isr: Vec<NodeId>,
    /// Replicas whose broker or directory is offline.
    pub offline: Vec<NodeId>,
}

/// Where a partition stands, for people and monitoring.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionStatus {
    /// Its number.
    pub index: PartitionIndex,
    /// First readable offset; `None` while the remote part is unknown.
    pub log_start: Option<Offset>,
    /// First offset on the local disk.
    pub local_start: Offset,
    /// Below it everything is durable.
    pub high_watermark: Offset,
    /// Below it every transaction is decided.
    pub last_stable: Offset,
    /// After the last record.
    pub log_end: Offset,
    /// Bytes on the local disk.
    pub local_bytes: u64,
    /// Segments on the local disk.
    pub local_segments: usize,
    /// What came in and went out since the partition is open.
    pub traffic: Traffic,
}

/// What came into partitions and went out of them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Traffic {
    /// Bytes of record batches that were written; not those that a producer sent again.
    pub bytes_in: u64,
    /// Their records.
    pub messages_in: u64,
    /// Bytes of record batches that clients were sent.
    pub bytes_out: u64,
    /// Batches of clients that were refused or could not be written.
    pub failed_produces: u64,
    /// Times that a reader got an error of this partition.
    pub failed_fetches: u64,
}

impl std::ops::AddAssign for Traffic {
    fn add_assign(&mut self, other: Self) {
        self.bytes_in += other.bytes_in;
        self.messages_in += other.messages_in;
        self.bytes_out += other.bytes_out;
        self.failed_produces += other.failed_produces;
        self.failed_fetches += other.failed_fetches;
    }
}

/// The cluster as clients see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterDescription {
    /// The cluster's id.
    pub cluster_id: String,
    /// The broker that carries out admin requests.
    pub controller: NodeId,
    /// Every live broker.
    pub brokers: Vec<NodeId>,
}

/// A producer's identity (KIP-98).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ProducerIdentity {
    /// The producer id.
    pub id: ProducerId,
    /// Its epoch.
    pub epoch: ProducerEpoch,
}

/// Whole record batches of one partition, in memory: what the gateway and the tables read.
#[derive(Clone, Debug)]
pub struct ReadBatches {
    /// Consecutive batches; empty if nothing is there yet.
    pub batches: Bytes,
    /// For read_committed: aborted transactions that touch them.
    pub aborted: Vec<AbortedTransaction>,
    /// Below it everything is durable.
    pub high_watermark: Offset,
    /// The end of what this reader may see.
    pub visible_end: Offset,
    /// First readable offset.
    pub log_start: Offset,
    /// The batch with the offset that was asked for is damaged; then `batches` is empty, and `aborted` says nothing.
    pub damaged: Option<DamagedBatch>,
}

/// What is not as it was written: nothing that it says of itself is believed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DamagedBatch {
    /// Its first offset.
    pub base: Offset,
    /// The same, or the one that was asked for if that lies inside.
    pub start: Offset,
    /// Where to read on: the next sound batch's first offset, or the end of what may be read. Above `start`.
    pub end: Offset,
    /// What is wrong, where, and what can be done, for whoever wanted to read it.
    pub reason: String,
}

/// Up to where records are deleted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DeleteBefore {
    /// Everything that is committed.
    HighWatermark,
    /// Everything below this offset.
    Offset(Offset),
}

/// Records of one partition to delete.
#[derive(Clone, Debug)]
pub struct Deletion {
    /// The topic.
    pub topic: TopicRef,
    /// The partition.
    pub partition: PartitionIndex,
    /// Up to where.
    pub before: DeleteBefore,
}

/// Where a leader epoch ended; −1 in both where nothing is known of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EpochEnd {
    /// The largest epoch of the log that is not above the one asked for.
    pub epoch: LeaderEpoch,
    /// The offset after its last record.
    pub end: Offset,
}

/// A producer as a partition remembers it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ActiveProducer {
    /// Its id.
    pub id: ProducerId,
    /// Its newest epoch.
    pub epoch: ProducerEpoch,
    /// Sequence of its last record; −1 if it has none in this epoch.
    pub last_sequence: Sequence,
    /// Timestamp of its last batch or marker.
    pub last_timestamp: Timestamp,
    /// Epoch of the coordinator that wrote its last marker; −1 if there was none.
    pub coordinator_epoch: i32,
    /// First offset of its open transaction.
    pub transaction_start: Option<Offset>,
}

/// A log directory and what lies in it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LogDirDescription {
    /// Why nothing can be written to it.
    pub error: Option<KafkaError>,
    /// Its absolute path.
    pub path: String,
    /// Partitions by topic, ascending.
    pub topics: BTreeMap<String, Vec<ReplicaSize>>,
    /// Bytes of the volume that it lies on; `None` if nobody can tell.
    pub total_bytes: Option<u64>,
    /// Bytes of the volume that may still be written.
    pub usable_bytes: Option<u64>,
}

/// One replica in a log directory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ReplicaSize {
    /// The partition's number.
    pub index: PartitionIndex,
    /// Bytes of its local segments.
    pub bytes: u64,
    /// How far its log end lies behind the high watermark.
    pub lag: i64,
}

/// One page of topics, in the order of their names.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TopicPage {
    /// The topics; of the first and the last one possibly not all partitions.
    pub topics: Vec<Result<TopicDescription, (String, KafkaError)>>,
    /// Where the next page begins.
    pub next: Option<TopicCursor>,
}

/// The first partition of a page.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TopicCursor {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: PartitionIndex,
}
