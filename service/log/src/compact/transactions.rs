//! What compaction knows of transactions while it reads a log from front to back: which batches were aborted, and which markers have
//! outlived all of their records. Decides nothing about records of a key.
//!
//! A marker is *spent* if no batch of its transaction lies before it any more. Only then may it go, and only after its delete horizon:
//! whoever began to read before must still find it. An aborted transaction leaves the index together with its last batch.

use std::collections::{HashMap, HashSet};

use tidelog_model::{Offset, ProducerId};
use tidelog_record::{AbortedTransaction, Batch, BatchHeader, ControlRecord, EndTransactionMarker, MarkerKind};

/// What a batch is to its transaction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Part {
    /// Records that count: committed, or of no transaction.
    Data,
    /// Records of an aborted transaction.
    Aborted,
    /// A marker, or another control record.
    Control {
        /// No batch of the transaction is left before it.
        spent: bool,
    },
}

/// An aborted transaction that has begun.
struct Begun {
    entry: AbortedTransaction,
    /// A batch of it was met.
    seen: bool,
}

/// Follows the transactions of one log.
pub(super) struct Transactions {
    /// Aborted ones that have not begun, the next one last.
    coming: Vec<AbortedTransaction>,
    aborted: HashMap<ProducerId, Begun>,
    /// Producers with an open transaction that is not among the aborted ones, of which a batch was met.
    committed: HashSet<ProducerId>,
}

impl Transactions {
    /// Reading begins at `from`; `aborted` are all that touch what will be read.
    pub(super) fn new(aborted: &[AbortedTransaction], from: Offset) -> Self {
        let mut coming: Vec<_> = aborted.iter().filter(|entry| entry.last_offset >= from).copied().collect();
        coming.sort_by_key(|entry| std::cmp::Reverse(entry.first_offset));
        Transactions { coming, aborted: HashMap::new(), committed: HashSet::new() }
    }

    /// The next batch, in the order of the log.
    pub(super) fn meet(&mut self, batch: &Batch) -> Part {
        let header = batch.header();
        self.begin(header);
        if header.attributes.is_control() {
            return Part::Control { spent: self.end(batch) };
        }
        if !header.attributes.is_transactional() {
            return Part::Data;
        }
        match self.aborted.get_mut(&header.producer_id) {
            Some(begun) if header.base_offset <= begun.entry.last_offset => {
                begun.seen = true;
                Part::Aborted
            }
            _ => {
                self.committed.insert(header.producer_id);
                Part::Data
            }
        }
    }

    fn begin(&mut self, header: &BatchHeader) {
        while let Some(entry) = self.coming.pop_if(|next| next.first_offset <= header.last_offset()) {
            self.aborted.insert(entry.producer_id, Begun { entry, seen: false });
        }
    }

    /// A control batch: has it outlived its transaction? One that cannot be read, or is none of a transaction, has not.
    fn end(&mut self, batch: &Batch) -> bool {
        let producer = batch.header().producer_id;
        match ControlRecord::of_batch(batch) {
            Ok(Some(ControlRecord::EndTransaction(EndTransactionMarker { kind: MarkerKind::Abort, .. }))) => {
                !self.aborted.remove(&producer).is_some_and(|begun| begun.seen)
            }
            Ok(Some(ControlRecord::EndTransaction(EndTransactionMarker { kind: MarkerKind::Commit, .. }))) => {
                !self.committed.remove(&producer)
            }
            // Another's compaction has emptied it.
            Ok(None) => true,
            Ok(Some(ControlRecord::Other(_))) | Err(_) => false,
        }
    }
}
