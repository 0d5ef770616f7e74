//! Aborted transactions of a segment and Kafka's `.txnindex` file: what a read_committed consumer must skip.

use tidelog_model::{Offset, ProducerId};

use crate::wire::{i16_at, i64_at, put};

/// One aborted transaction in one partition.
///
/// ```text
/// 0 version i16 = 0   2 producer id i64   10 first offset i64   18 last offset i64   26 last stable offset i64
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct AbortedTransaction {
    /// Whose transaction it was.
    pub producer_id: ProducerId,
    /// Offset of its first record.
    pub first_offset: Offset,
    /// Offset of its abort marker.
    pub last_offset: Offset,
    /// The last stable offset after the marker.
    pub last_stable_offset: Offset,
}

/// Bytes that are not a transaction index.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("not a transaction index: entry {entry} {reason}")]
pub struct InvalidTransactionIndex {
    /// Its number, from 0.
    pub entry: usize,
    /// What is wrong.
    pub reason: &'static str,
}

impl AbortedTransaction {
    /// Bytes of an entry.
    pub const LEN: usize = 34;
    const VERSION: i16 = 0;

    /// The entry's bytes.
    pub fn encode(&self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        put(&mut bytes, 0, &Self::VERSION.to_be_bytes());
        put(&mut bytes, 2, &self.producer_id.0.to_be_bytes());
        put(&mut bytes, 10, &self.first_offset.0.to_be_bytes());
        put(&mut bytes, 18, &self.last_offset.0.to_be_bytes());
        put(&mut bytes, 26, &self.last_stable_offset.0.to_be_bytes());
        bytes
    }

    fn decode(bytes: &[u8]) -> Result<Self, &'static str> {
        let cut = "is cut off";
        if i16_at(bytes, 0).ok_or(cut)? != Self::VERSION {
            return Err("has an unknown version");
        }
        let field = |at| i64_at(bytes, at).ok_or(cut);
        let entry = AbortedTransaction {
            producer_id: ProducerId(field(2)?),
            first_offset: Offset(field(10)?),
            last_offset: Offset(field(18)?),
            last_stable_offset: Offset(field(26)?),
        };
        if entry.first_offset.0 < 0 || entry.first_offset > entry.last_offset {
            return Err("has offsets that contradict each other");
        }
        Ok(entry)
    }
}

/// The aborted transactions of one segment, in the order of their markers.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct AbortedTransactions {
    entries: Vec<AbortedTransaction>,
}

impl AbortedTransactions {
    /// None yet.
    pub const fn new() -> Self {
        AbortedTransactions { entries: Vec::new() }
    }

    /// The entries, in the order of their markers.
    pub fn entries(&self) -> &[AbortedTransaction] {
        &self.entries
    }

    /// None?
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Adds a transaction whose marker lies behind all others; false (and nothing changes) if it does not.
    pub fn push(&mut self, entry: AbortedTransaction) -> bool {
        let ascends = self.entries.last().is_none_or(|last| last.last_offset < entry.last_offset);
        if ascends {
            self.entries.push(entry);
        }
        ascends
    }

    /// The transactions that touch `[from, to)`, appended to `found`. True: no later segment can add one.
    pub fn collect(&self, from: Offset, to: Offset, found: &mut Vec<AbortedTransaction>) -> bool {
        let start = self.entries.partition_point(|entry| entry.last_offset < from);
        for entry in self.entries.get(start..).unwrap_or_default() {
            if entry.first_offset < to {
                found.push(*entry);
            }
            if entry.last_stable_offset >= to {
                return true;
            }
        }
        false
    }

    /// The log was cut to end at `end`: markers at or above it go.
    pub fn truncate_from_end(&mut self, end: Offset) {
        let kept = self.entries.partition_point(|entry| entry.last_offset < end);
        self.entries.truncate(kept);
    }

    /// The file's bytes.
    pub fn encode(&self) -> Vec<u8> {
        self.entries.iter().flat_map(AbortedTransaction::encode).collect()
    }

    /// Reads the file's bytes; a cut or damaged entry is an error, after which the index is rebuilt from the log.
    pub fn decode(bytes: &[u8]) -> Result<Self, InvalidTransactionIndex> {
        let mut index = AbortedTransactions::new();
        for (entry, bytes) in bytes.chunks(AbortedTransaction::LEN).enumerate() {
            let wrong = |reason| InvalidTransactionIndex { entry, reason };
            if !index.push(AbortedTransaction::decode(bytes).map_err(wrong)?) {
                return Err(wrong("is out of order"));
            }
        }
        Ok(index)
    }
}
