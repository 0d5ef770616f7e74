//! Streamed puts: one request for what is small, parts of 16 MiB for what is large.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::stream::FuturesUnordered;
use futures::{Stream, StreamExt};
use object_store::path::Path;
use object_store::{MultipartUpload, ObjectStore, ObjectStoreExt, PutPayload};
use tokio::io::AsyncReadExt;

use crate::ObjectsError;
use crate::limits::{Limits, PART_BYTES, PARTS_IN_FLIGHT, SINGLE_PUT_BYTES};
use crate::objects::within;

/// Bytes read from a file at a time.
const READ_BYTES: u64 = 1024 * 1024;

/// The whole file as pieces of at most 1 MiB.
pub(crate) fn file_stream(file: tokio::fs::File, size: u64) -> impl Stream<Item = std::io::Result<Bytes>> + Send {
    futures::stream::try_unfold((file, size), |(mut file, left)| async move {
        if left == 0 {
            return Ok(None);
        }
        let want = left.min(READ_BYTES);
        let mut piece = BytesMut::with_capacity(want as usize);
        let mut limited = (&mut file).take(want);
        while (piece.len() as u64) < want {
            if limited.read_buf(&mut piece).await? == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(Some((piece.freeze(), (file, left - want))))
    })
}

/// Gathers pieces of a stream into payloads of an exact size.
struct Pieces<S> {
    source: S,
    rest: Bytes,
}

impl<S: Stream<Item = std::io::Result<Bytes>> + Unpin> Pieces<S> {
    async fn take(&mut self, key: &str, size: u64) -> Result<PutPayload, ObjectsError> {
        let mut pieces = Vec::new();
        let mut left = size;
        while left > 0 {
            if self.rest.is_empty() {
                match self.source.next().await {
                    Some(Ok(piece)) => self.rest = piece,
                    Some(Err(e)) => return Err(ObjectsError::Other(format!("{key}: reading the source: {e}"))),
                    None => return Err(ObjectsError::Other(format!("{key}: the source ended {left} bytes early"))),
                }
                continue;
            }
            let piece = self.rest.split_to(self.rest.len().min(usize::try_from(left).unwrap_or(usize::MAX)));
            left -= piece.len() as u64;
            pieces.push(piece);
        }
        Ok(PutPayload::from_iter(pieces))
    }
}

pub(crate) async fn put_stream<S>(
    store: &Arc<dyn ObjectStore>,
    path: &Path,
    key: &str,
    size: u64,
    source: S,
    limits: &Limits,
) -> Result<(), ObjectsError>
where
    S: Stream<Item = std::io::Result<Bytes>> + Send + Unpin,
{
    let mut pieces = Pieces { source, rest: Bytes::new() };
    if size < SINGLE_PUT_BYTES {
        let payload = pieces.take(key, size).await?;
        return within(limits.part_timeout, key, store.put(path, payload)).await.map(|_| ());
    }
    let mut upload = within(limits.request_timeout, key, store.put_multipart(path)).await?;
    let done = match put_parts(&mut upload, key, size, &mut pieces, limits.part_timeout).await {
        Ok(()) => within(limits.part_timeout, key, upload.complete()).await.map(|_| ()),
        failed => failed,
    };
    if done.is_err() {
        // Best effort: parts of an upload that nobody aborts cost storage until the bucket's lifecycle rule removes them.
        if let Err(error) = within(limits.request_timeout, key, upload.abort()).await {
            tracing::debug!(key, %error, "could not abort a failed upload");
        }
    }
    done
}

async fn put_parts<S>(
    upload: &mut Box<dyn MultipartUpload>,
    key: &str,
    size: u64,
    pieces: &mut Pieces<S>,
    timeout: Duration,
) -> Result<(), ObjectsError>
where
    S: Stream<Item = std::io::Result<Bytes>> + Send + Unpin,
{
    let mut flying = FuturesUnordered::new();
    let mut left = size;
    while left > 0 {
        let part = if left < SINGLE_PUT_BYTES { left } else { PART_BYTES };
        let payload = pieces.take(key, part).await?;
        left -= part;
        if flying.len() >= PARTS_IN_FLIGHT
            && let Some(done) = flying.next().await
        {
            let () = done?;
        }
        flying.push(within(timeout, key, upload.put_part(payload)));
    }
    while let Some(done) = flying.next().await {
        let () = done?;
    }
    Ok(())
}
