//! How far each in-sync replica is, and the watermark that follows. Decides the high watermark; never talks to a replica.

use std::collections::BTreeMap;

use tidelog_model::{NodeId, Offset};

use crate::Durability;

/// How far one replica is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct ReplicaEnds {
    /// After the last record it has written.
    pub(crate) written: Offset,
    /// After the last record that a power cut cannot take from it.
    pub(crate) flushed: Offset,
}

/// The in-sync replicas with their ends; the leader is one of them.
#[derive(Debug)]
pub(crate) struct InSync {
    leader: NodeId,
    ends: BTreeMap<NodeId, ReplicaEnds>,
}

impl InSync {
    pub(crate) fn new(leader: NodeId, own: ReplicaEnds) -> Self {
        InSync { leader, ends: BTreeMap::from([(leader, own)]) }
    }

    pub(crate) fn own(&self) -> ReplicaEnds {
        // The leader is put in by `new` and never taken out.
        self.ends.get(&self.leader).copied().unwrap_or(ReplicaEnds { written: Offset::ZERO, flushed: Offset::ZERO })
    }

    pub(crate) fn set_own(&mut self, ends: ReplicaEnds) {
        self.ends.insert(self.leader, ends);
    }

    /// How many replicas are in sync, the leader included.
    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    /// The lowest end over all of them: flushed ends, or Kafka's rule of written ends.
    pub(crate) fn watermark(&self, durability: Durability) -> Offset {
        let end = |ends: &ReplicaEnds| match durability {
            Durability::Fsync => ends.flushed,
            Durability::PageCache => ends.written,
        };
        self.ends.values().map(end).min().unwrap_or(Offset::ZERO)
    }
}
