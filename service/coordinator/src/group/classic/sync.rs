//! Decides about SyncGroup and Heartbeat: who gets its assignment when, and who is told to join again.

use std::collections::BTreeMap;

use bytes::Bytes;
use tidelog_model::KafkaError;

use super::{Classic, Context};
use crate::ReplyToken;
use crate::group::api::*;
use crate::group::ids::MemberId;
use crate::group::records::group_record;

impl Classic {
    /// `most` is how much memory the group's record may take.
    pub(crate) fn sync(&mut self, ctx: &mut Context<'_>, token: ReplyToken, sync: SyncGroup, most: usize) {
        if let Err(error) = self.validate_sync(&sync) {
            return ctx.reply(token, GroupReply::Sync(Err(error)));
        }
        match self.state {
            GroupState::Empty => ctx.reply(token, GroupReply::Sync(Err(KafkaError::UnknownMemberId))),
            GroupState::PreparingRebalance => {
                ctx.reply(token, GroupReply::Sync(Err(KafkaError::RebalanceInProgress)));
            }
            GroupState::CompletingRebalance => {
                self.park_sync(ctx, &sync.member_id, token);
                if self.leader.as_ref() == Some(&sync.member_id) {
                    self.store_assignment(ctx, sync.assignments, most);
                }
            }
            GroupState::Stable => {
                self.has_synced(&sync.member_id);
                let assignment = self.roster.get(&sync.member_id).map(|member| member.assignment.clone());
                let synced = self.synced(assignment.unwrap_or_default());
                ctx.reply(token, GroupReply::Sync(Ok(synced)));
            }
        }
    }

    fn validate_sync(&self, sync: &SyncGroup) -> Result<(), KafkaError> {
        self.validate_member(&sync.member_id, sync.instance_id.as_ref())?;
        if sync.generation != self.generation {
            return Err(KafkaError::IllegalGeneration);
        }
        if self.state == GroupState::PreparingRebalance {
            // It is sent back whatever it believes. A group that has just become a classic one may have chosen another protocol than the
            // one that it was told before.
            return Ok(());
        }
        // KIP-559: what the member believes is checked where it says so and the group has it.
        let differs = |said: &Option<_>, has: &Option<_>| said.is_some() && has.is_some() && said != has;
        if differs(&sync.protocol_type, &self.protocol_type) || differs(&sync.protocol_name, &self.protocol_name) {
            return Err(KafkaError::InconsistentGroupProtocol);
        }
        Ok(())
    }

    fn park_sync(&mut self, ctx: &mut Context<'_>, id: &MemberId, token: ReplyToken) {
        let before = self.roster.get_mut(id).and_then(|member| member.syncing.replace(token));
        if let Some(before) = before {
            // From a connection that is gone; nobody may be left without an answer.
            ctx.reply(before, GroupReply::Sync(Err(KafkaError::RebalanceInProgress)));
        }
        self.has_synced(id);
    }

    fn has_synced(&mut self, id: &MemberId) {
        self.pending_sync.remove(id);
        if self.pending_sync.is_empty() {
            self.sync_deadline = None;
        }
    }

    fn synced(&self, assignment: Bytes) -> Synced {
        Synced {
            protocol_type: self.protocol_type.clone().unwrap_or_else(|| "".into()),
            protocol_name: self.protocol_name.clone(),
            assignment,
        }
    }

    /// The leader has assigned: the record that makes the group stable, and everyone's reply. A member that the leader left out
    /// gets an empty assignment.
    fn store_assignment(&mut self, ctx: &mut Context<'_>, assignments: Vec<(MemberId, Bytes)>, most: usize) {
        let by_member: BTreeMap<MemberId, Bytes> = assignments.into_iter().collect();
        let stored = self.to_stored(|id, _| by_member.get(id).cloned().unwrap_or_default());
        let record = match stored.bytes() {
            bytes if bytes > most => Err(KafkaError::GroupMaxSizeReached),
            _ => group_record(&self.id, &stored).map_err(|_| KafkaError::UnknownServerError),
        };
        let mut waiting = Vec::new();
        for member in self.roster.iter_mut() {
            if let Some(token) = member.syncing.take() {
                member.deadline = Some(ctx.after_ms(member.session_timeout_ms));
                waiting.push((token, member.id.clone()));
            }
        }
        for (token, id) in waiting {
            let synced = match &record {
                Ok(_) => Ok(self.synced(by_member.get(&id).cloned().unwrap_or_default())),
                Err(error) => Err(*error),
            };
            ctx.reply(token, GroupReply::Sync(synced));
        }
        match record {
            Ok(record) => ctx.out.records.push(record),
            Err(_) => self.record_refused(ctx.now),
        }
    }

    /// A sign of life. REBALANCE_IN_PROGRESS is an answer to a member, not a refusal: its session goes on.
    pub(crate) fn heartbeat(&mut self, ctx: &mut Context<'_>, beat: &Heartbeat) -> Result<(), KafkaError> {
        self.validate_member(&beat.member_id, beat.instance_id.as_ref())?;
        if beat.generation != self.generation {
            return Err(KafkaError::IllegalGeneration);
        }
        self.extend_session(ctx, &beat.member_id);
        match self.state {
            GroupState::Empty => Err(KafkaError::UnknownMemberId),
            GroupState::PreparingRebalance => Err(KafkaError::RebalanceInProgress),
            GroupState::CompletingRebalance | GroupState::Stable => Ok(()),
        }
    }

    pub(crate) fn extend_session(&mut self, ctx: &Context<'_>, id: &MemberId) {
        if let Some(member) = self.roster.get_mut(id) {
            member.deadline = Some(ctx.after_ms(member.session_timeout_ms));
        }
    }
}
