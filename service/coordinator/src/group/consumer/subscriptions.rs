//! What the members of a group subscribe to: names and regular expressions, and the topics that those mean now.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tidelog_model::{KafkaError, TopicId};

use super::heartbeat::{id_of, no_room, partitions, refused, told};
use super::{Consumer, regex_bytes};
use crate::group::api::{ConsumerHeartbeat, ConsumerRefused};
use crate::group::classic::Context;
use crate::group::directory::TopicDirectory;
use crate::group::ids::{Epoch, InstanceId, MemberId};
use crate::group::meant::Heard;
use crate::group::records::{ConsumerRecord, Resolved, Subscriber};
use crate::limits::MAX_EXPRESSIONS_PER_GROUP;

/// Everybody as the group will be once a decision counts: one member as it is now, one without which it is.
#[derive(Clone, Copy, Default)]
pub(super) struct Draft<'a> {
    pub(super) changed: Option<(&'a MemberId, &'a Subscriber)>,
    pub(super) without: &'a [MemberId],
}

/// The meaning of every expression that is used.
pub(super) type Meanings = BTreeMap<Arc<str>, BTreeSet<Arc<str>>>;

/// What a member subscribes to, by name and by expression.
pub(super) fn topics_of<'a>(
    subscriber: &'a Subscriber,
    meanings: &'a Meanings,
) -> impl Iterator<Item = &'a Arc<str>> + use<'a> {
    let meant = subscriber.expression().and_then(|expression| meanings.get(expression));
    subscriber.topics.iter().chain(meant.into_iter().flatten())
}

/// Those of them that exist.
pub(super) fn topic_ids(subscriber: &Subscriber, meanings: &Meanings, directory: &TopicDirectory) -> BTreeSet<TopicId> {
    topics_of(subscriber, meanings).filter_map(|name| directory.get(name)).map(|facts| facts.id).collect()
}

impl Consumer {
    /// Every member of the draft.
    pub(super) fn draft<'a>(
        &'a self,
        draft: Draft<'a>,
    ) -> impl Iterator<Item = (&'a MemberId, &'a Subscriber)> + use<'a> {
        let stays =
            move |id: &MemberId| draft.changed.is_none_or(|(changed, _)| changed != id) && !draft.without.contains(id);
        let others = self.members.iter().filter(move |(id, _)| stays(id)).map(|(id, member)| (id, &member.subscriber));
        others.chain(draft.changed)
    }

    /// The meanings as they are stored.
    pub(super) fn meanings(&self) -> Meanings {
        self.regexes.iter().map(|(expression, resolved)| (Arc::clone(expression), resolved.topics.clone())).collect()
    }

    /// The names of all topics that somebody subscribes to.
    pub(super) fn subscribed<'a>(&'a self, draft: Draft<'a>, meanings: &'a Meanings) -> BTreeSet<&'a str> {
        self.draft(draft).flat_map(|(_, subscriber)| topics_of(subscriber, meanings)).map(|name| &**name).collect()
    }

    /// Is somebody in the group subscribed to this topic?
    pub(crate) fn is_subscribed(&self, topic: &str) -> bool {
        let means = |expression: &Arc<str>| {
            self.regexes.get(expression).is_some_and(|resolved| resolved.topics.contains(topic))
        };
        self.members
            .values()
            .any(|member| member.subscriber.topics.contains(topic) || member.subscriber.expression().is_some_and(means))
    }

    /// The next expression of which the group has to know what it means before it decides about this report: its new one, or any of them when
    /// topics or access rules have changed. Takes in what the report tells, which all other members need not look up again; without room for
    /// that all keep the meanings that they have for a while. A member that has to wait counts as heard from.
    pub(crate) fn unresolved(
        &mut self,
        ctx: &Context<'_>,
        beat: &ConsumerHeartbeat,
    ) -> Result<Option<Arc<str>>, ConsumerRefused> {
        let fresh = self.is_fresh(ctx);
        let is_new = |expression: &&Arc<str>| !expression.is_empty() && !self.regexes.contains_key(*expression);
        let brought = beat.regex.as_ref().filter(is_new);
        if beat.epoch < Epoch::JOIN || (!fresh && brought.is_none()) {
            return Ok(None);
        }
        let (id, owned) = (id_of(beat), beat.owned.as_deref().map(partitions));
        // Who is refused anyway lets nobody look for anything.
        let Ok(found) = self.find(ctx.config, &id, beat, owned.as_ref()) else { return Ok(None) };
        if let (Some(expression), Some(meant)) = (brought, &beat.meant)
            && meant.refutes(expression)
        {
            let message = format!("the regular expression '{expression}' is not valid, or too large");
            return Err(refused(KafkaError::InvalidRegularExpression, message));
        }
        let subscriber = told(&found.member.subscriber, beat);
        let without: Vec<MemberId> = found.replaces.iter().cloned().collect();
        let draft = Draft { changed: Some((&id, &subscriber)), without: &without };
        let used: Vec<Arc<str>> = self.expressions(draft).into_iter().cloned().collect();
        if brought.is_some() && used.len() > MAX_EXPRESSIONS_PER_GROUP {
            let message =
                format!("The members of a group may use {MAX_EXPRESSIONS_PER_GROUP} different regular expressions.");
            return Err(refused(KafkaError::GroupMaxSizeReached, message));
        }
        let before = self.heard.bytes();
        beat.meant.iter().for_each(|meant| self.heard.add(meant, ctx.topics));
        // The new one last: only what members use is kept.
        let others = used.iter().filter(|used| fresh && Some(*used) != brought);
        let next = others.chain(brought).find(|wanted| !self.heard.tells(wanted, ctx.topics)).cloned();
        if next.is_some() {
            if self.heard.bytes().saturating_sub(before) > ctx.room {
                self.heard = Heard::default();
                return if brought.is_some() { Err(no_room()) } else { Ok(None) };
            }
            if let Some(session) = self.sessions.get_mut(found.replaces.as_ref().unwrap_or(&id)) {
                *session = ctx.after_ms(ctx.config.consumer_session_timeout_ms);
            }
        }
        Ok(next)
    }

    /// The different expressions of the draft.
    fn expressions<'a>(&'a self, draft: Draft<'a>) -> BTreeSet<&'a Arc<str>> {
        self.draft(draft).filter_map(|(_, subscriber)| subscriber.expression()).collect()
    }

    /// Has something changed since a member of the consumer protocol last reported, or was something passed over then that is due again?
    pub(super) fn is_fresh(&self, ctx: &Context<'_>) -> bool {
        self.seen.as_ref().is_none_or(|seen| seen.revision != ctx.topics.revision)
            || self.resolves_again.is_some_and(|due| due.passed(ctx.now))
    }

    /// What the expressions of the draft mean, and the records of what differs from before. One that is stored (by Kafka, in a dialect that
    /// differs a little) and is not valid keeps its meaning, as does one of which `heard` does not tell, or for whose further topics there is
    /// no room; of these two it says that they were passed over.
    pub(super) fn resolve(
        &self,
        ctx: &mut Context<'_>,
        draft: Draft<'_>,
        heard: Option<&Heard>,
        records: &mut Vec<ConsumerRecord>,
    ) -> Result<(Meanings, bool), ConsumerRefused> {
        let fresh = self.is_fresh(ctx);
        let mut meanings = Meanings::new();
        let mut passed_over = false;
        for expression in self.expressions(draft) {
            let stored = self.regexes.get(expression);
            passed_over |= fresh && !heard.is_some_and(|heard| heard.tells(expression, ctx.topics));
            let topics = match (heard.and_then(|heard| heard.get(expression)), stored) {
                (_, Some(stored)) if !fresh => stored.topics.clone(),
                (Some(topics), _) => topics.clone(),
                (None, Some(stored)) => stored.topics.clone(),
                (None, None) => BTreeSet::new(),
            };
            if stored.is_none_or(|stored| stored.topics != topics) {
                let version = i64::try_from(ctx.topics.revision).unwrap_or(i64::MAX);
                let resolved = Resolved { topics: topics.clone(), version, at: ctx.now.wall };
                let held = stored.map_or(0, |stored| regex_bytes(expression, stored));
                let growth = regex_bytes(expression, &resolved).saturating_sub(held);
                match (ctx.room.checked_sub(growth), stored) {
                    (Some(left), _) => ctx.room = left,
                    (None, Some(stored)) => {
                        passed_over = true;
                        meanings.insert(Arc::clone(expression), stored.topics.clone());
                        continue;
                    }
                    (None, None) => return Err(no_room()),
                }
                records.push(ConsumerRecord::Regex(Arc::clone(expression), Some(resolved)));
            }
            meanings.insert(Arc::clone(expression), topics);
        }
        let unused = self.regexes.keys().filter(|expression| !meanings.contains_key(*expression));
        records.extend(unused.map(|expression| ConsumerRecord::Regex(Arc::clone(expression), None)));
        Ok((meanings, passed_over))
    }

    /// Who has the static name now; only a member can have one.
    pub(super) fn static_member(&self, instance: &InstanceId) -> Option<&MemberId> {
        self.statics.get(instance).filter(|id| self.members.contains_key(*id))
    }
}
