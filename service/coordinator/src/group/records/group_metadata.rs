//! The record of one classic group: key kind 2, value versions 0 to 4. Written when an assignment arrives, when a static member
//! is replaced and when the last member goes; lives until its tombstone.
//!
//! ```text
//! key    i16 2 · string group
//! value  i16 3 · string protocol type (empty: none) · i32 generation · nullable string protocol · nullable string leader
//!        · i64 time of the state's beginning (ms) · i32 count of members, each:
//!          string member id · nullable string instance id · string client id · string client host
//!          · i32 rebalance timeout (ms) · i32 session timeout (ms) · bytes subscription · bytes assignment
//! ```
//!
//! Version 3 is written, as Kafka 4.3 does. A string is a 16-bit length and UTF-8, bytes a 32-bit length and content.

use std::sync::Arc;

use bytes::Bytes;
use tidelog_model::Timestamp;
use tidelog_record::fields::{FieldError, Reader, Writer};

use crate::CoordinatorRecord;
use crate::group::ids::{Generation, GroupId, InstanceId, MemberId};
use crate::limits::MEMBER_OVERHEAD_BYTES;

const KEY_KIND: i16 = 2;
const VALUE_VERSION: i16 = 3;
const NEWEST_VALUE_VERSION: i16 = 4;

/// A classic group as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StoredGroup {
    /// `consumer` …; empty is none.
    pub(crate) protocol_type: Arc<str>,
    pub(crate) generation: Generation,
    pub(crate) protocol_name: Option<Arc<str>>,
    pub(crate) leader: Option<MemberId>,
    /// When the state began; −1 if an old version did not say.
    pub(crate) state_since: Timestamp,
    pub(crate) members: Vec<StoredMember>,
}

impl StoredGroup {
    /// Memory, bytes.
    pub(crate) fn bytes(&self) -> usize {
        let members = self.members.iter().map(|member| {
            let texts = member.member_id.len() + member.client_id.len() + member.client_host.len();
            MEMBER_OVERHEAD_BYTES + texts + member.subscription.len() + member.assignment.len()
        });
        members.sum()
    }
}

/// A member as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StoredMember {
    pub(crate) member_id: MemberId,
    pub(crate) instance_id: Option<InstanceId>,
    pub(crate) client_id: Arc<str>,
    pub(crate) client_host: Arc<str>,
    pub(crate) rebalance_timeout_ms: i32,
    pub(crate) session_timeout_ms: i32,
    /// The member's metadata for the chosen protocol.
    pub(crate) subscription: Bytes,
    pub(crate) assignment: Bytes,
}

/// The key of a group's record; with no value it is the group's tombstone.
pub(crate) fn group_key(group: &GroupId) -> Result<Bytes, FieldError> {
    let mut out = Writer::new(KEY_KIND);
    out.string(group.as_str())?;
    Ok(out.finish())
}

/// The record that stores a group.
pub(crate) fn group_record(group: &GroupId, stored: &StoredGroup) -> Result<CoordinatorRecord, FieldError> {
    let mut out = Writer::new(VALUE_VERSION);
    out.string(&stored.protocol_type)?;
    out.i32(stored.generation.get());
    out.nullable_string(stored.protocol_name.as_deref())?;
    out.nullable_string(stored.leader.as_ref().map(MemberId::as_str))?;
    out.i64(stored.state_since.get());
    out.length(stored.members.len())?;
    for member in &stored.members {
        out.string(member.member_id.as_str())?;
        out.nullable_string(member.instance_id.as_ref().map(InstanceId::as_str))?;
        out.string(&member.client_id)?;
        out.string(&member.client_host)?;
        out.i32(member.rebalance_timeout_ms);
        out.i32(member.session_timeout_ms);
        out.bytes(&member.subscription)?;
        out.bytes(&member.assignment)?;
    }
    Ok(CoordinatorRecord { key: group_key(group)?, value: Some(out.finish()) })
}

/// Reads a value of any version.
pub(crate) fn decode_value(value: &[u8]) -> Result<StoredGroup, FieldError> {
    let mut reader = Reader::new(value);
    let version = reader.i16()?;
    if !(0..=NEWEST_VALUE_VERSION).contains(&version) {
        return Err(FieldError::Malformed);
    }
    let flexible = version >= 4;
    let protocol_type = Arc::from(reader.versioned_string(flexible)?);
    let generation = Generation(reader.i32()?);
    let protocol_name = reader.versioned_nullable_string(flexible)?.map(Arc::from);
    let leader = reader.versioned_nullable_string(flexible)?.map(MemberId::from);
    let state_since = if version >= 2 { Timestamp(reader.i64()?) } else { Timestamp::NONE };
    let count = reader.versioned_length(flexible)?;
    let mut members = Vec::new();
    for _ in 0..count {
        members.push(decode_member(&mut reader, version, flexible)?);
    }
    if flexible {
        reader.tagged()?;
    }
    Ok(StoredGroup { protocol_type, generation, protocol_name, leader, state_since, members })
}

fn decode_member(reader: &mut Reader<'_>, version: i16, flexible: bool) -> Result<StoredMember, FieldError> {
    let member_id = MemberId::from(reader.versioned_string(flexible)?);
    let instance_id =
        if version >= 3 { reader.versioned_nullable_string(flexible)?.map(InstanceId::from) } else { None };
    let client_id = Arc::from(reader.versioned_string(flexible)?);
    let client_host = Arc::from(reader.versioned_string(flexible)?);
    let rebalance = if version >= 1 { Some(reader.i32()?) } else { None };
    let session_timeout_ms = reader.i32()?;
    let subscription = reader.versioned_bytes(flexible)?;
    let assignment = reader.versioned_bytes(flexible)?;
    if flexible {
        reader.tagged()?;
    }
    Ok(StoredMember {
        member_id,
        instance_id,
        client_id,
        client_host,
        rebalance_timeout_ms: rebalance.unwrap_or(session_timeout_ms),
        session_timeout_ms,
        subscription,
        assignment,
    })
}
