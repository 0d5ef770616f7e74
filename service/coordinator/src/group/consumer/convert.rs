//! Decides how a group changes over with members in it: from classic, when somebody joins who speaks the consumer protocol; back, when the
//! last of those goes. Everybody keeps what it has, and learns by its next request that there is a rebalance.

use std::collections::{BTreeMap, BTreeSet};

use tidelog_model::{KafkaError, PartitionIndex, Timestamp};

use super::classic::{as_classic, by_id};
use super::heartbeat::{Found, refused};
use super::{Consumer, Member};
use crate::group::api::*;
use crate::group::classic::{CONSUMERS, Classic, Context, NewMember};
use crate::group::config::GroupConfig;
use crate::group::embedded::{self, Subscription};
use crate::group::ids::{Epoch, Generation, GroupId, MemberId};
use crate::group::records::{
    ClassicTerms, ConsumerRecord, Current, GroupEpoch, MemberState, Owned, Partitions, Subscriber, TargetEpoch,
    group_record,
};
use crate::limits::MAX_CONVERTED_BYTES;

impl Consumer {
    /// A classic group as one of the consumer protocol, and the records that make it so, in Kafka's order. Its generation becomes the
    /// epoch of the group, of its target (the assignment as it was) and of everybody; the group's is higher if a new target is due.
    pub(crate) fn of_classic(
        ctx: &mut Context<'_>,
        id: &GroupId,
        classic: &Classic,
    ) -> Result<(Self, Vec<ConsumerRecord>), ConsumerRefused> {
        let refuse = |why: &str| {
            let message = format!("Cannot upgrade classic group {id} to consumer group because {why}.");
            refused(KafkaError::GroupIdNotFound, message)
        };
        let members = classic.members();
        if !ctx.config.migration.upgrade {
            return Err(refuse("online upgrade is disabled"));
        }
        if classic.protocol_type().is_none_or(|kind| &**kind != CONSUMERS) {
            return Err(refuse("the group does not use the consumer embedded protocol"));
        }
        if members.len() > ctx.config.consumer_max_size {
            return Err(refuse("the group size exceeds the consumer group maximum size"));
        }
        let epoch = Epoch(classic.generation().get());
        let protocol = classic.protocol();
        let (mut names, mut taken) = (BTreeSet::new(), BTreeSet::new());
        let mut targets: BTreeMap<MemberId, Partitions> = BTreeMap::new();
        let (mut describing, mut owning) = (Vec::new(), Vec::new());
        for member in members {
            let metadata = member.protocols.iter().find(|offer| Some(&offer.name) == protocol.as_ref());
            let told = metadata.and_then(|offer| embedded::subscription(&offer.metadata));
            let assigned = embedded::assignment(&member.assignment);
            let (Some(told), Some((assigned, own_data))) = (told, assigned) else {
                return Err(refuse("the embedded consumer protocol is malformed"));
            };
            if own_data {
                let why = "an unsupported custom assignor is in use. Please refer to the documentation or switch to a default assignor \
                           before re-attempting the upgrade";
                return Err(refuse(why));
            }
            let mut assigned = by_id(&assigned, ctx.topics);
            // A custom assignor may give one partition to two; here each has one reader.
            assigned.iter_mut().for_each(|(topic, parts)| parts.retain(|part| taken.insert((*topic, *part))));
            assigned.retain(|_, parts| !parts.is_empty());
            names.extend(told.topics.iter().cloned());
            owning.push(ConsumerRecord::Current(member.id.clone(), Some(current(epoch, &assigned))));
            targets.insert(member.id.clone(), assigned);
            describing.push(ConsumerRecord::Member(member.id.clone(), Some(subscriber(member, told))));
        }
        let metadata_hash = ctx.topics.hash(names.iter().map(|name| &**name));
        // A member that only takes a static one's place changes nothing that would make a new target. One is due if the old assignment is not
        // everybody's, because there was a rebalance, or not of everything, because a topic has grown.
        let is_whole = names
            .iter()
            .filter_map(|name| ctx.topics.get(name))
            .all(|facts| (0..facts.partitions).all(|part| taken.contains(&(facts.id, PartitionIndex(part)))));
        let keeps = is_whole && classic.state() == GroupState::Stable;
        let group_epoch = GroupEpoch { epoch: if keeps { epoch } else { epoch.next() }, metadata_hash };
        let mut records = describing;
        records.push(ConsumerRecord::Epoch(Some(group_epoch)));
        records.extend(targets.into_iter().map(|(id, target)| ConsumerRecord::Target(id, Some(target))));
        // Nobody has made this assignment here.
        records.push(ConsumerRecord::TargetEpoch(Some(TargetEpoch { epoch, made: Timestamp(0) })));
        records.extend(owning);
        let mut group = Consumer::new(id.clone());
        records.iter().for_each(|record| group.replay(record.clone()));
        group.start_sessions(ctx.now, ctx.config);
        let (group_id, count) = (id.clone(), group.members.len());
        ctx.event(GroupEvent::GroupConverted { group: group_id, to: GroupKind::Consumer, members: count });
        Ok((group, records))
    }

    /// Only members of the classic protocol would be left, and they may be a classic group. `joining` more come.
    fn may_downgrade(&self, config: &GroupConfig, without: &[MemberId], joining: usize) -> bool {
        let rest = || self.members.iter().filter(|(id, _)| !without.contains(id));
        let count = rest().count() + joining;
        config.migration.downgrade
            && (1..=config.max_size).contains(&count)
            && rest().all(|(_, member)| member.subscriber.classic.is_some())
    }

    /// These members go. If nobody is left then who speaks the consumer protocol, the group becomes a classic one, which rebalances: true.
    pub(super) fn downgrade_without(&mut self, ctx: &mut Context<'_>, gone: &[MemberId]) -> bool {
        if !self.may_downgrade(ctx.config, gone, 0) {
            return false;
        }
        let Some(mut classic) = self.as_classic(ctx, gone, None, true) else { return false };
        classic.prepare_rebalance(ctx, RebalanceCause::GroupConverted, None);
        self.turned = Some(Box::new(classic));
        true
    }

    /// A static member has come back and speaks the classic protocol from now on. If it was the last that did not, the group becomes a
    /// classic one with its epoch as the generation; returned is what the member hears.
    ///
    /// It rebalances unless everybody has its target and knows it. Without a rebalance the member leads, so that somebody notices when
    /// topics grow; so it must be one that can be told that there is nothing to assign (`skips_assignment`, KIP-814). In Kafka nobody leads
    /// until the next rebalance, and the member hears its own first protocol, which need not be the group's.
    pub(super) fn downgrade_for(
        &mut self,
        ctx: &mut Context<'_>,
        id: &MemberId,
        found: &Found,
        subscriber: &Subscriber,
        skips_assignment: bool,
    ) -> Option<Joined> {
        let old = found.replaces.as_ref().filter(|_| found.member.subscriber.classic.is_none())?;
        let without = std::slice::from_ref(old);
        if !self.may_downgrade(ctx.config, without, 1) {
            return None;
        }
        let joining = as_classic(id, subscriber, &found.member.current.assigned, ctx.topics)?;
        let is_settled = skips_assignment
            && self.syncs.is_empty()
            && self.epoch() == self.target_epoch()
            && subscriber.topics == found.member.subscriber.topics
            && found.member.subscriber.expression().is_none()
            && self.members.iter().all(|(other, member)| self.is_settled(other, member, old));
        let mut classic = self.as_classic(ctx, without, Some(joining), !is_settled)?;
        let joined = classic.joined(id, true);
        let joined = if is_settled { joined } else { joined.into_follower() };
        if !is_settled {
            classic.prepare_rebalance(ctx, RebalanceCause::GroupConverted, None);
        }
        self.turned = Some(Box::new(classic));
        Some(joined)
    }

    /// The member has what it shall have. One that is away has, whatever its epoch, what it left with.
    fn is_settled(&self, id: &MemberId, member: &Member, away: &MemberId) -> bool {
        let current = &member.current;
        let reached = current.epoch == self.target_epoch() && current.state == MemberState::Stable;
        let target = self.targets.get(id);
        let has = |topic, parts: &BTreeSet<_>| {
            current.assigned.get(topic).is_some_and(|assigned| assigned.keys().eq(parts.iter()))
        };
        (reached || id == away)
            && target.is_none_or(|target| target.iter().all(|(topic, parts)| has(topic, parts)))
            && current.assigned.keys().all(|topic| target.is_some_and(|target| target.contains_key(topic)))
    }

    /// The group without some members, as a classic one; its records go out. `None`, and nothing has happened, if it cannot be one.
    ///
    /// Kafka gives everybody its target. Here each has what it has: if a rebalance is due the target may still be another's.
    fn as_classic(
        &self,
        ctx: &mut Context<'_>,
        without: &[MemberId],
        joining: Option<NewMember>,
        rebalances: bool,
    ) -> Option<Classic> {
        let rest = self.members.iter().filter(|(id, _)| !without.contains(id));
        let rest = rest.map(|(id, member)| as_classic(id, &member.subscriber, &member.current.assigned, ctx.topics));
        // Whoever joins leads.
        let members: Vec<NewMember> = joining.map(Some).into_iter().chain(rest).collect::<Option<_>>()?;
        let count = members.len();
        let classic = Classic::of_members(ctx, self.id.clone(), Generation(self.epoch().get()), members)?;
        let tombstones: Result<Vec<_>, _> = self.tombstones().iter().map(|record| record.encode(&self.id)).collect();
        let mut records = tombstones.ok()?;
        records.push(group_record(&self.id, &classic.stored_anew(rebalances)).ok()?);
        // What does not fit one batch could never be stored, and whoever goes must be able to.
        let size =
            |record: &crate::CoordinatorRecord| record.key.len() + record.value.as_ref().map_or(0, |value| value.len());
        if records.iter().map(size).sum::<usize>() > MAX_CONVERTED_BYTES {
            return None;
        }
        ctx.out.records.extend(records);
        ctx.event(GroupEvent::GroupConverted { group: self.id.clone(), to: GroupKind::Classic, members: count });
        Some(classic)
    }

    /// What is not stored of the group: all that may hold before the records do.
    pub(crate) fn only_soft(self) -> Self {
        Consumer {
            sessions: self.sessions,
            revocations: self.revocations,
            joins: self.joins,
            syncs: self.syncs,
            seen: self.seen,
            ..Consumer::new(self.id)
        }
    }
}

/// It has what the classic group gave it.
fn current(epoch: Epoch, assigned: &Partitions) -> Current {
    let assigned: Owned =
        assigned.iter().map(|(topic, parts)| (*topic, parts.iter().map(|part| (*part, epoch)).collect())).collect();
    Current { epoch, previous_epoch: epoch, assigned, ..Current::joining() }
}

fn subscriber(member: NewMember, told: Subscription) -> Subscriber {
    Subscriber {
        instance_id: member.instance_id,
        rack_id: told.rack,
        client_id: member.client_id,
        client_host: member.client_host,
        topics: told.topics,
        rebalance_timeout_ms: member.rebalance_timeout_ms,
        classic: Some(ClassicTerms { session_timeout_ms: member.session_timeout_ms, protocols: member.protocols }),
        ..Subscriber::unknown()
    }
}
