use tidelog_model::{BrokerEpoch, KafkaError, LeaderEpoch, NodeId, PartitionIndex};

use super::world::{World, new_topic};
use crate::decide::*;
use crate::image::ImageChange;
use crate::keys::{IsrMember, Key, PartitionState};
use crate::port::{Compare, LeaseId, Outcome, Transaction, Write};

fn state(world: &World, partition: i32) -> PartitionState {
    world.image.topic("t").unwrap().partition(PartitionIndex(partition)).unwrap().state.clone()
}

#[test]
fn a_start_is_an_election_on_one_node_too() {
    let mut world = World::with_brokers(1);
    world.create(new_topic("t", 120));
    let first = world.image.broker_epoch(NodeId(1)).unwrap();
    for start in 1..=3 {
        let epoch = world.start(NodeId(1));
        assert!(epoch > first);
        for partition in 0..120 {
            let state = state(&world, partition);
            assert_eq!(state.leader_epoch, LeaderEpoch(start));
            assert_eq!(state.isr, [IsrMember { broker: NodeId(1), epoch }]);
            assert_eq!(state.leader, Some(NodeId(1)));
        }
        assert!(start_leading(&world.image, NodeId(1), epoch, LastStop::Complete).is_empty());
    }
}

#[test]
fn a_start_writes_in_full_transactions_that_the_newest_registration_guards() {
    let mut world = World::with_brokers(1);
    world.create(new_topic("t", 120));
    world.stop(NodeId(1));
    let epoch = world.register(NodeId(1));
    let transactions = start_leading(&world.image, NodeId(1), epoch, LastStop::Complete);
    let sizes: Vec<usize> = transactions.iter().map(Transaction::operations).collect();
    assert_eq!(sizes, [99, 99, 45]);
    // Registered once more: the transactions of the earlier start do nothing.
    world.stop(NodeId(1));
    world.register(NodeId(1));
    for transaction in &transactions {
        assert!(matches!(world.txn(transaction), Outcome::Conflict { .. }));
    }
}

/// Puts a partition into a state.
fn force(world: &mut World, change: impl FnOnce(&mut PartitionState)) {
    let topic = world.image.topic("t").unwrap().clone();
    let mut state = topic.partition(PartitionIndex(0)).unwrap().state.clone();
    change(&mut state);
    let write = Write::put(Key::Partition(topic.id, PartitionIndex(0)), state.encode());
    world.txn(&Transaction { compares: vec![], writes: vec![write] });
    assert_eq!(world.told, [ImageChange::Partition(topic.id, PartitionIndex(0))]);
}

#[test]
fn who_leads_after_a_start() {
    let member = |node: i32, epoch: BrokerEpoch| IsrMember { broker: NodeId(node), epoch };
    let replicated = || {
        let mut world = World::with_brokers(2);
        world.create(NewTopic { replication_factor: 2, ..new_topic("t", 1) });
        force(&mut world, |state| {
            state.leader = Some(NodeId(1));
            state.leader_epoch = LeaderEpoch(5);
        });
        let epochs = [1, 2].map(|node| world.image.broker_epoch(NodeId(node)).unwrap());
        (world, epochs)
    };
    let restart = |world: &mut World, node: i32, stop: LastStop| {
        world.stop(NodeId(node));
        let epoch = world.register(NodeId(node));
        for transaction in start_leading(&world.image, NodeId(node), epoch, stop) {
            assert!(matches!(world.txn(&transaction), Outcome::Committed { .. }));
        }
        (epoch, state(world, 0))
    };
    // The leader, sure of its log, leads on.
    let (mut world, [_, two]) = replicated();
    let (epoch, after) = restart(&mut world, 1, LastStop::Complete);
    assert_eq!((after.leader, after.leader_epoch), (Some(NodeId(1)), LeaderEpoch(6)));
    assert!(after.isr.contains(&member(1, epoch)) && after.isr.contains(&member(2, two)));
    // The leader, not sure, leaves it to the others.
    let (mut world, [_, two]) = replicated();
    let (_, after) = restart(&mut world, 1, LastStop::Uncertain);
    assert_eq!((after.leader, after.leader_epoch, after.isr), (None, LeaderEpoch(6), vec![member(2, two)]));
    // A follower waits for its leader; not sure, it leaves.
    let (mut world, [one, two]) = replicated();
    let (_, after) = restart(&mut world, 2, LastStop::Complete);
    assert_eq!((after.leader, after.leader_epoch), (Some(NodeId(1)), LeaderEpoch(5)));
    assert!(after.isr.contains(&member(2, two)));
    let (_, after) = restart(&mut world, 2, LastStop::Uncertain);
    assert_eq!((after.leader_epoch, after.isr), (LeaderEpoch(5), vec![member(1, one)]));
    // Alone in the ISR there is nobody better.
    let (epoch, after) = restart(&mut world, 1, LastStop::Uncertain);
    assert_eq!((after.leader_epoch, after.isr), (LeaderEpoch(6), vec![member(1, epoch)]));
    // Nobody leads, and this broker may.
    force(&mut world, |state| state.leader = None);
    let (_, after) = restart(&mut world, 1, LastStop::Complete);
    assert_eq!((after.leader, after.leader_epoch), (Some(NodeId(1)), LeaderEpoch(7)));
}

#[test]
fn registrations_of_others_are_respected() {
    let mut world = World::with_brokers(1);
    let second = world.registration(NodeId(1));
    let refused = register_broker(&world.image, &second).unwrap_err();
    assert_eq!(refused.error, KafkaError::DuplicateBrokerRegistration);
    let stranger = Registration { node: NodeId(2), cluster_id: "another".into(), ..second };
    let refused = register_broker(&world.image, &stranger).unwrap_err();
    assert_eq!(refused.error, KafkaError::InconsistentClusterId);
    assert_eq!(world.image.cluster_id(), Some("cluster"));
    // Two first brokers at once: one names the cluster, the other decides again.
    let mut world = World::default();
    let (one, two) = (world.registration(NodeId(1)), world.registration(NodeId(2)));
    let (one, two) = (register_broker(&world.image, &one).unwrap(), register_broker(&world.image, &two).unwrap());
    assert!(matches!(world.txn(&one), Outcome::Committed { .. }));
    assert!(matches!(world.txn(&two), Outcome::Conflict { .. }));
}

#[test]
fn there_is_one_controller() {
    let mut world = World::with_brokers(2);
    let claim = |world: &World, node| {
        let epoch = world.image.broker_epoch(NodeId(node)).unwrap();
        claim_controller(&world.image, NodeId(node), epoch, LeaseId(i64::from(node)))
    };
    let (one, two) = (claim(&world, 1).unwrap(), claim(&world, 2).unwrap());
    assert!(matches!(world.txn(&one), Outcome::Committed { .. }));
    assert!(matches!(world.txn(&two), Outcome::Conflict { .. }));
    assert_eq!(world.image.controller().unwrap().value.broker, NodeId(1));
    assert!(claim(&world, 2).is_none());
    world.stop(NodeId(1));
    let two = claim(&world, 2).unwrap();
    assert!(matches!(world.txn(&two), Outcome::Committed { .. }));
}

#[test]
fn a_lost_answer_is_settled_by_what_the_store_holds() {
    let mut world = World::with_brokers(1);
    let plan = world.decide(&[new_topic("t", 1)]).pop().unwrap().unwrap().plan;
    let transaction = plan.next().unwrap();
    let read = |world: &World, key: &str| world.listing().entries.into_iter().find(|entry| entry.key == key);
    let key = settle_key(&transaction).unwrap().to_string();
    assert_eq!(settle(&transaction, read(&world, &key).as_ref(), world.revision), None);
    world.txn(&transaction);
    let committed = world.revision;
    world.create(new_topic("u", 1));
    assert_eq!(settle(&transaction, read(&world, &key).as_ref(), world.revision), Some(committed));
    let other = Transaction { compares: vec![Compare::absent("x")], writes: vec![Write::delete("x")] };
    assert_eq!(settle(&other, None, world.revision), Some(world.revision));
}
