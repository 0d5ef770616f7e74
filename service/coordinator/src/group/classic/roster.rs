//! Who is in a group: members, pending member ids, static names, offered protocols and their counts. Keeps its indexes true;
//! decides nothing about rebalances and knows no time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use tidelog_model::Deadline;

use crate::ReplyToken;
use crate::group::Protocol;
use crate::group::ids::{InstanceId, MemberId};
use crate::limits::MEMBER_OVERHEAD_BYTES;

/// One member, as far as it is soft state; what is durable of it lies in the group's record too.
#[derive(Debug, Clone)]
pub(crate) struct Member {
    pub(crate) id: MemberId,
    pub(crate) instance_id: Option<InstanceId>,
    pub(crate) client_id: Arc<str>,
    pub(crate) client_host: Arc<str>,
    pub(crate) rebalance_timeout_ms: i32,
    pub(crate) session_timeout_ms: i32,
    pub(crate) protocols: Vec<Protocol>,
    pub(crate) assignment: Bytes,
    /// Its first JoinGroup is still parked: it does not know its id and cannot send heartbeats.
    pub(crate) is_new: bool,
    /// When it counts as gone; none once that has passed while it was waiting for a reply (waiting is a sign of life).
    pub(crate) deadline: Option<Deadline>,
    joining: Option<ReplyToken>,
    pub(crate) syncing: Option<ReplyToken>,
}

impl Member {
    pub(crate) fn is_joining(&self) -> bool {
        self.joining.is_some()
    }

    /// The metadata for one protocol; empty if it does not offer it.
    pub(crate) fn metadata(&self, protocol: Option<&str>) -> Bytes {
        let offer = self.protocols.iter().find(|offer| Some(&*offer.name) == protocol);
        offer.map(|offer| offer.metadata.clone()).unwrap_or_default()
    }

    /// Memory, bytes.
    fn bytes(&self) -> usize {
        MEMBER_OVERHEAD_BYTES
            + 2 * self.id.len()
            + 2 * self.instance_id.as_ref().map_or(0, InstanceId::len)
            + self.client_id.len()
            + self.client_host.len()
            + offers_bytes(&self.protocols)
    }
}

/// Memory of a list of protocols, bytes.
pub(crate) fn offers_bytes(protocols: &[Protocol]) -> usize {
    protocols.iter().map(|offer| offer.name.len() + offer.metadata.len() + 64).sum()
}

/// What a member that joins brings along.
#[derive(Debug, Clone)]
pub(crate) struct NewMember {
    pub(crate) id: MemberId,
    pub(crate) instance_id: Option<InstanceId>,
    pub(crate) client_id: Arc<str>,
    pub(crate) client_host: Arc<str>,
    pub(crate) rebalance_timeout_ms: i32,
    pub(crate) session_timeout_ms: i32,
    pub(crate) protocols: Vec<Protocol>,
    pub(crate) assignment: Bytes,
}

/// All members of one group.
#[derive(Debug, Clone, Default)]
pub(crate) struct Roster {
    members: BTreeMap<MemberId, Member>,
    statics: BTreeMap<InstanceId, MemberId>,
    /// Ids that were given out by MEMBER_ID_REQUIRED and have not come back yet, with the time they lapse (KIP-394).
    pending: BTreeMap<MemberId, Deadline>,
    /// How many members offer each protocol.
    offered: BTreeMap<Arc<str>, usize>,
    joining: usize,
    bytes: usize,
}

impl Roster {
    pub(crate) fn len(&self) -> usize {
        self.members.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Memory, bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn get(&self, id: &MemberId) -> Option<&Member> {
        self.members.get(id)
    }

    /// For changes that touch no index: deadlines, the parked sync, the assignment.
    pub(crate) fn get_mut(&mut self, id: &MemberId) -> Option<&mut Member> {
        self.members.get_mut(id)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Member> {
        self.members.values()
    }

    /// For changes that touch no index.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Member> {
        self.members.values_mut()
    }

    pub(crate) fn ids(&self) -> Vec<MemberId> {
        self.members.keys().cloned().collect()
    }

    pub(crate) fn static_member(&self, instance: &InstanceId) -> Option<&MemberId> {
        self.statics.get(instance)
    }

    pub(crate) fn is_pending(&self, id: &MemberId) -> bool {
        self.pending.contains_key(id)
    }

    pub(crate) fn pending(&self) -> impl Iterator<Item = (&MemberId, Deadline)> {
        self.pending.iter().map(|(id, deadline)| (id, *deadline))
    }

    pub(crate) fn has_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    /// How many members wait in JoinGroup.
    pub(crate) fn joining(&self) -> usize {
        self.joining
    }

    /// Everyone waits in JoinGroup, and nobody is expected who only has an id so far.
    pub(crate) fn all_joined(&self) -> bool {
        self.joining == self.members.len() && self.pending.is_empty()
    }

    /// Is there a protocol among these that every member offers?
    pub(crate) fn supports_any(&self, protocols: &[Protocol]) -> bool {
        protocols.iter().any(|offer| self.offered.get(&offer.name).copied().unwrap_or(0) == self.members.len())
    }

    /// The longest time that a member allows for a rebalance, milliseconds.
    pub(crate) fn rebalance_timeout_ms(&self) -> i32 {
        self.members.values().map(|member| member.rebalance_timeout_ms).max().unwrap_or(0)
    }

    /// The protocol for the next generation: of those that all members offer, the one that most members like best. Kafka leaves
    /// a tie to chance; here `judge` (the leader) breaks it by its own order.
    pub(crate) fn select_protocol(&self, judge: Option<&MemberId>) -> Option<Arc<str>> {
        let common: BTreeSet<&Arc<str>> =
            self.offered.iter().filter(|(_, count)| **count == self.members.len()).map(|(name, _)| name).collect();
        let mut votes: BTreeMap<&Arc<str>, usize> = BTreeMap::new();
        for member in self.members.values() {
            if let Some(offer) = member.protocols.iter().find(|offer| common.contains(&offer.name)) {
                *votes.entry(&offer.name).or_default() += 1;
            }
        }
        let most = votes.values().copied().max()?;
        let winners: Vec<&Arc<str>> = votes.into_iter().filter(|(_, count)| *count == most).map(|(n, _)| n).collect();
        let judge = judge.and_then(|id| self.members.get(id));
        let choice = judge.and_then(|judge| judge.protocols.iter().find(|offer| winners.contains(&&offer.name)));
        choice.map(|offer| offer.name.clone()).or_else(|| winners.first().map(|name| (*name).clone()))
    }

    /// Gives out a member id that must come back before `deadline`.
    pub(crate) fn add_pending(&mut self, id: MemberId, deadline: Deadline) {
        let bytes = pending_bytes(&id);
        if self.pending.insert(id, deadline).is_none() {
            self.bytes += bytes;
        }
    }

    /// Forgets a pending id; true if it was one.
    pub(crate) fn remove_pending(&mut self, id: &MemberId) -> bool {
        let removed = self.pending.remove(id).is_some();
        if removed {
            self.bytes = self.bytes.saturating_sub(pending_bytes(id));
        }
        removed
    }

    /// Adds a member; it is no longer pending.
    pub(crate) fn add(&mut self, new: NewMember) {
        self.remove_pending(&new.id);
        if let Some(instance) = &new.instance_id {
            self.statics.insert(instance.clone(), new.id.clone());
        }
        let member = Member {
            id: new.id.clone(),
            instance_id: new.instance_id,
            client_id: new.client_id,
            client_host: new.client_host,
            rebalance_timeout_ms: new.rebalance_timeout_ms,
            session_timeout_ms: new.session_timeout_ms,
            protocols: new.protocols,
            assignment: new.assignment,
            is_new: false,
            deadline: None,
            joining: None,
            syncing: None,
        };
        self.insert(member);
    }

    /// Takes a member out, with whatever it waits for.
    pub(crate) fn remove(&mut self, id: &MemberId) -> Option<Member> {
        let member = self.members.remove(id)?;
        self.bytes = self.bytes.saturating_sub(member.bytes());
        self.count_offers(&member, false);
        if member.is_joining() {
            self.joining -= 1;
        }
        if let Some(instance) = &member.instance_id
            && self.statics.get(instance) == Some(id)
        {
            self.statics.remove(instance);
        }
        Some(member)
    }

    /// Gives a static member another id; returns the replies that its old id waited for (join, sync).
    pub(crate) fn rename(&mut self, old: &MemberId, new: MemberId) -> (Option<ReplyToken>, Option<ReplyToken>) {
        let Some(mut member) = self.remove(old) else { return (None, None) };
        let waiting = (member.joining.take(), member.syncing.take());
        member.id = new.clone();
        if let Some(instance) = &member.instance_id {
            self.statics.insert(instance.clone(), new);
        }
        self.insert(member);
        waiting
    }

    /// The member came again, with these offers and timeouts.
    pub(crate) fn update(&mut self, id: &MemberId, protocols: Vec<Protocol>, rebalance_ms: i32, session_ms: i32) {
        if let Some(mut member) = self.remove(id) {
            member.protocols = protocols;
            member.rebalance_timeout_ms = rebalance_ms;
            member.session_timeout_ms = session_ms;
            if let Some(instance) = &member.instance_id {
                self.statics.insert(instance.clone(), member.id.clone());
            }
            self.insert(member);
        }
    }

    /// Parks a JoinGroup; returns the one that was parked before, if any.
    pub(crate) fn park_join(&mut self, id: &MemberId, token: ReplyToken) -> Option<ReplyToken> {
        let member = self.members.get_mut(id)?;
        let before = member.joining.replace(token);
        if before.is_none() {
            self.joining += 1;
        }
        before
    }

    /// Takes the member's parked JoinGroup.
    pub(crate) fn take_join(&mut self, id: &MemberId) -> Option<ReplyToken> {
        let token = self.members.get_mut(id)?.joining.take()?;
        self.joining -= 1;
        Some(token)
    }

    fn insert(&mut self, member: Member) {
        self.bytes += member.bytes();
        self.count_offers(&member, true);
        if member.is_joining() {
            self.joining += 1;
        }
        self.members.insert(member.id.clone(), member);
    }

    fn count_offers(&mut self, member: &Member, add: bool) {
        // A member that names a protocol twice counts once.
        let names: BTreeSet<&Arc<str>> = member.protocols.iter().map(|offer| &offer.name).collect();
        for name in names {
            let count = self.offered.entry(name.clone()).or_default();
            *count = if add { *count + 1 } else { count.saturating_sub(1) };
            if *count == 0 {
                self.offered.remove(name);
            }
        }
    }

    /// Recounts every index; for tests.
    #[cfg(test)]
    pub(crate) fn assert_consistent(&self) {
        assert_eq!(self.joining, self.members.values().filter(|m| m.is_joining()).count());
        let pending: usize = self.pending.keys().map(pending_bytes).sum();
        assert_eq!(self.bytes, pending + self.members.values().map(Member::bytes).sum::<usize>());
        let mut offered: BTreeMap<Arc<str>, usize> = BTreeMap::new();
        for member in self.members.values() {
            let names: BTreeSet<_> = member.protocols.iter().map(|offer| offer.name.clone()).collect();
            names.into_iter().for_each(|name| *offered.entry(name).or_default() += 1);
        }
        assert_eq!(self.offered, offered);
        let statics: BTreeMap<_, _> =
            self.members.values().filter_map(|m| m.instance_id.clone().map(|i| (i, m.id.clone()))).collect();
        assert_eq!(self.statics, statics);
        assert!(self.members.iter().all(|(id, member)| *id == member.id && !self.pending.contains_key(id)));
    }
}

fn pending_bytes(id: &MemberId) -> usize {
    MEMBER_OVERHEAD_BYTES + id.len()
}
