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

impl LogView {
    /// The aborted transactions with records in `[from, to)`, in the order of their markers, as far as the local log knows.
    pub fn aborted_transactions(&self, from: Offset, to: Offset) -> Result<Vec<AbortedTransaction>, ReadError> {
        let mut found = Vec::new();
        let (files, active) = self.transaction_indexes(from)?;
        for (segment, file) in files {
            if self.read_index(&segment, &*file)?.collect(from, to, &mut found) {
                return Ok(found);
            }
        }
        active.collect(from, to, &mut found);
        Ok(found)
    }

    /// The index files of closed segments from the one that holds `from` on, and the active segment's entries.
    #[allow(clippy::type_complexity)]
    fn transaction_indexes(
        &self,
        from: Offset,
    ) -> Result<(Vec<(Arc<Segment>, Arc<dyn DiskFile>)>, AbortedTransactions), ReadError> {
        let shared = &self.shared;
        let state = shared.state.read();
        let first = state.closed.partition_point(|segment| segment.end <= from);
        let mut files = Vec::new();
        for segment in state.closed.iter().skip(first).filter(|segment| segment.has_txn_index) {
            let path = shared.path(segment.base, Kind::TxnIndex, segment.stage);
            let file = shared.open(segment, Kind::TxnIndex).map_err(ReadError::io(&path))?;
            files.push((Arc::clone(segment), file));
        }
        Ok((files, state.active.aborted.clone()))
    }

    fn read_index(&self, segment: &Segment, file: &dyn DiskFile) -> Result<AbortedTransactions, ReadError> {
        let path = self.shared.path(segment.base, Kind::TxnIndex, segment.stage);
        let len = file.len().map_err(ReadError::io(&path))?.min(MAX_INDEX_FILE_BYTES);
        let bytes = read_exact(file, 0, len as usize).map_err(ReadError::io(&path))?;
        AbortedTransactions::decode(&bytes).map_err(|error| ReadError::Damaged {
            path,
            position: (error.entry * AbortedTransaction::LEN) as u64,
            reason: error.to_string(),
        })
    }
}
