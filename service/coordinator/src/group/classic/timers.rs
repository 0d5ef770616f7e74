//! Decides what follows when time has passed: sessions, pending ids, the join phase, missing syncs.

use tidelog_model::Deadline;

use super::{Classic, Context};
use crate::group::api::*;
use crate::group::ids::MemberId;

impl Classic {
    /// The earliest moment at which something is due.
    pub(crate) fn next_deadline(&self) -> Option<Deadline> {
        let sessions = self.roster.iter().filter_map(|member| member.deadline);
        let pending = self.roster.pending().map(|(_, deadline)| deadline);
        sessions.chain(pending).chain(self.join_deadline).chain(self.sync_deadline).min()
    }

    /// Handles everything that is due.
    pub(crate) fn on_timer(&mut self, ctx: &mut Context<'_>) {
        self.end_pending(ctx);
        self.end_sessions(ctx);
        if self.sync_deadline.is_some_and(|deadline| deadline.passed(ctx.now)) {
            self.end_sync(ctx);
        }
        if self.join_deadline.is_some_and(|deadline| deadline.passed(ctx.now)) {
            self.join_time_over(ctx);
        }
    }

    fn end_pending(&mut self, ctx: &mut Context<'_>) {
        let lapsed: Vec<MemberId> =
            self.roster.pending().filter(|(_, deadline)| deadline.passed(ctx.now)).map(|(id, _)| id.clone()).collect();
        for id in &lapsed {
            self.roster.remove_pending(id);
        }
        if !lapsed.is_empty() {
            self.complete_join_if_ready(ctx);
        }
    }

    /// Members that were silent too long go. One that waits for a reply is alive; only a new one is not believed for ever,
    /// because it cannot send heartbeats.
    fn end_sessions(&mut self, ctx: &mut Context<'_>) {
        let mut silent = Vec::new();
        for member in self.roster.iter_mut() {
            if member.deadline.is_some_and(|deadline| deadline.passed(ctx.now)) {
                member.deadline = None;
                if member.is_new || !(member.is_joining() || member.syncing.is_some()) {
                    silent.push(member.id.clone());
                }
            }
        }
        if silent.is_empty() {
            return;
        }
        for id in &silent {
            self.expel(ctx, id, RemovalCause::SessionTimeout);
        }
        match self.state {
            GroupState::Stable | GroupState::CompletingRebalance => {
                self.prepare_rebalance(ctx, RebalanceCause::MemberRemoved, None);
            }
            GroupState::PreparingRebalance => self.complete_join_if_ready(ctx),
            GroupState::Empty => {}
        }
    }

    /// Members that joined the generation and never asked for their assignment go.
    fn end_sync(&mut self, ctx: &mut Context<'_>) {
        self.sync_deadline = None;
        let missing = std::mem::take(&mut self.pending_sync);
        if missing.is_empty() {
            return;
        }
        for id in &missing {
            self.expel(ctx, id, RemovalCause::SyncTimeout);
        }
        self.prepare_rebalance(ctx, RebalanceCause::MemberRemoved, None);
    }
}
