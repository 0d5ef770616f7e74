use tidelog_model::{KafkaError, NodeId, PartitionIndex};

use super::world::{World, new_topic};
use crate::decide::plan::put_partition;
use crate::decide::*;
use crate::keys::PartitionState;
use crate::port::Transaction;

const ZERO: PartitionIndex = PartitionIndex(0);

/// Two brokers and a topic `t` of one partition, whose state is then made what the case needs.
fn world(change: impl FnOnce(&mut PartitionState)) -> World {
    let mut world = World::with_brokers(2);
    let id = world.create(NewTopic { assignments: vec![(ZERO, vec![NodeId(1), NodeId(2)])], ..NewTopic::named("t") });
    let mut state = world.image.partition(id, ZERO).unwrap().state.clone();
    change(&mut state);
    world.txn(&Transaction { compares: vec![], writes: vec![put_partition(id, ZERO, &state)] });
    world
}

fn elected(world: &mut World, election: Election) -> Result<PartitionState, KafkaError> {
    let plan = elect_leader(&world.image, "t", ZERO, election).map_err(|refusal| refusal.error)?;
    assert!(world.run(plan));
    Ok(world.image.topic("t").unwrap().partition(ZERO).unwrap().state.clone())
}

#[test]
fn a_led_partition_needs_no_election() {
    let mut world = world(|_| {});
    for election in [Election::Preferred, Election::Unclean] {
        assert_eq!(elected(&mut world, election), Err(KafkaError::ElectionNotNeeded));
    }
}

#[test]
fn the_preferred_replica_leads_if_it_is_in_sync() {
    let mut ready = world(|state| state.leader = Some(NodeId(2)));
    let before = ready.image.topic("t").unwrap().partition(ZERO).unwrap().state.clone();
    let state = elected(&mut ready, Election::Preferred).unwrap();
    assert_eq!(state.leader, Some(NodeId(1)));
    assert_eq!(state.leader_epoch.get(), before.leader_epoch.get() + 1);
    assert_eq!(state.isr, before.isr);

    let mut behind = world(|state| {
        state.leader = Some(NodeId(2));
        state.isr.retain(|member| member.broker == NodeId(2));
    });
    assert_eq!(elected(&mut behind, Election::Preferred), Err(KafkaError::PreferredLeaderNotAvailable));
    assert_eq!(elected(&mut behind, Election::Unclean), Err(KafkaError::ElectionNotNeeded));
}

#[test]
fn an_unclean_election_prefers_who_lost_nothing() {
    let mut clean = world(|state| {
        state.leader = None;
        state.isr.retain(|member| member.broker == NodeId(2));
    });
    assert_eq!(elected(&mut clean, Election::Unclean).unwrap().leader, Some(NodeId(2)));

    let mut unclean = world(|state| {
        state.leader = None;
        state.isr.retain(|member| member.broker == NodeId(2));
    });
    unclean.stop(NodeId(2));
    let state = elected(&mut unclean, Election::Unclean).unwrap();
    assert_eq!(state.leader, Some(NodeId(1)));
    assert_eq!(state.isr.iter().map(|member| member.broker).collect::<Vec<_>>(), [NodeId(1)]);

    let mut nobody = world(|state| state.leader = None);
    nobody.stop(NodeId(1));
    nobody.stop(NodeId(2));
    assert_eq!(elected(&mut nobody, Election::Unclean), Err(KafkaError::EligibleLeadersNotAvailable));
}

#[test]
fn what_does_not_exist_is_neither_elected_nor_moved() {
    let mut world = World::with_brokers(1);
    world.create(new_topic("t", 1));
    for (topic, index) in [("u", 0), ("t", 1), ("t", -1)] {
        let index = PartitionIndex(index);
        let refused = elect_leader(&world.image, topic, index, Election::Preferred).unwrap_err();
        assert_eq!(refused.error, KafkaError::UnknownTopicOrPartition);
        let refused = check_reassignment(&world.image, topic, index, Some(&[NodeId(1)]), true).unwrap_err();
        assert_eq!(refused.error, KafkaError::UnknownTopicOrPartition);
    }
}

#[test]
fn on_one_node_a_partition_moves_to_where_it_is() {
    let mut world = World::with_brokers(1);
    world.create(new_topic("t", 1));
    let check = |replicas: Option<&[NodeId]>, another_factor| {
        check_reassignment(&world.image, "t", ZERO, replicas, another_factor).map_err(|refusal| refusal.error)
    };
    let (one, two) = (NodeId(1), NodeId(2));
    assert_eq!(check(Some(&[one]), false), Ok(()));
    for (replicas, error) in [
        (None, KafkaError::NoReassignmentInProgress),
        (Some(&[][..]), KafkaError::InvalidReplicaAssignment),
        (Some(&[two]), KafkaError::InvalidReplicaAssignment),
        (Some(&[one, one]), KafkaError::InvalidReplicaAssignment),
    ] {
        assert_eq!(check(replicas, true), Err(error), "{replicas:?}");
    }
    let mut two_brokers = World::with_brokers(2);
    two_brokers.create(NewTopic { assignments: vec![(ZERO, vec![one])], ..NewTopic::named("t") });
    let refused = check_reassignment(&two_brokers.image, "t", ZERO, Some(&[one, two]), false).unwrap_err();
    assert_eq!(refused.error, KafkaError::InvalidReplicationFactor);
}
