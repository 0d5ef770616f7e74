//! Offsets of transactions that have no marker yet: decides which of them count when one comes. Changed by replaying alone.
//!
//! Of several commits for one partition the one that lies last in the log counts, as if each had been applied where it lies. Replay
//! goes in log order; so a commit outside of transactions overtakes everything that is undecided, and a transaction that commits
//! overtakes what others have written before it. A tombstone removes what lies before it: compaction keeps nothing else of the key.

use std::collections::{BTreeMap, BTreeSet};

use tidelog_model::{PartitionIndex, ProducerId, TopicId, TopicName};

use super::api::CommittedOffset;
use super::ids::GroupId;
use super::offsets;
use super::records::OffsetKey;

/// One producer's newest offset for one partition.
#[derive(Debug)]
struct Pending {
    /// Ascends with the place in the log.
    order: u64,
    /// None once a later commit counts.
    committed: Option<CommittedOffset>,
    bytes: usize,
}

/// Undecided offsets by producer, and by partition.
#[derive(Debug, Default)]
pub(crate) struct Undecided {
    by_producer: BTreeMap<ProducerId, BTreeMap<OffsetKey, Pending>>,
    by_key: BTreeMap<OffsetKey, BTreeSet<ProducerId>>,
    next: u64,
    bytes: usize,
}

impl Undecided {
    /// An offset that counts if its producer's transaction commits.
    pub(crate) fn add(&mut self, producer: ProducerId, key: OffsetKey, committed: CommittedOffset) {
        let bytes = 2 * (key.group.len() + offsets::cost(&key.topic, &committed.metadata));
        let pending = Pending { order: self.next, committed: Some(committed), bytes };
        self.next += 1;
        self.bytes += bytes;
        self.by_key.entry(key.clone()).or_default().insert(producer);
        if let Some(old) = self.by_producer.entry(producer).or_default().insert(key, pending) {
            self.bytes = self.bytes.saturating_sub(old.bytes);
        }
    }

    /// A commit that counts at once: nothing that lies before it in the log may replace it.
    pub(crate) fn overtake(&mut self, key: &OffsetKey) {
        let next = self.next;
        self.overtake_before(key, next);
    }

    /// A tombstone: what lies before it in the log is gone, whatever its transactions come to.
    pub(crate) fn remove(&mut self, key: &OffsetKey) {
        for producer in self.by_key.remove(key).into_iter().flatten() {
            let Some(offsets) = self.by_producer.get_mut(&producer) else { continue };
            if let Some(pending) = offsets.remove(key) {
                self.bytes = self.bytes.saturating_sub(pending.bytes);
            }
            if offsets.is_empty() {
                self.by_producer.remove(&producer);
            }
        }
    }

    fn overtake_before(&mut self, key: &OffsetKey, order: u64) {
        for producer in self.by_key.get(key).into_iter().flatten() {
            let pending = self.by_producer.get_mut(producer).and_then(|offsets| offsets.get_mut(key));
            if let Some(pending) = pending.filter(|pending| pending.order < order) {
                pending.committed = None;
            }
        }
    }

    /// May a transaction still change this offset?
    pub(crate) fn contains(&self, key: &OffsetKey) -> bool {
        self.by_key.contains_key(key)
    }

    /// The group's undecided positions.
    pub(crate) fn of_group(&self, group: &GroupId) -> BTreeSet<(TopicName, PartitionIndex)> {
        let keys = self.by_key.keys().filter(|key| key.group == *group);
        keys.map(|key| (key.topic.clone(), key.partition)).collect()
    }

    /// Has the group such positions?
    pub(crate) fn has_group(&self, group: &GroupId) -> bool {
        self.by_key.keys().any(|key| key.group == *group)
    }

    /// The groups that have some.
    pub(crate) fn groups(&self) -> BTreeSet<&GroupId> {
        self.by_key.keys().map(|key| &key.group).collect()
    }

    /// The undecided positions of every group.
    pub(crate) fn by_group(&self) -> BTreeMap<GroupId, BTreeSet<(TopicName, PartitionIndex)>> {
        let mut groups: BTreeMap<GroupId, BTreeSet<(TopicName, PartitionIndex)>> = BTreeMap::new();
        for key in self.by_key.keys() {
            groups.entry(key.group.clone()).or_default().insert((key.topic.clone(), key.partition));
        }
        groups
    }

    /// The positions in a topic that may still count, by group; those that know their topic's id only if it is this one.
    pub(crate) fn of_topic(&self, topic: &TopicName, id: TopicId) -> BTreeMap<GroupId, BTreeSet<PartitionIndex>> {
        let mut groups: BTreeMap<GroupId, BTreeSet<PartitionIndex>> = BTreeMap::new();
        for (key, pending) in self.by_producer.values().flatten().filter(|(key, _)| key.topic == *topic) {
            if pending.committed.as_ref().is_some_and(|offset| offsets::fits(offset, id)) {
                groups.entry(key.group.clone()).or_default().insert(key.partition);
            }
        }
        groups
    }

    /// The producer's transaction has ended: the offsets that count now.
    pub(crate) fn end(&mut self, producer: ProducerId, committed: bool) -> Vec<(OffsetKey, CommittedOffset)> {
        let mut counting = Vec::new();
        for (key, pending) in self.by_producer.remove(&producer).unwrap_or_default() {
            self.bytes = self.bytes.saturating_sub(pending.bytes);
            if let Some(producers) = self.by_key.get_mut(&key) {
                producers.remove(&producer);
                if producers.is_empty() {
                    self.by_key.remove(&key);
                }
            }
            if let Some(offset) = pending.committed.filter(|_| committed) {
                self.overtake_before(&key, pending.order);
                counting.push((key, offset));
            }
        }
        counting
    }

    /// Memory, bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }
}
