//! Decides what the requests, timers and markers of one shard's transactions lead to: records, an answer, markers to write. State is
//! changed by `replay` alone; nothing here appends, waits or asks for the time.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use tidelog_model::{Deadline, KafkaError, Now, ProducerEpoch};

use super::api::*;
use super::config::TransactionConfig;
use super::end::{abort_unasked, end};
use super::init::init;
use super::partitions::{add, verify};
use super::record::{self, TransactionRecord};
use super::state::{Stored, Transaction, TransactionState};
use crate::limits::{
    MAX_ID_BYTES, MAX_SHARD_BYTES, PARTITION_OVERHEAD_BYTES, TRANSACTION_OVERHEAD_BYTES, TRANSACTION_RETRY,
};
use crate::{CoordinatorRecord, Forgetting, Replayed};

/// Every transactional id that hashes to one partition of `__transaction_state` ([`crate::partition_for`]).
///
/// The contract with the shell is that of the crate's documentation, with two differences: every call is answered by its own
/// outcome, and an outcome may ask for markers, which the shell writes once the outcome is committed and reports to
/// [`TransactionShard::marked`].
#[derive(Debug)]
pub struct TransactionShard {
    pub(super) config: TransactionConfig,
    pub(super) transactions: BTreeMap<TransactionalId, Transaction>,
    /// The transactions' deadlines in order of time.
    agenda: BTreeSet<(Deadline, TransactionalId)>,
    /// When expired ids are looked for next.
    pub(super) expiry: Option<Deadline>,
    /// The epoch before the one that the record being appended gives: not in the record, so it waits here for its replay.
    staged: Option<(TransactionalId, ProducerEpoch)>,
    /// Decided transactions of which a partition has not taken the end at the last try.
    pub(super) delayed: BTreeSet<TransactionalId>,
    pub(super) bytes: usize,
    most_bytes: usize,
    loading: bool,
}

/// What one decision leads to.
pub(crate) struct Step {
    /// The transaction's next record.
    pub(crate) next: Option<Stored>,
    /// The epoch before, if its holder may ask once more.
    pub(crate) last_epoch: ProducerEpoch,
    pub(crate) reply: Option<TransactionReply>,
    pub(crate) events: Vec<TransactionEvent>,
}

impl Step {
    /// Nothing changes.
    pub(crate) fn answer(reply: TransactionReply) -> Self {
        Step { next: None, last_epoch: ProducerEpoch::NONE, reply: Some(reply), events: Vec::new() }
    }

    /// The transaction's next record; nobody may ask once more, nobody is answered.
    pub(crate) fn to(next: Stored) -> Self {
        Step { next: Some(next), last_epoch: ProducerEpoch::NONE, reply: None, events: Vec::new() }
    }
}

impl TransactionShard {
    /// A shard that has not loaded yet: replay its partition's records, then call [`TransactionShard::loaded`].
    pub fn new(config: TransactionConfig) -> Self {
        TransactionShard {
            config,
            transactions: BTreeMap::new(),
            agenda: BTreeSet::new(),
            expiry: None,
            staged: None,
            delayed: BTreeSet::new(),
            bytes: 0,
            most_bytes: MAX_SHARD_BYTES,
            loading: true,
        }
    }

    /// Applies one record: of the log while loading, of an outcome once it is appended. Never fails: what it cannot read changes nothing.
    pub fn replay(&mut self, record: &CoordinatorRecord) -> Replayed {
        match record::decode(record) {
            Ok(TransactionRecord::Transaction(id, Some(stored))) => self.adopt(id, stored),
            Ok(TransactionRecord::Transaction(id, None)) => {
                self.unwake(&id);
                self.delayed.remove(&id);
                if let Some(gone) = self.transactions.remove(&id) {
                    self.bytes = self.bytes.saturating_sub(gone.bytes(&id));
                }
            }
            Ok(TransactionRecord::Unknown(kind)) => return Replayed::UnknownKind(kind),
            Err(_) => return Replayed::Undecodable,
        }
        Replayed::Applied
    }

    /// What it means to pass over a record with this key that cannot be read.
    pub fn forget(&self, key: &Bytes) -> Forgetting {
        let tombstone = CoordinatorRecord { key: key.clone(), value: None };
        let (what, loses) = match record::decode(&tombstone) {
            Ok(TransactionRecord::Transaction(id, _)) => (
                format!("transactional id `{id}`"),
                "the id gets another producer id; a transaction of it that is open or not ended everywhere hangs (`tidelog txn find-hanging`)",
            ),
            Ok(TransactionRecord::Unknown(_)) | Err(_) => {
                ("its key does not tell whose it is".to_owned(), "whatever it said")
            }
        };
        Forgetting { what, loses, records: vec![tombstone] }
    }

    fn adopt(&mut self, id: TransactionalId, stored: Stored) {
        if stored.state != TransactionState::Ongoing {
            self.unwake(&id);
        }
        self.delayed.remove(&id);
        let last_epoch = self.staged.take_if(|(staged, _)| *staged == id).map(|(_, epoch)| epoch);
        let prepared = stored.state.is_prepared();
        let unmarked = if prepared { stored.partitions.clone() } else { BTreeSet::new() };
        let transaction = match self.transactions.get_mut(&id) {
            Some(transaction) => {
                self.bytes = self.bytes.saturating_sub(transaction.bytes(&id));
                transaction.stored = stored;
                transaction
            }
            None => self.transactions.entry(id.clone()).or_insert_with(|| Transaction::new(stored)),
        };
        transaction.last_epoch = last_epoch.unwrap_or(transaction.last_epoch);
        // The outcome that brought the record has the markers, too.
        transaction.marking = prepared && !self.loading;
        transaction.unmarked = unmarked;
        transaction.pause = Duration::ZERO;
        self.bytes += transaction.bytes(&id);
    }

    /// Ends loading. Transactions that are decided get their markers (once more, if need be); open ones get what is left of their
    /// time-out, at most all of it.
    pub fn loaded(&mut self, now: Now) {
        self.loading = false;
        self.expiry = Some(now.after(self.config.id_expiration_interval));
        let mut wakes = Vec::new();
        for (id, transaction) in &self.transactions {
            let stored = &transaction.stored;
            if stored.state.is_prepared() {
                wakes.push((id.clone(), now.after(Duration::ZERO)));
            } else if stored.state == TransactionState::Ongoing {
                let left = stored.started.get().saturating_add(i64::from(stored.timeout_ms));
                let left = left.saturating_sub(now.wall.get()).clamp(0, i64::from(stored.timeout_ms.max(0)));
                wakes.push((id.clone(), now.after(Duration::from_millis(left.unsigned_abs()))));
            }
        }
        for (id, deadline) in wakes {
            self.wake(&id, deadline);
        }
    }

    /// Decides about one call.
    pub fn handle(&mut self, now: Now, id: &TransactionalId, call: &TransactionCall) -> TransactionOutcome {
        let mut out = TransactionOutcome::default();
        if self.loading {
            out.reply = Some(refusal(call, KafkaError::CoordinatorLoadInProgress));
            return out;
        }
        if id.is_empty() || id.len() > MAX_ID_BYTES {
            out.reply = Some(refusal(call, KafkaError::InvalidRequest));
            return out;
        }
        let found = self.transactions.get(id);
        let step = match call {
            TransactionCall::Init(call) => init(&self.config, now.wall, id, found, call),
            TransactionCall::Add(call) => add(now.wall, found, call),
            TransactionCall::Verify { producer, partitions } => {
                Step::answer(TransactionReply::Verify(verify(found, *producer, partitions)))
            }
            TransactionCall::End(call) => end(now.wall, found, call),
        };
        if step.next.as_ref().is_some_and(|next| self.growth(id, next) > self.room()) {
            out.reply = Some(refusal(call, KafkaError::PolicyViolation));
            return out;
        }
        self.take(now, id, step, &mut out);
        out
    }

    /// Turns a decision into what the shell does.
    fn take(&mut self, now: Now, id: &TransactionalId, step: Step, out: &mut TransactionOutcome) {
        out.reply = step.reply;
        out.events.extend(step.events);
        let Some(next) = step.next else { return };
        let opens = self.transactions.get(id).is_none_or(|old| old.stored.state != TransactionState::Ongoing);
        self.put(id, &next, out);
        self.staged = Some((id.clone(), step.last_epoch));
        match next.state {
            TransactionState::Ongoing if opens => {
                let timeout = Duration::from_millis(u64::try_from(next.timeout_ms).unwrap_or(0));
                self.wake(id, now.after(timeout));
            }
            state if state.is_prepared() && next.partitions.is_empty() => {
                // No partition has anything of it: it is complete at once.
                let complete = next.completed(now.wall);
                let committed = complete.state == TransactionState::CompleteCommit;
                out.events.push(TransactionEvent::Completed { id: id.clone(), committed });
                self.put(id, &complete, out);
            }
            state if state.is_prepared() => out.markers.push(next.markers(id, &next.partitions)),
            _ => {}
        }
    }

    /// The record that stores this; ids are checked before, so that every one can be written.
    pub(super) fn put(&self, id: &TransactionalId, stored: &Stored, out: &mut TransactionOutcome) {
        out.records.extend(record::transaction_record(id, stored));
    }

    /// When [`TransactionShard::on_timer`] wants to be called next.
    pub fn next_deadline(&self) -> Option<Deadline> {
        if self.loading {
            return None;
        }
        self.agenda.first().map(|(deadline, _)| *deadline).into_iter().chain(self.expiry).min()
    }

    /// Handles at most one transaction, or one step of expiry, whose time has come: call it again while
    /// [`TransactionShard::next_deadline`] has passed.
    pub fn on_timer(&mut self, now: Now) -> TransactionOutcome {
        let mut out = TransactionOutcome::default();
        if self.loading {
            return out;
        }
        let due = self.agenda.first().filter(|(deadline, _)| deadline.passed(now)).map(|(_, id)| id.clone());
        let Some(id) = due else { return self.expiry_step(now) };
        self.unwake(&id);
        let Some(transaction) = self.transactions.get_mut(&id) else { return out };
        match transaction.stored.state {
            TransactionState::Ongoing => {
                let events = vec![TransactionEvent::TimedOut { id: id.clone() }];
                let step = Step { events, ..abort_unasked(&transaction.stored, now.wall) };
                self.take(now, &id, step, &mut out);
            }
            state if state.is_prepared() && transaction.unmarked.is_empty() => self.complete(now, &id, &mut out),
            state if state.is_prepared() && !transaction.marking => {
                transaction.marking = true;
                out.markers.push(transaction.stored.markers(&id, &transaction.unmarked));
            }
            _ => {}
        }
        out
    }

    /// The outcome's records could not be appended for this reason: what to answer instead. Its markers must not be written.
    pub fn refused(&mut self, now: Now, outcome: TransactionOutcome, error: KafkaError) -> Option<TransactionReply> {
        self.staged = None;
        for record in &outcome.records {
            let Ok(TransactionRecord::Transaction(id, _)) = record::decode(record) else { continue };
            let Some(transaction) = self.transactions.get(&id) else { continue };
            let state = transaction.stored.state;
            // Nobody else comes back to these: a time-out, or the completion after the last marker.
            let forgotten = state == TransactionState::Ongoing || (state.is_prepared() && !transaction.marking);
            if forgotten && transaction.deadline.is_none() {
                self.wake(&id, now.after(TRANSACTION_RETRY));
            }
        }
        if self.expiry.is_some_and(|deadline| deadline.passed(now)) {
            self.expiry = Some(now.after(self.config.id_expiration_interval));
        }
        outcome.reply.map(|reply| instead_of(reply, storage_error(error)))
    }

    /// DescribeTransactions for one id. Send the answer parked at the shard's last appended offset.
    pub fn describe(&self, id: &TransactionalId) -> Result<TransactionDescription, KafkaError> {
        if self.loading {
            return Err(KafkaError::CoordinatorLoadInProgress);
        }
        let transaction = self.transactions.get(id).ok_or(KafkaError::TransactionalIdNotFound)?;
        let stored = &transaction.stored;
        Ok(TransactionDescription {
            producer: stored.producer,
            state: stored.state,
            timeout_ms: stored.timeout_ms,
            started: stored.started,
            partitions: stored.partitions.clone(),
        })
    }

    /// ListTransactions: every id of the shard, in order.
    pub fn list(&self) -> Result<Vec<TransactionListing>, KafkaError> {
        if self.loading {
            return Err(KafkaError::CoordinatorLoadInProgress);
        }
        let listing = |(id, transaction): (&TransactionalId, &Transaction)| TransactionListing {
            id: id.clone(),
            producer_id: transaction.stored.producer.id,
            state: transaction.stored.state,
            started: transaction.stored.started,
        };
        Ok(self.transactions.iter().map(listing).collect())
    }

    /// Decided transactions of which a partition has not taken the end at the last try: their producers wait.
    pub fn delayed(&self) -> usize {
        self.delayed.len()
    }

    /// Memory that the transactions hold, bytes, as the limit counts it.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Most memory of the transactions, bytes, [`MAX_SHARD_BYTES`] until this is told: beyond it new ids and partitions get POLICY_VIOLATION.
    /// What is held already stays.
    pub fn set_most_bytes(&mut self, bytes: usize) {
        self.most_bytes = bytes;
    }

    fn room(&self) -> usize {
        self.most_bytes.saturating_sub(self.bytes)
    }

    /// What a record would add to the memory held. An end is always let through: it makes room.
    fn growth(&self, id: &TransactionalId, next: &Stored) -> usize {
        let (held, partitions) = match self.transactions.get(id) {
            Some(old) => (0, old.stored.partitions.len()),
            None => (TRANSACTION_OVERHEAD_BYTES + 3 * id.len(), 0),
        };
        held + next.partitions.len().saturating_sub(partitions) * PARTITION_OVERHEAD_BYTES
    }

    /// Sets the transaction's deadline.
    pub(super) fn wake(&mut self, id: &TransactionalId, deadline: Deadline) {
        self.unwake(id);
        if let Some(transaction) = self.transactions.get_mut(id) {
            transaction.deadline = Some(deadline);
            self.agenda.insert((deadline, id.clone()));
        }
    }

    fn unwake(&mut self, id: &TransactionalId) {
        if let Some(deadline) = self.transactions.get_mut(id).and_then(|transaction| transaction.deadline.take()) {
            self.agenda.remove(&(deadline, id.clone()));
        }
    }
}

/// The answer to a call that is refused as a whole.
fn refusal(call: &TransactionCall, error: KafkaError) -> TransactionReply {
    match call {
        TransactionCall::Init(_) => TransactionReply::Init(Err(error)),
        TransactionCall::Add(_) => TransactionReply::Add(Err(error)),
        TransactionCall::Verify { partitions, .. } => TransactionReply::Verify(vec![Err(error); partitions.len()]),
        TransactionCall::End(_) => TransactionReply::End(Err(error)),
    }
}

/// The answer instead of this one, whose records were not appended. Also instead of CONCURRENT_TRANSACTIONS, which promised an abort.
fn instead_of(reply: TransactionReply, error: KafkaError) -> TransactionReply {
    match reply {
        TransactionReply::Init(_) => TransactionReply::Init(Err(error)),
        TransactionReply::Add(_) => TransactionReply::Add(Err(error)),
        TransactionReply::Verify(results) => TransactionReply::Verify(vec![Err(error); results.len()]),
        TransactionReply::End(_) => TransactionReply::End(Err(error)),
        TransactionReply::NeedsProducerId => TransactionReply::NeedsProducerId,
    }
}

/// What the failure of an append means to a client of the coordinator, as Kafka maps it.
fn storage_error(append: KafkaError) -> KafkaError {
    match append {
        KafkaError::UnknownTopicOrPartition
        | KafkaError::NotEnoughReplicas
        | KafkaError::NotEnoughReplicasAfterAppend
        | KafkaError::RequestTimedOut => KafkaError::CoordinatorNotAvailable,
        KafkaError::NotLeaderOrFollower | KafkaError::KafkaStorageError => KafkaError::NotCoordinator,
        KafkaError::MessageTooLarge | KafkaError::RecordListTooLarge => KafkaError::UnknownServerError,
        other => other,
    }
}

#[cfg(test)]
impl TransactionShard {
    /// The rules that hold between two events.
    pub(super) fn assert_consistent(&self) {
        assert_eq!(self.bytes, self.transactions.iter().map(|(id, t)| t.bytes(id)).sum::<usize>());
        let deadlines = self.transactions.iter().filter_map(|(id, t)| t.deadline.map(|at| (at, id.clone())));
        assert_eq!(deadlines.collect::<BTreeSet<_>>(), self.agenda);
        assert_eq!(self.staged, None, "an epoch waits for a record that did not come");
        let delayed = self.transactions.iter().filter(|(_, t)| t.pause > Duration::ZERO).map(|(id, _)| id.clone());
        assert_eq!(delayed.collect::<BTreeSet<_>>(), self.delayed);
        for (id, transaction) in &self.transactions {
            let state = transaction.stored.state;
            // Every transaction ends: somebody comes back to it.
            match state {
                TransactionState::Ongoing => assert!(transaction.deadline.is_some(), "{id} may stay open for ever"),
                _ if state.is_prepared() => {
                    assert!(transaction.marking || transaction.deadline.is_some(), "{id} is never completed");
                }
                _ => assert!(transaction.unmarked.is_empty() && transaction.stored.partitions.is_empty(), "{id}"),
            }
        }
    }

    /// Everything durable, as text that can be compared.
    pub(super) fn durable(&self) -> Vec<String> {
        self.transactions.iter().map(|(id, transaction)| format!("{id} {:?}", transaction.stored)).collect()
    }
}
