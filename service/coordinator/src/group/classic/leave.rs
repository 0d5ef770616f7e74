//! Decides about LeaveGroup: members that go by themselves, and static ones that an administrator removes by name (KIP-345).

use tidelog_model::KafkaError;

use super::{Classic, Context};
use crate::group::api::*;
use crate::group::ids::MemberId;

impl Classic {
    pub(crate) fn leave(&mut self, ctx: &mut Context<'_>, leaving: Vec<LeavingMember>) -> Vec<LeftMember> {
        let reason = leaving.iter().find_map(|member| member.reason.clone());
        let before = self.roster.len();
        let mut left = Vec::with_capacity(leaving.len());
        for member in leaving {
            let result = self.leave_one(ctx, &member);
            left.push(LeftMember { member_id: member.member_id, instance_id: member.instance_id, result });
        }
        match self.state {
            // Giving back an id that never joined changes nothing for the others.
            GroupState::Stable | GroupState::CompletingRebalance if self.roster.len() < before => {
                self.prepare_rebalance(ctx, RebalanceCause::MemberLeft, reason.as_deref());
            }
            GroupState::PreparingRebalance => self.complete_join_if_ready(ctx),
            _ => {}
        }
        left
    }

    fn leave_one(&mut self, ctx: &mut Context<'_>, member: &LeavingMember) -> Result<(), KafkaError> {
        let id: MemberId = if member.member_id.is_empty() {
            let instance = member.instance_id.as_ref().ok_or(KafkaError::UnknownMemberId)?;
            self.roster.static_member(instance).cloned().ok_or(KafkaError::UnknownMemberId)?
        } else if self.roster.remove_pending(&member.member_id) {
            return Ok(());
        } else {
            self.validate_member(&member.member_id, member.instance_id.as_ref())?;
            member.member_id.clone()
        };
        self.remove(ctx, &id);
        Ok(())
    }
}
