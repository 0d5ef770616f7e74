//! What can be wrong with a batch, and the Kafka error each wrong answers with.

use std::fmt;

use tidelog_model::{KafkaError, Timestamp};

use crate::Codec;

/// A record that the topic refuses; a batch has as many as records that are at fault (KIP-467).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RecordFault {
    /// Its number in the batch, from 0.
    pub index: i32,
    /// What the topic does not accept.
    pub reason: RecordRefusal,
}

/// Why a topic refuses a well-formed record.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RecordRefusal {
    /// Every record of a compacted topic needs a key.
    #[error("it has no key, which a compacted topic requires")]
    NoKey,
    /// A timestamp outside what the topic accepts.
    #[error("its timestamp {timestamp} is outside the accepted range [{earliest}, {latest}]")]
    Timestamp {
        /// The timestamp found.
        timestamp: Timestamp,
        /// Earliest accepted.
        earliest: Timestamp,
        /// Latest accepted.
        latest: Timestamp,
    },
}

impl fmt::Display for RecordFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "record {} is refused: {}", self.index, self.reason)
    }
}

/// Why bytes are not an acceptable record batch.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BatchError {
    /// Fewer bytes than a header has.
    #[error("a batch header needs {need} bytes, there are {have}")]
    TooShort {
        /// Bytes there are.
        have: usize,
        /// Bytes needed.
        need: usize,
    },
    /// The length field is smaller than the rest of the header, or absurd.
    #[error("the batch announces a length of {0} bytes, which no batch has")]
    Length(i32),
    /// The batch announces more bytes than there are.
    #[error("the batch announces {announced} bytes, there are {have}")]
    Truncated {
        /// Bytes the batch should have, with its first 12.
        announced: usize,
        /// Bytes there are.
        have: usize,
    },
    /// Another format: 0 and 1 are Kafka's formats before 0.11.
    #[error("batches of format (magic) {0} are not supported, only 2")]
    Magic(i8),
    /// The checksum does not fit the bytes.
    #[error("the batch's CRC32C is {stored:#010x}, its bytes give {computed:#010x}")]
    Crc {
        /// In the header.
        stored: u32,
        /// Over the bytes.
        computed: u32,
    },
    /// The three codec bits name no codec.
    #[error("compression type {0} is not supported")]
    Codec(u8),
    /// Larger than the topic allows.
    #[error("the batch has {size} bytes, at most {limit} are allowed")]
    TooLarge {
        /// Bytes of the batch.
        size: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// A produce request holds exactly one whole batch per partition.
    #[error("expected exactly one batch, found {0}")]
    NotOneBatch(&'static str),
    /// Record count and last offset delta contradict each other, the bytes, or sense.
    #[error("the batch announces {count} records with a last offset delta of {last_offset_delta}: {reason}")]
    Count {
        /// Announced records.
        count: i32,
        /// Announced last offset delta.
        last_offset_delta: i32,
        /// What does not fit.
        reason: &'static str,
    },
    /// Producer id, epoch, sequence or flags that no producer may send.
    #[error("the batch is not one that a producer may write: {0}")]
    Producer(&'static str),
    /// A producer id without an epoch.
    #[error("the batch has a producer id, but no epoch")]
    ProducerEpoch,
    /// A timestamp in the header, outside what the topic accepts: all that is known of a batch that is not opened.
    #[error("timestamp {timestamp} is outside the accepted range [{earliest}, {latest}]")]
    Timestamp {
        /// The timestamp found.
        timestamp: Timestamp,
        /// Earliest accepted.
        earliest: Timestamp,
        /// Latest accepted.
        latest: Timestamp,
    },
    /// A batch that says it has the broker's time, for a topic that has it.
    #[error("the batch says that its time is the broker's (LogAppendTime), which only the broker may say")]
    TimestampType,
    /// The compressed bytes are not what the codec writes.
    #[error("the {codec} data of the batch cannot be inflated: {reason}")]
    Inflate {
        /// The batch's codec.
        codec: Codec,
        /// The decoder's words.
        reason: String,
    },
    /// The batch inflates to more than allowed.
    #[error("the batch inflates to more than {limit} bytes")]
    InflatesTooLarge {
        /// Bytes allowed.
        limit: usize,
    },
    /// A record is malformed.
    #[error("record {index} of the batch is malformed: {reason}")]
    Record {
        /// Its number in the batch, from 0.
        index: i32,
        /// What is wrong.
        reason: &'static str,
    },
    /// Records that the topic does not accept, in order; never empty.
    #[error("{}", .0.iter().take(NAMED_FAULTS).map(RecordFault::to_string).collect::<Vec<_>>().join("; "))]
    Records(Vec<RecordFault>),
    /// A control batch whose record is not a control record.
    #[error("the control batch cannot be read: {0}")]
    Control(&'static str),
    /// The records do not fit into one batch.
    #[error("the batch cannot be built: {0}")]
    Build(&'static str),
}

/// Records at fault that the sentence on a batch names.
const NAMED_FAULTS: usize = 3;

impl BatchError {
    /// The error a Kafka client gets for it. CORRUPT_MESSAGE lets it try again, so it is kept for what may have happened on the way.
    pub fn kafka(&self) -> KafkaError {
        match self {
            BatchError::TooShort { .. } | BatchError::Length(_) | BatchError::Crc { .. } => KafkaError::CorruptMessage,
            // A format that there never was can only be damage; the old ones are a mistake of the client.
            BatchError::Magic(magic) if !(0..=2).contains(magic) => KafkaError::CorruptMessage,
            BatchError::Codec(_) => KafkaError::UnsupportedCompressionType,
            BatchError::TooLarge { .. } | BatchError::InflatesTooLarge { .. } => KafkaError::MessageTooLarge,
            BatchError::Timestamp { .. } | BatchError::TimestampType => KafkaError::InvalidTimestamp,
            BatchError::ProducerEpoch => KafkaError::InvalidProducerEpoch,
            BatchError::Records(faults) if faults.iter().any(RecordFault::is_of_time) => KafkaError::InvalidTimestamp,
            BatchError::Magic(_)
            | BatchError::Truncated { .. }
            | BatchError::Inflate { .. }
            | BatchError::NotOneBatch(_)
            | BatchError::Count { .. }
            | BatchError::Producer(_)
            | BatchError::Record { .. }
            | BatchError::Records(_)
            | BatchError::Control(_)
            | BatchError::Build(_) => KafkaError::InvalidRecord,
        }
    }
}

impl RecordFault {
    fn is_of_time(&self) -> bool {
        matches!(self.reason, RecordRefusal::Timestamp { .. })
    }
}
