//! Random interleavings of members of both protocols in one group, with restarts from one protocol to the other, refused appends and
//! failovers: no two members ever believe that a partition is theirs, nobody waits for ever, and in the end everything is shared out.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proptest::prelude::*;
use tidelog_model::{KafkaError, PartitionIndex};

use super::driver::{Driver, directory, join, report};
use crate::ReplyToken;
use crate::group::embedded::{self, Named};
use crate::group::*;

const CLIENTS: usize = 3;
const PARTITIONS: i32 = 4;

/// The last client is a static member.
fn instance(who: usize) -> Option<InstanceId> {
    (who == CLIENTS - 1).then(|| InstanceId::from("static"))
}

#[derive(Debug, Clone)]
enum Step {
    /// The client does what is next for it: join, ask, report.
    Act {
        who: usize,
    },
    /// It leaves, or just stops, and starts again with this protocol.
    Restart {
        who: usize,
        classic: bool,
        leaves: bool,
    },
    Advance {
        ms: u64,
    },
    Refused(Box<Step>),
    Failover,
}

fn step() -> impl Strategy<Value = Step> {
    let who = 0..CLIENTS;
    let plain = prop_oneof![
        30 => who.clone().prop_map(|who| Step::Act { who }),
        3 => (who, any::<bool>(), prop::bool::weighted(0.7))
            .prop_map(|(who, classic, leaves)| Step::Restart { who, classic, leaves }),
        2 => prop_oneof![0..1_000u64, 0..50_000u64].prop_map(|ms| Step::Advance { ms }),
    ];
    prop_oneof![
        30 => plain.clone(),
        2 => plain.prop_map(|step| Step::Refused(Box::new(step))),
        1 => Just(Step::Failover),
    ]
}

/// What a client does next.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Next {
    /// JoinGroup, or a first report.
    Join,
    /// It has sent this JoinGroup or SyncGroup.
    Wait(ReplyToken),
    /// SyncGroup, with an assignment if it leads.
    Sync(Vec<(MemberId, bytes::Bytes)>),
    /// Heartbeat, or a report.
    Beat,
}

#[derive(Debug, Clone)]
struct Client {
    classic: bool,
    id: String,
    /// Its generation or epoch.
    epoch: i32,
    owned: BTreeSet<i32>,
    next: Next,
}

impl Client {
    fn new(classic: bool, id: usize) -> Self {
        let id = if classic { String::new() } else { format!("m{id}") };
        Client { classic, id, epoch: 0, owned: BTreeSet::new(), next: Next::Join }
    }

    /// It is not in the group any more, as far as it knows.
    fn lost(&mut self) {
        self.owned.clear();
        self.epoch = 0;
        self.next = Next::Join;
        if self.classic {
            self.id.clear();
        }
    }
}

struct World {
    driver: Driver,
    clients: Vec<Client>,
    ids: usize,
}

impl World {
    fn new() -> Self {
        let mut driver = Driver::new(GroupConfig::default());
        driver.topics = directory(1, &[("t", PARTITIONS)]);
        World { driver, clients: (0..CLIENTS).map(|who| Client::new(who > 0, who)).collect(), ids: CLIENTS }
    }

    fn apply(&mut self, step: &Step) {
        match step {
            Step::Refused(step) => {
                self.driver.refuse = Some(KafkaError::NotEnoughReplicas);
                self.apply(step);
                self.driver.refuse = None;
            }
            Step::Act { who } => self.act(*who),
            Step::Restart { who, classic, leaves } => self.restart(*who, *classic, *leaves),
            Step::Advance { ms } => {
                self.driver.advance(Duration::from_millis(*ms));
            }
            Step::Failover => {
                let before = self.driver.shard.durable();
                self.driver.restart();
                assert_eq!(self.driver.shard.durable(), before, "replaying the log gives another state");
            }
        }
        self.hear();
        self.check();
    }

    fn act(&mut self, who: usize) {
        let client = self.clients[who].clone();
        if !client.classic {
            return self.report(who);
        }
        let call = match client.next {
            Next::Wait(_) => return,
            Next::Join => {
                // Its assignor gives everything up before it joins.
                self.clients[who].owned.clear();
                let metadata = b"\0\0\0\0\0\x01\0\x01t\xff\xff\xff\xff";
                let protocols = vec![Protocol { name: "range".into(), metadata: bytes::Bytes::from_static(metadata) }];
                let fresh = self.driver.fresh();
                let instance_id = instance(who);
                GroupCall::Join(JoinGroup {
                    protocols,
                    instance_id,
                    rebalance_timeout_ms: 20_000,
                    ..join(&client.id, fresh)
                })
            }
            Next::Sync(assignments) => GroupCall::Sync(SyncGroup {
                generation: Generation(client.epoch),
                member_id: client.id.as_str().into(),
                instance_id: instance(who),
                protocol_type: Some("consumer".into()),
                protocol_name: Some("range".into()),
                assignments,
            }),
            Next::Beat => {
                let member_id = client.id.as_str().into();
                let generation = Generation(client.epoch);
                GroupCall::Heartbeat(Heartbeat { generation, member_id, instance_id: instance(who) })
            }
        };
        let (token, _) = self.driver.call("g", call);
        self.clients[who].next = Next::Wait(token);
    }

    /// Clients of the classic protocol hear what has been answered.
    fn hear(&mut self) {
        for client in &mut self.clients {
            let Next::Wait(token) = client.next else { continue };
            let Some(reply) = self.driver.answers[&token].clone() else { continue };
            match reply {
                GroupReply::Join(Ok(joined)) => {
                    client.id = joined.member_id.to_string();
                    client.epoch = joined.generation.get();
                    // Nothing is to be assigned anew, or by somebody else.
                    client.next = Next::Sync(if joined.skip_assignment { Vec::new() } else { shares(&joined) });
                }
                GroupReply::Join(Err(refused)) if refused.error == KafkaError::MemberIdRequired => {
                    client.id = refused.member_id.to_string();
                    client.next = Next::Join;
                }
                GroupReply::Sync(Ok(synced)) => {
                    let (named, _) = embedded::assignment(&synced.assignment).unwrap();
                    client.owned = named.values().flatten().map(|part| part.get()).collect();
                    client.next = Next::Beat;
                }
                GroupReply::Heartbeat(Ok(())) => client.next = Next::Beat,
                GroupReply::Heartbeat(Err(KafkaError::NotCoordinator | KafkaError::CoordinatorNotAvailable))
                | GroupReply::Sync(Err(KafkaError::NotCoordinator | KafkaError::CoordinatorNotAvailable)) => {
                    // It asks the new coordinator what it asked the old one, which did not do it: joining is always right.
                    client.next = Next::Join;
                }
                GroupReply::Join(Err(JoinRefused { error, .. }))
                | GroupReply::Sync(Err(error))
                | GroupReply::Heartbeat(Err(error)) => match error {
                    KafkaError::RebalanceInProgress
                    | KafkaError::NotCoordinator
                    | KafkaError::CoordinatorNotAvailable => client.next = Next::Join,
                    KafkaError::UnknownMemberId | KafkaError::IllegalGeneration | KafkaError::FencedInstanceId => {
                        client.lost();
                    }
                    other => panic!("{other:?}"),
                },
                other => panic!("{other:?}"),
            }
        }
    }

    fn report(&mut self, who: usize) {
        let client = self.clients[who].clone();
        let joins = client.next == Next::Join;
        let parts = client.owned.iter().map(|part| PartitionIndex(*part)).collect::<Vec<_>>();
        let topic = self.driver.topics.get("t").unwrap().id;
        let owned = if parts.is_empty() { Vec::new() } else { vec![TopicPartitions { topic, partitions: parts }] };
        let beat = ConsumerHeartbeat {
            instance_id: instance(who),
            topics: Some(vec!["t".into()]),
            rebalance_timeout_ms: Some(20_000),
            owned: Some(if joins { Vec::new() } else { owned }),
            ..report(&client.id, Epoch(if joins { 0 } else { client.epoch }))
        };
        let (token, _) = self.driver.call("g", GroupCall::Consumer(Box::new(beat)));
        let client = &mut self.clients[who];
        match self.driver.answers[&token].clone().unwrap() {
            GroupReply::Consumer(Ok(answer)) => {
                client.epoch = answer.epoch.get();
                client.next = Next::Beat;
                if let Some(assignment) = answer.assignment {
                    client.owned = assignment.iter().flat_map(|topic| &topic.partitions).map(|p| p.get()).collect();
                }
            }
            GroupReply::Consumer(Err(refused)) => match refused.error {
                KafkaError::FencedMemberEpoch | KafkaError::UnknownMemberId | KafkaError::GroupIdNotFound => {
                    client.lost();
                }
                KafkaError::FencedInstanceId => client.lost(),
                // Its name has another one until that one's session is over.
                KafkaError::UnreleasedInstanceId | KafkaError::CoordinatorNotAvailable => {}
                other => panic!("{other:?}: {}", refused.message),
            },
            other => panic!("{other:?}"),
        }
    }

    fn restart(&mut self, who: usize, classic: bool, leaves: bool) {
        let client = self.clients[who].clone();
        let is_static = instance(who).is_some();
        if leaves && client.classic && !client.id.is_empty() && !is_static {
            let member_id = client.id.as_str().into();
            let leaving = LeavingMember { member_id, instance_id: None, reason: None };
            self.driver.call("g", GroupCall::Leave(vec![leaving]));
        } else if leaves && !client.classic {
            let epoch = if is_static { Epoch::LEAVE_FOR_NOW } else { Epoch::LEAVE };
            let beat = ConsumerHeartbeat { instance_id: instance(who), ..report(&client.id, epoch) };
            self.driver.call("g", GroupCall::Consumer(Box::new(beat)));
        }
        self.ids += 1;
        self.clients[who] = Client::new(classic, self.ids);
    }

    /// The members that are in the group, as it tells.
    fn members(&self) -> BTreeSet<String> {
        match self.driver.shard.describe(&"g".into()) {
            Ok(AnyDescription::Consumer(group)) => group.members.iter().map(|m| m.member_id.to_string()).collect(),
            Ok(AnyDescription::Classic(group)) => group.members.iter().map(|m| m.member_id.to_string()).collect(),
            Err(_) => BTreeSet::new(),
        }
    }

    fn check(&self) {
        let (members, mut seen) = (self.members(), BTreeMap::new());
        for client in self.clients.iter().filter(|client| members.contains(&client.id)) {
            for part in &client.owned {
                let before = seen.insert(part, &client.id);
                assert!(before.is_none(), "{part} is owned by {} and {}", before.unwrap(), client.id);
            }
        }
    }

    /// Everybody goes on until nothing changes: then each partition has one reader.
    fn settle(&mut self) {
        for _ in 0..40 {
            for who in 0..CLIENTS {
                self.apply(&Step::Act { who });
            }
            self.apply(&Step::Advance { ms: 2_000 });
        }
        let owned: Vec<i32> = self.clients.iter().flat_map(|client| client.owned.iter().copied()).collect();
        let everything: Vec<i32> = (0..PARTITIONS).collect();
        assert_eq!(owned.iter().copied().collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>(), everything);
        assert_eq!(owned.len(), everything.len(), "{:?}", self.clients);
        // It is a classic group exactly if nobody speaks the consumer protocol.
        let listing = &self.driver.shard.list().unwrap()[0];
        let all_classic = self.clients.iter().all(|client| client.classic);
        assert_eq!(listing.kind == GroupKind::Classic, all_classic, "{listing:?} {:?}", self.clients);
        assert_eq!(self.members().len(), CLIENTS);
    }

    fn finish(mut self) {
        self.apply(&Step::Advance { ms: 3_600_000 });
        let waiting = self.driver.answers.iter().filter(|(_, answer)| answer.is_none()).count();
        assert_eq!(waiting, 0, "somebody waits for ever");
        assert!(self.driver.shard.list().unwrap().iter().all(|listing| listing.state == "Empty"));
        self.driver.advance(Duration::from_secs(10 * 86_400));
        assert!(self.driver.shard.list().unwrap().is_empty(), "something never expires");
        assert_eq!(self.driver.shard.bytes(), 0);
    }
}

/// What the leader of a classic generation shares out: each partition to the next member.
fn shares(joined: &Joined) -> Vec<(MemberId, bytes::Bytes)> {
    let mut parts: BTreeMap<&MemberId, BTreeSet<PartitionIndex>> =
        joined.members.iter().map(|member| (&member.member_id, BTreeSet::new())).collect();
    let ids: Vec<&MemberId> = parts.keys().copied().collect();
    for (part, id) in (0..PARTITIONS).zip(ids.into_iter().cycle()) {
        parts.get_mut(id).unwrap().insert(PartitionIndex(part));
    }
    let written = |parts| embedded::write_assignment(0, &Named::from([("t".into(), parts)])).unwrap();
    parts.into_iter().map(|(id, parts)| (id.clone(), written(parts))).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 250, ..ProptestConfig::default() })]
    #[test]
    fn no_partition_ever_has_two_readers_of_any_protocol(steps in prop::collection::vec(step(), 1..150)) {
        let mut world = World::new();
        steps.iter().for_each(|step| world.apply(step));
        world.settle();
        world.finish();
    }
}
