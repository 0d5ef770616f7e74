//! Decides what is removed without a request: expired offsets, offsets of deleted topics, groups that nothing is left of.
//! Works in steps, so that no outcome grows beyond one batch.

use std::collections::BTreeSet;
use std::time::Duration;

use tidelog_model::{Deadline, KafkaError, Now, PartitionIndex, TopicId, TopicName};

use super::api::GroupEvent;
use super::classic::Context;
use super::config::GroupConfig;
use super::ids::GroupId;
use super::records::offset_tombstone;
use super::shard::GroupShard;
use super::state::Group;
use crate::Outcome;
use crate::limits::{MAX_TOMBSTONES_PER_OUTCOME, SWEEP_RETRY};

/// When and for what the shard looks through its offsets.
#[derive(Debug, Default)]
pub(crate) struct Sweep {
    /// When expiry is looked at next.
    expiry: Option<Deadline>,
    /// Topics that are gone and whose offsets may still be here.
    deleted: BTreeSet<(TopicName, TopicId)>,
    /// When the search for those goes on.
    deletion: Option<Deadline>,
}

impl Sweep {
    pub(crate) fn start(&mut self, now: Now, config: &GroupConfig) {
        self.expiry = Some(now.after(config.offsets_retention_check_interval));
    }

    /// Loading is over: look for the topics that were deleted meanwhile.
    pub(crate) fn resume_deletion(&mut self, now: Now) {
        self.deletion = if self.deleted.is_empty() { None } else { Some(now.after(Duration::ZERO)) };
    }

    pub(crate) fn next_deadline(&self) -> Option<Deadline> {
        self.expiry.into_iter().chain(self.deletion).min()
    }

    /// Tombstones may have been refused: try again later, not at once.
    pub(crate) fn refused(&mut self, now: Now, config: &GroupConfig) {
        if self.expiry.is_some_and(|deadline| deadline.passed(now)) {
            self.start(now, config);
        }
        if !self.deleted.is_empty() {
            self.deletion = Some(now.after(SWEEP_RETRY));
        }
    }
}

impl GroupShard {
    /// A topic is gone: its offsets go too. Many tombstones come in several outcomes, the rest by the timer. An offset that was
    /// committed for another topic id of the same name stays; a zero id means every topic of that name.
    pub fn topic_deleted(&mut self, now: Now, topic: &TopicName, id: TopicId) -> Outcome {
        self.sweep.deleted.insert((topic.clone(), id));
        if self.is_loading() { Outcome::default() } else { self.deletion_step(now) }
    }

    /// One step of whatever is due.
    pub(super) fn sweep_step(&mut self, now: Now) -> Outcome {
        if self.sweep.deletion.is_some_and(|deadline| deadline.passed(now)) {
            self.deletion_step(now)
        } else if self.sweep.expiry.is_some_and(|deadline| deadline.passed(now)) {
            self.expiry_step(now)
        } else {
            Outcome::default()
        }
    }

    /// A topic stays on the list until a search finds nothing of it, so that a refused step is repeated.
    fn deletion_step(&mut self, now: Now) -> Outcome {
        let mut step = Step::default();
        let mut clean = Vec::new();
        for (topic, id) in &self.sweep.deleted {
            let before = step.out.records.len();
            // Those of open transactions too: they would come back with the marker.
            let mut found = self.undecided.of_topic(topic, *id);
            for group in self.groups.values() {
                let mut partitions = found.remove(&group.id).unwrap_or_default();
                partitions.extend(group.offsets.of_topic(topic, *id));
                step.remove_offsets(&group.id, partitions.into_iter().map(|part| (topic.clone(), part)).collect());
            }
            for (group, partitions) in found {
                step.remove_offsets(&group, partitions.into_iter().map(|part| (topic.clone(), part)).collect());
            }
            if step.out.records.len() == before && !step.full {
                clean.push((topic.clone(), *id));
            }
        }
        for key in clean {
            self.sweep.deleted.remove(&key);
        }
        self.sweep.resume_deletion(now);
        step.out
    }

    fn expiry_step(&mut self, now: Now) -> Outcome {
        let retention_ms = i64::try_from(self.config.offsets_retention.as_millis()).unwrap_or(i64::MAX);
        let mut step = Step::default();
        for group in self.groups.values() {
            // What a transaction may still change stays, and its group: the tombstone would take the new offset with the old.
            let open = self.undecided.of_group(&group.id);
            let mut expired = group.expired_offsets(now.wall, retention_ms);
            expired.retain(|position| !open.contains(position));
            let rest = group.offsets.len() - expired.len();
            step.remove_offsets(&group.id, expired);
            if rest == 0 && open.is_empty() && group.is_deserted() && !group.tombstones().is_empty() {
                step.remove_group(group);
            }
        }
        if !step.full {
            self.sweep.start(now, &self.config);
        }
        step.out
    }
}

impl Group {
    /// Decides about DeleteGroups: only a group without members goes, and what transactions have committed for it so far.
    pub(crate) fn delete(
        &self,
        ctx: &mut Context<'_>,
        undecided: &BTreeSet<(TopicName, PartitionIndex)>,
    ) -> Result<(), KafkaError> {
        if !self.is_deserted() {
            return Err(KafkaError::NonEmptyGroup);
        }
        for (topic, partition, _) in self.offsets.iter() {
            ctx.out.records.extend(offset_tombstone(&self.id, topic, partition));
        }
        for (topic, partition) in undecided.iter().filter(|(topic, part)| self.offsets.get(topic, *part).is_none()) {
            ctx.out.records.extend(offset_tombstone(&self.id, topic, *partition));
        }
        ctx.out.records.extend(self.tombstones());
        ctx.event(GroupEvent::GroupRemoved { group: self.id.clone() });
        Ok(())
    }
}

/// One outcome full of tombstones.
#[derive(Default)]
struct Step {
    out: Outcome,
    /// Something did not fit any more.
    full: bool,
}

impl Step {
    fn has_room(&mut self) -> bool {
        let room = self.out.records.len() < MAX_TOMBSTONES_PER_OUTCOME;
        self.full |= !room;
        room
    }

    fn remove_offsets(&mut self, group: &GroupId, offsets: Vec<(TopicName, PartitionIndex)>) {
        let before = self.out.records.len();
        for (topic, partition) in offsets {
            if self.has_room() {
                self.out.records.extend(offset_tombstone(group, &topic, partition));
            }
        }
        let count = self.out.records.len() - before;
        if count > 0 {
            self.out.events.push(GroupEvent::OffsetsRemoved { group: group.clone(), count });
        }
    }

    fn remove_group(&mut self, group: &Group) {
        if self.has_room() {
            self.out.records.extend(group.tombstones());
            self.out.events.push(GroupEvent::GroupRemoved { group: group.id.clone() });
        }
    }
}
