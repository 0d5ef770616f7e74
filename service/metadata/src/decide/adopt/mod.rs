//! Another Kafka's data directory: its topics, and what its metadata says beside them. Decides what they become here.
//!
//! Without that metadata nobody knows the topics' settings. So that nothing is lost by guessing, they keep everything and stay local until
//! somebody sets them.
//! A directory that does not have all of a topic is refused: groups and transactional ids are spread over the count of partitions, and
//! with another count they would be looked for where they are not.

mod rest;
mod told;
mod topics;

use std::collections::BTreeMap;

use tidelog_model::{KafkaError, LeaderEpoch, NodeId, PartitionIndex, ProducerId, TopicId, TopicName};

pub use rest::{Inherited, inherit_rest};
pub use told::Told;
pub use topics::{Place, inherited_topics, is_compacted};

use super::Refusal;
use super::create::{CLUSTER_METADATA, auto_topic, creation, too_many};
use super::placement::first_state;
use super::plan::{Plan, put_partition};
use crate::broker_config::BrokerConfig;
use crate::image::ClusterImage;
use crate::keys::{Key, ProducerIdsValue, TopicValue};
use crate::limits::FIRST_PRODUCER_ID_AFTER_ADOPTION;
use crate::port::{Compare, Transaction, Write};
use crate::topic_config::TopicOverrides;

/// A topic as the folders of its partitions say it, or the metadata does.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FoundTopic {
    /// Its id.
    pub id: TopicId,
    /// Its name.
    pub name: TopicName,
    /// The partitions that have a folder or a checkpoint, with their newest leader epochs.
    pub partitions: BTreeMap<PartitionIndex, LeaderEpoch>,
    /// Compaction has been at work.
    pub compacted: bool,
    /// Its settings; `None` if nobody knows them.
    pub settings: Option<TopicOverrides>,
}

/// Is this a topic that clients or coordinators have here? The log of Kafka's own metadata is none (it holds credentials), nor is the state
/// of share groups.
pub fn is_adoptable(name: &TopicName) -> bool {
    name.as_str() != CLUSTER_METADATA && name.as_str() != "__share_group_state"
}

/// The topic with its id and all partitions up to the last one found, led by this node, whose start will raise their epochs.
/// Nothing if the topic is there already.
pub fn adopt_topic(
    image: &ClusterImage,
    node: NodeId,
    config: &BrokerConfig,
    found: &FoundTopic,
) -> Result<Plan, Refusal> {
    if image.topic_by_id(found.id).is_some() {
        return Ok(Plan::default());
    }
    if image.name(found.name.as_str()).is_some() {
        return Err(Refusal::new(KafkaError::TopicAlreadyExists, format!("Topic '{}' already exists.", found.name)));
    }
    if let Some((missing, _)) = (0..).zip(found.partitions.keys()).find(|(n, index)| index.get() != *n) {
        let message = format!(
            "The data directory has no partition {missing} of topic '{}', but later ones: only a directory with all partitions of its topics \
             can be adopted. Take that of a node that was alone, or move the folders of this topic elsewhere.",
            found.name
        );
        return Err(Refusal::new(KafkaError::InvalidPartitions, message));
    }
    let partitions = i32::try_from(found.partitions.len()).unwrap_or(i32::MAX);
    too_many(partitions)?;
    let configs = match &found.settings {
        Some(settings) => settings.clone(),
        None => {
            let internal = found.name.is_internal();
            let kept = if internal { auto_topic(&found.name, config).configs } else { kept(found.compacted) };
            TopicOverrides::new(kept.into_iter().filter_map(|(name, value)| Some((name, value?))))?
        }
    };
    let topic = TopicValue { name: found.name.clone(), partitions, configs };
    let state = |index: PartitionIndex| {
        let mut state = first_state(image, &[node]);
        state.leader_epoch = found.partitions.get(&index).copied().unwrap_or(LeaderEpoch(0)).max(LeaderEpoch(0));
        put_partition(found.id, index, &state)
    };
    let states = (0..partitions).map(PartitionIndex).map(state).collect();
    Ok(creation(&found.name, found.id, states, &topic))
}

/// Settings under which no record goes. A topic with gaps was compacted: it stays so, but its records are never old enough.
fn kept(compacted: bool) -> Vec<(String, Option<String>)> {
    let mut settings = vec![("remote.storage.enable", "false"), ("retention.bytes", "-1"), ("retention.ms", "-1")];
    if compacted {
        settings.extend([("cleanup.policy", "compact"), ("min.compaction.lag.ms", "9223372036854775807")]);
    } else {
        settings.push(("cleanup.policy", "delete"));
    }
    settings.iter().map(|(name, value)| ((*name).to_string(), Some((*value).to_string()))).collect()
}

/// Ids that the producers of adopted logs have are not given to others: the first block begins beyond them. `None` if one is given already.
pub fn skip_adopted_producer_ids(image: &ClusterImage) -> Option<Transaction> {
    if image.producer_ids().is_some() {
        return None;
    }
    let value = ProducerIdsValue { next: ProducerId(FIRST_PRODUCER_ID_AFTER_ADOPTION) }.encode();
    Some(Transaction {
        compares: vec![Compare::absent(Key::ProducerIds)],
        writes: vec![Write::put(Key::ProducerIds, value)],
    })
}
