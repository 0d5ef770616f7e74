//! Elections that an administrator asks for (KIP-183, KIP-460). Decides whether one takes place and who leads then.

use tidelog_model::{KafkaError, LeaderEpoch, NodeId, PartitionIndex};

use super::Refusal;
use super::plan::{Plan, put_partition};
use crate::image::ClusterImage;
use crate::keys::{IsrMember, Key, PartitionState};
use crate::port::{Compare, Transaction};

/// What kind of election.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Election {
    /// The first replica shall lead, if it is in sync.
    Preferred,
    /// Where nobody leads, a replica shall that is not in sync: records may be lost.
    Unclean,
}

impl Election {
    /// The kind with ElectLeaders' code.
    pub const fn from_code(code: i8) -> Option<Election> {
        match code {
            0 => Some(Election::Preferred),
            1 => Some(Election::Unclean),
            _ => None,
        }
    }

    /// The error where nobody can be elected.
    pub const fn nobody(self) -> KafkaError {
        match self {
            Election::Preferred => KafkaError::PreferredLeaderNotAvailable,
            Election::Unclean => KafkaError::EligibleLeadersNotAvailable,
        }
    }
}

/// Elects a partition's leader; ELECTION_NOT_NEEDED where the right one leads already.
pub fn elect_leader(
    image: &ClusterImage,
    name: &str,
    index: PartitionIndex,
    election: Election,
) -> Result<Plan, Refusal> {
    let unknown = |what: String| Refusal::new(KafkaError::UnknownTopicOrPartition, what);
    let topic = image.topic(name).ok_or_else(|| unknown(format!("No such topic as {name}")))?;
    let partition = topic.partition(index).ok_or_else(|| unknown(format!("No such partition as {name}-{index}")))?;
    let state = &partition.state;
    let preferred = state.replicas.first().copied();
    let needed = match election {
        Election::Preferred => state.leader != preferred,
        Election::Unclean => state.leader.is_none(),
    };
    if !needed {
        return Err(KafkaError::ElectionNotNeeded.into());
    }
    let in_sync = |node: &NodeId| {
        state.isr.iter().any(|member| member.broker == *node && image.broker_epoch(*node) == Some(member.epoch))
    };
    let elected = match election {
        Election::Preferred => preferred.filter(in_sync).map(|node| (node, state.isr.clone())),
        Election::Unclean => {
            let live = |node: &NodeId| Some(IsrMember { broker: *node, epoch: image.broker_epoch(*node)? });
            // One in sync loses nothing; any other takes the others out of sync.
            let clean = state.replicas.iter().copied().find(in_sync).map(|node| (node, state.isr.clone()));
            clean.or_else(|| state.replicas.iter().find_map(live).map(|member| (member.broker, vec![member])))
        }
    };
    let Some((leader, isr)) = elected else { return Err(election.nobody().into()) };
    let next = PartitionState {
        leader: Some(leader),
        leader_epoch: LeaderEpoch(state.leader_epoch.get().saturating_add(1)),
        isr,
        ..state.clone()
    };
    Ok(Plan::of(Transaction {
        compares: vec![Compare::unchanged(Key::Partition(topic.id, index), partition.revision)],
        writes: vec![put_partition(topic.id, index, &next)],
    }))
}
