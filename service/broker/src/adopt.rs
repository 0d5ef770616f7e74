//! The first start on a data directory that another Kafka wrote: its topics become this cluster's. Which they are and what they become is
//! decided elsewhere.

use std::collections::BTreeMap;

use tidelog_log::LogError;
use tidelog_log::datadir::{OffsetCheckpoint, RECOVERY_POINTS};
use tidelog_log::foreign::{FoundPartition, found_partitions};
use tidelog_metadata::decide::{FoundTopic, Plan, adopt_topic, is_adoptable, skip_adopted_producer_ids};
use tidelog_model::{KafkaError, LeaderEpoch, TopicId, TopicPartition};
use tracing::{error, info, warn};

use crate::BrokerError;
use crate::broker::Broker;

impl Broker {
    /// Takes over the topics that have folders here. Only while the metadata is new: later a folder without a topic is what a deletion
    /// has left. To be called before this broker registers, which ends that time; a crash in between begins again.
    pub(crate) async fn adopt(&self) -> Result<(), BrokerError> {
        let cluster = self.cluster_image();
        if cluster.image().cluster_id().is_some() {
            return Ok(());
        }
        let broker = self.clone();
        let look = move || {
            let found = found_partitions(broker.disk(), broker.data_dir())?;
            Ok((found, OffsetCheckpoint::read(broker.disk(), broker.data_dir(), RECOVERY_POINTS)?.offsets))
        };
        let looked: Result<_, LogError> =
            tokio::task::spawn_blocking(look).await.map_err(|_| unreadable(&"the search ended"))?;
        let (found, named) = looked.map_err(|error| unreadable(&error))?;
        let named: Vec<TopicPartition> = named.into_keys().collect();
        let topics = by_topic(found, &named);
        if topics.is_empty() {
            return Ok(());
        }
        let skip = |image: &_| Ok(((), skip_adopted_producer_ids(image).map_or_else(Plan::default, Plan::of)));
        cluster.carry_out(skip).await?;
        for topic in topics {
            let adopt = |image: &_| Ok(((), adopt_topic(image, self.node(), self.config(), &topic)?));
            // A topic that cannot be taken over ends the start: what comes after registration could not be made good.
            if let Err(failure) = cluster.carry_out(adopt).await {
                error!(topic = %topic.name, id = %topic.id, %failure, "cannot adopt a topic");
                return Err(failure);
            }
            info!(topic = %topic.name, id = %topic.id, compacted = topic.compacted, "adopted");
        }
        warn!(
            "the settings of adopted topics are not in their folders: they keep everything until you set their retention, and compacted ones \
             (offsets are missing) are not compacted further until you delete their min.compaction.lag.ms"
        );
        Ok(())
    }
}

fn unreadable(error: &dyn std::fmt::Display) -> BrokerError {
    error!(%error, "cannot read the folders of partitions");
    BrokerError::new(KafkaError::KafkaStorageError, "cannot read the folders of partitions")
}

/// What belongs together by name and id. A partition that has a checkpoint and no folder has nothing in it.
fn by_topic(found: Vec<FoundPartition>, named: &[TopicPartition]) -> Vec<FoundTopic> {
    let mut topics: BTreeMap<(String, TopicId), FoundTopic> = BTreeMap::new();
    for FoundPartition { partition, topic: id, epoch, compacted } in found {
        if !is_adoptable(&partition.topic) {
            continue;
        }
        let topic = topics.entry((partition.topic.to_string(), id)).or_insert_with(|| FoundTopic {
            id,
            name: partition.topic.clone(),
            partitions: BTreeMap::new(),
            compacted: false,
        });
        topic.partitions.insert(partition.partition, epoch);
        topic.compacted |= compacted;
    }
    for topic in topics.values_mut() {
        for partition in named.iter().filter(|partition| partition.topic == topic.name) {
            topic.partitions.entry(partition.partition).or_insert(LeaderEpoch::NONE);
        }
    }
    topics.into_values().collect()
}
