//! TLS at the Kafka door: who a client's certificate says it is, and what went wrong in plain words.

use std::io;

use rustls::InvalidMessage;
use tidelog_handshake::{HandshakeError, TlsSource, in_words};
use tidelog_model::Principal;
use tidelog_security::distinguished_name::{MappingRules, subject};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

/// How a listener encrypts.
#[derive(Clone)]
pub struct TlsOptions {
    /// Certificates and keys.
    pub source: TlsSource,
    /// How the subject of a client's certificate becomes a principal.
    pub rules: MappingRules,
}

impl std::fmt::Debug for TlsOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TlsOptions").field("rules", &self.rules).finish_non_exhaustive()
    }
}

/// Whose the connection is. A client without a certificate (where none is required) is anonymous.
pub(crate) fn principal(stream: &TlsStream<TcpStream>, rules: &MappingRules) -> Result<Principal, HandshakeError> {
    let certificate = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
    let Some(certificate) = certificate else { return Ok(Principal::anonymous()) };
    let name = subject(certificate).and_then(|subject| rules.name(&subject));
    let unnamed = || io::Error::new(io::ErrorKind::InvalidData, "no rule names the client's certificate");
    Ok(Principal::user(&name.ok_or_else(unnamed).map_err(HandshakeError::Failed)?))
}

/// What the log says; the usual mistake by its name.
pub(crate) fn plainly(error: &HandshakeError) -> String {
    let tls = match error {
        HandshakeError::Failed(error) => error.get_ref().and_then(|error| error.downcast_ref::<rustls::Error>()),
        HandshakeError::Silent | HandshakeError::Late => None,
    };
    match tls {
        Some(rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType)) => {
            "the client does not speak TLS, and this listener does".to_owned()
        }
        _ => in_words(&error.to_string()).into_owned(),
    }
}
