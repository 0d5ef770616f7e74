//! The record of one committed offset: key kind 1 (0 is the same, older), value versions 0 to 4. Lives until its tombstone.
//!
//! ```text
//! key    i16 1 · string group · string topic · i32 partition
//! value  i16 4 · i64 offset · i32 leader epoch · compact string metadata · i64 commit timestamp (ms)
//!        · tagged fields: 0 = topic id (16 bytes, KIP-848)
//! ```
//!
//! Version 4 is written, as Kafka 4.3 does; an offset whose client chose its own retention is written as version 1,
//! the only one with an expire timestamp (and without leader epoch and topic id). A string is a 16-bit length and UTF-8.

use std::sync::Arc;

use bytes::Bytes;
use tidelog_model::{LeaderEpoch, Offset, PartitionIndex, Timestamp, TopicId, TopicName};
use tidelog_record::fields::{FieldError, Reader, Writer};

use crate::CoordinatorRecord;
use crate::group::CommittedOffset;
use crate::group::ids::GroupId;

const KEY_KIND: i16 = 1;
const VALUE_VERSION: i16 = 4;
const VALUE_VERSION_WITH_EXPIRY: i16 = 1;
const NEWEST_VALUE_VERSION: i16 = 4;
const TOPIC_ID_TAG: u32 = 0;

/// Whose offset it is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct OffsetKey {
    pub(crate) group: GroupId,
    pub(crate) topic: TopicName,
    pub(crate) partition: PartitionIndex,
}

/// The record that stores an offset.
pub(crate) fn offset_record(
    group: &GroupId,
    topic: &TopicName,
    partition: PartitionIndex,
    committed: &CommittedOffset,
) -> Result<CoordinatorRecord, FieldError> {
    Ok(CoordinatorRecord { key: key(group, topic, partition)?, value: Some(value(committed)?) })
}

/// The record that removes an offset.
pub(crate) fn offset_tombstone(
    group: &GroupId,
    topic: &TopicName,
    partition: PartitionIndex,
) -> Result<CoordinatorRecord, FieldError> {
    Ok(CoordinatorRecord { key: key(group, topic, partition)?, value: None })
}

fn key(group: &GroupId, topic: &TopicName, partition: PartitionIndex) -> Result<Bytes, FieldError> {
    let mut out = Writer::new(KEY_KIND);
    out.string(group.as_str())?;
    out.string(topic.as_str())?;
    out.i32(partition.get());
    Ok(out.finish())
}

fn value(committed: &CommittedOffset) -> Result<Bytes, FieldError> {
    if let Some(expires) = committed.expire_timestamp {
        let mut out = Writer::new(VALUE_VERSION_WITH_EXPIRY);
        out.i64(committed.offset.get());
        out.string(&committed.metadata)?;
        out.i64(committed.commit_timestamp.get());
        out.i64(expires.get());
        return Ok(out.finish());
    }
    let mut out = Writer::new(VALUE_VERSION);
    out.i64(committed.offset.get());
    out.i32(committed.leader_epoch.get());
    out.compact_string(&committed.metadata)?;
    out.i64(committed.commit_timestamp.get());
    if committed.topic_id == TopicId::ZERO {
        out.unsigned(0);
    } else {
        let id = committed.topic_id.bytes();
        out.unsigned(1);
        out.unsigned(TOPIC_ID_TAG);
        out.unsigned(id.len() as u32);
        out.raw(&id);
    }
    Ok(out.finish())
}

/// Reads a value of any version.
pub(crate) fn decode_value(value: &[u8]) -> Result<CommittedOffset, FieldError> {
    let mut reader = Reader::new(value);
    let version = reader.i16()?;
    if !(0..=NEWEST_VALUE_VERSION).contains(&version) {
        return Err(FieldError::Malformed);
    }
    let flexible = version >= 4;
    let offset = Offset(reader.i64()?);
    let leader_epoch = if version >= 3 { LeaderEpoch(reader.i32()?) } else { LeaderEpoch::NONE };
    let metadata = Arc::from(reader.versioned_string(flexible)?);
    let commit_timestamp = Timestamp(reader.i64()?);
    let expires = if version == 1 { Timestamp(reader.i64()?) } else { Timestamp::NONE };
    let mut topic_id = TopicId::ZERO;
    if flexible {
        for (tag, mut field) in reader.tagged()? {
            if tag == TOPIC_ID_TAG {
                topic_id = field.uuid()?;
            }
        }
    }
    Ok(CommittedOffset {
        offset,
        leader_epoch,
        metadata,
        commit_timestamp,
        expire_timestamp: (expires != Timestamp::NONE).then_some(expires),
        topic_id,
    })
}
