//! Batches made from batches: another codec, fewer records. Offsets, producer fields and flags stay.

use tidelog_model::Timestamp;

use crate::builder::assemble;
use crate::{Batch, BatchBuilder, BatchError, Codec, RecordView, RecordViews};

/// The same batch with its records compressed by `codec`, at `level` in the codec's own numbers or its default. Inflates to at most `limit`
/// bytes; record bytes are not touched, but checked.
pub fn recompress(batch: &Batch, codec: Codec, level: Option<i32>, limit: usize) -> Result<Batch, BatchError> {
    let header = batch.header();
    let body = batch.body(limit)?;
    for record in RecordViews::new(header, &body) {
        record?;
    }
    assemble(crate::BatchHeader { attributes: header.attributes.with_codec(codec), ..*header }, level, &body)
}

/// What [`retain`] left of a batch.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Retained {
    /// Nothing changes: use the batch itself.
    All,
    /// A new batch with some records, or with all and a delete horizon.
    Some(Batch),
    /// No record. The batch holds none, but still tells offsets and sequences; drop it unless it is the producer's last.
    Empty(Batch),
}

/// The batch without the records that `keep` refuses: what compaction writes. Base offset, last offset, producer fields, flags and
/// codec stay as they are; the max timestamp becomes that of the records that stay.
///
/// `delete_horizon` (KIP-534), if given, is written into the batch even when every record stays; one that the batch has already stays
/// without it. Inflates to at most `limit` bytes.
pub fn retain(
    batch: &Batch,
    limit: usize,
    delete_horizon: Option<Timestamp>,
    mut keep: impl FnMut(&RecordView<'_>) -> bool,
) -> Result<Retained, BatchError> {
    let body = batch.body(limit)?;
    let mut builder = BatchBuilder::like(batch.header());
    let mut changed = false;
    if let Some(horizon) = delete_horizon.filter(|_| batch.header().delete_horizon() != delete_horizon) {
        builder = builder.delete_horizon(horizon);
        changed = true;
    }
    for record in RecordViews::new(batch.header(), &body) {
        let record = record?;
        if keep(&record) {
            builder.push_at(record.offset, record.timestamp, record.key, record.value, record.headers())?;
        } else {
            changed = true;
        }
    }
    if !changed {
        return Ok(Retained::All);
    }
    let empty = builder.is_empty();
    let batch = builder.build()?;
    Ok(if empty { Retained::Empty(batch) } else { Retained::Some(batch) })
}
