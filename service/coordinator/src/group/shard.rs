//! Decides what the requests and timers of one shard's groups lead to: records, replies, deadlines. Durable state is changed by
//! `replay` alone; nothing here appends, waits or asks for the time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tidelog_model::{Deadline, KafkaError, Now, PartitionIndex, ProducerId, TopicName};

use super::api::*;
use super::classic::{Context, offers_bytes};
use super::config::GroupConfig;
use super::consumer;
use super::directory::TopicDirectory;
use super::ids::{Epoch, Generation, GroupId};
use super::records::{self, GroupRecord, OffsetKey};
use super::refusal;
use super::state::Group;
use super::sweep::Sweep;
use super::undecided::Undecided;
use crate::limits::{
    GROUP_OVERHEAD_BYTES, MAX_ID_BYTES, MAX_MEMBER_METADATA_BYTES, MAX_PROTOCOLS_PER_MEMBER, MAX_SHARD_BYTES,
    MEMBER_OVERHEAD_BYTES,
};
use crate::{CoordinatorRecord, Outcome, Replayed, ReplyToken};

/// Every group whose id hashes to one partition of `__consumer_offsets` ([`crate::partition_for`]).
///
/// The contract with the shell is in the crate's documentation.
#[derive(Debug)]
pub struct GroupShard {
    pub(super) config: GroupConfig,
    pub(super) groups: BTreeMap<GroupId, Group>,
    pub(super) sweep: Sweep,
    /// The topics as a request told them last; none before the first.
    pub(super) topics: Arc<TopicDirectory>,
    /// Offsets of transactions without a marker.
    pub(super) undecided: Undecided,
    /// For each group a moment that is not later than anything due in it, and the same in order of time.
    wakes: BTreeMap<GroupId, Deadline>,
    agenda: BTreeSet<(Deadline, GroupId)>,
    bytes: usize,
    most_bytes: usize,
    loading: bool,
}

impl GroupShard {
    /// A shard that has not loaded yet: replay its partition's records, then call [`GroupShard::loaded`].
    pub fn new(config: GroupConfig) -> Self {
        GroupShard {
            config,
            groups: BTreeMap::new(),
            sweep: Sweep::default(),
            undecided: Undecided::default(),
            topics: Arc::default(),
            wakes: BTreeMap::new(),
            agenda: BTreeSet::new(),
            bytes: 0,
            most_bytes: MAX_SHARD_BYTES,
            loading: true,
        }
    }

    /// Applies one record: of the log while loading, of an outcome once it is appended. Never fails: what it cannot read changes nothing.
    pub fn replay(&mut self, record: &CoordinatorRecord) -> Replayed {
        let Ok(decoded) = records::decode(record) else { return Replayed::Undecodable };
        match decoded {
            GroupRecord::Offset(key, committed) => {
                match committed {
                    Some(_) => self.undecided.overtake(&key),
                    None => self.undecided.remove(&key),
                }
                self.replay_offset(key, committed);
            }
            GroupRecord::Group(id, stored) => {
                let running = !self.loading;
                self.with_group(&id, |group| group.replay(stored, running));
            }
            GroupRecord::Consumer(id, record) => {
                let running = !self.loading;
                self.with_group(&id, |group| group.replay_consumer(record, running));
            }
            GroupRecord::Obsolete => {}
            GroupRecord::Unknown(kind) => return Replayed::UnknownKind(kind),
        }
        Replayed::Applied
    }

    /// Applies one record of a transactional batch: an offset that counts once its transaction commits (KIP-98, 447).
    pub fn replay_transactional(&mut self, producer: ProducerId, record: &CoordinatorRecord) -> Replayed {
        let Ok(decoded) = records::decode(record) else { return Replayed::Undecodable };
        match decoded {
            GroupRecord::Offset(key, Some(committed)) => {
                // It makes the group, whatever becomes of the transaction.
                self.with_group(&key.group, Group::keep);
                self.undecided.add(producer, key, committed);
            }
            // Kafka removes at once what a transaction removes.
            GroupRecord::Offset(key, None) => {
                self.undecided.remove(&key);
                self.replay_offset(key, None);
            }
            GroupRecord::Group(..) | GroupRecord::Consumer(..) | GroupRecord::Obsolete => {}
            GroupRecord::Unknown(kind) => return Replayed::UnknownKind(kind),
        }
        Replayed::Applied
    }

    /// Applies a transaction marker of the partition: the producer's offsets become visible, unless a later commit counts, or are
    /// forgotten.
    pub fn replay_end_transaction(&mut self, producer: ProducerId, committed: bool) {
        for (key, offset) in self.undecided.end(producer, committed) {
            self.replay_offset(key, Some(offset));
        }
    }

    /// Ends loading: every member gets a full session timeout from `now`. A rebalance that was under way is not in the records;
    /// its members are told to join again by their next request.
    pub fn loaded(&mut self, now: Now) {
        self.loading = false;
        self.sweep.start(now, &self.config);
        self.sweep.resume_deletion(now);
        // A group above the allowed size starts a rebalance here; nobody waits yet and it is not empty, so that this
        // gives neither replies nor records, and its event is not worth keeping.
        let mut out = Outcome::default();
        let ids: Vec<GroupId> = self.groups.keys().cloned().collect();
        for id in ids {
            let (room, config, topics) = (self.room(), &self.config, &self.topics);
            if let Some(group) = self.groups.get_mut(&id) {
                group.start_sessions(&mut Context { now, config, topics, room, out: &mut out });
            }
            self.wake(&id);
        }
    }

    /// Decides about one request.
    pub fn handle(&mut self, now: Now, request: GroupRequest) -> Outcome {
        let GroupRequest { token, group: id, topics, own, mut call } = request;
        // A report may have waited for what its expressions mean: others have seen more by then.
        if topics.revision >= self.topics.revision {
            self.topics = topics;
        }
        let mut out = Outcome::default();
        if self.loading {
            let reply = refusal::refusal(&call, KafkaError::CoordinatorLoadInProgress);
            out.replies.push((token, reply));
            return out;
        }
        if let GroupCall::Consumer(beat) = &call
            && let Err(refusal) = consumer::check(&self.config, &id, beat)
        {
            out.replies.push((token, GroupReply::Consumer(Err(refusal))));
            return out;
        }
        if let Err(error) = self.admit(&id, &call) {
            out.replies.push((token, refusal::refusal(&call, error)));
            return out;
        }
        let (room, config, topics) = (self.room(), self.config.with(own), Arc::clone(&self.topics));
        let mut ctx = Context { now, config: &config, topics: &topics, room, out: &mut out };
        if let GroupCall::Consumer(beat) = call {
            match self.unresolved(&ctx, &id, beat) {
                Ok(beat) => call = GroupCall::Consumer(beat),
                Err(reply) => {
                    ctx.reply(token, reply);
                    return out;
                }
            }
        }
        let removes = matches!(call, GroupCall::Delete | GroupCall::DeleteOffsets(_));
        let undecided = if removes { self.undecided.of_group(&id) } else { BTreeSet::new() };
        self.with_group(&id, |group| decide(group, &mut ctx, token, call, &undecided));
        self.wake(&id);
        out
    }

    /// When [`GroupShard::on_timer`] wants to be called next. May be earlier than anything that is really due, never later.
    pub fn next_deadline(&self) -> Option<Deadline> {
        if self.loading {
            return None;
        }
        let groups = self.agenda.first().map(|(deadline, _)| *deadline);
        groups.into_iter().chain(self.sweep.next_deadline()).min()
    }

    /// Handles at most one group, or one step of expiry, whose time has come: call it again while
    /// [`GroupShard::next_deadline`] has passed.
    pub fn on_timer(&mut self, now: Now) -> Outcome {
        let mut out = Outcome::default();
        if self.loading {
            return out;
        }
        let due = self.agenda.first().filter(|(deadline, _)| deadline.passed(now)).map(|(_, id)| id.clone());
        let Some(id) = due else { return self.sweep_step(now) };
        let (room, config, topics) = (self.room(), self.config.clone(), Arc::clone(&self.topics));
        let mut ctx = Context { now, config: &config, topics: &topics, room, out: &mut out };
        self.with_group(&id, |group| group.on_timer(&mut ctx));
        self.unwake(&id);
        self.wake(&id);
        out
    }

    /// The outcome's records could not be appended for this reason: what to answer instead of its replies.
    pub fn refused(&mut self, now: Now, outcome: Outcome, error: KafkaError) -> Vec<(ReplyToken, GroupReply)> {
        let (room, config, topics) = (self.room(), self.config.clone(), Arc::clone(&self.topics));
        let ctx = Context { now, config: &config, topics: &topics, room, out: &mut Outcome::default() };
        for record in &outcome.records {
            let id = match records::decode(record) {
                Ok(GroupRecord::Group(id, _)) => {
                    self.with_group(&id, |group| group.classic.record_refused(now));
                    id
                }
                Ok(GroupRecord::Consumer(id, _)) => {
                    self.with_group(&id, |group| group.consumer_refused(&ctx));
                    id
                }
                Ok(GroupRecord::Offset(..) | GroupRecord::Obsolete | GroupRecord::Unknown(_)) | Err(_) => continue,
            };
            self.wake(&id);
        }
        self.sweep.refused(now, &self.config);
        outcome.replies.into_iter().map(|(token, reply)| (token, refusal::instead_of(reply, error))).collect()
    }

    /// The shard moves away or is dropped: what to answer to every request that waits in it.
    pub fn resign(mut self, error: KafkaError) -> Vec<(ReplyToken, GroupReply)> {
        let mut replies = Vec::new();
        for group in self.groups.values_mut() {
            for (token, member_id, joining) in group.classic.take_waiting() {
                let reply = if joining {
                    GroupReply::Join(Err(JoinRefused { error, member_id }))
                } else {
                    GroupReply::Sync(Err(error))
                };
                replies.push((token, reply));
            }
        }
        replies
    }

    /// OffsetFetch for one group. An unknown group has no offsets; that is no error. Send the answer as a reply without records:
    /// parked at the shard's last appended offset.
    pub fn fetch_offsets(&self, request: &FetchOffsets) -> Result<Vec<FetchedOffset>, KafkaError> {
        if self.loading {
            return Err(KafkaError::CoordinatorLoadInProgress);
        }
        let group = self.groups.get(&request.group);
        if let (Some((id, epoch)), Some(consumer)) = (&request.member, group.and_then(|g| g.consumer.as_ref())) {
            consumer.validate_fetch(id, *epoch)?;
        }
        let one = |topic: &TopicName, partition, committed: Option<&CommittedOffset>| FetchedOffset {
            topic: topic.clone(),
            partition,
            committed: if request.require_stable && self.is_undecided(&request.group, topic, partition) {
                Err(KafkaError::UnstableOffsetCommit)
            } else {
                Ok(committed.cloned())
            },
        };
        let Some(topics) = &request.topics else {
            let offsets = group.into_iter().flat_map(|group| group.offsets.iter());
            return Ok(offsets.map(|(topic, partition, offset)| one(topic, partition, Some(offset))).collect());
        };
        let asked = topics.iter().flat_map(|(topic, partitions)| partitions.iter().map(move |part| (topic, *part)));
        Ok(asked.map(|(topic, part)| one(topic, part, group.and_then(|g| g.offsets.get(topic, part)))).collect())
    }

    /// DescribeGroups and ConsumerGroupDescribe for one group. GROUP_ID_NOT_FOUND if there is none.
    ///
    /// Send the answer as a reply without records, like that of [`GroupShard::fetch_offsets`].
    pub fn describe(&self, group: &GroupId) -> Result<AnyDescription, KafkaError> {
        if self.loading {
            return Err(KafkaError::CoordinatorLoadInProgress);
        }
        match self.groups.get(group) {
            Some(group) => Ok(group.describe(&self.config)),
            None => Err(KafkaError::GroupIdNotFound),
        }
    }

    /// ListGroups: every group of the shard, by id. Send it like the answer of [`GroupShard::fetch_offsets`].
    pub fn list(&self) -> Result<Vec<GroupListing>, KafkaError> {
        if self.loading {
            return Err(KafkaError::CoordinatorLoadInProgress);
        }
        Ok(self.groups.values().map(Group::listing).collect())
    }

    /// Memory that the groups hold, bytes, as the limit counts it.
    pub fn bytes(&self) -> usize {
        self.bytes + self.undecided.bytes()
    }

    /// Most memory of the groups, bytes, [`MAX_SHARD_BYTES`] until this is told: beyond it joins and assignments get GROUP_MAX_SIZE_REACHED
    /// and commits INVALID_COMMIT_OFFSET_SIZE, and groups of the consumer protocol keep their targets. What is held already stays.
    pub fn set_most_bytes(&mut self, bytes: usize) {
        self.most_bytes = bytes;
    }

    pub(super) fn is_loading(&self) -> bool {
        self.loading
    }

    /// Bytes that the shard may still take.
    pub(super) fn room(&self) -> usize {
        self.most_bytes.saturating_sub(self.bytes())
    }

    /// Checks what needs no group, and that a request for a group that does not exist may make one.
    fn admit(&self, id: &GroupId, call: &GroupCall) -> Result<(), KafkaError> {
        let commits = matches!(call, GroupCall::Commit(_) | GroupCall::Delete);
        if (id.is_empty() && !commits) || id.len() > MAX_ID_BYTES {
            // Old simple consumers commit to the group ''.
            return Err(KafkaError::InvalidGroupId);
        }
        match call {
            GroupCall::Join(join) => self.admit_join(id, join)?,
            GroupCall::Consumer(beat) => self.admit_consumer(beat)?,
            _ => {}
        }
        if self.groups.contains_key(id) {
            return Ok(());
        }
        match call {
            GroupCall::Join(join) if join.member_id.is_empty() => Ok(()),
            GroupCall::Consumer(beat) if beat.epoch == Epoch::JOIN => Ok(()),
            GroupCall::Consumer(_) => Err(KafkaError::GroupIdNotFound),
            GroupCall::Commit(commit) if commit.generation < Generation(0) => Ok(()),
            GroupCall::Commit(commit) if commit.knows_epochs => Err(KafkaError::GroupIdNotFound),
            GroupCall::Commit(_) => Err(KafkaError::IllegalGeneration),
            GroupCall::Delete | GroupCall::DeleteOffsets(_) => Err(KafkaError::GroupIdNotFound),
            GroupCall::Join(_) | GroupCall::Sync(_) | GroupCall::Heartbeat(_) | GroupCall::Leave(_) => {
                Err(KafkaError::UnknownMemberId)
            }
        }
    }

    /// The report if it can be decided about, or else what it is answered.
    fn unresolved(
        &mut self,
        ctx: &Context<'_>,
        id: &GroupId,
        mut beat: Box<ConsumerHeartbeat>,
    ) -> Result<Box<ConsumerHeartbeat>, GroupReply> {
        let of_new = || consumer::Consumer::new(id.clone()).unresolved(ctx, &beat);
        let next = match self.groups.contains_key(id) {
            true => self.with_group(id, |group| match &mut group.consumer {
                Some(consumer) => consumer.unresolved(ctx, &beat),
                None => of_new(),
            }),
            false => of_new(),
        };
        match next {
            Ok(None) => Ok(beat),
            Ok(Some(expression)) => {
                beat.meant = None;
                Err(GroupReply::Unresolved(beat, expression))
            }
            Err(refusal) => Err(GroupReply::Consumer(Err(refusal))),
        }
    }

    fn admit_join(&self, id: &GroupId, join: &JoinGroup) -> Result<(), KafkaError> {
        let allowed = self.config.min_session_timeout_ms..=self.config.max_session_timeout_ms;
        if !allowed.contains(&join.session_timeout_ms) {
            return Err(KafkaError::InvalidSessionTimeout);
        }
        let texts = [&join.client_id, &join.client_host, &join.protocol_type, &join.fresh_member_id];
        let instance = join.instance_id.as_ref().map_or(0, |instance| instance.len());
        let metadata = offers_bytes(&join.protocols);
        let too_long = texts.iter().any(|text| text.len() > MAX_ID_BYTES)
            || instance > MAX_ID_BYTES
            || join.protocols.iter().any(|offer| offer.name.len() > MAX_ID_BYTES);
        if too_long || join.protocols.len() > MAX_PROTOCOLS_PER_MEMBER || metadata > MAX_MEMBER_METADATA_BYTES {
            return Err(KafkaError::InvalidRequest);
        }
        // What is asked for beyond what the member holds already; its record will hold the metadata once more.
        let held = self.groups.get(id).and_then(|group| group.classic.offers_of(&join.member_id));
        let texts: usize = texts.iter().map(|text| text.len()).sum();
        let growth = match held {
            Some(held) => 2 * metadata.saturating_sub(held),
            None => GROUP_OVERHEAD_BYTES + 2 * (MEMBER_OVERHEAD_BYTES + texts + instance + metadata),
        };
        if growth > self.room() { Err(KafkaError::GroupMaxSizeReached) } else { Ok(()) }
    }

    /// A member of the consumer protocol is there twice: as it describes itself, and in what it has and shall have.
    fn admit_consumer(&self, beat: &ConsumerHeartbeat) -> Result<(), KafkaError> {
        let names: usize = beat.topics.iter().flatten().map(|name| name.len() + 32).sum();
        let texts = beat.client_id.len() + beat.client_host.len() + beat.regex.as_ref().map_or(0, |regex| regex.len());
        let growth = GROUP_OVERHEAD_BYTES + 2 * (MEMBER_OVERHEAD_BYTES + texts + names);
        let grows = beat.epoch == Epoch::JOIN || beat.topics.is_some() || beat.regex.is_some();
        if grows && growth > self.room() { Err(KafkaError::GroupMaxSizeReached) } else { Ok(()) }
    }

    fn replay_offset(&mut self, key: OffsetKey, committed: Option<CommittedOffset>) {
        let OffsetKey { group, topic, partition } = key;
        self.with_group(&group, |group| match committed {
            Some(committed) => {
                group.keep();
                group.offsets.insert(topic, partition, committed);
            }
            None => group.offsets.remove(&topic, partition),
        });
    }

    fn is_undecided(&self, group: &GroupId, topic: &TopicName, partition: PartitionIndex) -> bool {
        let key = OffsetKey { group: group.clone(), topic: topic.clone(), partition };
        self.undecided.contains(&key)
    }

    /// Does something to a group, which is made if need be and dropped if nothing is left of it, and keeps the bytes counted.
    pub(super) fn with_group<T>(&mut self, id: &GroupId, change: impl FnOnce(&mut Group) -> T) -> T {
        let group = match self.groups.get_mut(id) {
            Some(group) => {
                self.bytes = self.bytes.saturating_sub(group.bytes());
                group
            }
            None => self.groups.entry(id.clone()).or_insert_with(|| Group::new(id.clone())),
        };
        let result = change(group);
        if group.is_vacant() {
            self.groups.remove(id);
            self.unwake(id);
        } else {
            self.bytes += group.bytes();
        }
        result
    }

    /// Notes when the group wants its timer. A wake that is too early does no harm, so that a heartbeat, which only moves a
    /// deadline away, leaves the agenda alone.
    fn wake(&mut self, id: &GroupId) {
        let Some(deadline) = self.groups.get(id).and_then(Group::next_deadline) else { return };
        match self.wakes.get(id) {
            Some(noted) if *noted <= deadline => {}
            _ => {
                self.unwake(id);
                self.wakes.insert(id.clone(), deadline);
                self.agenda.insert((deadline, id.clone()));
            }
        }
    }

    fn unwake(&mut self, id: &GroupId) {
        if let Some(deadline) = self.wakes.remove(id) {
            self.agenda.remove(&(deadline, id.clone()));
        }
    }
}

fn decide(
    group: &mut Group,
    ctx: &mut Context<'_>,
    token: ReplyToken,
    call: GroupCall,
    undecided: &BTreeSet<(TopicName, PartitionIndex)>,
) {
    match call {
        GroupCall::Join(join) => group.join(ctx, token, own(join)),
        GroupCall::Sync(sync) => group.sync(ctx, token, sync),
        GroupCall::Heartbeat(beat) => {
            let result = group.heartbeat(ctx, &beat);
            ctx.reply(token, GroupReply::Heartbeat(result));
        }
        GroupCall::Leave(members) => {
            let left = group.leave(ctx, members);
            ctx.reply(token, GroupReply::Leave(Ok(left)));
        }
        GroupCall::Commit(commit) => {
            let results = group.commit(ctx, commit);
            ctx.reply(token, GroupReply::Commit(results));
        }
        GroupCall::Delete => {
            let result = group.delete(ctx, undecided);
            ctx.reply(token, GroupReply::Delete(result));
        }
        GroupCall::Consumer(beat) => {
            let result = group.consumer_heartbeat(ctx, &beat);
            ctx.reply(token, GroupReply::Consumer(result));
        }
        GroupCall::DeleteOffsets(partitions) => {
            let results = group.delete_offsets(ctx, partitions, undecided);
            ctx.reply(token, GroupReply::DeleteOffsets(results));
        }
    }
}

/// The member's metadata lives as long as the member; it must not keep the request's frame alive.
fn own(mut join: JoinGroup) -> JoinGroup {
    for offer in &mut join.protocols {
        offer.metadata = bytes::Bytes::copy_from_slice(&offer.metadata);
    }
    join
}

#[cfg(test)]
impl GroupShard {
    /// The rules that hold between two events.
    pub(super) fn assert_consistent(&self) {
        assert_eq!(self.bytes, self.groups.values().map(Group::bytes).sum::<usize>());
        assert_eq!(self.agenda.len(), self.wakes.len());
        for (id, group) in &self.groups {
            assert!(!group.is_vacant(), "{id} is kept for nothing");
            group.classic.assert_consistent();
            if let Some(consumer) = &group.consumer {
                consumer.assert_consistent();
                // An end that could not be stored leaves an empty one beside the classic group that was to follow.
                assert!(consumer.is_empty() || group.classic.is_vacant(), "{id} speaks two protocols");
            }
            let due = group.next_deadline();
            let noted = self.wakes.get(id).copied();
            assert!(due.is_none_or(|due| noted.is_some_and(|noted| noted <= due)), "{id} would oversleep");
        }
        for (id, deadline) in &self.wakes {
            assert!(self.groups.contains_key(id) && self.agenda.contains(&(*deadline, id.clone())));
        }
    }

    /// Everything durable, as text that can be compared.
    pub(super) fn durable(&self) -> Vec<String> {
        let one = |group: &Group| {
            let offsets: Vec<_> = group.offsets.iter().collect();
            let consumer = group.consumer.as_ref().map(|consumer| consumer.durable());
            format!("{} {:?} {consumer:?} {offsets:?}", group.id, group.stored())
        };
        let durable = self
            .groups
            .values()
            .filter(|group| group.stored().is_some() || group.consumer.is_some() || !group.offsets.is_empty());
        durable.map(one).collect()
    }
}
