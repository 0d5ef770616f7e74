//! Why a use case refused or failed: Kafka's error, a sentence for the caller, and who leads instead.

use std::borrow::Cow;
use std::fmt;

use tidelog_model::{KafkaError, LeaderEpoch, NodeId};

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
}

impl BrokerError {
    /// An error with a sentence of its own.
    pub fn new(error: KafkaError, message: impl Into<Cow<'static, str>>) -> Self {
        BrokerError { error, message: message.into(), leader: None }
    }
}

impl From<KafkaError> for BrokerError {
    fn from(error: KafkaError) -> Self {
        BrokerError { error, message: Cow::Borrowed(error.message()), leader: None }
    }
}

impl fmt::Display for BrokerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.error.name(), self.message)
    }
}

impl std::error::Error for BrokerError {}
