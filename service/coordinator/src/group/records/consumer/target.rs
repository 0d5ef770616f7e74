//! The target assignment: key kind 7, one record for each member whose part changes, and behind them key kind 6, the epoch for which
//! they were made. Live until member and group go.
//!
//! ```text
//! value of 6  i16 0 · epoch i32 · tagged fields (0: when it was made, i64 ms)
//! value of 7  i16 0 · compact array of (topic id, 16 bytes · compact array of partition i32 · no tagged fields) · no tagged fields
//! ```

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use tidelog_model::{PartitionIndex, Timestamp, TopicId};
use tidelog_record::fields::{FieldError, Reader, Writer};

use super::open;
use crate::group::ids::Epoch;

const TIME_TAG: u32 = 0;

/// Partitions by topic; no topic without partitions.
pub(crate) type Partitions = BTreeMap<TopicId, BTreeSet<PartitionIndex>>;

/// For which epoch of the group the target assignment was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TargetEpoch {
    pub(crate) epoch: Epoch,
    pub(crate) made: Timestamp,
}

impl TargetEpoch {
    pub(super) fn encode(&self) -> Bytes {
        let mut out = Writer::new(0);
        out.i32(self.epoch.get());
        out.tagged_i64(TIME_TAG, self.made.get(), 0);
        out.finish()
    }

    pub(super) fn decode(value: &[u8]) -> Result<Self, FieldError> {
        let mut reader = open(value)?;
        let epoch = Epoch(reader.i32()?);
        let mut made = Timestamp(0);
        for (tag, mut field) in reader.tagged()? {
            if tag == TIME_TAG {
                made = Timestamp(field.i64()?);
            }
        }
        Ok(TargetEpoch { epoch, made })
    }
}

pub(super) fn encode(target: &Partitions) -> Result<Bytes, FieldError> {
    let mut out = Writer::new(0);
    out.compact_length(target.len())?;
    for (topic, partitions) in target {
        out.raw(&topic.bytes());
        out.compact_length(partitions.len())?;
        for partition in partitions {
            out.i32(partition.get());
        }
        out.unsigned(0);
    }
    out.unsigned(0);
    Ok(out.finish())
}

pub(super) fn decode(value: &[u8]) -> Result<Partitions, FieldError> {
    let mut reader = open(value)?;
    let mut target = Partitions::new();
    for _ in 0..reader.versioned_length(true)? {
        let topic = reader.uuid()?;
        let partitions = partitions(&mut reader)?;
        reader.tagged()?;
        if !partitions.is_empty() {
            target.entry(topic).or_default().extend(partitions);
        }
    }
    reader.tagged()?;
    Ok(target)
}

pub(super) fn partitions(reader: &mut Reader<'_>) -> Result<Vec<PartitionIndex>, FieldError> {
    let mut partitions = Vec::new();
    for _ in 0..reader.versioned_length(true)? {
        partitions.push(PartitionIndex(reader.i32()?));
    }
    Ok(partitions)
}
