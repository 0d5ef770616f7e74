//! One group as the shard holds it: its running state, its stored record, its offsets. Decides about commits and about what
//! expires; changes what is stored only by replaying.

use std::collections::BTreeSet;

use tidelog_model::{KafkaError, PartitionIndex, Timestamp, TopicName};

use super::api::*;
use super::classic::{Classic, Context};
use super::ids::{Generation, GroupId};
use super::offsets::{self, Offsets};
use super::records::{StoredGroup, offset_record, offset_tombstone};
use super::subscription::subscribed_topics;
use crate::limits::{GROUP_OVERHEAD_BYTES, MEMBER_OVERHEAD_BYTES};

/// One group.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) id: GroupId,
    pub(crate) classic: Classic,
    /// The group's last record, with its memory in bytes.
    stored: Option<(StoredGroup, usize)>,
    pub(crate) offsets: Offsets,
}

impl Group {
    pub(crate) fn new(id: GroupId) -> Self {
        Group { classic: Classic::new(id.clone()), id, stored: None, offsets: Offsets::default() }
    }

    /// The group's record, or its tombstone, has been written (`running`) or is being loaded.
    pub(crate) fn replay(&mut self, stored: Option<StoredGroup>, running: bool) {
        match &stored {
            // A group that was empty and had nothing stored has been dropped before its first record arrived.
            Some(stored) if running && !(self.classic.is_vacant() && stored.members.is_empty()) => {
                self.classic.adopt(stored);
            }
            Some(stored) => self.classic = Classic::restore(self.id.clone(), stored),
            None if running => self.classic.forget(),
            None => self.classic = Classic::new(self.id.clone()),
        }
        self.stored = stored.map(|stored| {
            let bytes = stored_bytes(&stored);
            (stored, bytes)
        });
    }

    pub(crate) fn stored(&self) -> Option<&StoredGroup> {
        self.stored.as_ref().map(|(stored, _)| stored)
    }

    /// Nothing is stored of it and nobody is in it: it need not exist.
    pub(crate) fn is_vacant(&self) -> bool {
        self.stored.is_none() && self.offsets.is_empty() && self.classic.is_vacant()
    }

    /// Memory, bytes.
    pub(crate) fn bytes(&self) -> usize {
        let stored = self.stored.as_ref().map_or(0, |(_, bytes)| *bytes);
        GROUP_OVERHEAD_BYTES + 3 * self.id.len() + self.classic.bytes() + self.offsets.bytes() + stored
    }

    /// Decides about OffsetCommit. `room` is how many bytes more the shard may hold.
    pub(crate) fn commit(
        &mut self,
        ctx: &mut Context<'_>,
        commit: CommitOffsets,
        mut room: usize,
    ) -> Vec<Result<(), KafkaError>> {
        if let Err(error) = self.validate_commit(&commit) {
            return vec![Err(error); commit.offsets.len()];
        }
        if matches!(self.classic.state(), GroupState::Stable | GroupState::PreparingRebalance) {
            self.classic.extend_session(ctx, &commit.member_id);
        }
        let now = ctx.now.wall;
        let expires = commit.retention_ms.map(|wait| Timestamp(now.get().saturating_add(wait.max(0))));
        let mut results = Vec::with_capacity(commit.offsets.len());
        for offset in commit.offsets {
            results.push(self.commit_one(ctx, offset, expires, &mut room));
        }
        results
    }

    fn commit_one(
        &self,
        ctx: &mut Context<'_>,
        offset: OffsetToCommit,
        expire_timestamp: Option<Timestamp>,
        room: &mut usize,
    ) -> Result<(), KafkaError> {
        if offset.metadata.len() > ctx.config.offset_metadata_max_bytes {
            return Err(KafkaError::OffsetMetadataTooLarge);
        }
        let old = self.offsets.get(&offset.topic, offset.partition);
        let old_cost = old.map_or(0, |old| offsets::cost(&offset.topic, &old.metadata));
        let growth = offsets::cost(&offset.topic, &offset.metadata).saturating_sub(old_cost);
        *room = room.checked_sub(growth).ok_or(KafkaError::InvalidCommitOffsetSize)?;
        let committed = CommittedOffset {
            offset: offset.offset,
            leader_epoch: offset.leader_epoch,
            metadata: offset.metadata,
            commit_timestamp: ctx.now.wall,
            expire_timestamp,
            topic_id: offset.topic_id,
        };
        let record = offset_record(&self.id, &offset.topic, offset.partition, &committed)
            .map_err(|_| KafkaError::OffsetMetadataTooLarge)?;
        ctx.out.records.push(record);
        Ok(())
    }

    fn validate_commit(&self, commit: &CommitOffsets) -> Result<(), KafkaError> {
        let state = self.classic.state();
        if commit.generation < Generation(0) && state == GroupState::Empty {
            // An administrator, or a consumer that assigns its partitions itself.
            return Ok(());
        }
        if commit.generation < Generation(0) && commit.member_id.is_empty() && commit.instance_id.is_none() {
            return Err(KafkaError::UnknownMemberId);
        }
        self.classic.validate_member(&commit.member_id, commit.instance_id.as_ref())?;
        if commit.generation != self.classic.generation() {
            return Err(KafkaError::IllegalGeneration);
        }
        if state == GroupState::CompletingRebalance {
            // Its partitions may just be given to another member.
            return Err(KafkaError::RebalanceInProgress);
        }
        Ok(())
    }

    /// The offsets that have expired (KIP-211). The offsets of a group with members stay, but for topics that a stable consumer
    /// group no longer subscribes to; those of an empty group go some time after it became empty; without group
    /// management each goes some time after its commit.
    pub(crate) fn expired_offsets(&self, now: Timestamp, retention_ms: i64) -> Vec<(TopicName, PartitionIndex)> {
        let subscribed = match (self.classic.protocol_type(), self.classic.state()) {
            (None, _) | (Some(_), GroupState::Empty) => BTreeSet::new(),
            (Some(kind), GroupState::Stable) if &**kind == "consumer" => match self.subscribed_topics() {
                Some(topics) => topics,
                None => return Vec::new(),
            },
            _ => return Vec::new(),
        };
        let emptied = (self.classic.protocol_type().is_some() && self.classic.state() == GroupState::Empty)
            .then_some(self.classic.state_since())
            .filter(|since| *since != Timestamp::NONE);
        let expired = |offset: &CommittedOffset| match offset.expire_timestamp {
            Some(expires) => now >= expires,
            None => {
                let base = emptied.unwrap_or(offset.commit_timestamp);
                now.get().saturating_sub(base.get()) >= retention_ms
            }
        };
        let offsets = self.offsets.iter().filter(|(topic, _, _)| !subscribed.contains(topic.as_str()));
        offsets.filter(|(_, _, offset)| expired(offset)).map(|(topic, part, _)| (topic.clone(), part)).collect()
    }

    /// Decides about OffsetDelete (KIP-496): a consumer group with members keeps the offsets of topics that it reads, a group of
    /// another kind all of them.
    pub(crate) fn delete_offsets(
        &self,
        ctx: &mut Context<'_>,
        partitions: Vec<(TopicName, PartitionIndex)>,
    ) -> Result<Vec<Result<(), KafkaError>>, KafkaError> {
        let is_empty = self.classic.state() == GroupState::Empty;
        if !is_empty && self.classic.protocol_type().is_none_or(|kind| &**kind != "consumer") {
            return Err(KafkaError::NonEmptyGroup);
        }
        // What the members read is not known before their first assignment: then nothing of theirs goes.
        let subscribed = if is_empty { Some(BTreeSet::new()) } else { self.subscribed_topics() };
        let before = ctx.out.records.len();
        let mut results = Vec::with_capacity(partitions.len());
        for (topic, partition) in partitions {
            if subscribed.as_ref().is_none_or(|topics| topics.contains(topic.as_str())) {
                results.push(Err(KafkaError::GroupSubscribedToTopic));
                continue;
            }
            if self.offsets.get(&topic, partition).is_some() {
                ctx.out.records.extend(offset_tombstone(&self.id, &topic, partition));
            }
            results.push(Ok(()));
        }
        let count = ctx.out.records.len() - before;
        if count > 0 {
            ctx.event(GroupEvent::OffsetsRemoved { group: self.id.clone(), count });
        }
        Ok(results)
    }

    /// `None` if a member's subscription cannot be read.
    fn subscribed_topics(&self) -> Option<BTreeSet<String>> {
        let mut all = BTreeSet::new();
        for subscription in self.classic.subscriptions() {
            all.extend(subscribed_topics(subscription)?);
        }
        Some(all)
    }
}

fn stored_bytes(stored: &StoredGroup) -> usize {
    let members = stored.members.iter().map(|member| {
        let texts = member.member_id.len() + member.client_id.len() + member.client_host.len();
        MEMBER_OVERHEAD_BYTES + texts + member.subscription.len() + member.assignment.len()
    });
    members.sum()
}
