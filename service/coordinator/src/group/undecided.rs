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

/// A position of a group, by the topic's name.
type Place = (TopicName, PartitionIndex);

/// Undecided offsets by producer, and whose there are by group and position.
#[derive(Debug, Default)]
pub(crate) struct Undecided {
    by_producer: BTreeMap<ProducerId, BTreeMap<OffsetKey, Pending>>,
    by_group: BTreeMap<GroupId, BTreeMap<Place, BTreeSet<ProducerId>>>,
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
        self.by_group.entry(key.group.clone()).or_default().entry(place(&key)).or_default().insert(producer);
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
        for producer in self.producers(key).cloned().unwrap_or_default() {
            self.release(key, producer);
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
        let producers = self.by_group.get(&key.group).and_then(|places| places.get(&place(key)));
        for producer in producers.into_iter().flatten() {
            let pending = self.by_producer.get_mut(producer).and_then(|offsets| offsets.get_mut(key));
            if let Some(pending) = pending.filter(|pending| pending.order < order) {
                pending.committed = None;
            }
        }
    }

    fn producers(&self, key: &OffsetKey) -> Option<&BTreeSet<ProducerId>> {
        self.by_group.get(&key.group)?.get(&place(key))
    }

    /// The producer has nothing undecided there any more.
    fn release(&mut self, key: &OffsetKey, producer: ProducerId) {
        let Some(places) = self.by_group.get_mut(&key.group) else { return };
        if let Some(producers) = places.get_mut(&place(key)) {
            producers.remove(&producer);
            if producers.is_empty() {
                places.remove(&place(key));
            }
        }
        if places.is_empty() {
            self.by_group.remove(&key.group);
        }
    }

    /// May a transaction still change this offset?
    pub(crate) fn contains(&self, key: &OffsetKey) -> bool {
        self.producers(key).is_some()
    }

    /// The group's undecided positions.
    pub(crate) fn of_group(&self, group: &GroupId) -> BTreeSet<Place> {
        self.by_group.get(group).into_iter().flat_map(BTreeMap::keys).cloned().collect()
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
            self.release(&key, producer);
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

fn place(key: &OffsetKey) -> Place {
    (key.topic.clone(), key.partition)
}

#[cfg(test)]
mod tests {
    use tidelog_model::{LeaderEpoch, Offset, Timestamp};

    use super::*;

    fn key(group: &str, partition: i32) -> OffsetKey {
        OffsetKey { group: group.into(), topic: TopicName::new("t").unwrap(), partition: PartitionIndex(partition) }
    }

    fn committed() -> CommittedOffset {
        CommittedOffset {
            offset: Offset(1),
            leader_epoch: LeaderEpoch::NONE,
            metadata: "".into(),
            commit_timestamp: Timestamp(0),
            expire_timestamp: None,
            topic_id: TopicId::ZERO,
        }
    }

    #[test]
    fn a_position_is_known_as_long_as_a_transaction_may_still_change_it() {
        let (a, b) = (ProducerId(1), ProducerId(2));
        let mut undecided = Undecided::default();
        for (producer, group, partition) in [(a, "g", 0), (b, "g", 0), (a, "g", 1), (a, "h", 0)] {
            undecided.add(producer, key(group, partition), committed());
        }
        let known = |undecided: &Undecided| ["g", "h"].map(|group| undecided.of_group(&group.into()).len());
        assert_eq!(known(&undecided), [2, 1]);
        undecided.end(a, true);
        assert_eq!(known(&undecided), [1, 0]);
        assert!(undecided.contains(&key("g", 0)) && !undecided.contains(&key("g", 1)));
        undecided.remove(&key("g", 0));
        assert_eq!((known(&undecided), undecided.bytes()), ([0, 0], 0));
        undecided.end(b, true);
        assert_eq!((known(&undecided), undecided.by_group.len()), ([0, 0], 0));
    }
}
