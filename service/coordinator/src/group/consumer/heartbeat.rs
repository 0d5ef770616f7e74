//! Decides about a heartbeat: who the member is, what it has told, what it shall have.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tidelog_model::{KafkaError, TopicId};

use super::assign::{Assignor, Reader};
use super::reconcile::Step;
use super::subscriptions::{Draft, Meanings, topic_ids};
use super::{Consumer, Member, Revocation, target_bytes};
use crate::group::api::*;
use crate::group::classic::Context;
use crate::group::config::GroupConfig;
use crate::group::ids::{Epoch, GroupId, MemberId};
use crate::group::meant::Heard;
use crate::group::records::{
    ConsumerRecord, Current, GroupEpoch, MemberState, Owned, Partitions, Subscriber, TargetEpoch,
};
use crate::limits::{MAX_ID_BYTES, MAX_MEMBER_METADATA_BYTES, NO_ROOM_RETRY};

/// A refusal with its sentence.
pub(crate) fn refused(error: KafkaError, message: impl Into<String>) -> ConsumerRefused {
    ConsumerRefused { error, message: Arc::from(message.into()) }
}

/// The coordinator has no memory for more.
pub(super) fn no_room() -> ConsumerRefused {
    refused(KafkaError::GroupMaxSizeReached, "The coordinator has no memory left for what the group would need.")
}

/// Checks what needs no state.
pub(crate) fn check(config: &GroupConfig, group: &GroupId, beat: &ConsumerHeartbeat) -> Result<(), ConsumerRefused> {
    let invalid = |message: &str| Err(refused(KafkaError::InvalidRequest, message));
    if group.is_empty() {
        return invalid("GroupId can't be empty.");
    }
    if beat.instance_id.as_ref().is_some_and(|id| id.is_empty()) {
        return invalid("InstanceId can't be empty.");
    }
    if beat.rack_id.as_ref().is_some_and(|rack| rack.is_empty()) {
        return invalid("RackId can't be empty.");
    }
    if beat.member_id.is_empty() && (beat.makes_ids || beat.epoch != Epoch::JOIN) {
        return invalid("MemberId can't be empty.");
    }
    match beat.epoch {
        Epoch::JOIN if beat.rebalance_timeout_ms.is_none() => {
            return invalid("RebalanceTimeoutMs must be provided in first request.");
        }
        Epoch::JOIN if beat.owned.as_ref().is_none_or(|owned| !owned.is_empty()) => {
            return invalid("TopicPartitions must be empty when (re-)joining.");
        }
        Epoch::JOIN if beat.topics.is_none() && beat.regex.is_none() => {
            return invalid("Either SubscribedTopicNames or SubscribedTopicRegex must be non-null when (re-)joining.");
        }
        Epoch::LEAVE_FOR_NOW if beat.instance_id.is_none() => return invalid("InstanceId can't be null."),
        epoch if epoch < Epoch::LEAVE_FOR_NOW => return invalid("MemberEpoch is invalid."),
        _ => {}
    }
    if let Some(name) = &beat.assignor
        && !config.assignors.iter().any(|assignor| assignor.name() == &**name)
    {
        let known: Vec<&str> = config.assignors.iter().map(|assignor| assignor.name()).collect();
        let message = format!("ServerAssignor {name} is not supported. Supported assignors: {}.", known.join(", "));
        return Err(refused(KafkaError::UnsupportedAssignor, message));
    }
    let lengths = [beat.member_id.len(), beat.client_id.len(), beat.client_host.len()];
    let optional = [&beat.rack_id, &beat.regex, &beat.assignor].into_iter().flatten().map(|text| text.len());
    let instance = beat.instance_id.as_ref().map_or(0, |id| id.len());
    let names = beat.topics.iter().flatten().map(|name| name.len() + 2);
    // What a member has is a record as well: no more of it could ever have been given.
    let owned = beat.owned.iter().flatten().map(|topic| size_of::<TopicPartitions>() + size_of_val(&*topic.partitions));
    if lengths.into_iter().chain(optional).chain([instance]).any(|length| length > MAX_ID_BYTES)
        || names.sum::<usize>() > MAX_MEMBER_METADATA_BYTES
        || owned.sum::<usize>() > MAX_MEMBER_METADATA_BYTES
    {
        return invalid("The request is too large.");
    }
    Ok(())
}

/// Who reports, or joins.
pub(super) struct Found {
    pub(super) member: Member,
    /// The id under which the static member was in the group before.
    pub(super) replaces: Option<MemberId>,
    is_new: bool,
}

impl Found {
    pub(super) fn known(member: Member) -> Self {
        Found { member, replaces: None, is_new: false }
    }

    pub(super) fn newcomer() -> Self {
        let member = Member { subscriber: Subscriber::unknown(), current: Current::joining() };
        Found { member, replaces: None, is_new: true }
    }

    /// A static member that is back under another id.
    pub(super) fn returned(old: MemberId, member: &Member) -> Self {
        let current = Current { epoch: Epoch::JOIN, previous_epoch: Epoch::JOIN, ..member.current.clone() };
        let member = Member { subscriber: member.subscriber.clone(), current };
        Found { member, replaces: Some(old), is_new: false }
    }
}

impl Consumer {
    pub(crate) fn heartbeat(
        &mut self,
        ctx: &mut Context<'_>,
        beat: &ConsumerHeartbeat,
    ) -> Result<ConsumerBeat, ConsumerRefused> {
        match beat.epoch {
            Epoch::LEAVE | Epoch::LEAVE_FOR_NOW => self.leave(ctx, beat),
            _ => self.report(ctx, beat),
        }
    }

    fn report(&mut self, ctx: &mut Context<'_>, beat: &ConsumerHeartbeat) -> Result<ConsumerBeat, ConsumerRefused> {
        let id = id_of(beat);
        let owned = beat.owned.as_deref().map(partitions);
        let found = self.find(ctx.config, &id, beat, owned.as_ref())?;
        let subscriber = told(&found.member.subscriber, beat);
        // Nobody comes here before all is known.
        let mut heard = std::mem::take(&mut self.heard);
        beat.meant.iter().for_each(|meant| heard.add(meant, ctx.topics));
        let (current, passed_over) = self.move_on(ctx, &id, &found, &subscriber, owned.as_ref(), Some(&heard))?;
        if self.is_fresh(ctx) {
            self.seen = Some(Arc::clone(ctx.topics));
            self.resolves_again = passed_over.then(|| ctx.now.after(NO_ROOM_RETRY));
        }
        self.sessions.insert(id.clone(), ctx.after_ms(ctx.config.consumer_session_timeout_ms));
        let is_full = beat.rebalance_timeout_ms.is_some()
            && (beat.topics.is_some() || beat.regex.is_some())
            && beat.owned.is_some();
        let tell = beat.epoch == Epoch::JOIN || is_full || !same(&current.assigned, &found.member.current.assigned);
        Ok(ConsumerBeat {
            member_id: id,
            epoch: current.epoch,
            heartbeat_interval_ms: ctx.config.consumer_heartbeat_interval_ms,
            assignment: tell.then(|| listed(&current.assigned)),
        })
    }

    /// A member has described itself as it is now: what that makes of the group, and the member's next step. An
    /// expression of which `heard` does not tell keeps its meaning. Says too whether what some mean was passed over.
    pub(super) fn move_on(
        &mut self,
        ctx: &mut Context<'_>,
        id: &MemberId,
        found: &Found,
        subscriber: &Subscriber,
        owned: Option<&Partitions>,
        heard: Option<&Heard>,
    ) -> Result<(Current, bool), ConsumerRefused> {
        let mut records = Vec::new();
        if let Some(old) = &found.replaces {
            self.replace(old, id, &found.member, &mut records);
        }
        if found.is_new || *subscriber != found.member.subscriber {
            records.push(ConsumerRecord::Member(id.clone(), Some(subscriber.clone())));
        }
        let without: Vec<MemberId> = found.replaces.iter().cloned().collect();
        let draft = Draft { changed: Some((id, subscriber)), without: &without };
        let resubscribed = subscriber.topics != found.member.subscriber.topics
            || subscriber.expression() != found.member.subscriber.expression();
        let (meanings, passed_over) = self.resolve(ctx, draft, heard, &mut records)?;
        let epoch = self.next_epoch(ctx, draft, &meanings, resubscribed, &mut records);
        let (target_epoch, target) = self.aim(ctx, draft, &meanings, epoch, &mut records)?;
        let step = Step {
            target_epoch,
            target: &target,
            subscribed: &topic_ids(subscriber, &meanings, ctx.topics),
            resubscribed,
            owned,
        };
        let current = step.take(&found.member.current, |topic, part| !self.owners.contains_key(&(topic, part)));
        if current != found.member.current {
            records.push(ConsumerRecord::Current(id.clone(), Some(current.clone())));
        }
        self.store(ctx, records)?;
        self.watch(ctx, id, subscriber, &current);
        Ok((current, passed_over))
    }

    /// Who reports, unless it has to be refused.
    pub(super) fn find(
        &self,
        config: &GroupConfig,
        id: &MemberId,
        beat: &ConsumerHeartbeat,
        owned: Option<&Partitions>,
    ) -> Result<Found, ConsumerRefused> {
        let joins = beat.epoch == Epoch::JOIN;
        if joins && self.members.len() >= config.consumer_max_size && !self.members.contains_key(id) {
            let message =
                format!("The consumer group has reached its maximum capacity of {} members.", config.consumer_max_size);
            return Err(refused(KafkaError::GroupMaxSizeReached, message));
        }
        let holder = beat.instance_id.as_ref().map(|instance| (instance, self.static_member(instance)));
        match holder {
            Some((_, None)) if !joins => Err(unknown(&self.id, id)),
            Some((instance, Some(other))) if other != id && !joins => {
                let message = format!("Static member {id} with instance id {instance} was fenced by member {other}.");
                Err(refused(KafkaError::FencedInstanceId, message))
            }
            Some((instance, Some(other))) if other != id => {
                let Some(member) = self.members.get(other) else { return Err(unknown(&self.id, other)) };
                // Between the protocols the one that comes takes over: the other may not know how to leave for a while.
                if member.current.epoch != Epoch::LEAVE_FOR_NOW && member.subscriber.classic.is_none() {
                    let message = format!(
                        "Static member {id} with instance id {instance} cannot join the group because the instance id is \
                         owned by {other} member."
                    );
                    return Err(refused(KafkaError::UnreleasedInstanceId, message));
                }
                Ok(Found::returned(other.clone(), member))
            }
            _ => match self.members.get(id) {
                Some(member) => {
                    check_epoch(member, beat.epoch, owned)?;
                    Ok(Found::known(member.clone()))
                }
                None if joins => Ok(Found::newcomer()),
                None => Err(unknown(&self.id, id)),
            },
        }
    }

    /// A static member is back under another id: everything of the old one is the new one's.
    fn replace(&self, old: &MemberId, new: &MemberId, member: &Member, records: &mut Vec<ConsumerRecord>) {
        records.extend(gone(old));
        records.push(ConsumerRecord::Member(new.clone(), Some(member.subscriber.clone())));
        let target = self.targets.get(old).cloned().unwrap_or_default();
        records.push(ConsumerRecord::Target(new.clone(), Some(target)));
        records.push(ConsumerRecord::Current(new.clone(), Some(member.current.clone())));
    }

    /// The group's epoch, raised if somebody subscribes to something else, or the topics have changed.
    fn next_epoch(
        &self,
        ctx: &mut Context<'_>,
        draft: Draft<'_>,
        meanings: &Meanings,
        resubscribed: bool,
        records: &mut Vec<ConsumerRecord>,
    ) -> Epoch {
        if !resubscribed && !self.is_fresh(ctx) && self.epoch.is_some() {
            return self.epoch();
        }
        let metadata_hash = ctx.topics.hash(self.subscribed(draft, meanings).into_iter());
        let same = self.epoch.is_some_and(|epoch| epoch.metadata_hash == metadata_hash);
        if same && !resubscribed {
            return self.epoch();
        }
        let epoch = self.epoch().next();
        records.push(ConsumerRecord::Epoch(Some(GroupEpoch { epoch, metadata_hash })));
        ctx.event(GroupEvent::EpochStarted { group: self.id.clone(), epoch });
        epoch
    }

    /// May there be a new target assignment already? Those who come and go within a short time get theirs together. When the last one was
    /// made is not known after an upgrade. One for which there was no room is not made anew with every report: that may be much work for nothing.
    pub(super) fn may_aim(&self, ctx: &Context<'_>) -> bool {
        if self.aims_again.is_some_and(|due| !due.passed(ctx.now)) {
            return false;
        }
        let made = self.target_epoch.map_or(0, |target| target.made.get());
        let interval = i64::from(ctx.config.consumer_assignment_interval_ms);
        let now = ctx.now.wall.get();
        // A target from the future: the clock was put back, perhaps by hours, and nobody waits for it to come there again.
        made == 0 || now < made || now >= made.saturating_add(interval)
    }

    /// The target assignment: made anew if the epoch has risen and it may be, and if there is room for it. Returns the reporting member's part.
    fn aim(
        &mut self,
        ctx: &Context<'_>,
        draft: Draft<'_>,
        meanings: &Meanings,
        epoch: Epoch,
        records: &mut Vec<ConsumerRecord>,
    ) -> Result<(Epoch, Partitions), ConsumerRefused> {
        let Some((id, _)) = draft.changed else { return Ok((self.target_epoch(), Partitions::new())) };
        // A static member that is back has its old part.
        let before = |member: &MemberId| {
            let old = if member == id { draft.without.first() } else { None };
            self.targets.get(old.unwrap_or(member))
        };
        if epoch <= self.target_epoch() || !self.may_aim(ctx) {
            return Ok((self.target_epoch(), before(id).cloned().unwrap_or_default()));
        }
        let mut counts: BTreeMap<TopicId, i32> = BTreeMap::new();
        let mut readers = Vec::with_capacity(self.members.len() + 1);
        for (member, subscriber) in self.draft(draft) {
            let topics = topic_ids(subscriber, meanings, ctx.topics);
            readers.push(Reader {
                id: member.clone(),
                instance_id: subscriber.instance_id.clone(),
                topics,
                held: before(member).cloned().unwrap_or_default(),
            });
        }
        for name in self.subscribed(draft, meanings) {
            counts.extend(ctx.topics.get(name).map(|facts| (facts.id, facts.partitions)));
        }
        let mut parts = self.preferred(ctx.config, draft).assign(&readers, &counts);
        let made = parts.iter().map(|(member, part)| target_bytes(member, part)).sum::<usize>();
        let held = self.targets.iter().map(|(member, part)| target_bytes(member, part)).sum::<usize>();
        if made.saturating_sub(held) > ctx.room {
            // Its members go on with what they have; those of a new group have nothing to go on with.
            let kept = before(id).cloned().unwrap_or_default();
            if self.target_epoch.is_none() {
                return Err(no_room());
            }
            self.aims_again = Some(ctx.now.after(NO_ROOM_RETRY));
            return Ok((self.target_epoch(), kept));
        }
        for (member, part) in &parts {
            let known =
                if member == id && !draft.without.is_empty() { before(member) } else { self.targets.get(member) };
            if known != Some(part) {
                records.push(ConsumerRecord::Target(member.clone(), Some(part.clone())));
            }
        }
        records.push(ConsumerRecord::TargetEpoch(Some(TargetEpoch { epoch, made: ctx.now.wall })));
        Ok((epoch, parts.remove(id).unwrap_or_default()))
    }

    /// The assignor that most members prefer, of those that there are; the broker's first if nobody prefers one.
    pub(super) fn preferred(&self, config: &GroupConfig, draft: Draft<'_>) -> Assignor {
        let votes = |assignor: Assignor| {
            let prefers = |name: &Arc<str>| &**name == assignor.name();
            self.draft(draft).filter(|(_, subscriber)| subscriber.assignor.as_ref().is_some_and(prefers)).count()
        };
        // Of several with as many votes the first.
        let best = config.assignors.iter().copied().rev().max_by_key(|assignor| votes(*assignor));
        best.unwrap_or(Assignor::Uniform)
    }

    /// Hands the records over, all or none.
    pub(crate) fn store(&self, ctx: &mut Context<'_>, records: Vec<ConsumerRecord>) -> Result<(), ConsumerRefused> {
        let encoded: Result<Vec<_>, _> = records.iter().map(|record| record.encode(&self.id)).collect();
        match encoded {
            Ok(encoded) => {
                ctx.out.records.extend(encoded);
                Ok(())
            }
            Err(_) => Err(refused(KafkaError::UnknownServerError, "the group cannot be stored")),
        }
    }

    /// If the member must give partitions up, it has its rebalance timeout for it.
    fn watch(&mut self, ctx: &Context<'_>, id: &MemberId, subscriber: &Subscriber, current: &Current) {
        // One that speaks the classic protocol has other deadlines.
        if subscriber.classic.is_none() {
            self.joins.remove(id);
            self.syncs.remove(id);
        }
        if subscriber.classic.is_some() || current.state != MemberState::Unrevoked {
            self.revocations.remove(id);
        } else if self.revocations.get(id).is_none_or(|waits| waits.epoch != current.epoch) {
            let deadline = ctx.after_ms(subscriber.rebalance_timeout_ms);
            self.revocations.insert(id.clone(), Revocation { deadline, epoch: current.epoch });
        }
    }
}

/// A member that has lost the last answer comes with the epoch before, and owns nothing that it has not been given.
fn check_epoch(member: &Member, epoch: Epoch, owned: Option<&Partitions>) -> Result<(), ConsumerRefused> {
    let current = &member.current;
    let retries = epoch == current.previous_epoch && owned.is_some_and(|owned| is_part(owned, &current.assigned));
    if epoch == current.epoch || epoch == Epoch::JOIN || retries {
        return Ok(());
    }
    let relation = if epoch > current.epoch { "greater" } else { "smaller" };
    let message = format!(
        "The consumer group member has a {relation} member epoch ({epoch}) than the one known by the group coordinator \
         ({}). The member must abandon all its partitions and rejoin.",
        current.epoch
    );
    Err(refused(KafkaError::FencedMemberEpoch, message))
}

fn is_part(owned: &Partitions, assigned: &Owned) -> bool {
    owned.iter().all(|(topic, partitions)| {
        assigned.get(topic).is_some_and(|assigned| partitions.iter().all(|part| assigned.contains_key(part)))
    })
}

pub(super) fn unknown(group: &GroupId, id: &MemberId) -> ConsumerRefused {
    refused(KafkaError::UnknownMemberId, format!("Member {id} is not a member of group {group}."))
}

/// The tombstones of a member, in Kafka's order.
pub(super) fn gone(id: &MemberId) -> [ConsumerRecord; 3] {
    [
        ConsumerRecord::Current(id.clone(), None),
        ConsumerRecord::Target(id.clone(), None),
        ConsumerRecord::Member(id.clone(), None),
    ]
}

/// Under which id the member is in the group.
pub(super) fn id_of(beat: &ConsumerHeartbeat) -> MemberId {
    if beat.member_id.is_empty() { MemberId::from(&*beat.fresh_member_id) } else { beat.member_id.clone() }
}

/// The member as it describes itself now.
pub(super) fn told(before: &Subscriber, beat: &ConsumerHeartbeat) -> Subscriber {
    Subscriber {
        instance_id: beat.instance_id.clone().or_else(|| before.instance_id.clone()),
        rack_id: beat.rack_id.clone().or_else(|| before.rack_id.clone()),
        client_id: Arc::clone(&beat.client_id),
        client_host: Arc::clone(&beat.client_host),
        topics: match &beat.topics {
            Some(topics) => topics.iter().cloned().collect::<BTreeSet<Arc<str>>>(),
            None => before.topics.clone(),
        },
        regex: match &beat.regex {
            Some(regex) => Some(Arc::clone(regex)).filter(|regex| !regex.is_empty()),
            None => before.regex.clone(),
        },
        rebalance_timeout_ms: beat.rebalance_timeout_ms.unwrap_or(before.rebalance_timeout_ms),
        assignor: beat.assignor.clone().or_else(|| before.assignor.clone()),
        classic: None,
    }
}

pub(super) fn partitions(owned: &[TopicPartitions]) -> Partitions {
    let mut all = Partitions::new();
    for topic in owned.iter().filter(|topic| !topic.partitions.is_empty()) {
        all.entry(topic.topic).or_default().extend(topic.partitions.iter().copied());
    }
    all
}

/// The same partitions, whatever their epochs.
fn same(a: &Owned, b: &Owned) -> bool {
    a.len() == b.len() && a.iter().all(|(topic, a)| b.get(topic).is_some_and(|b| a.keys().eq(b.keys())))
}

pub(super) fn listed(owned: &Owned) -> Vec<TopicPartitions> {
    let one = |(topic, partitions): (&TopicId, &BTreeMap<_, _>)| TopicPartitions {
        topic: *topic,
        partitions: partitions.keys().copied().collect(),
    };
    owned.iter().map(one).collect()
}
