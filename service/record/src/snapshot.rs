//! Kafka's producer snapshot file (`<offset>.snapshot`, version 1): the producers of a partition with the last batch of each.
//!
//! ```text
//! 0 version i16 = 1   2 CRC32C u32 over the rest   6 count i32   10 entries of 46 bytes:
//! 0 producer id i64   8 epoch i16   10 last sequence i32   14 last offset i64   22 offset delta i32   26 timestamp i64
//! 34 coordinator epoch i32   38 first offset of the open transaction i64 (−1: none)
//! ```

use tidelog_model::{Now, Offset, ProducerEpoch, ProducerId, Sequence, Timestamp};

use crate::wire::{i16_at, i32_at, i64_at, put, u32_at};
use crate::{ProducerBatch, ProducerEntry, ProducerStates};

const VERSION: i16 = 1;
const CRC_AT: usize = 2;
const COUNT_AT: usize = 6;
const ENTRIES_AT: usize = 10;
const ENTRY: usize = 46;

/// Why bytes are not a producer snapshot. Whoever loads it falls back to an older one, or to the log.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SnapshotError {
    /// Shorter or longer than it announces.
    #[error("the producer snapshot has {0} bytes, which do not fit its entries")]
    Size(usize),
    /// An unknown version.
    #[error("producer snapshots of version {0} are not supported, only 1")]
    Version(i16),
    /// Damaged.
    #[error("the producer snapshot's CRC32C is {stored:#010x}, its bytes give {computed:#010x}")]
    Crc {
        /// In the file.
        stored: u32,
        /// Over the bytes.
        computed: u32,
    },
}

impl ProducerStates {
    /// The snapshot's bytes, producers by id.
    pub fn encode_snapshot(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(ENTRIES_AT + self.len() * ENTRY);
        bytes.extend_from_slice(&VERSION.to_be_bytes());
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(&(self.len() as i32).to_be_bytes());
        for entry in self.iter() {
            let last = entry.last_batch();
            bytes.extend_from_slice(&entry.producer_id.0.to_be_bytes());
            bytes.extend_from_slice(&entry.epoch.0.to_be_bytes());
            bytes.extend_from_slice(&entry.last_sequence().0.to_be_bytes());
            bytes.extend_from_slice(&last.map_or(Offset::NONE, |batch| batch.last_offset).0.to_be_bytes());
            bytes.extend_from_slice(&last.map_or(0, |batch| batch.offset_delta).to_be_bytes());
            bytes.extend_from_slice(&entry.last_timestamp.0.to_be_bytes());
            bytes.extend_from_slice(&entry.coordinator_epoch.to_be_bytes());
            bytes.extend_from_slice(&entry.open_transaction.unwrap_or(Offset::NONE).0.to_be_bytes());
        }
        let crc = crc32c::crc32c(bytes.get(COUNT_AT..).unwrap_or_default());
        put(&mut bytes, CRC_AT, &crc.to_be_bytes());
        bytes
    }

    /// Reads a snapshot into states bounded by `max_bytes`; the first entries go if there are more. Expiration counts from `now`.
    pub fn decode_snapshot(bytes: &[u8], now: Now, max_bytes: usize) -> Result<Self, SnapshotError> {
        let wrong_size = SnapshotError::Size(bytes.len());
        let version = i16_at(bytes, 0).ok_or(wrong_size.clone())?;
        if version != VERSION {
            return Err(SnapshotError::Version(version));
        }
        let stored = u32_at(bytes, CRC_AT).ok_or(wrong_size.clone())?;
        let computed = crc32c::crc32c(bytes.get(COUNT_AT..).unwrap_or_default());
        if stored != computed {
            return Err(SnapshotError::Crc { stored, computed });
        }
        let count = i32_at(bytes, COUNT_AT).and_then(|count| usize::try_from(count).ok());
        let entries = bytes.get(ENTRIES_AT..).unwrap_or_default();
        if count.and_then(|count| count.checked_mul(ENTRY)) != Some(entries.len()) {
            return Err(wrong_size);
        }
        let mut states = ProducerStates::with_max_bytes(max_bytes);
        for entry in entries.chunks_exact(ENTRY) {
            states.insert(decode_entry(entry, now).ok_or(wrong_size.clone())?);
        }
        Ok(states)
    }
}

fn decode_entry(bytes: &[u8], now: Now) -> Option<ProducerEntry> {
    let last_timestamp = Timestamp(i64_at(bytes, 26)?);
    let batch = ProducerBatch {
        last_sequence: Sequence(i32_at(bytes, 10)?),
        last_offset: Offset(i64_at(bytes, 14)?),
        offset_delta: i32_at(bytes, 22)?,
        timestamp: last_timestamp,
    };
    let mut entry = ProducerEntry::empty(ProducerId(i64_at(bytes, 0)?));
    entry.epoch = ProducerEpoch(i16_at(bytes, 8)?);
    entry.last_timestamp = last_timestamp;
    entry.coordinator_epoch = i32_at(bytes, 34)?;
    entry.open_transaction = Some(Offset(i64_at(bytes, 38)?)).filter(|first| first.0 >= 0);
    Some(entry.loaded((batch.last_offset.0 >= 0).then_some(batch), now))
}
