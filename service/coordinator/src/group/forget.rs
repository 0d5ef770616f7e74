//! What it means to pass over a record that cannot be read: what is lost, and which tombstones leave no half of anything.

use bytes::Bytes;

use super::records::{self, ConsumerRecord, GroupRecord};
use super::shard::GroupShard;
use super::state::Group;
use crate::{CoordinatorRecord, Forgetting};

impl GroupShard {
    /// For a record with this key, of a log that has been replayed to its end.
    pub fn forget(&self, key: &Bytes) -> Forgetting {
        let tombstone = CoordinatorRecord { key: key.clone(), value: None };
        let forgetting = |what, loses| Forgetting { what, loses, records: vec![tombstone.clone()] };
        match records::decode(&tombstone) {
            Ok(GroupRecord::Offset(at, _)) => forgetting(
                format!("position of group `{}` in {}-{}", at.group, at.topic, at.partition),
                "whoever reads there for the group begins where its reset policy says",
            ),
            Ok(GroupRecord::Group(id, _)) => {
                forgetting(format!("members of group `{id}`"), "its members join anew; its positions stay")
            }
            Ok(GroupRecord::Consumer(id, record)) => {
                let part = match record {
                    ConsumerRecord::Epoch(_) => "epoch".to_owned(),
                    ConsumerRecord::Member(member, _) => format!("member `{member}`"),
                    ConsumerRecord::TargetEpoch(_) => "epoch of the target assignment".to_owned(),
                    ConsumerRecord::Target(member, _) => format!("target assignment of member `{member}`"),
                    ConsumerRecord::Current(member, _) => format!("assignment of member `{member}`"),
                    ConsumerRecord::Regex(regex, _) => format!("regular expression `{regex}`"),
                };
                // A member without an assignment, or an assignment without its epoch, could be two members' at once.
                let others = self.groups.get(&id).map(Group::tombstones).unwrap_or_default();
                let others = others.into_iter().filter(|other| other.key != *key);
                Forgetting {
                    what: format!("{part} of group `{id}`"),
                    loses: "all its members join anew; its positions stay",
                    records: std::iter::once(tombstone).chain(others).collect(),
                }
            }
            Ok(GroupRecord::Obsolete | GroupRecord::Unknown(_)) | Err(_) => {
                forgetting("its key does not tell whose it is".to_owned(), "whatever it said")
            }
        }
    }
}
