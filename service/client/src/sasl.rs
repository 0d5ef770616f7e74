//! Authentication of a connection that is open already. It knows no mechanism: the exchange decides what is sent.

use bytes::Bytes;
use tidelog_model::KafkaError;
use tidelog_protocol::Str;
use tidelog_protocol::messages::{SaslAuthenticateRequest, SaslHandshakeRequest};
use tidelog_security::sasl::{ClientExchange, Login};
use uuid::Uuid;

use crate::{ClientError, Connection};

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
            Err(reason) => {
                let (address, reason) = (connection.address().clone(), reason.to_owned());
                return Err(ClientError::Connect { address, reason });
            }
        }
    }
}
