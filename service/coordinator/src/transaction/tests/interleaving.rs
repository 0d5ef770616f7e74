//! Any order of requests, stale producers, unanswered markers, refused appends, time and restarts: no partition ends one transaction both
//! ways or another one than was meant, and every transaction ends.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;
use tidelog_model::{KafkaError, ProducerEpoch, ProducerId, TopicPartition};

use super::driver::{Done, Driver, add, end, init, partition};
use crate::transaction::record::{TransactionRecord, decode};
use crate::transaction::*;

const IDS: [&str; 2] = ["t", "u"];
const PARTITIONS: [&str; 3] = ["a-0", "a-1", "b-0"];

#[derive(Clone, Copy, Debug)]
enum Action {
    /// A producer instance starts, or comes back with what it has.
    Init { who: usize, comes_back: bool },
    /// It adds a partition and writes to it.
    Write { who: usize, partition: usize },
    /// It ends its transaction.
    End { who: usize, commit: bool },
    /// The partitions write the oldest markers; those in the mask fail, and the answers may get lost with the process.
    Mark { failing: u8, dies: bool },
    /// Time passes.
    Wait(u16),
    /// The process dies.
    Restart,
    /// The next append is refused.
    Refuse,
}

fn actions() -> impl Strategy<Value = Vec<Action>> {
    let who = 0usize..4;
    let action = prop_oneof![
        3 => (who.clone(), any::<bool>()).prop_map(|(who, comes_back)| Action::Init { who, comes_back }),
        6 => (who.clone(), 0..PARTITIONS.len()).prop_map(|(who, partition)| Action::Write { who, partition }),
        4 => (who, any::<bool>()).prop_map(|(who, commit)| Action::End { who, commit }),
        5 => (0u8..8, prop::bool::weighted(0.1)).prop_map(|(failing, dies)| Action::Mark { failing, dies }),
        2 => (0u16..20_000).prop_map(Action::Wait),
        1 => Just(Action::Restart),
        1 => Just(Action::Refuse),
    ];
    prop::collection::vec(action, 1..120)
}

/// What a partition knows of a producer id.
#[derive(Default)]
struct Log {
    epoch: i16,
    /// The number of the transaction whose records wait for a marker.
    open: Option<u64>,
}

struct World {
    driver: Driver,
    /// Two instances of each transactional id: what each has.
    has: [Option<Producer>; 4],
    version: ClientVersion,
    logs: BTreeMap<(TopicPartition, ProducerId), Log>,
    /// The open or decided transaction of each id, counted by the test.
    current: BTreeMap<TransactionalId, u64>,
    began: u64,
    decided: BTreeMap<u64, bool>,
    ended: BTreeMap<(u64, TopicPartition), bool>,
    completed: BTreeMap<u64, bool>,
}

impl World {
    fn new(version: ClientVersion, exhausted: bool) -> Self {
        let mut world = World {
            driver: Driver::new(),
            has: [None; 4],
            version,
            logs: BTreeMap::new(),
            current: BTreeMap::new(),
            began: 0,
            decided: BTreeMap::new(),
            ended: BTreeMap::new(),
            completed: BTreeMap::new(),
        };
        if exhausted {
            world.seed_last_epochs();
        }
        world
    }

    /// Both ids have used up nearly all epochs.
    fn seed_last_epochs(&mut self) {
        for (index, id) in IDS.iter().enumerate() {
            let producer = Producer { id: ProducerId(index as i64 + 1), epoch: ProducerEpoch(i16::MAX - 3) };
            let stored = crate::transaction::state::Stored {
                producer,
                previous: producer.id,
                next: ProducerId::NONE,
                timeout_ms: 10_000,
                state: TransactionState::Empty,
                partitions: Default::default(),
                updated: self.driver.now.wall,
                started: tidelog_model::Timestamp::NONE,
                client_level: 0,
            };
            self.driver.log.push(record::transaction_record(&TransactionalId::from(*id), &stored).unwrap());
        }
        self.driver.restart();
    }

    fn id(who: usize) -> &'static str {
        IDS[who % 2]
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Init { who, comes_back } => {
                let current = self.has[who].filter(|_| comes_back);
                let done = self.driver.call(Self::id(who), init(10_000, current));
                if let Some(TransactionReply::Init(Ok(producer))) = done.reply {
                    self.has[who] = Some(producer);
                }
                self.note(&done);
            }
            Action::Write { who, partition } => self.write(who, partition),
            Action::End { who, commit } => {
                let Some(producer) = self.has[who] else { return };
                let done = self.driver.call(Self::id(who), end(producer, commit, self.version));
                if let Some(TransactionReply::End(Ok(producer))) = done.reply {
                    self.has[who] = Some(producer);
                }
                self.note(&done);
            }
            Action::Mark { failing, dies } => self.mark(failing, dies),
            Action::Wait(ms) => {
                let until = self.driver.now.monotonic + Duration::from_millis(ms.into());
                while let Some(done) = self.driver.step(until) {
                    self.note(&done);
                }
                self.driver.move_clock(until);
            }
            Action::Restart => self.driver.restart(),
            Action::Refuse => {
                self.driver.refuse = Some(KafkaError::NotEnoughReplicas);
                return;
            }
        }
        self.driver.refuse = None;
    }

    fn write(&mut self, who: usize, index: usize) {
        let Some(producer) = self.has[who] else { return };
        let done = self.driver.call(Self::id(who), add(producer, &[PARTITIONS[index]], self.version));
        self.note(&done);
        if done.reply != Some(TransactionReply::Add(Ok(()))) {
            return;
        }
        let log = self.logs.entry((partition(PARTITIONS[index]), producer.id)).or_default();
        // What a partition checks itself: an older epoch is fenced.
        if producer.epoch.get() >= log.epoch {
            let number = self.current[&TransactionalId::from(Self::id(who))];
            assert!(log.open.is_none_or(|open| open == number), "the transaction before was never ended here");
            *log = Log { epoch: producer.epoch.get(), open: Some(number) };
        }
    }

    fn mark(&mut self, failing: u8, dies: bool) {
        let Some(markers) = self.driver.markers.first().cloned() else { return };
        let meant = self.current[&markers.id];
        let fails = |part: &TopicPartition| {
            let index = PARTITIONS.iter().position(|text| partition(text) == *part).unwrap();
            failing & (1 << index) != 0
        };
        for part in markers.partitions.iter().filter(|part| !fails(part)) {
            let log = self.logs.entry((part.clone(), markers.producer.id)).or_default();
            assert!(markers.producer.epoch.get() >= log.epoch, "a marker of a fenced epoch");
            if let Some(open) = log.open.take() {
                assert_eq!(open, meant, "a marker ends another transaction than was meant");
                assert_eq!(self.ended.insert((open, part.clone()), markers.commit), None);
            }
            assert_eq!(self.decided.get(&meant), Some(&markers.commit), "a marker against the decision");
            log.epoch = markers.producer.epoch.get();
        }
        if dies {
            return self.driver.restart();
        }
        let done = self.driver.answer(|part| if fails(part) { Err(KafkaError::NotLeaderOrFollower) } else { Ok(()) });
        self.note(&done);
    }

    /// Follows what the log says of each transaction.
    fn note(&mut self, done: &Done) {
        for record in &done.records {
            let Ok(TransactionRecord::Transaction(id, Some(stored))) = decode(record) else { panic!("{record:?}") };
            let known = self.current.get(&id).copied().filter(|number| !self.completed.contains_key(number));
            match stored.state {
                TransactionState::Ongoing if known.is_none() => {
                    self.began += 1;
                    self.current.insert(id, self.began);
                }
                TransactionState::PrepareCommit | TransactionState::PrepareAbort => {
                    let number = known.unwrap_or_else(|| {
                        // An abort without a transaction.
                        self.began += 1;
                        self.current.insert(id.clone(), self.began);
                        self.began
                    });
                    let commit = stored.state == TransactionState::PrepareCommit;
                    assert_eq!(self.decided.insert(number, commit), None, "decided twice");
                }
                TransactionState::CompleteCommit | TransactionState::CompleteAbort => {
                    let number = known.expect("completed twice");
                    let commit = stored.state == TransactionState::CompleteCommit;
                    assert_eq!(self.decided.get(&number), Some(&commit), "completed against the decision");
                    self.completed.insert(number, commit);
                    let left = self.logs.iter().filter(|(_, log)| log.open == Some(number));
                    assert_eq!(left.count(), 0, "completed before its markers");
                }
                _ => {}
            }
        }
    }

    /// Everything is well again, and time passes.
    fn settle(&mut self) {
        for _ in 0..20 {
            while !self.driver.markers.is_empty() {
                self.act(Action::Mark { failing: 0, dies: false });
            }
            self.act(Action::Wait(20_000));
        }
        let numbers: Vec<u64> = self.current.values().copied().collect();
        for number in numbers {
            assert!(self.completed.contains_key(&number), "a transaction never ends");
        }
        assert_eq!(self.logs.values().filter(|log| log.open.is_some()).count(), 0, "records without a marker");
        for ((number, _), commit) in &self.ended {
            assert_eq!(self.completed.get(number), Some(commit), "torn");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn transactions_end_once_and_one_way(actions in actions(), v2 in any::<bool>(), exhausted in any::<bool>()) {
        let version = if v2 { ClientVersion::V2 } else { ClientVersion::V0 };
        let mut world = World::new(version, exhausted);
        for action in actions {
            world.act(action);
        }
        world.settle();
        let before = world.driver.shard.durable();
        world.driver.restart();
        prop_assert_eq!(world.driver.shard.durable(), before, "loading is running");
    }
}
