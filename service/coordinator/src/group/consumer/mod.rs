//! Decides the life of one group of the consumer protocol (KIP-848): who is in, what everybody shall have, and who may have it when.
//! Never changes what is stored: a decision is a list of records, and [`Consumer::replay`] alone makes them count.
//!
//! Members that speak the classic protocol are served too (`classic.rs`), and a group with such members changes over (`convert.rs`).
//!
//! A heartbeat does three things: it takes over what the member says about itself, and raises the group's epoch if that or the topics
//! have changed (`heartbeat.rs`); it makes the target assignment for a new epoch (`assign.rs`); and it leads the member one step
//! towards its target (`reconcile.rs`), so that no partition ever has two readers.

mod assign;
mod classic;
mod convert;
mod describe;
mod heartbeat;
mod leave;
mod offsets;
mod reconcile;
mod subscriptions;
mod timers;

use std::collections::BTreeMap;
use std::sync::Arc;

use tidelog_model::{Deadline, PartitionIndex, TopicId};

use super::classic::{Classic, offers_bytes};
use super::config::GroupConfig;
use super::directory::TopicDirectory;
use super::ids::{Epoch, GroupId, InstanceId, MemberId};
use super::meant::Heard;
use super::records::{ConsumerRecord, Current, GroupEpoch, Owned, Partitions, Resolved, Subscriber, TargetEpoch};
use crate::limits::{MEMBER_OVERHEAD_BYTES, PARTITION_BYTES};

pub use self::assign::Assignor;
pub(crate) use self::heartbeat::{check, refused};

/// One member.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Member {
    subscriber: Subscriber,
    current: Current,
}

/// What a member waits for by the clock; soft.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Revocation {
    /// When it is removed if it has not given its partitions up.
    deadline: Deadline,
    /// In which of its epochs that was asked.
    epoch: Epoch,
}

/// One group. Everything up to `bytes` is what the records tell.
#[derive(Debug)]
pub(crate) struct Consumer {
    id: GroupId,
    epoch: Option<GroupEpoch>,
    target_epoch: Option<TargetEpoch>,
    members: BTreeMap<MemberId, Member>,
    targets: BTreeMap<MemberId, Partitions>,
    regexes: BTreeMap<Arc<str>, Resolved>,
    /// Who has, or has not given up, each partition.
    owners: BTreeMap<(TopicId, PartitionIndex), MemberId>,
    statics: BTreeMap<InstanceId, MemberId>,
    bytes: usize,
    /// When each member counts as gone.
    sessions: BTreeMap<MemberId, Deadline>,
    revocations: BTreeMap<MemberId, Revocation>,
    /// Until when members of the classic protocol must have joined again, and asked for their assignment.
    joins: BTreeMap<MemberId, Deadline>,
    syncs: BTreeMap<MemberId, Deadline>,
    /// The topics with which the stored hash was last compared.
    seen: Option<Arc<TopicDirectory>>,
    /// What members have brought of the meaning of its expressions, until all is known; soft.
    heard: Heard,
    /// When its expressions are looked up again, because there was no room for what some mean; soft.
    resolves_again: Option<Deadline>,
    /// When the target may be made again for which there was no room; soft.
    aims_again: Option<Deadline>,
    /// The classic group that it becomes once the records count.
    turned: Option<Box<Classic>>,
}

impl Consumer {
    /// A group without members and records.
    pub(crate) fn new(id: GroupId) -> Self {
        Consumer {
            id,
            epoch: None,
            target_epoch: None,
            members: BTreeMap::new(),
            targets: BTreeMap::new(),
            regexes: BTreeMap::new(),
            owners: BTreeMap::new(),
            statics: BTreeMap::new(),
            bytes: 0,
            sessions: BTreeMap::new(),
            revocations: BTreeMap::new(),
            joins: BTreeMap::new(),
            syncs: BTreeMap::new(),
            seen: None,
            heard: Heard::default(),
            resolves_again: None,
            aims_again: None,
            turned: None,
        }
    }

    /// One record, of the log or of a decision that has been appended.
    pub(crate) fn replay(&mut self, record: ConsumerRecord) {
        match record {
            ConsumerRecord::Epoch(epoch) => self.epoch = epoch,
            ConsumerRecord::TargetEpoch(epoch) => self.target_epoch = epoch,
            ConsumerRecord::Member(id, Some(subscriber)) => self.replay_subscriber(id, subscriber),
            ConsumerRecord::Member(id, None) => self.forget(&id),
            ConsumerRecord::Current(id, current) => self.replay_current(id, current),
            ConsumerRecord::Target(id, target) => {
                let before = match target {
                    Some(target) => {
                        self.bytes += target_bytes(&id, &target);
                        self.targets.insert(id.clone(), target)
                    }
                    None => self.targets.remove(&id),
                };
                if let Some(before) = before {
                    self.bytes = self.bytes.saturating_sub(target_bytes(&id, &before));
                }
            }
            ConsumerRecord::Regex(regex, resolved) => {
                let before = match resolved {
                    Some(resolved) => {
                        self.bytes += regex_bytes(&regex, &resolved);
                        self.regexes.insert(Arc::clone(&regex), resolved)
                    }
                    None => self.regexes.remove(&regex),
                };
                if let Some(before) = before {
                    self.bytes = self.bytes.saturating_sub(regex_bytes(&regex, &before));
                }
            }
        }
    }

    fn replay_subscriber(&mut self, id: MemberId, subscriber: Subscriber) {
        let before = self.members.remove(&id);
        if let Some(before) = &before {
            self.count_out(&id, before);
            // A member that joins again may call itself otherwise: the old name is free.
            self.release_name(&id, &before.subscriber);
        }
        if let Some(instance) = &subscriber.instance_id {
            self.statics.insert(instance.clone(), id.clone());
        }
        let current = before.map_or_else(Current::joining, |member| member.current);
        self.count_in(id, Member { subscriber, current });
    }

    /// A record of a member that is not known comes first only in a log that has been compacted: the rest follows.
    fn replay_current(&mut self, id: MemberId, current: Option<Current>) {
        let before = self.members.remove(&id);
        if before.is_none() && current.is_none() {
            return;
        }
        let subscriber = match before {
            Some(before) => {
                self.count_out(&id, &before);
                before.subscriber
            }
            None => Subscriber::unknown(),
        };
        let current = current.unwrap_or_else(Current::joining);
        self.count_in(id, Member { subscriber, current });
    }

    fn forget(&mut self, id: &MemberId) {
        let Some(member) = self.members.remove(id) else { return };
        self.count_out(id, &member);
        self.sessions.remove(id);
        self.revocations.remove(id);
        self.joins.remove(id);
        self.syncs.remove(id);
        self.release_name(id, &member.subscriber);
    }

    /// Its static name is nobody's, unless another has it by now.
    fn release_name(&mut self, id: &MemberId, subscriber: &Subscriber) {
        if let Some(instance) = &subscriber.instance_id
            && self.statics.get(instance) == Some(id)
        {
            self.statics.remove(instance);
        }
    }

    fn count_in(&mut self, id: MemberId, member: Member) {
        self.bytes += member_bytes(&id, &member);
        for key in partitions_of(&member.current) {
            self.owners.insert(key, id.clone());
        }
        self.members.insert(id, member);
    }

    fn count_out(&mut self, id: &MemberId, member: &Member) {
        self.bytes = self.bytes.saturating_sub(member_bytes(id, member));
        for key in partitions_of(&member.current) {
            if self.owners.get(&key) == Some(id) {
                self.owners.remove(&key);
            }
        }
    }

    /// Nothing is stored of it.
    pub(crate) fn is_blank(&self) -> bool {
        self.epoch.is_none()
            && self.target_epoch.is_none()
            && self.members.is_empty()
            && self.targets.is_empty()
            && self.regexes.is_empty()
    }

    /// How many members it has.
    pub(crate) fn member_count(&self) -> usize {
        self.members.len()
    }

    /// Nobody is in it.
    pub(crate) fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Memory, bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes + self.heard.bytes()
    }

    fn epoch(&self) -> Epoch {
        self.epoch.map_or(Epoch(0), |epoch| epoch.epoch)
    }

    fn target_epoch(&self) -> Epoch {
        self.target_epoch.map_or(Epoch(0), |epoch| epoch.epoch)
    }

    /// The classic group that it has become, now that nothing is stored of this one.
    pub(crate) fn take_turned(&mut self) -> Option<Box<Classic>> {
        self.turned.take()
    }

    /// The records that remove the group, in Kafka's order.
    pub(crate) fn tombstones(&self) -> Vec<ConsumerRecord> {
        let mut records: Vec<ConsumerRecord> =
            self.members.keys().map(|id| ConsumerRecord::Current(id.clone(), None)).collect();
        records.extend(self.targets.keys().map(|id| ConsumerRecord::Target(id.clone(), None)));
        records.extend(self.target_epoch.map(|_| ConsumerRecord::TargetEpoch(None)));
        records.extend(self.members.keys().map(|id| ConsumerRecord::Member(id.clone(), None)));
        records.extend(self.regexes.keys().map(|regex| ConsumerRecord::Regex(Arc::clone(regex), None)));
        records.extend(self.epoch.map(|_| ConsumerRecord::Epoch(None)));
        records
    }

    /// The rules that hold between two events; for tests.
    #[cfg(test)]
    pub(crate) fn assert_consistent(&self) {
        assert!(self.turned.is_none(), "half of a change has been stored");
        let mut owners = BTreeMap::new();
        for (id, member) in &self.members {
            for key in partitions_of(&member.current) {
                assert!(owners.insert(key, id.clone()).is_none(), "{key:?} has two owners");
            }
        }
        assert_eq!(owners, self.owners);
        let members: usize = self.members.iter().map(|(id, member)| member_bytes(id, member)).sum();
        let targets: usize = self.targets.iter().map(|(id, target)| target_bytes(id, target)).sum();
        let regexes: usize = self.regexes.iter().map(|(regex, resolved)| regex_bytes(regex, resolved)).sum();
        assert_eq!(self.bytes, members + targets + regexes);
        for (id, member) in &self.members {
            assert!(self.sessions.contains_key(id), "{id} would stay for ever");
            if let Some(instance) = &member.subscriber.instance_id {
                assert_eq!(self.statics.get(instance), Some(id));
            }
        }
        for (instance, id) in &self.statics {
            let holder = self.members.get(id).and_then(|member| member.subscriber.instance_id.as_ref());
            assert_eq!(holder, Some(instance), "{instance} would be blocked for ever");
        }
        assert!(self.targets.keys().all(|id| self.members.contains_key(id)), "{:?}", self.targets);
        let mut shared = std::collections::BTreeSet::new();
        for (topic, partitions) in self.targets.values().flatten() {
            assert!(partitions.iter().all(|partition| shared.insert((*topic, *partition))), "a target has two members");
        }
    }

    /// Everything durable, as text that can be compared.
    #[cfg(test)]
    pub(crate) fn durable(&self) -> String {
        format!("{:?} {:?} {:?} {:?} {:?}", self.epoch, self.target_epoch, self.members, self.targets, self.regexes)
    }
}

impl Subscriber {
    /// How long the member may be silent.
    fn session_timeout_ms(&self, config: &GroupConfig) -> i32 {
        self.classic.as_ref().map_or(config.consumer_session_timeout_ms, |terms| terms.session_timeout_ms)
    }
}

fn partitions_of(current: &Current) -> impl Iterator<Item = (TopicId, PartitionIndex)> {
    let keys = |owned: &Owned| -> Vec<(TopicId, PartitionIndex)> {
        owned.iter().flat_map(|(topic, partitions)| partitions.keys().map(move |part| (*topic, *part))).collect()
    };
    keys(&current.assigned).into_iter().chain(keys(&current.revoking))
}

fn member_bytes(id: &MemberId, member: &Member) -> usize {
    let subscriber = &member.subscriber;
    let texts: usize = subscriber.topics.iter().map(|topic| topic.len() + 32).sum();
    let optional = [&subscriber.rack_id, &subscriber.regex, &subscriber.assignor];
    let optional: usize = optional.into_iter().flatten().map(|text| text.len()).sum();
    let instance = subscriber.instance_id.as_ref().map_or(0, InstanceId::len);
    let terms = subscriber.classic.as_ref().map_or(0, |terms| offers_bytes(&terms.protocols));
    // What it has counts with its target.
    let partitions = member.current.revoking.values().map(BTreeMap::len);
    MEMBER_OVERHEAD_BYTES
        + 2 * id.len()
        + 2 * instance
        + subscriber.client_id.len()
        + subscriber.client_host.len()
        + texts
        + optional
        + terms
        + 2 * PARTITION_BYTES * partitions.sum::<usize>()
}

/// Each partition is in the target, and sooner or later in what the member has and among those that have an owner: there was room for all
/// that when the target was made.
pub(super) fn target_bytes(id: &MemberId, target: &Partitions) -> usize {
    id.len() + target.values().map(|partitions| PARTITION_BYTES * (1 + 3 * partitions.len())).sum::<usize>()
}

pub(super) fn regex_bytes(regex: &str, resolved: &Resolved) -> usize {
    MEMBER_OVERHEAD_BYTES + regex.len() + resolved.topics.iter().map(|topic| topic.len() + 32).sum::<usize>()
}
