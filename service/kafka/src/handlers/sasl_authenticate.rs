//! SaslAuthenticate (key 36): the messages of the chosen mechanism. Looks up what the exchange asks for, and lets who fails wait.

use std::time::{Duration, Instant};

use bytes::{BufMut, Bytes, BytesMut};
use tidelog_model::{Door, KafkaError, Principal, Timestamp};
use tidelog_protocol::Str;
use tidelog_protocol::messages::{SaslAuthenticateRequest, SaslAuthenticateResponse};
use tidelog_security::AuditEvent;
use tidelog_security::limits::FAILED_AUTHENTICATION_DELAY;
use tidelog_security::sasl::{Done, Secret, Step};
use tracing::{debug, info};
use uuid::Uuid;

use crate::answer::{Answer, Hangup, Waiting};
use crate::auth::Token;
use crate::request::ReplyTo;
use crate::send::Outgoing;
use crate::session::Session;

/// What the client hears, whatever went wrong: neither whether the user exists nor what was wrong.
const FAILED: &str = "Authentication failed: invalid credentials";

/// What a message led to.
enum Outcome {
    /// The next message of the mechanism.
    Continue(Vec<u8>),
    /// Known; the last message of the mechanism, and how long the session lasts.
    Known(Vec<u8>, Duration),
    Failed,
    /// Too many want to be checked.
    PutOff,
}

/// A message in a frame of its own API.
pub(crate) async fn handle(
    session: &mut Session,
    reply: ReplyTo,
    message: &SaslAuthenticateRequest,
) -> Result<Waiting, Hangup> {
    if session.auth.exchange().is_none() {
        let answer = reply.answer(&SaslAuthenticateResponse {
            error_code: KafkaError::IllegalSaslState.code(),
            error_message: Some(Str::from_static("SaslAuthenticate needs a SaslHandshake before it")),
            ..Default::default()
        });
        return Ok(Box::pin(std::future::ready(answer)));
    }
    let answer = reply.answer(&match step(session, &message.auth_bytes).await {
        // Clients take every error of authentication for final, and a lost connection for what it is here: come again.
        Outcome::PutOff => return Err(Hangup::Quiet),
        Outcome::Continue(bytes) => {
            SaslAuthenticateResponse { error_message: None, auth_bytes: Bytes::from(bytes), ..Default::default() }
        }
        Outcome::Known(bytes, lifetime) => SaslAuthenticateResponse {
            error_message: None,
            auth_bytes: Bytes::from(bytes),
            session_lifetime_ms: i64::try_from(lifetime.as_millis()).unwrap_or(i64::MAX),
            ..Default::default()
        },
        Outcome::Failed => SaslAuthenticateResponse {
            error_code: KafkaError::SaslAuthenticationFailed.code(),
            error_message: Some(Str::from_static(FAILED)),
            ..Default::default()
        },
    });
    Ok(Box::pin(std::future::ready(answer)))
}

/// A bare message, after version 0 of the handshake: there a failure has no words but the end of the connection.
pub(crate) async fn handle_bare(session: &mut Session, message: &[u8]) -> Result<Waiting, Hangup> {
    let bytes = match step(session, message).await {
        Outcome::Continue(bytes) | Outcome::Known(bytes, _) => bytes,
        Outcome::Failed | Outcome::PutOff => return Err(Hangup::Quiet),
    };
    let mut frame = BytesMut::with_capacity(4 + bytes.len());
    frame.put_u32(u32::try_from(bytes.len()).unwrap_or(0));
    frame.put_slice(&bytes);
    Ok(Box::pin(std::future::ready(Ok(Answer::Send(vec![Outgoing::Bytes(frame.freeze())])))))
}

async fn step(session: &mut Session, message: &[u8]) -> Outcome {
    let broker = session.broker.clone();
    let tokens = session.auth.options().and_then(|options| options.tokens.clone());
    let Some((mechanism, exchange)) = session.auth.exchange() else { return Outcome::Failed };
    // The token's own end, if it is one.
    let mut identity = None;
    let step = match exchange.received(message) {
        Step::Credential(mechanism, user) => {
            let credential = broker.scram_credential(&user, mechanism);
            exchange.found(credential, &nonce())
        }
        Step::TokenCredential(mechanism, id) => {
            let Ok(login) = broker.token_login(&id, mechanism, session.peer.ip()).await else {
                return put_off(session);
            };
            let step = exchange.found(login.credential, &nonce());
            if let Some((owner, expires)) = login.live {
                session.auth.with_token(Token { id, owner, expires });
            }
            step
        }
        Step::Password(user, Secret(password)) => {
            match broker.check_password(&user, &password, session.peer.ip()).await {
                Ok(right) => exchange.checked(right),
                Err(_) => return put_off(session),
            }
        }
        Step::Token(Secret(token)) => match tokens.map(|tokens| tokens.authenticate(&token, wall_clock())) {
            Some(Ok(named)) => exchange.verified(Ok(identity.insert(named).principal.name())),
            Some(Err(error)) => exchange.verified(Err(error.to_string())),
            None => exchange.verified(Err("nothing verifies tokens".to_owned())),
        },
        step => step,
    };
    match step {
        Step::Challenge(bytes) => Outcome::Continue(bytes),
        Step::Done(Done { user, reply }) => {
            let token = session.auth.token().cloned();
            let claimed = session.auth.exchange().and_then(|(_, exchange)| exchange.claimed().map(str::to_owned));
            let (principal, lifetime) = match (identity, &token) {
                (Some(identity), _) => (identity.principal, Some(left(identity.expires))),
                (None, Some(token)) => (token.owner.clone(), Some(left(token.expires))),
                (None, None) => (Principal::user(&user), None),
            };
            match session.auth.succeeded(principal.clone(), lifetime, Instant::now()) {
                Some(lifetime) => {
                    count(mechanism.name(), "success");
                    audit(session, mechanism.name(), (claimed.as_deref(), token.as_ref()), Ok(&principal));
                    Outcome::Known(reply, lifetime)
                }
                None => fail(session, mechanism.name(), "the principal changed").await,
            }
        }
        Step::Failed(reason) => fail(session, mechanism.name(), &reason).await,
        Step::Credential(..) | Step::TokenCredential(..) | Step::Password(..) | Step::Token(_) => {
            fail(session, mechanism.name(), "an exchange asked twice").await
        }
    }
}

/// One line in the log, without what the client sent; then whoever guesses waits.
async fn fail(session: &mut Session, mechanism: &'static str, reason: &str) -> Outcome {
    let claimed = session.auth.exchange().and_then(|(_, exchange)| exchange.claimed().map(str::to_owned));
    let token = session.auth.failed();
    count(mechanism, "failure");
    audit(session, mechanism, (claimed.as_deref(), token.as_ref()), Err(reason));
    info!(peer = %session.peer, listener = %session.listener.name, mechanism, reason, "authentication failed");
    tokio::time::sleep(FAILED_AUTHENTICATION_DELAY).await;
    Outcome::Failed
}

/// Nobody knows whether it was right.
fn put_off(session: &mut Session) -> Outcome {
    session.auth.failed();
    debug!(peer = %session.peer, listener = %session.listener.name, "too many logins wait for their check");
    Outcome::PutOff
}

/// Tells the audit log, with what the client said it was: a user, or a token by its id.
fn audit(
    session: &Session,
    mechanism: &str,
    (claimed, token): (Option<&str>, Option<&Token>),
    result: Result<&Principal, &str>,
) {
    session.broker.audit(&AuditEvent::Authentication {
        principal: result.ok(),
        claimed,
        mechanism,
        token_id: token.map(|token| &*token.id),
        host: session.peer.ip(),
        door: Door::Kafka,
        reason: result.err(),
    });
}

fn count(mechanism: &'static str, result: &'static str) {
    metrics::counter!("tidelog_kafka_authentications_total", "mechanism" => mechanism, "result" => result).increment(1);
}

/// Printable and never the same.
fn nonce() -> String {
    format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple())
}

fn wall_clock() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// From now to then; a token that only the leeway keeps is good for a moment, as zero would mean for ever.
fn left(expires: Timestamp) -> Duration {
    let millis = expires.get().saturating_sub(wall_clock().get());
    Duration::from_millis(u64::try_from(millis).unwrap_or(0)).max(Duration::from_secs(1))
}
