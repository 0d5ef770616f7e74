//! What every handler gets, and how it answers.

use tidelog_broker::BrokerError;
use tidelog_model::{Caller, KafkaError};
use tidelog_protocol::header::response_frame;
use tidelog_protocol::{RequestHeader, Response, Str};
use tokio::sync::OwnedSemaphorePermit;

use crate::answer::{Answer, Files, Hangup, Waiting};
use crate::limits::MAX_SENTENCE_BYTES;
use crate::session::Session;

/// One request: its header, its caller, its connection, and the budget its frame holds.
pub(crate) struct Request<'a> {
    pub(crate) session: &'a Session,
    pub(crate) header: RequestHeader,
    pub(crate) caller: Caller,
    /// Released when the request's bytes are no longer needed.
    pub(crate) reserved: OwnedSemaphorePermit,
}

/// Where an answer goes: version and correlation id.
#[derive(Clone, Copy)]
pub(crate) struct ReplyTo {
    pub(crate) version: i16,
    correlation_id: i32,
}

impl Request<'_> {
    pub(crate) fn reply_to(&self) -> ReplyTo {
        ReplyTo { version: self.header.version, correlation_id: self.header.correlation_id }
    }

    /// The answer is known already.
    pub(crate) fn ready<R: Response>(&self, response: &R) -> Result<Waiting, Hangup> {
        let answer = self.reply_to().answer(response);
        Ok(Box::pin(std::future::ready(answer)))
    }
}

impl ReplyTo {
    pub(crate) fn new(version: i16, correlation_id: i32) -> Self {
        ReplyTo { version, correlation_id }
    }

    /// Encodes an answer without file parts.
    pub(crate) fn answer<R: Response>(self, response: &R) -> Result<Answer, Hangup> {
        self.answer_with(response, Files::default())
    }

    /// Encodes an answer; `files` fill its holes.
    pub(crate) fn answer_with<R: Response>(self, response: &R, files: Files) -> Result<Answer, Hangup> {
        match response_frame(self.version, self.correlation_id, response) {
            Ok(pieces) => Ok(Answer::Send(files.fill(pieces))),
            // Our own mistake; the client cannot be answered in its version.
            Err(error) => Err(Hangup::Malformed(format!("{} version {}: {error}", R::NAME, self.version))),
        }
    }
}

/// An error as messages carry it: the code, 0 for none.
pub(crate) fn code(error: Option<&BrokerError>) -> i16 {
    error.map_or(KafkaError::None.code(), |error| error.error.code())
}

/// An error's sentence as messages carry it, cut where it would not fit: it may repeat a name that the client sent.
pub(crate) fn sentence(error: &BrokerError) -> Option<Str> {
    let message = &*error.message;
    let end = (0..=MAX_SENTENCE_BYTES.min(message.len())).rev().find(|end| message.is_char_boundary(*end));
    Some(Str::from(message.get(..end.unwrap_or(0)).unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use tidelog_protocol::messages::{CreatableTopicResult, CreateTopicsResponse};

    use super::*;

    #[test]
    fn a_sentence_fits_whatever_name_it_repeats() {
        let long = "ä".repeat(30_000);
        let error = BrokerError::new(KafkaError::InvalidTopicException, format!("x{long} is no topic"));
        let topic = CreatableTopicResult { error_message: sentence(&error), ..Default::default() };
        // Version 4 writes strings with a length of two bytes.
        let written = response_frame(4, 1, &CreateTopicsResponse { topics: vec![topic], ..Default::default() });
        assert!(written.is_ok(), "{:?}", written.err());
        assert_eq!(
            sentence(&BrokerError::from(KafkaError::NotCoordinator)).as_deref(),
            Some(KafkaError::NotCoordinator.message())
        );
    }
}
