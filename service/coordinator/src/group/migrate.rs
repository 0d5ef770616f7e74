//! Decides which protocol a group is of when a request of the other one comes, and changes it over: at once if nobody is in it, with its
//! members if they are all consumers and the policy allows it. What the change is, is decided in `consumer/convert.rs`.

use tidelog_model::KafkaError;

use super::api::*;
use super::classic::Context;
use super::consumer::{self, Consumer};
use super::ids::Epoch;
use super::state::{Group, group_tombstone};
use crate::ReplyToken;

impl Group {
    /// Decides about ConsumerGroupHeartbeat. A member that joins makes a classic group one of the consumer protocol.
    pub(crate) fn consumer_heartbeat(
        &mut self,
        ctx: &mut Context<'_>,
        beat: &ConsumerHeartbeat,
    ) -> Result<ConsumerBeat, ConsumerRefused> {
        let (records, events) = (ctx.out.records.len(), ctx.out.events.len());
        let result = self.decide_heartbeat(ctx, beat);
        if result.is_err() {
            ctx.out.records.truncate(records);
            ctx.out.events.truncate(events);
            self.drop_blank();
        }
        result
    }

    fn decide_heartbeat(
        &mut self,
        ctx: &mut Context<'_>,
        beat: &ConsumerHeartbeat,
    ) -> Result<ConsumerBeat, ConsumerRefused> {
        if self.has_stored() {
            ctx.out.records.extend(group_tombstone(&self.id));
        }
        if let Some(consumer) = &mut self.consumer {
            let result = consumer.heartbeat(ctx, beat)?;
            // Classic members are here if the end of this group could not be stored when they came; it has not ended now.
            self.classic.send_back(ctx);
            return Ok(result);
        }
        if beat.epoch != Epoch::JOIN {
            let message = format!("Group {} is not a consumer group.", self.id);
            return Err(consumer::refused(KafkaError::GroupIdNotFound, message));
        }
        if self.classic.state() == GroupState::Empty {
            let mut consumer = Consumer::new(self.id.clone());
            let result = consumer.heartbeat(ctx, beat)?;
            self.consumer = Some(Box::new(consumer));
            return Ok(result);
        }
        let (mut consumer, records) = Consumer::of_classic(ctx, &self.id, &self.classic)?;
        consumer.store(ctx, records)?;
        let result = consumer.heartbeat(ctx, beat)?;
        self.classic.send_back(ctx);
        // The members count once their records do.
        self.consumer = Some(Box::new(consumer.only_soft()));
        Ok(result)
    }

    /// Decides about JoinGroup. A group of the consumer protocol that nobody is in becomes a classic one.
    pub(crate) fn join(&mut self, ctx: &mut Context<'_>, token: ReplyToken, join: JoinGroup) {
        match &mut self.consumer {
            Some(consumer) if !consumer.is_empty() => {
                let result = consumer.join(ctx, &join);
                ctx.reply(token, GroupReply::Join(result));
            }
            Some(consumer) => {
                for record in consumer.tombstones() {
                    ctx.out.records.extend(record.encode(&self.id));
                }
                self.classic.join(ctx, token, join);
            }
            None => self.classic.join(ctx, token, join),
        }
    }

    /// Decides about SyncGroup.
    pub(crate) fn sync(&mut self, ctx: &mut Context<'_>, token: ReplyToken, sync: SyncGroup) {
        match &mut self.consumer {
            Some(consumer) => {
                let result = consumer.sync(ctx, &sync);
                ctx.reply(token, GroupReply::Sync(result));
            }
            None => {
                let most = self.stored_bytes().saturating_add(ctx.room);
                self.classic.sync(ctx, token, sync, most);
            }
        }
    }

    /// Decides about Heartbeat.
    pub(crate) fn heartbeat(&mut self, ctx: &mut Context<'_>, beat: &Heartbeat) -> Result<(), KafkaError> {
        match &mut self.consumer {
            Some(consumer) => consumer.classic_heartbeat(ctx, beat),
            None => self.classic.heartbeat(ctx, beat),
        }
    }

    /// Decides about LeaveGroup.
    pub(crate) fn leave(&mut self, ctx: &mut Context<'_>, leaving: Vec<LeavingMember>) -> Vec<LeftMember> {
        let Some(consumer) = &mut self.consumer else { return self.classic.leave(ctx, leaving) };
        let results = consumer.remove_all(ctx, &leaving);
        let one = |(member, result): (LeavingMember, _)| LeftMember {
            member_id: member.member_id,
            instance_id: member.instance_id,
            result,
        };
        leaving.into_iter().zip(results).map(one).collect()
    }
}
