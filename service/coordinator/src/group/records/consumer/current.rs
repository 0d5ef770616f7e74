//! What a member has, and how far it is on its way to its target: key kind 8. Written with every step; lives until the member goes.
//!
//! ```text
//! value  i16 0 · member epoch i32 · previous member epoch i32 · state i8 · partitions it has · partitions it must give up
//!        · no tagged fields
//! both   compact array of (topic id, 16 bytes · compact array of partition i32
//!        · tagged fields (0: for each partition the epoch in which the member got it, compact array of i32, KIP-1251))
//! ```

use std::collections::BTreeMap;

use bytes::Bytes;
use tidelog_model::{PartitionIndex, TopicId};
use tidelog_record::fields::{FieldError, Reader, Writer};

use super::open;
use super::target::partitions;
use crate::group::ids::Epoch;

const EPOCHS_TAG: u32 = 0;

/// Partitions by topic, each with the epoch in which the member got it; no topic without partitions.
pub(crate) type Owned = BTreeMap<TopicId, BTreeMap<PartitionIndex, Epoch>>;

/// How far a member is; the numbers are Kafka's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i8)]
pub(crate) enum MemberState {
    /// It has what it shall have in its epoch.
    Stable = 0,
    /// It must give partitions up before it may go on.
    Unrevoked = 1,
    /// It waits for partitions that others have not given up.
    Unreleased = 2,
}

/// A member's place in the group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Current {
    pub(crate) epoch: Epoch,
    pub(crate) previous_epoch: Epoch,
    pub(crate) state: MemberState,
    pub(crate) assigned: Owned,
    pub(crate) revoking: Owned,
}

impl Current {
    /// A member that is about to join.
    pub(crate) fn joining() -> Self {
        Current {
            epoch: Epoch::JOIN,
            previous_epoch: Epoch::JOIN,
            state: MemberState::Stable,
            assigned: Owned::new(),
            revoking: Owned::new(),
        }
    }

    pub(super) fn encode(&self) -> Result<Bytes, FieldError> {
        let mut out = Writer::new(0);
        out.i32(self.epoch.get());
        out.i32(self.previous_epoch.get());
        out.raw(&[self.state as u8]);
        put_owned(&mut out, &self.assigned)?;
        put_owned(&mut out, &self.revoking)?;
        out.unsigned(0);
        Ok(out.finish())
    }

    pub(super) fn decode(value: &[u8]) -> Result<Self, FieldError> {
        let mut reader = open(value)?;
        let epoch = Epoch(reader.i32()?);
        let previous_epoch = Epoch(reader.i32()?);
        let state = match reader.i8()? {
            0 => MemberState::Stable,
            1 => MemberState::Unrevoked,
            2 => MemberState::Unreleased,
            _ => return Err(FieldError::Malformed),
        };
        let assigned = owned(&mut reader, epoch)?;
        let revoking = owned(&mut reader, epoch)?;
        reader.tagged()?;
        Ok(Current { epoch, previous_epoch, state, assigned, revoking })
    }
}

fn put_owned(out: &mut Writer, owned: &Owned) -> Result<(), FieldError> {
    out.compact_length(owned.len())?;
    for (topic, partitions) in owned {
        out.raw(&topic.bytes());
        out.compact_length(partitions.len())?;
        for partition in partitions.keys() {
            out.i32(partition.get());
        }
        let mut epochs = Writer::empty();
        epochs.compact_length(partitions.len())?;
        for epoch in partitions.values() {
            epochs.i32(epoch.get());
        }
        let epochs = epochs.finish();
        out.unsigned(1);
        out.unsigned(EPOCHS_TAG);
        out.compact_size(epochs.len())?;
        out.raw(&epochs);
    }
    Ok(())
}

/// Records from before KIP-1251 have no epochs: the member's own is the latest that it can have been.
fn owned(reader: &mut Reader<'_>, member: Epoch) -> Result<Owned, FieldError> {
    let mut owned = Owned::new();
    for _ in 0..reader.versioned_length(true)? {
        let topic = reader.uuid()?;
        let partitions = partitions(reader)?;
        let mut epochs = Vec::new();
        for (tag, mut field) in reader.tagged()? {
            if tag == EPOCHS_TAG {
                for _ in 0..field.versioned_length(true)? {
                    epochs.push(Epoch(field.i32()?));
                }
            }
        }
        let epochs = epochs.into_iter().chain(std::iter::repeat(member));
        let pairs: Vec<_> = partitions.into_iter().zip(epochs).collect();
        if !pairs.is_empty() {
            owned.entry(topic).or_default().extend(pairs);
        }
    }
    Ok(owned)
}
