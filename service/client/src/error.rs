//! What can go wrong between a client and its brokers.

use std::time::Duration;

use tidelog_model::{KafkaError, Offset, PartitionIndex};
use tidelog_protocol::{DecodeError, EncodeError, Versions};
use tidelog_record::BatchError;

use crate::BrokerAddress;

/// Why a call failed. Cloneable, because one failed batch fails many records.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens there.
    #[error("no Tidelog at {0}; start one with `tidelog serve`")]
    Refused(BrokerAddress),
    /// The connection could not be opened for another reason.
    #[error("cannot connect to {address}: {reason}")]
    Connect {
        /// Where to.
        address: BrokerAddress,
        /// What the system said.
        reason: String,
    },
    /// The connection ended while answers were due; whether the requests were carried out is unknown.
    #[error("the connection to {address} ended: {reason}")]
    Closed {
        /// Where to.
        address: BrokerAddress,
        /// What happened.
        reason: String,
    },
    /// The server wants to know who the client is, or does not believe its certificate.
    #[error("{address} does not know who you are: {reason}")]
    Unauthenticated {
        /// Where to.
        address: BrokerAddress,
        /// What is missing, and what to do.
        reason: String,
    },
    /// No answer in time; whether the request was carried out is unknown.
    #[error("no answer to {what} within {after:?}")]
    Timeout {
        /// The request.
        what: &'static str,
        /// The time waited.
        after: Duration,
    },
    /// The server and this client have no version of the API in common.
    #[error("the server serves {api} {}, this client speaks {ours:?}", match .server { Some(v) => format!("{v:?}"), None => "in no version".into() })]
    Version {
        /// Kafka's name of the API.
        api: &'static str,
        /// The server's versions, if it serves the API.
        server: Option<Versions>,
        /// This client's versions.
        ours: Versions,
    },
    /// The server refused.
    #[error("{} ({})", about(.what, .message), .error.name())]
    Kafka {
        /// Kafka's error.
        error: KafkaError,
        /// What it is about, such as ``topic `a` ``.
        what: String,
        /// The server's sentence, or Kafka's general one.
        message: String,
    },
    /// The server's answer is malformed.
    #[error("the server's answer cannot be read: {0}")]
    Decode(#[from] DecodeError),
    /// The request does not fit the version in use.
    #[error("the request cannot be written: {0}")]
    Encode(#[from] EncodeError),
    /// A batch is malformed, or records do not fit into one.
    #[error(transparent)]
    Batch(#[from] BatchError),
    /// What the server has there is no sound batch; it sends batches as they lie on its disk.
    #[error(
        "{topic}-{partition} is damaged at offset {offset}: {error}. `tidelog log dump` shows where in its files, and at which offset sound \
         records follow, from where they can be read; `tidelog log repair` ends the log before that, while the server does not run"
    )]
    Damaged {
        /// The topic.
        topic: String,
        /// The partition.
        partition: PartitionIndex,
        /// The first offset that cannot be read; the damaged batch may begin before it.
        offset: Offset,
        /// What is wrong.
        error: BatchError,
    },
    /// The record exceeds what the producer tries at all.
    #[error("the record has {size} bytes, more than the {limit} allowed")]
    RecordTooLarge {
        /// Its size, bytes.
        size: usize,
        /// The limit, bytes.
        limit: usize,
    },
    /// The delivery time passed before the records could be written; if they were sent, whether they were stored is unknown.
    #[error("the records could not be delivered within {after:?}; last error: {last}")]
    Expired {
        /// The time allowed.
        after: Duration,
        /// What stood in the way.
        last: String,
    },
    /// The records were sent, whether they were stored is unknown, and sending them again would not tell.
    #[error("whether the records were stored is unknown; last error: {last}")]
    OutcomeUnknown {
        /// Why they are not sent again.
        last: String,
    },
    /// The producer was closed.
    #[error("the producer is closed")]
    ProducerClosed,
}

/// The server's sentence, and before it what it is about, unless it says so itself.
fn about(what: &str, message: &str) -> String {
    let named = what.split_once(" `").and_then(|(kind, rest)| Some((kind, rest.strip_suffix('`')?)));
    let says = |(kind, name): (&str, &str)| {
        [format!("{kind} {name}"), format!("'{name}'"), format!("\"{name}\""), format!("`{name}`")]
            .iter()
            .any(|said| message.contains(said.as_str()))
    };
    if named.is_some_and(says) { message.to_owned() } else { format!("{what}: {message}") }
}

impl ClientError {
    /// The server's refusal with its own sentence if it gave one.
    pub(crate) fn kafka(error: KafkaError, what: impl Into<String>, message: Option<&str>) -> Self {
        let message = message.filter(|text| !text.is_empty()).unwrap_or_else(|| error.message());
        ClientError::Kafka { error, what: what.into(), message: message.trim_end_matches('.').to_owned() }
    }

    /// Checks an error code of an answer: 0 is fine. A code that Kafka does not have counts as UNKNOWN_SERVER_ERROR.
    pub(crate) fn check(code: i16, what: impl FnOnce() -> String, message: Option<&str>) -> Result<(), ClientError> {
        match code {
            0 => Ok(()),
            code => {
                let error = KafkaError::from_code(code).unwrap_or(KafkaError::UnknownServerError);
                Err(ClientError::kafka(error, what(), message))
            }
        }
    }

    /// Kafka's error, if the server refused.
    pub fn kafka_error(&self) -> Option<KafkaError> {
        match self {
            ClientError::Kafka { error, .. } => Some(*error),
            _ => None,
        }
    }

    /// May the same call succeed later without a change?
    pub fn is_retriable(&self) -> bool {
        match self {
            ClientError::Refused(_)
            | ClientError::Connect { .. }
            | ClientError::Closed { .. }
            | ClientError::Timeout { .. } => true,
            ClientError::Kafka { error, .. } => error.is_retriable(),
            ClientError::Unauthenticated { .. }
            | ClientError::Version { .. }
            | ClientError::Decode(_)
            | ClientError::Encode(_)
            | ClientError::Batch(_)
            | ClientError::Damaged { .. }
            | ClientError::RecordTooLarge { .. }
            | ClientError::Expired { .. }
            | ClientError::OutcomeUnknown { .. }
            | ClientError::ProducerClosed => false,
        }
    }

    /// True if no broker could be reached at all.
    pub fn is_unreachable(&self) -> bool {
        matches!(self, ClientError::Refused(_) | ClientError::Connect { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_error_is_about_is_said_once() {
        let told = |message: &str| about("topic `nope`", message);
        assert_eq!(told("there is no topic nope"), "there is no topic nope");
        assert_eq!(told("Topic 'nope' already exists"), "Topic 'nope' already exists");
        assert_eq!(told("not authorized"), "topic `nope`: not authorized");
        assert_eq!(about("the cluster", "it is busy"), "the cluster: it is busy");
    }
}
