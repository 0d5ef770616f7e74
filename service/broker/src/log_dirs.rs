//! The broker's log directory, of which there is one: what lies in it, and that nothing can move elsewhere (KIP-113, KIP-827).

use std::collections::{BTreeMap, BTreeSet};

use tidelog_model::{Caller, KafkaError, PartitionIndex};
use tidelog_security::{Operation, Resource};

use crate::broker::Broker;
use crate::lookup::nameless;
use crate::{BrokerError, LogDirDescription, ReplicaSize, TopicRef};

impl Broker {
    /// The directory and what lies in it of the partitions asked for; of all for `None`. Partitions that do not lie here are left out.
    pub fn log_dir(
        &self,
        caller: &Caller,
        wanted: Option<&BTreeMap<String, BTreeSet<PartitionIndex>>>,
    ) -> Result<LogDirDescription, BrokerError> {
        if !self.may(caller, Operation::Describe, Resource::Cluster) {
            return Err(KafkaError::ClusterAuthorizationFailed.into());
        }
        let directory = self.data_dir();
        let mut topics: BTreeMap<String, Vec<ReplicaSize>> = BTreeMap::new();
        for replica in self.replicas().all() {
            let (name, index) = (replica.id.topic.as_str(), replica.id.partition);
            let asked = wanted.is_none_or(|wanted| wanted.get(name).is_some_and(|indexes| indexes.contains(&index)));
            if !asked {
                continue;
            }
            let offsets = replica.offsets();
            topics.entry(name.to_owned()).or_default().push(ReplicaSize {
                index,
                bytes: replica.view.size(),
                lag: i64::try_from(offsets.high_watermark.since(offsets.log_end)).unwrap_or(i64::MAX),
            });
        }
        topics.values_mut().for_each(|partitions| partitions.sort_by_key(|partition| partition.index));
        let disk = self.disk();
        Ok(LogDirDescription {
            error: self.disk_failed().then_some(KafkaError::KafkaStorageError),
            path: directory.display().to_string(),
            topics,
            total_bytes: disk.space(directory).map(|space| space.total),
            usable_bytes: disk.space(directory).map(|space| space.free),
        })
    }

    /// Moves a replica to a log directory. There is one directory, where every replica is already; another one is not known.
    pub fn alter_log_dir(
        &self,
        caller: &Caller,
        path: &str,
        topic: &str,
        partition: PartitionIndex,
    ) -> Result<(), BrokerError> {
        if !self.may(caller, Operation::Alter, Resource::Cluster) {
            return Err(KafkaError::ClusterAuthorizationFailed.into());
        }
        let found = self.is_in_log_dir(path, topic, partition);
        self.audit_change(caller, "ALTER_LOG_DIR", &format_args!("{topic}-{partition}: {path}"), &found);
        found
    }

    fn is_in_log_dir(&self, path: &str, topic: &str, partition: PartitionIndex) -> Result<(), BrokerError> {
        if std::path::Path::new(path) != self.data_dir() {
            return Err(KafkaError::LogDirNotFound.into());
        }
        if self.disk_failed() {
            return Err(KafkaError::KafkaStorageError.into());
        }
        let found = self.known_topic(&self.image(), &TopicRef::from(topic)).map_err(nameless)?;
        self.find_replica(&found, partition).map(|_| ())
    }
}
