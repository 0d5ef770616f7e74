//! Builds one batch from records: the counterpart of reading. Decides layout only; never assigns offsets beyond what it is told.

use bytes::Bytes;
use tidelog_model::limits::MAX_RECORDS_PER_BATCH;
use tidelog_model::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Sequence, Timestamp};

use crate::codec::compress;
use crate::header::{CRC_AT, LENGTH_END, MAGIC};
use crate::limits::MAX_HEADERS_PER_RECORD;
use crate::varint::{put_i64, size_of_i64};
use crate::wire::put;
use crate::{Attributes, Batch, BatchError, BatchHeader, Codec, Header, TimestampType, check::compute_crc};

/// Collects records and writes them as one batch. Consumers of `self` set the header, [`BatchBuilder::push`] adds records.
///
/// Without further calls: no codec, no producer, create time, leader epoch −1.
#[derive(Clone, Debug)]
pub struct BatchBuilder {
    attributes: Attributes,
    base_offset: Offset,
    leader_epoch: LeaderEpoch,
    producer_id: ProducerId,
    producer_epoch: ProducerEpoch,
    base_sequence: Sequence,
    base_timestamp: Option<Timestamp>,
    max_timestamp: Timestamp,
    append_time: Option<Timestamp>,
    last_offset: Option<Offset>,
    /// What an emptied batch keeps as its max timestamp.
    empty_timestamp: Timestamp,
    last_delta: i32,
    count: i32,
    records: Vec<u8>,
}

impl BatchBuilder {
    /// A batch whose first record has this offset. Producers use [`Offset::ZERO`]: the leader stamps the true one.
    pub const fn new(base_offset: Offset) -> Self {
        BatchBuilder {
            attributes: Attributes::new(Codec::None),
            base_offset,
            leader_epoch: LeaderEpoch::NONE,
            producer_id: ProducerId::NONE,
            producer_epoch: ProducerEpoch::NONE,
            base_sequence: Sequence::NONE,
            base_timestamp: None,
            max_timestamp: Timestamp::NONE,
            append_time: None,
            last_offset: None,
            empty_timestamp: Timestamp::NONE,
            last_delta: -1,
            count: 0,
            records: Vec::new(),
        }
    }

    /// A batch with the offsets, epoch, producer and flags of `header` and no records yet: for rewriting a batch. The base offset and
    /// the last offset stay, whatever records are pushed; so does an append time or a delete horizon.
    pub const fn like(header: &BatchHeader) -> Self {
        let mut builder = BatchBuilder::new(header.base_offset);
        builder.attributes = header.attributes;
        builder.leader_epoch = header.leader_epoch;
        builder.producer_id = header.producer_id;
        builder.producer_epoch = header.producer_epoch;
        builder.base_sequence = header.base_sequence;
        builder.base_timestamp = header.delete_horizon();
        builder.last_offset = Some(header.last_offset());
        builder.empty_timestamp = header.max_timestamp;
        if matches!(header.attributes.timestamp_type(), TimestampType::LogAppendTime) {
            builder.append_time = Some(header.max_timestamp);
        }
        builder
    }

    /// Compresses the records.
    #[must_use]
    pub const fn codec(mut self, codec: Codec) -> Self {
        self.attributes = self.attributes.with_codec(codec);
        self
    }

    /// The leader epoch in the header (outside the checksum).
    #[must_use]
    pub const fn leader_epoch(mut self, epoch: LeaderEpoch) -> Self {
        self.leader_epoch = epoch;
        self
    }

    /// The idempotent producer and the sequence of the first record; coordinators use [`Sequence::NONE`].
    #[must_use]
    pub const fn producer(mut self, id: ProducerId, epoch: ProducerEpoch, base_sequence: Sequence) -> Self {
        self.producer_id = id;
        self.producer_epoch = epoch;
        self.base_sequence = base_sequence;
        self
    }

    /// Marks the batch as part of a transaction.
    #[must_use]
    pub const fn transactional(mut self, on: bool) -> Self {
        self.attributes = self.attributes.with_transactional(on);
        self
    }

    /// Marks the batch as a control batch.
    #[must_use]
    pub const fn control(mut self, on: bool) -> Self {
        self.attributes = self.attributes.with_control(on);
        self
    }

    /// Gives every record this time of the broker (log-append time).
    #[must_use]
    pub const fn append_time(mut self, now: Timestamp) -> Self {
        self.attributes = self.attributes.with_timestamp_type(TimestampType::LogAppendTime);
        self.append_time = Some(now);
        self
    }

    /// The timestamp that deltas count from, instead of the first record's. Before the first record.
    #[must_use]
    pub const fn base_timestamp(mut self, timestamp: Timestamp) -> Self {
        self.base_timestamp = Some(timestamp);
        self
    }

    /// Sets the delete horizon (KIP-534), which takes the place of the base timestamp. Before the first record.
    #[must_use]
    pub const fn delete_horizon(mut self, horizon: Timestamp) -> Self {
        self.attributes = self.attributes.with_delete_horizon(true);
        self.base_timestamp = Some(horizon);
        self
    }

    /// Adds a record with the next offset.
    pub fn push(
        &mut self,
        timestamp: Timestamp,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[Header],
    ) -> Result<(), BatchError> {
        let offset = self.base_offset.plus(i64::from(self.last_delta) + 1);
        self.push_at(offset, timestamp, key, value, headers.iter().map(|h| (h.key.as_ref(), h.value.as_deref())))
    }

    /// Adds a record at an offset of its own, above the previous one: compaction leaves gaps.
    pub fn push_at<'a>(
        &mut self,
        offset: Offset,
        timestamp: Timestamp,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)> + Clone,
    ) -> Result<(), BatchError> {
        let delta = offset.0.checked_sub(self.base_offset.0).and_then(|delta| i32::try_from(delta).ok());
        let delta = delta.filter(|delta| *delta > self.last_delta).ok_or(BatchError::Build("offsets must ascend"))?;
        if self.last_offset.is_some_and(|last| offset > last) {
            return Err(BatchError::Build("the offset is above the batch's last"));
        }
        if self.count >= MAX_RECORDS_PER_BATCH {
            return Err(BatchError::Build("too many records"));
        }
        let base = self.base_timestamp.unwrap_or(timestamp);
        let timestamp_delta =
            timestamp.0.checked_sub(base.0).ok_or(BatchError::Build("the timestamps lie too far apart"))?;
        let header_count = headers.clone().count();
        if header_count > MAX_HEADERS_PER_RECORD {
            return Err(BatchError::Build("too many headers"));
        }
        let headers_size: usize = headers.clone().map(|(key, value)| sized(Some(key)) + sized(value)).sum();
        let size = 1
            + size_of_i64(timestamp_delta)
            + size_of_i64(i64::from(delta))
            + sized(key)
            + sized(value)
            + size_of_i64(header_count as i64)
            + headers_size;
        // A batch's length is an i32; a record's parts fit if their sum does.
        if size + self.records.len() > i32::MAX as usize - BatchHeader::LEN - 8 {
            return Err(BatchError::Build("more than 2 GiB"));
        }
        let out = &mut self.records;
        out.reserve(size + 5);
        put_i64(out, size as i64);
        out.push(0);
        put_i64(out, timestamp_delta);
        put_i64(out, i64::from(delta));
        put_bytes(out, key);
        put_bytes(out, value);
        put_i64(out, header_count as i64);
        for (key, value) in headers {
            put_bytes(out, Some(key));
            put_bytes(out, value);
        }
        self.base_timestamp = Some(base);
        self.max_timestamp = self.max_timestamp.max(timestamp);
        self.last_delta = delta;
        self.count += 1;
        Ok(())
    }

    /// Records so far.
    pub const fn count(&self) -> i32 {
        self.count
    }

    /// No records yet?
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Bytes of the batch so far, without a codec.
    pub const fn size(&self) -> usize {
        BatchHeader::LEN + self.records.len()
    }

    /// Writes the batch. Fails without records, except for a rewritten batch ([`BatchBuilder::like`]), which may become empty: it
    /// then has no codec, but still tells its last offset, its max timestamp and the producer's last sequence.
    pub fn build(self) -> Result<Batch, BatchError> {
        let last_offset_delta = match self.last_offset {
            Some(last) => i32::try_from(last.0.saturating_sub(self.base_offset.0))
                .map_err(|_| BatchError::Build("the offsets lie too far apart"))?,
            None if self.count == 0 => return Err(BatchError::Build("a batch needs a record")),
            None => self.last_delta,
        };
        let (attributes, max_timestamp) = match self.count {
            0 => (self.attributes.with_codec(Codec::None), self.empty_timestamp),
            _ => (self.attributes, self.max_timestamp),
        };
        let header = BatchHeader {
            base_offset: self.base_offset,
            batch_length: 0,
            leader_epoch: self.leader_epoch,
            magic: MAGIC,
            crc: 0,
            attributes,
            last_offset_delta,
            base_timestamp: self.base_timestamp.unwrap_or(max_timestamp),
            max_timestamp: self.append_time.unwrap_or(max_timestamp),
            producer_id: self.producer_id,
            producer_epoch: self.producer_epoch,
            base_sequence: self.base_sequence,
            record_count: self.count,
        };
        assemble(header, None, &self.records)
    }
}

/// Header + compressed records, with length and checksum filled in; `level` as [`compress`] has it.
pub(crate) fn assemble(header: BatchHeader, level: Option<i32>, records: &[u8]) -> Result<Batch, BatchError> {
    let mut bytes = Vec::with_capacity(BatchHeader::LEN + records.len());
    bytes.extend_from_slice(&header.to_bytes());
    compress(header.codec(), level, records, &mut bytes)?;
    let length = i32::try_from(bytes.len() - LENGTH_END).map_err(|_| BatchError::Build("more than 2 GiB"))?;
    put(&mut bytes, 8, &length.to_be_bytes());
    let crc = compute_crc(&bytes);
    put(&mut bytes, CRC_AT, &crc.to_be_bytes());
    Batch::parse(&Bytes::from(bytes))
}

fn sized(bytes: Option<&[u8]>) -> usize {
    bytes.map_or(1, |bytes| size_of_i64(bytes.len() as i64).saturating_add(bytes.len()))
}

fn put_bytes(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    match bytes {
        Some(bytes) => {
            put_i64(out, bytes.len() as i64);
            out.extend_from_slice(bytes);
        }
        None => put_i64(out, -1),
    }
}
