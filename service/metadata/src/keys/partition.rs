//! `partitions/<topic id>/<n>`: who holds and who leads a partition. Every change is a compare-and-set on this key.
//!
//! Bytes: `{"version":1,"replicas":[1],"isr":[{"broker":1,"epoch":7}],"leader":1,"leader_epoch":0,"adding":[],"removing":[]}`
//! (`leader` is −1 when there is none)

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tidelog_model::{BrokerEpoch, LeaderEpoch, NodeId, PartitionIndex, TopicId};

use super::{Key, KeyError, from_json, invalid, to_json};
use crate::limits::MAX_REPLICAS;

const VERSION: u32 = 1;

/// The state of one partition.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PartitionState {
    /// Where its replicas are, preferred leader first; distinct, at least one.
    pub replicas: Vec<NodeId>,
    /// The in-sync replicas, a subset of `replicas`.
    pub isr: Vec<IsrMember>,
    /// The leader, one of `isr`; `None` while there is none.
    pub leader: Option<NodeId>,
    /// Counts the leaderships, from 0.
    pub leader_epoch: LeaderEpoch,
    /// Replicas that a reassignment adds; a subset of `replicas` (KIP-455).
    pub adding: Vec<NodeId>,
    /// Replicas that a reassignment removes; a subset of `replicas` (KIP-455).
    pub removing: Vec<NodeId>,
}

/// A member of the in-sync replicas: a broker in one of its registrations (KIP-903).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct IsrMember {
    /// The broker.
    pub broker: NodeId,
    /// Its registration when it joined.
    pub epoch: BrokerEpoch,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    version: u32,
    replicas: Vec<i32>,
    isr: Vec<StoredMember>,
    leader: i32,
    leader_epoch: i32,
    adding: Vec<i32>,
    removing: Vec<i32>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredMember {
    broker: i32,
    epoch: i64,
}

impl PartitionState {
    /// The stored bytes.
    pub fn encode(&self) -> Bytes {
        let plain = |nodes: &[NodeId]| nodes.iter().map(|node| node.get()).collect();
        to_json(&Stored {
            version: VERSION,
            replicas: plain(&self.replicas),
            isr: self.isr.iter().map(|m| StoredMember { broker: m.broker.get(), epoch: m.epoch.get() }).collect(),
            leader: self.leader.map_or(-1, NodeId::get),
            leader_epoch: self.leader_epoch.get(),
            adding: plain(&self.adding),
            removing: plain(&self.removing),
        })
    }

    /// Reads the stored bytes and checks the invariants named at the fields.
    pub fn decode(topic: TopicId, partition: PartitionIndex, bytes: &[u8]) -> Result<Self, KeyError> {
        let key = Key::Partition(topic, partition);
        let stored: Stored = from_json(&key, VERSION, bytes)?;
        let nodes = |plain: Vec<i32>| plain.into_iter().map(NodeId).collect::<Vec<_>>();
        let state = PartitionState {
            replicas: nodes(stored.replicas),
            isr: stored
                .isr
                .iter()
                .map(|m| IsrMember { broker: NodeId(m.broker), epoch: BrokerEpoch(m.epoch) })
                .collect(),
            leader: (stored.leader != -1).then_some(NodeId(stored.leader)),
            leader_epoch: LeaderEpoch(stored.leader_epoch),
            adding: nodes(stored.adding),
            removing: nodes(stored.removing),
        };
        match state.fault() {
            None => Ok(state),
            Some(fault) => Err(invalid(&key, fault)),
        }
    }

    /// Is this broker one of the in-sync replicas, in whatever registration?
    pub fn in_sync(&self, broker: NodeId) -> bool {
        self.isr.iter().any(|member| member.broker == broker)
    }

    /// What contradicts itself here, if anything.
    pub(crate) fn fault(&self) -> Option<&'static str> {
        let isr: Vec<NodeId> = self.isr.iter().map(|m| m.broker).collect();
        let lists = [&self.replicas, &isr, &self.adding, &self.removing];
        if self.replicas.is_empty() || self.replicas.len() > MAX_REPLICAS {
            return Some("the number of replicas is out of range");
        }
        if lists.iter().any(|list| list.len() > MAX_REPLICAS || has_duplicates(list)) {
            return Some("a list of brokers names one twice or is too long");
        }
        if lists.iter().any(|list| list.iter().any(|node| !self.replicas.contains(node))) {
            return Some("a broker is in sync, added or removed but not a replica");
        }
        if self.leader.is_some_and(|leader| !isr.contains(&leader)) {
            return Some("the leader is not in sync");
        }
        (self.leader_epoch.get() < 0).then_some("the leader epoch is negative")
    }
}

fn has_duplicates(nodes: &[NodeId]) -> bool {
    nodes.iter().enumerate().any(|(at, node)| nodes.iter().skip(at + 1).any(|other| other == node))
}
