//! Serves members that speak the classic protocol in a group of the consumer protocol: JoinGroup tells what the member subscribes to and
//! owns, its generation is the epoch that it has reached, SyncGroup brings what it may have, and Heartbeat sends it back to join as
//! long as a further step awaits it. Nobody waits for anybody, and nobody leads.

use std::collections::BTreeSet;
use std::sync::Arc;

use tidelog_model::{KafkaError, TopicName};

use super::heartbeat::Found;
use super::{Consumer, Member};
use crate::group::api::*;
use crate::group::classic::{CONSUMERS, Context, NewMember, fresh_id};
use crate::group::directory::TopicDirectory;
use crate::group::embedded::{self, Named, Subscription};
use crate::group::ids::{Generation, InstanceId, MemberId};
use crate::group::records::{ClassicTerms, MemberState, Owned, Partitions, Subscriber};

impl Consumer {
    /// Decides about JoinGroup; the answer never waits.
    pub(crate) fn join(&mut self, ctx: &mut Context<'_>, join: &JoinGroup) -> Result<Joined, JoinRefused> {
        let is_unknown = join.member_id.is_empty();
        let id = if is_unknown { fresh_id(join) } else { join.member_id.clone() };
        let refuse = |error| JoinRefused { error, member_id: join.member_id.clone() };
        if self.members.len() >= ctx.config.consumer_max_size && !self.members.contains_key(&id) {
            return Err(JoinRefused { error: KafkaError::GroupMaxSizeReached, member_id: "".into() });
        }
        if !self.has_protocol_of(join) {
            return Err(refuse(KafkaError::InconsistentGroupProtocol));
        }
        if is_unknown && join.instance_id.is_none() && join.requires_member_id {
            return Err(JoinRefused { error: KafkaError::MemberIdRequired, member_id: id });
        }
        let found = self.find_classic(&id, is_unknown, join.instance_id.as_ref()).map_err(refuse)?;
        // All offers of a member say the same.
        let offer = join.protocols.first().ok_or_else(|| refuse(KafkaError::InconsistentGroupProtocol))?;
        let told = embedded::subscription(&offer.metadata);
        let told = told.ok_or_else(|| refuse(KafkaError::UnknownServerError))?;
        let subscriber = joined_as(&found.member.subscriber, join, &told);
        if let Some(joined) = self.downgrade_for(ctx, &id, &found, &subscriber, join.supports_skip_assignment) {
            return Ok(joined);
        }
        let owned = by_id(&told.owned, ctx.topics);
        let moved = self.move_on(ctx, &id, &found, &subscriber, Some(&owned), None);
        let (current, _) = moved.map_err(|refusal| refuse(refusal.error))?;
        self.joins.remove(&id);
        self.sessions.insert(id.clone(), ctx.after_ms(join.session_timeout_ms));
        self.syncs.insert(id.clone(), ctx.after_ms(join.rebalance_timeout_ms));
        Ok(Joined {
            generation: Generation(current.epoch.get()),
            protocol_type: Arc::from(CONSUMERS),
            protocol_name: Some(Arc::clone(&offer.name)),
            leader: "".into(),
            member_id: id,
            skip_assignment: false,
            members: Vec::new(),
        })
    }

    /// It must be a consumer, and offer something that everybody else of the classic protocol offers: one day they may be among themselves.
    fn has_protocol_of(&self, join: &JoinGroup) -> bool {
        let mut others = self.members.values().filter_map(|member| member.subscriber.classic.as_ref());
        let mut common: BTreeSet<&str> = join.protocols.iter().map(|offer| &*offer.name).collect();
        let is_consumer = &*join.protocol_type == CONSUMERS;
        is_consumer
            && others.all(|terms| {
                common.retain(|name| terms.protocols.iter().any(|offer| &*offer.name == *name));
                !common.is_empty()
            })
            && !common.is_empty()
    }

    /// Who joins. A dynamic member may come with any id; a static one without an id takes its name's place.
    fn find_classic(
        &self,
        id: &MemberId,
        is_unknown: bool,
        instance: Option<&InstanceId>,
    ) -> Result<Found, KafkaError> {
        let known = || self.members.get(id).map_or_else(Found::newcomer, |member| Found::known(member.clone()));
        let Some(instance) = instance else { return Ok(known()) };
        match self.static_member(instance).and_then(|other| Some((other, self.members.get(other)?))) {
            None if is_unknown => Ok(Found::newcomer()),
            None => Err(KafkaError::UnknownMemberId),
            Some((other, _)) if other == id => Ok(known()),
            Some((other, member)) if is_unknown => Ok(Found::returned(other.clone(), member)),
            Some(_) => Err(KafkaError::FencedInstanceId),
        }
    }

    /// Decides about SyncGroup.
    pub(crate) fn sync(&mut self, ctx: &Context<'_>, sync: &SyncGroup) -> Result<Synced, KafkaError> {
        let (member, terms) = self.served(&sync.member_id, sync.instance_id.as_ref(), sync.generation)?;
        let offer = terms.protocols.first().ok_or(KafkaError::InconsistentGroupProtocol)?;
        let says = |said: &Option<Arc<str>>, is: &str| said.as_ref().is_none_or(|said| &**said == is);
        if !says(&sync.protocol_type, CONSUMERS) || !says(&sync.protocol_name, &offer.name) {
            return Err(KafkaError::InconsistentGroupProtocol);
        }
        // One that must give something up has joined already; its assignment is what it may keep.
        if self.target_epoch() > member.current.epoch && member.current.state != MemberState::Unrevoked {
            self.expect_join(ctx, &sync.member_id);
            return Err(KafkaError::RebalanceInProgress);
        }
        let version = embedded::subscription(&offer.metadata).map_or(0, |told| told.version);
        let assignment = embedded::write_assignment(version, &by_name(&member.current.assigned, ctx.topics));
        let assignment = assignment.map_err(|_| KafkaError::UnknownServerError)?;
        let (protocol_name, session_ms) = (Arc::clone(&offer.name), terms.session_timeout_ms);
        self.syncs.remove(&sync.member_id);
        self.sessions.insert(sync.member_id.clone(), ctx.after_ms(session_ms));
        Ok(Synced { protocol_type: Arc::from(CONSUMERS), protocol_name: Some(protocol_name), assignment })
    }

    /// Decides about Heartbeat: REBALANCE_IN_PROGRESS tells the member to join again, because the target has moved, because it must give
    /// something up, or because what it waits for is free.
    pub(crate) fn classic_heartbeat(&mut self, ctx: &Context<'_>, beat: &Heartbeat) -> Result<(), KafkaError> {
        let id = &beat.member_id;
        let (member, terms) = self.served(id, beat.instance_id.as_ref(), beat.generation)?;
        let must_join = match member.current.state {
            _ if member.current.epoch < self.target_epoch() => true,
            // Whoever joins first makes the target of a new epoch, once there may be one.
            _ if self.target_epoch() < self.epoch() && self.may_aim(ctx) => true,
            MemberState::Stable => false,
            MemberState::Unrevoked => true,
            MemberState::Unreleased => !self.waits(id, member),
        };
        let session = ctx.after_ms(terms.session_timeout_ms);
        self.sessions.insert(id.clone(), session);
        if must_join {
            self.expect_join(ctx, id);
            return Err(KafkaError::RebalanceInProgress);
        }
        Ok(())
    }

    /// Something of its target still belongs to another member.
    fn waits(&self, id: &MemberId, member: &Member) -> bool {
        self.targets.get(id).into_iter().flatten().any(|(topic, partitions)| {
            let has = member.current.assigned.get(topic);
            let lacks = |part: &&_| has.is_none_or(|has| !has.contains_key(*part));
            partitions.iter().filter(lacks).any(|part| self.owners.contains_key(&(*topic, *part)))
        })
    }

    /// The member must join within its rebalance timeout, counted from when it was first told.
    fn expect_join(&mut self, ctx: &Context<'_>, id: &MemberId) {
        if let Some(member) = self.members.get(id) {
            let deadline = ctx.after_ms(member.subscriber.rebalance_timeout_ms);
            self.joins.entry(id.clone()).or_insert(deadline);
        }
    }

    /// The member that asks, if it is one that speaks the classic protocol, in its generation.
    fn served(
        &self,
        id: &MemberId,
        instance: Option<&InstanceId>,
        generation: Generation,
    ) -> Result<(&Member, &ClassicTerms), KafkaError> {
        if let Some(instance) = instance {
            match self.static_member(instance) {
                None => return Err(KafkaError::UnknownMemberId),
                Some(other) if other != id => return Err(KafkaError::FencedInstanceId),
                Some(_) => {}
            }
        }
        let member = self.members.get(id).ok_or(KafkaError::UnknownMemberId)?;
        let terms = member.subscriber.classic.as_ref().ok_or(KafkaError::UnknownMemberId)?;
        if member.current.epoch.get() != generation.get() {
            return Err(KafkaError::IllegalGeneration);
        }
        Ok((member, terms))
    }
}

/// The member as it has just described itself.
fn joined_as(before: &Subscriber, join: &JoinGroup, told: &Subscription) -> Subscriber {
    let protocols = join.protocols.clone();
    Subscriber {
        instance_id: join.instance_id.clone().or_else(|| before.instance_id.clone()),
        rack_id: told.rack.clone().or_else(|| before.rack_id.clone()),
        client_id: Arc::clone(&join.client_id),
        client_host: Arc::clone(&join.client_host),
        topics: told.topics.clone(),
        // Clients of the classic protocol resolve their patterns themselves.
        regex: None,
        rebalance_timeout_ms: join.rebalance_timeout_ms,
        assignor: before.assignor.clone(),
        classic: Some(ClassicTerms { session_timeout_ms: join.session_timeout_ms, protocols }),
    }
}

/// A member as a classic group takes it over, with what it has; `None` if it speaks the consumer protocol.
pub(super) fn as_classic(
    id: &MemberId,
    subscriber: &Subscriber,
    assigned: &Owned,
    topics: &TopicDirectory,
) -> Option<NewMember> {
    let terms = subscriber.classic.as_ref()?;
    let version = terms.protocols.first().and_then(|offer| embedded::subscription(&offer.metadata));
    Some(NewMember {
        id: id.clone(),
        instance_id: subscriber.instance_id.clone(),
        client_id: Arc::clone(&subscriber.client_id),
        client_host: Arc::clone(&subscriber.client_host),
        rebalance_timeout_ms: subscriber.rebalance_timeout_ms,
        session_timeout_ms: terms.session_timeout_ms,
        protocols: terms.protocols.clone(),
        assignment: embedded::write_assignment(version.map_or(0, |told| told.version), &by_name(assigned, topics))
            .ok()?,
    })
}

/// Partitions of topics that exist, by their ids.
pub(super) fn by_id(named: &Named, topics: &TopicDirectory) -> Partitions {
    let one = |(name, parts): (&Arc<str>, &BTreeSet<_>)| Some((topics.get(name)?.id, parts.clone()));
    named.iter().filter_map(one).collect()
}

fn by_name(owned: &Owned, topics: &TopicDirectory) -> Named {
    let name = |name: &TopicName| Arc::from(name.as_str());
    let all = owned.iter().filter_map(|(topic, parts)| Some((name(topics.name_of(*topic)?), parts)));
    all.map(|(name, parts)| (name, parts.keys().copied().collect())).collect()
}
