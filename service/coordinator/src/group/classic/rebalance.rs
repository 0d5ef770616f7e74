//! Decides when a rebalance starts and when its join phase is over. Touches no request but those that wait.

use std::time::Duration;

use bytes::Bytes;
use tidelog_model::KafkaError;

use super::{Classic, Context, InitialWait, milliseconds};
use crate::group::api::*;
use crate::group::ids::MemberId;
use crate::group::records::group_record;
use crate::limits::MIN_REBALANCE_RETRY;

impl Classic {
    /// Starts a rebalance, or, if one is being prepared already, ends its join phase when everyone is there.
    pub(super) fn rebalance(&mut self, ctx: &mut Context<'_>, cause: RebalanceCause, reason: Option<&str>) {
        if self.state == GroupState::PreparingRebalance {
            self.complete_join_if_ready(ctx);
        } else {
            self.prepare_rebalance(ctx, cause, reason);
        }
    }

    pub(crate) fn prepare_rebalance(&mut self, ctx: &mut Context<'_>, cause: RebalanceCause, reason: Option<&str>) {
        if self.state == GroupState::CompletingRebalance {
            self.cancel_syncs(ctx);
        }
        self.pending_sync.clear();
        self.sync_deadline = None;
        self.replacement = None;
        let was_empty = self.state == GroupState::Empty;
        self.enter(GroupState::PreparingRebalance, ctx.now);
        ctx.event(GroupEvent::RebalanceStarted {
            group: self.id.clone(),
            generation: self.generation,
            cause,
            reason: reason.map(Into::into),
        });
        let timeout = self.rebalance_timeout();
        if was_empty && !ctx.config.initial_rebalance_delay.is_zero() {
            let step = ctx.config.initial_rebalance_delay;
            self.initial = Some(InitialWait { step, remaining: timeout.saturating_sub(step), extended: false });
            self.join_deadline = Some(ctx.now.after(step));
        } else if was_empty || self.roster.all_joined() {
            self.complete_join(ctx);
        } else {
            self.join_deadline = Some(ctx.now.after(timeout));
        }
    }

    /// Members that wait for an assignment of the old generation are told to join again.
    fn cancel_syncs(&mut self, ctx: &mut Context<'_>) {
        for member in self.roster.iter_mut() {
            member.assignment = Bytes::new();
            if let Some(token) = member.syncing.take() {
                member.deadline = Some(ctx.after_ms(member.session_timeout_ms));
                ctx.reply(token, GroupReply::Sync(Err(KafkaError::RebalanceInProgress)));
            }
        }
    }

    /// Ends the join phase if everyone is there. A group that was empty first waits its initial delay.
    pub(super) fn complete_join_if_ready(&mut self, ctx: &mut Context<'_>) {
        if self.state == GroupState::PreparingRebalance && self.initial.is_none() && self.roster.all_joined() {
            self.complete_join(ctx);
        }
    }

    /// The time for joining is over.
    pub(super) fn join_time_over(&mut self, ctx: &mut Context<'_>) {
        match self.initial.take() {
            Some(wait) if wait.extended && !wait.remaining.is_zero() => {
                let step = ctx.config.initial_rebalance_delay.min(wait.remaining);
                let remaining = wait.remaining.saturating_sub(wait.step);
                self.initial = Some(InitialWait { step, remaining, extended: false });
                self.join_deadline = Some(ctx.now.after(step));
            }
            _ => self.complete_join(ctx),
        }
    }

    /// Ends the join phase with whoever is there: dynamic members that have not joined are removed, static ones stay until their
    /// session ends (KIP-345).
    fn complete_join(&mut self, ctx: &mut Context<'_>) {
        self.initial = None;
        let late: Vec<MemberId> = self
            .roster
            .iter()
            .filter(|member| !member.is_joining() && member.instance_id.is_none())
            .map(|member| member.id.clone())
            .collect();
        for id in late {
            self.expel(ctx, &id, RemovalCause::RebalanceTimeout);
        }
        if self.roster.is_empty() {
            self.start_empty_generation(ctx);
        } else if self.elect_leader() {
            self.start_generation(ctx);
        } else {
            // Only silent static members are left: their session timeouts decide.
            let wait = self.rebalance_timeout().max(MIN_REBALANCE_RETRY);
            self.join_deadline = Some(ctx.now.after(wait));
        }
    }

    /// The leader stays if it has joined again, otherwise it is another one that has; false if nobody has.
    fn elect_leader(&mut self) -> bool {
        let stays = self.leader.as_ref().and_then(|id| self.roster.get(id)).is_some_and(|leader| leader.is_joining());
        if !stays {
            let Some(next) = self.roster.iter().find(|member| member.is_joining()) else { return false };
            self.leader = Some(next.id.clone());
        }
        true
    }

    fn start_empty_generation(&mut self, ctx: &mut Context<'_>) {
        self.generation = self.generation.next();
        self.join_deadline = None;
        self.protocol_name = None;
        self.leader = None;
        self.enter(GroupState::Empty, ctx.now);
        ctx.event(GroupEvent::GroupEmptied { group: self.id.clone(), generation: self.generation });
        // The record lets the offsets' retention begin. If it is refused, the stored generation stays the last one with
        // members; after a failover they time out again.
        if let Ok(record) = group_record(&self.id, &self.to_stored(|_, assignment| assignment.clone())) {
            ctx.out.records.push(record);
        }
    }

    fn start_generation(&mut self, ctx: &mut Context<'_>) {
        self.generation = self.generation.next();
        self.join_deadline = None;
        self.protocol_name = self.roster.select_protocol(self.leader.as_ref());
        self.enter(GroupState::CompletingRebalance, ctx.now);
        ctx.event(GroupEvent::GenerationStarted {
            group: self.id.clone(),
            generation: self.generation,
            members: self.roster.len(),
        });
        let ids = self.roster.ids();
        for id in &ids {
            if let Some(token) = self.roster.take_join(id) {
                let joined = self.joined(id, false);
                ctx.reply(token, GroupReply::Join(Ok(joined)));
            }
            if let Some(member) = self.roster.get_mut(id) {
                member.is_new = false;
                member.deadline = Some(ctx.after_ms(member.session_timeout_ms));
            }
        }
        self.pending_sync = ids.into_iter().collect();
        self.sync_deadline = Some(ctx.now.after(self.rebalance_timeout()));
    }

    /// How long the slowest member may take.
    pub(super) fn rebalance_timeout(&self) -> Duration {
        milliseconds(self.roster.rebalance_timeout_ms())
    }

    /// The present generation as a member hears of it; only the leader sees everyone.
    pub(crate) fn joined(&self, id: &MemberId, skip_assignment: bool) -> Joined {
        let is_leader = self.leader.as_ref() == Some(id);
        Joined {
            generation: self.generation,
            protocol_type: self.protocol_type.clone().unwrap_or_else(|| "".into()),
            protocol_name: self.protocol_name.clone(),
            leader: self.leader.clone().unwrap_or_else(|| "".into()),
            member_id: id.clone(),
            skip_assignment,
            members: if is_leader { self.everyone() } else { Vec::new() },
        }
    }

    pub(super) fn everyone(&self) -> Vec<JoinedMember> {
        let protocol = self.protocol_name.as_deref();
        let members = self.roster.iter().map(|member| JoinedMember {
            member_id: member.id.clone(),
            instance_id: member.instance_id.clone(),
            metadata: member.metadata(protocol),
        });
        members.collect()
    }

    /// Removes a member that did not ask for it.
    pub(super) fn expel(&mut self, ctx: &mut Context<'_>, id: &MemberId, cause: RemovalCause) {
        if self.remove(ctx, id) {
            ctx.event(GroupEvent::MemberRemoved { group: self.id.clone(), member_id: id.clone(), cause });
        }
    }

    /// Removes a member; whatever it waits for is answered with UNKNOWN_MEMBER_ID, so that a living one joins anew.
    pub(super) fn remove(&mut self, ctx: &mut Context<'_>, id: &MemberId) -> bool {
        let join = self.roster.take_join(id);
        let Some(member) = self.roster.remove(id) else { return false };
        ctx.dismiss(join, member.syncing, KafkaError::UnknownMemberId, "".into());
        self.pending_sync.remove(id);
        if self.leader.as_ref() == Some(id) {
            self.leader = self.roster.iter().next().map(|next| next.id.clone());
        }
        true
    }
}
