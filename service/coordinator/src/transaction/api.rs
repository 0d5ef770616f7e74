//! What is asked of a transaction's coordinator, what it answers and what it wants done: no wire format, no versions beyond
//! the facts that change an answer.

use std::collections::BTreeSet;

use tidelog_model::{KafkaError, ProducerEpoch, ProducerId, Timestamp, TopicPartition};

use super::state::TransactionState;
use crate::CoordinatorRecord;
use crate::name::name;

name!(
    /// A producer's lasting name (`transactional.id`).
    TransactionalId
);

/// One instance of a producer: a later one of the same transactional id has a higher epoch or another producer id.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Producer {
    /// The producer id.
    pub id: ProducerId,
    /// Its epoch.
    pub epoch: ProducerEpoch,
}

/// Which rules the client follows (the feature `transaction.version`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum ClientVersion {
    /// KIP-98: one epoch for many transactions, partitions are added by requests of their own.
    V0,
    /// KIP-890, second part: every end of a transaction raises the epoch, and partitions are added by producing to them.
    V2,
}

impl ClientVersion {
    /// The number in records.
    pub const fn level(self) -> i16 {
        match self {
            ClientVersion::V0 => 0,
            ClientVersion::V2 => 2,
        }
    }
}

/// What is asked about one transactional id. The answer comes at once, in the [`TransactionOutcome`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TransactionCall {
    /// InitProducerId.
    Init(InitProducer),
    /// AddPartitionsToTxn, AddOffsetsToTxn, and what producing and committing offsets add by themselves (KIP-890).
    Add(AddPartitions),
    /// Are the partitions part of the producer's open transaction?
    Verify {
        /// Who asks.
        producer: Producer,
        /// The partitions, answered in this order.
        partitions: Vec<TopicPartition>,
    },
    /// EndTxn.
    End(EndTransaction),
}

/// InitProducerId.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct InitProducer {
    /// An open transaction is aborted after this time, milliseconds.
    pub timeout_ms: i32,
    /// What the producer has, if it comes back with it (KIP-360).
    pub current: Option<Producer>,
    /// A producer id that nobody has, if the caller has brought one ([`TransactionReply::NeedsProducerId`]).
    pub fresh: Option<ProducerId>,
}

/// Partitions for the open transaction; the first ones open it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AddPartitions {
    /// Who asks.
    pub producer: Producer,
    /// The partitions. The caller has checked that they exist.
    pub partitions: BTreeSet<TopicPartition>,
    /// The client's rules.
    pub version: ClientVersion,
}

/// EndTxn.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EndTransaction {
    /// Who asks.
    pub producer: Producer,
    /// Commit or abort?
    pub commit: bool,
    /// The client's rules.
    pub version: ClientVersion,
    /// A producer id that nobody has, if the caller has brought one ([`TransactionReply::NeedsProducerId`]).
    pub fresh: Option<ProducerId>,
}

/// The answer to one call.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TransactionReply {
    /// To InitProducerId: what the producer uses from now on.
    Init(Result<Producer, KafkaError>),
    /// To AddPartitionsToTxn: all or none.
    Add(Result<(), KafkaError>),
    /// To a verification: for each partition, in the call's order.
    Verify(Vec<Result<(), KafkaError>>),
    /// To EndTxn: the producer as it goes on ([`ClientVersion::V2`]; otherwise as it was).
    End(Result<Producer, KafkaError>),
    /// The epochs of the producer id are used up, or there is none yet: bring a fresh one and ask again. Nothing has changed.
    NeedsProducerId,
}

/// The end of a transaction on some partitions: write a control batch to each, then tell [`super::TransactionShard::marked`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TransactionMarkers {
    /// Whose transaction it is.
    pub id: TransactionalId,
    /// The producer, with the epoch that the markers carry.
    pub producer: Producer,
    /// Commit or abort?
    pub commit: bool,
    /// The markers' epoch is above that of the records (KIP-890).
    pub bumped: bool,
    /// The partitions, never none.
    pub partitions: Vec<TopicPartition>,
}

/// Something worth a line in the log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TransactionEvent {
    /// A new instance of the producer came: the old one's open transaction is aborted.
    Fenced {
        /// The transactional id.
        id: TransactionalId,
    },
    /// The open transaction took too long and is aborted.
    TimedOut {
        /// The transactional id.
        id: TransactionalId,
    },
    /// The transaction is complete.
    Completed {
        /// The transactional id.
        id: TransactionalId,
        /// Committed or aborted?
        committed: bool,
    },
    /// A partition in which the producer has a transaction open refuses its end: it knows a newer epoch of the producer or of its coordinator.
    /// It is asked again, but somebody has to end that transaction by hand.
    MarkerRefused {
        /// The transactional id.
        id: TransactionalId,
        /// The partition.
        partition: TopicPartition,
        /// What it said.
        error: KafkaError,
    },
    /// Partitions have not taken the end of a transaction for some time. They are asked again, as rarely as it gets from now on.
    MarkersDelayed {
        /// The transactional id.
        id: TransactionalId,
        /// How many.
        partitions: usize,
        /// One of them.
        partition: TopicPartition,
        /// What it said.
        error: KafkaError,
    },
    /// Transactional ids that nobody has used for long are forgotten.
    Expired {
        /// How many.
        count: usize,
    },
}

/// What one event led to: records to append, the answer that may leave once they are committed, and what to do then.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[must_use = "the records must be appended and replayed, the reply sent, the markers written"]
pub struct TransactionOutcome {
    /// Append these as one batch, then replay them in this order.
    pub records: Vec<CoordinatorRecord>,
    /// Send this once the records (or the shard's last appended offset) are committed.
    pub reply: Option<TransactionReply>,
    /// Write these once the records (or the shard's last appended offset) are committed, not before.
    pub markers: Vec<TransactionMarkers>,
    /// What happened, for logs and metrics.
    pub events: Vec<TransactionEvent>,
}

impl TransactionOutcome {
    /// True if there is nothing to append, send, write or log.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty() && self.reply.is_none() && self.markers.is_empty() && self.events.is_empty()
    }
}

/// DescribeTransactions, for one transactional id.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TransactionDescription {
    /// The producer.
    pub producer: Producer,
    /// The state.
    pub state: TransactionState,
    /// After this time an open transaction is aborted, milliseconds.
    pub timeout_ms: i32,
    /// When the transaction began; −1 if there has been none.
    pub started: Timestamp,
    /// The partitions of the open transaction, or those whose markers are not written yet.
    pub partitions: BTreeSet<TopicPartition>,
}

/// ListTransactions: one transactional id.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TransactionListing {
    /// The transactional id.
    pub id: TransactionalId,
    /// The producer id.
    pub producer_id: ProducerId,
    /// The state.
    pub state: TransactionState,
    /// When the transaction began; −1 if there has been none.
    pub started: Timestamp,
}
