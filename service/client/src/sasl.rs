//! Authentication of a connection that is open already. It knows no mechanism: the exchange decides what is sent.

use std::pin::Pin;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use tidelog_model::{KafkaError, ScramMechanism};
use tidelog_protocol::Str;
use tidelog_protocol::messages::{SaslAuthenticateRequest, SaslHandshakeRequest};
use tidelog_security::sasl::{ClientExchange, Login};
use uuid::Uuid;

use crate::limits::ASK_TIMEOUT;
use crate::{BrokerAddress, ClientError, Connection, ConnectionOptions};

/// Says who the client is; fails if the server does not believe it.
pub(crate) async fn authenticate(connection: &Connection, login: &Login) -> Result<(), ClientError> {
    let what = || format!("authentication with {}", login.mechanism().name());
    let request = SaslHandshakeRequest { mechanism: Str::from(login.mechanism().name()), ..Default::default() };
    let chosen = connection.call(&request).await?;
    let offered: Vec<&str> = chosen.mechanisms.iter().map(|mechanism| mechanism.as_str()).collect();
    let hint = match KafkaError::from_code(chosen.error_code) {
        Some(KafkaError::IllegalSaslState) => {
            Some("this listener does not ask who its clients are; leave --user (TIDELOG_USER) out".to_owned())
        }
        _ => (!offered.is_empty()).then(|| format!("the server offers {}", offered.join(", "))),
    };
    ClientError::check(chosen.error_code, what, hint.as_deref())?;
    let nonce = Uuid::new_v4().simple().to_string();
    let (mut exchange, mut message) = ClientExchange::begin(login, &nonce);
    loop {
        let request = SaslAuthenticateRequest { auth_bytes: Bytes::from(message), ..Default::default() };
        let answer = connection.call(&request).await?;
        ClientError::check(answer.error_code, what, answer.error_message.as_deref())?;
        match exchange.received(&answer.auth_bytes) {
            Ok(Some(next)) => message = next,
            Ok(None) => return Ok(()),
            // Who answers as the server does not know the password either.
            Err(reason) => {
                return Err(ClientError::kafka(KafkaError::SaslAuthenticationFailed, what(), Some(reason)));
            }
        }
    }
}

/// The ways to say who one is that the server offers, if it asks who its clients are. `None` if it does not, or says nothing.
/// (A boxed future, because the connection that it opens could ask the same.)
pub(crate) fn mechanisms_asked_for<'a>(
    address: &'a BrokerAddress,
    options: &'a ConnectionOptions,
) -> Pin<Box<dyn Future<Output = Option<Vec<String>>> + Send + 'a>> {
    Box::pin(async move {
        let ask = async {
            let connection = Connection::open_as_nobody(address, options, false).await.ok()?;
            let mechanism = Str::from(ScramMechanism::Sha512.name());
            let answer = connection.call(&SaslHandshakeRequest { mechanism, ..Default::default() }).await.ok()?;
            let asked = [0, KafkaError::UnsupportedSaslMechanism.code()].contains(&answer.error_code);
            options.serves_nobodies.store(!asked, Ordering::Relaxed);
            asked.then(|| answer.mechanisms.iter().map(|mechanism| mechanism.as_str().to_owned()).collect())
        };
        tokio::time::timeout(ASK_TIMEOUT, ask).await.ok().flatten()
    })
}
