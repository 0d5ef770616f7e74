//! Decides about JoinGroup: who is let in, under which id, and whether that is a rebalance.

use std::sync::Arc;

use tidelog_model::KafkaError;

use super::roster::NewMember;
use super::{Classic, Context, Replacement};
use crate::ReplyToken;
use crate::group::api::*;
use crate::group::ids::{InstanceId, MemberId};
use crate::group::records::group_record;
use crate::limits::{MAX_CLIENT_ID_IN_MEMBER_ID, NEW_MEMBER_JOIN_TIMEOUT};

impl Classic {
    pub(crate) fn join(&mut self, ctx: &mut Context<'_>, token: ReplyToken, join: JoinGroup) {
        if !self.has_room_for(&join.member_id, ctx.config.max_size) {
            self.roster.remove_pending(&join.member_id);
            self.expel(ctx, &join.member_id, RemovalCause::GroupTooLarge);
            ctx.refuse_join(token, KafkaError::GroupMaxSizeReached, "".into());
            self.complete_join_if_ready(ctx);
        } else if !self.fits_protocols(&join) {
            ctx.refuse_join(token, KafkaError::InconsistentGroupProtocol, join.member_id);
        } else if join.member_id.is_empty() {
            self.join_without_id(ctx, token, join);
        } else if self.roster.is_pending(&join.member_id) {
            self.join_pending(ctx, token, join);
        } else if let Err(error) = self.validate_member(&join.member_id, join.instance_id.as_ref()) {
            ctx.refuse_join(token, error, join.member_id);
        } else {
            self.join_again(ctx, token, join);
        }
    }

    /// Known members may always come back. While members gather, those that already wait count, so that the last ones to come
    /// are left out.
    fn has_room_for(&self, id: &MemberId, max_size: usize) -> bool {
        match self.state {
            GroupState::Empty => true,
            GroupState::PreparingRebalance => {
                self.roster.get(id).is_some_and(|member| member.is_joining()) || self.roster.joining() < max_size
            }
            GroupState::CompletingRebalance | GroupState::Stable => {
                self.roster.get(id).is_some() || self.roster.len() < max_size
            }
        }
    }

    /// The protocol type must be the group's, and one of the protocols must be everyone's.
    fn fits_protocols(&self, join: &JoinGroup) -> bool {
        if self.state == GroupState::Empty {
            !join.protocol_type.is_empty() && !join.protocols.is_empty()
        } else {
            self.protocol_type.as_ref() == Some(&join.protocol_type) && self.roster.supports_any(&join.protocols)
        }
    }

    fn join_without_id(&mut self, ctx: &mut Context<'_>, token: ReplyToken, join: JoinGroup) {
        let fresh = fresh_id(&join);
        match join.instance_id.as_ref().map(|instance| self.roster.static_member(instance).cloned()) {
            Some(Some(old)) => self.join_returned_static(ctx, token, join, old, fresh),
            Some(None) => self.add_member(ctx, token, join, fresh),
            None if join.requires_member_id => {
                self.roster.add_pending(fresh.clone(), ctx.after_ms(join.session_timeout_ms));
                ctx.refuse_join(token, KafkaError::MemberIdRequired, fresh);
            }
            None => self.add_member(ctx, token, join, fresh),
        }
    }

    /// A member that was sent away for its id (KIP-394) comes back with it. Ids are only lent to dynamic members.
    fn join_pending(&mut self, ctx: &mut Context<'_>, token: ReplyToken, join: JoinGroup) {
        if join.instance_id.is_some() {
            ctx.refuse_join(token, KafkaError::UnknownMemberId, join.member_id);
        } else {
            let id = join.member_id.clone();
            self.add_member(ctx, token, join, id);
        }
    }

    fn add_member(&mut self, ctx: &mut Context<'_>, token: ReplyToken, join: JoinGroup, id: MemberId) {
        if let Some(wait) = &mut self.initial {
            wait.extended = true;
        }
        if self.roster.is_empty() {
            self.protocol_type = Some(join.protocol_type);
        }
        self.roster.add(NewMember {
            id: id.clone(),
            instance_id: join.instance_id,
            client_id: join.client_id,
            client_host: join.client_host,
            rebalance_timeout_ms: join.rebalance_timeout_ms,
            session_timeout_ms: join.session_timeout_ms,
            protocols: join.protocols,
            assignment: Default::default(),
        });
        self.roster.park_join(&id, token);
        if let Some(member) = self.roster.get_mut(&id) {
            member.is_new = true;
            member.deadline = Some(ctx.now.after(NEW_MEMBER_JOIN_TIMEOUT));
        }
        self.leader.get_or_insert(id);
        self.rebalance(ctx, RebalanceCause::MemberJoined, join.reason.as_deref());
    }

    fn join_again(&mut self, ctx: &mut Context<'_>, token: ReplyToken, join: JoinGroup) {
        let id = &join.member_id;
        let same = self.roster.get(id).is_some_and(|member| member.protocols == join.protocols);
        let is_leader = self.leader.as_ref() == Some(id);
        let cause = match self.state {
            // The leader may join again to have changed topics assigned; others only if their metadata changes.
            GroupState::Stable if is_leader => RebalanceCause::LeaderRejoined,
            GroupState::Stable | GroupState::CompletingRebalance if same => {
                // It has lost the reply of this generation, or wants to sync: tell it again.
                let joined = self.joined(id, false);
                return ctx.reply(token, GroupReply::Join(Ok(joined)));
            }
            GroupState::Stable | GroupState::CompletingRebalance => RebalanceCause::MemberChanged,
            GroupState::PreparingRebalance => RebalanceCause::MemberJoined,
            GroupState::Empty => return ctx.refuse_join(token, KafkaError::UnknownMemberId, join.member_id),
        };
        let id = join.member_id;
        self.roster.update(&id, join.protocols, join.rebalance_timeout_ms, join.session_timeout_ms);
        self.park_join(ctx, &id, token);
        self.rebalance(ctx, cause, join.reason.as_deref());
    }

    /// A request that was parked before comes from a connection that is gone; nobody may be left without an answer.
    fn park_join(&mut self, ctx: &mut Context<'_>, id: &MemberId, token: ReplyToken) {
        if let Some(before) = self.roster.park_join(id, token) {
            ctx.refuse_join(before, KafkaError::RebalanceInProgress, id.clone());
        }
    }

    /// A static member has restarted: it takes its place over under a new id (KIP-345).
    fn join_returned_static(
        &mut self,
        ctx: &mut Context<'_>,
        token: ReplyToken,
        join: JoinGroup,
        old: MemberId,
        new: MemberId,
    ) {
        let replacement = Replacement {
            old,
            new: new.clone(),
            protocols: join.protocols,
            rebalance_timeout_ms: join.rebalance_timeout_ms,
            session_timeout_ms: join.session_timeout_ms,
            deadline: ctx.after_ms(join.session_timeout_ms),
        };
        if self.state == GroupState::Stable && self.keeps_protocol_with(&replacement) {
            return self.replace_quietly(ctx, token, replacement, join.supports_skip_assignment);
        }
        let (joining, syncing) = self.replace(replacement);
        ctx.dismiss(joining, syncing, KafkaError::FencedInstanceId, "".into());
        self.park_join(ctx, &new, token);
        self.rebalance(ctx, RebalanceCause::StaticMemberReturned, join.reason.as_deref());
    }

    /// Would the group choose the same protocol with the returned member's offers?
    fn keeps_protocol_with(&self, replacement: &Replacement) -> bool {
        let mut roster = self.roster.clone();
        let (rebalance_ms, session_ms) = (replacement.rebalance_timeout_ms, replacement.session_timeout_ms);
        roster.update(&replacement.old, replacement.protocols.clone(), rebalance_ms, session_ms);
        roster.select_protocol(self.leader.as_ref()) == self.protocol_name
    }

    /// No rebalance: the member's new id is stored, and counts when its record is replayed.
    fn replace_quietly(&mut self, ctx: &mut Context<'_>, token: ReplyToken, replacement: Replacement, skips: bool) {
        let was_leader = self.leader.as_ref() == Some(&replacement.old);
        let protocol = self.protocol_name.clone();
        let renamed = |id: &MemberId| if *id == replacement.old { replacement.new.clone() } else { id.clone() };
        let mut stored = self.to_stored(|_, assignment| assignment.clone());
        stored.leader = stored.leader.as_ref().map(renamed);
        for member in &mut stored.members {
            if member.member_id == replacement.old {
                member.member_id = replacement.new.clone();
                member.rebalance_timeout_ms = replacement.rebalance_timeout_ms;
                member.session_timeout_ms = replacement.session_timeout_ms;
                let offer = replacement.protocols.iter().find(|offer| Some(&offer.name) == protocol.as_ref());
                member.subscription = offer.map(|offer| offer.metadata.clone()).unwrap_or_default();
            }
        }
        let Ok(record) = group_record(&self.id, &stored) else {
            return ctx.refuse_join(token, KafkaError::UnknownServerError, "".into());
        };
        ctx.out.records.push(record);
        let mut joined = self.joined(&replacement.old, false);
        joined.member_id = replacement.new.clone();
        if skips {
            // The leader learns that it still leads, and that there is nothing to assign (KIP-814).
            joined.leader = renamed(&joined.leader);
            joined.skip_assignment = was_leader;
            for member in &mut joined.members {
                member.member_id = renamed(&member.member_id);
                if member.member_id == replacement.new {
                    let offer = replacement.protocols.iter().find(|offer| Some(&offer.name) == protocol.as_ref());
                    member.metadata = offer.map(|offer| offer.metadata.clone()).unwrap_or_default();
                }
            }
        } else {
            // An older client that leads would assign again; it is shown its old id as the leader, so that it only syncs.
            joined.members = Vec::new();
        }
        self.replacement = Some(replacement);
        ctx.reply(token, GroupReply::Join(Ok(joined)));
    }

    /// Puts the new id in the old one's place; returns what the old one waited for.
    pub(super) fn replace(&mut self, replacement: Replacement) -> (Option<ReplyToken>, Option<ReplyToken>) {
        let Replacement { old, new, protocols, rebalance_timeout_ms, session_timeout_ms, deadline } = replacement;
        let waiting = self.roster.rename(&old, new.clone());
        self.roster.update(&new, protocols, rebalance_timeout_ms, session_timeout_ms);
        if let Some(member) = self.roster.get_mut(&new)
            && !member.is_new
        {
            member.deadline = Some(deadline);
        }
        if self.leader.as_ref() == Some(&old) {
            self.leader = Some(new.clone());
        }
        if self.pending_sync.remove(&old) {
            self.pending_sync.insert(new);
        }
        waiting
    }
}

/// `<instance id or client id>-<uuid>`, as Kafka names members.
pub(crate) fn fresh_id(join: &JoinGroup) -> MemberId {
    let prefix: &str = join.instance_id.as_ref().map_or(&join.client_id, InstanceId::as_str);
    let end = (0..=MAX_CLIENT_ID_IN_MEMBER_ID.min(prefix.len())).rev().find(|end| prefix.is_char_boundary(*end));
    let prefix = prefix.get(..end.unwrap_or(0)).unwrap_or("");
    let uuid: &Arc<str> = &join.fresh_member_id;
    MemberId::from(format!("{prefix}-{uuid}"))
}
