//! SaslHandshake (key 17): the client chooses a mechanism.

use tidelog_model::KafkaError;
use tidelog_protocol::Str;
use tidelog_protocol::messages::{SaslHandshakeRequest, SaslHandshakeResponse};
use tracing::info;

use crate::answer::{Hangup, Waiting};
use crate::auth::HandshakeError;
use crate::request::ReplyTo;
use crate::session::Session;

pub(crate) fn handle(session: &mut Session, reply: ReplyTo, message: &SaslHandshakeRequest) -> Result<Waiting, Hangup> {
    let error = match session.auth.handshake(&message.mechanism, reply.version) {
        Ok(()) => KafkaError::None,
        Err(HandshakeError::IllegalState) => KafkaError::IllegalSaslState,
        Err(HandshakeError::Unsupported) => KafkaError::UnsupportedSaslMechanism,
        Err(HandshakeError::Changed) => KafkaError::SaslAuthenticationFailed,
    };
    if error != KafkaError::None {
        info!(peer = %session.peer, listener = %session.listener.name, error = error.name(), "refused a SASL handshake");
    }
    let mechanisms = session.auth.options().map(|options| options.mechanisms.clone()).unwrap_or_default();
    let answer = reply.answer(&SaslHandshakeResponse {
        error_code: error.code(),
        mechanisms: mechanisms.iter().map(|mechanism| Str::from(mechanism.name())).collect(),
        ..Default::default()
    });
    Ok(Box::pin(std::future::ready(answer)))
}
