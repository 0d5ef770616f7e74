//! One upload: looks through a closed local segment off the async workers, then streams it and its indexes into one object.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use futures::stream::{self, Stream};
use tidelog_log::{ClosedSegment, FileSlice};
use tidelog_model::Offset;
use tidelog_objects::{Objects, ObjectsError};

use crate::bundle::{self, BundleError, Plan};
use crate::keys::{ObjectName, PartitionKeys};
use crate::limits::READ_BYTES;
use crate::manifest::Entry;

/// Why an upload failed; it is tried again in either case.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UploadError {
    #[error("{file} cannot be uploaded: {error}")]
    Segment { file: String, error: BundleError },
    #[error(transparent)]
    Store(#[from] ObjectsError),
}

/// Puts what of `segment` lies at or after `from` as the object `name`. Overwrites an earlier try of the same name. Fails soon after
/// `over` is set.
pub(crate) async fn upload(
    objects: &Objects,
    keys: &PartitionKeys,
    segment: ClosedSegment,
    name: ObjectName,
    from: Offset,
    over: Arc<AtomicBool>,
) -> Result<Entry, UploadError> {
    let (log, file) = (segment.log.clone(), format!("{:020}.log", segment.base.get()));
    let planned = tokio::task::spawn_blocking(move || bundle::plan(&segment, name, from)).await;
    let planned = planned.unwrap_or_else(|e| Err(BundleError::Local(e.to_string())));
    let plan = planned.map_err(|error| UploadError::Segment { file, error })?;
    let (entry, started) = (plan.entry.clone(), std::time::Instant::now());
    objects.put_stream(&keys.segment(&name), entry.size, Box::pin(bundle_stream(log, plan, over))).await?;
    metrics::counter!("tidelog_tier_uploaded_bytes_total").increment(entry.size);
    metrics::counter!("tidelog_tier_uploaded_segments_total").increment(1);
    metrics::histogram!("tidelog_tier_upload_seconds").record(started.elapsed().as_secs_f64());
    Ok(entry)
}

/// The log bytes in pieces, then everything behind them. Ends with an error if the log is no longer what was looked through.
fn bundle_stream(
    log: FileSlice,
    plan: Plan,
    over: Arc<AtomicBool>,
) -> impl Stream<Item = std::io::Result<Bytes>> + Send {
    let (start, end, crc) = (plan.start, plan.start.saturating_add(plan.entry.parts.log), plan.entry.crc);
    let state = (log, start, 0u32, Some(plan.tail));
    stream::try_unfold(state, move |(log, at, seen, mut tail)| {
        let over = over.load(Ordering::Acquire);
        async move {
            if over && tail.is_some() {
                return Err(std::io::Error::other("the leadership is over"));
            }
            if at >= end {
                if tail.is_some() && seen != crc {
                    return Err(std::io::Error::other("the local segment changed under the upload"));
                }
                return Ok(tail.take().map(|tail| (tail, (log, at, seen, None))));
            }
            let len = usize::try_from(end - at).unwrap_or(READ_BYTES).min(READ_BYTES);
            let position = usize::try_from(at).map_err(std::io::Error::other)?;
            let reading = tokio::task::spawn_blocking(move || (log.read_part(position, len), log));
            let (piece, log) = reading.await.map_err(std::io::Error::other)?;
            let piece = piece?;
            if piece.is_empty() {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            let seen = crc32c::crc32c_append(seen, &piece);
            let next = at + piece.len() as u64;
            Ok(Some((piece, (log, next, seen, tail))))
        }
    })
}
