//! A shell without a log: appends to a list, replays, and keeps the markers that are asked for until a test answers them.

use std::collections::BTreeSet;
use std::time::Duration;

use tidelog_model::{KafkaError, Now, PartitionIndex, ProducerEpoch, ProducerId, Timestamp, TopicName, TopicPartition};

use crate::transaction::*;
use crate::{CoordinatorRecord, Replayed, TransactionShard};

/// What one event led to, after the shell has done its part.
pub(super) struct Done {
    pub(super) records: Vec<CoordinatorRecord>,
    pub(super) reply: Option<TransactionReply>,
    pub(super) markers: Vec<TransactionMarkers>,
    pub(super) events: Vec<TransactionEvent>,
}

pub(super) struct Driver {
    pub(super) shard: TransactionShard,
    pub(super) config: TransactionConfig,
    pub(super) now: Now,
    pub(super) log: Vec<CoordinatorRecord>,
    /// Refuse the next appends for this reason.
    pub(super) refuse: Option<KafkaError>,
    /// Markers on their way to the partitions.
    pub(super) markers: Vec<TransactionMarkers>,
    /// Producer ids from 100 on.
    pub(super) next_producer_id: i64,
}

impl Driver {
    pub(super) fn new() -> Self {
        let config = TransactionConfig::default();
        let mut driver = Driver {
            shard: TransactionShard::new(config.clone()),
            config,
            now: Now { monotonic: Duration::from_secs(1_000), wall: Timestamp(1_700_000_000_000) },
            log: Vec::new(),
            refuse: None,
            markers: Vec::new(),
            next_producer_id: 100,
        };
        driver.shard.loaded(driver.now);
        driver
    }

    /// Asks as the broker does: once more with a fresh producer id if one is needed.
    pub(super) fn call(&mut self, id: &str, call: TransactionCall) -> Done {
        let id = TransactionalId::from(id);
        let outcome = self.shard.handle(self.now, &id, &call);
        if outcome.reply != Some(TransactionReply::NeedsProducerId) {
            return self.carry_out(outcome);
        }
        assert!(outcome.records.is_empty() && outcome.markers.is_empty());
        let fresh = Some(ProducerId(self.next_producer_id));
        self.next_producer_id += 1;
        let call = match call {
            TransactionCall::Init(init) => TransactionCall::Init(InitProducer { fresh, ..init }),
            TransactionCall::End(end) => TransactionCall::End(EndTransaction { fresh, ..end }),
            other => panic!("{other:?} needs a producer id"),
        };
        let outcome = self.shard.handle(self.now, &id, &call);
        self.carry_out(outcome)
    }

    pub(super) fn carry_out(&mut self, outcome: TransactionOutcome) -> Done {
        let events = outcome.events.clone();
        let done = match self.refuse.filter(|_| !outcome.records.is_empty()) {
            Some(error) => {
                let reply = self.shard.refused(self.now, outcome, error);
                Done { records: Vec::new(), reply, markers: Vec::new(), events }
            }
            None => {
                outcome.records.iter().for_each(|record| assert_eq!(self.shard.replay(record), Replayed::Applied));
                self.log.extend(outcome.records.iter().cloned());
                self.markers.extend(outcome.markers.iter().cloned());
                Done { records: outcome.records, reply: outcome.reply, markers: outcome.markers, events }
            }
        };
        self.shard.assert_consistent();
        done
    }

    /// The partitions answer the oldest markers, all of them alike unless `answer` says otherwise.
    pub(super) fn answer(&mut self, answer: impl Fn(&TopicPartition) -> Result<(), KafkaError>) -> Done {
        let markers = self.markers.remove(0);
        let results = markers.partitions.iter().map(answer).collect();
        let outcome = self.shard.marked(self.now, &markers, results);
        self.carry_out(outcome)
    }

    /// The next timer step that is due at `until` or before; moves the clock there.
    pub(super) fn step(&mut self, until: Duration) -> Option<Done> {
        let deadline = self.shard.next_deadline().filter(|deadline| deadline.0 <= until)?;
        self.move_clock(deadline.0);
        let outcome = self.shard.on_timer(self.now);
        Some(self.carry_out(outcome))
    }

    pub(super) fn move_clock(&mut self, to: Duration) {
        let passed = to.saturating_sub(self.now.monotonic);
        self.now.monotonic += passed;
        self.now.wall = Timestamp(self.now.wall.get() + passed.as_millis() as i64);
    }

    /// All timers of the next `wait`; a timer that spins without the clock moving is noticed.
    pub(super) fn advance(&mut self, wait: Duration) -> Vec<Done> {
        let until = self.now.monotonic + wait;
        let mut all = Vec::new();
        let (mut moved, mut at_once) = (self.now.monotonic, 0);
        while let Some(done) = self.step(until) {
            all.push(done);
            at_once = if self.now.monotonic > moved { 0 } else { at_once + 1 };
            moved = self.now.monotonic;
            assert!(at_once < 100, "the timers spin");
        }
        self.move_clock(until);
        all
    }

    /// Another process takes over: what was on its way is lost, the log is replayed.
    pub(super) fn restart(&mut self) {
        self.markers.clear();
        self.shard = TransactionShard::new(self.config.clone());
        self.log.iter().for_each(|record| assert_eq!(self.shard.replay(record), Replayed::Applied));
        self.shard.loaded(self.now);
        self.shard.assert_consistent();
    }
}

/// `t-0` as a partition.
pub(super) fn partition(text: &str) -> TopicPartition {
    let (topic, index) = text.rsplit_once('-').unwrap();
    TopicPartition { topic: TopicName::new(topic).unwrap(), partition: PartitionIndex(index.parse().unwrap()) }
}

/// `100/3` as a producer.
pub(super) fn producer(text: &str) -> Producer {
    let (id, epoch) = text.split_once('/').unwrap();
    Producer { id: ProducerId(id.parse().unwrap()), epoch: ProducerEpoch(epoch.parse().unwrap()) }
}

pub(super) fn init(timeout_ms: i32, current: Option<Producer>) -> TransactionCall {
    TransactionCall::Init(InitProducer { timeout_ms, current, fresh: None })
}

pub(super) fn add(producer: Producer, partitions: &[&str], version: ClientVersion) -> TransactionCall {
    let partitions: BTreeSet<TopicPartition> = partitions.iter().map(|text| partition(text)).collect();
    TransactionCall::Add(AddPartitions { producer, partitions, version })
}

pub(super) fn end(producer: Producer, commit: bool, version: ClientVersion) -> TransactionCall {
    TransactionCall::End(EndTransaction { producer, commit, version, fresh: None })
}
