//! A classic group as a list of members: what it takes along when it becomes a group of the consumer protocol, and how one of those becomes
//! a classic group again. Decides nothing about either.

use std::sync::Arc;

use tidelog_model::KafkaError;

use super::roster::NewMember;
use super::{Classic, Context};
use crate::group::api::*;
use crate::group::ids::{Generation, GroupId};
use crate::group::records::StoredGroup;

/// The protocol type of consumers, the only one that both protocols have in common.
pub(crate) const CONSUMERS: &str = "consumer";

impl Classic {
    /// A stable group of these members, who have these assignments; `None` if they have no protocol in common. Everybody gets a full
    /// session timeout.
    pub(crate) fn of_members(
        ctx: &Context<'_>,
        id: GroupId,
        generation: Generation,
        members: Vec<NewMember>,
    ) -> Option<Self> {
        let mut group = Classic::new(id);
        group.generation = generation;
        group.protocol_type = Some(Arc::from(CONSUMERS));
        group.leader = members.first().map(|first| first.id.clone());
        for member in members {
            let (id, session_ms) = (member.id.clone(), member.session_timeout_ms);
            group.roster.add(member);
            if let Some(member) = group.roster.get_mut(&id) {
                member.deadline = Some(ctx.after_ms(session_ms));
            }
        }
        group.protocol_name = Some(group.roster.select_protocol(group.leader.as_ref())?);
        group.enter(GroupState::Stable, ctx.now);
        Some(group)
    }

    /// The group as its first record tells it. Members without a leader are how the record tells that they must rebalance: a
    /// coordinator that takes over has no other sign of it.
    pub(crate) fn stored_anew(&self, rebalances: bool) -> StoredGroup {
        let stored = self.to_stored(|_, assignment| assignment.clone());
        StoredGroup { leader: stored.leader.filter(|_| !rebalances), ..stored }
    }

    /// Everybody, with the assignment of the last generation that was stable.
    pub(crate) fn members(&self) -> Vec<NewMember> {
        let one = |member: &super::roster::Member| NewMember {
            id: member.id.clone(),
            instance_id: member.instance_id.clone(),
            client_id: member.client_id.clone(),
            client_host: member.client_host.clone(),
            rebalance_timeout_ms: member.rebalance_timeout_ms,
            session_timeout_ms: member.session_timeout_ms,
            protocols: member.protocols.clone(),
            assignment: member.assignment.clone(),
        };
        self.roster.iter().map(one).collect()
    }

    /// The protocol of the generation, or the one that the next will have.
    pub(crate) fn protocol(&self) -> Option<Arc<str>> {
        self.protocol_name.clone().or_else(|| self.roster.select_protocol(self.leader.as_ref()))
    }

    /// Tells everybody who waits to join again.
    pub(crate) fn send_back(&mut self, ctx: &mut Context<'_>) {
        for (token, id, joins) in self.take_waiting() {
            let (joining, syncing) = if joins { (Some(token), None) } else { (None, Some(token)) };
            ctx.dismiss(joining, syncing, KafkaError::RebalanceInProgress, id);
        }
    }
}
