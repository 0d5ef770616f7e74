//! The shard of transactions, its producers, and the partitions that get the markers.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use tidelog_coordinator::transaction::*;
use tidelog_coordinator::{CoordinatorRecord, Replayed, TransactionShard};
use tidelog_log::Disk;
use tidelog_log::sim::SimRandom;
use tidelog_model::{KafkaError, Now, PartitionIndex, ProducerId, TopicName, TopicPartition};

use tidelog_partition::Guard;

use super::groups::{Groups, Heard};
use super::positions::place;
use super::seat::{Loads, Seat};
use super::{CoordinatorReport, Flaw};

const PRODUCERS: usize = 3;

/// What leaves once it is safe.
enum Leaving {
    Answer { who: usize, life: usize, reply: TransactionReply },
    Markers(TransactionMarkers),
}

/// What a producer does next.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Next {
    Init,
    Add,
    End { commit: bool },
}

struct Client {
    producer: Option<Producer>,
    next: Next,
    waits: bool,
    /// What was added to the open transaction, as was acknowledged, and what it has asked for now.
    added: BTreeSet<TopicPartition>,
    asked: BTreeSet<TopicPartition>,
    /// Under which the coordinator was asked about the group's partition.
    guard: Option<Guard>,
}

/// The end of one transaction: the epoch that its markers carry belongs to it alone (KIP-890).
#[derive(Default)]
pub(super) struct End {
    /// What was acknowledged, and for which partitions at least.
    pub(super) acknowledged: Option<(bool, BTreeSet<TopicPartition>)>,
    /// What markers have said.
    pub(super) marked: Option<bool>,
    /// Where they are safe.
    pub(super) partitions: BTreeSet<TopicPartition>,
}

pub(super) struct Transactions {
    seat: Seat<Leaving>,
    shard: TransactionShard,
    clients: Vec<Client>,
    /// Counts the processes: an answer of an earlier one is nobody's.
    life: usize,
    next_id: i64,
    ends: BTreeMap<Producer, End>,
    /// Markers on their way to the partitions.
    marking: VecDeque<TransactionMarkers>,
    hash: u64,
}

fn id(who: usize) -> TransactionalId {
    TransactionalId::from(format!("x{who}"))
}

impl Transactions {
    pub(super) fn new(flaw: Flaw) -> Result<Self, String> {
        let client = |_| Client {
            producer: None,
            next: Next::Init,
            waits: false,
            added: BTreeSet::new(),
            asked: BTreeSet::new(),
            guard: None,
        };
        Ok(Transactions {
            seat: Seat::new("transactions", flaw),
            shard: TransactionShard::new(TransactionConfig::default()),
            clients: (0..PRODUCERS).map(client).collect(),
            life: 0,
            next_id: 1_000,
            ends: BTreeMap::new(),
            marking: VecDeque::new(),
            hash: 0,
        })
    }

    pub(super) fn hash(&self) -> u64 {
        self.hash
    }

    pub(super) fn is_quiet(&self) -> bool {
        self.seat.is_quiet() && self.marking.is_empty()
    }

    pub(super) fn flush(&mut self) {
        self.seat.flush();
    }

    pub(super) fn ends(&self) -> &BTreeMap<Producer, End> {
        &self.ends
    }

    /// A producer asks for something, or a partition answers to a marker.
    pub(super) fn act(
        &mut self,
        random: &mut SimRandom,
        now: Now,
        groups: &mut Groups,
        report: &mut CoordinatorReport,
    ) {
        if random.chance(40) {
            return self.mark(random.chance(70), now, groups, report);
        }
        let who = random.below(PRODUCERS as u64) as usize;
        let (partition, decides, commit) = (random.below(8) as i32, random.chance(30), random.chance(70));
        let has_position = random.chance(80);
        let Some(client) = self.clients.get_mut(who).filter(|client| !client.waits) else { return };
        if client.next == Next::Add && decides && !client.added.is_empty() {
            client.next = Next::End { commit };
        }
        let version = ClientVersion::V2;
        let may_commit = place().is_some_and(|place| client.added.contains(&place));
        let call = match (&client.next, client.producer) {
            (Next::Add, Some(producer)) if has_position && may_commit => {
                client.waits = true;
                return groups.commit_in_transaction(who, producer, client.guard, now, report);
            }
            (Next::Add, Some(producer)) => {
                let topic = TopicName::new("t").ok();
                let mut partition = topic.map(|topic| TopicPartition { topic, partition: PartitionIndex(partition) });
                if partition.as_ref().is_some_and(|at| at.partition.get() >= 4) {
                    partition = place();
                    client.guard = groups.guard(producer, now);
                }
                let partitions: BTreeSet<_> = partition.into_iter().collect();
                client.asked = partitions.clone();
                TransactionCall::Add(AddPartitions { producer, partitions, version })
            }
            (Next::End { commit }, Some(producer)) => {
                let fresh = Some(ProducerId(self.next_id));
                TransactionCall::End(EndTransaction { producer, commit: *commit, version, fresh })
            }
            _ => {
                let fresh = Some(ProducerId(self.next_id));
                TransactionCall::Init(InitProducer { timeout_ms: 600_000, current: None, fresh })
            }
        };
        self.next_id += 1;
        client.waits = true;
        let outcome = self.shard.handle(now, &id(who), &call);
        self.carry_out(Some(who), outcome, now, report);
    }

    fn carry_out(&mut self, who: Option<usize>, outcome: TransactionOutcome, now: Now, report: &mut CoordinatorReport) {
        let appended = if outcome.records.is_empty() { Ok(()) } else { self.seat.append(&outcome.records, now) };
        let (reply, markers) = match appended {
            Ok(()) => {
                for record in &outcome.records {
                    self.shard.replay(record);
                }
                (outcome.reply, outcome.markers)
            }
            Err(error) => {
                report.refused += 1;
                (self.shard.refused(now, outcome, error), Vec::new())
            }
        };
        if let Some((who, reply)) = who.zip(reply) {
            self.seat.park(Leaving::Answer { who, life: self.life, reply });
        }
        markers.into_iter().for_each(|markers| self.seat.park(Leaving::Markers(markers)));
    }

    pub(super) fn timers(&mut self, now: Now, report: &mut CoordinatorReport) {
        for _ in 0..10 {
            if !self.shard.next_deadline().is_some_and(|deadline| deadline.passed(now)) {
                return;
            }
            let outcome = self.shard.on_timer(now);
            self.carry_out(None, outcome, now, report);
        }
    }

    /// The partitions of the oldest markers answer: they have them, or cannot take them now.
    fn mark(&mut self, takes: bool, now: Now, groups: &mut Groups, report: &mut CoordinatorReport) {
        let Some(markers) = self.marking.pop_front() else { return };
        let at_group = place().is_some_and(|place| markers.partitions.contains(&place));
        let result = match takes {
            false => Err(KafkaError::NotLeaderOrFollower),
            // The answer comes once it is safe there.
            true if at_group => match groups.mark(&markers, now) {
                Ok(()) => return,
                Err(error) => Err(error),
            },
            true => Ok(()),
        };
        self.marked(&markers, result, now, report);
    }

    fn marked(
        &mut self,
        markers: &TransactionMarkers,
        result: Result<(), KafkaError>,
        now: Now,
        report: &mut CoordinatorReport,
    ) {
        if result.is_ok() {
            let end = self.ends.entry(markers.producer).or_default();
            end.partitions.extend(markers.partitions.iter().cloned());
        }
        let outcome = self.shard.marked(now, markers, vec![result; markers.partitions.len()]);
        self.carry_out(None, outcome, now, report);
    }

    /// What the group's partition has answered.
    pub(super) fn hear_group(&mut self, heard: Heard, now: Now, report: &mut CoordinatorReport) -> Result<(), String> {
        match heard {
            Heard::Marker(markers) => self.marked(&markers, Ok(()), now, report),
            Heard::Position(who, result) => {
                let Some(client) = self.clients.get_mut(who) else { return Ok(()) };
                client.waits = false;
                match result {
                    Ok(()) | Err(KafkaError::KafkaStorageError | KafkaError::NotCoordinator) => {}
                    // Its guard is gone: the coordinator is asked once more.
                    Err(KafkaError::InvalidTxnState) => client.added.retain(|added| Some(added) != place().as_ref()),
                    Err(other) => return Err(format!("{who} hears {other} of its position")),
                }
            }
        }
        Ok(())
    }

    /// Closes a segment, or compacts: whoever reads the log afterwards is told the same.
    pub(super) fn tidy(
        &mut self,
        random: &mut SimRandom,
        now: Now,
        report: &mut CoordinatorReport,
    ) -> Result<(), String> {
        self.seat.roll(now);
        if random.chance(30) {
            return Ok(());
        }
        (0..8).for_each(|_| self.seat.flush());
        let before = self.told(now);
        report.compactions += usize::from(self.seat.compact(now));
        match (before, self.told(now)) {
            (Ok(before), Ok(after)) if before != after => Err(format!("compaction changes {before}\nto {after}")),
            // A process that dies reads nothing any more.
            _ => Ok(()),
        }
    }

    fn told(&self, now: Now) -> Result<String, String> {
        let mut shard = TransactionShard::new(TransactionConfig::default());
        self.seat.show(&mut shard)?;
        shard.loaded(now);
        let listed = shard.list().map_err(|error| error.to_string())?;
        let one = |listed: &TransactionListing| format!("{listed:?} {:?}\n", shard.describe(&listed.id));
        Ok(listed.iter().map(one).collect())
    }

    pub(super) fn come_to_rest(&mut self, now: Now, groups: &mut Groups, report: &mut CoordinatorReport) {
        while !self.marking.is_empty() {
            self.mark(true, now, groups, report);
        }
    }

    /// Answers arrive, and markers go out.
    pub(super) fn hear(&mut self, report: &mut CoordinatorReport) -> Result<(), String> {
        for leaving in self.seat.released() {
            match leaving {
                Leaving::Markers(markers) => {
                    report.markers += markers.partitions.len();
                    let end = self.ends.entry(markers.producer).or_default();
                    let said = end.marked.or(end.acknowledged.as_ref().map(|(commit, _)| *commit));
                    if said.is_some_and(|commit| commit != markers.commit) {
                        return Err(format!("a transaction is torn: {markers:?}"));
                    }
                    end.marked = Some(markers.commit);
                    self.marking.push_back(markers);
                }
                Leaving::Answer { who, life, reply } if life == self.life => self.hear_client(who, reply, report)?,
                Leaving::Answer { .. } => {}
            }
        }
        Ok(())
    }

    fn hear_client(
        &mut self,
        who: usize,
        reply: TransactionReply,
        report: &mut CoordinatorReport,
    ) -> Result<(), String> {
        let text = format!("{who} {reply:?}");
        self.hash = text.bytes().fold(self.hash, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        let Some(client) = self.clients.get_mut(who) else { return Ok(()) };
        client.waits = false;
        match reply {
            TransactionReply::Init(Ok(producer)) => {
                client.producer = Some(producer);
                client.next = Next::Add;
                client.added.clear();
                client.asked.clear();
            }
            TransactionReply::Add(Ok(())) => client.added.append(&mut client.asked),
            TransactionReply::End(Ok(producer)) => {
                let Next::End { commit } = client.next else { return Err(format!("{who} had not asked for an end")) };
                report.ends += 1;
                let end = self.ends.entry(producer).or_default();
                if end.marked.is_some_and(|marked| marked != commit) {
                    return Err(format!("{who} hears {commit} of {producer:?}, whose markers say otherwise"));
                }
                // A producer id that is used up goes on as another: whose markers these are is not known here.
                end.acknowledged = Some((commit, client.added.clone()));
                client.producer = Some(producer);
                client.next = Next::Add;
                client.added.clear();
                client.asked.clear();
            }
            TransactionReply::Init(Err(error))
            | TransactionReply::Add(Err(error))
            | TransactionReply::End(Err(error)) => {
                match error {
                    // It asks again.
                    KafkaError::ConcurrentTransactions
                    | KafkaError::KafkaStorageError
                    | KafkaError::NotCoordinator
                    | KafkaError::CoordinatorNotAvailable => {}
                    other => return Err(format!("{who} hears {other}, and nobody else has its name")),
                }
            }
            other => return Err(format!("{who} hears {other:?}")),
        }
        Ok(())
    }

    pub(super) fn end(&mut self, in_order: bool) {
        self.seat.end(in_order);
        self.marking.clear();
    }

    /// A new process loads the shard. Everybody who waited asks again.
    pub(super) fn start(&mut self, disk: &Arc<dyn Disk>, now: Now) -> Result<(), String> {
        let mut shard = TransactionShard::new(TransactionConfig::default());
        self.seat.open(disk, now, &mut shard)?;
        shard.loaded(now);
        self.shard = shard;
        self.life += 1;
        self.clients.iter_mut().for_each(|client| client.waits = false);
        (0..PRODUCERS).try_for_each(|who| self.check_client(who))
    }

    /// What the producer was told still holds.
    fn check_client(&self, who: usize) -> Result<(), String> {
        let Some(client) = self.clients.get(who) else { return Ok(()) };
        let Some(producer) = client.producer else { return Ok(()) };
        let found = self.shard.describe(&id(who)).map_err(|error| format!("{who} is forgotten: {error}"))?;
        if found.producer.id == producer.id && found.producer.epoch < producer.epoch {
            return Err(format!("{who} is {producer:?}, found {found:?}"));
        }
        let is_open = !client.added.is_empty() && client.next == Next::Add;
        if is_open && !(found.state == TransactionState::Ongoing && found.partitions.is_superset(&client.added)) {
            return Err(format!("{who} has {:?} in its transaction, found {found:?}", client.added));
        }
        Ok(())
    }

    /// Every transaction whose end was acknowledged has its markers, on all its partitions.
    pub(super) fn check_markers(&self) -> Result<(), String> {
        for (producer, end) in &self.ends {
            let Some((commit, partitions)) = &end.acknowledged else { continue };
            if !partitions.is_empty() && (end.marked != Some(*commit) || !end.partitions.is_superset(partitions)) {
                return Err(format!(
                    "{producer:?}: {commit} was acknowledged for {partitions:?}, marked {:?}",
                    end.partitions
                ));
            }
        }
        Ok(())
    }
}

impl Loads for TransactionShard {
    fn record(&mut self, _: Option<ProducerId>, record: &CoordinatorRecord) -> Replayed {
        self.replay(record)
    }

    fn marker(&mut self, _: ProducerId, _: bool) {}
}
