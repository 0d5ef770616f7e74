//! The cluster's metadata in memory, as of one revision. Decides nothing; changes only by the store's events.
//!
//! Copies are cheap ([`SharedMap`]): the shell that applies events publishes a copy after each batch, readers keep it as long as they like.
//! A topic exists where `topics/<id>` does; partitions of topics that are being created or deleted are kept aside as *halves*.

mod item;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

use tidelog_model::{
    AclBinding, BrokerEpoch, NodeId, PartitionIndex, QuotaEntity, QuotaTable, ScramCredential, ScramMechanism,
    ScramShape, SharedMap, TopicId, TopicName,
};
use uuid::Uuid;

use crate::broker_config::BrokerOverrides;
use crate::client_metrics::ClientMetricsOverrides;
use crate::features::Feature;
use crate::group_config::GroupOverrides;
use crate::keys::{
    BrokerValue, ClusterValue, ControllerValue, DelegationTokenValue, DeletionValue, FeaturesValue, Key, KeyError,
    PartitionState, ProducerIdsValue, QuotasValue,
};
use crate::port::{Change, Changes, Listing, Revision};
use crate::topic_config::TopicOverrides;
use item::Item;

/// A stored value and the revision of its last write: what a compare needs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Versioned<T> {
    /// The value.
    pub value: T,
    /// Its mod revision.
    pub revision: Revision,
}

/// One partition.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Partition {
    /// Its state.
    pub state: PartitionState,
    /// The revision of the state's last change.
    pub revision: Revision,
}

/// A topic that exists.
#[derive(Clone, PartialEq, Debug)]
pub struct Topic {
    /// Its identity.
    pub id: TopicId,
    /// Its name.
    pub name: TopicName,
    /// Its own settings.
    pub configs: Arc<TopicOverrides>,
    /// The revision of `topics/<id>`.
    pub revision: Revision,
    /// How many partitions it has.
    pub partition_count: i32,
    stored: Partitions,
}

type Partitions = SharedMap<PartitionIndex, Arc<Partition>>;

impl Topic {
    /// The partition of this number, if the topic has it.
    pub fn partition(&self, index: PartitionIndex) -> Option<&Arc<Partition>> {
        if index.get() < self.partition_count { self.stored.get(&index) } else { None }
    }

    /// Its partitions in ascending order.
    pub fn partitions(&self) -> impl Iterator<Item = (PartitionIndex, &Arc<Partition>)> {
        let count = self.partition_count;
        self.stored.iter().map(|(index, partition)| (*index, partition)).take_while(move |(i, _)| i.get() < count)
    }

    /// Stored partitions that are not part of the topic: an increase that is under way or died.
    pub(crate) fn beyond(&self) -> impl Iterator<Item = PartitionIndex> {
        let count = PartitionIndex(self.partition_count);
        self.stored.iter().map(|(index, _)| *index).skip_while(move |index| *index < count)
    }
}

/// Where to look: something there differs now. What it is, the image says.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum ImageChange {
    /// The cluster's identity.
    Cluster,
    /// A broker registered, came back or left.
    Broker(NodeId),
    /// The controller.
    Controller,
    /// A topic appeared, vanished, got other settings or more partitions. Covers all its partitions.
    Topic(TopicId),
    /// A partition's state.
    Partition(TopicId, PartitionIndex),
    /// A deleted topic's remains: to be removed, or gone.
    Deletion(TopicId),
    /// Settings changed while running, of one broker or of all.
    BrokerConfigs(Option<NodeId>),
    /// A group's own settings.
    GroupConfigs(String),
    /// A subscription to clients' metrics.
    ClientMetrics(String),
    /// The levels of features.
    Features,
    /// The producer id blocks.
    ProducerIds,
    /// The quotas of one entity.
    Quotas(QuotaEntity),
    /// Some access rules.
    Acls,
    /// A user's SCRAM credential.
    Scram(ScramMechanism, String),
    /// A delegation token.
    DelegationToken(String),
}

/// Why events cannot be applied. The image is as before; the broker must stop, for it no longer knows the truth.
pub type ImageError = KeyError;

/// All metadata at one revision.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct ClusterImage {
    revision: Revision,
    cluster: Option<Versioned<ClusterValue>>,
    brokers: BTreeMap<NodeId, Arc<Versioned<BrokerValue>>>,
    controller: Option<Versioned<ControllerValue>>,
    names: SharedMap<TopicName, Versioned<TopicId>>,
    topics: SharedMap<TopicId, Arc<Topic>>,
    halves: SharedMap<TopicId, Partitions>,
    deletions: SharedMap<TopicId, Arc<Versioned<DeletionValue>>>,
    broker_configs: BTreeMap<Option<NodeId>, Arc<Versioned<BrokerOverrides>>>,
    group_configs: SharedMap<String, Arc<Versioned<GroupOverrides>>>,
    client_metrics: BTreeMap<String, Arc<Versioned<ClientMetricsOverrides>>>,
    features: Option<Versioned<FeaturesValue>>,
    producer_ids: Option<Versioned<ProducerIdsValue>>,
    /// Replaced as a whole by each change: requests look it up, changes are rare.
    quotas: Arc<QuotaTable>,
    stored_quotas: BTreeMap<QuotaEntity, Versioned<QuotasValue>>,
    acls: SharedMap<Uuid, Arc<AclBinding>>,
    scram: SharedMap<(String, ScramMechanism), Arc<Versioned<ScramCredential>>>,
    /// How many of these have which shape.
    scram_shapes: SharedMap<ScramShape, usize>,
    delegation_tokens: SharedMap<String, Arc<Versioned<DelegationTokenValue>>>,
}

impl ClusterImage {
    /// The image of a complete listing (prefix `""`).
    pub fn from_listing(listing: &Listing) -> Result<Self, ImageError> {
        let mut image = ClusterImage::default();
        for entry in &listing.entries {
            let key = Key::parse(&entry.key)?;
            let item = Item::decode(&key, &entry.value)?;
            image.set(item, entry.mod_revision, &mut BTreeSet::new());
        }
        image.revision = listing.revision;
        Ok(image)
    }

    /// Applies the changes of one revision; says where to look. Changes that the image already has are skipped.
    pub fn apply(&mut self, changes: &Changes) -> Result<Vec<ImageChange>, ImageError> {
        if changes.revision <= self.revision {
            return Ok(Vec::new());
        }
        // Everything is decoded before anything is changed.
        let mut decoded = Vec::with_capacity(changes.events.len());
        for event in &changes.events {
            let key = Key::parse(&event.key)?;
            decoded.push(match &event.change {
                Change::Put { value, .. } => Ok(Item::decode(&key, value)?),
                Change::Delete => Err(key),
            });
        }
        let mut told = BTreeSet::new();
        for change in decoded {
            match change {
                Ok(item) => self.set(item, changes.revision, &mut told),
                Err(key) => self.unset(&key, &mut told),
            }
        }
        self.revision = changes.revision;
        Ok(told.into_iter().collect())
    }

    /// The revision of the last change it has. A transaction committed at or before it is visible here.
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// The cluster id.
    pub fn cluster_id(&self) -> Option<&str> {
        self.cluster.as_ref().map(|cluster| cluster.value.cluster_id.as_str())
    }

    /// The registered brokers, ascending by id.
    pub fn brokers(&self) -> impl Iterator<Item = (NodeId, &Versioned<BrokerValue>)> {
        self.brokers.iter().map(|(node, broker)| (*node, &**broker))
    }

    /// A registered broker.
    pub fn broker(&self, node: NodeId) -> Option<&Versioned<BrokerValue>> {
        self.brokers.get(&node).map(|broker| &**broker)
    }

    /// A broker's present registration.
    pub fn broker_epoch(&self, node: NodeId) -> Option<BrokerEpoch> {
        self.broker(node).map(|broker| BrokerEpoch(broker.revision.get()))
    }

    /// Who holds the controller lease.
    pub fn controller(&self) -> Option<&Versioned<ControllerValue>> {
        self.controller.as_ref()
    }

    /// The topic of this name.
    pub fn topic(&self, name: &str) -> Option<&Arc<Topic>> {
        self.topics.get(&self.names.get(name)?.value)
    }

    /// The topic of this id.
    pub fn topic_by_id(&self, id: TopicId) -> Option<&Arc<Topic>> {
        self.topics.get(&id)
    }

    /// How many topics exist.
    pub fn topic_count(&self) -> usize {
        self.topics.len()
    }

    /// Topics in the order of their names.
    pub fn topics(&self) -> impl Iterator<Item = &Arc<Topic>> {
        self.topics_from(Bound::Unbounded)
    }

    /// Topics in the order of their names, from a name on.
    pub fn topics_from<'a>(&'a self, from: Bound<&'a str>) -> impl Iterator<Item = &'a Arc<Topic>> {
        self.names.iter_from(from).filter_map(|(_, id)| self.topics.get(&id.value))
    }

    /// One partition of a topic that exists.
    pub fn partition(&self, topic: TopicId, index: PartitionIndex) -> Option<&Arc<Partition>> {
        self.topics.get(&topic)?.partition(index)
    }

    /// Every partition with a replica on this broker.
    pub fn replicas_on(&self, node: NodeId) -> impl Iterator<Item = (&Arc<Topic>, PartitionIndex, &Arc<Partition>)> {
        self.topics
            .iter()
            .flat_map(|(_, topic)| topic.partitions().map(move |(index, partition)| (topic, index, partition)))
            .filter(move |(_, _, partition)| partition.state.replicas.contains(&node))
    }

    /// Deleted topics whose remains are to be removed.
    pub fn deletions(&self) -> impl Iterator<Item = (TopicId, &Versioned<DeletionValue>)> {
        self.deletions.iter().map(|(id, deletion)| (*id, &**deletion))
    }

    /// One deleted topic whose remains are to be removed.
    pub fn deletion(&self, topic: TopicId) -> Option<&Versioned<DeletionValue>> {
        self.deletions.get(&topic).map(|deletion| &**deletion)
    }

    /// Settings changed while running: of one broker, or (`None`) of all.
    pub fn broker_configs(&self, node: Option<NodeId>) -> Option<&Versioned<BrokerOverrides>> {
        self.broker_configs.get(&node).map(|configs| &**configs)
    }

    /// What a group sets of its own.
    pub fn group_configs(&self, group: &str) -> Option<&Versioned<GroupOverrides>> {
        self.group_configs.get(group).map(|stored| &**stored)
    }

    /// Every group with settings of its own, ascending.
    pub fn configured_groups(&self) -> impl Iterator<Item = &str> {
        self.group_configs.iter().map(|(group, _)| group.as_str())
    }

    /// How many those are.
    pub fn configured_group_count(&self) -> usize {
        self.group_configs.len()
    }

    /// A subscription to clients' metrics.
    pub fn client_metrics(&self, name: &str) -> Option<&Versioned<ClientMetricsOverrides>> {
        self.client_metrics.get(name).map(|stored| &**stored)
    }

    /// The names of all of them, ascending.
    pub fn client_metrics_names(&self) -> impl ExactSizeIterator<Item = &str> {
        self.client_metrics.keys().map(String::as_str)
    }

    /// Levels of features that are not the highest.
    pub fn features(&self) -> Option<&Versioned<FeaturesValue>> {
        self.features.as_ref()
    }

    /// The level of a feature that holds.
    pub fn feature_level(&self, feature: &Feature) -> i16 {
        self.features.as_ref().map_or(feature.level, |features| features.value.level(feature))
    }

    /// Where the next block of producer ids begins.
    pub fn producer_ids(&self) -> Option<&Versioned<ProducerIdsValue>> {
        self.producer_ids.as_ref()
    }

    /// Every quota that is set and holds.
    pub fn quotas(&self) -> &Arc<QuotaTable> {
        &self.quotas
    }

    /// Every quota as it is stored, those that do not hold too.
    pub fn stored_quotas(&self) -> impl Iterator<Item = (&QuotaEntity, &QuotasValue)> {
        self.stored_quotas.iter().map(|(entity, stored)| (entity, &stored.value))
    }

    /// One entity's quotas.
    pub fn quotas_of(&self, entity: &QuotaEntity) -> Option<&Versioned<QuotasValue>> {
        self.stored_quotas.get(entity)
    }

    /// Every access rule, in no order that means anything; the same rule may come twice.
    pub fn acls(&self) -> impl Iterator<Item = (Uuid, &AclBinding)> {
        self.acls.iter().map(|(id, binding)| (*id, &**binding))
    }

    /// How many access rules there are.
    pub fn acl_count(&self) -> usize {
        self.acls.len()
    }

    /// What is kept of a user's password.
    pub fn scram(&self, user: &str, mechanism: ScramMechanism) -> Option<&Versioned<ScramCredential>> {
        self.scram.get(&(user.to_string(), mechanism)).map(|stored| &**stored)
    }

    /// Every SCRAM credential, ascending by user, then mechanism.
    pub fn scram_credentials(&self) -> impl Iterator<Item = (&str, ScramMechanism, &Versioned<ScramCredential>)> {
        self.scram.iter().map(|((user, mechanism), stored)| (user.as_str(), *mechanism, &**stored))
    }

    /// Every shape that a SCRAM credential has, once.
    pub fn scram_shapes(&self) -> impl Iterator<Item = ScramShape> {
        self.scram_shapes.iter().map(|(shape, _)| *shape)
    }

    /// The delegation token of this id.
    pub fn delegation_token(&self, id: &str) -> Option<&Versioned<DelegationTokenValue>> {
        self.delegation_tokens.get(&id.to_string()).map(|stored| &**stored)
    }

    /// Every delegation token, ascending by id.
    pub fn delegation_tokens(&self) -> impl Iterator<Item = (&str, &Versioned<DelegationTokenValue>)> {
        self.delegation_tokens.iter().map(|(id, stored)| (id.as_str(), &**stored))
    }

    /// How many delegation tokens there are.
    pub fn delegation_token_count(&self) -> usize {
        self.delegation_tokens.len()
    }

    /// How many SCRAM credentials there are.
    pub fn scram_count(&self) -> usize {
        self.scram.len()
    }

    /// The reservation of a name, whether or not its topic exists yet.
    pub(crate) fn name(&self, name: &str) -> Option<&Versioned<TopicId>> {
        self.names.get(name)
    }

    /// Reserved names in order.
    pub(crate) fn names_from<'a>(
        &'a self,
        from: Bound<&'a str>,
    ) -> impl Iterator<Item = (&'a TopicName, &'a Versioned<TopicId>)> {
        self.names.iter_from(from)
    }

    /// Partitions stored for topics that do not exist.
    pub(crate) fn halves(&self) -> impl Iterator<Item = (TopicId, Vec<PartitionIndex>)> {
        self.halves.iter().map(|(id, stored)| (*id, stored.iter().map(|(index, _)| *index).collect()))
    }

    /// Partitions stored for one topic, whether or not it exists.
    pub(crate) fn stored_partitions(&self, topic: TopicId) -> Vec<PartitionIndex> {
        let stored = self.topics.get(&topic).map(|topic| &topic.stored).or_else(|| self.halves.get(&topic));
        stored.map(|stored| stored.iter().map(|(index, _)| *index).collect()).unwrap_or_default()
    }

    /// Where a newer image differs: for the shells, after the watch was compacted and the image was read anew.
    pub fn diff(&self, newer: &ClusterImage) -> Vec<ImageChange> {
        let mut told = BTreeSet::new();
        let mut tell = |differs: bool, change: ImageChange| {
            if differs {
                told.insert(change);
            }
        };
        tell(self.cluster != newer.cluster, ImageChange::Cluster);
        tell(self.controller != newer.controller, ImageChange::Controller);
        tell(self.producer_ids != newer.producer_ids, ImageChange::ProducerIds);
        tell(self.features != newer.features, ImageChange::Features);
        for entity in self.stored_quotas.keys().chain(newer.stored_quotas.keys()) {
            tell(self.quotas_of(entity) != newer.quotas_of(entity), ImageChange::Quotas(entity.clone()));
        }
        tell(self.acls != newer.acls, ImageChange::Acls);
        for ((user, mechanism), _) in self.scram.iter().chain(newer.scram.iter()) {
            let differs = self.scram(user, *mechanism) != newer.scram(user, *mechanism);
            tell(differs, ImageChange::Scram(*mechanism, user.clone()));
        }
        for (group, _) in self.group_configs.iter().chain(newer.group_configs.iter()) {
            let differs = self.group_configs.get(group) != newer.group_configs.get(group);
            tell(differs, ImageChange::GroupConfigs(group.clone()));
        }
        for name in self.client_metrics.keys().chain(newer.client_metrics.keys()) {
            let differs = self.client_metrics.get(name) != newer.client_metrics.get(name);
            tell(differs, ImageChange::ClientMetrics(name.clone()));
        }
        for (id, _) in self.delegation_tokens.iter().chain(newer.delegation_tokens.iter()) {
            let differs = self.delegation_token(id) != newer.delegation_token(id);
            tell(differs, ImageChange::DelegationToken(id.clone()));
        }
        for node in self.brokers.keys().chain(newer.brokers.keys()) {
            tell(self.brokers.get(node) != newer.brokers.get(node), ImageChange::Broker(*node));
        }
        for node in self.broker_configs.keys().chain(newer.broker_configs.keys()) {
            let differs = self.broker_configs.get(node) != newer.broker_configs.get(node);
            tell(differs, ImageChange::BrokerConfigs(*node));
        }
        for (id, _) in self.deletions.iter().chain(newer.deletions.iter()) {
            tell(self.deletions.get(id) != newer.deletions.get(id), ImageChange::Deletion(*id));
        }
        for (id, _) in self.topics.iter().chain(newer.topics.iter()) {
            let (old, new) = (self.topics.get(id), newer.topics.get(id));
            let (Some(old), Some(new)) = (old, new) else {
                tell(true, ImageChange::Topic(*id));
                continue;
            };
            if Arc::ptr_eq(old, new) {
                continue;
            }
            let topic_differs = old.revision != new.revision;
            tell(topic_differs, ImageChange::Topic(*id));
            for (index, partition) in new.partitions() {
                let differs = match old.partition(index) {
                    Some(before) => before.revision != partition.revision,
                    // A new partition comes with its topic's change.
                    None => !topic_differs,
                };
                tell(differs, ImageChange::Partition(*id, index));
            }
        }
        told.into_iter().collect()
    }

    fn set(&mut self, item: Item, revision: Revision, told: &mut BTreeSet<ImageChange>) {
        match item {
            Item::Cluster(value) => {
                self.cluster = Some(Versioned { value, revision });
                told.insert(ImageChange::Cluster);
            }
            Item::Broker(node, value) => {
                self.brokers.insert(node, Arc::new(Versioned { value, revision }));
                told.insert(ImageChange::Broker(node));
            }
            Item::Controller(value) => {
                self.controller = Some(Versioned { value, revision });
                told.insert(ImageChange::Controller);
            }
            Item::Name(name, value) => {
                self.names.insert(name, Versioned { value: value.topic, revision });
            }
            Item::Topic(id, value) => {
                let configs = Arc::new(value.configs);
                let (name, partition_count) = (value.name, value.partitions);
                let known = self.topics.get(&id).map(|topic| topic.stored.clone());
                let stored = known.or_else(|| self.halves.remove(&id)).unwrap_or_default();
                let topic = Topic { id, name, configs, revision, partition_count, stored };
                self.topics.insert(id, Arc::new(topic));
                told.insert(ImageChange::Topic(id));
            }
            Item::Partition(id, index, state) => {
                let partition = Arc::new(Partition { state, revision });
                if let Some(topic) = self.topics.get_mut(&id) {
                    let visible = index.get() < topic.partition_count;
                    Arc::make_mut(topic).stored.insert(index, partition);
                    if visible {
                        told.insert(ImageChange::Partition(id, index));
                    }
                } else if let Some(half) = self.halves.get_mut(&id) {
                    half.insert(index, partition);
                } else {
                    let mut half = Partitions::default();
                    half.insert(index, partition);
                    self.halves.insert(id, half);
                }
            }
            Item::Deletion(id, value) => {
                self.deletions.insert(id, Arc::new(Versioned { value, revision }));
                told.insert(ImageChange::Deletion(id));
            }
            Item::BrokerConfigs(node, value) => {
                self.broker_configs.insert(node, Arc::new(Versioned { value, revision }));
                told.insert(ImageChange::BrokerConfigs(node));
            }
            Item::GroupConfigs(group, value) => {
                self.group_configs.insert(group.clone(), Arc::new(Versioned { value, revision }));
                told.insert(ImageChange::GroupConfigs(group));
            }
            Item::ClientMetrics(name, value) => {
                self.client_metrics.insert(name.clone(), Arc::new(Versioned { value, revision }));
                told.insert(ImageChange::ClientMetrics(name));
            }
            Item::Features(value) => {
                self.features = Some(Versioned { value, revision });
                told.insert(ImageChange::Features);
            }
            Item::ProducerIds(value) => {
                self.producer_ids = Some(Versioned { value, revision });
                told.insert(ImageChange::ProducerIds);
            }
            Item::Quotas(entity, value) => {
                let holding = Arc::make_mut(&mut self.quotas);
                match value.quotas.is_empty() {
                    true => drop(holding.remove(&entity)),
                    false => drop(holding.insert(entity.clone(), value.quotas.clone())),
                }
                self.stored_quotas.insert(entity.clone(), Versioned { value, revision });
                told.insert(ImageChange::Quotas(entity));
            }
            Item::Acl(id, value) => {
                self.acls.insert(id, Arc::new(value.0));
                told.insert(ImageChange::Acls);
            }
            Item::Scram(mechanism, user, value) => {
                told.insert(ImageChange::Scram(mechanism, user.clone()));
                self.count_shape(&value.0, mechanism);
                let old = self.scram.insert((user, mechanism), Arc::new(Versioned { value: value.0, revision }));
                self.uncount_shape(old.as_deref(), mechanism);
            }
            Item::DelegationToken(id, value) => {
                told.insert(ImageChange::DelegationToken(id.clone()));
                self.delegation_tokens.insert(id, Arc::new(Versioned { value, revision }));
            }
        }
    }

    fn count_shape(&mut self, credential: &ScramCredential, mechanism: ScramMechanism) {
        let shape = credential.shape(mechanism);
        let count = self.scram_shapes.get(&shape).copied().unwrap_or(0);
        self.scram_shapes.insert(shape, count + 1);
    }

    fn uncount_shape(&mut self, credential: Option<&Versioned<ScramCredential>>, mechanism: ScramMechanism) {
        let Some(shape) = credential.map(|credential| credential.value.shape(mechanism)) else { return };
        match self.scram_shapes.get(&shape) {
            Some(count) if *count > 1 => drop(self.scram_shapes.insert(shape, count - 1)),
            _ => drop(self.scram_shapes.remove(&shape)),
        }
    }

    fn unset(&mut self, key: &Key, told: &mut BTreeSet<ImageChange>) {
        match key {
            Key::Cluster => {
                self.cluster = None;
                told.insert(ImageChange::Cluster);
            }
            Key::Broker(node) => {
                self.brokers.remove(node);
                told.insert(ImageChange::Broker(*node));
            }
            Key::Controller => {
                self.controller = None;
                told.insert(ImageChange::Controller);
            }
            Key::Name(name) => {
                self.names.remove(name);
            }
            Key::Topic(id) => {
                if let Some(topic) = self.topics.remove(id) {
                    if !topic.stored.is_empty() {
                        self.halves.insert(*id, topic.stored.clone());
                    }
                    told.insert(ImageChange::Topic(*id));
                }
            }
            Key::Partition(id, index) => {
                if let Some(topic) = self.topics.get_mut(id) {
                    let visible = index.get() < topic.partition_count;
                    Arc::make_mut(topic).stored.remove(index);
                    if visible {
                        told.insert(ImageChange::Partition(*id, *index));
                    }
                } else if let Some(half) = self.halves.get_mut(id) {
                    half.remove(index);
                    if half.is_empty() {
                        self.halves.remove(id);
                    }
                }
            }
            Key::Deletion(id) => {
                self.deletions.remove(id);
                told.insert(ImageChange::Deletion(*id));
            }
            Key::BrokerConfigs(node) => {
                self.broker_configs.remove(node);
                told.insert(ImageChange::BrokerConfigs(*node));
            }
            Key::GroupConfigs(group) => {
                self.group_configs.remove(group);
                told.insert(ImageChange::GroupConfigs(group.clone()));
            }
            Key::ClientMetrics(name) => {
                self.client_metrics.remove(name);
                told.insert(ImageChange::ClientMetrics(name.clone()));
            }
            Key::Features => {
                self.features = None;
                told.insert(ImageChange::Features);
            }
            Key::ProducerIds => {
                self.producer_ids = None;
                told.insert(ImageChange::ProducerIds);
            }
            Key::Quotas(entity) => {
                Arc::make_mut(&mut self.quotas).remove(entity);
                self.stored_quotas.remove(entity);
                told.insert(ImageChange::Quotas(entity.clone()));
            }
            Key::Acl(id) => {
                self.acls.remove(id);
                told.insert(ImageChange::Acls);
            }
            Key::Scram(mechanism, user) => {
                let old = self.scram.remove(&(user.clone(), *mechanism));
                self.uncount_shape(old.as_deref(), *mechanism);
                told.insert(ImageChange::Scram(*mechanism, user.clone()));
            }
            Key::DelegationToken(id) => {
                self.delegation_tokens.remove(id);
                told.insert(ImageChange::DelegationToken(id.clone()));
            }
        }
    }
}
