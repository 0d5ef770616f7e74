//! Writes offset, leader epoch and append time into batches. Offset and epoch lie outside the checksum, so a producer's frame
//! is never copied for them.

use bytes::Bytes;
use tidelog_model::{LeaderEpoch, Offset, Timestamp};

use crate::check::compute_crc;
use crate::header::{ATTRIBUTES_AT, CRC_AT, LENGTH_END, MAX_TIMESTAMP_AT};
use crate::wire::put;
use crate::{Attributes, Batch, BatchError, TimestampType};

/// Bytes that [`stamped_prefix`] replaces.
const PREFIX: usize = 16;

/// The first 16 bytes of the batch as they must lie in the log; the rest of the frame follows unchanged (`bytes[16..]`).
pub fn stamped_prefix(batch: &Batch, base_offset: Offset, leader_epoch: LeaderEpoch) -> [u8; PREFIX] {
    let mut prefix = [0; PREFIX];
    put(&mut prefix, 0, &base_offset.0.to_be_bytes());
    put(&mut prefix, 8, &batch.header().batch_length.to_be_bytes());
    put(&mut prefix, LENGTH_END, &leader_epoch.0.to_be_bytes());
    prefix
}

/// Writes base offset and leader epoch into the bytes of one batch. Fails if there are fewer than 16.
pub fn stamp(bytes: &mut [u8], base_offset: Offset, leader_epoch: LeaderEpoch) -> Result<(), BatchError> {
    let have = bytes.len();
    if have < PREFIX {
        return Err(BatchError::TooShort { have, need: PREFIX });
    }
    put(bytes, 0, &base_offset.0.to_be_bytes());
    put(bytes, LENGTH_END, &leader_epoch.0.to_be_bytes());
    Ok(())
}

/// The batch with the broker's time for all its records (`message.timestamp.type=LogAppendTime`): attribute bit, max timestamp
/// and a new checksum. Copies the batch.
pub fn stamp_log_append_time(batch: &Batch, now: Timestamp) -> Result<Batch, BatchError> {
    rewrite(batch, batch.header().attributes.with_timestamp_type(TimestampType::LogAppendTime), now)
}

/// The batch with its records' own times, for producers that say it had the broker's. Copies the batch.
pub(crate) fn stamp_create_time(batch: &Batch) -> Result<Batch, BatchError> {
    let header = batch.header();
    rewrite(batch, header.attributes.with_timestamp_type(TimestampType::CreateTime), header.max_timestamp)
}

/// The batch with another max timestamp and a new checksum, for producers that announce a wrong one. Copies the batch.
pub fn stamp_max_timestamp(batch: &Batch, max_timestamp: Timestamp) -> Result<Batch, BatchError> {
    rewrite(batch, batch.header().attributes, max_timestamp)
}

fn rewrite(batch: &Batch, attributes: Attributes, max_timestamp: Timestamp) -> Result<Batch, BatchError> {
    let mut bytes = batch.bytes().to_vec();
    put(&mut bytes, ATTRIBUTES_AT, &attributes.bits().to_be_bytes());
    put(&mut bytes, MAX_TIMESTAMP_AT, &max_timestamp.0.to_be_bytes());
    let crc = compute_crc(&bytes);
    put(&mut bytes, CRC_AT, &crc.to_be_bytes());
    Batch::parse(&Bytes::from(bytes))
}
