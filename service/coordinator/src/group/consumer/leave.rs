//! Decides how a member goes: by itself, for a while (a static one), or because it is removed.

use std::collections::BTreeSet;
use std::sync::Arc;

use tidelog_model::KafkaError;

use super::Consumer;
use super::heartbeat::{gone, refused, unknown};
use super::subscriptions::Draft;
use crate::group::api::*;
use crate::group::classic::Context;
use crate::group::ids::{Epoch, MemberId};
use crate::group::records::{ConsumerRecord, Current, GroupEpoch, Owned};

impl Consumer {
    pub(super) fn leave(
        &mut self,
        ctx: &mut Context<'_>,
        beat: &ConsumerHeartbeat,
    ) -> Result<ConsumerBeat, ConsumerRefused> {
        let id = &beat.member_id;
        if let Some(instance) = &beat.instance_id {
            match self.static_member(instance) {
                None => return Err(unknown(&self.id, id)),
                Some(other) if other != id => {
                    let message =
                        format!("Static member {id} with instance id {instance} was fenced by member {other}.");
                    return Err(refused(KafkaError::FencedInstanceId, message));
                }
                Some(_) => {}
            }
        }
        let Some(member) = self.members.get(id) else { return Err(unknown(&self.id, id)) };
        if beat.epoch == Epoch::LEAVE_FOR_NOW {
            // Its partitions wait for it, as long as its session lasts.
            let away = Current { epoch: Epoch::LEAVE_FOR_NOW, revoking: Owned::new(), ..member.current.clone() };
            self.store(ctx, vec![ConsumerRecord::Current(id.clone(), Some(away))])?;
        } else {
            self.remove(ctx, std::slice::from_ref(id))?;
        }
        Ok(ConsumerBeat { member_id: id.clone(), epoch: beat.epoch, heartbeat_interval_ms: 0, assignment: None })
    }

    /// LeaveGroup: members of the classic protocol go by themselves, and an administrator removes static members by their names.
    pub(crate) fn remove_all(
        &mut self,
        ctx: &mut Context<'_>,
        leaving: &[LeavingMember],
    ) -> Vec<Result<(), KafkaError>> {
        let found: Vec<Result<MemberId, KafkaError>> = leaving.iter().map(|member| self.find_leaving(member)).collect();
        let ids: BTreeSet<MemberId> = found.iter().flatten().cloned().collect();
        let ids: Vec<MemberId> = ids.into_iter().collect();
        let removed = if ids.is_empty() { Ok(()) } else { self.remove(ctx, &ids).map_err(|refusal| refusal.error) };
        found.into_iter().map(|found| found.and(removed)).collect()
    }

    fn find_leaving(&self, member: &LeavingMember) -> Result<MemberId, KafkaError> {
        let Some(instance) = &member.instance_id else {
            let known = self.members.contains_key(&member.member_id);
            return known.then(|| member.member_id.clone()).ok_or(KafkaError::UnknownMemberId);
        };
        let holder = self.static_member(instance).ok_or(KafkaError::UnknownMemberId)?;
        if member.member_id.is_empty() || member.member_id == *holder {
            Ok(holder.clone())
        } else {
            Err(KafkaError::FencedInstanceId)
        }
    }

    /// Removes members and raises the epoch: the next heartbeat of anybody shares their partitions out. If only members of the classic
    /// protocol are left, they become a classic group instead.
    pub(super) fn remove(&mut self, ctx: &mut Context<'_>, ids: &[MemberId]) -> Result<(), ConsumerRefused> {
        if self.downgrade_without(ctx, ids) {
            return Ok(());
        }
        let mut records: Vec<ConsumerRecord> = ids.iter().flat_map(gone).collect();
        let draft = Draft { changed: None, without: ids };
        let mut meanings = self.meanings();
        meanings.retain(|expression, _| self.draft(draft).any(|(_, s)| s.expression() == Some(expression)));
        let unused = self.regexes.keys().filter(|expression| !meanings.contains_key(*expression));
        records.extend(unused.map(|expression| ConsumerRecord::Regex(Arc::clone(expression), None)));
        let names = self.subscribed(draft, &meanings);
        // Without a picture of the topics the hash stays what it was: the next heartbeat compares it.
        let before = self.epoch.map_or(0, |epoch| epoch.metadata_hash);
        let metadata_hash = match ctx.topics.revision {
            _ if names.is_empty() => 0,
            0 => before,
            _ => ctx.topics.hash(names.into_iter()),
        };
        let epoch = self.epoch().next();
        records.push(ConsumerRecord::Epoch(Some(GroupEpoch { epoch, metadata_hash })));
        ctx.event(GroupEvent::EpochStarted { group: self.id.clone(), epoch });
        self.store(ctx, records)
    }
}
