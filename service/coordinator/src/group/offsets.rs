//! The committed offsets of one group, as its records tell them. Changed by replayed records alone; decides nothing.

use std::collections::BTreeMap;

use tidelog_model::{PartitionIndex, TopicId, TopicName};

use super::api::CommittedOffset;
use crate::limits::OFFSET_OVERHEAD_BYTES;

/// Offsets by topic and partition.
#[derive(Debug, Default)]
pub(crate) struct Offsets {
    topics: BTreeMap<TopicName, BTreeMap<PartitionIndex, CommittedOffset>>,
    bytes: usize,
}

impl Offsets {
    /// How many positions there are.
    pub(crate) fn len(&self) -> usize {
        self.topics.values().map(BTreeMap::len).sum()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.topics.is_empty()
    }

    /// Memory, bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn get(&self, topic: &TopicName, partition: PartitionIndex) -> Option<&CommittedOffset> {
        self.topics.get(topic)?.get(&partition)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&TopicName, PartitionIndex, &CommittedOffset)> {
        self.topics
            .iter()
            .flat_map(|(topic, offsets)| offsets.iter().map(move |(partition, offset)| (topic, *partition, offset)))
    }

    /// The topic's partitions that have an offset; of an offset that knows its topic's id only those of this id. A zero id fits all.
    pub(crate) fn of_topic(&self, topic: &TopicName, id: TopicId) -> impl Iterator<Item = PartitionIndex> {
        let offsets = self.topics.get(topic).into_iter().flatten();
        offsets.filter(move |(_, offset)| fits(offset, id)).map(|(partition, _)| *partition)
    }

    pub(crate) fn insert(&mut self, topic: TopicName, partition: PartitionIndex, committed: CommittedOffset) {
        self.remove(&topic, partition);
        self.bytes += cost(&topic, &committed.metadata);
        self.topics.entry(topic).or_default().insert(partition, committed);
    }

    pub(crate) fn remove(&mut self, topic: &TopicName, partition: PartitionIndex) {
        let Some(offsets) = self.topics.get_mut(topic) else { return };
        if let Some(old) = offsets.remove(&partition) {
            self.bytes = self.bytes.saturating_sub(cost(topic, &old.metadata));
        }
        if offsets.is_empty() {
            self.topics.remove(topic);
        }
    }
}

/// Is it an offset of the topic with this id? A zero id, of the topic or the offset, fits all.
pub(crate) fn fits(offset: &CommittedOffset, id: TopicId) -> bool {
    id == TopicId::ZERO || offset.topic_id == TopicId::ZERO || offset.topic_id == id
}

/// Memory of one offset, bytes. The topic's name is shared, but counted as if it were not: a limit may err to the safe side.
pub(crate) fn cost(topic: &TopicName, metadata: &str) -> usize {
    OFFSET_OVERHEAD_BYTES + topic.as_str().len() + metadata.len()
}
