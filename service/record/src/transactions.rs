//! Open and ended transactions of one partition: decides the last stable offset; never who may write (that is the producer states').

use std::collections::BTreeMap;

use tidelog_model::{Offset, ProducerId};

use crate::{AbortedTransaction, BatchHeader, EndTransactionMarker, MarkerKind};

/// A transaction without a marker yet.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct OpenTransaction {
    /// Whose it is.
    pub producer_id: ProducerId,
    /// Offset of its first record in this partition.
    pub first_offset: Offset,
}

/// A transaction that a marker ended.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct CompletedTransaction {
    /// Whose it was.
    pub producer_id: ProducerId,
    /// Offset of its first record.
    pub first_offset: Offset,
    /// Offset of its marker.
    pub last_offset: Offset,
    /// How it ended.
    pub kind: MarkerKind,
    /// The last stable offset after the marker, if everything up to it is replicated.
    pub last_stable_offset: Offset,
}

impl CompletedTransaction {
    /// Its entry in the transaction index; `None` if it was committed.
    pub const fn aborted(&self) -> Option<AbortedTransaction> {
        match self.kind {
            MarkerKind::Commit => None,
            MarkerKind::Abort => Some(AbortedTransaction {
                producer_id: self.producer_id,
                first_offset: self.first_offset,
                last_offset: self.last_offset,
                last_stable_offset: self.last_stable_offset,
            }),
        }
    }
}

/// Transactions of one partition: those that are open, and those whose marker is not below the high watermark yet.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Transactions {
    /// First offset → producer.
    open: BTreeMap<Offset, ProducerId>,
    /// Producer → first offset.
    by_producer: BTreeMap<ProducerId, Offset>,
    /// Marker's offset → first offset.
    unreplicated: BTreeMap<Offset, Offset>,
}

impl Transactions {
    /// None.
    pub const fn new() -> Self {
        Transactions { open: BTreeMap::new(), by_producer: BTreeMap::new(), unreplicated: BTreeMap::new() }
    }

    /// Loads an open transaction, as a producer snapshot has it.
    pub fn load(&mut self, open: OpenTransaction) {
        self.open.insert(open.first_offset, open.producer_id);
        self.by_producer.insert(open.producer_id, open.first_offset);
    }

    /// Applies an appended batch, whose header holds its true offset. `marker` is that of a control batch
    /// ([`EndTransactionMarker::of_batch`]). Answers the transaction that it ended, if there was one with records.
    pub fn apply(
        &mut self,
        header: &BatchHeader,
        marker: Option<EndTransactionMarker>,
    ) -> Option<CompletedTransaction> {
        let producer_id = header.producer_id;
        if !header.has_producer() || !header.attributes.is_transactional() {
            return None;
        }
        if !header.attributes.is_control() {
            if !self.by_producer.contains_key(&producer_id) {
                self.load(OpenTransaction { producer_id, first_offset: header.base_offset });
            }
            return None;
        }
        let kind = marker?.kind;
        let first_offset = self.by_producer.remove(&producer_id)?;
        self.open.remove(&first_offset);
        let last_offset = header.base_offset;
        self.unreplicated.insert(last_offset, first_offset);
        let last_stable_offset = self.first_open().map_or(last_offset.plus(1), |open| open.first_offset);
        Some(CompletedTransaction { producer_id, first_offset, last_offset, kind, last_stable_offset })
    }

    /// Everything below `high_watermark` is replicated: markers below it hold nothing back any more.
    pub fn advance(&mut self, high_watermark: Offset) {
        self.unreplicated = self.unreplicated.split_off(&high_watermark);
    }

    /// Where read_committed ends: the first offset of a transaction that is open, or whose marker is not below the high watermark;
    /// otherwise the high watermark itself.
    pub fn last_stable_offset(&self, high_watermark: Offset) -> Offset {
        let open = self.first_open().map(|open| open.first_offset);
        let undecided = self.unreplicated.range(high_watermark..).map(|(_, first)| *first).min();
        open.into_iter().chain(undecided).fold(high_watermark, Offset::min)
    }

    /// The open transaction that began first.
    pub fn first_open(&self) -> Option<OpenTransaction> {
        self.open().next()
    }

    /// The open transactions, in the order of their first offsets.
    pub fn open(&self) -> impl Iterator<Item = OpenTransaction> + '_ {
        self.open.iter().map(|(first, producer)| OpenTransaction { producer_id: *producer, first_offset: *first })
    }

    /// First offset of the producer's open transaction.
    pub fn open_of(&self, producer_id: ProducerId) -> Option<Offset> {
        self.by_producer.get(&producer_id).copied()
    }

    /// How many are open.
    pub fn open_count(&self) -> usize {
        self.open.len()
    }
}
