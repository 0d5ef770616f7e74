//! The port through which other parts of the process hear what happens to partitions, and may hold retention back.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tidelog_log::BoxFuture;
use tidelog_metadata::{KeyFormat, TopicConfig};
use tidelog_model::{
    Caller, KafkaError, LeaderEpoch, Now, Offset, PartitionIndex, ResourceType, TopicId, TopicIdPartition, TopicName,
};
use tidelog_security::{Operation, Resource, Way};

use crate::BrokerError;
use crate::broker::Broker;

/// Hears of changes. Every call must return at once; it may come from a log thread.
pub trait Observer: Send + Sync {
    /// The committed end or the log start of a partition moved.
    fn moved(&self, partition: &TopicIdPartition);

    /// A topic was created, deleted, reconfigured, or began to be led here.
    fn topics_changed(&self);

    /// Retention wants to delete records below `wanted`: the offset below which it may. `grace` is the topic's
    /// `tidelog.table.retention.grace.ms`.
    fn allow_deletion(
        &self,
        now: Now,
        partition: &TopicIdPartition,
        wanted: Offset,
        log_start: Offset,
        grace: Duration,
    ) -> Offset;

    /// Below this the topic's table holds every record, so compaction may take some; `None` if the topic is no table.
    fn exported_below(&self, partition: &TopicIdPartition) -> Option<Offset>;

    /// What the column of the key is in the files of a topic's table; `None` if it has none, or nobody knows.
    fn key_in_files(&self, topic: TopicId) -> Option<KeyFormat>;

    /// A client wants the records below `wanted` gone: true once the topic's table, if it has one, holds them all. A table that lacks
    /// some is asked to take them now; false if it cannot.
    fn export_below(&self, partition: &TopicIdPartition, wanted: Offset) -> BoxFuture<'static, bool>;
}

/// A topic as the service's own parts see it.
#[derive(Clone, Debug)]
pub struct TopicView {
    /// Its name.
    pub name: TopicName,
    /// Its id.
    pub id: TopicId,
    /// How many partitions it has.
    pub partitions: i32,
    /// Its settings as they hold.
    pub config: Arc<TopicConfig>,
    /// The leader epoch of partition 0, if this broker leads it.
    pub epoch: Option<LeaderEpoch>,
}

impl Broker {
    /// Every topic, for the service's own parts; asks no authorizer.
    pub fn topic_views(&self) -> Vec<TopicView> {
        let image = self.image();
        let defaults = self.topic_defaults(&image);
        image
            .topics()
            .map(|topic| TopicView {
                name: topic.name.clone(),
                id: topic.id,
                partitions: topic.partition_count,
                config: self.topic_config(&image, topic.id, &defaults),
                epoch: topic
                    .partition(PartitionIndex(0))
                    .filter(|partition| partition.state.leader == Some(self.node()))
                    .map(|partition| partition.state.leader_epoch),
            })
            .collect()
    }

    /// The readable and committed range `[log start, last stable offset)` of a partition led here; from memory.
    pub fn committed_range(&self, partition: &TopicIdPartition) -> Result<(Offset, Offset), BrokerError> {
        let replica = self.replicas().leading(partition.id, partition.partition)?;
        if replica.view.offline().is_some() {
            return Err(KafkaError::KafkaStorageError.into());
        }
        let offsets = replica.offsets();
        Ok((offsets.log_start, offsets.last_stable))
    }
}

/// A tiered topic with the settings that it has of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TieredTopic {
    /// Its name.
    pub name: TopicName,
    /// Its id.
    pub id: TopicId,
    /// How many partitions it has.
    pub partitions: i32,
    /// Its own settings, without defaults.
    pub own_configs: BTreeMap<String, String>,
}

impl Broker {
    /// Every topic whose older part goes to the cold tier, for the tier's descriptions; asks no authorizer.
    pub fn tiered_topics(&self) -> Vec<TieredTopic> {
        let image = self.image();
        let defaults = self.topic_defaults(&image);
        image
            .topics()
            .filter(|topic| self.topic_config(&image, topic.id, &defaults).remote_storage_enable)
            .map(|topic| TieredTopic {
                name: topic.name.clone(),
                id: topic.id,
                partitions: topic.partition_count,
                own_configs: topic.configs.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
            })
            .collect()
    }

    /// May the caller read the records of a topic of this name, whether there is one or not?
    pub fn may_read(&self, caller: &Caller, topic: &str) -> bool {
        self.may(caller, Operation::Read, Resource::Topic(topic))
    }

    /// The same for a listing that leaves out what the caller may not read: nobody is refused.
    pub fn shows(&self, caller: &Caller, topic: &str) -> bool {
        self.would_allow(caller, Operation::Read, Resource::Topic(topic))
    }

    /// May the caller run statements of SQL that name no topic? They take the server's time as others do: who may read no topic, nor see the
    /// cluster, may not.
    pub fn may_query(&self, caller: &Caller) -> bool {
        let ways = [Way::Only(Operation::Describe, Resource::Cluster), Way::Any(Operation::Read, ResourceType::Topic)];
        self.may_one_of(caller, &ways)
    }

    /// May the caller see what is told of the cluster as a whole: its metrics, and where the object store stands?
    pub fn may_observe(&self, caller: &Caller) -> Result<(), BrokerError> {
        self.may_cluster(caller, Operation::Describe)
    }
}
