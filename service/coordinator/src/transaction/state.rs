//! One transactional id as its record tells it, and the few things about it that no record needs. Decides nothing.

use std::collections::BTreeSet;
use std::time::Duration;

use tidelog_model::{Deadline, ProducerEpoch, ProducerId, Timestamp, TopicPartition};

use super::api::{ClientVersion, Producer, TransactionMarkers, TransactionalId};
use crate::limits::{PARTITION_OVERHEAD_BYTES, TRANSACTION_OVERHEAD_BYTES};

/// Kafka's states, with their numbers in records.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(i8)]
pub enum TransactionState {
    /// A producer has come; no transaction yet.
    Empty = 0,
    /// A transaction is open.
    Ongoing = 1,
    /// It is decided to commit; markers are being written.
    PrepareCommit = 2,
    /// It is decided to abort; markers are being written.
    PrepareAbort = 3,
    /// The last transaction was committed.
    CompleteCommit = 4,
    /// The last transaction was aborted.
    CompleteAbort = 5,
    /// The transactional id is being forgotten. Never here: a tombstone does it in one step.
    Dead = 6,
    /// The epoch is being raised. Never here: the abort's record raises it in the same step.
    PrepareEpochFence = 7,
}

impl TransactionState {
    /// Every state.
    pub const ALL: &'static [TransactionState] = &[
        TransactionState::Empty,
        TransactionState::Ongoing,
        TransactionState::PrepareCommit,
        TransactionState::PrepareAbort,
        TransactionState::CompleteCommit,
        TransactionState::CompleteAbort,
        TransactionState::Dead,
        TransactionState::PrepareEpochFence,
    ];

    /// Kafka's name, as ListTransactions has it.
    pub const fn name(self) -> &'static str {
        match self {
            TransactionState::Empty => "Empty",
            TransactionState::Ongoing => "Ongoing",
            TransactionState::PrepareCommit => "PrepareCommit",
            TransactionState::PrepareAbort => "PrepareAbort",
            TransactionState::CompleteCommit => "CompleteCommit",
            TransactionState::CompleteAbort => "CompleteAbort",
            TransactionState::Dead => "Dead",
            TransactionState::PrepareEpochFence => "PrepareEpochFence",
        }
    }

    /// The state with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        TransactionState::ALL.iter().copied().find(|state| state.name() == name)
    }

    pub(crate) fn from_code(code: i8) -> Option<Self> {
        TransactionState::ALL.iter().copied().find(|state| *state as i8 == code)
    }

    /// Decided, and its markers on their way: nothing else happens to the transaction until they are written.
    pub(crate) const fn is_prepared(self) -> bool {
        matches!(self, TransactionState::PrepareCommit | TransactionState::PrepareAbort)
    }
}

/// What the record of a transactional id says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Stored {
    pub(crate) producer: Producer,
    /// The producer id before the last record.
    pub(crate) previous: ProducerId,
    /// The producer id that follows when the markers are written: the epochs of this one are used up.
    pub(crate) next: ProducerId,
    pub(crate) timeout_ms: i32,
    pub(crate) state: TransactionState,
    pub(crate) partitions: BTreeSet<TopicPartition>,
    /// When the record was written.
    pub(crate) updated: Timestamp,
    /// When the transaction began.
    pub(crate) started: Timestamp,
    /// The rules of the client's last change, as a level.
    pub(crate) client_level: i16,
}

/// The last epoch that a producer may get: one more must remain, so that it can be fenced.
const LAST_EPOCH: i16 = i16::MAX - 1;

/// Can this epoch not be raised any more for a client?
pub(crate) fn is_exhausted(epoch: ProducerEpoch) -> bool {
    epoch.get() >= LAST_EPOCH
}

/// The epoch after this one; the highest stays.
pub(crate) fn raised(epoch: ProducerEpoch) -> ProducerEpoch {
    ProducerEpoch(epoch.get().saturating_add(1))
}

impl Stored {
    /// The next record, as far as every record follows from the one before.
    pub(crate) fn successor(&self, state: TransactionState, updated: Timestamp) -> Stored {
        Stored { state, updated, previous: self.producer.id, ..self.clone() }
    }

    /// The record that follows when every marker is written.
    pub(crate) fn completed(&self, updated: Timestamp) -> Stored {
        let state = match self.state {
            TransactionState::PrepareCommit => TransactionState::CompleteCommit,
            _ => TransactionState::CompleteAbort,
        };
        let rotates = self.client_level >= ClientVersion::V2.level() && self.next != ProducerId::NONE;
        let producer = if rotates { Producer { id: self.next, epoch: ProducerEpoch(0) } } else { self.producer };
        Stored { producer, next: ProducerId::NONE, partitions: BTreeSet::new(), ..self.successor(state, updated) }
    }

    /// The markers of a decided transaction for these of its partitions.
    pub(crate) fn markers(&self, id: &TransactionalId, partitions: &BTreeSet<TopicPartition>) -> TransactionMarkers {
        TransactionMarkers {
            id: id.clone(),
            producer: self.producer,
            commit: self.state == TransactionState::PrepareCommit,
            bumped: self.client_level >= ClientVersion::V2.level(),
            partitions: partitions.iter().cloned().collect(),
        }
    }
}

/// One transactional id.
#[derive(Debug)]
pub(crate) struct Transaction {
    pub(crate) stored: Stored,
    /// The epoch before, as long as its holder may ask once more for what it did not hear (KIP-360). Not in the record: after
    /// loading such a repetition is fenced, as in Kafka.
    pub(crate) last_epoch: ProducerEpoch,
    /// An open transaction's time-out, or when something is tried again.
    pub(crate) deadline: Option<Deadline>,
    /// Partitions whose marker has not been confirmed.
    pub(crate) unmarked: BTreeSet<TopicPartition>,
    /// Markers are on their way: they must not be sent once more before they are answered, or a late one could end the
    /// producer's next transaction.
    pub(crate) marking: bool,
    /// The last wait before the markers were tried again; zero if none has failed.
    pub(crate) pause: Duration,
}

impl Transaction {
    pub(crate) fn new(stored: Stored) -> Self {
        Transaction {
            stored,
            last_epoch: ProducerEpoch::NONE,
            deadline: None,
            unmarked: BTreeSet::new(),
            marking: false,
            pause: Duration::ZERO,
        }
    }

    /// Memory, bytes.
    pub(crate) fn bytes(&self, id: &TransactionalId) -> usize {
        let partitions = self.stored.partitions.iter().chain(&self.unmarked);
        TRANSACTION_OVERHEAD_BYTES + 3 * id.len() + partitions.count() * PARTITION_OVERHEAD_BYTES
    }
}
