//! Walks committed batches and shows their records as rows. Decides what a reader of committed records sees: no control
//! batches, no aborted transactions, and a batch that cannot be inflated or parsed as one opaque row.

use std::ops::Range;

use tidelog_model::Offset;
use tidelog_model::limits::MAX_INFLATED_BATCH_BYTES;
use tidelog_record::{AbortedTransaction, Batch, BatchError, Batches, RecordViews};

use super::rows::Row;
use crate::source::CommittedBatches;

/// Header key of the row that stands for an undecodable batch; its value is the reason. A second header,
/// `tidelog.last.offset`, has the last offset of the batch as decimal digits. The row's `_value` is the batch as it lies in the log.
pub const UNDECODABLE_HEADER: &str = "tidelog.undecodable";
const LAST_OFFSET_HEADER: &str = "tidelog.last.offset";

/// Where a walk ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Decoded {
    /// The offset to read on from; at most the end of the range, also when more was committed and read meanwhile: nothing
    /// that was not shown is passed over.
    pub next: Offset,
    /// Rows shown.
    pub rows: u64,
}

/// One thing that [`decode`] shows.
#[derive(Clone, Copy, Debug)]
pub enum Shown<'a> {
    /// A record.
    Record(&'a Row<'a>),
    /// A batch that cannot be read; its bytes are the value.
    Opaque(&'a Row<'a>),
}

/// Shows every committed record of `batches` whose offset lies in `range`, in order. Fails if the bytes are no batches; `each` may
/// end the walk with an error of its own.
pub fn decode<E: From<BatchError>>(
    batches: &CommittedBatches,
    range: Range<Offset>,
    mut each: impl FnMut(Shown<'_>) -> Result<(), E>,
) -> Result<Decoded, E> {
    let mut decoded = Decoded { next: batches.next, rows: 0 };
    for batch in Batches::new(batches.batches.clone()) {
        let batch = batch?;
        let header = batch.header();
        decoded.next = decoded.next.max(header.next_offset());
        let outside = header.last_offset() < range.start || header.base_offset >= range.end;
        if outside || header.attributes.is_control() || is_aborted(&batch, &batches.aborted) {
            continue;
        }
        decoded.rows += match readable(&batch) {
            Ok(body) => show_records(&batch, &body, &range, &mut each)?,
            Err(reason) => {
                show_opaque(&batch, &range, &reason, &mut each)?;
                1
            }
        };
    }
    decoded.next = decoded.next.min(range.end);
    Ok(decoded)
}

fn is_aborted(batch: &Batch, aborted: &[AbortedTransaction]) -> bool {
    let header = batch.header();
    header.attributes.is_transactional()
        && aborted.iter().any(|transaction| {
            transaction.producer_id == header.producer_id
                && (transaction.first_offset..=transaction.last_offset).contains(&header.base_offset)
        })
}

/// The inflated records, every one of them checked: a batch is shown record by record or not at all.
fn readable(batch: &Batch) -> Result<bytes::Bytes, BatchError> {
    let body = batch.body(MAX_INFLATED_BATCH_BYTES)?;
    for record in RecordViews::new(batch.header(), &body) {
        record?;
    }
    Ok(body)
}

fn show_records<E: From<BatchError>>(
    batch: &Batch,
    body: &[u8],
    range: &Range<Offset>,
    each: &mut impl FnMut(Shown<'_>) -> Result<(), E>,
) -> Result<u64, E> {
    let mut rows = 0;
    for record in RecordViews::new(batch.header(), body) {
        let record = record?;
        if !range.contains(&record.offset) {
            continue;
        }
        rows += 1;
        each(Shown::Record(&Row {
            offset: record.offset,
            timestamp: record.timestamp,
            key: record.key,
            headers: record.headers().collect(),
            value: record.value,
        }))?;
    }
    Ok(rows)
}

fn show_opaque<E>(
    batch: &Batch,
    range: &Range<Offset>,
    reason: &BatchError,
    each: &mut impl FnMut(Shown<'_>) -> Result<(), E>,
) -> Result<(), E> {
    let header = batch.header();
    let (reason, last) = (reason.to_string(), header.last_offset().to_string());
    each(Shown::Opaque(&Row {
        // The log may start inside the batch.
        offset: header.base_offset.max(range.start),
        timestamp: header.max_timestamp,
        key: None,
        headers: vec![
            (UNDECODABLE_HEADER.as_bytes(), Some(reason.as_bytes())),
            (LAST_OFFSET_HEADER.as_bytes(), Some(last.as_bytes())),
        ],
        value: Some(batch.bytes()),
    }))
}
