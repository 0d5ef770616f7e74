//! Kafka's own record formats in `__consumer_offsets`, one file per kind; here the keys are told apart. Decides nothing
//! about groups.
//!
//! A key begins with its kind as a 16-bit number, a value with its version. Kinds 0 and 1 are committed offsets, 2 is a
//! classic group; 3 to 8 and 16 belong to groups of the consumer protocol (KIP-848), others to share and streams groups.

mod consumer;
mod group_metadata;
mod offset_commit;

pub(crate) use consumer::{
    ClassicTerms, ConsumerRecord, Current, GroupEpoch, MemberState, Owned, Partitions, Resolved, Subscriber,
    TargetEpoch,
};
pub(crate) use group_metadata::{StoredGroup, StoredMember, group_key, group_record};
pub(crate) use offset_commit::{OffsetKey, offset_record, offset_tombstone};

use tidelog_model::TopicName;
use tidelog_record::fields::{FieldError, Reader};

use super::CommittedOffset;
use super::ids::GroupId;
use crate::CoordinatorRecord;

/// A record that was understood; no value means a tombstone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum GroupRecord {
    /// Kinds 0 and 1.
    Offset(OffsetKey, Option<CommittedOffset>),
    /// Kind 2.
    Group(GroupId, Option<StoredGroup>),
    /// Kinds 3, 5 to 8 and 16.
    Consumer(GroupId, ConsumerRecord),
    /// Kind 4, the topics' metadata of Kafka 4.0: nobody needs it any more.
    Obsolete,
    /// A kind that this version does not keep.
    Unknown(i16),
}

/// Reads one record.
pub(crate) fn decode(record: &CoordinatorRecord) -> Result<GroupRecord, FieldError> {
    let mut key = Reader::new(&record.key);
    let kind = key.i16()?;
    match kind {
        0 | 1 => {
            let group = GroupId::from(key.string()?);
            let topic = TopicName::new(key.string()?).map_err(|_| FieldError::Malformed)?;
            let key = OffsetKey { group, topic, partition: key.i32()?.into() };
            let value = record.value.as_ref().map(|value| offset_commit::decode_value(value)).transpose()?;
            Ok(GroupRecord::Offset(key, value))
        }
        2 => {
            let group = GroupId::from(key.string()?);
            let value = record.value.as_ref().map(|value| group_metadata::decode_value(value)).transpose()?;
            Ok(GroupRecord::Group(group, value))
        }
        4 => Ok(GroupRecord::Obsolete),
        _ => {
            let record = ConsumerRecord::decode(kind, &mut key, record.value.as_deref())?;
            Ok(record.map_or(GroupRecord::Unknown(kind), |(group, record)| GroupRecord::Consumer(group, record)))
        }
    }
}

#[cfg(test)]
mod tests;
