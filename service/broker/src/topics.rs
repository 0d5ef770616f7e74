//! Topics: create, describe, delete, extend.

use std::collections::BTreeMap;
use std::sync::Arc;

use tidelog_metadata::decide::{self, Plan, Settings};
use tidelog_metadata::{ClusterImage, Topic};
use tidelog_model::{Caller, KafkaError, NodeId, PartitionIndex, TopicId, TopicName};
use tidelog_security::{Operation, Resource, Way};
use uuid::Uuid;

use crate::broker::Broker;
use crate::limits::{ADMIN_PATIENCE, MAX_PARTITIONS_AT_ONCE, PARTITION_BYTES};
use crate::lookup::nameless;
use crate::{
    BrokerError, ClusterDescription, Mutations, NewTopic, PartitionDescription, PartitionStatus, TopicDescription,
    TopicRef,
};

impl Broker {
    /// Creates topics; results in the request's order. Answers once their partitions serve.
    pub async fn create_topics(
        &self,
        caller: &Caller,
        topics: Vec<NewTopic>,
        validate_only: bool,
    ) -> Vec<Result<TopicDescription, BrokerError>> {
        self.create_topics_within(caller, topics, validate_only, &mut Mutations::strict()).await
    }

    /// As [`create_topics`](Self::create_topics), with the request's mutations counted by the caller's version.
    pub async fn create_topics_within(
        &self,
        caller: &Caller,
        topics: Vec<NewTopic>,
        validate_only: bool,
        mutations: &mut Mutations,
    ) -> Vec<Result<TopicDescription, BrokerError>> {
        let default = self.config().num_partitions;
        let partitions = topics.iter().map(|topic| match (topic.assignments.len(), topic.partitions) {
            (0, None) => default,
            (0, Some(asked)) => asked,
            (given, _) => i32::try_from(given).unwrap_or(i32::MAX),
        });
        if let Err(refused) = at_once(partitions) {
            return topics.iter().map(|_| Err(refused.clone())).collect();
        }
        let mut times: BTreeMap<String, usize> = BTreeMap::new();
        for topic in &topics {
            *times.entry(topic.name.clone()).or_default() += 1;
        }
        let mut results = Vec::with_capacity(topics.len());
        for topic in topics {
            let name = topic.name.clone();
            let twice = times.get(&name).is_some_and(|count| *count > 1);
            let created = if twice {
                let message = format!("the request names topic {name} more than once");
                Err(BrokerError::new(KafkaError::InvalidRequest, message))
            } else {
                self.create_topic(caller, topic, validate_only, mutations).await
            };
            if !validate_only {
                self.audit_change(caller, "CREATE_TOPIC", &name, &created);
            }
            results.push(created);
        }
        results
    }

    async fn create_topic(
        &self,
        caller: &Caller,
        topic: NewTopic,
        validate_only: bool,
        mutations: &mut Mutations,
    ) -> Result<TopicDescription, BrokerError> {
        if !self.may_create(caller, &topic.name) {
            return Err(KafkaError::TopicAuthorizationFailed.into());
        }
        let topic = decision(topic);
        if !validate_only {
            // Only what can be created counts.
            let partitions = self.create(topic.clone(), true).await?.partitions.len();
            self.room().take(partitions.saturating_mul(PARTITION_BYTES))?;
            self.mutate(caller, mutations, partitions)?;
        }
        self.create(topic, validate_only).await
    }

    /// Creates a topic without asking anybody: for requests that are authorized, and for the service itself.
    pub(crate) async fn create(
        &self,
        topic: decide::NewTopic,
        validate_only: bool,
    ) -> Result<TopicDescription, BrokerError> {
        let request = [topic];
        // One id for all attempts: a lost answer is found again by it.
        let id = TopicId(Uuid::new_v4());
        let created = self
            .cluster_image()
            .carry_out(|image| {
                let defaults = self.topic_defaults(image);
                let settings = Settings { broker: self.config(), defaults: &defaults };
                let mut decided = decide::create_topics(image, settings, &request, &mut || id);
                let topic = decided.pop().unwrap_or_else(|| {
                    Err(decide::Refusal::new(KafkaError::UnknownServerError, "nothing was decided"))
                })?;
                let plan = if validate_only { Plan::default() } else { topic.plan.clone() };
                Ok((topic, plan))
            })
            .await?;
        if validate_only {
            return Ok(TopicDescription {
                name: created.name,
                id: TopicId::ZERO,
                internal: false,
                partitions: would_be(created.partitions, created.replication_factor, self.node()),
            });
        }
        self.wait_until_led(created.id).await?;
        self.topic_named(&self.image(), created.id)
    }

    /// Waits until this broker serves what it leads of a topic.
    async fn wait_until_led(&self, topic: TopicId) -> Result<(), BrokerError> {
        let mut changes = self.replicas().changes();
        // What is settled stays settled: each look goes on where the last one ended.
        let mut from = PartitionIndex(0);
        let settled = changes.wait_for(|_| {
            let next = self.replicas().first_unsettled(&self.image(), topic, from);
            from = next.unwrap_or(from);
            next.is_none()
        });
        match tokio::time::timeout(ADMIN_PATIENCE, settled).await {
            Ok(_) if self.replicas().has_offline(topic) => Err(BrokerError::new(
                KafkaError::KafkaStorageError,
                "the topic exists, but the disk refused files of its partitions; they open once there is room",
            )),
            Ok(_) => Ok(()),
            Err(_) => Err(BrokerError::new(
                KafkaError::RequestTimedOut,
                "the topic exists, but its partitions do not serve yet",
            )),
        }
    }

    fn topic_named(&self, image: &ClusterImage, id: TopicId) -> Result<TopicDescription, BrokerError> {
        let topic = image.topic_by_id(id).ok_or(KafkaError::UnknownTopicOrPartition)?;
        Ok(self.describe(topic))
    }

    pub(crate) fn describe(&self, topic: &Topic) -> TopicDescription {
        let partition = |(index, partition): (PartitionIndex, &std::sync::Arc<tidelog_metadata::Partition>)| {
            let state = &partition.state;
            let offline = self.replicas().is_offline(topic.id, index);
            // A leader that recovers its log, or lost it, leads nobody.
            let serves = state.leader != Some(self.node()) || self.replicas().leading(topic.id, index).is_ok();
            PartitionDescription {
                index,
                leader: state.leader.filter(|_| serves && !offline),
                leader_epoch: state.leader_epoch,
                replicas: state.replicas.clone(),
                isr: state.isr.iter().map(|member| member.broker).collect(),
                offline: if offline { vec![self.node()] } else { Vec::new() },
            }
        };
        TopicDescription {
            name: topic.name.clone(),
            id: topic.id,
            internal: topic.name.is_internal(),
            partitions: topic.partitions().map(partition).collect(),
        }
    }

    /// Every topic the caller may see, by name.
    pub fn topics(&self, caller: &Caller) -> Vec<TopicDescription> {
        let image = self.image();
        let visible = |topic: &&std::sync::Arc<Topic>| {
            self.may(caller, Operation::Describe, Resource::Topic(topic.name.as_str()))
        };
        image.topics().filter(visible).map(|topic| self.describe(topic)).collect()
    }

    /// One topic. Whoever may not see it does not hear from its id that it exists (KIP-516).
    pub fn topic(&self, caller: &Caller, topic: &TopicRef) -> Result<TopicDescription, BrokerError> {
        match (self.find_topic(&self.image(), caller, Operation::Describe, topic), topic) {
            (Ok(found), _) => Ok(self.describe(&found)),
            (Err(refused), TopicRef::Id(_)) if refused.error == KafkaError::TopicAuthorizationFailed => {
                Err(KafkaError::UnknownTopicId.into())
            }
            (Err(error), _) => Err(error),
        }
    }

    /// One topic, created if it is missing and `auto.create.topics.enable` allows.
    pub async fn topic_or_create(&self, caller: &Caller, name: &str) -> Result<TopicDescription, BrokerError> {
        let missing = match self.topic(caller, &TopicRef::from(name)) {
            Err(error) if error.error == KafkaError::UnknownTopicOrPartition => error,
            found => return found,
        };
        let Ok(valid) = TopicName::new(name) else { return Err(missing) };
        if !self.config().auto_create_topics {
            return Err(missing);
        }
        if !self.may_create(caller, name) {
            return Err(KafkaError::TopicAuthorizationFailed.into());
        }
        self.room().take(PARTITION_BYTES)?;
        match self.create(decide::auto_topic(&valid, self.config()), false).await {
            // Somebody else was faster.
            Err(error) if error.error == KafkaError::TopicAlreadyExists => self.topic(caller, &TopicRef::from(name)),
            created => created,
        }
    }

    /// Deletes topics; results in the request's order. They are gone for everybody when this answers; files and objects follow.
    pub async fn delete_topics(
        &self,
        caller: &Caller,
        topics: Vec<TopicRef>,
    ) -> Vec<Result<(TopicName, TopicId), BrokerError>> {
        self.delete_topics_within(caller, topics, &mut Mutations::strict()).await
    }

    /// As [`delete_topics`](Self::delete_topics), with the request's mutations counted by the caller's version.
    pub async fn delete_topics_within(
        &self,
        caller: &Caller,
        topics: Vec<TopicRef>,
        mutations: &mut Mutations,
    ) -> Vec<Result<(TopicName, TopicId), BrokerError>> {
        // A topic named twice, by name or id, is not deleted at all: as Kafka has it.
        let image = self.image();
        let identity = |topic: &TopicRef| match topic {
            TopicRef::Name(name) => image.topic(name).map_or_else(|| topic.clone(), |found| TopicRef::Id(found.id)),
            TopicRef::Id(_) => topic.clone(),
        };
        let identities: Vec<TopicRef> = topics.iter().map(identity).collect();
        let mut times: BTreeMap<&TopicRef, usize> = BTreeMap::new();
        for identity in &identities {
            *times.entry(identity).or_default() += 1;
        }
        let mut results = Vec::with_capacity(topics.len());
        for (topic, identity) in topics.iter().zip(&identities) {
            let deleted = if times.get(identity).is_some_and(|count| *count > 1) {
                Err(BrokerError::new(KafkaError::InvalidRequest, "the request names this topic more than once"))
            } else {
                self.delete_topic(caller, topic, mutations).await
            };
            let name = match (&deleted, topic) {
                (Ok((name, _)), _) => name.to_string(),
                (Err(_), TopicRef::Name(name)) => name.to_string(),
                (Err(_), TopicRef::Id(id)) => id.to_string(),
            };
            self.audit_change(caller, "DELETE_TOPIC", &name, &deleted);
            results.push(deleted);
        }
        results
    }

    /// The topic, if the caller may delete it, or all there are. As Kafka: whoever may see that there is none hears that in any case, and
    /// of a name that he may not see nobody hears anything else.
    fn deletable_topic(&self, caller: &Caller, topic: &TopicRef) -> Result<Arc<Topic>, BrokerError> {
        let found = self.known_topic(&self.image(), topic);
        let name = match (topic, &found) {
            (TopicRef::Name(name), _) => &**name,
            (TopicRef::Id(_), Ok(found)) => found.name.as_str(),
            (TopicRef::Id(_), Err(_)) => return found,
        };
        let ways = [Resource::Cluster, Resource::Topic(name)].map(|resource| Way::Only(Operation::Delete, resource));
        let may = self.may_one_of(caller, &ways);
        let seen = matches!(topic, TopicRef::Id(_))
            || self.would_allow(caller, Operation::Describe, Resource::Topic(name))
            || self.would_allow(caller, Operation::Delete, Resource::Cluster);
        match found {
            Ok(found) if may && seen => Ok(found),
            Err(missing) if seen => Err(missing),
            _ => Err(KafkaError::TopicAuthorizationFailed.into()),
        }
    }

    async fn delete_topic(
        &self,
        caller: &Caller,
        topic: &TopicRef,
        mutations: &mut Mutations,
    ) -> Result<(TopicName, TopicId), BrokerError> {
        let found = self.deletable_topic(caller, topic).map_err(nameless)?;
        if found.name.is_internal() {
            let message = format!("{} belongs to the service", found.name);
            return Err(BrokerError::new(KafkaError::InvalidTopicException, message));
        }
        if self.config().delete_topics {
            self.mutate(caller, mutations, usize::try_from(found.partition_count).unwrap_or(0))?;
        }
        self.cluster_image()
            .carry_out(|image| {
                let defaults = self.topic_defaults(image);
                let settings = Settings { broker: self.config(), defaults: &defaults };
                let plan = decide::delete_topic(image, settings, decide::TopicRef::Id(found.id))?;
                Ok(((), plan))
            })
            .await?;
        Ok((found.name.clone(), found.id))
    }

    /// Raises a topic's number of partitions to `total` (KIP-195).
    pub async fn create_partitions(
        &self,
        caller: &Caller,
        topic: &str,
        total: i32,
        assignments: Option<Vec<Vec<NodeId>>>,
        validate_only: bool,
    ) -> Result<(), BrokerError> {
        let mutations = &mut Mutations::strict();
        self.create_partitions_within(caller, topic, total, assignments, validate_only, mutations).await
    }

    /// As [`create_partitions`](Self::create_partitions), with the request's mutations counted by the caller's version.
    pub async fn create_partitions_within(
        &self,
        caller: &Caller,
        topic: &str,
        total: i32,
        assignments: Option<Vec<Vec<NodeId>>>,
        validate_only: bool,
        mutations: &mut Mutations,
    ) -> Result<(), BrokerError> {
        let created = self.raise_partitions(caller, topic, total, assignments, validate_only, mutations).await;
        if !validate_only {
            self.audit_change(caller, "CREATE_PARTITIONS", &format_args!("{topic}: {total}"), &created);
        }
        created
    }

    async fn raise_partitions(
        &self,
        caller: &Caller,
        topic: &str,
        total: i32,
        assignments: Option<Vec<Vec<NodeId>>>,
        validate_only: bool,
        mutations: &mut Mutations,
    ) -> Result<(), BrokerError> {
        let found =
            self.find_topic(&self.image(), caller, Operation::Alter, &TopicRef::from(topic)).map_err(nameless)?;
        if !validate_only {
            // Only what can be created counts.
            decide::create_partitions(&self.image(), topic, total, assignments.as_deref())?;
            let added = usize::try_from(total.saturating_sub(found.partition_count)).unwrap_or(0);
            self.room().take(added.saturating_mul(PARTITION_BYTES))?;
            self.mutate(caller, mutations, added)?;
        }
        self.cluster_image()
            .carry_out(|image| {
                let plan = decide::create_partitions(image, topic, total, assignments.as_deref())?;
                Ok(((), if validate_only { Plan::default() } else { plan }))
            })
            .await?;
        if validate_only { Ok(()) } else { self.wait_until_led(found.id).await }
    }

    /// May one request raise these topics to so many partitions? Each is judged by itself later.
    pub fn check_added_partitions<'a>(&self, topics: impl Iterator<Item = (&'a str, i32)>) -> Result<(), BrokerError> {
        let image = self.image();
        at_once(
            topics
                .map(|(name, total)| image.topic(name).map_or(0, |topic| total.saturating_sub(topic.partition_count))),
        )
    }

    /// Where a topic's partitions stand.
    pub fn partition_status(&self, caller: &Caller, topic: &TopicRef) -> Result<Vec<PartitionStatus>, BrokerError> {
        let found = self.find_topic(&self.image(), caller, Operation::Describe, topic)?;
        let status = |(index, _)| {
            let replica = self.find_replica(&found, index).ok()?;
            let offsets = replica.offsets();
            Some(PartitionStatus {
                index,
                log_start: Some(offsets.log_start),
                local_start: replica.view.local_start(),
                high_watermark: offsets.high_watermark,
                last_stable: offsets.last_stable,
                log_end: offsets.log_end,
                local_bytes: replica.view.size(),
                local_segments: replica.view.segment_count(),
                traffic: replica.traffic.so_far(),
            })
        };
        Ok(found.partitions().filter_map(status).collect())
    }

    /// The cluster's id and brokers. Everybody may know them: without them no client can connect.
    pub fn cluster(&self, _caller: &Caller) -> Result<ClusterDescription, BrokerError> {
        let image = self.image();
        let brokers: Vec<NodeId> = image.brokers().map(|(node, _)| node).collect();
        Ok(ClusterDescription {
            cluster_id: self.cluster_id().to_owned(),
            controller: image.controller().map_or(self.node(), |controller| controller.value.broker),
            brokers,
        })
    }

    /// Whoever may create on the cluster may create every topic.
    fn may_create(&self, caller: &Caller, topic: &str) -> bool {
        let create = |resource| Way::Only(Operation::Create, resource);
        self.may_one_of(caller, &[create(Resource::Cluster), create(Resource::Topic(topic))])
    }

    /// `authorized_operations` of a topic (KIP-430).
    pub fn topic_operations(&self, caller: &Caller, topic: &str) -> i32 {
        self.authorizer().authorized_operations(caller, &Resource::Topic(topic))
    }

    /// `authorized_operations` of the cluster (KIP-430); none for who may not describe it.
    pub fn cluster_operations(&self, caller: &Caller) -> i32 {
        if !self.would_allow(caller, Operation::Describe, Resource::Cluster) {
            return 0;
        }
        self.authorizer().authorized_operations(caller, &Resource::Cluster)
    }
}

/// One request creates so many partitions at most, over all its topics: with more, none.
fn at_once(partitions: impl Iterator<Item = i32>) -> Result<(), BrokerError> {
    let all: i64 = partitions.map(|asked| i64::from(asked.max(0))).sum();
    if all <= MAX_PARTITIONS_AT_ONCE {
        return Ok(());
    }
    let message = format!("the request asks for {all} partitions, one creates {MAX_PARTITIONS_AT_ONCE} at most");
    Err(BrokerError::new(KafkaError::PolicyViolation, message))
}

fn decision(topic: NewTopic) -> decide::NewTopic {
    decide::NewTopic {
        name: topic.name,
        partitions: topic.partitions.unwrap_or(-1),
        replication_factor: topic.replication_factor.unwrap_or(-1),
        assignments: topic.assignments,
        configs: topic.config,
    }
}

/// The partitions that a topic would get.
fn would_be(count: i32, factor: i16, node: NodeId) -> Vec<PartitionDescription> {
    let replicas = vec![node; usize::try_from(factor).unwrap_or(1)];
    (0..count)
        .map(|index| PartitionDescription {
            index: PartitionIndex(index),
            leader: None,
            leader_epoch: tidelog_model::LeaderEpoch::NONE,
            replicas: replicas.clone(),
            isr: Vec::new(),
            offline: Vec::new(),
        })
        .collect()
}
