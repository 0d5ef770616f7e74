//! A producer of transactions: decides what it asks next, by the rules of its version. It knows what it was answered, and nothing else.

use std::collections::{BTreeMap, BTreeSet};

use tidelog_coordinator::transaction::{ClientVersion, Producer};
use tidelog_log::sim::SimRandom;
use tidelog_model::{KafkaError, Offset, Sequence, Timestamp, TopicPartition};
use tidelog_partition::Guard;
use tidelog_record::{Batch, BatchBuilder, BatchError};

use super::data::Places;

/// One transaction: whose, and which of its own.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Transaction {
    pub(super) who: usize,
    pub(super) number: usize,
}

/// What a producer asks.
pub(super) enum Wish {
    Init,
    /// Of the coordinator: the partition becomes part of the transaction.
    Add(TopicPartition),
    /// Of the coordinator, for a partition: is it part of the transaction?
    Verify(TopicPartition),
    /// Of a partition.
    Write(TopicPartition, Batch),
    /// Of the group.
    Position,
    End {
        commit: bool,
    },
}

/// How far its transaction is.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Stage {
    Init,
    Open,
    End { commit: bool },
}

pub(super) struct Client {
    who: usize,
    pub(super) version: ClientVersion,
    pub(super) producer: Option<Producer>,
    pub(super) waits: bool,
    stage: Stage,
    number: usize,
    /// The last transaction whose end it has asked for: all markers are of that one, since the next begins when they are written.
    pub(super) ending: usize,
    /// What was added to the open transaction, as was acknowledged.
    added: BTreeSet<TopicPartition>,
    /// Of these it may write to those of which the coordinator was asked, under this guard.
    verified: BTreeMap<TopicPartition, Option<Guard>>,
    /// What is asked of the coordinator now, and under which guard.
    asked: Option<(TopicPartition, Option<Guard>)>,
    /// The next sequence of each partition.
    sequences: BTreeMap<TopicPartition, Sequence>,
    unacknowledged: Option<(TopicPartition, Batch)>,
    batches: usize,
    /// Something of the transaction is in a partition.
    has_written: bool,
}

impl Client {
    pub(super) fn new(who: usize, version: ClientVersion) -> Self {
        Client {
            who,
            version,
            producer: None,
            waits: false,
            stage: Stage::Init,
            number: 0,
            ending: 0,
            added: BTreeSet::new(),
            verified: BTreeMap::new(),
            asked: None,
            sequences: BTreeMap::new(),
            unacknowledged: None,
            batches: 0,
            has_written: false,
        }
    }

    /// Its present transaction.
    pub(super) fn transaction(&self) -> Transaction {
        Transaction { who: self.who, number: self.number }
    }

    /// What is part of the transaction for certain, if it is open.
    pub(super) fn open(&self) -> Option<&BTreeSet<TopicPartition>> {
        (self.stage == Stage::Open && !self.added.is_empty()).then_some(&self.added)
    }

    /// Is no transaction open or being ended?
    pub(super) fn is_done(&self) -> bool {
        !self.waits && self.added.is_empty() && self.asked.is_none() && !matches!(self.stage, Stage::End { .. })
    }

    /// What it asks next, if it is not waiting. With `ends` nothing new: it brings its transaction to its end.
    pub(super) fn choose(
        &mut self,
        random: &mut SimRandom,
        places: &Places,
        time: Timestamp,
        ends: bool,
    ) -> Result<Option<Wish>, BatchError> {
        if self.waits || (ends && self.is_done()) {
            return Ok(None);
        }
        let wish = match self.stage {
            Stage::Init => Wish::Init,
            Stage::End { commit } => Wish::End { commit },
            Stage::Open => self.choose_in_transaction(random, places, time, ends)?,
        };
        if let Wish::End { .. } = wish {
            self.ending = self.number;
        }
        self.waits = true;
        Ok(Some(wish))
    }

    fn choose_in_transaction(
        &mut self,
        random: &mut SimRandom,
        places: &Places,
        time: Timestamp,
        ends: bool,
    ) -> Result<Wish, BatchError> {
        if let Some((at, batch)) = self.unacknowledged.clone() {
            // The next epoch fences what is under way. Without one of its own an abort would leave the sequence unknown.
            if self.version == ClientVersion::V2 && random.chance(if ends { 100 } else { 10 }) {
                return Ok(self.end(false));
            }
            return Ok(self.ask_before(&at).unwrap_or(Wish::Write(at, batch)));
        }
        let chance = match self.has_written {
            _ if self.added.is_empty() => 0,
            _ if ends => 100,
            true => 25,
            false => 5,
        };
        if random.chance(chance) {
            return Ok(self.end(random.chance(70)));
        }
        let number = random.below(self.verified.len() as u64) as usize;
        let again = self.verified.keys().nth(number).filter(|_| random.chance(60));
        let at = again.cloned().unwrap_or_else(|| places.any(random));
        if let Some(question) = self.ask_before(&at) {
            return Ok(question);
        }
        if at == places.group {
            return Ok(Wish::Position);
        }
        let batch = self.batch(random, &at, time)?;
        self.unacknowledged = Some((at.clone(), batch.clone()));
        Ok(Wish::Write(at, batch))
    }

    fn end(&mut self, commit: bool) -> Wish {
        self.stage = Stage::End { commit };
        Wish::End { commit }
    }

    /// What the coordinator must be asked before the partition is written to.
    fn ask_before(&self, at: &TopicPartition) -> Option<Wish> {
        match self.version {
            _ if !self.added.contains(at) => Some(Wish::Add(at.clone())),
            _ if self.verified.contains_key(at) => None,
            ClientVersion::V0 => Some(Wish::Verify(at.clone())),
            ClientVersion::V2 => Some(Wish::Add(at.clone())),
        }
    }

    fn batch(&mut self, random: &mut SimRandom, at: &TopicPartition, time: Timestamp) -> Result<Batch, BatchError> {
        self.batches += 1;
        let key = format!("{}-{}", self.who, self.batches);
        let (sequence, producer) = (self.sequence(at), self.producer);
        let mut builder = BatchBuilder::new(Offset::ZERO).transactional(true);
        if let Some(Producer { id, epoch }) = producer {
            builder = builder.producer(id, epoch, sequence);
        }
        for _ in 0..=random.below(2) {
            let value = vec![random.next() as u8; random.below(200) as usize];
            builder.push(time, Some(key.as_bytes()), Some(&value), &[])?;
        }
        self.sequences.insert(at.clone(), sequence.plus(builder.count()));
        builder.build()
    }

    /// The sequence of what is written next to this partition.
    pub(super) fn sequence(&self, at: &TopicPartition) -> Sequence {
        match &self.unacknowledged {
            Some((to, batch)) if to == at => batch.header().base_sequence,
            _ => self.sequences.get(at).copied().unwrap_or(Sequence(0)),
        }
    }

    /// Under which guard a verified partition is written to.
    pub(super) fn guard(&self, at: &TopicPartition) -> Option<Guard> {
        self.verified.get(at).copied().flatten()
    }

    /// The coordinator is being asked.
    pub(super) fn asks(&mut self, at: TopicPartition, guard: Option<Guard>) {
        self.asked = Some((at, guard));
    }

    /// The coordinator says that what was asked about is part of the transaction.
    pub(super) fn admitted(&mut self, verified: bool) {
        let Some((at, guard)) = self.asked.take() else { return };
        if verified {
            self.verified.insert(at.clone(), guard);
        }
        self.added.insert(at);
    }

    /// A partition has answered. An error is returned if it must not happen.
    pub(super) fn written(&mut self, at: &TopicPartition, result: Result<(), KafkaError>) -> Result<(), KafkaError> {
        self.waits = false;
        match result {
            Ok(()) => {
                self.has_written = true;
                self.unacknowledged = self.unacknowledged.take().filter(|(to, _)| to != at);
            }
            Err(KafkaError::KafkaStorageError | KafkaError::NotCoordinator | KafkaError::NotLeaderOrFollower) => {}
            // Its guard is gone: the coordinator is asked once more.
            Err(KafkaError::InvalidTxnState) => drop(self.verified.remove(at)),
            Err(other) => return Err(other),
        }
        Ok(())
    }

    /// Its transaction has ended; what became part of it, and how it ended. `None` if it had not asked for that.
    pub(super) fn ended(&mut self, producer: Producer) -> Option<(bool, BTreeSet<TopicPartition>)> {
        let Stage::End { commit } = self.stage else { return None };
        let added = std::mem::take(&mut self.added);
        self.number += 1;
        self.goes_on(producer);
        Some((commit, added))
    }

    /// It begins its next transaction as this producer.
    pub(super) fn goes_on(&mut self, producer: Producer) {
        if self.producer != Some(producer) {
            self.sequences.clear();
        }
        self.producer = Some(producer);
        self.stage = Stage::Open;
        self.added.clear();
        self.verified.clear();
        self.asked = None;
        self.unacknowledged = None;
        self.has_written = false;
    }

    /// Every answer that was due is lost, and so is what partitions had asked.
    pub(super) fn disconnected(&mut self) {
        self.waits = false;
        self.verified.clear();
    }
}
