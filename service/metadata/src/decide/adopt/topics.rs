//! Which topics of another broker's metadata are in its directory, and with which settings. Decides what becomes of partitions that are
//! elsewhere, of folders without a topic, and of settings that nobody knows here.
//!
//! What the metadata does not have is the file that broker was started with (`server.properties`): where only that said how long records
//! live, they live on until somebody says it here.

use std::collections::BTreeMap;

use tidelog_model::{KafkaError, LeaderEpoch, NodeId, PartitionIndex, TopicId, TopicName};

use super::{FoundTopic, Told, is_adoptable};
use crate::broker_config::{BrokerConfig, BrokerOverrides};
use crate::decide::Refusal;
use crate::decide::create::auto_topic;
use crate::kraft::{KraftImage, KraftPartition, KraftTopic, resource};
use crate::topic_config::{REMOTE, TopicDefaults, TopicOverrides};

/// Whose directory it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place {
    /// The broker.
    pub node: NodeId,
    /// The directory's id; zero if it has none.
    pub directory: TopicId,
}

/// The topics of `kraft` that are here. `found` is what the folders say: what in it has no topic was deleted.
pub fn inherited_topics(
    kraft: &KraftImage,
    found: Vec<FoundTopic>,
    place: Place,
    config: &BrokerConfig,
    told: &mut Told,
) -> Result<Vec<FoundTopic>, Refusal> {
    let standing = Standing::of(kraft, place.node, config);
    let mut found: BTreeMap<(TopicName, TopicId), FoundTopic> =
        found.into_iter().map(|topic| ((topic.name.clone(), topic.id), topic)).collect();
    let mut topics = Vec::new();
    for (id, topic) in &kraft.topics {
        let Some(name) = TopicName::new(&topic.name).ok().filter(|_| !topic.partitions.is_empty()) else {
            told.tell("topics whose names are not possible here, or without partitions", &topic.name);
            continue;
        };
        let folders = found.remove(&(name.clone(), *id));
        if !is_adoptable(&name) {
            told.tell("the state of share groups, which are not known here", name);
            continue;
        }
        if !is_here(&name, topic, folders.as_ref(), place)? {
            told.tell("topics that are wholly on other brokers or in other directories", name);
            continue;
        }
        let (compacted, epochs) = folders.map_or_else(Default::default, |topic| (topic.compacted, topic.partitions));
        let partitions = topic.partitions.iter().map(|(index, partition)| {
            let index = PartitionIndex(*index);
            let epoch = epochs.get(&index).copied().unwrap_or(LeaderEpoch::NONE);
            (index, epoch.max(LeaderEpoch(partition.leader_epoch)))
        });
        let partitions = partitions.collect();
        let texts = kraft.configs_of(resource::TOPIC, &topic.name);
        let settings = Some(standing.settings(&name, texts, compacted, config, told)?);
        topics.push(FoundTopic { id: *id, name, partitions, compacted, settings });
    }
    for (name, _) in found.into_keys() {
        told.tell("folders of topics that were deleted; they stay where they are", name);
    }
    Ok(topics)
}

/// Is the topic here with all its partitions (true), or with none (false)? With a part of it nobody could tell what is missing.
fn is_here(name: &TopicName, topic: &KraftTopic, folders: Option<&FoundTopic>, place: Place) -> Result<bool, Refusal> {
    let has_folder = |index: i32| folders.is_some_and(|topic| topic.partitions.contains_key(&PartitionIndex(index)));
    let elsewhere = |(index, partition): &(&i32, &KraftPartition)| !has_folder(**index) && !place.has(partition);
    let missing: Vec<i32> = topic.partitions.iter().filter(elsewhere).map(|(index, _)| *index).collect();
    match missing.first() {
        None => Ok(true),
        Some(_) if missing.len() == topic.partitions.len() => Ok(false),
        Some(first) => Err(Refusal::new(
            KafkaError::InvalidPartitions,
            format!(
                "Partition {first} of topic '{name}' is on another broker or in another directory, and others are here: only a directory with \
                 all partitions of its topics can be adopted. Move the partitions here with Kafka's own tools first, or delete the topic there."
            ),
        )),
    }
}

impl Place {
    /// Does this partition belong here? Its folder may still be missing: a broker makes it when it first leads it.
    fn has(self, partition: &KraftPartition) -> bool {
        let Some(at) = partition.replicas.iter().position(|node| *node == self.node.get()) else { return false };
        match partition.directories.get(at) {
            // The first hundred ids stand for "not assigned yet" and the like.
            Some(directory) => {
                *directory == self.directory
                    || self.directory == TopicId::ZERO
                    || u128::from_be_bytes(directory.bytes()) < 100
            }
            None => true,
        }
    }
}

/// What is known of the settings that topics get where they set nothing.
struct Standing {
    retention: bool,
    policy: bool,
    defaults: TopicDefaults,
}

/// Does the metadata, or what this broker was started with, say that this topic is compacted?
pub fn is_compacted(kraft: &KraftImage, topic: &TopicName, node: NodeId, config: &BrokerConfig) -> bool {
    let own = kraft.configs_of(resource::TOPIC, topic.as_str());
    let for_all = kraft.configs_of(resource::BROKER, "");
    let for_this = kraft.configs_of(resource::BROKER, &node.to_string());
    let given = config.explicit().find(|(name, _)| *name == POLICY_OF_ALL).map(|(_, value)| value.to_owned());
    let policy = own.get("cleanup.policy").or(for_this.get(POLICY_OF_ALL)).or(for_all.get(POLICY_OF_ALL)).cloned();
    policy.or(given).is_some_and(|policy| policy.contains("compact"))
}

impl Standing {
    fn of(kraft: &KraftImage, node: NodeId, config: &BrokerConfig) -> Standing {
        let (for_all, for_this) =
            (kraft.configs_of(resource::BROKER, ""), kraft.configs_of(resource::BROKER, &node.to_string()));
        let says = |name: &str| {
            for_all.contains_key(name)
                || for_this.contains_key(name)
                || config.explicit().any(|(given, _)| given == name)
        };
        // As they will be stored here: what is not possible among them is told with them.
        let stored = |texts: &BTreeMap<String, String>| BrokerOverrides::stored(texts.clone());
        Standing {
            retention: ["log.retention.ms", "log.retention.minutes", "log.retention.hours"].into_iter().any(says),
            policy: says(POLICY_OF_ALL),
            defaults: config.topic_defaults(&stored(&for_all), &stored(&for_this)).unwrap_or_default(),
        }
    }

    /// A topic's settings here.
    fn settings(
        &self,
        topic: &TopicName,
        texts: BTreeMap<String, String>,
        compacted: bool,
        config: &BrokerConfig,
        told: &mut Told,
    ) -> Result<TopicOverrides, Refusal> {
        let mut own = BTreeMap::new();
        if topic.is_internal() {
            own.extend(auto_topic(topic, config).configs.into_iter().filter_map(|(name, value)| Some((name, value?))));
        }
        for (name, value) in texts {
            match TopicOverrides::new([(name.clone(), value.clone())]) {
                Ok(_) => drop(own.insert(name, value)),
                Err(_) => told.tell("settings of topics that are not possible here", format!("{name} of {topic}")),
            }
        }
        if own.get(REMOTE).is_some_and(|value| value.eq_ignore_ascii_case("true")) {
            told.tell("topics that were tiered; what is only in Kafka's remote store is not here", topic);
        }
        // As it was: nothing of it goes to an object store before somebody asks for it.
        own.insert(REMOTE.to_owned(), "false".to_owned());
        if !topic.is_internal() {
            self.lifetime(topic, &mut own, compacted, told);
        }
        self.fitting(topic, own, told)
    }

    /// Settings that fit together, with the defaults too. Of two lags that contradict each other the one holds that keeps records longer.
    fn fitting(
        &self,
        topic: &TopicName,
        mut own: BTreeMap<String, String>,
        told: &mut Told,
    ) -> Result<TopicOverrides, Refusal> {
        let settings = TopicOverrides::new(own.clone())?;
        if settings.check(&self.defaults).is_ok() {
            return Ok(settings);
        }
        let before = own.insert(MAX_LAG.to_owned(), i64::MAX.to_string());
        let before = before.map_or_else(|| "the brokers'".to_owned(), |_| "its own".to_owned());
        told.tell(
            "topics whose max.compaction.lag.ms contradicts their min.compaction.lag.ms and does not hold",
            format!("{topic} ({before})"),
        );
        let settings = TopicOverrides::new(own)?;
        settings.check(&self.defaults)?;
        Ok(settings)
    }

    /// How long records live: as the metadata says, or for ever where it says nothing.
    fn lifetime(&self, topic: &TopicName, own: &mut BTreeMap<String, String>, compacted: bool, told: &mut Told) {
        let policy = own.get("cleanup.policy").cloned();
        if policy.is_none() && !self.policy && compacted {
            own.insert("cleanup.policy".to_owned(), "compact".to_owned());
            own.insert("min.compaction.lag.ms".to_owned(), i64::MAX.to_string());
            told.tell(
                "topics that were compacted by server.properties and are not compacted further until their min.compaction.lag.ms is deleted",
                topic,
            );
        } else if policy.is_none_or(|policy| policy.contains("delete")) {
            if own.contains_key("retention.ms") || self.retention {
                told.tell("topics whose retention goes on, from the first log.retention.check.interval.ms on", topic);
            } else {
                own.insert("retention.ms".to_owned(), "-1".to_owned());
                told.tell(
                    "topics whose retention was in server.properties and that keep everything until their retention.ms is deleted",
                    topic,
                );
            }
        }
    }
}

const MAX_LAG: &str = "max.compaction.lag.ms";
const POLICY_OF_ALL: &str = "log.cleanup.policy";
