//! The server's assignors (KIP-848): who shall read which partition. Pure arithmetic: the same input gives the same assignment.

mod range;
mod uniform;

use std::collections::{BTreeMap, BTreeSet};

use tidelog_model::{PartitionIndex, TopicId};

use crate::group::ids::{InstanceId, MemberId};
use crate::group::records::Partitions;

/// One member as an assignor sees it.
#[derive(Debug, Clone)]
pub(crate) struct Reader {
    pub(crate) id: MemberId,
    pub(crate) instance_id: Option<InstanceId>,
    /// The topics that it subscribes to and that exist.
    pub(crate) topics: BTreeSet<TopicId>,
    /// Its part of the target assignment before.
    pub(crate) held: Partitions,
}

/// How partitions are shared out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Assignor {
    /// Everybody gets as many partitions, and keeps what it had as far as that allows.
    Uniform,
    /// Of each topic everybody gets a run of neighbours; the same numbers of topics with as many partitions go to the same member.
    Range,
}

impl Assignor {
    /// Kafka's names, the default first.
    pub const ALL: [Assignor; 2] = [Assignor::Uniform, Assignor::Range];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Assignor::Uniform => "uniform",
            Assignor::Range => "range",
        }
    }

    /// The one of this name.
    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|assignor| assignor.name() == name)
    }

    /// Shares the partitions of `topics` (with their counts) out. Every partition of a topic that somebody subscribes to has exactly
    /// one reader; members without partitions have an empty part.
    pub(crate) fn assign(self, readers: &[Reader], topics: &BTreeMap<TopicId, i32>) -> BTreeMap<MemberId, Partitions> {
        match self {
            Assignor::Uniform => uniform::assign(readers, topics),
            Assignor::Range => range::assign(readers, topics),
        }
    }
}

fn add(parts: &mut BTreeMap<MemberId, Partitions>, id: &MemberId, topic: TopicId, partition: PartitionIndex) {
    parts.entry(id.clone()).or_default().entry(topic).or_default().insert(partition);
}

#[cfg(test)]
mod tests;
