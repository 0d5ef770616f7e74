//! `uniform`: as many partitions for everybody, and as few moves as that needs. If all subscribe to the same, loads differ by one
//! at most. If not, each topic is evened out among its own subscribers until nothing moves any more.

use std::collections::{BTreeMap, BTreeSet};

use tidelog_model::{PartitionIndex, TopicId};

use super::Reader;
use crate::group::ids::MemberId;
use crate::group::records::Partitions;
use crate::limits::MAX_BALANCING_ROUNDS;

pub(super) fn assign(readers: &[Reader], topics: &BTreeMap<TopicId, i32>) -> BTreeMap<MemberId, Partitions> {
    let mut sharing = Sharing::new(readers, topics);
    let same = readers.windows(2).all(|pair| matches!(pair, [a, b] if a.topics == b.topics));
    if same {
        sharing.cap_equally();
    }
    sharing.hand_out();
    if !same {
        sharing.even_out();
        sharing.undo_exchanges(readers);
    }
    readers.iter().map(|reader| reader.id.clone()).zip(sharing.parts).collect()
}

/// Who has what so far; members by their place in the list.
struct Sharing {
    /// For each topic its subscribers.
    subscribers: BTreeMap<TopicId, Vec<usize>>,
    parts: Vec<Partitions>,
    loads: Vec<usize>,
    free: Vec<(TopicId, PartitionIndex)>,
}

impl Sharing {
    /// Everybody keeps what it had and may still have.
    fn new(readers: &[Reader], topics: &BTreeMap<TopicId, i32>) -> Self {
        let mut subscribers: BTreeMap<TopicId, Vec<usize>> = BTreeMap::new();
        for (place, reader) in readers.iter().enumerate() {
            for topic in reader.topics.iter().filter(|topic| topics.contains_key(topic)) {
                subscribers.entry(*topic).or_default().push(place);
            }
        }
        let mut taken: BTreeSet<(TopicId, PartitionIndex)> = BTreeSet::new();
        let mut parts = Vec::with_capacity(readers.len());
        for reader in readers {
            let mut part = Partitions::new();
            for (topic, partitions) in &reader.held {
                let count = topics.get(topic).copied().filter(|_| reader.topics.contains(topic)).unwrap_or(0);
                for partition in partitions.iter().filter(|partition| partition.get() < count) {
                    if taken.insert((*topic, *partition)) {
                        part.entry(*topic).or_default().insert(*partition);
                    }
                }
            }
            parts.push(part);
        }
        let all = subscribers.keys().flat_map(|topic| {
            let count = topics.get(topic).copied().unwrap_or(0);
            (0..count).map(move |partition| (*topic, PartitionIndex(partition)))
        });
        let free = all.filter(|partition| !taken.contains(partition)).collect();
        let loads = parts.iter().map(load).collect();
        Sharing { subscribers, parts, loads, free }
    }

    /// Nobody keeps more than its share; the members that have most keep the extra ones.
    fn cap_equally(&mut self) {
        let members = self.parts.len();
        if members == 0 {
            return;
        }
        let total = self.free.len() + self.loads.iter().sum::<usize>();
        let (each, mut extra) = (total / members, total % members);
        for place in 0..members {
            while let Some(have) = self.loads.get(place).copied().filter(|have| *have > each) {
                if have == each + 1 && extra > 0 {
                    extra -= 1;
                    break;
                }
                let Some(given) = self.take_last(place) else { break };
                self.free.push(given);
            }
        }
    }

    /// Gives every free partition to the subscriber that has least; those with the fewest takers first.
    fn hand_out(&mut self) {
        let mut free = std::mem::take(&mut self.free);
        let takers = |topic: &TopicId| self.subscribers.get(topic).map_or(0, Vec::len);
        free.sort_by_key(|(topic, partition)| (takers(topic), *topic, *partition));
        // The members of one topic by load; partitions of a topic come one after the other.
        let mut queue: BTreeSet<(usize, usize)> = BTreeSet::new();
        let mut of: Option<TopicId> = None;
        for (topic, partition) in free {
            if of != Some(topic) {
                let places = self.subscribers.get(&topic).into_iter().flatten();
                queue = places.map(|place| (self.load(*place), *place)).collect();
                of = Some(topic);
            }
            if let Some((load, place)) = queue.pop_first() {
                self.give(place, topic, partition);
                queue.insert((load + 1, place));
            }
        }
    }

    /// Moves partitions from the fullest to the emptiest subscriber of each topic, while that makes a difference.
    fn even_out(&mut self) {
        let topics: Vec<TopicId> = self.subscribers.keys().copied().collect();
        for _ in 0..MAX_BALANCING_ROUNDS {
            let mut moved = false;
            for topic in &topics {
                moved |= self.even_out_topic(*topic);
            }
            if !moved {
                return;
            }
        }
    }

    fn even_out_topic(&mut self, topic: TopicId) -> bool {
        let places = self.subscribers.get(&topic).into_iter().flatten();
        let mut takers: BTreeSet<(usize, usize)> = places.map(|place| (self.load(*place), *place)).collect();
        let has = |part: &Partitions| part.contains_key(&topic);
        let mut givers: BTreeSet<(usize, usize)> =
            takers.iter().filter(|(_, place)| self.parts.get(*place).is_some_and(has)).copied().collect();
        let mut moved = false;
        while let (Some(most), Some(least)) = (givers.last().copied(), takers.first().copied()) {
            if most.0 < least.0 + 2 {
                break;
            }
            let Some(partition) = self.take(most.1, topic) else { break };
            self.give(least.1, topic, partition);
            moved = true;
            for (before, now) in [(most, most.0 - 1), (least, least.0 + 1)] {
                takers.remove(&before);
                takers.insert((now, before.1));
                givers.remove(&before);
                if self.parts.get(before.1).is_some_and(has) {
                    givers.insert((now, before.1));
                }
            }
        }
        moved
    }

    /// What two members would exchange they keep: it would change nothing but owners. A topic that was evened out early may have
    /// taken from a member what a later one gave back to it.
    fn undo_exchanges(&mut self, readers: &[Reader]) {
        let mut holders: BTreeMap<(TopicId, PartitionIndex), usize> = BTreeMap::new();
        for (place, reader) in readers.iter().enumerate() {
            let still = reader.held.iter().filter(|(topic, _)| reader.topics.contains(*topic));
            for (topic, partition) in still.flat_map(|(topic, held)| held.iter().map(move |one| (*topic, *one))) {
                holders.entry((topic, partition)).or_insert(place);
            }
        }
        // By who had them and who has them now.
        let mut moved: BTreeMap<(usize, usize), Vec<(TopicId, PartitionIndex)>> = BTreeMap::new();
        for (place, part) in self.parts.iter().enumerate() {
            for key in part.iter().flat_map(|(topic, has)| has.iter().map(move |partition| (*topic, *partition))) {
                if let Some(holder) = holders.get(&key).filter(|holder| **holder != place) {
                    moved.entry((*holder, place)).or_default().push(key);
                }
            }
        }
        for ((one, other), there) in moved.iter().filter(|((one, other), _)| one < other) {
            let back = moved.get(&(*other, *one)).into_iter().flatten();
            for (there, back) in there.iter().zip(back) {
                self.hand_over(*other, *one, *there);
                self.hand_over(*one, *other, *back);
            }
        }
    }

    fn hand_over(&mut self, from: usize, to: usize, (topic, partition): (TopicId, PartitionIndex)) {
        if let (Some(part), Some(load)) = (self.parts.get_mut(from), self.loads.get_mut(from))
            && let Some(partitions) = part.get_mut(&topic)
            && partitions.remove(&partition)
        {
            *load = load.saturating_sub(1);
            if partitions.is_empty() {
                part.remove(&topic);
            }
            self.give(to, topic, partition);
        }
    }

    fn load(&self, place: usize) -> usize {
        self.loads.get(place).copied().unwrap_or(0)
    }

    fn give(&mut self, place: usize, topic: TopicId, partition: PartitionIndex) {
        if let (Some(part), Some(load)) = (self.parts.get_mut(place), self.loads.get_mut(place)) {
            part.entry(topic).or_default().insert(partition);
            *load += 1;
        }
    }

    fn take(&mut self, place: usize, topic: TopicId) -> Option<PartitionIndex> {
        let part = self.parts.get_mut(place)?;
        let partitions = part.get_mut(&topic)?;
        let partition = partitions.pop_last()?;
        if partitions.is_empty() {
            part.remove(&topic);
        }
        if let Some(load) = self.loads.get_mut(place) {
            *load = load.saturating_sub(1);
        }
        Some(partition)
    }

    fn take_last(&mut self, place: usize) -> Option<(TopicId, PartitionIndex)> {
        let topic = *self.parts.get(place)?.last_key_value()?.0;
        self.take(place, topic).map(|partition| (topic, partition))
    }
}

fn load(part: &Partitions) -> usize {
    part.values().map(BTreeSet::len).sum()
}
