//! What every handler gets, and how it answers.

use std::sync::Arc;

use tidelog_broker::{BrokerError, Mutations};
use tidelog_model::{Caller, KafkaError};
use tidelog_protocol::header::response_frame;
use tidelog_protocol::{RequestHeader, Response, Str};

use crate::answer::{Answer, Files, Hangup, Waiting};
use crate::budget::Reserved;
use crate::limits::MAX_SENTENCE_BYTES;
use crate::session::Session;
use crate::throttle::Meter;
use crate::usage::count_errors;

/// One request: its header, its caller, its connection, and the budget its frame holds.
pub(crate) struct Request<'a> {
    pub(crate) session: &'a Session,
    pub(crate) header: RequestHeader,
    pub(crate) caller: Caller,
    /// Released when the request's bytes are no longer needed: with the answer, unless [`ReplyTo::let_go`] says that it is sooner.
    pub(crate) reserved: Arc<Reserved>,
    /// What the request costs its caller.
    pub(crate) meter: Arc<Meter>,
}

/// Where an answer goes: version and correlation id, and who pays for it.
#[derive(Clone)]
pub(crate) struct ReplyTo {
    pub(crate) version: i16,
    correlation_id: i32,
    meter: Option<Arc<Meter>>,
    /// What waits for its answer may have parts of the frame, and each keeps all of it.
    _reserved: Option<Arc<Reserved>>,
}

impl Request<'_> {
    pub(crate) fn reply_to(&self) -> ReplyTo {
        ReplyTo {
            version: self.header.version,
            correlation_id: self.header.correlation_id,
            meter: Some(Arc::clone(&self.meter)),
            _reserved: Some(Arc::clone(&self.reserved)),
        }
    }

    /// The answer is known already.
    pub(crate) fn ready<R: Response + Clone>(&self, response: &R) -> Result<Waiting, Hangup> {
        let answer = self.reply_to().answer(response);
        Ok(Box::pin(std::future::ready(answer)))
    }
}

impl ReplyTo {
    /// An answer that nobody pays for.
    pub(crate) fn unmetered(version: i16, correlation_id: i32) -> Self {
        ReplyTo { version, correlation_id, meter: None, _reserved: None }
    }

    /// The same for an answer that may be long in coming, and has copied what it needs of the frame: what that holds is given back with
    /// the request.
    pub(crate) fn let_go(self) -> Self {
        ReplyTo { _reserved: None, ..self }
    }

    /// What the request costs its caller.
    pub(crate) fn meter(&self) -> Option<&Meter> {
        self.meter.as_deref()
    }

    /// Encodes an answer without file parts.
    pub(crate) fn answer<R: Response + Clone>(&self, response: &R) -> Result<Answer, Hangup> {
        self.answer_with(response, Files::default())
    }

    /// Encodes an answer; `files` fill its holes. Here the caller's pause is settled and told.
    pub(crate) fn answer_with<R: Response + Clone>(&self, response: &R, files: Files) -> Result<Answer, Hangup> {
        count_errors(response);
        let pause = self.meter.as_ref().map_or(0, |meter| meter.settle());
        let throttled = (pause > 0).then(|| {
            let mut response = response.clone();
            response.set_throttle_time(pause);
            response
        });
        match response_frame(self.version, self.correlation_id, throttled.as_ref().unwrap_or(response)) {
            Ok(pieces) => {
                if let Some(meter) = &self.meter {
                    meter.measured(pieces.len(), pieces.in_memory());
                }
                Ok(Answer::Send(files.fill(pieces)))
            }
            // Our own mistake; the client cannot be answered in its version.
            Err(error) => Err(Hangup::Malformed(format!("{} version {}: {error}", R::NAME, self.version))),
        }
    }
}

/// The mutations of one request, as its version lets the broker treat them: earlier ones than `strict_from` do not know
/// THROTTLING_QUOTA_EXCEEDED (KIP-599).
pub(crate) fn mutations(request: &Request<'_>, strict_from: i16) -> Mutations {
    if request.header.version >= strict_from { Mutations::strict() } else { Mutations::permissive() }
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
