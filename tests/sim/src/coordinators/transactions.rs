//! The shard of transactions, its producers, and the markers on their way to the partitions.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use tidelog_coordinator::transaction::*;
use tidelog_coordinator::{CoordinatorRecord, Replayed, TransactionShard};
use tidelog_log::Disk;
use tidelog_log::sim::SimRandom;
use tidelog_model::{KafkaError, Now, ProducerId, Sequence, TopicPartition};
use tidelog_partition::{Guard, Question};
use tidelog_record::{EndTransactionMarker, MarkerKind};

use super::client::{Client, Transaction, Wish};
use super::data::{Data, Heard, Places};
use super::groups::Groups;
use super::seat::{Loads, Seat};
use super::{CoordinatorReport, Flaw};

const PRODUCERS: usize = 3;

/// What leaves once it is safe.
enum Leaving {
    Answer { who: usize, life: usize, reply: TransactionReply },
    Markers(TransactionMarkers),
}

/// The end of one transaction.
#[derive(Default)]
pub(super) struct End {
    /// What was acknowledged, and for which partitions at least.
    pub(super) acknowledged: Option<(bool, BTreeSet<TopicPartition>)>,
    /// What markers have said.
    pub(super) marked: Option<bool>,
    /// Where they are safe.
    pub(super) partitions: BTreeSet<TopicPartition>,
}

/// Markers at their partitions, and which of these have answered.
struct Marking {
    transaction: Transaction,
    markers: TransactionMarkers,
    answers: BTreeMap<TopicPartition, Result<(), KafkaError>>,
}

pub(super) struct Transactions {
    seat: Seat<Leaving>,
    shard: TransactionShard,
    data: Data,
    places: Places,
    clients: Vec<Client>,
    /// Counts the processes: an answer of an earlier one is nobody's.
    life: usize,
    next_id: i64,
    ends: BTreeMap<Transaction, End>,
    /// Markers that may go to the partitions.
    released: VecDeque<(Transaction, TransactionMarkers)>,
    /// Those that went, by their tickets.
    marking: BTreeMap<usize, Marking>,
    next_ticket: usize,
    hash: u64,
}

fn id(who: usize) -> TransactionalId {
    TransactionalId::from(format!("x{who}"))
}

/// Neighbouring seeds make every mixture.
fn version(who: usize, seed: u64) -> ClientVersion {
    if (seed >> who) & 1 == 0 { ClientVersion::V2 } else { ClientVersion::V0 }
}

impl Transactions {
    pub(super) fn new(places: Places, seed: u64, flaw: Flaw) -> Self {
        Transactions {
            seat: Seat::new("transactions", flaw),
            shard: TransactionShard::new(TransactionConfig::default()),
            data: Data::new(&places, flaw),
            places,
            clients: (0..PRODUCERS).map(|who| Client::new(who, version(who, seed))).collect(),
            life: 0,
            next_id: 1_000,
            ends: BTreeMap::new(),
            released: VecDeque::new(),
            marking: BTreeMap::new(),
            next_ticket: 0,
            hash: 0,
        }
    }

    pub(super) fn hash(&self) -> u64 {
        self.hash
    }

    pub(super) fn is_quiet(&self) -> bool {
        let marked = self.released.is_empty() && self.marking.is_empty();
        marked && self.seat.is_quiet() && self.data.is_quiet() && self.clients.iter().all(Client::is_done)
    }

    pub(super) fn flush(&mut self) {
        self.seat.flush();
    }

    /// The same for one of the partitions that are written to.
    pub(super) fn flush_data(&mut self, number: usize) {
        self.data.flush(number);
    }

    pub(super) fn ends(&self) -> &BTreeMap<Transaction, End> {
        &self.ends
    }

    /// A producer asks for something, or markers reach their partitions, of which some may not take them.
    pub(super) fn act(
        &mut self,
        random: &mut SimRandom,
        now: Now,
        groups: &mut Groups,
        report: &mut CoordinatorReport,
    ) -> Result<(), String> {
        if random.chance(40) {
            self.mark(|| random.chance(80), now, groups, report);
            return Ok(());
        }
        let who = random.below(PRODUCERS as u64) as usize;
        self.ask(who, false, random, now, groups, report)
    }

    /// What this producer asks next; with `ends` only what brings its transaction to its end.
    fn ask(
        &mut self,
        who: usize,
        ends: bool,
        random: &mut SimRandom,
        now: Now,
        groups: &mut Groups,
        report: &mut CoordinatorReport,
    ) -> Result<(), String> {
        let Some(client) = self.clients.get_mut(who) else { return Ok(()) };
        let wish = client.choose(random, &self.places, now.wall, ends).map_err(|error| error.to_string())?;
        let Some(wish) = wish else { return Ok(()) };
        let (version, transaction) = (client.version, client.transaction());
        let fresh = Some(ProducerId(self.next_id));
        let call = match (wish, client.producer) {
            (Wish::Position, Some(producer)) => {
                let guard = client.guard(&self.places.group);
                groups.commit_in_transaction(transaction, producer, guard, now, report);
                return Ok(());
            }
            (Wish::Write(at, batch), Some(_)) => {
                self.data.write(transaction, &at, batch, client.guard(&at), now);
                return Ok(());
            }
            (Wish::Add(at), Some(producer)) => {
                let implicit = version == ClientVersion::V2;
                let guard = if implicit { self.guard(who, producer, &at, now, groups) } else { None };
                self.asks(who, &at, guard);
                TransactionCall::Add(AddPartitions { producer, partitions: [at].into(), version })
            }
            (Wish::Verify(at), Some(producer)) => {
                let guard = self.guard(who, producer, &at, now, groups);
                self.asks(who, &at, guard);
                TransactionCall::Verify { producer, partitions: vec![at] }
            }
            (Wish::End { commit }, Some(producer)) => {
                TransactionCall::End(EndTransaction { producer, commit, version, fresh })
            }
            _ => TransactionCall::Init(InitProducer { timeout_ms: 600_000, current: None, fresh }),
        };
        self.next_id += 1;
        let outcome = self.shard.handle(now, &id(who), &call);
        self.carry_out(Some(who), outcome, now, report);
        Ok(())
    }

    /// Under which guard the coordinator is asked about a partition.
    fn guard(
        &mut self,
        who: usize,
        producer: Producer,
        at: &TopicPartition,
        now: Now,
        groups: &mut Groups,
    ) -> Option<Guard> {
        let client = self.clients.get(who)?;
        let is_data = self.data.has(at);
        let question = Question {
            producer_id: producer.id,
            producer_epoch: producer.epoch,
            sequence: if is_data { client.sequence(at) } else { Sequence::NONE },
            epoch_per_transaction: client.version == ClientVersion::V2,
        };
        if is_data { self.data.guard(at, &question, now) } else { groups.guard(&question, now) }
    }

    fn asks(&mut self, who: usize, at: &TopicPartition, guard: Option<Guard>) {
        if let Some(client) = self.clients.get_mut(who) {
            client.asks(at.clone(), guard);
        }
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

    /// The oldest markers reach their partitions; those cannot take them now of which `takes` says so.
    fn mark(&mut self, mut takes: impl FnMut() -> bool, now: Now, groups: &mut Groups, report: &mut CoordinatorReport) {
        let Some((transaction, markers)) = self.released.pop_front() else { return };
        let kind = if markers.commit { MarkerKind::Commit } else { MarkerKind::Abort };
        let marker = EndTransactionMarker { kind, coordinator_epoch: self.seat.epoch().get() };
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        let partitions = markers.partitions.clone();
        self.marking.insert(ticket, Marking { transaction, markers: markers.clone(), answers: BTreeMap::new() });
        for at in partitions {
            let taken = if !takes() {
                Err(KafkaError::NotLeaderOrFollower)
            } else if self.data.has(&at) {
                self.data.mark(&at, &markers, marker, ticket, now)
            } else {
                groups.mark(&markers, marker, ticket, now)
            };
            // Without an error the answer comes once it is safe there.
            if taken.is_err() {
                self.marked(ticket, at, taken, now, report);
            }
        }
    }

    /// A partition has answered. The coordinator hears of it when all have.
    fn marked(
        &mut self,
        ticket: usize,
        at: TopicPartition,
        result: Result<(), KafkaError>,
        now: Now,
        report: &mut CoordinatorReport,
    ) {
        let Some(marking) = self.marking.get_mut(&ticket) else { return };
        if result.is_ok() {
            self.ends.entry(marking.transaction).or_default().partitions.insert(at.clone());
        }
        marking.answers.insert(at, result);
        let markers = &marking.markers;
        let results: Option<Vec<_>> = markers.partitions.iter().map(|at| marking.answers.get(at).copied()).collect();
        let Some(results) = results else { return };
        let outcome = self.shard.marked(now, markers, results);
        self.marking.remove(&ticket);
        self.carry_out(None, outcome, now, report);
    }

    /// What a partition has answered.
    pub(super) fn hear_partition(
        &mut self,
        heard: Heard,
        now: Now,
        report: &mut CoordinatorReport,
    ) -> Result<(), String> {
        match heard {
            Heard::Marked(ticket, at, result) => self.marked(ticket, at, result, now, report),
            Heard::Written(who, at, result) => {
                let Some(client) = self.clients.get_mut(who) else { return Ok(()) };
                client.written(&at, result).map_err(|error| format!("{who} hears {error} of {at}"))?;
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
        self.data.roll(now);
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

    /// Markers reach their partitions, and producers end their transactions.
    pub(super) fn come_to_rest(
        &mut self,
        random: &mut SimRandom,
        now: Now,
        groups: &mut Groups,
        report: &mut CoordinatorReport,
    ) -> Result<(), String> {
        while !self.released.is_empty() {
            self.mark(|| true, now, groups, report);
        }
        (0..PRODUCERS).try_for_each(|who| self.ask(who, true, random, now, groups, report))
    }

    /// Answers arrive, and markers go out.
    pub(super) fn hear(&mut self, now: Now, report: &mut CoordinatorReport) -> Result<(), String> {
        for heard in self.data.hear()? {
            report.batches += usize::from(matches!(heard, Heard::Written(_, _, Ok(()))));
            self.hear_partition(heard, now, report)?;
        }
        for leaving in self.seat.released() {
            match leaving {
                Leaving::Markers(markers) => self.hear_markers(markers, report)?,
                Leaving::Answer { who, life, reply } if life == self.life => self.hear_client(who, reply, report)?,
                Leaving::Answer { .. } => {}
            }
        }
        Ok(())
    }

    fn hear_markers(&mut self, markers: TransactionMarkers, report: &mut CoordinatorReport) -> Result<(), String> {
        let whose = self.clients.iter().map(|client| Transaction { number: client.ending, ..client.transaction() });
        let Some(transaction) = whose.into_iter().find(|transaction| id(transaction.who) == markers.id) else {
            return Err(format!("nobody's markers: {markers:?}"));
        };
        report.markers += markers.partitions.len();
        let end = self.ends.entry(transaction).or_default();
        let said = end.marked.or(end.acknowledged.as_ref().map(|(commit, _)| *commit));
        if said.is_some_and(|commit| commit != markers.commit) {
            return Err(format!("{transaction:?} is torn: {markers:?}"));
        }
        end.marked = Some(markers.commit);
        self.released.push_back((transaction, markers));
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
        let error = match reply {
            TransactionReply::Init(Ok(producer)) => {
                client.goes_on(producer);
                return Ok(());
            }
            TransactionReply::Add(Ok(())) => {
                client.admitted(client.version == ClientVersion::V2);
                return Ok(());
            }
            TransactionReply::End(Ok(producer)) => {
                let transaction = client.transaction();
                let Some((commit, added)) = client.ended(producer) else {
                    return Err(format!("{who} had not asked for an end"));
                };
                report.ends += 1;
                let end = self.ends.entry(transaction).or_default();
                if end.marked.is_some_and(|marked| marked != commit) {
                    return Err(format!("{who} hears {commit} of {transaction:?}, whose markers say otherwise"));
                }
                end.acknowledged = Some((commit, added));
                return Ok(());
            }
            TransactionReply::Verify(results) => match results.first() {
                Some(Err(error)) => *error,
                _ => {
                    client.admitted(true);
                    return Ok(());
                }
            },
            TransactionReply::Init(Err(error))
            | TransactionReply::Add(Err(error))
            | TransactionReply::End(Err(error)) => error,
            other => return Err(format!("{who} hears {other:?}")),
        };
        match error {
            // It asks again.
            KafkaError::ConcurrentTransactions
            | KafkaError::KafkaStorageError
            | KafkaError::NotCoordinator
            | KafkaError::CoordinatorNotAvailable => Ok(()),
            other => Err(format!("{who} hears {other}, and nobody else has its name")),
        }
    }

    pub(super) fn end(&mut self, in_order: bool) {
        self.seat.end(in_order);
        self.data.end(in_order);
        self.released.clear();
    }

    /// A new process loads the shard. Everybody who waited asks again.
    pub(super) fn start(&mut self, disk: &Arc<dyn Disk>, now: Now) -> Result<(), String> {
        let mut shard = TransactionShard::new(TransactionConfig::default());
        self.seat.open(disk, now, &mut shard)?;
        shard.loaded(now);
        self.shard = shard;
        self.life += 1;
        self.released.clear();
        self.marking.clear();
        self.clients.iter_mut().for_each(Client::disconnected);
        self.data.start(disk, now, &self.ends)?;
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
        match client.open() {
            Some(added) if found.state != TransactionState::Ongoing || !found.partitions.is_superset(added) => {
                Err(format!("{who} has {added:?} in its transaction, found {found:?}"))
            }
            _ => Ok(()),
        }
    }

    /// Every transaction has ended, and has its markers on all its partitions; of what they have written all is seen that is committed, and
    /// nothing else.
    pub(super) fn check_whole(&self) -> Result<(), String> {
        if let Some(client) = self.clients.iter().find(|client| !client.is_done()) {
            return Err(format!("{:?} does not end", client.transaction()));
        }
        for (transaction, end) in &self.ends {
            let Some((commit, partitions)) = &end.acknowledged else { continue };
            if !partitions.is_empty() && (end.marked != Some(*commit) || !end.partitions.is_superset(partitions)) {
                return Err(format!(
                    "{transaction:?}: {commit} was acknowledged for {partitions:?}, marked {:?}",
                    end.partitions
                ));
            }
        }
        self.data.check_whole(&self.ends)
    }
}

impl Loads for TransactionShard {
    fn record(&mut self, _: Option<ProducerId>, record: &CoordinatorRecord) -> Replayed {
        self.replay(record)
    }

    fn marker(&mut self, _: ProducerId, _: bool) {}
}
