//! The process dies after any transaction of a plan: what is left is swept, and nothing half-made is ever visible.

use tidelog_model::{KafkaError, PartitionIndex};

use super::world::{World, new_topic};
use crate::decide::*;

/// Everything that the store may hold for topics that exist, sorted.
fn topic_keys(world: &World) -> Vec<String> {
    let kinds = ["names/", "topics/", "partitions/", "deletions/"];
    world.map.keys().filter(|key| kinds.iter().any(|kind| key.starts_with(kind))).cloned().collect()
}

fn clean(world: &mut World) {
    let plan = sweep(&world.image);
    assert!(world.run(plan));
    let deletions: Vec<_> = world.image.deletions().map(|(id, _)| id).collect();
    for id in deletions {
        let plan = finish_deletion(&world.image, id).unwrap();
        assert!(world.run(plan));
    }
    assert_eq!(sweep(&world.image).remaining(), 0);
}

#[test]
fn a_creation_that_died_leaves_nothing() {
    let steps = 5;
    for died_after in 0..=steps {
        let mut world = World::with_brokers(1);
        world.create(new_topic("other", 2));
        let before = topic_keys(&world);
        let mut plan = world.decide(&[new_topic("big", 250)]).pop().unwrap().unwrap().plan;
        assert_eq!(plan.remaining(), steps);
        for _ in 0..died_after {
            assert!(world.step(&mut plan));
        }
        if died_after == steps {
            clean(&mut world);
            assert_eq!(world.image.topic("big").unwrap().partitions().count(), 250);
            continue;
        }
        assert!(world.image.topic("big").is_none());
        if died_after > 0 {
            // The name is taken until the sweep.
            let taken = world.decide(&[new_topic("big", 1)]).pop().unwrap().unwrap_err();
            assert_eq!(taken.error, KafkaError::TopicAlreadyExists);
        }
        clean(&mut world);
        assert_eq!(topic_keys(&world), before);
        // A creator that was only slow cannot go on.
        if died_after > 0 {
            assert!(!world.step(&mut plan));
        }
        world.create(new_topic("big", 250));
    }
}

#[test]
fn a_deletion_that_died_is_finished() {
    let steps = 4;
    for died_after in 0..=steps {
        let mut world = World::with_brokers(1);
        world.create(new_topic("other", 2));
        let before = topic_keys(&world);
        let id = world.create(new_topic("big", 250));
        let mut plan = delete_topic(&world.image, world.settings(), TopicRef::Name("big")).unwrap();
        assert_eq!(plan.remaining(), steps);
        for _ in 0..died_after {
            assert!(world.step(&mut plan));
        }
        if died_after == 0 {
            clean(&mut world);
            assert_eq!(world.image.topic("big").unwrap().partitions().count(), 250);
            continue;
        }
        assert!(world.image.topic("big").is_none() && world.image.topic_by_id(id).is_none());
        let deletion = world.image.deletion(id).unwrap();
        assert_eq!((deletion.value.name.as_str(), deletion.value.partitions), ("big", 250));
        // The name is free at once, and the old topic's remains do not hurt the new one.
        let new = world.create(new_topic("big", 3));
        clean(&mut world);
        assert_eq!(world.image.topic("big").unwrap().id, new);
        assert_eq!(topic_keys(&world).len(), before.len() + 2 + 3);
    }
}

#[test]
fn an_increase_that_died_leaves_nothing() {
    let steps = 4;
    for died_after in 0..=steps {
        let mut world = World::with_brokers(1);
        let id = world.create(new_topic("t", 5));
        let before = topic_keys(&world);
        let mut plan = create_partitions(&world.image, "t", 255, None).unwrap();
        assert_eq!(plan.remaining(), steps);
        for _ in 0..died_after {
            assert!(world.step(&mut plan));
        }
        let visible = if died_after == steps { 255 } else { 5 };
        let topic = world.image.topic("t").unwrap();
        assert_eq!((topic.partition_count, topic.partitions().count()), (visible, visible as usize));
        assert_eq!(world.image.partition(id, PartitionIndex(5)).is_some(), visible > 5);
        if died_after < steps && died_after % 2 == 0 {
            // Tried again without a sweep: the same partitions are written over.
            let again = create_partitions(&world.image, "t", 7, None).unwrap();
            assert!(world.run(again));
            assert_eq!(world.image.topic("t").unwrap().partitions().count(), 7);
            clean(&mut world);
            assert_eq!(topic_keys(&world).len(), before.len() + 2);
        } else {
            clean(&mut world);
            assert_eq!(topic_keys(&world).len(), before.len() + visible as usize - 5);
        }
    }
}

#[test]
fn deletion_by_id_and_its_refusals() {
    let mut world = World::with_brokers(1);
    let id = world.create(new_topic("t", 1));
    let error = |world: &World, topic| delete_topic(&world.image, world.settings(), topic).unwrap_err().error;
    assert_eq!(error(&world, TopicRef::Name("u")), KafkaError::UnknownTopicOrPartition);
    assert_eq!(error(&world, TopicRef::Id(tidelog_model::TopicId::ZERO)), KafkaError::UnknownTopicId);
    world.configure(&[("delete.topic.enable", "false")]);
    assert_eq!(error(&world, TopicRef::Id(id)), KafkaError::TopicDeletionDisabled);
    world.configure(&[]);
    let plan = delete_topic(&world.image, world.settings(), TopicRef::Id(id)).unwrap();
    let late = delete_topic(&world.image, world.settings(), TopicRef::Id(id)).unwrap();
    assert!(world.run(plan));
    assert!(!world.run(late));
    assert!(finish_deletion(&world.image, tidelog_model::TopicId::ZERO).is_none());
}
