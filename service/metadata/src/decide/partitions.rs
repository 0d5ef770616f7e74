//! More partitions for a topic. Decides where they go; the topic's partition count changes last, so that they appear together.

use tidelog_model::{KafkaError, NodeId, PartitionIndex};

use super::Refusal;
use super::create::too_many;
use super::placement::{check_manual, first_state, spread};
use super::plan::{Guard, Plan, put_partition};
use crate::image::ClusterImage;
use crate::keys::{Key, TopicValue};
use crate::port::{Compare, Write};

/// Raises a topic's partitions to `count`. `assignments` gives the new partitions' replicas by hand, in order; `None` = the
/// controller chooses.
pub fn create_partitions(
    image: &ClusterImage,
    name: &str,
    count: i32,
    assignments: Option<&[Vec<NodeId>]>,
) -> Result<Plan, Refusal> {
    let Some(topic) = image.topic(name) else {
        return Err(Refusal::new(KafkaError::UnknownTopicOrPartition, KafkaError::UnknownTopicOrPartition.message()));
    };
    let current = topic.partition_count;
    let refuse = |message: String| Err(Refusal::new(KafkaError::InvalidPartitions, message));
    if count == current {
        return refuse(format!("Topic already has {current} partition(s)."));
    }
    if count < current {
        return refuse(format!(
            "The topic {name} currently has {current} partition(s); {count} would not be an increase."
        ));
    }
    too_many(count)?;
    let added = count.saturating_sub(current);
    let factor = topic.partition(PartitionIndex(0)).map_or(1, |partition| partition.state.replicas.len());
    let replicas = match assignments {
        Some(lists) => {
            if i32::try_from(lists.len()) != Ok(added) {
                return Err(Refusal::new(
                    KafkaError::InvalidReplicaAssignment,
                    format!("{added} additional partition(s) were asked for, but {} assignment(s) given.", lists.len()),
                ));
            }
            check_manual(image, lists, current, Some(factor))?;
            lists.to_vec()
        }
        None => {
            let seed = u64::try_from(u128::from_be_bytes(topic.id.bytes()) >> 64).unwrap_or(0);
            spread(image, seed, current, added, i16::try_from(factor).unwrap_or(i16::MAX))?
        }
    };
    let states: Vec<Write> = replicas
        .iter()
        .zip(current..)
        .map(|(nodes, n)| put_partition(topic.id, PartitionIndex(n), &first_state(image, nodes)))
        .collect();
    let value = TopicValue { name: topic.name.clone(), partitions: count, configs: (*topic.configs).clone() };
    let exist = Write::put(Key::Topic(topic.id), value.encode());
    let guard = [Guard::Seen(Compare::unchanged(Key::Topic(topic.id), topic.revision))];
    let mut all = states.clone();
    all.push(exist.clone());
    let mut plan = Plan::default();
    if Plan::fits(&guard, &all) {
        plan.step(guard.to_vec(), all);
    } else {
        plan.chunks(&guard, states);
        plan.step(guard.to_vec(), vec![exist]);
    }
    Ok(plan)
}
