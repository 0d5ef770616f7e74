//! The shard of groups and its clients: consumers that commit from outside of group management, members of the consumer protocol, and
//! producers that commit positions in their transactions.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tidelog_coordinator::group::*;
use tidelog_coordinator::transaction::{Producer, TransactionMarkers};
use tidelog_coordinator::{CoordinatorRecord, GroupShard, Outcome, Replayed, ReplyToken};
use tidelog_log::Disk;
use tidelog_log::sim::SimRandom;
use tidelog_model::{
    KafkaError, LeaderEpoch, Now, Offset, PartitionIndex, ProducerId, TopicId, TopicName, TopicPartition,
};
use tidelog_partition::{Guard, Question};
use tidelog_record::EndTransactionMarker;

use super::client::Transaction;
use super::data::{Heard, version};
use super::positions::{self, Positions, Sent};
use super::seat::{Loads, Seat};
use super::transactions::End;
use super::{CoordinatorReport, Flaw};

const PARTITIONS: i32 = 4;
const TOPIC: TopicId = TopicId::from_bytes([3; 16]);

/// The group without members, and the one with some.
const SIMPLE: &str = "s";
const MANAGED: &str = "k";

/// Who waits for a reply.
#[derive(Clone, Debug)]
enum Asker {
    Commit { partition: i32, offset: i64 },
    Member(usize),
}

/// What leaves once it is safe.
enum Leaving {
    Reply(ReplyToken, GroupReply),
    /// A position of a transaction was stored, or not.
    Position(Sent, Result<(), KafkaError>),
    /// The marker with this ticket was written.
    Marker(usize),
}

#[derive(Clone, Debug)]
struct Member {
    id: String,
    epoch: Epoch,
    owned: BTreeSet<i32>,
    waits: bool,
}

pub(super) struct Groups {
    seat: Seat<Leaving>,
    /// The partition, as transactions name it.
    place: TopicPartition,
    shard: GroupShard,
    positions: Positions,
    topics: Arc<TopicDirectory>,
    askers: BTreeMap<ReplyToken, Asker>,
    next_token: u64,
    members: Vec<Member>,
    ids: usize,
    /// Positions by partition: the last that was sent, and the last that was acknowledged.
    sent: BTreeMap<i32, i64>,
    acknowledged: BTreeMap<i32, i64>,
    /// The highest epoch that a member has heard of.
    heard: Epoch,
    hash: u64,
}

impl Groups {
    pub(super) fn new(place: TopicPartition, flaw: Flaw) -> Result<Self, String> {
        let name = TopicName::new("t").map_err(|error| error.to_string())?;
        let facts = TopicFacts { id: TOPIC, partitions: PARTITIONS };
        let member = |n| Member { id: format!("m{n}"), epoch: Epoch::JOIN, owned: BTreeSet::new(), waits: false };
        Ok(Groups {
            seat: Seat::new("groups", flaw),
            place,
            shard: GroupShard::new(GroupConfig::default()),
            positions: Positions::default(),
            topics: Arc::new(TopicDirectory::new(1, [(name, facts)])),
            askers: BTreeMap::new(),
            next_token: 0,
            members: (0..3).map(member).collect(),
            ids: 3,
            sent: BTreeMap::new(),
            acknowledged: BTreeMap::new(),
            heard: Epoch::JOIN,
            hash: 0,
        })
    }

    pub(super) fn hash(&self) -> u64 {
        self.hash
    }

    pub(super) fn is_quiet(&self) -> bool {
        self.seat.is_quiet()
    }

    pub(super) fn flush(&mut self) {
        self.seat.flush();
    }

    /// A client asks for something.
    pub(super) fn act(&mut self, random: &mut SimRandom, now: Now, report: &mut CoordinatorReport) {
        if random.chance(50) {
            let partition = random.below(PARTITIONS as u64) as i32;
            let offset = self.sent.get(&partition).copied().unwrap_or(0) + 1 + random.below(5) as i64;
            self.sent.insert(partition, offset);
            self.ask(SIMPLE, commit(partition, offset), Asker::Commit { partition, offset }, now, report);
            return;
        }
        let who = random.below(self.members.len() as u64) as usize;
        let leaves = random.chance(6);
        let Some(member) = self.members.get_mut(who).filter(|member| !member.waits) else { return };
        if leaves && member.epoch != Epoch::JOIN {
            // Whether it was heard or not: it is somebody else from now on.
            let call = beat(member, Epoch::LEAVE);
            self.ids += 1;
            *member = Member { id: format!("m{}", self.ids), epoch: Epoch::JOIN, owned: BTreeSet::new(), waits: false };
            self.ask(MANAGED, call, Asker::Member(usize::MAX), now, report);
            return;
        }
        member.waits = true;
        let call = beat(member, member.epoch);
        self.ask(MANAGED, call, Asker::Member(who), now, report);
    }

    fn ask(&mut self, group: &str, call: GroupCall, asker: Asker, now: Now, report: &mut CoordinatorReport) {
        let token = ReplyToken(self.next_token);
        self.next_token += 1;
        self.askers.insert(token, asker);
        let (group, topics) = (GroupId::from(group), Arc::clone(&self.topics));
        let outcome = self.shard.handle(now, GroupRequest { token, group, topics, own: OwnTimes::default(), call });
        self.carry_out(outcome, now, report);
    }

    fn carry_out(&mut self, outcome: Outcome, now: Now, report: &mut CoordinatorReport) {
        let appended = if outcome.records.is_empty() { Ok(()) } else { self.seat.append(&outcome.records, now) };
        let replies = match appended {
            Ok(()) => {
                for record in &outcome.records {
                    self.shard.replay(record);
                }
                outcome.replies
            }
            Err(error) => {
                report.refused += 1;
                self.shard.refused(now, outcome, error)
            }
        };
        replies.into_iter().for_each(|(token, reply)| self.seat.park(Leaving::Reply(token, reply)));
    }

    /// Before a transaction's coordinator is asked whether this partition belongs to it.
    pub(super) fn guard(&mut self, question: &Question, now: Now) -> Option<Guard> {
        self.seat.ask(question, now)
    }

    /// A producer commits a position in its open transaction.
    pub(super) fn commit_in_transaction(
        &mut self,
        transaction: Transaction,
        producer: Producer,
        verified: Option<Guard>,
        now: Now,
        report: &mut CoordinatorReport,
    ) {
        let (sent, request) = self.positions.send(transaction, producer);
        let (records, mut results) = self.shard.commit_in_transaction(now, &Positions::group(), &request);
        let mut result = results.pop().unwrap_or(Err(KafkaError::UnknownServerError));
        if !records.is_empty() {
            match self.seat.append_in_transaction(producer, verified, &records, now) {
                Ok(()) => {
                    for record in &records {
                        self.shard.replay_transactional(producer.id, record);
                    }
                }
                Err(error) => {
                    report.refused += 1;
                    result = Err(error);
                }
            }
        }
        self.seat.park(Leaving::Position(sent, result));
    }

    /// The end of a transaction that has positions here; the answer names the ticket. `Err` if it cannot be written now.
    pub(super) fn mark(
        &mut self,
        markers: &TransactionMarkers,
        marker: EndTransactionMarker,
        ticket: usize,
        now: Now,
    ) -> Result<(), KafkaError> {
        match self.seat.append_marker(markers.producer, marker, version(markers), now) {
            Ok(()) => self.shard.replay_end_transaction(markers.producer.id, markers.commit),
            // Whoever has decided since has ended it.
            Err(KafkaError::InvalidProducerEpoch | KafkaError::TransactionCoordinatorFenced)
                if !self.seat.has_open_transaction(markers.producer.id) => {}
            Err(error) => return Err(error),
        }
        self.seat.park(Leaving::Marker(ticket));
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
        let mut shard = GroupShard::new(GroupConfig::default());
        self.seat.show(&mut shard)?;
        shard.loaded(now);
        positions::told(&mut shard, self.positions.producers())
    }

    /// Are positions of transactions shown as they must be?
    pub(super) fn check_transactional(&self, ends: &BTreeMap<Transaction, End>, at_rest: bool) -> Result<(), String> {
        self.positions.check(&self.place, &self.shard, ends, at_rest)
    }

    pub(super) fn timers(&mut self, now: Now, report: &mut CoordinatorReport) {
        for _ in 0..10 {
            if !self.shard.next_deadline().is_some_and(|deadline| deadline.passed(now)) {
                return;
            }
            let outcome = self.shard.on_timer(now);
            self.carry_out(outcome, now, report);
        }
    }

    /// Answers arrive; those to the transactions' side are handed on.
    pub(super) fn hear(&mut self, report: &mut CoordinatorReport) -> Result<Vec<Heard>, String> {
        let mut others = Vec::new();
        for leaving in self.seat.released() {
            let (token, reply) = match leaving {
                Leaving::Reply(token, reply) => (token, reply),
                Leaving::Position(sent, result) => {
                    if result.is_ok() {
                        report.positions += 1;
                        self.positions.acknowledged(&sent);
                    }
                    others.push(Heard::Written(sent.transaction.who, self.place.clone(), result));
                    continue;
                }
                Leaving::Marker(ticket) => {
                    others.push(Heard::Marked(ticket, self.place.clone(), Ok(())));
                    continue;
                }
            };
            let text = format!("{token:?} {reply:?}");
            self.hash =
                text.bytes().fold(self.hash, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
            match (self.askers.remove(&token), reply) {
                (Some(Asker::Commit { partition, offset }), GroupReply::Commit(results)) => {
                    if results == [Ok(())] {
                        report.commits += 1;
                        let known = self.acknowledged.entry(partition).or_default();
                        *known = (*known).max(offset);
                    }
                }
                (Some(Asker::Member(who)), GroupReply::Consumer(result)) => {
                    report.reports += usize::from(result.is_ok());
                    self.hear_member(who, result)?;
                }
                (asker, reply) => return Err(format!("{asker:?} hears {reply:?}")),
            }
        }
        Ok(others)
    }

    fn hear_member(&mut self, who: usize, result: Result<ConsumerBeat, ConsumerRefused>) -> Result<(), String> {
        // One that has left does not listen.
        let Some(member) = self.members.get_mut(who).filter(|member| member.waits) else { return Ok(()) };
        member.waits = false;
        match result {
            Ok(beat) => {
                member.epoch = beat.epoch;
                self.heard = self.heard.max(beat.epoch);
                if let Some(assigned) = beat.assignment {
                    member.owned = assigned.iter().flat_map(|topic| &topic.partitions).map(|part| part.get()).collect();
                }
            }
            Err(refused) => match refused.error {
                KafkaError::FencedMemberEpoch | KafkaError::UnknownMemberId | KafkaError::GroupIdNotFound => {
                    member.owned.clear();
                    member.epoch = Epoch::JOIN;
                }
                KafkaError::KafkaStorageError | KafkaError::NotCoordinator => {}
                other => return Err(format!("{} hears {other}: {}", member.id, refused.message)),
            },
        }
        self.check_owners()
    }

    /// No partition is two members', as those see it who are in the group.
    fn check_owners(&self) -> Result<(), String> {
        let Ok(AnyDescription::Consumer(group)) = self.shard.describe(&GroupId::from(MANAGED)) else { return Ok(()) };
        let mut owners = BTreeMap::new();
        for member in &self.members {
            if !group.members.iter().any(|known| known.member_id.as_str() == member.id) {
                continue;
            }
            for partition in &member.owned {
                if let Some(other) = owners.insert(*partition, &member.id) {
                    return Err(format!("partition {partition} is {other}'s and {}'s", member.id));
                }
            }
        }
        Ok(())
    }

    pub(super) fn end(&mut self, in_order: bool) {
        self.seat.end(in_order);
    }

    /// A new process loads the shard. Everybody who waited asks again.
    pub(super) fn start(&mut self, disk: &Arc<dyn Disk>, now: Now) -> Result<(), String> {
        let mut shard = GroupShard::new(GroupConfig::default());
        self.seat.open(disk, now, &mut shard)?;
        shard.loaded(now);
        self.shard = shard;
        self.askers.clear();
        self.members.iter_mut().for_each(|member| member.waits = false);
        self.check_positions()?;
        self.check_epoch()?;
        self.check_owners()
    }

    fn check_positions(&mut self) -> Result<(), String> {
        let all = FetchOffsets { group: GroupId::from(SIMPLE), topics: None, require_stable: false, member: None };
        let found = self.shard.fetch_offsets(&all).map_err(|error| error.to_string())?;
        let stored: BTreeMap<i32, i64> = found
            .into_iter()
            .filter_map(|one| Some((one.partition.get(), one.committed.ok()??.offset.get())))
            .collect();
        for partition in 0..PARTITIONS {
            let of = |offsets: &BTreeMap<i32, i64>| offsets.get(&partition).copied().unwrap_or(0);
            let (known, found, sent) = (of(&self.acknowledged), of(&stored), of(&self.sent));
            if found < known || found > sent {
                return Err(format!("{partition}: committed {known}, found {found}, sent {sent}"));
            }
        }
        // What was found can be relied on from now on.
        self.acknowledged = stored;
        Ok(())
    }

    fn check_epoch(&self) -> Result<(), String> {
        if self.heard == Epoch::JOIN {
            return Ok(());
        }
        match self.shard.describe(&GroupId::from(MANAGED)) {
            Ok(AnyDescription::Consumer(group)) if group.epoch >= self.heard => Ok(()),
            other => Err(format!("epoch {} was heard of, found {other:?}", self.heard)),
        }
    }
}

impl Loads for GroupShard {
    fn record(&mut self, transaction: Option<ProducerId>, record: &CoordinatorRecord) -> Replayed {
        match transaction {
            Some(producer) => self.replay_transactional(producer, record),
            None => self.replay(record),
        }
    }

    fn marker(&mut self, producer: ProducerId, committed: bool) {
        self.replay_end_transaction(producer, committed);
    }
}

/// A position in the topic that everybody reads.
pub(super) fn position(partition: i32, offset: i64) -> Option<OffsetToCommit> {
    Some(OffsetToCommit {
        topic: TopicName::new("t").ok()?,
        topic_id: TOPIC,
        partition: PartitionIndex(partition),
        offset: Offset(offset),
        leader_epoch: LeaderEpoch::NONE,
        metadata: Arc::from(""),
    })
}

fn commit(partition: i32, offset: i64) -> GroupCall {
    GroupCall::Commit(CommitOffsets {
        generation: Generation::NONE,
        member_id: MemberId::from(""),
        instance_id: None,
        retention_ms: None,
        knows_epochs: true,
        offsets: position(partition, offset).into_iter().collect(),
    })
}

/// A full report.
fn beat(member: &Member, epoch: Epoch) -> GroupCall {
    let partitions: Vec<PartitionIndex> = member.owned.iter().map(|part| PartitionIndex(*part)).collect();
    let owned = if epoch == Epoch::JOIN || partitions.is_empty() {
        Vec::new()
    } else {
        vec![TopicPartitions { topic: TOPIC, partitions }]
    };
    GroupCall::Consumer(Box::new(ConsumerHeartbeat {
        member_id: MemberId::from(member.id.as_str()),
        epoch,
        instance_id: None,
        rack_id: None,
        rebalance_timeout_ms: Some(60_000),
        topics: Some(vec![Arc::from("t")]),
        regex: None,
        assignor: None,
        owned: Some(owned),
        client_id: Arc::from("c"),
        client_host: Arc::from("/127.0.0.1"),
        fresh_member_id: Arc::from("fresh"),
        makes_ids: true,
        meant: None,
    }))
}
