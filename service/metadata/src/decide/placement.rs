//! Where new partitions go. Decides replicas from the registered brokers; never moves an existing one.

use std::collections::BTreeSet;

use tidelog_model::{BrokerEpoch, KafkaError, LeaderEpoch, NodeId};

use super::Refusal;
use crate::image::ClusterImage;
use crate::keys::{IsrMember, PartitionState};
use crate::limits::MAX_REPLICAS;

/// Replicas of `count` partitions from number `first` on, `factor` each, spread over all registered brokers.
///
/// First replicas go round the brokers, starting at `seed`; the others follow at a distance that grows with every round, so that
/// the partitions of one leader have their followers on different brokers.
pub(super) fn spread(
    image: &ClusterImage,
    seed: u64,
    first: i32,
    count: i32,
    factor: i16,
) -> Result<Vec<Vec<NodeId>>, Refusal> {
    let brokers: Vec<NodeId> = image.brokers().map(|(node, _)| node).collect();
    let known = brokers.len();
    let factor = usize::try_from(factor).unwrap_or(0);
    if factor == 0 || factor > MAX_REPLICAS {
        return Err(Refusal::new(
            KafkaError::InvalidReplicationFactor,
            format!("Replication factor must be between 1 and {MAX_REPLICAS}, or -1 for the broker's default."),
        ));
    }
    if factor > known {
        return Err(Refusal::new(
            KafkaError::InvalidReplicationFactor,
            format!(
                "Unable to replicate the partition {factor} time(s): The target replication factor of {factor} cannot be reached \
                 because only {known} broker(s) are registered."
            ),
        ));
    }
    let numbers = (0..count).map(|n| usize::try_from(first.saturating_add(n)).unwrap_or(0));
    let start = usize::try_from(seed % known as u64).unwrap_or(0);
    let nth = |at: usize| brokers.get(at % known).copied();
    Ok(numbers
        .map(|n| {
            let lead = start + n;
            let round = n / known;
            let followers = (0..factor - 1).map(|r| lead + 1 + (round + r) % (known - 1));
            std::iter::once(lead).chain(followers).filter_map(nth).collect()
        })
        .collect())
}

/// Are these replica lists, given by hand for partitions from `first` on, possible? All must be as long as `factor`, if given.
pub(super) fn check_manual(
    image: &ClusterImage,
    lists: &[Vec<NodeId>],
    first: i32,
    factor: Option<usize>,
) -> Result<(), Refusal> {
    let refuse = |message: String| Err(Refusal::new(KafkaError::InvalidReplicaAssignment, message));
    let factor = factor.or_else(|| lists.first().map(Vec::len)).unwrap_or(0);
    for (n, list) in lists.iter().enumerate() {
        let partition = i64::from(first) + n as i64;
        if list.is_empty() {
            return refuse(format!(
                "The manual partition assignment of partition {partition} includes an empty replica list."
            ));
        }
        if list.len() > MAX_REPLICAS {
            return refuse(format!(
                "Partition {partition} has {} replicas, at most {MAX_REPLICAS} are allowed.",
                list.len()
            ));
        }
        if list.iter().collect::<BTreeSet<_>>().len() != list.len() {
            return refuse(format!(
                "The manual partition assignment of partition {partition} includes a broker twice."
            ));
        }
        if let Some(unknown) = list.iter().find(|node| image.broker(**node).is_none()) {
            return refuse(format!(
                "The manual partition assignment includes broker {unknown}, but no such broker is registered."
            ));
        }
        if list.len() != factor {
            return refuse(format!(
                "The manual partition assignment includes a partition with {} replica(s), but this is not consistent with \
                 other partitions, which have {factor} replica(s).",
                list.len()
            ));
        }
    }
    Ok(())
}

/// The first state of a partition on these brokers: all in sync, the first leads.
pub(super) fn first_state(image: &ClusterImage, replicas: &[NodeId]) -> PartitionState {
    let epoch = |node: NodeId| image.broker_epoch(node).unwrap_or(BrokerEpoch(-1));
    PartitionState {
        replicas: replicas.to_vec(),
        isr: replicas.iter().map(|node| IsrMember { broker: *node, epoch: epoch(*node) }).collect(),
        leader: replicas.first().copied(),
        leader_epoch: LeaderEpoch(0),
        adding: Vec::new(),
        removing: Vec::new(),
    }
}
