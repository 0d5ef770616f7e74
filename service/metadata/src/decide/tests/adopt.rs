use tidelog_model::{KafkaError, LeaderEpoch, NodeId, PartitionIndex, ProducerId, TopicId, TopicName};
use uuid::Uuid;

use super::world::{World, new_topic};
use crate::decide::*;

fn found(id: u128, name: &str, partitions: &[(i32, i32)], compacted: bool) -> FoundTopic {
    let partitions = partitions.iter().map(|(index, epoch)| (PartitionIndex(*index), LeaderEpoch(*epoch)));
    let (id, name) = (TopicId(Uuid::from_u128(id)), TopicName::new(name).unwrap());
    FoundTopic { id, name, partitions: partitions.collect(), compacted, settings: None }
}

fn adopt(world: &mut World, topic: &FoundTopic) -> Result<(), Refusal> {
    let plan = adopt_topic(&world.image, NodeId(1), &world.broker, topic)?;
    world.run(plan);
    Ok(())
}

#[test]
fn a_found_topic_keeps_its_id_its_epochs_and_all_that_is_in_it() {
    let mut world = World::default();
    // Ids are spread over as many partitions as there were, whatever a new topic would get.
    let spread: Vec<(i32, i32)> = (0..25).map(|n| (n, if n == 12 { 3 } else { -1 })).collect();
    let topics = [
        found(1, "t", &[(0, 7), (1, -1), (2, 0)], false),
        found(2, "log", &[(0, -1)], true),
        found(3, "__consumer_offsets", &spread, false),
    ];
    for topic in &topics {
        adopt(&mut world, topic).unwrap();
        // Once more, as after a crash: it is there.
        assert_eq!(adopt_topic(&world.image, NodeId(1), &world.broker, topic), Ok(Plan::default()));
    }
    let epoch = world.start(NodeId(1));
    let epochs = |name: &str| -> Vec<i32> {
        let topic = world.image.topic(name).unwrap();
        let state = |n| topic.partition(PartitionIndex(n)).unwrap().state.clone();
        let states = (0..topic.partition_count).map(state);
        states
            .map(|state| {
                assert_eq!((state.leader, state.isr[0].epoch), (Some(NodeId(1)), epoch));
                state.leader_epoch.get()
            })
            .collect()
    };
    assert_eq!(epochs("t"), [8, 1, 1], "the start is an election after those of the other broker");
    assert_eq!(epochs("log"), [1]);
    assert_eq!(epochs("__consumer_offsets").len(), 25);
    assert_eq!(epochs("__consumer_offsets")[12], 4);
    let settings = |name: &str| world.image.topic(name).unwrap().configs.texts();
    for (name, policy) in [("t", "delete"), ("log", "compact")] {
        let settings = settings(name);
        assert_eq!(settings["cleanup.policy"], policy);
        for (setting, value) in [("remote.storage.enable", "false"), ("retention.bytes", "-1"), ("retention.ms", "-1")]
        {
            assert_eq!(settings[setting], value, "{name}, {setting}");
        }
    }
    // Gaps are allowed and nothing is ever old enough to go.
    assert_eq!(settings("log")["min.compaction.lag.ms"], i64::MAX.to_string());
    assert_eq!(settings("__consumer_offsets")["cleanup.policy"], "compact");
    assert_eq!(world.image.topic("t").unwrap().id, topics[0].id);
}

#[test]
fn an_internal_topic_of_one_partition_stays_so() {
    let mut world = World::default();
    adopt(&mut world, &found(1, "__transaction_state", &[(0, 0)], false)).unwrap();
    assert_eq!(world.image.topic("__transaction_state").unwrap().partition_count, 1);
}

#[test]
fn a_topic_with_a_missing_partition_is_refused() {
    let mut world = World::default();
    for partitions in [&[(1, 0)][..], &[(0, 0), (2, 0)]] {
        let refusal = adopt(&mut world, &found(1, "__consumer_offsets", partitions, false)).unwrap_err();
        assert_eq!(refusal.error, KafkaError::InvalidPartitions);
        assert!(refusal.message.contains("no partition"), "{refusal}");
    }
    assert!(world.image.topic("__consumer_offsets").is_none());
}

#[test]
fn kafkas_own_metadata_is_no_topic() {
    for (name, is) in
        [("__cluster_metadata", false), ("__share_group_state", false), ("__consumer_offsets", true), ("t", true)]
    {
        assert_eq!(is_adoptable(&TopicName::new(name).unwrap()), is, "{name}");
    }
}

#[test]
fn a_name_that_another_topic_has_is_refused() {
    let mut world = World::with_brokers(1);
    world.create(new_topic("t", 1));
    assert_eq!(adopt(&mut world, &found(1, "t", &[(0, 0)], false)).unwrap_err().error, KafkaError::TopicAlreadyExists);
}

#[test]
fn new_producers_get_ids_that_no_adopted_log_has() {
    let mut world = World::default();
    world.run(Plan::of(skip_adopted_producer_ids(&world.image).unwrap()));
    assert_eq!(skip_adopted_producer_ids(&world.image), None);
    let (_, block) = reserve_producer_ids(&world.image).unwrap();
    assert_eq!(block.first, ProducerId(1 << 40));
}
