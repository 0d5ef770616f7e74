//! A broker's start. Decides its registration, and the leader epochs it must raise before it serves: a start is an election.

use tidelog_model::{BrokerEpoch, KafkaError, LeaderEpoch, NodeId};

use super::Refusal;
use super::plan::put_partition;
use crate::image::ClusterImage;
use crate::keys::{BrokerValue, ClusterValue, ControllerValue, IsrMember, Key, PartitionState};
use crate::limits::MAX_TRANSACTION_OPERATIONS;
use crate::port::{Compare, LeaseId, Transaction, Write};

/// Who registers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Registration {
    /// The broker.
    pub node: NodeId,
    /// What others must know of it.
    pub value: BrokerValue,
    /// The lease that its registration lives with.
    pub lease: LeaseId,
    /// The cluster id that its data directory or its configuration names; the first broker of a cluster gives it one.
    pub cluster_id: String,
}

/// How sure a broker is of its log after its last stop.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LastStop {
    /// What it acknowledged is on its disk: it stopped cleanly, or flushes before it acknowledges.
    Complete,
    /// It acknowledged from the page cache and did not stop cleanly: records may be lost (KIP-966).
    Uncertain,
}

/// Registers a broker. The revision at which the transaction commits is the new broker epoch.
pub fn register_broker(image: &ClusterImage, registration: &Registration) -> Result<Transaction, Refusal> {
    let key = Key::Broker(registration.node);
    let mut compares = Vec::new();
    let mut writes = Vec::new();
    match image.cluster_id() {
        None => {
            compares.push(Compare::absent(Key::Cluster));
            writes
                .push(Write::put(Key::Cluster, ClusterValue { cluster_id: registration.cluster_id.clone() }.encode()));
        }
        Some(known) if known != registration.cluster_id => {
            return Err(Refusal::new(
                KafkaError::InconsistentClusterId,
                format!("The broker's data belongs to cluster {}, the metadata to {known}.", registration.cluster_id),
            ));
        }
        Some(_) => {}
    }
    compares.push(match image.broker(registration.node) {
        None => Compare::absent(key.clone()),
        Some(known) if known.value.incarnation == registration.value.incarnation => {
            Compare::unchanged(key.clone(), known.revision)
        }
        Some(_) => {
            return Err(Refusal::new(
                KafkaError::DuplicateBrokerRegistration,
                format!("Broker {} is already running; it is gone once its lease has expired.", registration.node),
            ));
        }
    });
    writes.push(Write::Put { key: key.into(), value: registration.value.encode(), lease: Some(registration.lease) });
    Ok(Transaction { compares, writes })
}

/// Takes the controller's role if nobody has it.
pub fn claim_controller(image: &ClusterImage, node: NodeId, epoch: BrokerEpoch, lease: LeaseId) -> Option<Transaction> {
    if image.controller().is_some() {
        return None;
    }
    let value = ControllerValue { broker: node, broker_epoch: epoch }.encode();
    Some(Transaction {
        compares: vec![Compare::absent(Key::Controller)],
        writes: vec![Write::Put { key: Key::Controller.into(), value, lease: Some(lease) }],
    })
}

/// The transactions after which a freshly registered broker may serve, in any order: every partition it leads gets the next leader
/// epoch and its new registration; a partition without a leader where it is in sync gets it as leader. With [`LastStop::Uncertain`] it
/// leaves every ISR that has other members instead, leadership too; where it is the only member there is nobody better.
///
/// Empty when all is done, so it can be asked again after a conflict.
pub fn start_leading(image: &ClusterImage, node: NodeId, epoch: BrokerEpoch, stop: LastStop) -> Vec<Transaction> {
    let registered = Compare::unchanged(Key::Broker(node), crate::port::Revision(epoch.get()));
    let mut transactions = Vec::new();
    let mut current = Transaction { compares: vec![registered.clone()], writes: Vec::new() };
    for (topic, index, partition) in image.replicas_on(node) {
        let Some(next) = next_state(&partition.state, node, epoch, stop) else { continue };
        if current.operations() + 2 > MAX_TRANSACTION_OPERATIONS {
            let fresh = Transaction { compares: vec![registered.clone()], writes: Vec::new() };
            transactions.push(std::mem::replace(&mut current, fresh));
        }
        current.compares.push(Compare::unchanged(Key::Partition(topic.id, index), partition.revision));
        current.writes.push(put_partition(topic.id, index, &next));
    }
    if !current.writes.is_empty() {
        transactions.push(current);
    }
    transactions
}

/// The state after this start; `None` if the start changes nothing.
fn next_state(state: &PartitionState, node: NodeId, epoch: BrokerEpoch, stop: LastStop) -> Option<PartitionState> {
    let known = state.isr.iter().find(|member| member.broker == node)?;
    if known.epoch == epoch {
        return None;
    }
    let leads = state.leader == Some(node);
    let alone = state.isr.len() == 1;
    let mut next = state.clone();
    if stop == LastStop::Uncertain && !alone {
        next.isr.retain(|member| member.broker != node);
        if leads {
            next.leader = None;
            next.leader_epoch = next_epoch(state.leader_epoch);
        }
        return Some(next);
    }
    if !leads && state.leader.is_some() {
        // A follower: its leader takes the new registration into the ISR when it fetches.
        return None;
    }
    next.leader = Some(node);
    next.leader_epoch = next_epoch(state.leader_epoch);
    for member in &mut next.isr {
        if member.broker == node {
            *member = IsrMember { broker: node, epoch };
        }
    }
    Some(next)
}

fn next_epoch(epoch: LeaderEpoch) -> LeaderEpoch {
    LeaderEpoch(epoch.get().saturating_add(1))
}
