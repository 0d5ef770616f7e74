//! Which aborted transactions touch a range: what a read_committed consumer must skip.

use std::sync::Arc;

use tidelog_model::Offset;
use tidelog_record::{AbortedTransaction, AbortedTransactions};

use crate::ReadError;
use crate::disk::{DiskFile, read_exact};
use crate::limits::MAX_INDEX_FILE_BYTES;
use crate::names::Kind;
use crate::state::Segment;
use crate::view::LogView;

/// The transaction index of a closed segment.
struct Index {
    segment: Arc<Segment>,
    file: Arc<dyn DiskFile>,
}

impl LogView {
    /// The aborted transactions with records in `[from, to)`, in the order of their markers, as far as the local log knows.
    pub fn aborted_transactions(&self, from: Offset, to: Offset) -> Result<Vec<AbortedTransaction>, ReadError> {
        let mut found = Vec::new();
        let mut next = from;
        // One segment after the other: a marker rarely lies far behind its records. Compaction may merge segments meanwhile, so what
        // was seen is passed over.
        while let Some(Index { segment, file }) = self.index_after(next, to, &mut found)? {
            if self.read_index(&segment, &*file)?.collect(next, to, &mut found) {
                break;
            }
            next = segment.end;
        }
        Ok(found)
    }

    /// The index of the first closed segment that ends after `next` and has one, opened under the lock. If there is none, the active
    /// segment's entries go to `found`.
    fn index_after(
        &self,
        next: Offset,
        to: Offset,
        found: &mut Vec<AbortedTransaction>,
    ) -> Result<Option<Index>, ReadError> {
        let shared = &self.shared;
        let state = shared.state.read();
        let first = state.closed.partition_point(|segment| segment.end <= next);
        let Some(segment) = state.closed.iter().skip(first).find(|segment| segment.has_txn_index) else {
            state.active.aborted.collect(next, to, found);
            return Ok(None);
        };
        let path = shared.path(segment.base, Kind::TxnIndex, segment.stage);
        let file = shared.open(segment, Kind::TxnIndex).map_err(ReadError::io(&path))?;
        Ok(Some(Index { segment: Arc::clone(segment), file }))
    }

    fn read_index(&self, segment: &Segment, file: &dyn DiskFile) -> Result<AbortedTransactions, ReadError> {
        let path = self.shared.path(segment.base, Kind::TxnIndex, segment.stage);
        let len = file.len().map_err(ReadError::io(&path))?.min(MAX_INDEX_FILE_BYTES);
        let bytes = read_exact(file, 0, len as usize).map_err(ReadError::io(&path))?;
        AbortedTransactions::decode(&bytes).map_err(|error| ReadError::DamagedIndex {
            path,
            base: segment.base,
            reason: error.to_string(),
        })
    }
}
