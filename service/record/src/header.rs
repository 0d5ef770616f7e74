//! The 61 bytes in front of every batch's records (format v2): decides whether they can be a header; never looks at the records.
//!
//! ```text
//!  0 base offset i64       12 leader epoch i32   21 attributes i16          35 max timestamp i64   53 base sequence i32
//!  8 batch length i32      16 magic i8 = 2       23 last offset delta i32   43 producer id i64     57 record count i32
//!                          17 crc u32            27 base timestamp i64      51 producer epoch i16  61 records
//! ```
//! The length counts from byte 12, the CRC32C covers everything from byte 21 on.

use tidelog_model::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Sequence, Timestamp};

use crate::wire::{i8_at, i16_at, i32_at, i64_at, u32_at};
use crate::{BatchError, Codec};

/// Bytes before the leader epoch: base offset and length, which the length does not count.
pub(crate) const LENGTH_AT: usize = 8;
pub(crate) const LENGTH_END: usize = 12;
pub(crate) const MAGIC_AT: usize = 16;
pub(crate) const CRC_AT: usize = 17;
pub(crate) const ATTRIBUTES_AT: usize = 21;
pub(crate) const MAX_TIMESTAMP_AT: usize = 35;
/// The only format there is.
pub(crate) const MAGIC: i8 = 2;

/// Whose clock the record timestamps come from.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum TimestampType {
    /// The producer's, one per record.
    CreateTime,
    /// The broker's, one per batch: the batch's max timestamp.
    LogAppendTime,
}

/// A batch's attribute bits: codec (0–2), timestamp type (3), transactional (4), control (5), delete horizon (6).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Attributes {
    bits: i16,
    codec: Codec,
}

impl Attributes {
    const LOG_APPEND_TIME: i16 = 1 << 3;
    const TRANSACTIONAL: i16 = 1 << 4;
    const CONTROL: i16 = 1 << 5;
    const DELETE_HORIZON: i16 = 1 << 6;

    /// The attributes of a plain batch with this codec.
    pub const fn new(codec: Codec) -> Self {
        Attributes { bits: codec.id() as i16, codec }
    }

    /// Reads the bits; unknown bits are kept. Fails on a codec number that Kafka does not have.
    pub fn from_bits(bits: i16) -> Result<Self, BatchError> {
        let codec = Codec::from_id((bits & 7) as u8)?;
        Ok(Attributes { bits, codec })
    }

    /// The bits as they are stored.
    pub const fn bits(self) -> i16 {
        self.bits
    }

    /// How the records are compressed.
    pub const fn codec(self) -> Codec {
        self.codec
    }

    /// Whose clock the timestamps come from.
    pub const fn timestamp_type(self) -> TimestampType {
        if self.bits & Self::LOG_APPEND_TIME != 0 { TimestampType::LogAppendTime } else { TimestampType::CreateTime }
    }

    /// Part of a transaction?
    pub const fn is_transactional(self) -> bool {
        self.bits & Self::TRANSACTIONAL != 0
    }

    /// Written by the broker, never shown to applications?
    pub const fn is_control(self) -> bool {
        self.bits & Self::CONTROL != 0
    }

    /// Does the base timestamp hold the time from which tombstones and markers may go (KIP-534)?
    pub const fn has_delete_horizon(self) -> bool {
        self.bits & Self::DELETE_HORIZON != 0
    }

    /// The same with another codec.
    #[must_use]
    pub const fn with_codec(self, codec: Codec) -> Self {
        Attributes { bits: (self.bits & !7) | codec.id() as i16, codec }
    }

    /// The same with another timestamp type.
    #[must_use]
    pub const fn with_timestamp_type(self, kind: TimestampType) -> Self {
        self.with_bit(Self::LOG_APPEND_TIME, matches!(kind, TimestampType::LogAppendTime))
    }

    /// The same, transactional or not.
    #[must_use]
    pub const fn with_transactional(self, on: bool) -> Self {
        self.with_bit(Self::TRANSACTIONAL, on)
    }

    /// The same, control batch or not.
    #[must_use]
    pub const fn with_control(self, on: bool) -> Self {
        self.with_bit(Self::CONTROL, on)
    }

    /// The same, with the delete horizon flag or without.
    #[must_use]
    pub const fn with_delete_horizon(self, on: bool) -> Self {
        self.with_bit(Self::DELETE_HORIZON, on)
    }

    const fn with_bit(self, bit: i16, on: bool) -> Self {
        Attributes { bits: if on { self.bits | bit } else { self.bits & !bit }, codec: self.codec }
    }
}

impl std::fmt::Debug for Attributes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Attributes")
            .field("codec", &self.codec)
            .field("timestamp_type", &self.timestamp_type())
            .field("transactional", &self.is_transactional())
            .field("control", &self.is_control())
            .field("delete_horizon", &self.has_delete_horizon())
            .finish()
    }
}

/// A parsed batch header. The numbers are what the bytes say; only what [`BatchHeader::parse`] names is checked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BatchHeader {
    /// Offset of the first record (as first written; compaction may have removed it).
    pub base_offset: Offset,
    /// Bytes after the length field, at least 49.
    pub batch_length: i32,
    /// Leader epoch of the append; outside the checksum.
    pub leader_epoch: LeaderEpoch,
    /// The format, always 2.
    pub magic: i8,
    /// CRC32C over everything from the attributes on.
    pub crc: u32,
    /// Codec and flags.
    pub attributes: Attributes,
    /// Last offset − base offset, at least 0.
    pub last_offset_delta: i32,
    /// Timestamp that record deltas count from, or the delete horizon.
    pub base_timestamp: Timestamp,
    /// Largest record timestamp, or the append time.
    pub max_timestamp: Timestamp,
    /// The idempotent producer, or none.
    pub producer_id: ProducerId,
    /// Its epoch, or none.
    pub producer_epoch: ProducerEpoch,
    /// Sequence of the first record, or none.
    pub base_sequence: Sequence,
    /// Records in the batch, at least 0 (0 after compaction).
    pub record_count: i32,
}

impl BatchHeader {
    /// Bytes of a header.
    pub const LEN: usize = 61;

    /// Reads the header at the front of `bytes`; the records need not be there.
    ///
    /// Checked: 61 bytes, magic 2, a known codec, a length that holds at least the header, and neither a negative record count nor
    /// a negative last offset delta. Formats 0 and 1 are recognised ([`BatchError::Magic`]) even when shorter than 61 bytes.
    pub fn parse(bytes: &[u8]) -> Result<Self, BatchError> {
        if let Some(magic) = i8_at(bytes, MAGIC_AT).filter(|magic| *magic != MAGIC) {
            return Err(BatchError::Magic(magic));
        }
        Self::read(bytes).ok_or(BatchError::TooShort { have: bytes.len(), need: Self::LEN })??.checked()
    }

    fn read(bytes: &[u8]) -> Option<Result<Self, BatchError>> {
        // The last field proves that all are there.
        let record_count = i32_at(bytes, 57)?;
        let attributes = match Attributes::from_bits(i16_at(bytes, ATTRIBUTES_AT)?) {
            Ok(attributes) => attributes,
            Err(error) => return Some(Err(error)),
        };
        Some(Ok(BatchHeader {
            base_offset: Offset(i64_at(bytes, 0)?),
            batch_length: i32_at(bytes, LENGTH_AT)?,
            leader_epoch: LeaderEpoch(i32_at(bytes, LENGTH_END)?),
            magic: i8_at(bytes, MAGIC_AT)?,
            crc: u32_at(bytes, CRC_AT)?,
            attributes,
            last_offset_delta: i32_at(bytes, 23)?,
            base_timestamp: Timestamp(i64_at(bytes, 27)?),
            max_timestamp: Timestamp(i64_at(bytes, MAX_TIMESTAMP_AT)?),
            producer_id: ProducerId(i64_at(bytes, 43)?),
            producer_epoch: ProducerEpoch(i16_at(bytes, 51)?),
            base_sequence: Sequence(i32_at(bytes, 53)?),
            record_count,
        }))
    }

    fn checked(self) -> Result<Self, BatchError> {
        if self.batch_length < (Self::LEN - LENGTH_END) as i32 || self.batch_length > i32::MAX - LENGTH_END as i32 {
            return Err(BatchError::Length(self.batch_length));
        }
        if self.record_count < 0 || self.last_offset_delta < 0 {
            return Err(self.count_error("neither may be negative"));
        }
        Ok(self)
    }

    pub(crate) const fn count_error(&self, reason: &'static str) -> BatchError {
        BatchError::Count { count: self.record_count, last_offset_delta: self.last_offset_delta, reason }
    }

    /// The 61 bytes.
    pub fn to_bytes(&self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        let fields: [(usize, &[u8]); 13] = [
            (0, &self.base_offset.0.to_be_bytes()),
            (8, &self.batch_length.to_be_bytes()),
            (LENGTH_END, &self.leader_epoch.0.to_be_bytes()),
            (MAGIC_AT, &self.magic.to_be_bytes()),
            (CRC_AT, &self.crc.to_be_bytes()),
            (ATTRIBUTES_AT, &self.attributes.bits().to_be_bytes()),
            (23, &self.last_offset_delta.to_be_bytes()),
            (27, &self.base_timestamp.0.to_be_bytes()),
            (MAX_TIMESTAMP_AT, &self.max_timestamp.0.to_be_bytes()),
            (43, &self.producer_id.0.to_be_bytes()),
            (51, &self.producer_epoch.0.to_be_bytes()),
            (53, &self.base_sequence.0.to_be_bytes()),
            (57, &self.record_count.to_be_bytes()),
        ];
        for (at, value) in fields {
            crate::wire::put(&mut bytes, at, value);
        }
        bytes
    }

    /// Bytes of the whole batch, header included.
    pub const fn size(&self) -> usize {
        LENGTH_END + if self.batch_length > 0 { self.batch_length as usize } else { 0 }
    }

    /// How the records are compressed.
    pub const fn codec(&self) -> Codec {
        self.attributes.codec()
    }

    /// Offset of the last record (as first written). Saturates.
    pub const fn last_offset(&self) -> Offset {
        self.base_offset.plus(self.last_offset_delta as i64)
    }

    /// The offset after the batch. Saturates.
    pub const fn next_offset(&self) -> Offset {
        self.last_offset().plus(1)
    }

    /// Sequence of the last record, wrapping after `i32::MAX`; none if the batch has none.
    pub const fn last_sequence(&self) -> Sequence {
        if self.base_sequence.0 < 0 { Sequence::NONE } else { self.base_sequence.plus(self.last_offset_delta) }
    }

    /// Has an idempotent producer written it?
    pub const fn has_producer(&self) -> bool {
        self.producer_id.0 >= 0
    }

    /// The time from which compaction may drop tombstones and markers of this batch, if it was set.
    pub const fn delete_horizon(&self) -> Option<Timestamp> {
        if self.attributes.has_delete_horizon() { Some(self.base_timestamp) } else { None }
    }

    /// The same header as it will lie in the log.
    #[must_use]
    pub const fn stamped(self, base_offset: Offset, leader_epoch: LeaderEpoch) -> Self {
        BatchHeader { base_offset, leader_epoch, ..self }
    }
}
