//! The record of one transactional id in `__transaction_state`: key kind 0, value versions 0 and 1. Lives until its tombstone.
//!
//! ```text
//! key    i16 0 · string transactional id
//! value  i16 1 · i64 producer id · i16 producer epoch · i32 time-out (ms) · i8 state
//!        · compact array, null if Empty, of (compact string topic · compact array of i32 partition · tagged fields)
//!        · i64 last update (ms) · i64 start (ms) · tagged fields: 0 = i64 previous producer id, 1 = i64 next producer id,
//!        2 = i16 the client's transaction version; each is left out at its default (−1, −1, 0)
//! ```
//!
//! Version 1 is written, as Kafka 4.3 does with `transaction.version` 1 or 2; version 0 has the same fields, no tagged ones and
//! plain lengths. A string is a 16-bit length and UTF-8.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use tidelog_model::{PartitionIndex, ProducerEpoch, ProducerId, Timestamp, TopicName, TopicPartition};
use tidelog_record::fields::{FieldError, Reader, Writer};

use super::api::{Producer, TransactionalId};
use super::state::{Stored, TransactionState};
use crate::CoordinatorRecord;

const KEY_KIND: i16 = 0;
const VALUE_VERSION: i16 = 1;
const PREVIOUS_TAG: u32 = 0;
const NEXT_TAG: u32 = 1;
const CLIENT_LEVEL_TAG: u32 = 2;

/// A record that was understood; no value means a tombstone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TransactionRecord {
    /// Kind 0.
    Transaction(TransactionalId, Option<Stored>),
    /// A kind that this version does not keep.
    Unknown(i16),
}

/// The record that stores a transactional id.
pub(crate) fn transaction_record(id: &TransactionalId, stored: &Stored) -> Result<CoordinatorRecord, FieldError> {
    Ok(CoordinatorRecord { key: key(id)?, value: Some(value(stored)?) })
}

/// The record that removes a transactional id.
pub(crate) fn transaction_tombstone(id: &TransactionalId) -> Result<CoordinatorRecord, FieldError> {
    Ok(CoordinatorRecord { key: key(id)?, value: None })
}

fn key(id: &TransactionalId) -> Result<Bytes, FieldError> {
    let mut out = Writer::new(KEY_KIND);
    out.string(id.as_str())?;
    Ok(out.finish())
}

fn value(stored: &Stored) -> Result<Bytes, FieldError> {
    let mut out = Writer::new(VALUE_VERSION);
    out.i64(stored.producer.id.get());
    out.i16(stored.producer.epoch.get());
    out.i32(stored.timeout_ms);
    out.i8(stored.state as i8);
    if stored.state == TransactionState::Empty {
        // No array at all, as Kafka writes it.
        out.unsigned(0);
    } else {
        partitions(&mut out, &stored.partitions)?;
    }
    out.i64(stored.updated.get());
    out.i64(stored.started.get());
    let ids = [(PREVIOUS_TAG, stored.previous), (NEXT_TAG, stored.next)];
    let ids = ids.into_iter().filter(|(_, id)| *id != ProducerId::NONE);
    let has_level = stored.client_level != 0;
    out.unsigned(ids.clone().count() as u32 + u32::from(has_level));
    for (tag, id) in ids {
        out.unsigned(tag);
        out.unsigned(8);
        out.i64(id.get());
    }
    if has_level {
        out.unsigned(CLIENT_LEVEL_TAG);
        out.unsigned(2);
        out.i16(stored.client_level);
    }
    Ok(out.finish())
}

fn partitions(out: &mut Writer, partitions: &BTreeSet<TopicPartition>) -> Result<(), FieldError> {
    let mut topics: BTreeMap<&TopicName, Vec<PartitionIndex>> = BTreeMap::new();
    for partition in partitions {
        topics.entry(&partition.topic).or_default().push(partition.partition);
    }
    out.compact_length(topics.len())?;
    for (topic, indexes) in topics {
        out.compact_string(topic.as_str())?;
        out.compact_length(indexes.len())?;
        indexes.into_iter().for_each(|index| out.i32(index.get()));
        out.unsigned(0);
    }
    Ok(())
}

/// Reads one record.
pub(crate) fn decode(record: &CoordinatorRecord) -> Result<TransactionRecord, FieldError> {
    let mut key = Reader::new(&record.key);
    let kind = key.i16()?;
    if kind != KEY_KIND {
        return Ok(TransactionRecord::Unknown(kind));
    }
    let id = TransactionalId::from(key.string()?);
    let stored = record.value.as_ref().map(|value| decode_value(value)).transpose()?;
    Ok(TransactionRecord::Transaction(id, stored))
}

fn decode_value(value: &[u8]) -> Result<Stored, FieldError> {
    let mut reader = Reader::new(value);
    let version = reader.i16()?;
    if !(0..=VALUE_VERSION).contains(&version) {
        return Err(FieldError::Malformed);
    }
    let flexible = version >= 1;
    let producer = Producer { id: ProducerId(reader.i64()?), epoch: ProducerEpoch(reader.i16()?) };
    let timeout_ms = reader.i32()?;
    let state = TransactionState::from_code(reader.i8()?).ok_or(FieldError::Malformed)?;
    let partitions = decode_partitions(&mut reader, flexible)?;
    // Kafka keeps both in memory only. If they are stored after all, open partitions must get their abort: it comes with the
    // time-out, or with the producer's next beginning.
    let state = match state {
        TransactionState::Dead | TransactionState::PrepareEpochFence if partitions.is_empty() => {
            TransactionState::Empty
        }
        TransactionState::Dead | TransactionState::PrepareEpochFence => TransactionState::Ongoing,
        state => state,
    };
    let mut stored = Stored {
        producer,
        previous: ProducerId::NONE,
        next: ProducerId::NONE,
        timeout_ms,
        state,
        partitions,
        updated: Timestamp(reader.i64()?),
        started: Timestamp(reader.i64()?),
        client_level: 0,
    };
    if flexible {
        for (tag, mut field) in reader.tagged()? {
            match tag {
                PREVIOUS_TAG => stored.previous = ProducerId(field.i64()?),
                NEXT_TAG => stored.next = ProducerId(field.i64()?),
                CLIENT_LEVEL_TAG => stored.client_level = field.i16()?,
                _ => {}
            }
        }
    }
    Ok(stored)
}

fn decode_partitions(reader: &mut Reader<'_>, flexible: bool) -> Result<BTreeSet<TopicPartition>, FieldError> {
    let mut partitions = BTreeSet::new();
    let Some(topics) = reader.versioned_nullable_length(flexible)? else { return Ok(partitions) };
    for _ in 0..topics {
        let topic = TopicName::new(reader.versioned_string(flexible)?).map_err(|_| FieldError::Malformed)?;
        for _ in 0..reader.versioned_length(flexible)? {
            let partition = PartitionIndex(reader.i32()?);
            partitions.insert(TopicPartition { topic: topic.clone(), partition });
        }
        if flexible {
            reader.tagged()?;
        }
    }
    Ok(partitions)
}
