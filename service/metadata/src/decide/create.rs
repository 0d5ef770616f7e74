//! New topics. Decides name, partitions, replicas and settings; the name is reserved first, `topics/<id>` comes last.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use tidelog_model::limits::MAX_PARTITIONS_PER_TOPIC;
use tidelog_model::{KafkaError, NodeId, PartitionIndex, TopicId, TopicName};

use super::placement::{check_manual, first_state, spread};
use super::plan::{Guard, Plan, put_partition};
use super::{Refusal, Settings};
use crate::broker_config::BrokerConfig;
use crate::image::ClusterImage;
use crate::keys::{Key, NameValue, TopicValue};
use crate::limits::MIN_SEGMENT_BYTES;
use crate::port::{Compare, Write};
use crate::topic_config::{INTERNAL_SEGMENT_BYTES, TopicOverrides};

/// What Kafka calls the log of its metadata; tools ask for its quorum, so no topic may have the name.
pub const CLUSTER_METADATA: &str = "__cluster_metadata";

/// A topic that somebody asks for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewTopic {
    /// Its name, not checked yet.
    pub name: String,
    /// Partitions; −1 = the broker's default, or as many as `assignments` has.
    pub partitions: i32,
    /// Replicas of each partition; −1 = the broker's default, or as `assignments` says.
    pub replication_factor: i16,
    /// Replicas by partition, given by hand; empty = the controller chooses.
    pub assignments: Vec<(PartitionIndex, Vec<NodeId>)>,
    /// Settings, not checked yet. A null value is refused.
    pub configs: Vec<(String, Option<String>)>,
}

impl NewTopic {
    /// A topic with the broker's defaults for everything.
    pub fn named(name: impl Into<String>) -> Self {
        NewTopic {
            name: name.into(),
            partitions: -1,
            replication_factor: -1,
            assignments: Vec::new(),
            configs: Vec::new(),
        }
    }
}

/// A topic that may be created. `validate_only` = answer from this and drop the plan.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CreateTopic {
    /// Its id.
    pub id: TopicId,
    /// Its name.
    pub name: TopicName,
    /// How many partitions it gets.
    pub partitions: i32,
    /// How many replicas each gets.
    pub replication_factor: i16,
    /// Its own settings.
    pub configs: TopicOverrides,
    /// How to create it.
    pub plan: Plan,
}

/// What a topic gets that is created because a client asked for it (or, for internal topics, because the service needs it).
pub fn auto_topic(name: &TopicName, config: &BrokerConfig) -> NewTopic {
    let mut topic = NewTopic::named(name.as_str());
    if name.is_internal() {
        // Compacted, in the producers' codec (their batches are the coordinator's), small segments so that loading stays short.
        let (partitions, segment) = if name.as_str() == tidelog_model::TRANSACTIONS_TOPIC {
            (config.transaction_topic_partitions, config.transaction_topic_segment_bytes)
        } else {
            (config.offsets_topic_partitions, config.offsets_topic_segment_bytes)
        };
        // The broker's settings for these may be smaller than a topic's.
        let name = if i64::from(segment) < MIN_SEGMENT_BYTES { INTERNAL_SEGMENT_BYTES } else { "segment.bytes" };
        let segment = segment.to_string();
        let settings = [("cleanup.policy", "compact"), ("compression.type", "producer"), (name, segment.as_str())];
        topic.configs = settings.iter().map(|(k, v)| ((*k).to_string(), Some((*v).to_string()))).collect();
        topic.partitions = partitions;
    }
    topic
}

/// Decides about every topic of one request, in its order. `new_id` gives a fresh random id per topic.
///
/// A name that the request names twice is refused each time; names that collide (`a.b`, `a_b`) are refused from the second on.
pub fn create_topics(
    image: &ClusterImage,
    settings: Settings<'_>,
    requests: &[NewTopic],
    new_id: &mut dyn FnMut() -> TopicId,
) -> Vec<Result<CreateTopic, Refusal>> {
    let mut times: BTreeMap<&str, usize> = BTreeMap::new();
    for request in requests {
        *times.entry(request.name.as_str()).or_default() += 1;
    }
    let mut forms = BTreeSet::new();
    let mut decided = Vec::with_capacity(requests.len());
    for request in requests {
        let one = if times.get(request.name.as_str()).is_some_and(|n| *n > 1) {
            Err(Refusal::new(
                KafkaError::InvalidRequest,
                format!("The request contains multiple entries for the topic '{}'.", request.name),
            ))
        } else {
            create_topic(image, settings, request, new_id).and_then(|topic| {
                if forms.insert(topic.name.collision_form()) {
                    Ok(topic)
                } else {
                    Err(collision(&topic.name, "another topic of the request"))
                }
            })
        };
        decided.push(one);
    }
    decided
}

fn create_topic(
    image: &ClusterImage,
    settings: Settings<'_>,
    request: &NewTopic,
    new_id: &mut dyn FnMut() -> TopicId,
) -> Result<CreateTopic, Refusal> {
    let name = TopicName::new(&request.name)
        .map_err(|error| Refusal::new(KafkaError::InvalidTopicException, error.to_string()))?;
    if name.as_str() == CLUSTER_METADATA {
        let message = format!("Creation of internal topic {CLUSTER_METADATA} is prohibited.");
        return Err(Refusal::new(KafkaError::InvalidRequest, message));
    }
    if image.name(name.as_str()).is_some() {
        return Err(Refusal::new(KafkaError::TopicAlreadyExists, format!("Topic '{name}' already exists.")));
    }
    if let Some(other) = colliding(image, &name) {
        return Err(collision(&name, &format!("the existing topic '{other}'")));
    }
    let configs = check_configs(settings, &request.configs)?;
    let id = new_id();
    let replicas = place(image, settings, request, id)?;
    let states: Vec<Write> = replicas
        .iter()
        .zip(0..)
        .map(|(nodes, n)| put_partition(id, PartitionIndex(n), &first_state(image, nodes)))
        .collect();
    let partitions = i32::try_from(replicas.len()).unwrap_or(i32::MAX);
    let factor = replicas.first().map_or(0, Vec::len);
    let topic = TopicValue { name: name.clone(), partitions, configs: configs.clone() };
    Ok(CreateTopic {
        plan: creation(&name, id, states, &topic),
        id,
        name,
        partitions,
        replication_factor: i16::try_from(factor).unwrap_or(i16::MAX),
        configs,
    })
}

/// In one transaction if it fits. Otherwise the name first; every later step holds only while the name still is this plan's, so a
/// sweep that takes the name away also ends the creation.
pub(super) fn creation(name: &TopicName, id: TopicId, states: Vec<Write>, topic: &TopicValue) -> Plan {
    let free = Guard::Seen(Compare::absent(Key::Name(name.clone())));
    let reserve = Write::put(Key::Name(name.clone()), NameValue { topic: id }.encode());
    let exist = Write::put(Key::Topic(id), topic.encode());
    let mut all = vec![reserve.clone()];
    all.extend(states.iter().cloned());
    all.push(exist.clone());
    let mut plan = Plan::default();
    if Plan::fits(std::slice::from_ref(&free), &all) {
        plan.step(vec![free], all);
        return plan;
    }
    let mine = [Guard::SinceFirst(Key::Name(name.clone()).to_string())];
    plan.step(vec![free], vec![reserve]);
    plan.chunks(&mine, states);
    plan.step(mine.to_vec(), vec![exist]);
    plan
}

fn place(
    image: &ClusterImage,
    settings: Settings<'_>,
    request: &NewTopic,
    id: TopicId,
) -> Result<Vec<Vec<NodeId>>, Refusal> {
    if !request.assignments.is_empty() {
        return manual(image, request);
    }
    let partitions = if request.partitions == -1 { settings.broker.num_partitions } else { request.partitions };
    if partitions < 1 {
        return Err(Refusal::new(
            KafkaError::InvalidPartitions,
            "Number of partitions must be larger than 0, or -1 for the broker's default.",
        ));
    }
    too_many(partitions)?;
    let factor = match request.replication_factor {
        -1 => settings.broker.default_replication_factor,
        factor if factor > 0 => factor,
        _ => {
            return Err(Refusal::new(
                KafkaError::InvalidReplicationFactor,
                "Replication factor must be larger than 0, or -1 for the broker's default.",
            ));
        }
    };
    // The id is random, so leaders of different topics start at different brokers.
    let seed = u64::try_from(u128::from_be_bytes(id.bytes()) >> 64).unwrap_or(0);
    spread(image, seed, 0, partitions, factor)
}

fn manual(image: &ClusterImage, request: &NewTopic) -> Result<Vec<Vec<NodeId>>, Refusal> {
    if request.replication_factor != -1 {
        return Err(Refusal::new(
            KafkaError::InvalidRequest,
            "A manual partition assignment was specified, but replication factor was not set to -1.",
        ));
    }
    if request.partitions != -1 {
        return Err(Refusal::new(
            KafkaError::InvalidRequest,
            "A manual partition assignment was specified, but number of partitions was not set to -1.",
        ));
    }
    too_many(i32::try_from(request.assignments.len()).unwrap_or(i32::MAX))?;
    let by_index: BTreeMap<PartitionIndex, &Vec<NodeId>> = request.assignments.iter().map(|(n, l)| (*n, l)).collect();
    let consecutive = by_index.keys().zip(0..).all(|(index, n)| index.get() == n);
    if by_index.len() != request.assignments.len() || !consecutive {
        return Err(Refusal::new(
            KafkaError::InvalidReplicaAssignment,
            "Partitions of a manual assignment must be numbered from 0 on, each once.",
        ));
    }
    let lists: Vec<Vec<NodeId>> = by_index.into_values().cloned().collect();
    check_manual(image, &lists, 0, None)?;
    Ok(lists)
}

/// The limit on partitions per topic.
pub(super) fn too_many(partitions: i32) -> Result<(), Refusal> {
    if partitions <= MAX_PARTITIONS_PER_TOPIC {
        return Ok(());
    }
    Err(Refusal::new(
        KafkaError::InvalidPartitions,
        format!("A topic has at most {MAX_PARTITIONS_PER_TOPIC} partitions, {partitions} were asked for."),
    ))
}

fn check_configs(settings: Settings<'_>, configs: &[(String, Option<String>)]) -> Result<TopicOverrides, Refusal> {
    let mut given = BTreeMap::new();
    for (name, value) in configs {
        let Some(value) = value else {
            return Err(Refusal::new(
                KafkaError::InvalidConfig,
                format!("Null value not supported for topic configs: {name}"),
            ));
        };
        // Of a name that is given twice the last value counts, as in Kafka.
        given.insert(name.clone(), value.clone());
    }
    let overrides = TopicOverrides::new(given)?;
    overrides.check(settings.defaults)?;
    Ok(overrides)
}

fn collision(name: &TopicName, other: &str) -> Refusal {
    Refusal::new(
        KafkaError::InvalidTopicException,
        format!("Topic '{name}' collides with {other}: '.' and '_' count as the same in metric names."),
    )
}

/// An existing name that is the same once `.` and `_` are. Only names with the same letters before the first of them can be.
fn colliding(image: &ClusterImage, name: &TopicName) -> Option<TopicName> {
    let text = name.as_str();
    let prefix = text.split(['.', '_']).next().filter(|prefix| prefix.len() < text.len())?;
    let form = name.collision_form();
    image
        .names_from(Bound::Included(prefix))
        .map(|(other, _)| other)
        .take_while(|other| other.as_str().starts_with(prefix))
        .find(|other| *other != name && other.collision_form() == form)
        .cloned()
}
