//! Cold reads: finds batches of one partition in its segment objects, chunk by chunk, and verifies every byte that it hands out.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use bytes::{Buf, Bytes, BytesMut};
use parking_lot::Mutex;
use tidelog_log::{RemoteBatches, RemoteError, TimestampedOffset};
use tidelog_model::limits::MAX_INFLATED_BATCH_BYTES;
use tidelog_model::{Offset, Timestamp};
use tidelog_record::{Batch, BatchError, check_crc};
use uuid::Uuid;

use crate::bundle::Tail;
use crate::cache::{ChunkCache, ChunkKey, TAIL};
use crate::keys::PartitionKeys;
use crate::limits::{MAX_BATCH_BYTES, MAX_READ_BYTES, MAX_TAIL_BYTES, READ_BYTES};
use crate::manifest::{Entry, Image};

/// Reads of all partitions of one [`crate::Tier`].
pub(crate) struct ColdReader {
    cache: Arc<ChunkCache>,
    chunk_bytes: u64,
    read_ahead: usize,
    /// Verified indexes of recently read objects, newest first.
    tails: Mutex<VecDeque<(Uuid, Arc<Tail>)>>,
}

/// The first batch that was looked for: where it is, and bytes from there on.
struct At {
    position: u64,
    bytes: Bytes,
}

fn corrupt(entry: &Entry, what: impl std::fmt::Display) -> RemoteError {
    RemoteError::Corrupt(format!("{}: {what}", entry.object().text()))
}

impl ColdReader {
    pub(crate) fn new(cache: Arc<ChunkCache>, chunk_bytes: u64, read_ahead: usize) -> Self {
        ColdReader { cache, chunk_bytes: chunk_bytes.max(1), read_ahead, tails: Mutex::default() }
    }

    /// Batches from the one that contains `offset` on, or from the next one if compaction has taken that; within one entry. None if there
    /// is none up to the end of what is remote: the log goes on behind it.
    pub(crate) async fn read(
        &self,
        keys: &PartitionKeys,
        image: &Image,
        offset: Offset,
        max_bytes: usize,
    ) -> Result<RemoteBatches, RemoteError> {
        if offset >= image.next {
            // Whoever comes here has not found it locally: it is the store that lacks something, and may be another one.
            return Err(RemoteError::Unavailable(format!(
                "what is remote ends at {}, before offset {offset}",
                image.next
            )));
        }
        if image.entry_of(offset).is_none() {
            return Err(RemoteError::OutOfRange { offset, start: image.start(), end: image.next });
        }
        let mut next = offset;
        while let Some(entry) = image.entry_of(next) {
            if let Some(batches) = self.read_within(keys, image, entry, next, max_bytes).await? {
                return Ok(batches);
            }
            next = entry.end;
        }
        Ok(RemoteBatches { batches: Bytes::new(), aborted: Vec::new(), next })
    }

    /// `None` if the entry has nothing at or after `offset`.
    async fn read_within(
        &self,
        keys: &PartitionKeys,
        image: &Image,
        entry: &Entry,
        offset: Offset,
        max_bytes: usize,
    ) -> Result<Option<RemoteBatches>, RemoteError> {
        let read = match self.read_entry(keys, entry, offset, max_bytes).await {
            Err(RemoteError::Corrupt(_)) => {
                // The copy on the local disk may be at fault: once more from the store.
                self.forget(entry);
                self.read_entry(keys, entry, offset, max_bytes).await
            }
            other => other,
        };
        let Some((batches, position)) = read? else { return Ok(None) };
        self.read_on(keys, image, entry, position, batches.next);
        Ok(Some(batches))
    }

    fn forget(&self, entry: &Entry) {
        self.cache.forget(entry.object_id);
        self.tails.lock().retain(|(object, _)| *object != entry.object_id);
    }

    async fn read_entry(
        &self,
        keys: &PartitionKeys,
        entry: &Entry,
        offset: Offset,
        max_bytes: usize,
    ) -> Result<Option<(RemoteBatches, u64)>, RemoteError> {
        if entry.parts.log == 0 {
            return Ok(None);
        }
        let tail = self.tail(keys, entry).await?;
        let want = max_bytes.clamp(READ_BYTES / 16, MAX_READ_BYTES);
        let found = self.seek(keys, entry, tail.position_of(offset), offset, want).await?;
        let Some(At { position, bytes }) = found else { return Ok(None) };
        let mut taken = 0usize;
        let mut first = None;
        let mut next = offset;
        while let Some(batch) = whole_batch(entry, bytes.slice(taken..))? {
            let header = batch.header();
            // After a cut the object holds more than the entry.
            if (entry.end..tail.end).contains(&header.base_offset) && taken == 0 {
                return Ok(None);
            }
            if taken > 0 && (header.base_offset >= entry.end || taken + batch.size() > max_bytes) {
                break;
            }
            check_crc(&batch).map_err(|e| corrupt(entry, e))?;
            if header.last_offset() >= entry.end || (taken > 0 && header.base_offset < next) {
                return Err(corrupt(entry, format_args!("a batch at offset {} is out of place", header.base_offset)));
            }
            first.get_or_insert(header.base_offset);
            next = header.last_offset().plus(1);
            taken += batch.size();
        }
        let Some(first) = first else {
            return Err(corrupt(entry, format_args!("offset {offset} is not where its index says")));
        };
        let mut aborted = Vec::new();
        if entry.has_aborted {
            tail.aborted.collect(first, next, &mut aborted);
        }
        // A part of a chunk keeps the whole of it in memory, and its reader may be slow.
        let small = (taken as u64) < self.chunk_bytes / 2;
        let batches =
            if small { Bytes::copy_from_slice(bytes.get(..taken).unwrap_or_default()) } else { bytes.slice(..taken) };
        Ok(Some((RemoteBatches { batches, aborted, next }, position + taken as u64)))
    }

    /// The first record at or after `at`.
    pub(crate) async fn find_timestamp(
        &self,
        keys: &PartitionKeys,
        image: &Image,
        at: Timestamp,
    ) -> Result<Option<TimestampedOffset>, RemoteError> {
        for entry in image.entries.iter().filter(|entry| entry.max_timestamp >= at) {
            let found = match self.find_in(keys, entry, at).await {
                Err(RemoteError::Corrupt(_)) => {
                    self.forget(entry);
                    self.find_in(keys, entry, at).await?
                }
                other => other?,
            };
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    async fn find_in(
        &self,
        keys: &PartitionKeys,
        entry: &Entry,
        at: Timestamp,
    ) -> Result<Option<TimestampedOffset>, RemoteError> {
        let tail = self.tail(keys, entry).await?;
        if tail.newest() < at {
            // The entry goes by when its records were written: they have no time themselves.
            return Ok(None);
        }
        let mut offset = tail.offset_before(at).max(entry.base);
        let mut position = tail.position_of(offset);
        while offset < entry.end && position < entry.parts.log {
            let Some(seen) = self.seek(keys, entry, position, offset, READ_BYTES).await? else { return Ok(None) };
            position = seen.position;
            let mut rest = seen.bytes;
            while let Some(batch) = whole_batch(entry, rest.clone())? {
                let header = *batch.header();
                if header.base_offset >= entry.end {
                    return Ok(None);
                }
                check_crc(&batch).map_err(|e| corrupt(entry, e))?;
                if header.max_timestamp >= at
                    && let Some(found) = first_at(batch.clone(), entry.base, at).await?
                {
                    return Ok(Some(found));
                }
                rest.advance(batch.size());
                position += batch.size() as u64;
                offset = header.last_offset().plus(1);
            }
        }
        Ok(None)
    }

    /// Walks from `position` to the batch that contains `offset`, or the first one behind it, and returns that batch whole and up to `want`
    /// bytes in all; `None` if the log ends before.
    async fn seek(
        &self,
        keys: &PartitionKeys,
        entry: &Entry,
        mut position: u64,
        offset: Offset,
        want: usize,
    ) -> Result<Option<At>, RemoteError> {
        let mut bytes = self.log_bytes(keys, entry, position, want).await?;
        let mut passed = None;
        loop {
            if position >= entry.parts.log {
                // No index points behind the last batch.
                return match passed {
                    Some(_) => Ok(None),
                    None => Err(corrupt(entry, "its index points behind its log")),
                };
            }
            match Batch::parse(&bytes) {
                Ok(batch) if batch.header().last_offset() < offset => {
                    let header = batch.header();
                    if header.last_offset() < entry.base || passed.is_some_and(|next| header.base_offset < next) {
                        let at = header.base_offset;
                        return Err(corrupt(entry, format_args!("a batch at offset {at} is out of place")));
                    }
                    passed = Some(header.next_offset());
                    position += batch.size() as u64;
                    bytes.advance(batch.size());
                    if bytes.is_empty() && position < entry.parts.log {
                        bytes = self.log_bytes(keys, entry, position, want).await?;
                    }
                }
                Ok(batch) => {
                    // Skipped batches have used up some of the bytes.
                    let full = (want as u64).max(batch.size() as u64).min(entry.parts.log - position);
                    if (bytes.len() as u64) < full {
                        bytes = self.log_bytes(keys, entry, position, full as usize).await?;
                    }
                    return Ok(Some(At { position, bytes }));
                }
                Err(error @ (BatchError::TooShort { .. } | BatchError::Truncated { .. })) => {
                    let need = match error {
                        BatchError::Truncated { announced, .. } => announced,
                        _ => READ_BYTES,
                    };
                    let left = entry.parts.log - position;
                    let more = need.max(want).min(usize::try_from(left).unwrap_or(usize::MAX));
                    if need > MAX_BATCH_BYTES || more <= bytes.len() {
                        return Err(corrupt(entry, error));
                    }
                    bytes = self.log_bytes(keys, entry, position, more).await?;
                }
                Err(error) => return Err(corrupt(entry, error)),
            }
        }
    }

    /// Bytes of the log part, at most `len` and as many as there are.
    async fn log_bytes(
        &self,
        keys: &PartitionKeys,
        entry: &Entry,
        from: u64,
        len: usize,
    ) -> Result<Bytes, RemoteError> {
        let to = from.saturating_add(len as u64).min(entry.parts.log);
        let mut pieces = Vec::new();
        let mut at = from;
        while at < to {
            let (key, range) = self.chunk_of(entry, at);
            let end = range.end.min(to);
            let chunk = self.cache.get(key, &keys.segment(&entry.object()), range.clone()).await?;
            pieces.push(chunk.read(at - range.start..end - range.start).await?);
            at = end;
        }
        if pieces.len() > 1 {
            let mut joined = BytesMut::with_capacity(pieces.iter().map(Bytes::len).sum());
            pieces.iter().for_each(|piece| joined.extend_from_slice(piece));
            return Ok(joined.freeze());
        }
        Ok(pieces.pop().unwrap_or_default())
    }

    /// The chunk that holds byte `at` of the log, and its range of the object.
    fn chunk_of(&self, entry: &Entry, at: u64) -> (ChunkKey, Range<u64>) {
        let object = entry.object_id;
        if entry.size <= self.chunk_bytes {
            return (ChunkKey { object, chunk: 0 }, 0..entry.size);
        }
        let index = at / self.chunk_bytes;
        let start = index * self.chunk_bytes;
        let range = start..(start + self.chunk_bytes).min(entry.parts.log);
        (ChunkKey { object, chunk: u32::try_from(index).unwrap_or(TAIL - 1) }, range)
    }

    /// The verified indexes of an object.
    async fn tail(&self, keys: &PartitionKeys, entry: &Entry) -> Result<Arc<Tail>, RemoteError> {
        let known = self.tails.lock().iter().find(|(object, _)| *object == entry.object_id).map(|(_, t)| Arc::clone(t));
        if let Some(tail) = known {
            return Ok(tail);
        }
        let object_key = keys.segment(&entry.object());
        let (key, range) = self.tail_chunk(entry);
        let chunk = self.cache.get(key, &object_key, range.clone()).await?;
        let bytes = chunk.read(entry.parts.log - range.start..entry.size - range.start).await?;
        let tail = Arc::new(Tail::decode(entry, &bytes).map_err(|e| corrupt(entry, e))?);
        let mut tails = self.tails.lock();
        tails.push_front((entry.object_id, Arc::clone(&tail)));
        let mut held = 0;
        let fitting = tails.iter().take_while(|(_, tail)| {
            held += tail.bytes();
            held <= MAX_TAIL_BYTES
        });
        let kept = fitting.count().max(1);
        tails.truncate(kept);
        Ok(tail)
    }

    fn tail_chunk(&self, entry: &Entry) -> (ChunkKey, Range<u64>) {
        let object = entry.object_id;
        if entry.size <= self.chunk_bytes {
            (ChunkKey { object, chunk: 0 }, 0..entry.size)
        } else {
            (ChunkKey { object, chunk: TAIL }, entry.parts.log..entry.size)
        }
    }

    /// Starts downloads of what a sequential reader will ask for next.
    fn read_on(&self, keys: &PartitionKeys, image: &Image, entry: &Entry, position: u64, next: Offset) {
        let ahead = (0..self.read_ahead as u64).map(|n| position + n * self.chunk_bytes);
        let (here, beyond): (Vec<u64>, Vec<u64>) = ahead.partition(|at| *at < entry.parts.log && next < entry.end);
        for at in here {
            let (key, range) = self.chunk_of(entry, at);
            self.prefetch(keys, entry, key, range);
        }
        if !beyond.is_empty()
            && let Some(following) = image.entry_from(entry.end)
        {
            let (key, range) = self.tail_chunk(following);
            self.prefetch(keys, following, key, range);
            let (key, range) = self.chunk_of(following, 0);
            self.prefetch(keys, following, key, range);
        }
    }

    fn prefetch(&self, keys: &PartitionKeys, entry: &Entry, key: ChunkKey, range: Range<u64>) {
        if !self.cache.has(key) {
            // The download runs on its own; nobody waits for this handle.
            drop(self.cache.fetch(key, &keys.segment(&entry.object()), range));
        }
    }
}

/// The whole batch at the front, `None` if the bytes end before it does.
fn whole_batch(entry: &Entry, bytes: Bytes) -> Result<Option<Batch>, RemoteError> {
    match Batch::parse(&bytes) {
        Ok(batch) => Ok(Some(batch)),
        Err(BatchError::TooShort { .. } | BatchError::Truncated { .. }) => Ok(None),
        Err(error) => Err(corrupt(entry, error)),
    }
}

/// The first record of a batch that is not older than `at`; inflating is work for a thread.
async fn first_at(batch: Batch, from: Offset, at: Timestamp) -> Result<Option<TimestampedOffset>, RemoteError> {
    let search = move || {
        let header = *batch.header();
        let epoch = header.leader_epoch;
        let Ok(records) = batch.records(MAX_INFLATED_BATCH_BYTES) else {
            // Undecodable records are one unit: the batch's own times are all that is known.
            return Some(TimestampedOffset {
                offset: header.base_offset.max(from),
                timestamp: header.max_timestamp,
                epoch,
            });
        };
        records
            .map_while(Result::ok)
            .find(|record| record.timestamp >= at && record.offset >= from)
            .map(|record| TimestampedOffset { offset: record.offset, timestamp: record.timestamp, epoch })
    };
    tokio::task::spawn_blocking(search).await.map_err(|e| RemoteError::Unavailable(e.to_string()))
}
