//! Decides the rebalances of one classic group (KIP-62, 345, 394, 559, 814): who is in, which generation, who leads, whose
//! reply leaves when. Never stores anything: an assignment counts once its record has been replayed ([`Classic::adopt`]).

mod convert;
mod join;
mod leave;
mod rebalance;
mod roster;
mod sync;
mod timers;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tidelog_model::{Deadline, KafkaError, Now, Timestamp};

use self::roster::Roster;
use super::api::*;
use super::config::GroupConfig;
use super::directory::TopicDirectory;
use super::ids::{Generation, GroupId, InstanceId, MemberId};
use super::records::{StoredGroup, StoredMember};
use crate::{Outcome, ReplyToken};

pub(crate) use self::convert::CONSUMERS;
pub(crate) use self::join::fresh_id;
pub(crate) use self::roster::{NewMember, offers_bytes};

/// What every decision needs and where its effects go.
pub(crate) struct Context<'a> {
    pub(crate) now: Now,
    pub(crate) config: &'a GroupConfig,
    /// The topics that exist.
    pub(crate) topics: &'a Arc<TopicDirectory>,
    /// Bytes of memory that the decision may add.
    pub(crate) room: usize,
    pub(crate) out: &'a mut Outcome,
}

impl Context<'_> {
    pub(crate) fn reply(&mut self, token: ReplyToken, reply: GroupReply) {
        self.out.replies.push((token, reply));
    }

    pub(crate) fn refuse_join(&mut self, token: ReplyToken, error: KafkaError, member_id: MemberId) {
        self.reply(token, GroupReply::Join(Err(JoinRefused { error, member_id })));
    }

    /// Answers whoever waits under an id that is no longer valid.
    fn dismiss(&mut self, joining: Option<ReplyToken>, syncing: Option<ReplyToken>, error: KafkaError, id: MemberId) {
        if let Some(token) = joining {
            self.refuse_join(token, error, id);
        }
        if let Some(token) = syncing {
            self.reply(token, GroupReply::Sync(Err(error)));
        }
    }

    pub(crate) fn event(&mut self, event: GroupEvent) {
        self.out.events.push(event);
    }

    /// The deadline that lies so many milliseconds ahead; a negative wait is none.
    pub(crate) fn after_ms(&self, wait: i32) -> Deadline {
        self.now.after(milliseconds(wait))
    }
}

fn milliseconds(wait: i32) -> Duration {
    Duration::from_millis(u64::try_from(wait).unwrap_or(0))
}

/// The wait for further members of a group that was empty (`group.initial.rebalance.delay.ms`).
#[derive(Debug, Clone, Copy)]
struct InitialWait {
    /// How long the present step lasts.
    step: Duration,
    /// How much of the rebalance timeout is left after it.
    remaining: Duration,
    /// Someone joined during the step, so that another one follows.
    extended: bool,
}

/// A static member that came back to a stable group; counts once the group's record with its new id is replayed.
#[derive(Debug, Clone)]
struct Replacement {
    old: MemberId,
    new: MemberId,
    protocols: Vec<Protocol>,
    rebalance_timeout_ms: i32,
    session_timeout_ms: i32,
    deadline: Deadline,
}

/// The running state of one classic group. All of it is soft but for what [`Classic::restore`] reads.
#[derive(Debug)]
pub(crate) struct Classic {
    id: GroupId,
    state: GroupState,
    state_since: Timestamp,
    generation: Generation,
    protocol_type: Option<Arc<str>>,
    protocol_name: Option<Arc<str>>,
    leader: Option<MemberId>,
    roster: Roster,
    /// Set while the group prepares its first generation.
    initial: Option<InitialWait>,
    /// When the join phase ends, ready or not.
    join_deadline: Option<Deadline>,
    /// Members that have joined the generation and have not asked for their assignment.
    pending_sync: BTreeSet<MemberId>,
    /// When those are removed.
    sync_deadline: Option<Deadline>,
    replacement: Option<Replacement>,
    /// The record told that there must be a rebalance; until sessions start.
    rebalance_due: bool,
}

impl Classic {
    /// A group that nobody has joined.
    pub(crate) fn new(id: GroupId) -> Self {
        Classic {
            id,
            state: GroupState::Empty,
            state_since: Timestamp::NONE,
            generation: Generation(0),
            protocol_type: None,
            protocol_name: None,
            leader: None,
            roster: Roster::default(),
            initial: None,
            join_deadline: None,
            pending_sync: BTreeSet::new(),
            sync_deadline: None,
            replacement: None,
            rebalance_due: false,
        }
    }

    /// The group as its record tells it; [`Classic::start_sessions`] must follow before it runs.
    pub(crate) fn restore(id: GroupId, stored: &StoredGroup) -> Self {
        let mut group = Classic::new(id);
        group.state = if stored.members.is_empty() { GroupState::Empty } else { GroupState::Stable };
        group.state_since = stored.state_since;
        group.generation = stored.generation;
        group.protocol_type = Some(stored.protocol_type.clone()).filter(|kind| !kind.is_empty());
        group.protocol_name = stored.protocol_name.clone();
        group.leader = stored.leader.clone().or_else(|| stored.members.first().map(|first| first.member_id.clone()));
        group.rebalance_due = stored.leader.is_none() && !stored.members.is_empty();
        for member in &stored.members {
            let name = stored.protocol_name.clone().unwrap_or_else(|| Arc::from(""));
            group.roster.add(NewMember {
                id: member.member_id.clone(),
                instance_id: member.instance_id.clone(),
                client_id: member.client_id.clone(),
                client_host: member.client_host.clone(),
                rebalance_timeout_ms: member.rebalance_timeout_ms,
                session_timeout_ms: member.session_timeout_ms,
                // The record has the metadata of the chosen protocol only; the others come when the member joins again.
                protocols: vec![Protocol { name, metadata: member.subscription.clone() }],
                assignment: member.assignment.clone(),
            });
        }
        group
    }

    /// After loading: every member gets its full session timeout; a group above the allowed size, and one that has just become a classic
    /// group, starts a rebalance.
    pub(crate) fn start_sessions(&mut self, ctx: &mut Context<'_>) {
        for member in self.roster.iter_mut() {
            member.deadline = Some(ctx.after_ms(member.session_timeout_ms));
        }
        if self.roster.len() > ctx.config.max_size {
            self.prepare_rebalance(ctx, RebalanceCause::GroupTooLarge, None);
        } else if std::mem::take(&mut self.rebalance_due) {
            self.prepare_rebalance(ctx, RebalanceCause::GroupConverted, None);
        }
    }

    /// The group's record has been replayed while running: the assignment counts now, a static member has its new id.
    pub(crate) fn adopt(&mut self, stored: &StoredGroup) {
        if stored.generation != self.generation {
            return;
        }
        match self.state {
            GroupState::CompletingRebalance => {
                self.state = GroupState::Stable;
                for member in &stored.members {
                    if let Some(live) = self.roster.get_mut(&member.member_id) {
                        live.assignment = member.assignment.clone();
                    }
                }
            }
            GroupState::Stable => {
                if let Some(replacement) = self.replacement.take()
                    && stored.members.iter().any(|member| member.member_id == replacement.new)
                {
                    self.replace(replacement);
                }
            }
            GroupState::Empty | GroupState::PreparingRebalance => {}
        }
    }

    /// The group's tombstone has been replayed while running.
    pub(crate) fn forget(&mut self) {
        if self.roster.is_empty() && !self.roster.has_pending() {
            *self = Classic::new(self.id.clone());
        }
    }

    /// The record of the group could not be appended: members that had asked for the assignment must ask again in time.
    pub(crate) fn record_refused(&mut self, now: Now) {
        self.replacement = None;
        if self.state == GroupState::CompletingRebalance {
            self.pending_sync = self.roster.ids().into_iter().collect();
            self.sync_deadline = Some(now.after(self.rebalance_timeout()));
        }
    }

    /// The group as its record would tell it now; assignments and ids by the given functions.
    fn to_stored(&self, assignment: impl Fn(&MemberId, &Bytes) -> Bytes) -> StoredGroup {
        let protocol = self.protocol_name.as_deref();
        let members = self.roster.iter().map(|member| StoredMember {
            member_id: member.id.clone(),
            instance_id: member.instance_id.clone(),
            client_id: member.client_id.clone(),
            client_host: member.client_host.clone(),
            rebalance_timeout_ms: member.rebalance_timeout_ms,
            session_timeout_ms: member.session_timeout_ms,
            subscription: member.metadata(protocol),
            assignment: assignment(&member.id, &member.assignment),
        });
        StoredGroup {
            protocol_type: self.protocol_type.clone().unwrap_or_else(|| Arc::from("")),
            generation: self.generation,
            protocol_name: self.protocol_name.clone(),
            leader: self.leader.clone(),
            state_since: self.state_since,
            members: members.collect(),
        }
    }

    fn enter(&mut self, state: GroupState, now: Now) {
        self.state = state;
        self.state_since = now.wall;
    }

    pub(crate) fn state(&self) -> GroupState {
        self.state
    }

    pub(crate) fn state_since(&self) -> Timestamp {
        self.state_since
    }

    pub(crate) fn generation(&self) -> Generation {
        self.generation
    }

    pub(crate) fn protocol_type(&self) -> Option<&Arc<str>> {
        self.protocol_type.as_ref()
    }

    /// How many members it has.
    pub(crate) fn member_count(&self) -> usize {
        self.roster.len()
    }

    /// Nobody is in and nobody is expected.
    pub(crate) fn is_vacant(&self) -> bool {
        self.state == GroupState::Empty && !self.roster.has_pending()
    }

    /// Memory, bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.roster.bytes()
    }

    /// Bytes of the metadata that a member offers now; none if it is no member.
    pub(crate) fn offers_of(&self, id: &MemberId) -> Option<usize> {
        self.roster.get(id).map(|member| offers_bytes(&member.protocols))
    }

    /// The members' metadata for the chosen protocol.
    pub(crate) fn subscriptions(&self) -> impl Iterator<Item = Bytes> {
        self.roster.iter().map(|member| member.metadata(self.protocol_name.as_deref()))
    }

    /// Checks that a request comes from a member: UNKNOWN_MEMBER_ID, or FENCED_INSTANCE_ID if another one has taken the static
    /// name over (KIP-345).
    pub(crate) fn validate_member(&self, id: &MemberId, instance: Option<&InstanceId>) -> Result<(), KafkaError> {
        if let Some(instance) = instance {
            match self.roster.static_member(instance) {
                None => return Err(KafkaError::UnknownMemberId),
                Some(current) if current != id => return Err(KafkaError::FencedInstanceId),
                Some(_) => {}
            }
        }
        if self.roster.get(id).is_some() { Ok(()) } else { Err(KafkaError::UnknownMemberId) }
    }

    pub(crate) fn describe(&self) -> GroupDescription {
        let stable = self.state == GroupState::Stable;
        let empty: Arc<str> = Arc::from("");
        let members = self.roster.iter().map(|member| MemberDescription {
            member_id: member.id.clone(),
            instance_id: member.instance_id.clone(),
            client_id: member.client_id.clone(),
            client_host: member.client_host.clone(),
            metadata: if stable { member.metadata(self.protocol_name.as_deref()) } else { Bytes::new() },
            assignment: if stable { member.assignment.clone() } else { Bytes::new() },
        });
        GroupDescription {
            group: self.id.clone(),
            state: self.state,
            generation: self.generation,
            protocol_type: self.protocol_type.clone().unwrap_or_else(|| empty.clone()),
            protocol_name: self.protocol_name.clone().filter(|_| stable).unwrap_or(empty),
            leader: self.leader.clone(),
            members: members.collect(),
        }
    }

    /// Takes every parked request out, for a shard that goes away.
    pub(crate) fn take_waiting(&mut self) -> Vec<(ReplyToken, MemberId, bool)> {
        let mut waiting = Vec::new();
        for id in self.roster.ids() {
            if let Some(token) = self.roster.take_join(&id) {
                waiting.push((token, id.clone(), true));
            }
            if let Some(token) = self.roster.get_mut(&id).and_then(|member| member.syncing.take()) {
                waiting.push((token, id, false));
            }
        }
        waiting
    }

    /// The rules that hold between two events; for tests.
    #[cfg(test)]
    pub(crate) fn assert_consistent(&self) {
        self.roster.assert_consistent();
        assert_eq!(self.state == GroupState::PreparingRebalance, self.join_deadline.is_some(), "{self:?}");
        assert!(self.initial.is_none() || self.state == GroupState::PreparingRebalance);
        assert!(self.pending_sync.iter().all(|id| self.roster.get(id).is_some()));
        assert!(self.leader.as_ref().is_none_or(|leader| self.roster.get(leader).is_some()), "{self:?}");
        for member in self.roster.iter() {
            assert!(!member.is_joining() || self.state == GroupState::PreparingRebalance, "{self:?}");
            assert!(member.syncing.is_none() || self.state == GroupState::CompletingRebalance, "{self:?}");
        }
        match self.state {
            GroupState::Empty => assert!(self.roster.is_empty()),
            GroupState::PreparingRebalance => {}
            GroupState::CompletingRebalance | GroupState::Stable => {
                assert!(self.leader.is_some() && self.protocol_name.is_some(), "{self:?}");
            }
        }
    }
}
