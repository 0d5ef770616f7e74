//! What the regular expressions of subscriptions mean: which topics they match. That may take seconds, and a group's shard has no time for
//! it: it says which ones it wants to know, and is told. Moves nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tidelog_model::TopicName;

use super::directory::TopicDirectory;
use crate::expression::whole;
use crate::limits::MAX_EXPRESSION_BYTES;

/// What expressions mean to one member.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Meant {
    /// Of the directory in which the topics were looked up.
    revision: u64,
    /// The topics whose whole name matches; `None` for a text that is no expression, or too large.
    topics: BTreeMap<Arc<str>, Option<BTreeSet<Arc<str>>>>,
}

impl Meant {
    /// Looks the expressions up among the topics of a directory but for those that are hidden from the member.
    pub fn of(expressions: &[Arc<str>], directory: &TopicDirectory, hidden: &BTreeSet<TopicName>) -> Self {
        let topics =
            expressions.iter().map(|expression| (Arc::clone(expression), matches(expression, directory, hidden)));
        Meant { revision: directory.revision, topics: topics.collect() }
    }

    /// Does it tell what this expression means in this directory?
    pub(crate) fn tells(&self, expression: &str, directory: &TopicDirectory) -> bool {
        self.revision == directory.revision && self.topics.contains_key(expression)
    }

    /// The topics of this expression; `Some(None)` if it is none.
    pub(crate) fn get(&self, expression: &str) -> Option<Option<&BTreeSet<Arc<str>>>> {
        self.topics.get(expression).map(Option::as_ref)
    }
}

fn matches(expression: &str, directory: &TopicDirectory, hidden: &BTreeSet<TopicName>) -> Option<BTreeSet<Arc<str>>> {
    let regex = whole(expression, MAX_EXPRESSION_BYTES).ok()?;
    let fits = |name: &&TopicName| !name.is_internal() && !hidden.contains(*name) && regex.is_match(name.as_str());
    Some(directory.names().filter(fits).map(|name| Arc::from(name.as_str())).collect())
}
