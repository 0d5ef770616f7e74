//! Why a use case refused or failed: Kafka's error, a sentence for the caller, and who leads instead.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use tidelog_model::{KafkaError, LeaderEpoch, NodeId, Offset};
use tidelog_record::{BatchError, RecordFault};

/// The leader as this broker knows it; travels with errors so that clients and gateways go there at once (KIP-951).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CurrentLeader {
    /// The leader's node id, −1 if there is none.
    pub node: NodeId,
    /// Its epoch.
    pub epoch: LeaderEpoch,
}

/// The error of every use case.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BrokerError {
    /// The fact, in Kafka's words; every door maps it exhaustively.
    pub error: KafkaError,
    /// What the caller should know and do; never contains a secret or a path of the server.
    pub message: Cow<'static, str>,
    /// Set where the caller should have asked another broker.
    pub leader: Option<CurrentLeader>,
    /// Set where the caller is beyond a quota: how long it should wait before it asks again.
    pub pause: Option<Duration>,
}

impl BrokerError {
    /// An error with a sentence of its own.
    pub fn new(error: KafkaError, message: impl Into<Cow<'static, str>>) -> Self {
        BrokerError { error, message: message.into(), leader: None, pause: None }
    }
}

impl From<KafkaError> for BrokerError {
    fn from(error: KafkaError) -> Self {
        BrokerError { error, message: Cow::Borrowed(error.message()), leader: None, pause: None }
    }
}

impl fmt::Display for BrokerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.error.name(), self.message)
    }
}

impl std::error::Error for BrokerError {}

/// Why an append failed, and what a producer can do with it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AppendError {
    /// As of every use case.
    pub error: BrokerError,
    /// The records that are at fault, in order; empty if it is not for single records that the batch was refused (KIP-467).
    pub faults: Vec<RecordFault>,
    /// The partition's first readable offset, by which a producer judges whether its records were deleted (KIP-360); −1 where Kafka
    /// does not tell.
    pub log_start_offset: Offset,
}

impl AppendError {
    /// What the check of a batch found.
    pub(crate) fn of_batch(error: BatchError, log_start: Offset) -> Self {
        let refused = BrokerError::new(error.kafka(), error.to_string());
        let faults = match error {
            BatchError::Records(faults) => faults,
            _ => Vec::new(),
        };
        AppendError { faults, ..AppendError::of_partition(refused, log_start) }
    }

    /// What the partition, or a transaction's coordinator for it, answered.
    pub(crate) fn of_partition(error: BrokerError, log_start: Offset) -> Self {
        let untold = matches!(
            error.error,
            KafkaError::MessageTooLarge
                | KafkaError::CorruptMessage
                | KafkaError::KafkaStorageError
                | KafkaError::NotLeaderOrFollower
                | KafkaError::UnknownTopicOrPartition
        );
        let log_start_offset = if untold { Offset::NONE } else { log_start };
        AppendError { error, faults: Vec::new(), log_start_offset }
    }
}

impl From<BrokerError> for AppendError {
    fn from(error: BrokerError) -> Self {
        AppendError { error, faults: Vec::new(), log_start_offset: Offset::NONE }
    }
}

impl From<AppendError> for BrokerError {
    fn from(error: AppendError) -> Self {
        error.error
    }
}
