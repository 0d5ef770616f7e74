//! What another broker's metadata said when it stopped: its records (KRaft) replayed into one state. Decides what the records say together,
//! never what becomes of it here ([`crate::decide`] does).

mod record;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use tidelog_model::TopicId;
use uuid::Uuid;

pub use record::{KraftAcl, KraftEntity, KraftError, KraftScram, KraftToken};

use crate::limits::{MAX_KRAFT_BYTES, MAX_KRAFT_RECORD_BYTES};
use record::{PartitionChange, Said};

/// The kinds of resources that settings belong to.
pub mod resource {
    /// A topic.
    pub const TOPIC: i8 = 2;
    /// A broker, or with an empty name all of them.
    pub const BROKER: i8 = 4;
    /// A subscription to clients' metrics (KIP-714).
    pub const CLIENT_METRICS: i8 = 16;
    /// A group.
    pub const GROUP: i8 = 32;
}

/// A topic.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct KraftTopic {
    /// Its name.
    pub name: String,
    /// Its partitions.
    pub partitions: BTreeMap<i32, KraftPartition>,
}

/// A partition.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct KraftPartition {
    /// The brokers that have it.
    pub replicas: Vec<i32>,
    /// The directory of each of them, in their order; empty if nobody knows.
    pub directories: Vec<TopicId>,
    /// The newest epoch of its leader.
    pub leader_epoch: i32,
}

/// All that was said.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct KraftImage {
    /// Topics by id.
    pub topics: BTreeMap<TopicId, KraftTopic>,
    /// Settings by kind of resource and its name.
    pub configs: BTreeMap<(i8, String), BTreeMap<String, String>>,
    /// Quotas by entity.
    pub quotas: BTreeMap<KraftEntity, BTreeMap<String, f64>>,
    /// Access rules by id.
    pub acls: BTreeMap<Uuid, KraftAcl>,
    /// Credentials by user and number of the mechanism.
    pub scram: BTreeMap<(String, i8), KraftScram>,
    /// Delegation tokens by id.
    pub tokens: BTreeMap<String, KraftToken>,
    /// The first producer id that no block has.
    pub next_producer_id: Option<i64>,
    /// Finalized features.
    pub features: BTreeMap<String, i16>,
    /// Controllers that have registered.
    pub controllers: BTreeSet<i32>,
    /// Records of kinds that nobody here knows, with their counts.
    pub unknown: BTreeMap<u32, u64>,
}

/// What an entry of a map takes beside its texts, bytes.
const ENTRY: usize = 64;

/// What an empty text takes in memory, bytes; in a record it is one byte.
const EMPTY_TEXT: usize = size_of::<String>();

/// Records in the order of their offsets become an image.
#[derive(Debug, Default)]
pub struct KraftReplay {
    image: KraftImage,
    /// What was before the transaction that is open (KIP-868).
    before: Option<Box<KraftImage>>,
    /// What the image took when it was measured, and the most that the records since then can have added.
    weight: usize,
}

impl KraftReplay {
    /// Takes the next record's value.
    pub fn apply(&mut self, value: &[u8]) -> Result<(), KraftError> {
        if value.len() > MAX_KRAFT_RECORD_BYTES {
            return Err(KraftError::TooMuch(MAX_KRAFT_RECORD_BYTES));
        }
        self.weigh(ENTRY.saturating_add(value.len().saturating_mul(EMPTY_TEXT)))?;
        let said = record::read(value)?;
        match said {
            Said::Begin => self.before = Some(Box::new(self.image.clone())),
            Said::End => self.before = None,
            Said::Abort => self.undo(),
            said => self.image.take(said),
        }
        Ok(())
    }

    /// The image; what was in a transaction without an end was never decided.
    pub fn finish(mut self) -> KraftImage {
        self.undo();
        self.image
    }

    fn undo(&mut self) {
        if let Some(before) = self.before.take() {
            self.image = *before;
        }
    }

    /// What is replaced and removed counts until the limit seems to be reached: then it is measured.
    fn weigh(&mut self, bytes: usize) -> Result<(), KraftError> {
        self.weight = self.weight.saturating_add(bytes);
        if self.weight > MAX_KRAFT_BYTES {
            self.weight = self.image.bytes();
            // At half of it the next measurement is far enough away.
            if self.weight > MAX_KRAFT_BYTES / 2 {
                return Err(KraftError::TooMuch(MAX_KRAFT_BYTES / 2));
            }
        }
        Ok(())
    }
}

impl KraftImage {
    /// The settings of a resource.
    pub fn configs_of(&self, resource: i8, name: &str) -> BTreeMap<String, String> {
        self.configs.get(&(resource, name.to_owned())).cloned().unwrap_or_default()
    }

    fn take(&mut self, said: Said) {
        match said {
            Said::Topic { id, name } => drop(self.topics.insert(id, KraftTopic { name, ..KraftTopic::default() })),
            Said::Partition { id, index, replicas, directories, leader_epoch } => {
                if let Some(topic) = self.topics.get_mut(&id) {
                    topic.partitions.insert(index, KraftPartition { replicas, directories, leader_epoch });
                }
            }
            Said::PartitionChange(change) => self.change(change),
            Said::RemoveTopic(id) => {
                if let Some(topic) = self.topics.remove(&id) {
                    self.configs.remove(&(resource::TOPIC, topic.name));
                }
            }
            Said::Config { resource, name, setting, value: Some(value) } => {
                self.configs.entry((resource, name)).or_default().insert(setting, value);
            }
            Said::Config { resource, name, setting, value: None } => {
                remove_inner(&mut self.configs, &(resource, name), &setting);
            }
            Said::DelegationToken { id, token } => drop(self.tokens.insert(id, token)),
            Said::RemoveDelegationToken(id) => drop(self.tokens.remove(&id)),
            Said::Scram { user, mechanism, credential } => drop(self.scram.insert((user, mechanism), credential)),
            Said::RemoveScram { user, mechanism } => drop(self.scram.remove(&(user, mechanism))),
            Said::Feature { name, level } => drop(self.features.insert(name, level)),
            Said::Quota { entity, name, value: Some(value) } => {
                self.quotas.entry(entity).or_default().insert(name, value);
            }
            Said::Quota { entity, name, value: None } => remove_inner(&mut self.quotas, &entity, &name),
            Said::ProducerIds { next } => self.next_producer_id = self.next_producer_id.max(Some(next)),
            Said::Acl { id, rule } => drop(self.acls.insert(id, rule)),
            Said::RemoveAcl(id) => drop(self.acls.remove(&id)),
            Said::Controller(id) => drop(self.controllers.insert(id)),
            Said::Unknown(kind) => *self.unknown.entry(kind).or_default() += 1,
            Said::Begin | Said::End | Said::Abort | Said::Aside => {}
        }
    }

    fn change(&mut self, change: PartitionChange) {
        let topic = self.topics.get_mut(&change.id);
        let Some(partition) = topic.and_then(|topic| topic.partitions.get_mut(&change.index)) else { return };
        if change.elected {
            partition.leader_epoch = partition.leader_epoch.saturating_add(1);
        }
        match (change.replicas, change.directories) {
            (Some(replicas), directories) => {
                // Without new directories those of the replicas that stay are still known, but not in this order.
                partition.directories = directories.unwrap_or_default();
                partition.replicas = replicas;
            }
            (None, Some(directories)) => partition.directories = directories,
            (None, None) => {}
        }
    }

    /// About what it takes: texts, and a share for each entry.
    fn bytes(&self) -> usize {
        let settings: usize = self
            .configs
            .iter()
            .map(|((_, name), all)| name.len() + all.iter().map(|(k, v)| k.len() + v.len() + ENTRY).sum::<usize>())
            .sum();
        let topics: usize = self
            .topics
            .values()
            .map(|topic| {
                let lists = topic.partitions.values().map(|p| 4 * p.replicas.len() + 16 * p.directories.len() + ENTRY);
                topic.name.len() + ENTRY + lists.sum::<usize>()
            })
            .sum();
        let quotas: usize = self
            .quotas
            .iter()
            .map(|(entity, all)| {
                let names = entity.iter().map(|(kind, name)| kind.len() + name.as_ref().map_or(0, String::len) + ENTRY);
                names.sum::<usize>() + all.keys().map(|name| name.len() + ENTRY).sum::<usize>()
            })
            .sum();
        let acls: usize =
            self.acls.values().map(|rule| rule.name.len() + rule.principal.len() + rule.host.len() + ENTRY).sum();
        let scram: usize = self
            .scram
            .iter()
            .map(|((user, _), c)| user.len() + c.salt.len() + c.stored_key.len() + c.server_key.len() + ENTRY)
            .sum();
        let tokens: usize = self
            .tokens
            .iter()
            .map(|(id, token)| {
                let renewers: usize = token.renewers.iter().map(|renewer| renewer.len() + ENTRY).sum();
                id.len() + token.owner.len() + token.requester.len() + renewers + ENTRY
            })
            .sum();
        let features: usize = self.features.keys().map(|name| name.len() + ENTRY).sum();
        let numbers = ENTRY * (self.unknown.len() + self.controllers.len());
        settings + topics + quotas + acls + scram + tokens + features + numbers
    }
}

/// Removes an entry; without entries nothing is left of their owner.
fn remove_inner<K: Ord, V>(all: &mut BTreeMap<K, BTreeMap<String, V>>, owner: &K, name: &str) {
    if let Some(entries) = all.get_mut(owner) {
        entries.remove(name);
        if entries.is_empty() {
            all.remove(owner);
        }
    }
}
