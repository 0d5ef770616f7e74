//! SASL at the server's side: what the client's messages mean, and what has to be looked up before it is answered. Decides who somebody
//! is; looks nothing up, waits for nothing and draws no random numbers.

mod client;
mod oauth;
mod scram;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::fmt;

use tidelog_model::{ScramCredential, ScramMechanism};

use crate::limits::MAX_PASSWORD_BYTES;
use scram::{ClientFirst, ServerFirst};

pub use client::{ClientExchange, Login};

/// A SASL mechanism of the Kafka door.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub enum Mechanism {
    /// The password itself (RFC 4616).
    Plain,
    /// A proof that the password is known.
    Scram(ScramMechanism),
    /// A bearer token (RFC 7628).
    OAuthBearer,
}

impl Mechanism {
    /// Every mechanism, in the order in which clients are told.
    pub const ALL: &'static [Mechanism] = &[
        Mechanism::Plain,
        Mechanism::Scram(ScramMechanism::Sha256),
        Mechanism::Scram(ScramMechanism::Sha512),
        Mechanism::OAuthBearer,
    ];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Mechanism::Plain => "PLAIN",
            Mechanism::Scram(mechanism) => mechanism.name(),
            Mechanism::OAuthBearer => "OAUTHBEARER",
        }
    }

    /// The mechanism of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|mechanism| mechanism.name() == name)
    }
}

/// A secret on its way to whoever checks it; shown to nobody.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// What follows from a message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Step {
    /// Look this credential up and tell [`Exchange::found`].
    Credential(ScramMechanism, String),
    /// Look up what a login with the delegation token of this id needs and tell [`Exchange::found`].
    TokenCredential(ScramMechanism, String),
    /// Check this password and tell [`Exchange::checked`].
    Password(String, Secret),
    /// Verify this token and tell [`Exchange::verified`].
    Token(Secret),
    /// Send this and wait for the next message.
    Challenge(Vec<u8>),
    /// Send this: the client is who it says.
    Done(Done),
    /// Send nothing of the mechanism: it is over. The reason is for the log, not for the client.
    Failed(Cow<'static, str>),
}

/// The end of a successful exchange.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Done {
    /// Who it is.
    pub user: String,
    /// The mechanism's last message.
    pub reply: Vec<u8>,
}

/// One exchange of one mechanism.
#[derive(Debug)]
pub struct Exchange {
    state: State,
    /// Who the client says it is, proved or not.
    claimed: Option<String>,
}

#[derive(Debug)]
enum State {
    Plain,
    PlainChecking(String),
    Scram(ScramMechanism),
    ScramLooking(ScramMechanism, ClientFirst),
    ScramProof(ServerFirst),
    OAuth,
    /// Whom the client wants to act as.
    OAuthChecking(Option<String>),
    /// The token is refused for this reason; the client was told that it is, and owes one message (RFC 7628 §3.2.3).
    OAuthRefused(String),
    Over,
}

impl Exchange {
    /// The client chose a mechanism.
    pub fn new(mechanism: Mechanism) -> Self {
        let state = match mechanism {
            Mechanism::Plain => State::Plain,
            Mechanism::Scram(mechanism) => State::Scram(mechanism),
            Mechanism::OAuthBearer => State::OAuth,
        };
        Exchange { state, claimed: None }
    }

    /// Who the client says it is, proved or not: for the audit log, and for nothing else.
    pub fn claimed(&self) -> Option<&str> {
        self.claimed.as_deref()
    }

    /// The client's next message.
    pub fn received(&mut self, message: &[u8]) -> Step {
        let (next, step) = match std::mem::replace(&mut self.state, State::Over) {
            State::Plain => match plain(message) {
                Ok((user, password)) => {
                    self.claimed = Some(user.clone());
                    (State::PlainChecking(user.clone()), Step::Password(user, password))
                }
                Err(reason) => (State::Over, Step::Failed(reason.into())),
            },
            State::Scram(mechanism) => match ClientFirst::parse(message) {
                Ok(first) => {
                    let user = first.user.clone();
                    self.claimed = Some(user.clone());
                    let step = if first.is_token { Step::TokenCredential } else { Step::Credential };
                    (State::ScramLooking(mechanism, first), step(mechanism, user))
                }
                Err(reason) => (State::Over, Step::Failed(reason.into())),
            },
            State::ScramProof(server) => match server.finish(message) {
                Ok(done) => (State::Over, Step::Done(done)),
                Err(reason) => (State::Over, Step::Failed(reason.into())),
            },
            State::OAuth => match oauth::token(message) {
                Ok((token, acting)) => (State::OAuthChecking(acting), Step::Token(token)),
                Err(reason) => (State::Over, Step::Failed(reason.into())),
            },
            State::OAuthRefused(reason) => (State::Over, Step::Failed(reason.into())),
            State::PlainChecking(_) | State::ScramLooking(..) | State::OAuthChecking(_) | State::Over => {
                (State::Over, Step::Failed("a message out of turn".into()))
            }
        };
        self.state = next;
        step
    }

    /// The credential that [`Step::Credential`] or [`Step::TokenCredential`] asked for (a made-up one if there is none), and fresh printable chance.
    pub fn found(&mut self, credential: ScramCredential, nonce: &str) -> Step {
        let State::ScramLooking(mechanism, first) = std::mem::replace(&mut self.state, State::Over) else {
            return Step::Failed("a credential that nobody asked for".into());
        };
        let server = ServerFirst::new(mechanism, first, credential, nonce);
        let challenge = server.message().to_vec();
        self.state = State::ScramProof(server);
        Step::Challenge(challenge)
    }

    /// Was the password right?
    pub fn checked(&mut self, right: bool) -> Step {
        let (next, step) = match std::mem::replace(&mut self.state, State::Over) {
            State::PlainChecking(user) if right => (State::Over, Step::Done(Done { user, reply: Vec::new() })),
            _ => (State::Over, Step::Failed("wrong user or password".into())),
        };
        self.state = next;
        step
    }

    /// Whom the token names, or the rule that it breaks.
    pub fn verified(&mut self, subject: Result<&str, String>) -> Step {
        let (next, step) = match (std::mem::replace(&mut self.state, State::Over), subject) {
            (State::OAuthChecking(None), Ok(user)) => {
                (State::Over, Step::Done(Done { user: user.to_owned(), reply: Vec::new() }))
            }
            (State::OAuthChecking(Some(acting)), Ok(user)) if acting == user => {
                (State::Over, Step::Done(Done { user: acting, reply: Vec::new() }))
            }
            (State::OAuthChecking(_), Ok(_)) => {
                (State::Over, Step::Failed("OAUTHBEARER: the client wants to act as somebody else".into()))
            }
            (State::OAuthChecking(_), Err(reason)) => {
                (State::OAuthRefused(reason), Step::Challenge(oauth::REFUSED.to_vec()))
            }
            _ => (State::Over, Step::Failed("a token that nobody asked for".into())),
        };
        self.state = next;
        step
    }
}

/// RFC 4616: who one wants to act as (only oneself), who one is, the password.
fn plain(message: &[u8]) -> Result<(String, Secret), &'static str> {
    let text = std::str::from_utf8(message).map_err(|_| "PLAIN: not UTF-8")?;
    let mut parts = text.split('\0');
    let (Some(acting), Some(user), Some(password), None) = (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err("PLAIN: not three parts");
    };
    if user.is_empty() || password.is_empty() {
        return Err("PLAIN: an empty user or password");
    }
    if !acting.is_empty() && acting != user {
        return Err("PLAIN: the client wants to act as somebody else");
    }
    if password.len() > MAX_PASSWORD_BYTES {
        return Err("PLAIN: a very long password");
    }
    Ok((user.to_owned(), Secret(password.to_owned())))
}
