//! Random interleavings of requests, timers, refused appends and failovers; after every step the rules that must hold.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;
use tidelog_model::KafkaError;

use super::driver::{Done, Driver, join, offset};
use crate::ReplyToken;
use crate::group::*;

#[derive(Debug, Clone)]
enum Step {
    Join { who: usize, group: usize, forget: bool, offers: usize, old_version: bool },
    Sync { who: usize },
    Heartbeat { who: usize },
    Leave { who: usize },
    Commit { who: usize, simple: bool },
    Delete { group: usize },
    DeleteTopic,
    Advance { ms: u64 },
    Refused(Box<Step>),
    Restart,
}

const CLIENTS: usize = 5;
const GROUPS: [&str; 2] = ["g", "h"];

fn step() -> impl Strategy<Value = Step> {
    let who = 0..CLIENTS;
    let plain = prop_oneof![
        8 => (who.clone(), 0..GROUPS.len(), prop::bool::weighted(0.2), 0..3usize, prop::bool::weighted(0.3))
            .prop_map(|(who, group, forget, offers, old_version)| Step::Join { who, group, forget, offers, old_version }),
        6 => who.clone().prop_map(|who| Step::Sync { who }),
        3 => who.clone().prop_map(|who| Step::Heartbeat { who }),
        1 => who.clone().prop_map(|who| Step::Leave { who }),
        3 => (who, any::<bool>()).prop_map(|(who, simple)| Step::Commit { who, simple }),
        1 => (0..GROUPS.len()).prop_map(|group| Step::Delete { group }),
        1 => Just(Step::DeleteTopic),
        4 => prop_oneof![0..100u64, 0..12_000u64, 0..400_000u64, Just(8 * 86_400_000)].prop_map(|ms| Step::Advance { ms }),
    ];
    prop_oneof![
        30 => plain.clone(),
        2 => plain.prop_map(|step| Step::Refused(Box::new(step))),
        1 => Just(Step::Restart),
    ]
}

/// What one client knows.
#[derive(Debug, Clone)]
struct Client {
    group: usize,
    member: MemberId,
    generation: Generation,
    /// Whom it must assign to, if it leads.
    followers: Vec<MemberId>,
}

struct World {
    driver: Driver,
    clients: Vec<Client>,
    /// Who asked, and under which id.
    asked: BTreeMap<ReplyToken, (usize, MemberId)>,
    generations: BTreeMap<GroupId, Generation>,
}

impl World {
    fn new(config: GroupConfig) -> Self {
        let client = Client { group: 0, member: "".into(), generation: Generation::NONE, followers: Vec::new() };
        World {
            driver: Driver::new(config),
            clients: vec![client; CLIENTS],
            asked: BTreeMap::new(),
            generations: BTreeMap::new(),
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
            Step::Advance { ms } => {
                for done in self.driver.advance(Duration::from_millis(*ms)) {
                    self.learn(&done);
                }
            }
            Step::Restart => {
                let before = self.driver.shard.durable();
                self.driver.restart();
                assert_eq!(self.driver.shard.durable(), before, "replaying the log gives another state");
                // Generations that were never stored may come again.
                self.generations.clear();
            }
            Step::DeleteTopic => {
                let done = self.driver.delete_topic("t");
                self.learn(&done);
            }
            Step::Delete { group } => self.ask(None, *group, GroupCall::Delete),
            Step::Join { who, group, forget, offers, old_version } => {
                self.join(*who, *group, *forget, *offers, *old_version)
            }
            Step::Sync { who } | Step::Heartbeat { who } | Step::Leave { who } | Step::Commit { who, .. } => {
                let call = self.member_call(step, *who);
                self.ask(Some(*who), self.clients[*who].group, call);
            }
        }
        self.check();
    }

    fn join(&mut self, who: usize, group: usize, forget: bool, offers: usize, old_version: bool) {
        let client = &mut self.clients[who];
        if forget || client.group != group {
            *client = Client { group, member: "".into(), generation: Generation::NONE, followers: Vec::new() };
        }
        let names: &[&str] = [&["range", "sticky"][..], &["sticky", "range"], &["sticky"]][offers];
        let offer = |name: &&str| Protocol { name: (*name).into(), metadata: Bytes::from(vec![b'm'; offers + 1]) };
        let request = JoinGroup {
            instance_id: Self::instance(who),
            protocols: names.iter().map(offer).collect(),
            requires_member_id: !old_version,
            supports_skip_assignment: !old_version,
            ..join(client.member.as_str(), self.driver.fresh())
        };
        self.ask(Some(who), group, GroupCall::Join(request));
    }

    fn member_call(&self, step: &Step, who: usize) -> GroupCall {
        let Client { member, generation, followers, .. } = self.clients[who].clone();
        let instance_id = Self::instance(who);
        match step {
            Step::Sync { .. } => GroupCall::Sync(SyncGroup {
                generation,
                member_id: member,
                instance_id,
                protocol_type: None,
                protocol_name: None,
                assignments: followers.into_iter().map(|id| (id.clone(), id.as_str().to_owned().into())).collect(),
            }),
            Step::Heartbeat { .. } => GroupCall::Heartbeat(Heartbeat { generation, member_id: member, instance_id }),
            Step::Leave { .. } => {
                GroupCall::Leave(vec![LeavingMember { member_id: member, instance_id, reason: None }])
            }
            Step::Commit { simple, .. } => GroupCall::Commit(CommitOffsets {
                generation: if *simple { Generation::NONE } else { generation },
                member_id: if *simple { "".into() } else { member },
                instance_id: instance_id.filter(|_| !simple),
                retention_ms: simple.then_some(1_000),
                knows_epochs: true,
                offsets: vec![offset("t", who as i32, 7), offset("u", 0, who as i64)],
            }),
            other => panic!("{other:?}"),
        }
    }

    fn ask(&mut self, who: Option<usize>, group: usize, call: GroupCall) {
        let id = who.map_or("".into(), |who| self.clients[who].member.clone());
        let (token, done) = self.driver.call(GROUPS[group], call);
        if let Some(who) = who {
            self.asked.insert(token, (who, id));
        }
        self.learn(&done);
    }

    /// What the clients learn from replies.
    fn learn(&mut self, done: &Done) {
        let leaders = done.replies.iter().filter(|(_, reply)| match reply {
            GroupReply::Join(Ok(joined)) => !joined.members.is_empty(),
            _ => false,
        });
        assert!(leaders.count() <= 1, "two leaders");
        for (token, reply) in &done.replies {
            let Some((who, id)) = self.asked.get(token) else { continue };
            let client = &mut self.clients[*who];
            match reply {
                GroupReply::Join(Ok(joined)) => {
                    assert!(joined.members.is_empty() || joined.leader == joined.member_id);
                    client.member = joined.member_id.clone();
                    client.generation = joined.generation;
                    client.followers = joined.members.iter().map(|member| member.member_id.clone()).collect();
                }
                GroupReply::Join(Err(refused)) => client.member = refused.member_id.clone(),
                GroupReply::Sync(Ok(synced)) => {
                    // Nobody gets what was assigned to someone else, but for a static member that took a place over.
                    let own = synced.assignment.is_empty() || synced.assignment == id.as_str().as_bytes();
                    assert!(own || Self::instance(*who).is_some(), "{synced:?} for {id}");
                }
                _ => {}
            }
        }
    }

    fn check(&mut self) {
        let alive = self.driver.shard.list().unwrap();
        self.generations.retain(|id, _| alive.iter().any(|listing| listing.group == *id));
        for listing in alive {
            let AnyDescription::Classic(group) = self.driver.shard.describe(&listing.group).unwrap() else { continue };
            // A group that was deleted begins anew: its record is gone, and nothing but offsets may be left of it.
            let anew = group.generation == Generation(0) && group.members.is_empty();
            let before = self.generations.insert(listing.group, group.generation);
            assert!(anew || before.is_none_or(|before| before <= group.generation), "the generation went back");
        }
    }

    /// When everything has run out, nobody waits any more, and all members are gone.
    fn finish(mut self) {
        self.apply(&Step::Advance { ms: 2 * 3_600_000 });
        let open: Vec<_> = self.driver.answers.iter().filter(|(_, answer)| answer.is_none()).collect();
        assert!(open.is_empty(), "never answered: {open:?}");
        assert!(self.driver.shard.list().unwrap().iter().all(|listing| listing.state == "Empty"));
        self.apply(&Step::Restart);
        self.apply(&Step::Advance { ms: 10 * 86_400_000 });
        assert!(self.driver.shard.list().unwrap().is_empty(), "something never expires");
        assert_eq!(self.driver.shard.bytes(), 0);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 250, ..ProptestConfig::default() })]
    #[test]
    fn no_interleaving_breaks_a_group(
        steps in prop::collection::vec(step(), 1..120),
        delay in prop_oneof![Just(0u64), Just(3_000u64)],
        max_size in prop_oneof![Just(2usize), Just(100usize)],
    ) {
        let initial_rebalance_delay = Duration::from_millis(delay);
        let mut world = World::new(GroupConfig { initial_rebalance_delay, max_size, ..GroupConfig::default() });
        steps.iter().for_each(|step| world.apply(step));
        world.finish();
    }
}
