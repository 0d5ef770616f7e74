//! The records of groups of the consumer protocol (KIP-848), one file per kind. Decides nothing about groups.
//!
//! Kinds 3 (epoch), 5 (member), 6 and 7 (target assignment), 8 (what a member has), 16 (a resolved regular expression). Kind 4, the
//! topics' metadata of Kafka 4.0, is neither written nor kept: kind 3 has a hash of it.
//!
//! ```text
//! key 3, 6      i16 kind · string group
//! key 5, 7, 8   i16 kind · string group · string member id
//! key 16        i16 16 · string group · string regular expression
//! ```

mod current;
mod epoch;
mod member;
mod regex;
mod target;

use std::sync::Arc;

use tidelog_record::fields::{FieldError, Reader, Writer};

use crate::CoordinatorRecord;
use crate::group::ids::{GroupId, MemberId};

pub(crate) use current::{Current, MemberState, Owned};
pub(crate) use epoch::GroupEpoch;
pub(crate) use member::{ClassicTerms, Subscriber};
pub(crate) use regex::Resolved;
pub(crate) use target::{Partitions, TargetEpoch};

const EPOCH: i16 = 3;
const MEMBER: i16 = 5;
const TARGET_EPOCH: i16 = 6;
const TARGET: i16 = 7;
const CURRENT: i16 = 8;
const REGEX: i16 = 16;

/// One record of a group; no value means a tombstone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ConsumerRecord {
    /// Kind 3: the group itself.
    Epoch(Option<GroupEpoch>),
    /// Kind 5: a member and what it subscribes to.
    Member(MemberId, Option<Subscriber>),
    /// Kind 6: the epoch of the target assignment; comes behind all its members' parts.
    TargetEpoch(Option<TargetEpoch>),
    /// Kind 7: what a member shall have.
    Target(MemberId, Option<Partitions>),
    /// Kind 8: what a member has.
    Current(MemberId, Option<Current>),
    /// Kind 16: the topics that a regular expression means.
    Regex(Arc<str>, Option<Resolved>),
}

impl ConsumerRecord {
    fn kind(&self) -> i16 {
        match self {
            ConsumerRecord::Epoch(_) => EPOCH,
            ConsumerRecord::Member(..) => MEMBER,
            ConsumerRecord::TargetEpoch(_) => TARGET_EPOCH,
            ConsumerRecord::Target(..) => TARGET,
            ConsumerRecord::Current(..) => CURRENT,
            ConsumerRecord::Regex(..) => REGEX,
        }
    }

    /// It removes something.
    pub(crate) fn is_tombstone(&self) -> bool {
        match self {
            ConsumerRecord::Epoch(value) => value.is_none(),
            ConsumerRecord::Member(_, value) => value.is_none(),
            ConsumerRecord::TargetEpoch(value) => value.is_none(),
            ConsumerRecord::Target(_, value) => value.is_none(),
            ConsumerRecord::Current(_, value) => value.is_none(),
            ConsumerRecord::Regex(_, value) => value.is_none(),
        }
    }

    /// The record as it is stored.
    pub(crate) fn encode(&self, group: &GroupId) -> Result<CoordinatorRecord, FieldError> {
        let mut key = Writer::new(self.kind());
        key.string(group.as_str())?;
        let value = match self {
            ConsumerRecord::Epoch(value) => value.as_ref().map(GroupEpoch::encode),
            ConsumerRecord::Member(id, value) => {
                key.string(id.as_str())?;
                value.as_ref().map(Subscriber::encode).transpose()?
            }
            ConsumerRecord::TargetEpoch(value) => value.as_ref().map(TargetEpoch::encode),
            ConsumerRecord::Target(id, value) => {
                key.string(id.as_str())?;
                value.as_ref().map(target::encode).transpose()?
            }
            ConsumerRecord::Current(id, value) => {
                key.string(id.as_str())?;
                value.as_ref().map(Current::encode).transpose()?
            }
            ConsumerRecord::Regex(regex, value) => {
                key.string(regex)?;
                value.as_ref().map(Resolved::encode).transpose()?
            }
        };
        Ok(CoordinatorRecord { key: key.finish(), value })
    }

    /// Reads the rest of a key of this kind and the value; `None` if it is a kind of something else.
    pub(super) fn decode(
        kind: i16,
        key: &mut Reader<'_>,
        value: Option<&[u8]>,
    ) -> Result<Option<(GroupId, ConsumerRecord)>, FieldError> {
        if ![EPOCH, MEMBER, TARGET_EPOCH, TARGET, CURRENT, REGEX].contains(&kind) {
            return Ok(None);
        }
        let group = GroupId::from(key.string()?);
        let record = match kind {
            EPOCH => ConsumerRecord::Epoch(value.map(GroupEpoch::decode).transpose()?),
            MEMBER => ConsumerRecord::Member(member_id(key)?, value.map(Subscriber::decode).transpose()?),
            TARGET_EPOCH => ConsumerRecord::TargetEpoch(value.map(TargetEpoch::decode).transpose()?),
            TARGET => ConsumerRecord::Target(member_id(key)?, value.map(target::decode).transpose()?),
            CURRENT => ConsumerRecord::Current(member_id(key)?, value.map(Current::decode).transpose()?),
            _ => ConsumerRecord::Regex(Arc::from(key.string()?), value.map(Resolved::decode).transpose()?),
        };
        Ok(Some((group, record)))
    }
}

fn member_id(key: &mut Reader<'_>) -> Result<MemberId, FieldError> {
    Ok(MemberId::from(key.string()?))
}

/// A value of the only version that there is.
fn open(value: &[u8]) -> Result<Reader<'_>, FieldError> {
    let mut reader = Reader::new(value);
    if reader.i16()? == 0 { Ok(reader) } else { Err(FieldError::Malformed) }
}

#[cfg(test)]
mod tests;
