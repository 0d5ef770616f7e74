//! Random interleavings of heartbeats, lost answers, topics that grow, refused appends and failovers in a group of the consumer protocol:
//! no two members ever believe that a partition is theirs, and in the end everything is shared out.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use tidelog_model::{KafkaError, PartitionIndex, TopicId};

use super::driver::{Driver, directory, offset, report};
use crate::group::*;

const CLIENTS: usize = 4;

#[derive(Debug, Clone)]
enum Step {
    /// A report; the answer may be lost, and the member may tell everything again.
    Beat {
        who: usize,
        lost: bool,
        full: bool,
    },
    /// The member reads something else from now on.
    Subscribe {
        who: usize,
        topics: usize,
    },
    /// It leaves; the static one may only go for now.
    Leave {
        who: usize,
        for_now: bool,
    },
    Commit {
        who: usize,
    },
    /// A topic gets one more partition.
    Grow {
        topic: usize,
    },
    Advance {
        ms: u64,
    },
    Refused(Box<Step>),
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    let who = 0..CLIENTS;
    let plain = prop_oneof![
        20 => (who.clone(), prop::bool::weighted(0.15), prop::bool::weighted(0.1))
            .prop_map(|(who, lost, full)| Step::Beat { who, lost, full }),
        2 => (who.clone(), 0..4usize).prop_map(|(who, topics)| Step::Subscribe { who, topics }),
        2 => (who.clone(), any::<bool>()).prop_map(|(who, for_now)| Step::Leave { who, for_now }),
        2 => who.prop_map(|who| Step::Commit { who }),
        1 => (0..2usize).prop_map(|topic| Step::Grow { topic }),
        2 => prop_oneof![0..1_000u64, 0..50_000u64].prop_map(|ms| Step::Advance { ms }),
    ];
    prop_oneof![
        30 => plain.clone(),
        2 => plain.prop_map(|step| Step::Refused(Box::new(step))),
        1 => Just(Step::Restart),
    ]
}

type Parts = BTreeSet<(TopicId, PartitionIndex)>;

/// What one client knows.
#[derive(Debug, Clone)]
struct Client {
    id: String,
    epoch: Epoch,
    owned: Parts,
    topics: usize,
    /// Its subscription has changed since its last report was answered.
    news: bool,
}

struct World {
    driver: Driver,
    clients: Vec<Client>,
    sizes: [i32; 2],
    revision: u64,
    ids: usize,
}

impl World {
    fn new() -> Self {
        let client =
            |who| Client { id: format!("c{who}"), epoch: Epoch::JOIN, owned: Parts::new(), topics: 1, news: true };
        World {
            driver: Driver::new(GroupConfig::default()),
            clients: (0..CLIENTS).map(client).collect(),
            sizes: [3, 2],
            revision: 1,
            ids: CLIENTS,
        }
    }

    /// The last client is a static member.
    fn instance(who: usize) -> Option<InstanceId> {
        (who == CLIENTS - 1).then(|| InstanceId::from("static"))
    }

    fn apply(&mut self, step: &Step) {
        match step {
            Step::Refused(step) => {
                self.driver.refuse = Some(KafkaError::NotEnoughReplicas);
                self.apply(step);
                self.driver.refuse = None;
            }
            Step::Beat { who, lost, full } => self.beat(*who, *lost, *full),
            Step::Subscribe { who, topics } => {
                self.clients[*who].topics = *topics;
                self.clients[*who].news = true;
            }
            Step::Leave { who, for_now } => self.leave(*who, *for_now),
            Step::Commit { who } => self.commit(*who),
            Step::Grow { topic } => {
                self.sizes[*topic] += 1;
                self.revision += 1;
            }
            Step::Advance { ms } => {
                self.driver.advance(Duration::from_millis(*ms));
            }
            Step::Restart => {
                let before = self.driver.shard.durable();
                self.driver.restart();
                assert_eq!(self.driver.shard.durable(), before, "replaying the log gives another state");
            }
        }
        self.check();
    }

    fn beat(&mut self, who: usize, lost: bool, full: bool) {
        let client = self.clients[who].clone();
        let tells = client.epoch == Epoch::JOIN || client.news || full;
        let names: [&[&str]; 4] = [&["t"], &["t", "u"], &["u"], &[]];
        self.driver.topics = directory(self.revision, &[("t", self.sizes[0]), ("u", self.sizes[1])]);
        let mut beat = report(&client.id, client.epoch);
        beat.instance_id = Self::instance(who);
        if tells {
            beat.topics = Some(names[client.topics].iter().map(|name| Arc::from(*name)).collect());
            beat.regex = Some(if client.topics == 3 { "[tu]".into() } else { "".into() });
            beat.rebalance_timeout_ms = Some(20_000);
        }
        beat.owned = Some(by_topic(&client.owned));
        let (token, _) = self.driver.call("g", GroupCall::Consumer(Box::new(beat)));
        let reply = self.driver.answers[&token].clone().unwrap();
        if lost {
            // A client that does not know what came of its report tells everything again.
            self.clients[who].news = true;
            return;
        }
        let client = &mut self.clients[who];
        match reply {
            GroupReply::Consumer(Ok(answer)) => {
                client.epoch = answer.epoch;
                client.news &= !tells;
                if let Some(assignment) = answer.assignment {
                    client.owned = parts(&assignment);
                }
            }
            GroupReply::Consumer(Err(refused)) => match refused.error {
                KafkaError::FencedMemberEpoch | KafkaError::UnknownMemberId | KafkaError::GroupIdNotFound => {
                    client.epoch = Epoch::JOIN;
                    client.owned.clear();
                }
                // The static member's old id has not left, or has been replaced.
                KafkaError::UnreleasedInstanceId | KafkaError::FencedInstanceId => client.owned.clear(),
                KafkaError::CoordinatorNotAvailable => {}
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        }
    }

    fn leave(&mut self, who: usize, for_now: bool) {
        let for_now = for_now && Self::instance(who).is_some();
        let client = self.clients[who].clone();
        let epoch = if for_now { Epoch::LEAVE_FOR_NOW } else { Epoch::LEAVE };
        let mut beat = report(&client.id, epoch);
        beat.instance_id = Self::instance(who);
        self.driver.call("g", GroupCall::Consumer(Box::new(beat)));
        // Whatever the answer: it is gone, and comes back as somebody else.
        self.ids += 1;
        let id = format!("c{}", self.ids);
        self.clients[who] = Client { id, epoch: Epoch::JOIN, owned: Parts::new(), news: true, ..client };
    }

    fn commit(&mut self, who: usize) {
        let client = &self.clients[who];
        let call = GroupCall::Commit(CommitOffsets {
            generation: Generation(client.epoch.get()),
            member_id: client.id.as_str().into(),
            instance_id: None,
            retention_ms: None,
            knows_epochs: true,
            offsets: vec![offset("t", 0, 7)],
        });
        self.driver.call("g", call);
    }

    /// Of the members that are in the group no two believe that they own the same partition.
    fn check(&self) {
        let Ok(AnyDescription::Consumer(group)) = self.driver.shard.describe(&"g".into()) else { return };
        let mut seen = BTreeMap::new();
        for client in &self.clients {
            if group.members.iter().any(|member| member.member_id.as_str() == client.id) {
                for part in &client.owned {
                    let before = seen.insert(*part, &client.id);
                    assert!(before.is_none(), "{part:?} is owned by {} and {}", before.unwrap(), client.id);
                }
            }
        }
    }

    /// Everybody reports until nothing changes: then each partition that is read has one reader.
    fn settle(&mut self) {
        for _ in 0..12 {
            for who in 0..CLIENTS {
                self.apply(&Step::Beat { who, lost: false, full: false });
            }
            // A static member whose old id never left waits until that one's session is over.
            self.apply(&Step::Advance { ms: 9_000 });
        }
        let Ok(AnyDescription::Consumer(group)) = self.driver.shard.describe(&"g".into()) else { panic!("no group") };
        assert_eq!((group.state, group.members.len()), ("Stable", CLIENTS), "{group:?}");
        let (t, u) = (directory_id("t"), directory_id("u"));
        let mut wanted = Parts::new();
        for client in &self.clients {
            if client.topics != 2 {
                wanted.extend((0..self.sizes[0]).map(|part| (t, PartitionIndex(part))));
            }
            if client.topics != 0 {
                wanted.extend((0..self.sizes[1]).map(|part| (u, PartitionIndex(part))));
            }
        }
        let owned: Vec<_> = self.clients.iter().flat_map(|client| client.owned.iter().copied()).collect();
        assert_eq!(owned.len(), wanted.len());
        assert_eq!(owned.into_iter().collect::<Parts>(), wanted);
    }

    /// When everybody is silent, the group empties, and goes with its last offset.
    fn finish(mut self) {
        self.apply(&Step::Advance { ms: 3_600_000 });
        assert!(self.driver.shard.list().unwrap().iter().all(|listing| listing.state == "Empty"));
        self.apply(&Step::Restart);
        self.apply(&Step::Advance { ms: 10 * 86_400_000 });
        assert!(self.driver.shard.list().unwrap().is_empty(), "something never expires");
        assert_eq!(self.driver.shard.bytes(), 0);
    }
}

fn directory_id(name: &str) -> TopicId {
    directory(1, &[(name, 1)]).get(name).unwrap().id
}

fn parts(listed: &[TopicPartitions]) -> Parts {
    listed.iter().flat_map(|topic| topic.partitions.iter().map(|part| (topic.topic, *part))).collect()
}

fn by_topic(parts: &Parts) -> Vec<TopicPartitions> {
    let mut topics: BTreeMap<TopicId, Vec<PartitionIndex>> = BTreeMap::new();
    for (topic, part) in parts {
        topics.entry(*topic).or_default().push(*part);
    }
    topics.into_iter().map(|(topic, partitions)| TopicPartitions { topic, partitions }).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 250, ..ProptestConfig::default() })]
    #[test]
    fn no_partition_ever_has_two_readers(steps in prop::collection::vec(step(), 1..100)) {
        let mut world = World::new();
        steps.iter().for_each(|step| world.apply(step));
        world.settle();
        world.finish();
    }
}
