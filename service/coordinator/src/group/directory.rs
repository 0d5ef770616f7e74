//! The topics that exist, as groups of the consumer protocol see them. A picture that comes with each request; changes nothing.

use tidelog_model::{SharedMap, TopicId, TopicName};

/// One topic.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TopicFacts {
    /// Its identity.
    pub id: TopicId,
    /// How many partitions it has, numbered from 0.
    pub partitions: i32,
}

/// All topics by name. Copies are cheap, as is what a change copies.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct TopicDirectory {
    /// A higher number whenever something in it differs, or somebody may see something else; never 0 but for the empty directory of tests.
    pub revision: u64,
    topics: SharedMap<TopicName, TopicFacts>,
    names: SharedMap<TopicId, TopicName>,
}

impl TopicDirectory {
    /// These topics.
    pub fn new(revision: u64, topics: impl IntoIterator<Item = (TopicName, TopicFacts)>) -> Self {
        let mut directory = TopicDirectory { revision, ..TopicDirectory::default() };
        for (name, facts) in topics {
            directory.set(name, facts);
        }
        directory
    }

    /// The topic of this name is this one now. False if it was before.
    pub fn set(&mut self, name: TopicName, facts: TopicFacts) -> bool {
        match self.topics.insert(name.clone(), facts) {
            Some(before) if before == facts => return false,
            Some(before) if before.id != facts.id => drop(self.names.remove(&before.id)),
            _ => {}
        }
        self.names.insert(facts.id, name);
        true
    }

    /// There is no topic with this id any more; one of the same name may have come. False if there was none.
    pub fn remove(&mut self, id: TopicId) -> bool {
        let Some(name) = self.names.remove(&id) else { return false };
        if self.topics.get(&name).is_some_and(|facts| facts.id == id) {
            self.topics.remove(&name);
        }
        true
    }

    /// The names of the topics, ascending.
    pub fn names(&self) -> impl Iterator<Item = &TopicName> {
        self.topics.iter().map(|(name, _)| name)
    }

    pub(crate) fn get(&self, name: &str) -> Option<TopicFacts> {
        self.topics.get(name).copied()
    }

    /// The name of a topic that exists.
    pub(crate) fn name_of(&self, id: TopicId) -> Option<&TopicName> {
        self.names.get(&id)
    }

    /// A number that differs if any of these topics is another one, comes, goes or grows; 0 if none of them exists. It is
    /// stored, so that it must not change with the code: FNV-1a over name, 0, id and count of partitions of each, ascending.
    pub(crate) fn hash<'a>(&self, names: impl Iterator<Item = &'a str>) -> i64 {
        let mut hash = FNV_OFFSET;
        let mut any = false;
        for name in names {
            let Some(facts) = self.get(name) else { continue };
            any = true;
            let fields = [name.as_bytes(), &[0], &facts.id.bytes(), &facts.partitions.to_be_bytes()];
            for byte in fields.into_iter().flatten() {
                hash = (hash ^ u64::from(*byte)).wrapping_mul(FNV_PRIME);
            }
        }
        // 0 is "no topic" in the record.
        if any { i64::from_be_bytes(hash.max(1).to_be_bytes()) } else { 0 }
    }
}

const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0000_0100_0000_01b3;

#[cfg(test)]
mod tests {
    use super::*;

    fn directory(topics: &[(&str, u8, i32)]) -> TopicDirectory {
        let fact = |(name, id, partitions): &(&str, u8, i32)| {
            let facts = TopicFacts { id: TopicId::from_bytes([*id; 16]), partitions: *partitions };
            (TopicName::new(name).unwrap(), facts)
        };
        TopicDirectory::new(1, topics.iter().map(fact))
    }

    #[test]
    fn a_topic_that_comes_again_is_another_one_in_whatever_order_that_is_told() {
        let name = || TopicName::new("a").unwrap();
        let facts = |id, partitions| TopicFacts { id: TopicId::from_bytes([id; 16]), partitions };
        let again = directory(&[("a", 2, 1)]);
        let mut before = directory(&[("a", 1, 1)]);
        assert!(before.set(name(), facts(2, 1)) && !before.remove(facts(1, 1).id));
        assert_eq!(before, again);
        let mut before = directory(&[("a", 1, 1)]);
        assert!(before.remove(facts(1, 1).id) && before.set(name(), facts(2, 1)));
        assert_eq!(before, again);
        assert!(!before.set(name(), facts(2, 1)), "nothing has changed");
        assert!(before.set(name(), facts(2, 3)), "it has grown");
        assert_eq!(before.get("a"), Some(facts(2, 3)));
        assert_eq!((before.name_of(facts(1, 1).id), before.name_of(facts(2, 1).id)), (None, Some(&name())));
    }

    #[test]
    fn the_hash_tells_every_change_and_nothing_else() {
        let names = || ["a", "b", "gone"].into_iter();
        let base = directory(&[("a", 1, 3), ("b", 2, 1), ("other", 3, 1)]).hash(names());
        assert_eq!(base, directory(&[("a", 1, 3), ("b", 2, 1)]).hash(names()), "a topic that nobody reads");
        for other in [
            directory(&[("a", 1, 4), ("b", 2, 1)]),
            directory(&[("a", 9, 3), ("b", 2, 1)]),
            directory(&[("a", 1, 3)]),
            directory(&[("a", 1, 3), ("b", 2, 1), ("gone", 4, 1)]),
        ] {
            assert_ne!(base, other.hash(names()), "{other:?}");
        }
        assert_eq!(directory(&[("other", 3, 1)]).hash(names()), 0);
        // It is stored: a new version must find the same number.
        assert_eq!(directory(&[("a", 1, 3)]).hash(["a"].into_iter()), HASH_OF_A);
    }

    const HASH_OF_A: i64 = -4_721_947_270_271_550_675;
}
