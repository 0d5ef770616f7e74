//! Decides what follows when time has passed: members that were silent, and members that do not give up what they must.

use std::collections::BTreeMap;
use std::time::Duration;

use tidelog_model::{Deadline, Now};

use super::Consumer;
use crate::group::api::{GroupEvent, RemovalCause};
use crate::group::classic::Context;
use crate::group::config::GroupConfig;
use crate::group::ids::MemberId;
use crate::group::records::MemberState;

impl Consumer {
    /// After loading, or after an append that was refused: who has no deadline gets a full one.
    pub(crate) fn start_sessions(&mut self, now: Now, config: &GroupConfig) {
        let ms = |wait: i32| Duration::from_millis(u64::try_from(wait).unwrap_or(0));
        for (id, member) in &self.members {
            let session = now.after(ms(member.subscriber.session_timeout_ms(config)));
            self.sessions.entry(id.clone()).or_insert(session);
            if member.subscriber.classic.is_none() && member.current.state == MemberState::Unrevoked {
                let deadline = now.after(ms(member.subscriber.rebalance_timeout_ms));
                let revocation = super::Revocation { deadline, epoch: member.current.epoch };
                self.revocations.entry(id.clone()).or_insert(revocation);
            }
        }
    }

    /// A decision could not be stored: the topics are compared again with the next heartbeat.
    pub(crate) fn record_refused(&mut self, now: Now, config: &GroupConfig) {
        self.seen = None;
        self.turned = None;
        self.start_sessions(now, config);
    }

    /// The earliest moment at which something is due.
    pub(crate) fn next_deadline(&self) -> Option<Deadline> {
        let revocations = self.revocations.values().map(|revocation| revocation.deadline);
        let classic = self.joins.values().chain(self.syncs.values()).copied();
        let turned = self.turned.as_ref().and_then(|classic| classic.next_deadline());
        self.sessions.values().copied().chain(revocations).chain(classic).chain(turned).min()
    }

    /// Removes everybody whose time is over.
    pub(crate) fn on_timer(&mut self, ctx: &mut Context<'_>) {
        let mut over: BTreeMap<MemberId, RemovalCause> = BTreeMap::new();
        self.revocations.retain(|id, revocation| {
            let passed = revocation.deadline.passed(ctx.now);
            let waits = self.members.get(id).is_some_and(|member| {
                member.current.state == MemberState::Unrevoked && member.current.epoch == revocation.epoch
            });
            if passed && waits {
                over.insert(id.clone(), RemovalCause::RebalanceTimeout);
            }
            !passed
        });
        let waits = [
            (&mut self.syncs, RemovalCause::SyncTimeout),
            (&mut self.joins, RemovalCause::RebalanceTimeout),
            (&mut self.sessions, RemovalCause::SessionTimeout),
        ];
        for (deadlines, cause) in waits {
            deadlines.retain(|id, deadline| {
                let passed = deadline.passed(ctx.now);
                if passed && self.members.contains_key(id) {
                    over.insert(id.clone(), cause);
                }
                !passed
            });
        }
        if over.is_empty() {
            return;
        }
        let ids: Vec<MemberId> = over.keys().cloned().collect();
        for (member_id, cause) in over {
            ctx.event(GroupEvent::MemberRemoved { group: self.id.clone(), member_id, cause });
        }
        // A record that cannot be encoded was never stored: what is stored can be removed.
        let _ = self.remove(ctx, &ids);
    }
}
