//! Records of one batch: decides record by record whether the bytes are valid; never allocates by an announced length.

use bytes::Bytes;
use tidelog_model::limits::MAX_RECORDS_PER_BATCH;
use tidelog_model::{Offset, Timestamp};

use crate::limits::{MAX_HEADERS_PER_RECORD, MIN_HEADER_BYTES, MIN_RECORD_BYTES};
use crate::varint::{take_i32, take_i64};
use crate::{BatchError, BatchHeader, TimestampType};

/// A record header (KIP-82). Keys may repeat; Kafka writes them as UTF-8, but nothing enforces that.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Header {
    /// Its key, possibly empty.
    pub key: Bytes,
    /// Its value; `None` is null.
    pub value: Option<Bytes>,
}

/// One record. Keys and values are slices of the batch's bytes (without a codec) or of the inflated records.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Record {
    /// Its offset: base offset of the batch and its own delta.
    pub offset: Offset,
    /// Its own time, or the append time of the batch.
    pub timestamp: Timestamp,
    /// Its key; `None` is null.
    pub key: Option<Bytes>,
    /// Its value; `None` is null, a tombstone in compacted topics.
    pub value: Option<Bytes>,
    /// Its headers, in order.
    pub headers: Vec<Header>,
}

/// One record, borrowed: parsing allocates nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RecordView<'a> {
    /// Its offset.
    pub offset: Offset,
    /// Its own time, or the append time of the batch.
    pub timestamp: Timestamp,
    /// Its key; `None` is null.
    pub key: Option<&'a [u8]>,
    /// Its value; `None` is null.
    pub value: Option<&'a [u8]>,
    headers: &'a [u8],
    header_count: usize,
}

impl<'a> RecordView<'a> {
    /// How many headers it has.
    pub const fn header_count(&self) -> usize {
        self.header_count
    }

    /// Its headers in order: key and value.
    pub const fn headers(&self) -> HeaderViews<'a> {
        HeaderViews { rest: self.headers }
    }

    /// The owned record, whose parts are slices of `body`; `body` must be the bytes that the view was read from.
    fn to_record(self, body: &Bytes) -> Record {
        let mut headers = Vec::with_capacity(self.header_count);
        for (key, value) in self.headers() {
            headers.push(Header { key: body.slice_ref(key), value: value.map(|value| body.slice_ref(value)) });
        }
        Record {
            offset: self.offset,
            timestamp: self.timestamp,
            key: self.key.map(|key| body.slice_ref(key)),
            value: self.value.map(|value| body.slice_ref(value)),
            headers,
        }
    }
}

/// Iterates over the headers of a record that was already found valid.
#[derive(Clone, Copy, Debug)]
pub struct HeaderViews<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for HeaderViews<'a> {
    type Item = (&'a [u8], Option<&'a [u8]>);

    fn next(&mut self) -> Option<Self::Item> {
        take_header(&mut self.rest)
    }
}

fn take_header<'a>(rest: &mut &'a [u8]) -> Option<(&'a [u8], Option<&'a [u8]>)> {
    let key = take_nullable(rest)??;
    Some((key, take_nullable(rest)?))
}

/// Takes `length` bytes off the front; −1 is null. The outer `None` means malformed.
fn take_nullable<'a>(rest: &mut &'a [u8]) -> Option<Option<&'a [u8]>> {
    match take_i32(rest)? {
        -1 => Some(None),
        length => {
            let (taken, left) = rest.split_at_checked(usize::try_from(length).ok()?)?;
            *rest = left;
            Some(Some(taken))
        }
    }
}

/// Refuses a record count that the records' bytes cannot hold.
pub(crate) fn check_count(header: &BatchHeader, body_bytes: usize) -> Result<(), BatchError> {
    let count = usize::try_from(header.record_count).unwrap_or(usize::MAX);
    if count > body_bytes / MIN_RECORD_BYTES {
        return Err(header.count_error("its bytes cannot hold that many"));
    }
    if header.record_count > MAX_RECORDS_PER_BATCH {
        return Err(header.count_error("too many records"));
    }
    Ok(())
}

/// Iterates over the records of one batch without allocating.
///
/// Yields exactly the announced number of records, each checked: lengths within the batch, offset deltas ascending and not above
/// the last offset delta, no bytes left over. The first error ends it.
#[derive(Clone, Debug)]
pub struct RecordViews<'a> {
    header: BatchHeader,
    rest: &'a [u8],
    index: i32,
    last_delta: i32,
    ended: bool,
}

impl<'a> RecordViews<'a> {
    /// Over the inflated records of the batch with this header ([`crate::Batch::body`]).
    pub const fn new(header: &BatchHeader, body: &'a [u8]) -> Self {
        RecordViews { header: *header, rest: body, index: 0, last_delta: -1, ended: false }
    }

    fn take(&mut self) -> Result<RecordView<'a>, &'static str> {
        let length = take_i32(&mut self.rest).ok_or("its length is not a number")?;
        let length = usize::try_from(length).map_err(|_| "its length is negative")?;
        let (mut record, rest) = self.rest.split_at_checked(length).ok_or("it is longer than what is left")?;
        // The attributes byte is unused; readers ignore it (KIP-98).
        record = record.get(1..).ok_or("it has no attributes")?;
        let timestamp_delta = take_i64(&mut record).ok_or("its timestamp is not a number")?;
        let delta = take_i32(&mut record).ok_or("its offset is not a number")?;
        if delta <= self.last_delta || delta > self.header.last_offset_delta {
            return Err("its offset is out of order");
        }
        let own = self.header.base_timestamp.0.checked_add(timestamp_delta).ok_or("its timestamp overflows")?;
        let timestamp = match self.header.attributes.timestamp_type() {
            TimestampType::CreateTime => Timestamp(own),
            TimestampType::LogAppendTime => self.header.max_timestamp,
        };
        let key = take_nullable(&mut record).ok_or("its key is cut off")?;
        let value = take_nullable(&mut record).ok_or("its value is cut off")?;
        let (headers, header_count) = checked_headers(record)?;
        (self.rest, self.last_delta) = (rest, delta);
        Ok(RecordView {
            offset: self.header.base_offset.plus(i64::from(delta)),
            timestamp,
            key,
            value,
            headers,
            header_count,
        })
    }
}

fn checked_headers(mut record: &[u8]) -> Result<(&[u8], usize), &'static str> {
    let count = take_i32(&mut record).and_then(|count| usize::try_from(count).ok()).ok_or("its header count is bad")?;
    if count > record.len() / MIN_HEADER_BYTES {
        return Err("it announces more headers than it can hold");
    }
    if count > MAX_HEADERS_PER_RECORD {
        return Err("it has too many headers");
    }
    let headers = record;
    for _ in 0..count {
        take_header(&mut record).ok_or("a header is cut off or has no key")?;
    }
    if !record.is_empty() {
        return Err("bytes are left over behind its headers");
    }
    Ok((headers, count))
}

impl<'a> Iterator for RecordViews<'a> {
    type Item = Result<RecordView<'a>, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        if self.index >= self.header.record_count {
            self.ended = true;
            let left = !self.rest.is_empty();
            return left.then(|| Err(self.header.count_error("bytes are left over behind the last record")));
        }
        let index = self.index;
        self.index += 1;
        let item = self.take().map_err(|reason| BatchError::Record { index, reason });
        self.ended = item.is_err();
        Some(item)
    }
}

impl std::iter::FusedIterator for RecordViews<'_> {}

/// Iterates over the owned records of one batch; made by [`crate::Batch::records`]. Same checks as [`RecordViews`].
#[derive(Clone, Debug)]
pub struct Records {
    header: BatchHeader,
    body: Bytes,
    position: usize,
    index: i32,
    last_delta: i32,
    ended: bool,
}

impl Records {
    pub(crate) const fn new(header: &BatchHeader, body: Bytes) -> Self {
        Records { header: *header, body, position: 0, index: 0, last_delta: -1, ended: false }
    }

    /// The inflated records, for borrowing with [`RecordViews::new`].
    pub const fn body(&self) -> &Bytes {
        &self.body
    }
}

impl Iterator for Records {
    type Item = Result<Record, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut views = RecordViews {
            header: self.header,
            rest: self.body.get(self.position..).unwrap_or_default(),
            index: self.index,
            last_delta: self.last_delta,
            ended: self.ended,
        };
        let item = views.next().map(|view| view.map(|view| view.to_record(&self.body)));
        self.position = self.body.len() - views.rest.len();
        (self.index, self.last_delta, self.ended) = (views.index, views.last_delta, views.ended);
        item
    }
}

impl std::iter::FusedIterator for Records {}
