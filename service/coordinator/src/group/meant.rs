//! What the regular expressions of subscriptions mean: which topics they match. That may take seconds, and a group's shard has no time for
//! it: it says which one it wants to know next, and is told. Moves nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tidelog_model::TopicName;

use super::directory::TopicDirectory;
use crate::expression::whole;
use crate::limits::{MAX_EXPRESSION_BYTES, MEANT_TOPIC_BYTES, MEMBER_OVERHEAD_BYTES};

/// The topics whose whole name matches; `None` for a text that is no expression, or too large.
type Matches = Option<BTreeSet<Arc<str>>>;

/// What an expression means to one member.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Meant {
    /// Of the directory in which the topics were looked up.
    revision: u64,
    expression: Arc<str>,
    topics: Matches,
}

impl Meant {
    /// Looks the expression up among the topics of a directory but for those that are hidden from the member.
    pub fn of(expression: &Arc<str>, directory: &TopicDirectory, hidden: &BTreeSet<TopicName>) -> Self {
        let topics = matches(expression, directory, hidden);
        Meant { revision: directory.revision, expression: Arc::clone(expression), topics }
    }

    /// Does it say that this is no expression, or too large?
    pub(crate) fn refutes(&self, expression: &str) -> bool {
        &*self.expression == expression && self.topics.is_none()
    }
}

/// What a group has been told and has not used yet: it decides only when it knows what each of its expressions means now.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    revision: u64,
    topics: BTreeMap<Arc<str>, Matches>,
    bytes: usize,
}

impl Heard {
    /// What was looked up in another directory does not count.
    pub(crate) fn add(&mut self, meant: &Meant, directory: &TopicDirectory) {
        if meant.revision != directory.revision {
            return;
        }
        if self.revision != directory.revision {
            *self = Heard { revision: directory.revision, ..Heard::default() };
        }
        self.bytes += matches_bytes(&meant.expression, &meant.topics);
        if let Some(before) = self.topics.insert(Arc::clone(&meant.expression), meant.topics.clone()) {
            self.bytes = self.bytes.saturating_sub(matches_bytes(&meant.expression, &before));
        }
    }

    /// Does it tell what this expression means in this directory?
    pub(crate) fn tells(&self, expression: &str, directory: &TopicDirectory) -> bool {
        self.revision == directory.revision && self.topics.contains_key(expression)
    }

    /// The topics of this expression, if it tells any.
    pub(crate) fn get(&self, expression: &str) -> Option<&BTreeSet<Arc<str>>> {
        self.topics.get(expression)?.as_ref()
    }

    /// Memory, bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }
}

/// The names are the directory's own.
fn matches_bytes(expression: &str, topics: &Matches) -> usize {
    MEMBER_OVERHEAD_BYTES + expression.len() + MEANT_TOPIC_BYTES * topics.as_ref().map_or(0, BTreeSet::len)
}

fn matches(expression: &str, directory: &TopicDirectory, hidden: &BTreeSet<TopicName>) -> Matches {
    let regex = whole(expression, MAX_EXPRESSION_BYTES).ok()?;
    let fits = |name: &&TopicName| !name.is_internal() && !hidden.contains(*name) && regex.is_match(name.as_str());
    Some(directory.names().filter(fits).map(Arc::from).collect())
}
