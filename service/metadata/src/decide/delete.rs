//! Topics that go. Decides what is removed in which order: first the topic's existence, then its partitions, its remains last.

use tidelog_model::{KafkaError, TopicId};

use super::plan::{Guard, Plan, delete_partitions};
use super::{Refusal, Settings};
use crate::image::ClusterImage;
use crate::keys::{DeletionValue, Key};
use crate::port::{Compare, Write};

/// A topic by name or id.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TopicRef<'a> {
    /// By name.
    Name(&'a str),
    /// By id (KIP-516).
    Id(TopicId),
}

/// Deletes a topic. After the plan's first transaction it does not exist and its name is free; `deletions/<id>` stays until
/// [`finish_deletion`], for the cold tier's sake.
pub fn delete_topic(image: &ClusterImage, settings: Settings<'_>, topic: TopicRef<'_>) -> Result<Plan, Refusal> {
    if !settings.broker.delete_topics {
        return Err(Refusal::new(KafkaError::TopicDeletionDisabled, "delete.topic.enable is false."));
    }
    let found = match topic {
        TopicRef::Name(name) => image.topic(name).ok_or_else(|| {
            Refusal::new(KafkaError::UnknownTopicOrPartition, KafkaError::UnknownTopicOrPartition.message())
        })?,
        TopicRef::Id(id) => image
            .topic_by_id(id)
            .ok_or_else(|| Refusal::new(KafkaError::UnknownTopicId, KafkaError::UnknownTopicId.message()))?,
    };
    let name = Key::Name(found.name.clone());
    let mut guards = vec![Guard::Seen(Compare::unchanged(Key::Topic(found.id), found.revision))];
    let mut writes = vec![
        Write::put(
            Key::Deletion(found.id),
            DeletionValue { name: found.name.clone(), partitions: found.partition_count }.encode(),
        ),
        Write::delete(Key::Topic(found.id)),
    ];
    if let Some(reserved) = image.name(found.name.as_str()).filter(|reserved| reserved.value == found.id) {
        guards.push(Guard::Seen(Compare::unchanged(name.clone(), reserved.revision)));
        writes.push(Write::delete(name));
    }
    let mut plan = Plan::default();
    let partitions: Vec<Write> = delete_partitions(found.id, image.stored_partitions(found.id)).collect();
    let mut all = writes.clone();
    all.extend(partitions.iter().cloned());
    if Plan::fits(&guards, &all) {
        plan.step(guards, all);
    } else {
        plan.step(guards, writes);
        plan.chunks(&[], partitions);
    }
    Ok(plan)
}

/// Forgets a deleted topic, when nothing remote or local of it is left: removes partition states that a crash left behind, then the key
/// itself. `None` if there is nothing to forget.
pub fn finish_deletion(image: &ClusterImage, topic: TopicId) -> Option<Plan> {
    let deletion = image.deletion(topic)?;
    let same = Guard::Seen(Compare::unchanged(Key::Deletion(topic), deletion.revision));
    let mut plan = Plan::default();
    plan.chunks(std::slice::from_ref(&same), delete_partitions(topic, image.stored_partitions(topic)));
    plan.step(vec![same], vec![Write::delete(Key::Deletion(topic))]);
    Some(plan)
}
