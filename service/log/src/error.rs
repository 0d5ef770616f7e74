//! What can go wrong in a local log, as facts; which Kafka error a caller gets is decided here once for all doors.

use std::io;
use std::path::{Path, PathBuf};

use tidelog_model::{KafkaError, Offset};

/// Damage where none may be: at or below the recovery checkpoint, or where a flushed batch lay.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error(
    "{directory}/{file} is damaged at byte {position} (offset {offset}), below the recovery checkpoint {recovery_point}: {reason}; \
     the partition stays offline until its files are restored. To give up what follows the damage, stop the broker, run \
     `tidelog log repair {directory}`, which says first what it would do, and start again: the log then ends there, and what is \
     cut off is kept in .log.cut files"
)]
pub struct Damage {
    /// The partition's directory.
    pub directory: String,
    /// The damaged file's name.
    pub file: String,
    /// First damaged byte of that file.
    pub position: u64,
    /// The offset expected there.
    pub offset: Offset,
    /// Up to here everything had been flushed.
    pub recovery_point: Offset,
    /// What is wrong.
    pub reason: String,
}

/// Why a log could not be opened, written or flushed.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The disk refused; nothing was changed, the next attempt may succeed.
    #[error("{action} {path}: {source}")]
    Io {
        /// What was tried, as "cannot write".
        action: &'static str,
        /// Where.
        path: PathBuf,
        /// What the disk said.
        source: io::Error,
    },
    /// The log went offline earlier: a flush failed, or a failed write could not be taken back.
    #[error("the log {directory} is offline: {reason}")]
    Offline {
        /// The partition's directory.
        directory: PathBuf,
        /// What happened.
        reason: String,
    },
    /// Damage below the recovery checkpoint.
    #[error(transparent)]
    Damaged(#[from] Box<Damage>),
    /// What was asked contradicts the log: offsets that do not follow its end, a group larger than a segment can be.
    #[error("the log refuses the append: {0}")]
    Refused(String),
    /// A file of a known name holds something else.
    #[error("{path}: {reason}")]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

impl LogError {
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> LogError {
        move |source| LogError::Io { action, path: path.to_owned(), source }
    }

    /// Was there no room? Then the same may succeed once there is.
    pub fn is_full(&self) -> bool {
        use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
        let full = |source: &io::Error| matches!(source.kind(), StorageFull | QuotaExceeded | FileTooLarge);
        matches!(self, LogError::Io { source, .. } if full(source))
    }

    /// The error a Kafka client gets for it.
    pub fn kafka(&self) -> KafkaError {
        match self {
            LogError::Io { .. } | LogError::Offline { .. } | LogError::Damaged(_) | LogError::Format { .. } => {
                KafkaError::KafkaStorageError
            }
            LogError::Refused(_) => KafkaError::UnknownServerError,
        }
    }
}

/// Why a read has no answer.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The offset lies outside `[log start, log end]`.
    #[error("offset {offset} is outside the log [{log_start}, {log_end}]")]
    OutOfRange {
        /// The offset asked for.
        offset: Offset,
        /// First offset that may be read.
        log_start: Offset,
        /// The offset after the last record.
        log_end: Offset,
    },
    /// The offset is in the log, but only its remote part holds it.
    #[error("offset {offset} is below the local log, which starts at {local_start}")]
    NotLocal {
        /// The offset asked for.
        offset: Offset,
        /// First offset on the local disk.
        local_start: Offset,
    },
    /// The disk refused.
    #[error("cannot read {path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the disk said.
        source: io::Error,
    },
    /// The bytes at this place are no batch.
    #[error("{path} is damaged at byte {position}: {reason}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// First damaged byte.
        position: u64,
        /// From the offset asked for up to this one nobody knows of anything to read.
        end: Offset,
        /// What is wrong.
        reason: String,
    },
    /// Nobody can tell from this transaction index what was aborted. The batches may be sound.
    #[error("the transaction index {path} is damaged: {reason}")]
    DamagedIndex {
        /// The file.
        path: PathBuf,
        /// The first offset of its segment.
        base: Offset,
        /// What is wrong.
        reason: String,
    },
}

impl ReadError {
    pub(crate) fn io(path: &Path) -> impl FnOnce(io::Error) -> ReadError {
        move |source| ReadError::Io { path: path.to_owned(), source }
    }

    /// The error a Kafka client gets for it.
    pub fn kafka(&self) -> KafkaError {
        match self {
            ReadError::OutOfRange { .. } => KafkaError::OffsetOutOfRange,
            ReadError::NotLocal { .. } => KafkaError::OffsetMovedToTieredStorage,
            // Consumers give up on CORRUPT_MESSAGE, and no batch is known to be damaged.
            ReadError::Io { .. } | ReadError::DamagedIndex { .. } => KafkaError::KafkaStorageError,
            ReadError::Damaged { .. } => KafkaError::CorruptMessage,
        }
    }
}
