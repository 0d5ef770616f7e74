//! A group that changes from one protocol to the other and back while the server is killed: no partition is ever two members', no committed
//! offset is lost, and each time everything is shared out in the end.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use tidelog_harness::kafka::{Producer, config, is_transport};
use tidelog_harness::protocol::messages::*;
use tidelog_harness::rand::rngs::StdRng;
use tidelog_harness::rand::{Rng, SeedableRng};
use tidelog_harness::raw::Raw;
use tidelog_harness::rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use tidelog_harness::rdkafka::error::{KafkaError, RDKafkaErrorCode};
use tidelog_harness::rdkafka::{Message, Offset, TopicPartitionList};
use tidelog_harness::{Server, number, seed, wait_for};

use crate::PROGRESS;

const PARTITIONS: i32 = 4;

/// Records of each partition: more than are read between two kills.
const RECORDS: i32 = 20_000;

struct Member {
    consumer: BaseConsumer,
    classic: bool,
}

impl Member {
    /// Everything that it reads it is given by the server: it does not look at topics itself.
    fn start(server: &Server, classic: bool) -> Self {
        let protocol = if classic {
            vec![
                ("group.protocol", "classic"),
                ("partition.assignment.strategy", "range"),
                ("session.timeout.ms", "6000"),
                ("heartbeat.interval.ms", "200"),
            ]
        } else {
            vec![("group.protocol", "consumer")]
        };
        let mut settings = vec![
            ("group.id", "g"),
            ("enable.auto.commit", "false"),
            ("auto.offset.reset", "earliest"),
            ("fetch.wait.max.ms", "50"),
            ("max.poll.interval.ms", "120000"),
        ];
        settings.extend(protocol);
        let consumer: BaseConsumer = config(server.kafka(), &settings).create().unwrap();
        consumer.subscribe(&["t"]).unwrap();
        Member { consumer, classic }
    }

    fn partitions(&self) -> BTreeSet<i32> {
        let assignment = self.consumer.assignment().unwrap();
        assignment.elements().iter().map(|element| element.partition()).collect()
    }
}

/// What the group has committed, as its coordinator says.
fn committed(consumer: &BaseConsumer) -> BTreeMap<i32, i64> {
    let mut asked = TopicPartitionList::new();
    for partition in 0..PARTITIONS {
        asked.add_partition("t", partition);
    }
    let answer = || consumer.committed_offsets(asked.clone(), Duration::from_secs(5)).ok();
    let found = wait_for(answer, PROGRESS, "the committed offsets");
    let offset = |offset| if let Offset::Offset(offset) = offset { offset } else { 0 };
    found.elements().iter().map(|element| (element.partition(), offset(element.offset()))).collect()
}

/// Who has what, as the coordinator says; `None` while it does not say.
fn owners(server: &Server) -> Option<(&'static str, Vec<Vec<i32>>)> {
    let mut raw = Raw::connect(server.kafka());
    let request = ConsumerGroupDescribeRequest { group_ids: vec!["g".into()], ..Default::default() };
    let group = raw.call(1, &request).groups.remove(0);
    if group.error_code == 0 {
        let partitions = |topics: &[ConsumerGroupTopicPartitions]| -> Vec<i32> {
            topics.iter().flat_map(|topic| topic.partitions.iter().copied()).collect()
        };
        let all = group.members.iter().map(|member| partitions(&member.assignment.topic_partitions));
        return Some(("consumer", all.collect()));
    }
    (group.error_code == 69).then_some(("classic", Vec::new()))
}

/// The coordinator never says that a partition is two members'.
fn check_owners(server: &Server, seed: u64) {
    let Some((_, owners)) = owners(server) else { return };
    let mut seen = BTreeSet::new();
    for partition in owners.iter().flatten() {
        assert!(seen.insert(partition), "partition {partition} is two members': {owners:?}; seed {seed}");
    }
}

/// What a member may hear while the group changes and the server dies; anything else is a failure.
fn is_harmless(error: &KafkaError) -> bool {
    is_transport(error)
        || error.rdkafka_error_code().is_some_and(|code| {
            matches!(
                code,
                RDKafkaErrorCode::RebalanceInProgress
                    | RDKafkaErrorCode::IllegalGeneration
                    | RDKafkaErrorCode::UnknownMemberId
                    | RDKafkaErrorCode::NotCoordinator
                    | RDKafkaErrorCode::CoordinatorLoadInProgress
                    | RDKafkaErrorCode::CoordinatorNotAvailable
            )
        })
}

struct World {
    server: Server,
    members: Vec<Member>,
    /// What the group was told to be committed.
    acknowledged: BTreeMap<i32, i64>,
    random: StdRng,
    seed: u64,
}

impl World {
    /// Every member reads a little, and commits now and then.
    fn poll(&mut self) {
        for member in &self.members {
            match member.consumer.poll(Duration::from_millis(10)) {
                Some(Ok(record)) => {
                    // Between a rebalance and the commit the partition may have become another's: then the commit is refused.
                    let commits = self.random.random_range(0..50) == 0;
                    if commits && member.consumer.commit_message(&record, CommitMode::Sync).is_ok() {
                        let acknowledged = self.acknowledged.entry(record.partition()).or_default();
                        *acknowledged = record.offset() + 1;
                    }
                }
                Some(Err(error)) => assert!(is_harmless(&error), "{error}; seed {}", self.seed),
                None => {}
            }
        }
    }

    /// Polls until the condition holds.
    fn until(&mut self, what: &str, condition: impl Fn(&Self) -> bool) {
        let start = Instant::now();
        while !condition(self) {
            assert!(start.elapsed() < PROGRESS, "waited in vain: {what}; seed {}", self.seed);
            self.poll();
        }
    }

    /// All partitions are read, each by one member, in a group of the kind that its members make.
    fn settle(&mut self) {
        let is_shared = |world: &World| {
            let all: Vec<i32> = world.members.iter().flat_map(Member::partitions).collect();
            all.len() == PARTITIONS as usize && all.iter().collect::<BTreeSet<_>>().len() == all.len()
        };
        self.until("every partition has one reader", is_shared);
        let kind = if self.members.iter().all(|member| member.classic) { "classic" } else { "consumer" };
        self.until("the group is of its members' protocol", |world| {
            owners(&world.server).is_some_and(|(is, _)| is == kind)
        });
        check_owners(&self.server, self.seed);
    }

    /// One member goes, and another one comes with the other protocol.
    fn change(&mut self) {
        let who = self.random.random_range(0..self.members.len());
        let classic = !self.members[who].classic;
        let gone = self.members.swap_remove(who);
        // Half of the time it says so; otherwise its session ends.
        if self.random.random() {
            gone.consumer.unsubscribe();
        }
        drop(gone);
        self.members.push(Member::start(&self.server, classic));
    }

    fn kill(&mut self) {
        self.server.kill();
        self.server.start_again();
        let stored = committed(&self.members[0].consumer);
        for (partition, acknowledged) in &self.acknowledged {
            let found = stored[partition];
            assert!(found >= *acknowledged, "{partition}: committed {acknowledged}, found {found}; seed {}", self.seed);
        }
        // A commit may be stored though its answer was lost.
        self.acknowledged = stored;
        check_owners(&self.server, self.seed);
    }
}

#[test]
fn no_change_of_protocol_loses_a_commit_or_gives_a_partition_twice() {
    let seed = seed();
    let kills = number("TIDELOG_KILLS").unwrap_or(10);
    println!("{kills} kills; TIDELOG_SEED={seed} repeats the choices");
    let options = tidelog_harness::options!()
        .set("group.consumer.min.session.timeout.ms", 1_000)
        .set("group.consumer.min.heartbeat.interval.ms", 100)
        .set("group.consumer.session.timeout.ms", 6_000)
        .set("group.consumer.heartbeat.interval.ms", 200);
    let server = Server::start(options);
    server.run(&["topic", "create", "t", "--partitions", "4"]).expect(0);
    let producer = Producer::new(server.kafka(), &[("enable.idempotence", "true")]);
    for n in 0..RECORDS {
        (0..PARTITIONS).for_each(|partition| producer.send_value("t", partition, n.to_string().as_bytes()));
    }
    producer.finish_well();
    drop(producer);

    let members = [true, false].map(|classic| Member::start(&server, classic)).into();
    let random = StdRng::seed_from_u64(seed);
    let mut world = World { server, members, acknowledged: BTreeMap::new(), random, seed };
    world.settle();
    let (mut kinds, mut changes) = (BTreeSet::new(), 0);
    for _ in 0..kills {
        world.change();
        changes += 1;
        // A random moment of the change, or the time after it.
        let polls = world.random.random_range(0..60);
        (0..polls).for_each(|_| world.poll());
        kinds.insert(owners(&world.server).map(|(kind, _)| kind));
        world.kill();
        if world.random.random() {
            world.settle();
        }
    }
    world.settle();
    println!("{kills} kills over {changes} changes, groups met: {kinds:?}, committed {:?}", world.acknowledged);
    // While the server is there: librdkafka may wait for ever to leave a group whose coordinator is gone.
    world.members.clear();
    world.server.stop();
}
