//! DescribeTopicPartitions: topics by name, page by page (KIP-966). The paging is pure; where a page ends follows from counts alone.

use std::collections::BTreeSet;
use std::ops::Bound;

use tidelog_model::{Caller, KafkaError, PartitionIndex};
use tidelog_security::{Operation, Resource};

use crate::broker::Broker;
use crate::limits::MAX_PAGE_PARTITIONS;
use crate::{BrokerError, TopicCursor, TopicDescription, TopicPage, TopicRef};

impl Broker {
    /// At most `limit` partitions from `cursor` on: of the topics named, or with none named of all that the caller may see.
    ///
    /// A topic that the caller may not see is refused by name, and left out where nobody named it.
    pub fn topic_page(
        &self,
        caller: &Caller,
        topics: &BTreeSet<String>,
        limit: i32,
        cursor: Option<&TopicCursor>,
    ) -> Result<TopicPage, BrokerError> {
        if let Some(cursor) = cursor {
            check(topics, cursor)?;
        }
        let mut page = Page::new(limit, cursor);
        if topics.is_empty() {
            let image = self.image();
            for topic in image.topics_from(page.from()) {
                if !self.may(caller, Operation::Describe, Resource::Topic(topic.name.as_str())) {
                    continue;
                }
                if page.is_full(topic.name.as_str()) {
                    break;
                }
                page.add(self.describe(topic));
            }
            return Ok(page.done());
        }
        let mut refused = Vec::new();
        for name in topics.range::<str, _>((page.from(), Bound::Unbounded)) {
            match self.topic(caller, &TopicRef::from(name.as_str())) {
                // Whether it exists is nobody's business: it takes no room and comes last.
                Err(error) if error.error == KafkaError::TopicAuthorizationFailed => {
                    refused.push(Err((name.clone(), error.error)));
                }
                _ if page.is_full(name) => break,
                Ok(found) => page.add(found),
                Err(error) => page.topics.push(Err((name.clone(), error.error))),
            }
        }
        let mut page = page.done();
        page.topics.extend(refused);
        Ok(page)
    }
}

fn check(topics: &BTreeSet<String>, cursor: &TopicCursor) -> Result<(), BrokerError> {
    let invalid = |message| Err(BrokerError::new(KafkaError::InvalidRequest, message));
    if !topics.is_empty() && !topics.contains(&cursor.topic) {
        return invalid(format!("the cursor's topic {} is not among the topics", cursor.topic));
    }
    if cursor.partition.get() < 0 {
        return invalid(format!("the cursor's partition {} is negative", cursor.partition));
    }
    Ok(())
}

/// A page while it fills.
struct Page<'a> {
    cursor: Option<&'a TopicCursor>,
    room: usize,
    topics: Vec<Result<TopicDescription, (String, KafkaError)>>,
    next: Option<TopicCursor>,
}

impl<'a> Page<'a> {
    fn new(limit: i32, cursor: Option<&'a TopicCursor>) -> Self {
        let room = usize::try_from(limit).unwrap_or(0).clamp(1, MAX_PAGE_PARTITIONS);
        Page { cursor, room, topics: Vec::new(), next: None }
    }

    /// The name where the page begins.
    fn from(&self) -> Bound<&'a str> {
        self.cursor.map_or(Bound::Unbounded, |cursor| Bound::Included(cursor.topic.as_str()))
    }

    /// Is there no room for a topic of this name? Then the next page begins with it.
    fn is_full(&mut self, name: &str) -> bool {
        if self.room == 0 && self.next.is_none() {
            self.next = Some(TopicCursor { topic: name.to_owned(), partition: PartitionIndex(0) });
        }
        self.next.is_some()
    }

    /// Takes of a topic what there is room for.
    fn add(&mut self, mut topic: TopicDescription) {
        if let Some(cursor) = self.cursor.filter(|cursor| cursor.topic == topic.name.as_str()) {
            topic.partitions.retain(|partition| partition.index >= cursor.partition);
        }
        if let Some(first) = topic.partitions.get(self.room) {
            self.next = Some(TopicCursor { topic: topic.name.as_str().to_owned(), partition: first.index });
        }
        topic.partitions.truncate(self.room);
        self.room -= topic.partitions.len();
        self.topics.push(Ok(topic));
    }

    fn done(self) -> TopicPage {
        TopicPage { topics: self.topics, next: self.next }
    }
}

#[cfg(test)]
mod tests {
    use tidelog_model::{LeaderEpoch, TopicId, TopicName};

    use super::*;
    use crate::PartitionDescription;

    fn topic(name: &str, partitions: i32) -> TopicDescription {
        let partition = |index| PartitionDescription {
            index: PartitionIndex(index),
            leader: None,
            leader_epoch: LeaderEpoch(0),
            replicas: Vec::new(),
            isr: Vec::new(),
            offline: Vec::new(),
        };
        TopicDescription {
            name: TopicName::new(name).unwrap(),
            id: TopicId::ZERO,
            internal: false,
            partitions: (0..partitions).map(partition).collect(),
        }
    }

    /// All pages of the topics, each as names with their first partitions and counts.
    fn pages(topics: &[(&str, i32)], limit: i32) -> Vec<Vec<(String, i32, usize)>> {
        let (mut pages, mut cursor) = (Vec::new(), None);
        loop {
            let mut page = Page::new(limit, cursor.as_ref());
            for (name, partitions) in topics {
                if cursor.as_ref().is_some_and(|cursor: &TopicCursor| *name < cursor.topic.as_str()) {
                    continue;
                }
                if page.is_full(name) {
                    break;
                }
                page.add(topic(name, *partitions));
            }
            let page = page.done();
            pages.push(
                page.topics
                    .iter()
                    .map(|topic| topic.as_ref().unwrap())
                    .map(|topic| {
                        let first = topic.partitions.first().map_or(-1, |partition| partition.index.get());
                        (topic.name.as_str().to_owned(), first, topic.partitions.len())
                    })
                    .collect(),
            );
            match page.next {
                None => return pages,
                next => cursor = next,
            }
        }
    }

    #[test]
    fn every_partition_is_on_exactly_one_page_and_no_page_has_too_many() {
        let topics = [("a", 3), ("b", 1), ("c", 5), ("d", 2)];
        for limit in 1..15 {
            let pages = pages(&topics, limit);
            let mut seen = Vec::new();
            for page in &pages {
                let partitions: usize = page.iter().map(|(.., count)| count).sum();
                assert!(partitions <= limit as usize, "limit {limit}: {page:?}");
                for (name, first, count) in page {
                    seen.extend((*first..*first + *count as i32).map(|index| (name.clone(), index)));
                }
            }
            let expected: Vec<_> =
                topics.iter().flat_map(|(name, count)| (0..*count).map(|i| ((*name).to_owned(), i))).collect();
            assert_eq!(seen, expected, "limit {limit}");
        }
    }

    #[test]
    fn a_page_that_ends_with_a_topic_is_continued_at_the_next_one() {
        let both = [("a", 2), ("b", 2)];
        let one = |name: &str, first, count| vec![(name.to_owned(), first, count)];
        assert_eq!(pages(&both, 2), [one("a", 0, 2), one("b", 0, 2)]);
        assert_eq!(pages(&both[..1], 2), [one("a", 0, 2)], "nothing follows");
        assert_eq!(pages(&both[..1], -7), [one("a", 0, 1), one("a", 1, 1)], "a page has at least one");
    }

    #[test]
    fn a_cursor_names_a_topic_of_the_request_and_a_partition() {
        let named = BTreeSet::from(["a".to_owned()]);
        let at = |topic: &str, partition| TopicCursor { topic: topic.to_owned(), partition: PartitionIndex(partition) };
        assert!(check(&named, &at("a", 0)).is_ok());
        assert!(check(&BTreeSet::new(), &at("b", 0)).is_ok());
        assert_eq!(check(&named, &at("b", 0)).unwrap_err().error, KafkaError::InvalidRequest);
        assert_eq!(check(&named, &at("a", -1)).unwrap_err().error, KafkaError::InvalidRequest);
    }
}
