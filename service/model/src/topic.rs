//! Topics by name, partitions by topic and index.

use std::fmt;
use std::sync::Arc;

use crate::limits::MAX_TOPIC_NAME_LENGTH;
use crate::{PartitionIndex, TopicId};

/// Kafka's topic of group positions and members.
pub const OFFSETS_TOPIC: &str = "__consumer_offsets";

/// Kafka's topic of transactions.
pub const TRANSACTIONS_TOPIC: &str = "__transaction_state";

/// A valid topic name: 1 to 249 of `[a-zA-Z0-9._-]`, neither `.` nor `..` (it is a folder's name too).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicName(Arc<str>);

/// Why a text is no topic name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTopicName {
    /// Nothing there.
    #[error("the topic name is empty")]
    Empty,
    /// `.` and `..` are folders of every file system.
    #[error("a topic cannot be called '.' or '..'")]
    Dots,
    /// Longer than Kafka allows.
    #[error("the topic name has {0} characters, at most {MAX_TOPIC_NAME_LENGTH} are allowed")]
    TooLong(usize),
    /// A character outside the allowed set.
    #[error("the topic name contains {0:?}; allowed are letters, digits, '.', '_' and '-'")]
    Character(char),
}

impl TopicName {
    /// Checks the name against Kafka's rules.
    pub fn new(name: &str) -> Result<Self, InvalidTopicName> {
        if name.is_empty() {
            return Err(InvalidTopicName::Empty);
        }
        if name == "." || name == ".." {
            return Err(InvalidTopicName::Dots);
        }
        if name.len() > MAX_TOPIC_NAME_LENGTH {
            return Err(InvalidTopicName::TooLong(name.chars().count()));
        }
        match name.chars().find(|c| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'))) {
            Some(other) => Err(InvalidTopicName::Character(other)),
            None => Ok(TopicName(Arc::from(name))),
        }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// True for topics that only the service itself writes.
    pub fn is_internal(&self) -> bool {
        matches!(&*self.0, OFFSETS_TOPIC | TRANSACTIONS_TOPIC)
    }

    /// The name with `.` and `_` made equal: Kafka refuses two topics whose metric names would collide.
    pub fn collision_form(&self) -> String {
        self.0.replace('.', "_")
    }
}

impl fmt::Display for TopicName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for TopicName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<&TopicName> for Arc<str> {
    /// The same text, shared.
    fn from(name: &TopicName) -> Self {
        Arc::clone(&name.0)
    }
}

impl std::borrow::Borrow<str> for TopicName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// A partition by its topic's name; displayed as its folder is called, `<topic>-<partition>`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicPartition {
    /// The topic's name.
    pub topic: TopicName,
    /// The partition's number.
    pub partition: PartitionIndex,
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}

impl fmt::Debug for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A partition by its topic's id and name: what object keys and stored state are made of.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicIdPartition {
    /// The topic's identity.
    pub id: TopicId,
    /// The topic's name.
    pub topic: TopicName,
    /// The partition's number.
    pub partition: PartitionIndex,
}

impl TopicIdPartition {
    /// The same partition by name alone.
    pub fn topic_partition(&self) -> TopicPartition {
        TopicPartition { topic: self.topic.clone(), partition: self.partition }
    }
}

impl fmt::Display for TopicIdPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}

impl fmt::Debug for TopicIdPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}-{}", self.id, self.topic, self.partition)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_kafkas_rules() {
        for good in ["a", "a.b_c-D9", &"x".repeat(249)] {
            assert!(TopicName::new(good).is_ok(), "{good}");
        }
        assert_eq!(TopicName::new(""), Err(InvalidTopicName::Empty));
        assert_eq!(TopicName::new(".."), Err(InvalidTopicName::Dots));
        assert_eq!(TopicName::new("a/b"), Err(InvalidTopicName::Character('/')));
        assert_eq!(TopicName::new("ä"), Err(InvalidTopicName::Character('ä')));
        assert_eq!(TopicName::new(&"x".repeat(250)), Err(InvalidTopicName::TooLong(250)));
    }
}
