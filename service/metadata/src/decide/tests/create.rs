use std::collections::BTreeSet;

use proptest::prelude::*;
use tidelog_model::{KafkaError, LeaderEpoch, NodeId, PartitionIndex, TopicName};

use super::world::{World, given, new_topic};
use crate::decide::*;
use crate::image::ImageChange;
use crate::topic_config::TopicConfig;

fn refusal(world: &mut World, request: NewTopic) -> (KafkaError, String) {
    let refusal = world.decide(&[request]).pop().unwrap().unwrap_err();
    (refusal.error, refusal.message)
}

#[test]
fn a_topic_gets_the_brokers_defaults() {
    let mut world = World::with_brokers(1);
    world.configure(&[("num.partitions", "3")]);
    let id = world.create(NewTopic::named("orders"));
    assert_eq!(world.told, [ImageChange::Topic(id)]);
    let topic = world.image.topic("orders").unwrap().clone();
    assert_eq!((topic.id, topic.partition_count, topic.partitions().count()), (id, 3, 3));
    let epoch = world.image.broker_epoch(NodeId(1)).unwrap();
    for (_, partition) in topic.partitions() {
        assert_eq!(partition.state.leader, Some(NodeId(1)));
        assert_eq!(partition.state.leader_epoch, LeaderEpoch(0));
        assert!(partition.state.isr.iter().all(|member| member.epoch == epoch));
    }
    assert!(world.image.topic("order").is_none());
    assert!(topic.partition(PartitionIndex(3)).is_none());
}

#[test]
fn of_a_setting_that_is_given_twice_the_last_value_counts() {
    let mut world = World::with_brokers(1);
    let configs = given(&[("retention.ms", "1"), ("segment.ms", "3"), ("retention.ms", "2")]);
    world.create(NewTopic { configs, ..new_topic("t", 1) });
    let kept: Vec<_> = world.image.topic("t").unwrap().configs.iter().collect();
    assert_eq!(kept, [("retention.ms", "2"), ("segment.ms", "3")]);
}

#[test]
fn each_mistake_has_kafkas_error() {
    use KafkaError::*;
    let mut world = World::with_brokers(2);
    world.create(new_topic("a.b", 1));
    let base = || new_topic("t", 1);
    let cases = [
        (new_topic("", 1), InvalidTopicException, "empty"),
        (new_topic("a/b", 1), InvalidTopicException, "contains"),
        (new_topic("a.b", 1), TopicAlreadyExists, "already exists"),
        (new_topic("a_b", 1), InvalidTopicException, "collides with the existing topic 'a.b'"),
        (new_topic("t", 0), InvalidPartitions, "larger than 0"),
        (new_topic("t", -2), InvalidPartitions, "larger than 0"),
        (new_topic("t", 10_001), InvalidPartitions, "at most 10000"),
        (new_topic("t", i32::MAX), InvalidPartitions, "at most 10000"),
        (NewTopic { replication_factor: 0, ..base() }, InvalidReplicationFactor, "larger than 0"),
        (NewTopic { replication_factor: -2, ..base() }, InvalidReplicationFactor, "larger than 0"),
        (NewTopic { replication_factor: 3, ..base() }, InvalidReplicationFactor, "only 2 broker(s)"),
        (NewTopic { replication_factor: i16::MAX, ..base() }, InvalidReplicationFactor, "between 1 and 32"),
        (NewTopic { configs: given(&[("retention.mss", "1")]), ..base() }, InvalidConfig, "did you mean retention.ms?"),
        (NewTopic { configs: given(&[("retention.ms", "x")]), ..base() }, InvalidConfig, "Invalid value x"),
        (NewTopic { configs: vec![("retention.ms".into(), Option::None)], ..base() }, InvalidConfig, "Null value"),
        (
            NewTopic { configs: given(&[("cleanup.policy", "compact"), ("remote.storage.enable", "true")]), ..base() },
            InvalidConfig,
            "contains compact",
        ),
    ];
    for (request, error, part) in cases {
        let shown = format!("{request:?}");
        let (found, message) = refusal(&mut world, request);
        assert_eq!(found, error, "{shown}");
        assert!(message.contains(part), "{message}");
    }
    assert_eq!(world.image.topic_count(), 1);
}

#[test]
fn manual_assignments_are_checked() {
    use KafkaError::*;
    let mut world = World::with_brokers(3);
    let manual = |lists: &[(i32, &[i32])]| NewTopic {
        assignments: lists
            .iter()
            .map(|(n, nodes)| (PartitionIndex(*n), nodes.iter().copied().map(NodeId).collect()))
            .collect(),
        ..NewTopic::named("t")
    };
    let cases = [
        (NewTopic { partitions: 1, ..manual(&[(0, &[1])]) }, InvalidRequest, "number of partitions"),
        (NewTopic { replication_factor: 1, ..manual(&[(0, &[1])]) }, InvalidRequest, "replication factor"),
        (manual(&[(1, &[1])]), InvalidReplicaAssignment, "numbered from 0"),
        (manual(&[(0, &[1]), (0, &[1])]), InvalidReplicaAssignment, "each once"),
        (manual(&[(0, &[])]), InvalidReplicaAssignment, "empty"),
        (manual(&[(0, &[1, 1])]), InvalidReplicaAssignment, "twice"),
        (manual(&[(0, &[9])]), InvalidReplicaAssignment, "broker 9"),
        (manual(&[(0, &[1, 2]), (1, &[3])]), InvalidReplicaAssignment, "not consistent"),
    ];
    for (request, error, part) in cases {
        let (found, message) = refusal(&mut world, request);
        assert_eq!(found, error, "{message}");
        assert!(message.contains(part), "{message}");
    }
    world.create(manual(&[(1, &[3, 1]), (0, &[2, 3])]));
    let topic = world.image.topic("t").unwrap();
    let replicas: Vec<_> = topic.partitions().map(|(_, p)| p.state.replicas.clone()).collect();
    assert_eq!(replicas, [[NodeId(2), NodeId(3)], [NodeId(3), NodeId(1)]]);
}

#[test]
fn one_request_may_not_contradict_itself() {
    let mut world = World::with_brokers(1);
    let names = ["x", "y", "x", "c.d", "c_d"];
    let requests: Vec<_> = names.iter().map(|name| new_topic(name, 1)).collect();
    let errors: Vec<_> =
        world.decide(&requests).into_iter().map(|one| one.err().map(|refusal| refusal.error)).collect();
    let (twice, collides) = (Some(KafkaError::InvalidRequest), Some(KafkaError::InvalidTopicException));
    assert_eq!(errors, [twice, None, twice, None, collides]);
}

#[test]
fn names_collide_only_by_dots_and_underscores() {
    let mut world = World::with_brokers(1);
    for name in ["a-b", "a.b.c", "a.bc", "ab", "a"] {
        world.create(new_topic(name, 1));
    }
    for free in ["a.b", "a_c", "a_b-c", "a..b.c"] {
        assert!(world.decide(&[new_topic(free, 1)]).pop().unwrap().is_ok(), "{free}");
    }
    for taken in ["a_b.c", "a.b_c", "a_bc"] {
        assert!(world.decide(&[new_topic(taken, 1)]).pop().unwrap().is_err(), "{taken}");
    }
}

#[test]
fn the_offsets_topic_is_compacted_and_has_its_partitions() {
    let mut world = World::with_brokers(1);
    world.defaults = world.defaults.clone().with_remote_storage(true);
    let name = TopicName::new("__consumer_offsets").unwrap();
    world.create(auto_topic(&name, &world.broker.clone()));
    let topic = world.image.topic(name.as_str()).unwrap();
    let config = TopicConfig::effective(&topic.configs, &world.defaults);
    assert_eq!(topic.partition_count, 50);
    assert!(config.cleanup.compact && !config.cleanup.delete && !config.remote_storage_enable);
    assert_eq!(config.segment_bytes, 104_857_600);
    let plain = TopicName::new("plain").unwrap();
    assert_eq!(auto_topic(&plain, &world.broker), NewTopic::named("plain"));
}

#[test]
fn no_broker_no_topic() {
    let mut world = World::default();
    assert_eq!(refusal(&mut world, NewTopic::named("t")).0, KafkaError::InvalidReplicationFactor);
}

#[test]
fn ten_thousand_partitions_take_many_transactions_and_appear_at_once() {
    let mut world = World::with_brokers(1);
    let topic = world.decide(&[new_topic("big", 10_000)]).pop().unwrap().unwrap();
    let mut plan = topic.plan;
    assert_eq!(plan.remaining(), 2 + 10_000usize.div_ceil(99));
    while plan.remaining() > 1 {
        let transaction = plan.next().unwrap();
        assert_eq!(transaction.check(), Ok(()));
        // Only the first and last are checked against a fresh image: the world's own check is quadratic.
        if plan.remaining() < 100 {
            plan.committed(world.revision);
        } else {
            assert!(world.step(&mut plan));
        }
        assert!(world.image.topic("big").is_none());
    }
    assert!(world.step(&mut plan));
    assert_eq!(world.image.topic("big").unwrap().partition_count, 10_000);
}

proptest! {
    /// Leaders are spread evenly, replicas are distinct, whatever the numbers.
    #[test]
    fn replicas_are_spread(brokers in 1i32..8, factor in 1i16..5, partitions in 1i32..40, more in 1i32..20) {
        let mut world = World::with_brokers(brokers);
        let request = NewTopic { replication_factor: factor, ..new_topic("t", partitions) };
        let decided = world.decide(&[request]).pop().unwrap();
        if i32::from(factor) > brokers {
            prop_assert_eq!(decided.unwrap_err().error, KafkaError::InvalidReplicationFactor);
            return Ok(());
        }
        prop_assert!(world.run(decided.unwrap().plan));
        let plan = create_partitions(&world.image, "t", partitions + more, None).unwrap();
        prop_assert!(world.run(plan));
        let topic = world.image.topic("t").unwrap();
        prop_assert_eq!(topic.partitions().count() as i32, partitions + more);
        let mut led = vec![0; brokers as usize + 1];
        for (_, partition) in topic.partitions() {
            let state = &partition.state;
            let distinct: BTreeSet<_> = state.replicas.iter().collect();
            prop_assert_eq!(distinct.len(), factor as usize);
            prop_assert_eq!(state.replicas.len(), factor as usize);
            prop_assert_eq!(state.leader, state.replicas.first().copied());
            led[state.leader.unwrap().get() as usize] += 1;
        }
        let (least, most) = (led[1..].iter().min().unwrap(), led.iter().max().unwrap());
        prop_assert!(most - least <= 1, "{led:?}");
    }
}
