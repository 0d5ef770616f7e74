//! A client of transactions together with its coordinator: sends batches, decides, and has the marker written until it is acknowledged.
//! It decides what is sent, never what becomes of it; and it knows which of its records consumers must see.

use std::collections::{BTreeSet, VecDeque};

use bytes::Bytes;
use tidelog_log::sim::SimRandom;
use tidelog_model::{KafkaError, LeaderEpoch, Offset, ProducerEpoch, ProducerId, Sequence, Timestamp};
use tidelog_record::{Batch, BatchBuilder, BatchError, EndTransactionMarker, MarkerKind};

use crate::ledger::content;

/// Producer ids of transactions begin here.
const FIRST_ID: i64 = 1_000;

/// Batches of one transaction.
const MOST_PER_TRANSACTION: usize = 6;

/// Batches of earlier transactions that a slow network may still deliver.
const REMEMBERED: usize = 8;

/// The coordinator's epoch.
const COORDINATOR_EPOCH: i32 = 3;

/// What the client sends, or its coordinator.
pub(crate) enum Sent {
    /// Records; `open` says whether the coordinator would agree that they belong to the open transaction.
    Records { batch: Batch, open: bool },
    /// The end of the transaction.
    Marker { batch: Batch, marker: EndTransactionMarker },
}

/// One client and its coordinator.
#[derive(Debug)]
pub(crate) struct Transactional {
    id: ProducerId,
    pub(crate) partition: usize,
    /// Each transaction has its own (KIP-890).
    epoch: ProducerEpoch,
    next_sequence: Sequence,
    sent: u64,
    unacknowledged: VecDeque<(Batch, usize)>,
    /// Batches of the open transaction that are acknowledged.
    acknowledged: Vec<Batch>,
    /// How the transaction ends, and how many markers are on their way.
    ending: Option<(MarkerKind, usize)>,
    old: VecDeque<Batch>,
    /// What was written by transactions whose commit, or abort, was acknowledged.
    committed: Vec<Bytes>,
    aborted: Vec<Bytes>,
}

impl Transactional {
    pub(crate) fn new(number: usize, partition: usize) -> Self {
        Transactional {
            id: ProducerId(FIRST_ID + number as i64),
            partition,
            epoch: ProducerEpoch(0),
            next_sequence: Sequence(0),
            sent: 0,
            unacknowledged: VecDeque::new(),
            acknowledged: Vec::new(),
            ending: None,
            old: VecDeque::new(),
            committed: Vec::new(),
            aborted: Vec::new(),
        }
    }

    /// Transactions that ended for certain.
    pub(crate) fn ended(&self) -> usize {
        usize::try_from(self.epoch.0).unwrap_or(0)
    }

    fn batch(&mut self, random: &mut SimRandom, time: i64) -> Result<Batch, BatchError> {
        self.sent += 1;
        let key = format!("{}-{}", self.id, self.sent);
        let mut builder =
            BatchBuilder::new(Offset::ZERO).producer(self.id, self.epoch, self.next_sequence).transactional(true);
        for _ in 0..=random.below(3) {
            let value = vec![random.next() as u8; random.below(700) as usize];
            builder.push(Timestamp(time), Some(key.as_bytes()), Some(&value), &[])?;
        }
        self.next_sequence = self.next_sequence.plus(builder.count());
        builder.build()
    }

    /// What is sent now, in this order; `fresh` allows new records.
    pub(crate) fn send(&mut self, random: &mut SimRandom, time: i64, fresh: bool) -> Result<Vec<Sent>, BatchError> {
        let mut sent = Vec::new();
        if fresh
            && random.chance(15)
            && let Some(batch) = self.old.get(random.below(REMEMBERED as u64) as usize)
        {
            sent.push(Sent::Records { batch: batch.clone(), open: false });
        }
        if self.ending.is_none() {
            for (batch, outstanding) in self.unacknowledged.iter_mut().filter(|(_, outstanding)| *outstanding == 0) {
                *outstanding += 1;
                sent.push(Sent::Records { batch: batch.clone(), open: true });
            }
            if fresh && self.acknowledged.len() + self.unacknowledged.len() < MOST_PER_TRANSACTION {
                let batch = self.batch(random, time)?;
                self.unacknowledged.push_back((batch.clone(), 1));
                sent.push(Sent::Records { batch, open: true });
            }
            self.decide(random, fresh);
        }
        if let Some((kind, outstanding)) = self.ending.as_mut().filter(|(_, outstanding)| *outstanding == 0) {
            *outstanding += 1;
            let marker = EndTransactionMarker { kind: *kind, coordinator_epoch: COORDINATOR_EPOCH };
            let epoch = ProducerEpoch(self.epoch.0 + 1);
            let batch = marker.batch(Offset::ZERO, LeaderEpoch(0), self.id, epoch, Timestamp(time))?;
            sent.push(Sent::Marker { batch, marker });
        }
        Ok(sent)
    }

    /// A commit waits until everything is acknowledged, an abort does not.
    fn decide(&mut self, random: &mut SimRandom, fresh: bool) {
        let empty = self.acknowledged.is_empty() && self.unacknowledged.is_empty();
        if empty || (fresh && !random.chance(25)) {
            return;
        }
        let all = self.unacknowledged.is_empty();
        if random.chance(if all { 30 } else { 10 }) {
            self.ending = Some((MarkerKind::Abort, 0));
        } else if all {
            self.ending = Some((MarkerKind::Commit, 0));
        }
    }

    /// An answer has come.
    pub(crate) fn answered(&mut self, batch: &Batch, result: Result<Offset, KafkaError>) {
        if batch.header().attributes.is_control() {
            return self.marker_answered(batch, result.is_ok());
        }
        let Some(at) = self.unacknowledged.iter().position(|(one, _)| one.bytes() == batch.bytes()) else { return };
        if matches!(result, Ok(_) | Err(KafkaError::DuplicateSequenceNumber)) {
            self.acknowledged.extend(self.unacknowledged.remove(at).map(|(batch, _)| batch));
        } else if let Some((_, outstanding)) = self.unacknowledged.get_mut(at) {
            *outstanding = outstanding.saturating_sub(1);
        }
    }

    fn marker_answered(&mut self, batch: &Batch, written: bool) {
        let current = batch.header().producer_epoch == ProducerEpoch(self.epoch.0 + 1);
        let Some((kind, outstanding)) = self.ending.as_mut().filter(|_| current) else { return };
        *outstanding = outstanding.saturating_sub(1);
        if !written {
            return;
        }
        let kind = *kind;
        let all = self.acknowledged.drain(..).chain(self.unacknowledged.drain(..).map(|(batch, _)| batch));
        for batch in all {
            let place = if kind == MarkerKind::Commit { &mut self.committed } else { &mut self.aborted };
            place.push(content(batch.bytes()));
            self.old.push_back(batch);
        }
        while self.old.len() > REMEMBERED {
            self.old.pop_front();
        }
        self.ending = None;
        self.epoch = ProducerEpoch(self.epoch.0 + 1);
        self.next_sequence = Sequence(0);
    }

    /// The connection is gone, and with it every answer that was due.
    pub(crate) fn disconnected(&mut self) {
        self.unacknowledged.iter_mut().for_each(|(_, outstanding)| *outstanding = 0);
        if let Some((_, outstanding)) = &mut self.ending {
            *outstanding = 0;
        }
    }

    /// Is everything acknowledged and no transaction open?
    pub(crate) fn is_done(&self) -> bool {
        self.ending.is_none() && self.unacknowledged.is_empty() && self.acknowledged.is_empty()
    }

    /// Do consumers of committed records see all that was committed, as far as it is not `hidden`, and nothing that was aborted?
    pub(crate) fn check(&self, visible: &BTreeSet<Bytes>, hidden: impl Fn(&Bytes) -> bool) -> Result<(), String> {
        if self.committed.iter().any(|one| !visible.contains(one) && !hidden(one)) {
            return Err(format!("producer {}: a committed transaction is partial", self.id));
        }
        if self.aborted.iter().any(|one| visible.contains(one)) {
            return Err(format!("producer {}: aborted records are visible", self.id));
        }
        Ok(())
    }
}
