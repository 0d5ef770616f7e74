//! One group as the shard holds it: its running state, its stored records, its offsets. Decides which protocol it speaks, about
//! commits and about what expires; changes what is stored only by replaying.

use std::collections::BTreeSet;
use std::sync::Arc;

use tidelog_model::{Deadline, KafkaError, PartitionIndex, Timestamp, TopicName};

use super::api::*;
use super::classic::{Classic, Context};
use super::config::GroupConfig;
use super::consumer::Consumer;
use super::embedded::subscribed_topics;
use super::ids::{Epoch, Generation, GroupId};
use super::offsets::{self, Offsets};
use super::records::{ConsumerRecord, StoredGroup, group_key, offset_record, offset_tombstone};
use crate::CoordinatorRecord;
use crate::limits::GROUP_OVERHEAD_BYTES;

/// One group.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) id: GroupId,
    pub(crate) classic: Classic,
    /// There if the group speaks the consumer protocol; the classic part is empty then.
    pub(crate) consumer: Option<Box<Consumer>>,
    /// The group's last record, with its memory in bytes.
    stored: Option<(StoredGroup, usize)>,
    pub(crate) offsets: Offsets,
    /// What it becomes when its record is replayed: it has just stopped being one of the consumer protocol.
    turned: Option<Box<Classic>>,
    /// A position was written for it, be it in a transaction: it is there from then on until its tombstone, whatever becomes of the
    /// position. Kafka's administrators find it empty and delete it; else the next look for what has expired does.
    kept: bool,
}

impl Group {
    pub(crate) fn new(id: GroupId) -> Self {
        Group {
            classic: Classic::new(id.clone()),
            consumer: None,
            id,
            stored: None,
            offsets: Offsets::default(),
            turned: None,
            kept: false,
        }
    }

    /// A position of it has been written, or is being loaded.
    pub(crate) fn keep(&mut self) {
        self.kept = true;
    }

    /// The group's record, or its tombstone, has been written (`running`) or is being loaded.
    pub(crate) fn replay(&mut self, stored: Option<StoredGroup>, running: bool) {
        let turned = self.turned.take();
        self.kept &= stored.is_some();
        match &stored {
            Some(stored) if turned.as_ref().is_some_and(|group| group.generation() == stored.generation) => {
                self.classic = turned.map_or_else(|| Classic::new(self.id.clone()), |group| *group);
            }
            // A group that was empty and had nothing stored has been dropped before its first record arrived.
            Some(stored) if running && !(self.classic.is_vacant() && stored.members.is_empty()) => {
                self.classic.adopt(stored);
            }
            Some(stored) => self.classic = Classic::restore(self.id.clone(), stored),
            None if running => self.classic.forget(),
            None => self.classic = Classic::new(self.id.clone()),
        }
        self.stored = stored.map(|stored| {
            let bytes = stored.bytes();
            (stored, bytes)
        });
    }

    /// A record of the consumer protocol; the group's last tombstone ends it. While running (`running`) anything but a tombstone ends a
    /// classic group: its members are in the records.
    pub(crate) fn replay_consumer(&mut self, record: ConsumerRecord, running: bool) {
        if running && !record.is_tombstone() && !self.classic.is_vacant() {
            self.classic = Classic::new(self.id.clone());
        }
        let id = &self.id;
        self.consumer.get_or_insert_with(|| Box::new(Consumer::new(id.clone()))).replay(record);
        self.drop_blank();
    }

    /// Drops a group of the consumer protocol of which nothing is stored; a classic one that it has become waits for its record.
    pub(super) fn drop_blank(&mut self) {
        if let Some(consumer) = self.consumer.as_mut().filter(|consumer| consumer.is_blank()) {
            self.turned = consumer.take_turned();
            self.consumer = None;
        }
    }

    /// A record could not be appended.
    pub(crate) fn consumer_refused(&mut self, ctx: &Context<'_>) {
        if let Some(consumer) = &mut self.consumer {
            consumer.record_refused(ctx.now, ctx.config);
        }
        self.drop_blank();
        // Its members were sent back; it is what it was.
        self.classic.record_refused(ctx.now);
    }

    pub(crate) fn start_sessions(&mut self, ctx: &mut Context<'_>) {
        self.classic.start_sessions(ctx);
        if let Some(consumer) = &mut self.consumer {
            consumer.start_sessions(ctx.now, ctx.config);
        }
    }

    pub(crate) fn next_deadline(&self) -> Option<Deadline> {
        let consumer = self.consumer.as_ref().and_then(|consumer| consumer.next_deadline());
        self.classic.next_deadline().into_iter().chain(consumer).min()
    }

    pub(crate) fn on_timer(&mut self, ctx: &mut Context<'_>) {
        self.classic.on_timer(ctx);
        if let Some(consumer) = &mut self.consumer {
            consumer.on_timer(ctx);
        }
    }

    pub(crate) fn describe(&self, config: &GroupConfig) -> AnyDescription {
        match &self.consumer {
            Some(consumer) => AnyDescription::Consumer(consumer.describe(config)),
            None => AnyDescription::Classic(self.classic.describe()),
        }
    }

    pub(crate) fn listing(&self) -> GroupListing {
        let (kind, protocol_type, state) = match &self.consumer {
            Some(consumer) => (GroupKind::Consumer, "consumer".into(), consumer.state()),
            None => {
                let protocol_type = self.classic.protocol_type().cloned().unwrap_or_else(|| "".into());
                (GroupKind::Classic, protocol_type, self.classic.state().name())
            }
        };
        GroupListing { group: self.id.clone(), kind, protocol_type, state }
    }

    /// How many members it has.
    pub(crate) fn member_count(&self) -> usize {
        self.consumer.as_ref().map_or_else(|| self.classic.member_count(), |consumer| consumer.member_count())
    }

    /// Nobody is in it, and nobody is expected.
    pub(crate) fn is_deserted(&self) -> bool {
        self.classic.is_vacant() && self.consumer.as_ref().is_none_or(|consumer| consumer.is_empty())
    }

    /// The records that remove a deserted group, but for its offsets.
    pub(crate) fn tombstones(&self) -> Vec<CoordinatorRecord> {
        let consumer = self.consumer.iter().flat_map(|consumer| consumer.tombstones());
        let mut records: Vec<CoordinatorRecord> = consumer.filter_map(|record| record.encode(&self.id).ok()).collect();
        if self.stored.is_some() || self.kept {
            records.extend(group_tombstone(&self.id));
        }
        records
    }

    /// A record of a classic group is in the log.
    pub(super) fn has_stored(&self) -> bool {
        self.stored.is_some()
    }

    /// Bytes of that record in memory.
    pub(super) fn stored_bytes(&self) -> usize {
        self.stored.as_ref().map_or(0, |(_, bytes)| *bytes)
    }

    #[cfg(test)]
    pub(crate) fn stored(&self) -> Option<&StoredGroup> {
        self.stored.as_ref().map(|(stored, _)| stored)
    }

    /// Nothing is stored of it and nobody is in it: it need not exist.
    pub(crate) fn is_vacant(&self) -> bool {
        self.stored.is_none()
            && !self.kept
            && self.consumer.is_none()
            && self.turned.is_none()
            && self.offsets.is_empty()
            && self.classic.is_vacant()
    }

    /// Memory, bytes.
    pub(crate) fn bytes(&self) -> usize {
        GROUP_OVERHEAD_BYTES
            + 3 * self.id.len()
            + self.classic.bytes()
            + self.offsets.bytes()
            + self.stored_bytes()
            + self.consumer.as_ref().map_or(0, |c| c.bytes())
    }

    /// Decides about OffsetCommit.
    pub(crate) fn commit(&mut self, ctx: &mut Context<'_>, commit: CommitOffsets) -> Vec<Result<(), KafkaError>> {
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
            results.push(self.commit_one(ctx, offset, expires));
        }
        results
    }

    pub(super) fn commit_one(
        &self,
        ctx: &mut Context<'_>,
        offset: OffsetToCommit,
        expire_timestamp: Option<Timestamp>,
    ) -> Result<(), KafkaError> {
        if offset.metadata.len() > ctx.config.offset_metadata_max_bytes {
            return Err(KafkaError::OffsetMetadataTooLarge);
        }
        let old = self.offsets.get(&offset.topic, offset.partition);
        let old_cost = old.map_or(0, |old| offsets::cost(&offset.topic, &old.metadata));
        let growth = offsets::cost(&offset.topic, &offset.metadata).saturating_sub(old_cost);
        ctx.room = ctx.room.checked_sub(growth).ok_or(KafkaError::InvalidCommitOffsetSize)?;
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
        if let Some(consumer) = &self.consumer {
            let epoch = Epoch(commit.generation.get());
            return consumer.validate_commit(&commit.member_id, epoch, &commit.offsets, commit.knows_epochs);
        }
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
        let read = |topic: &TopicName| {
            let consumer = self.consumer.as_ref().is_some_and(|consumer| consumer.is_subscribed(topic.as_str()));
            consumer || subscribed.contains(topic.as_str())
        };
        let offsets = self.offsets.iter().filter(|(topic, _, _)| !read(topic));
        offsets.filter(|(_, _, offset)| expired(offset)).map(|(topic, part, _)| (topic.clone(), part)).collect()
    }

    /// Decides about OffsetDelete (KIP-496): a consumer group with members keeps the offsets of topics that it reads, a group of
    /// another kind all of them. An undecided offset goes like a decided one.
    pub(crate) fn delete_offsets(
        &self,
        ctx: &mut Context<'_>,
        partitions: Vec<(TopicName, PartitionIndex)>,
        undecided: &BTreeSet<(TopicName, PartitionIndex)>,
    ) -> Result<Vec<Result<(), KafkaError>>, KafkaError> {
        let is_empty = self.classic.state() == GroupState::Empty;
        // A group of the consumer protocol has no classic members: what it reads is looked up below.
        if !is_empty && self.classic.protocol_type().is_none_or(|kind| &**kind != "consumer") {
            return Err(KafkaError::NonEmptyGroup);
        }
        // What the members read is not known before their first assignment: then nothing of theirs goes.
        let subscribed = if is_empty { Some(BTreeSet::new()) } else { self.subscribed_topics() };
        let before = ctx.out.records.len();
        let mut results = Vec::with_capacity(partitions.len());
        for (topic, partition) in partitions {
            let consumer = self.consumer.as_ref().is_some_and(|consumer| consumer.is_subscribed(topic.as_str()));
            if consumer || subscribed.as_ref().is_none_or(|topics| topics.contains(topic.as_str())) {
                results.push(Err(KafkaError::GroupSubscribedToTopic));
                continue;
            }
            let known = self.offsets.get(&topic, partition).is_some();
            if known || undecided.contains(&(topic.clone(), partition)) {
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
    fn subscribed_topics(&self) -> Option<BTreeSet<Arc<str>>> {
        let mut all = BTreeSet::new();
        for subscription in self.classic.subscriptions() {
            all.extend(subscribed_topics(&subscription)?);
        }
        Some(all)
    }
}

pub(super) fn group_tombstone(group: &GroupId) -> Option<CoordinatorRecord> {
    // Ids are checked when a group is made; a longer one could not have been stored.
    group_key(group).ok().map(|key| CoordinatorRecord { key, value: None })
}
