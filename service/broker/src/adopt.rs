//! The first start on a data directory that another Kafka wrote: its topics become this cluster's, and what its metadata says holds here.
//! Which they are and what they become is decided elsewhere.

use std::collections::BTreeMap;
use std::path::Path;

use tidelog_log::datadir::{KAFKA_CLEAN_STOP, OffsetCheckpoint, RECOVERY_POINTS, is_stopped_in_order};
use tidelog_log::foreign::{FoundPartition, found_partitions};
use tidelog_log::kraft::{KRAFT_LOG, KraftLog, read_kraft_log};
use tidelog_log::{Disk, LogError};
use tidelog_metadata::decide::{
    FoundTopic, Inherited, Place, Plan, Told, adopt_topic, inherit_rest, inherited_topics, is_adoptable, is_compacted,
    skip_adopted_producer_ids,
};
use tidelog_metadata::kraft::{KraftImage, KraftReplay};
use tidelog_model::limits::MAX_INFLATED_BATCH_BYTES;
use tidelog_model::{KafkaError, LeaderEpoch, Offset, TopicId, TopicPartition};
use tracing::{error, info, warn};

use crate::BrokerError;
use crate::broker::Broker;

/// What the directory holds.
struct Looked {
    found: Vec<FoundPartition>,
    /// Partitions with a recovery point.
    named: Vec<TopicPartition>,
    metadata: Option<(KraftLog, KraftImage)>,
    stopped_in_order: bool,
}

impl Broker {
    /// Takes over what is here. Only while the metadata is new: later a folder without a topic is what a deletion has left. To be called
    /// before this broker registers, which ends that time; a crash in between begins again.
    pub(crate) async fn adopt(&self) -> Result<(), BrokerError> {
        if self.image().cluster_id().is_some() {
            return Ok(());
        }
        if self.has_been_here() {
            return Err(self.metadata_is_missing());
        }
        let broker = self.clone();
        let looked: Result<Looked, LogError> =
            tokio::task::spawn_blocking(move || broker.look()).await.map_err(|_| unreadable(&"the search ended"))?;
        let Looked { found, named, metadata, stopped_in_order } = looked.map_err(|error| unreadable(&error))?;
        if !found.is_empty() && !stopped_in_order {
            warn!(
                logs = found.len(),
                "the other broker did not stop in order ({KAFKA_CLEAN_STOP} is missing): each log is verified whole before it serves"
            );
        }
        self.tell_lost(&found, metadata.as_ref().map(|(_, kraft)| kraft));
        match metadata {
            Some((log, kraft)) => self.adopt_cluster(&log, &kraft, self.by_topic(found)).await,
            None => self.adopt_folders(with_named(self.by_topic(found), &named)).await,
        }
    }

    /// Reads the directory. Blocks.
    fn look(&self) -> Result<Looked, LogError> {
        let (disk, data_dir) = (self.disk(), self.data_dir());
        let found = found_partitions(disk, data_dir)?;
        let gaps = found.iter().filter_map(|found| Some((found.partition.clone(), found.gaps.below?))).collect();
        // Before a partition is opened: whatever its settings say, these gaps are no damage.
        self.checkpoints().accept_gaps(OffsetCheckpoint { offsets: gaps })?;
        let named = OffsetCheckpoint::read(disk, data_dir, RECOVERY_POINTS)?.offsets.into_keys().collect();
        let stopped_in_order = is_stopped_in_order(disk, data_dir)?;
        if !stopped_in_order {
            // On the disk: what that broker has left to say so is taken away before all are verified.
            self.checkpoints().suspect(found.iter().map(|found| found.partition.clone()))?;
        }
        Ok(Looked { found, named, metadata: read_metadata(disk, data_dir)?, stopped_in_order })
    }

    /// Has compaction been at work in this log? It has left gaps within segments, or the other broker's cleaner has noted it.
    fn was_compacted(&self, found: &FoundPartition) -> bool {
        found.gaps.thinned || self.checkpoints().cleaned(&found.partition) > Offset::ZERO
    }

    /// Between segments offsets may be missing where a log is or was compacted. Anywhere else segments are lost: what is left is served all
    /// the same, and somebody must know.
    fn tell_lost(&self, found: &[FoundPartition], kraft: Option<&KraftImage>) {
        for one in found {
            let topic = &one.partition.topic;
            let compacted = topic.is_internal()
                || self.was_compacted(one)
                || kraft.is_some_and(|kraft| is_compacted(kraft, topic, self.node(), self.config()));
            if one.gaps.between_segments.is_empty() || compacted || !is_adoptable(topic) {
                continue;
            }
            let ranges: Vec<String> =
                one.gaps.between_segments.iter().map(|(from, to)| format!("{from} to {}", to.plus(-1))).collect();
            warn!(
                %topic, partition = %one.partition.partition, offsets = ranges.join(", "),
                "segments are missing, and the topic was never compacted: the records at these offsets are lost; restore the files and begin \
                 anew, or go on without them"
            );
        }
    }

    /// What belongs together by name and id.
    fn by_topic(&self, found: Vec<FoundPartition>) -> Vec<FoundTopic> {
        let mut topics: BTreeMap<(String, TopicId), FoundTopic> = BTreeMap::new();
        for one in found {
            let FoundPartition { partition, topic: id, epoch, .. } = &one;
            if !is_adoptable(&partition.topic) {
                continue;
            }
            let topic = topics.entry((partition.topic.to_string(), *id)).or_insert_with(|| FoundTopic {
                id: *id,
                name: partition.topic.clone(),
                partitions: BTreeMap::new(),
                compacted: false,
                settings: None,
            });
            topic.partitions.insert(partition.partition, *epoch);
            topic.compacted |= self.was_compacted(&one);
        }
        topics.into_values().collect()
    }

    /// The folders alone would make topics without their users, settings and the part of their logs that is in the object store.
    fn metadata_is_missing(&self) -> BrokerError {
        let data_dir = self.data_dir().display();
        error!(
            "the metadata of {data_dir} is missing, though a start of Tidelog has registered there (tidelog.format in its meta.properties): \
             topics, users, access rules and what is in the object store are known from it only. Restore {data_dir}/metadata from a backup. \
             To give all of that up and to begin with the folders of partitions alone, as with another broker's directory, move {KRAFT_LOG} \
             away if it is there (it is as old as the move from Kafka), and remove the line tidelog.format from {data_dir}/meta.properties"
        );
        BrokerError::new(KafkaError::KafkaStorageError, "the metadata of the data directory is missing")
    }

    /// Everything that the metadata names.
    async fn adopt_cluster(
        &self,
        log: &KraftLog,
        kraft: &KraftImage,
        folders: Vec<FoundTopic>,
    ) -> Result<(), BrokerError> {
        let mut told = Told::default();
        let place = Place { node: self.node(), directory: self.directory_id() };
        let refused = |refusal: BrokerError| {
            error!(%refusal, "cannot take over the metadata");
            refusal
        };
        let topics = inherited_topics(kraft, folders, place, self.config(), &mut told)
            .map_err(|refusal| refused(refusal.into()))?;
        let now = self.clock().now().wall;
        let rest = |image: &_| {
            let mut told = Told::default();
            let (inherited, plan) = inherit_rest(image, kraft, place.node, self.config(), now, &mut told)?;
            Ok(((inherited, told), plan))
        };
        let (inherited, also) = self.cluster_image().carry_out(rest).await.map_err(refused)?;
        for topic in &topics {
            self.adopt_topic(topic).await?;
        }
        self.tell(log, kraft, topics.len(), &inherited, &told.with(also));
        Ok(())
    }

    /// Topics of which only the folders are here.
    async fn adopt_folders(&self, topics: Vec<FoundTopic>) -> Result<(), BrokerError> {
        if topics.is_empty() {
            return Ok(());
        }
        let skip = |image: &_| Ok(((), skip_adopted_producer_ids(image).map_or_else(Plan::default, Plan::of)));
        self.cluster_image().carry_out(skip).await?;
        for topic in &topics {
            self.adopt_topic(topic).await?;
        }
        warn!(
            "there is no {KRAFT_LOG} beside these topics, so that their settings, users and access rules are not known: they keep everything \
             until you set their retention, and compacted ones (offsets are missing) are not compacted further until you delete their \
             min.compaction.lag.ms"
        );
        Ok(())
    }

    async fn adopt_topic(&self, topic: &FoundTopic) -> Result<(), BrokerError> {
        let adopt = |image: &_| Ok(((), adopt_topic(image, self.node(), self.config(), topic)?));
        // A topic that cannot be taken over ends the start: what comes after registration could not be made good.
        if let Err(failure) = self.cluster_image().carry_out(adopt).await {
            error!(topic = %topic.name, id = %topic.id, %failure, "cannot adopt a topic");
            return Err(failure);
        }
        info!(topic = %topic.name, id = %topic.id, offsets_missing = topic.compacted, "adopted");
        Ok(())
    }

    /// One summary: what was taken over, and what was not.
    fn tell(&self, log: &KraftLog, kraft: &KraftImage, topics: usize, inherited: &Inherited, told: &Told) {
        let Inherited { broker_settings, groups, client_metrics, quotas, acls, credentials, tokens } = *inherited;
        let metadata_version = kraft.features.get("metadata.version").copied().unwrap_or_default();
        info!(
            topics, broker_settings, group_settings = groups, client_metrics, quotas, acls, credentials, tokens, metadata_version,
            end = %log.end,
            "took over the metadata of Apache Kafka"
        );
        let mut lines: Vec<String> = told.lines().collect();
        if log.torn_bytes > 0 {
            lines.push(format!("the last {} bytes of the metadata's log: no whole batch", log.torn_bytes));
        }
        if acls > 0 && !self.has_acls() {
            lines
                .push("access rules bind only with --authorizer acl; super users were in server.properties".to_owned());
        }
        lines.push("what server.properties said: give what you need of it in the table [broker]".to_owned());
        warn!("not taken over, or to be known:\n  {}", lines.join("\n  "));
    }
}

/// The other broker's metadata, if its log is here.
fn read_metadata(disk: &dyn Disk, data_dir: &Path) -> Result<Option<(KraftLog, KraftImage)>, LogError> {
    let mut replay = KraftReplay::default();
    let log = read_kraft_log(disk, data_dir, &mut |batch| {
        let header = batch.header();
        if header.attributes.is_control() {
            return Ok(());
        }
        let refuse = |reason: &dyn std::fmt::Display| LogError::Format {
            path: data_dir.join(KRAFT_LOG),
            reason: format!("the batch at offset {}: {reason}", header.base_offset),
        };
        for record in batch.records(MAX_INFLATED_BATCH_BYTES).map_err(|error| refuse(&error))? {
            let record = record.map_err(|error| refuse(&error))?;
            let value = record.value.ok_or_else(|| refuse(&"a record without a value"))?;
            replay.apply(&value).map_err(|error| refuse(&error))?;
        }
        Ok(())
    })?;
    Ok(log.map(|log| (log, replay.finish())))
}

fn unreadable(error: &dyn std::fmt::Display) -> BrokerError {
    error!(%error, "cannot read what another broker left in the data directory");
    BrokerError::new(KafkaError::KafkaStorageError, "cannot read what another broker left in the data directory")
}

/// The same with partitions that have a checkpoint and no folder: there is nothing in them.
fn with_named(mut topics: Vec<FoundTopic>, named: &[TopicPartition]) -> Vec<FoundTopic> {
    for topic in &mut topics {
        for partition in named.iter().filter(|partition| partition.topic == topic.name) {
            topic.partitions.entry(partition.partition).or_insert(LeaderEpoch::NONE);
        }
    }
    topics
}

#[cfg(test)]
mod tests {
    use tidelog_log::OsDisk;
    use tidelog_metadata::kraft::resource;

    use super::*;

    /// What Apache Kafka 4.3 wrote: the snapshot has most, the log after it the rest and what was deleted.
    #[test]
    fn the_metadata_of_kafka_is_read() {
        let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/kafka-4.3.0/kraft");
        let (log, kraft) = read_metadata(&OsDisk, &data).unwrap().unwrap();
        assert_eq!((log.snapshot, log.torn_bytes), (Some(Offset(67)), 0));
        let mut topics: Vec<(&str, usize)> =
            kraft.topics.values().map(|topic| (topic.name.as_str(), topic.partitions.len())).collect();
        topics.sort_unstable();
        let expected =
            [("__consumer_offsets", 5), ("__transaction_state", 5), ("once", 1), ("orders", 3), ("plain", 4)];
        assert_eq!(topics[..5], expected);
        assert_eq!(topics[5..], [("table", 1)], "what was deleted is not there");
        let placed = |partition: &tidelog_metadata::kraft::KraftPartition| {
            partition.replicas == [1] && partition.directories.len() == 1
        };
        assert!(kraft.topics.values().all(|topic| topic.partitions.values().all(placed)));
        let configs =
            |kind: i8, name: &str| -> Vec<(String, String)> { kraft.configs_of(kind, name).into_iter().collect() };
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let orders = [pair("max.message.bytes", "2000000"), pair("retention.ms", "86400000")];
        assert_eq!(configs(resource::TOPIC, "orders"), orders);
        assert_eq!(kraft.configs_of(resource::TOPIC, "once")["cleanup.policy"], "delete");
        assert!(configs(resource::TOPIC, "gone").is_empty());
        assert_eq!(configs(resource::BROKER, "1"), [pair("log.segment.bytes", "2000000")]);
        assert_eq!(kraft.configs_of(resource::BROKER, "")["message.max.bytes"], "1500000");
        assert_eq!(kraft.configs_of(resource::GROUP, "readers-consumer")["consumer.session.timeout.ms"], "50000");
        assert_eq!(configs(resource::CLIENT_METRICS, "every-client"), [pair("interval.ms", "60000")]);
        let users: Vec<(&str, i8)> = kraft.scram.keys().map(|(user, mechanism)| (user.as_str(), *mechanism)).collect();
        assert_eq!(users, [("admin", 1), ("alice", 2), ("bob", 1)]);
        assert_eq!((kraft.quotas.len(), kraft.acls.len(), kraft.tokens.len()), (3, 4, 1));
        assert_eq!(kraft.tokens.values().next().unwrap().owner, "User:alice");
        assert_eq!((kraft.features["metadata.version"], kraft.next_producer_id), (30, Some(1000)));
        assert_eq!((kraft.controllers.iter().collect::<Vec<_>>(), kraft.unknown.len()), (vec![&1], 0));
    }
}
