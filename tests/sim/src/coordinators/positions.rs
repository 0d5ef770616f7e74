//! Positions that producers commit in their transactions: what was sent in which, and what of it a group may and must show.
//!
//! Each producer has a partition of its own in the group, and each position that it sends lies behind the one before: what is shown tells
//! whose word it is.

use std::collections::BTreeMap;

use tidelog_coordinator::GroupShard;
use tidelog_coordinator::group::*;
use tidelog_coordinator::transaction::Producer;
use tidelog_model::{PartitionIndex, ProducerId, TopicName, TopicPartition};

use super::client::Transaction;
use super::transactions::End;

/// The group whose positions these are.
const GROUP: &str = "x";

/// A position on its way, or further.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sent {
    pub(super) transaction: Transaction,
    pub(super) offset: i64,
    producer: ProducerId,
}

#[derive(Default)]
pub(super) struct Positions {
    /// By producer and offset, and whether it was acknowledged.
    sent: BTreeMap<(usize, i64), (Sent, bool)>,
    next: i64,
}

impl Positions {
    /// The next position of this producer, in its open transaction.
    pub(super) fn send(&mut self, transaction: Transaction, producer: Producer) -> (Sent, CommitInTransaction) {
        self.next += 1;
        let (who, offset) = (transaction.who, self.next);
        let sent = Sent { transaction, offset, producer: producer.id };
        self.sent.insert((who, offset), (sent, false));
        let request = CommitInTransaction {
            producer_id: producer.id,
            producer_epoch: producer.epoch,
            generation: Generation::NONE,
            member_id: MemberId::from(""),
            instance_id: None,
            offsets: super::groups::position(who as i32, offset).into_iter().collect(),
        };
        (sent, request)
    }

    pub(super) fn acknowledged(&mut self, sent: &Sent) {
        self.sent.insert((sent.transaction.who, sent.offset), (*sent, true));
    }

    pub(super) fn group() -> GroupId {
        GroupId::from(GROUP)
    }

    /// Every producer that has sent one.
    pub(super) fn producers(&self) -> impl Iterator<Item = ProducerId> {
        self.sent.values().map(|(sent, _)| sent.producer)
    }

    /// What is shown is of a committed transaction, and no earlier than what a transaction has committed for certain: its marker is safe in
    /// `place`, the group's partition, or (`at_rest`) its end was acknowledged.
    pub(super) fn check(
        &self,
        place: &TopicPartition,
        shard: &GroupShard,
        ends: &BTreeMap<Transaction, End>,
        at_rest: bool,
    ) -> Result<(), String> {
        let shown = shown(shard)?;
        for (who, offset) in &shown {
            let Some((sent, _)) = self.sent.get(&(*who, *offset)) else {
                return Err(format!("{who} shows {offset}, which nobody has sent"));
            };
            match ends.get(&sent.transaction).and_then(|end| end.marked) {
                Some(true) => {}
                other => return Err(format!("{who} shows {sent:?}, which is decided {other:?}")),
            }
        }
        let safe = |end: &End| end.marked == Some(true) && end.partitions.contains(place);
        let told = |end: &End| at_rest && end.acknowledged.as_ref().is_some_and(|(commit, _)| *commit);
        for ((who, offset), (sent, _)) in self.sent.iter().filter(|(_, (_, acknowledged))| *acknowledged) {
            let counts = ends.get(&sent.transaction).is_some_and(|end| safe(end) || told(end));
            if counts && shown.get(who).is_none_or(|shown| shown < offset) {
                return Err(format!("{who} has committed {sent:?}, shown is {:?}", shown.get(who)));
            }
        }
        Ok(())
    }
}

/// The group's positions by partition.
fn shown(shard: &GroupShard) -> Result<BTreeMap<usize, i64>, String> {
    let all = FetchOffsets { group: Positions::group(), topics: None, require_stable: false, member: None };
    let found = shard.fetch_offsets(&all).map_err(|error| error.to_string())?;
    let one = |one: FetchedOffset| Some((one.partition.get() as usize, one.committed.ok()??.offset.get()));
    Ok(found.into_iter().filter_map(one).collect())
}

/// All that a shard tells of its groups, as text. `open` are producers whose transactions may be open: what would become of them tells what is
/// kept of them.
pub(super) fn told(shard: &mut GroupShard, open: impl Iterator<Item = ProducerId>) -> Result<String, String> {
    let mut text = String::new();
    let failed = |error: tidelog_model::KafkaError| error.to_string();
    for listed in shard.list().map_err(failed)? {
        let described = shard.describe(&listed.group).map_err(failed)?;
        // A group that was only committed to is there while the log has a position of it, be it one that counts no more; compaction, as
        // Kafka's, takes that and the group. What positions it has is told below.
        if matches!(&described, AnyDescription::Classic(group) if group.state == GroupState::Empty && group.generation == Generation(0))
        {
            continue;
        }
        text.push_str(&format!("{described:?}\n"));
    }
    let mut tell_positions = |shard: &GroupShard| {
        for group in ["s", "k", GROUP] {
            let topics = TopicName::new("t").into_iter();
            let topics = topics.map(|topic| (topic, (0..4).map(PartitionIndex).collect::<Vec<_>>())).collect();
            let all =
                FetchOffsets { group: GroupId::from(group), topics: Some(topics), require_stable: true, member: None };
            text.push_str(&format!("{group}: {:?}\n", shard.fetch_offsets(&all)));
        }
    };
    tell_positions(shard);
    for producer in open {
        shard.replay_end_transaction(producer, true);
    }
    tell_positions(shard);
    Ok(text)
}
