//! The shard's groups as those see them who watch: how many there are of each kind and state, who has how many members, and where each
//! reads. Changes nothing, and shows at most as much as it is allowed to.

use std::collections::BTreeMap;

use tidelog_model::{KafkaError, Offset, PartitionIndex, TopicId, TopicName};

use super::api::GroupKind;
use super::ids::GroupId;
use super::shard::GroupShard;
use super::state::Group;

/// Groups of one shard, or of several together.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct GroupStandings {
    /// How many groups there are of each type and state.
    pub counts: BTreeMap<(GroupKind, &'static str), usize>,
    /// Groups that are shown, by id.
    pub shown: Vec<GroupStanding>,
    /// Groups that are not shown because there are too many, or have too many positions.
    pub left_out: usize,
}

/// One group.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GroupStanding {
    /// Its id.
    pub group: GroupId,
    /// How many members it has.
    pub members: usize,
    /// Its committed positions.
    pub positions: Vec<Position>,
}

/// A committed position.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Position {
    /// The topic.
    pub topic: TopicName,
    /// Its id; zero if it was committed without one.
    pub topic_id: TopicId,
    /// The partition.
    pub partition: PartitionIndex,
    /// The next offset to read.
    pub offset: Offset,
}

impl GroupShard {
    /// Adds the shard's groups to `standings`. A group costs one and one for each position; what `most` does not cover any more is only
    /// counted. Returns what is left of it.
    pub fn add_standings(&self, standings: &mut GroupStandings, mut most: usize) -> Result<usize, KafkaError> {
        if self.is_loading() {
            return Err(KafkaError::CoordinatorLoadInProgress);
        }
        for group in self.groups.values() {
            let listing = group.listing();
            *standings.counts.entry((listing.kind, listing.state)).or_default() += 1;
            match most.checked_sub(1 + group.offsets.len()) {
                Some(rest) => {
                    most = rest;
                    standings.shown.push(standing(group));
                }
                None => standings.left_out += 1,
            }
        }
        Ok(most)
    }
}

fn standing(group: &Group) -> GroupStanding {
    let position = |(topic, partition, committed): (&TopicName, PartitionIndex, &super::CommittedOffset)| Position {
        topic: topic.clone(),
        topic_id: committed.topic_id,
        partition,
        offset: committed.offset,
    };
    GroupStanding {
        group: group.id.clone(),
        members: group.member_count(),
        positions: group.offsets.iter().map(position).collect(),
    }
}
