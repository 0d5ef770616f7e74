//! Where one connection stands with SASL: what it may send now, who it is, and until when. Decides; sends nothing, asks nobody.
//!
//! A listener without SASL knows its clients from the start. On one with SASL a client chooses a mechanism, exchanges messages, and is
//! known; before its session ends it does so again, as the same principal (KIP-368).

use std::sync::Arc;
use std::time::{Duration, Instant};

use tidelog_broker::Introduction;
use tidelog_model::{Principal, Timestamp};
use tidelog_protocol::ApiKey;
use tidelog_security::Authenticator;
use tidelog_security::sasl::{Exchange, Mechanism};

use crate::limits::AUTHENTICATION_PATIENCE;

/// How clients of a listener say who they are.
#[derive(Clone, Debug)]
pub struct SaslOptions {
    /// The mechanisms they may choose.
    pub mechanisms: Vec<Mechanism>,
    /// Verifies the tokens of OAUTHBEARER.
    pub tokens: Option<Arc<Authenticator>>,
    /// `connections.max.reauth.ms`: how long a session lasts without a new authentication; zero: for ever.
    pub max_session: Duration,
}

/// One connection's authentication.
#[derive(Debug)]
pub(crate) struct Auth {
    sasl: Option<Arc<SaslOptions>>,
    state: State,
    /// Who it is, once that is known.
    known: Option<Known>,
    /// The delegation token that the exchange under way is about.
    token: Option<Token>,
    opened: Instant,
}

#[derive(Debug)]
enum State {
    /// Nothing is under way.
    Idle,
    /// The mechanism is chosen; its messages follow, bare ones after version 0 of the handshake.
    Exchange { mechanism: Mechanism, exchange: Box<Exchange>, bare: bool },
    /// It failed: the connection ends with the answer that says so.
    Failed,
}

/// A delegation token that a client logs in with.
#[derive(Clone, Debug)]
pub(crate) struct Token {
    /// Which.
    pub(crate) id: String,
    /// Who it makes of the client.
    pub(crate) owner: Principal,
    /// When it ends.
    pub(crate) expires: Timestamp,
}

#[derive(Debug)]
struct Known {
    principal: Principal,
    /// None where nobody had to say who he is.
    mechanism: Option<Mechanism>,
    expires: Option<Instant>,
    by_token: bool,
}

/// What may happen to a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Admission {
    /// Go on.
    Granted,
    /// Close: it is not authenticated.
    TooEarly,
    /// Close: its session has ended.
    Expired,
}

/// Why a mechanism cannot be chosen now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum HandshakeError {
    /// Not on this listener, or not again, or something else is under way.
    IllegalState,
    /// The listener does not have it.
    Unsupported,
    /// Another one than at first (KIP-368).
    Changed,
}

impl Auth {
    /// A client of a listener without SASL is this principal; on one with SASL nobody yet.
    pub(crate) fn new(sasl: Option<Arc<SaslOptions>>, principal: Principal, now: Instant) -> Self {
        let known = sasl.is_none().then_some(Known { principal, mechanism: None, expires: None, by_token: false });
        Auth { sasl, state: State::Idle, known, token: None, opened: now }
    }

    /// Who it is; anonymous as long as nobody knows.
    pub(crate) fn principal(&self) -> Principal {
        self.known.as_ref().map_or_else(Principal::anonymous, |known| known.principal.clone())
    }

    /// Is it known who it is? (On a listener without SASL from the start, if only as nobody.)
    pub(crate) fn is_known(&self) -> bool {
        self.known.is_some()
    }

    /// The listener's options.
    pub(crate) fn options(&self) -> Option<&Arc<SaslOptions>> {
        self.sasl.as_ref()
    }

    /// May a request of this API go on? What belongs to SASL is judged by its own handlers.
    pub(crate) fn admits(&self, api: ApiKey, now: Instant) -> Admission {
        match (api, &self.known) {
            (ApiKey::ApiVersions | ApiKey::SaslHandshake | ApiKey::SaslAuthenticate, _) => Admission::Granted,
            (_, None) => Admission::TooEarly,
            // In the middle of saying again who it is, a client says nothing else.
            (_, Some(_)) if !matches!(self.state, State::Idle) => Admission::TooEarly,
            (_, Some(known)) if known.expires.is_some_and(|expires| expires <= now) => Admission::Expired,
            (_, Some(_)) => Admission::Granted,
        }
    }

    /// How long a client who is not known yet may take from now on.
    pub(crate) fn patience(&self, now: Instant) -> Option<Duration> {
        let deadline = self.opened + AUTHENTICATION_PATIENCE;
        self.known.is_none().then(|| deadline.saturating_duration_since(now))
    }

    /// Is it saying who it is? Until that is over nothing else of it is carried out.
    pub(crate) fn is_logging_in(&self) -> bool {
        matches!(self.state, State::Exchange { .. })
    }

    /// Are frames bare messages of the mechanism (after version 0 of the handshake)?
    pub(crate) fn is_bare(&self) -> bool {
        matches!(self.state, State::Exchange { bare: true, .. })
    }

    /// Does the connection end with the answer that was given last?
    pub(crate) fn is_over(&self) -> bool {
        matches!(self.state, State::Failed)
    }

    /// The client chooses a mechanism.
    pub(crate) fn handshake(&mut self, name: &str, version: i16) -> Result<(), HandshakeError> {
        let Some(options) = &self.sasl else { return Err(HandshakeError::IllegalState) };
        // Who need not come again may not; and it takes frames to come again.
        let again = self.known.as_ref().map(|known| (known.mechanism, known.expires.is_some()));
        if !matches!(self.state, State::Idle) || again.is_some_and(|(_, expires)| !expires || version == 0) {
            return Err(HandshakeError::IllegalState);
        }
        let mechanism = Mechanism::from_name(name).filter(|mechanism| options.mechanisms.contains(mechanism));
        let Some(mechanism) = mechanism else {
            self.state = State::Failed;
            return Err(HandshakeError::Unsupported);
        };
        if again.is_some_and(|(before, _)| before != Some(mechanism)) {
            self.state = State::Failed;
            return Err(HandshakeError::Changed);
        }
        self.token = None;
        self.state = State::Exchange { mechanism, exchange: Box::new(Exchange::new(mechanism)), bare: version == 0 };
        Ok(())
    }

    /// The exchange under way.
    pub(crate) fn exchange(&mut self) -> Option<(Mechanism, &mut Exchange)> {
        match &mut self.state {
            State::Exchange { mechanism, exchange, .. } => Some((*mechanism, exchange.as_mut())),
            State::Idle | State::Failed => None,
        }
    }

    /// The exchange under way is about this delegation token.
    pub(crate) fn with_token(&mut self, token: Token) {
        self.token = Some(token);
    }

    /// The delegation token that the exchange under way is about.
    pub(crate) fn token(&self) -> Option<&Token> {
        self.token.as_ref()
    }

    /// How it has said who it is.
    pub(crate) fn introduction(&self) -> Introduction {
        match &self.known {
            Some(known) if known.by_token => Introduction::Token,
            Some(known) if known.mechanism.is_some() || known.principal != Principal::anonymous() => Introduction::Own,
            Some(_) | None => Introduction::Nothing,
        }
    }

    /// The exchange succeeded. `lifetime` is what is left of the credential, if it ends. Answers how long the session lasts, or
    /// nothing if the client has become somebody else, which it must not.
    pub(crate) fn succeeded(
        &mut self,
        principal: Principal,
        lifetime: Option<Duration>,
        now: Instant,
    ) -> Option<Duration> {
        let State::Exchange { mechanism, .. } = std::mem::replace(&mut self.state, State::Failed) else { return None };
        if self.known.as_ref().is_some_and(|known| known.principal != principal) {
            return None;
        }
        let max = self.sasl.as_ref().map(|options| options.max_session).filter(|max| !max.is_zero());
        let session = match (lifetime, max) {
            (Some(lifetime), Some(max)) => Some(lifetime.min(max)),
            (lifetime, max) => lifetime.or(max),
        };
        let expires = session.and_then(|session| now.checked_add(session));
        let by_token = self.token.take().is_some();
        self.known = Some(Known { principal, mechanism: Some(mechanism), expires, by_token });
        self.state = State::Idle;
        Some(session.unwrap_or_default())
    }

    /// The exchange failed. Answers the delegation token that it was about.
    pub(crate) fn failed(&mut self) -> Option<Token> {
        self.state = State::Failed;
        self.token.take()
    }
}

#[cfg(test)]
mod tests {
    use tidelog_model::ScramMechanism;

    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);
    const SCRAM: Mechanism = Mechanism::Scram(ScramMechanism::Sha256);

    fn auth(max_session: Duration) -> (Auth, Instant) {
        let now = Instant::now();
        let options = SaslOptions { mechanisms: vec![Mechanism::Plain, SCRAM], tokens: None, max_session };
        (Auth::new(Some(Arc::new(options)), Principal::anonymous(), now), now)
    }

    fn logged_in(max_session: Duration) -> (Auth, Instant) {
        let (mut auth, now) = auth(max_session);
        auth.handshake("PLAIN", 1).unwrap();
        auth.succeeded(Principal::user("alice"), None, now).unwrap();
        (auth, now)
    }

    #[test]
    fn only_what_belongs_to_authentication_may_come_before_it() {
        let (mut auth, now) = auth(Duration::ZERO);
        assert_eq!(auth.admits(ApiKey::ApiVersions, now), Admission::Granted);
        assert_eq!(auth.admits(ApiKey::Metadata, now), Admission::TooEarly);
        assert!(auth.exchange().is_none());
        assert!(!auth.is_logging_in());
        auth.handshake("PLAIN", 1).unwrap();
        assert!(auth.is_logging_in());
        assert_eq!(auth.admits(ApiKey::Produce, now), Admission::TooEarly);
        assert_eq!(auth.handshake("PLAIN", 1), Err(HandshakeError::IllegalState), "twice");
        assert_eq!(auth.succeeded(Principal::user("alice"), None, now), Some(Duration::ZERO));
        assert_eq!(auth.admits(ApiKey::Produce, now + 1000 * MINUTE), Admission::Granted);
        assert_eq!(auth.principal(), Principal::user("alice"));
        assert_eq!(auth.handshake("PLAIN", 1), Err(HandshakeError::IllegalState), "a session without an end");
    }

    #[test]
    fn an_open_listener_has_no_sasl() {
        let now = Instant::now();
        let mut auth = Auth::new(None, Principal::anonymous(), now);
        assert_eq!(auth.admits(ApiKey::Produce, now), Admission::Granted);
        assert_eq!(auth.handshake("PLAIN", 1), Err(HandshakeError::IllegalState));
        assert!(!auth.is_over() && auth.patience(now).is_none());
    }

    #[test]
    fn an_unknown_mechanism_and_a_failure_end_the_connection() {
        for name in ["OAUTHBEARER", "GSSAPI", "", "plain"] {
            let (mut auth, now) = auth(Duration::ZERO);
            assert_eq!(auth.handshake(name, 1), Err(HandshakeError::Unsupported), "{name}");
            assert!(auth.is_over());
            assert_eq!(auth.admits(ApiKey::Metadata, now), Admission::TooEarly);
        }
        let (mut auth, _) = auth(Duration::ZERO);
        auth.handshake("PLAIN", 0).unwrap();
        assert!(auth.is_bare() && !auth.is_over());
        assert!(auth.failed().is_none());
        assert!(auth.is_over() && !auth.is_bare());
    }

    #[test]
    fn a_session_ends_unless_the_same_comes_again() {
        let (mut auth, now) = logged_in(MINUTE);
        assert_eq!(auth.admits(ApiKey::Fetch, now + MINUTE / 2), Admission::Granted);
        assert_eq!(auth.admits(ApiKey::Fetch, now + MINUTE), Admission::Expired);
        assert_eq!(auth.handshake("PLAIN", 0), Err(HandshakeError::IllegalState), "bare messages");
        auth.handshake("PLAIN", 1).unwrap();
        assert_eq!(auth.admits(ApiKey::Fetch, now), Admission::TooEarly, "in the middle");
        assert_eq!(auth.succeeded(Principal::user("alice"), None, now + MINUTE), Some(MINUTE));
        assert_eq!(auth.admits(ApiKey::Fetch, now + MINUTE), Admission::Granted);
        // Neither another mechanism nor another principal.
        auth.handshake("PLAIN", 1).unwrap();
        assert_eq!(auth.succeeded(Principal::user("bob"), None, now), None);
        assert!(auth.is_over());
        assert_eq!(auth.principal(), Principal::user("alice"));
        let (mut auth, _) = logged_in(MINUTE);
        assert_eq!(auth.handshake("SCRAM-SHA-256", 1), Err(HandshakeError::Changed));
    }

    #[test]
    fn the_shorter_of_token_and_setting_counts() {
        let (mut one, now) = auth(MINUTE);
        one.handshake("PLAIN", 1).unwrap();
        assert_eq!(one.succeeded(Principal::user("a"), Some(MINUTE / 2), now), Some(MINUTE / 2));
        let (mut two, now) = auth(MINUTE);
        two.handshake("PLAIN", 1).unwrap();
        assert_eq!(two.succeeded(Principal::user("a"), Some(2 * MINUTE), now), Some(MINUTE));
        let (mut none, now) = auth(Duration::ZERO);
        none.handshake("PLAIN", 1).unwrap();
        assert_eq!(none.succeeded(Principal::user("a"), Some(MINUTE), now), Some(MINUTE));
        assert_eq!(none.admits(ApiKey::Fetch, now + MINUTE), Admission::Expired);
    }

    #[test]
    fn an_introduction_is_ones_own_a_tokens_or_none() {
        let now = Instant::now();
        let open = |principal| Auth::new(None, principal, now).introduction();
        assert_eq!(open(Principal::anonymous()), Introduction::Nothing, "plaintext");
        assert_eq!(open(Principal::user("CN=alice")), Introduction::Own, "a certificate");
        assert_eq!(logged_in(Duration::ZERO).0.introduction(), Introduction::Own);
        let (mut auth, now) = auth(MINUTE);
        assert_eq!(auth.introduction(), Introduction::Nothing, "nobody yet");
        auth.handshake("SCRAM-SHA-256", 1).unwrap();
        auth.with_token(Token { id: "id".into(), owner: Principal::user("alice"), expires: Timestamp(1) });
        auth.succeeded(Principal::user("alice"), None, now).unwrap();
        assert_eq!(auth.introduction(), Introduction::Token);
        // And again with the password: the token is over.
        auth.handshake("SCRAM-SHA-256", 1).unwrap();
        assert!(auth.token().is_none());
        auth.succeeded(Principal::user("alice"), None, now).unwrap();
        assert_eq!(auth.introduction(), Introduction::Own);
    }

    #[test]
    fn who_is_not_known_has_not_for_ever() {
        let (auth, now) = auth(Duration::ZERO);
        assert_eq!(auth.patience(now), Some(AUTHENTICATION_PATIENCE));
        assert_eq!(auth.patience(now + AUTHENTICATION_PATIENCE), Some(Duration::ZERO));
    }
}
