//! Decides whether a JWT (RFC 7519) names a principal right now. Never reads a clock, a file or the network, and never
//! says more about a refused token than which rule it broke.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use jsonwebtoken::{Algorithm, EncodingKey, Header, Validation};
use serde_json::{Map, Value};
use tidelog_model::{Principal, Timestamp};

use crate::KeyError;
use crate::keys::{KeySet, VerifyingKey};
use crate::limits::{DEFAULT_LEEWAY, MAX_SUBJECT_BYTES, MAX_TOKEN_BYTES};

/// The rule that a token broke. Holds nothing of the token itself.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Not three base64url parts with a readable header and claims, or too long.
    #[error("the token is malformed")]
    Malformed,
    /// `none`, an unknown algorithm, one that no configured key verifies, or critical extensions.
    #[error("the token's algorithm is not accepted")]
    Algorithm,
    /// Its `kid` is not among the keys.
    #[error("the token was signed by an unknown key")]
    UnknownKey,
    /// The signature does not fit.
    #[error("the token's signature is wrong")]
    Signature,
    /// `exp` lies in the past.
    #[error("the token has expired")]
    Expired,
    /// `nbf` lies in the future.
    #[error("the token is not valid yet")]
    NotYetValid,
    /// A required claim is absent.
    #[error("the token has no claim {0:?}")]
    MissingClaim(String),
    /// A claim has the wrong type or an impossible value.
    #[error("the token's claim {0:?} is invalid")]
    InvalidClaim(String),
    /// `iss` is another.
    #[error("the token comes from another issuer")]
    Issuer,
    /// `aud` does not name this service.
    #[error("the token is for another audience")]
    Audience,
}

/// What a token must say beside a valid signature.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TokenRules {
    /// The only accepted `iss`; `None` accepts any.
    pub issuer: Option<String>,
    /// `aud` must contain one of these; empty accepts any.
    pub audiences: Vec<String>,
    /// The claim that names the user (Kafka's `sasl.oauthbearer.sub.claim.name`).
    pub subject_claim: String,
    /// How far `exp` and `nbf` may lie on the wrong side of now.
    pub leeway: Duration,
}

impl Default for TokenRules {
    fn default() -> Self {
        TokenRules { issuer: None, audiences: Vec::new(), subject_claim: "sub".to_owned(), leeway: DEFAULT_LEEWAY }
    }
}

/// Who a token names, and until when.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Identity {
    /// `User:` and what the claim of the subject says.
    pub principal: Principal,
    /// `exp`: long-lived streams should end then.
    pub expires: Timestamp,
}

/// The authenticator of all doors.
pub struct Authenticator {
    /// Those of the configuration itself.
    own: KeySet,
    /// What an issuer has published: it changes while the server runs.
    published: RwLock<Arc<KeySet>>,
    /// A token named a key that is not here.
    missed: AtomicBool,
    rules: TokenRules,
}

impl fmt::Debug for Authenticator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authenticator")
            .field("own", &self.own)
            .field("published", &self.published())
            .field("rules", &self.rules)
            .finish()
    }
}

impl Authenticator {
    /// An authenticator with these keys and rules; refuses an empty set.
    pub fn new(keys: KeySet, rules: TokenRules) -> Result<Self, KeyError> {
        if keys.is_empty() {
            return Err(KeyError::NoKey);
        }
        Ok(Self::awaiting(keys, rules))
    }

    /// An authenticator whose further keys come later, by [`Authenticator::publish`]; `own` may be empty, and then no token is taken
    /// until they do.
    pub fn awaiting(own: KeySet, rules: TokenRules) -> Self {
        Authenticator { own, published: RwLock::default(), missed: AtomicBool::new(false), rules }
    }

    /// Puts these keys in the place of those that were published before; refuses an empty set.
    pub fn publish(&self, keys: KeySet) -> Result<(), KeyError> {
        if keys.is_empty() {
            return Err(KeyError::NoKey);
        }
        *self.published.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(keys);
        Ok(())
    }

    /// Whether a token has come since the last call that no key here fits: perhaps its issuer has published another.
    pub fn take_missed(&self) -> bool {
        self.missed.swap(false, Ordering::Relaxed)
    }

    fn published(&self) -> Arc<KeySet> {
        Arc::clone(&self.published.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The rules in force.
    pub fn rules(&self) -> &TokenRules {
        &self.rules
    }

    /// True if a shared secret is shorter than 32 bytes: worth a warning at start.
    pub fn has_weak_secret(&self) -> bool {
        self.own.has_weak_secret()
    }

    /// Verifies a compact JWT at the wall-clock time `now`.
    pub fn authenticate(&self, token: &str, now: Timestamp) -> Result<Identity, TokenError> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(TokenError::Malformed);
        }
        let claims = self.verified_claims(token)?;
        self.check_claims(&claims, now)
    }

    fn verified_claims(&self, token: &str) -> Result<Map<String, Value>, TokenError> {
        let header = read_header(token)?;
        // RFC 7515 §4.1.11: extensions that must be understood and are not.
        if header.crit.is_some() {
            return Err(TokenError::Algorithm);
        }
        let published = self.published();
        let all = self.own.keys.iter().chain(&published.keys);
        let fitting: Vec<&VerifyingKey> = all.filter(|key| key.algorithms.contains(&header.alg)).collect();
        if fitting.is_empty() {
            self.missed.store(true, Ordering::Relaxed);
            return Err(TokenError::Algorithm);
        }
        // A key without an id (the shared secret) is tried whatever the token's `kid` says.
        let mut named = fitting
            .into_iter()
            .filter(|key| key.id.is_none() || header.kid.is_none() || key.id == header.kid)
            .peekable();
        if named.peek().is_none() {
            self.missed.store(true, Ordering::Relaxed);
            return Err(TokenError::UnknownKey);
        }
        let mut last = TokenError::Signature;
        for key in named {
            match decode(token, key) {
                Ok(claims) => return Ok(claims),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    fn check_claims(&self, claims: &Map<String, Value>, now: Timestamp) -> Result<Identity, TokenError> {
        let leeway = i64::try_from(self.rules.leeway.as_millis()).unwrap_or(i64::MAX);
        let expires = numeric_date(claims, "exp")?.ok_or(TokenError::MissingClaim("exp".into()))?;
        if now.get() >= expires.saturating_add(leeway) {
            return Err(TokenError::Expired);
        }
        if let Some(not_before) = numeric_date(claims, "nbf")?
            && now.get().saturating_add(leeway) < not_before
        {
            return Err(TokenError::NotYetValid);
        }
        if let Some(issuer) = &self.rules.issuer {
            match claims.get("iss") {
                None => return Err(TokenError::MissingClaim("iss".into())),
                Some(Value::String(found)) if found == issuer => {}
                Some(_) => return Err(TokenError::Issuer),
            }
        }
        self.check_audience(claims.get("aud"))?;
        let claim = &self.rules.subject_claim;
        let subject = match claims.get(claim) {
            None => return Err(TokenError::MissingClaim(claim.clone())),
            Some(Value::String(subject)) => subject,
            Some(_) => return Err(TokenError::InvalidClaim(claim.clone())),
        };
        if subject.is_empty() || subject.len() > MAX_SUBJECT_BYTES || subject.chars().any(char::is_control) {
            return Err(TokenError::InvalidClaim(claim.clone()));
        }
        Ok(Identity { principal: Principal::user(subject), expires: Timestamp(expires) })
    }

    fn check_audience(&self, claim: Option<&Value>) -> Result<(), TokenError> {
        if self.rules.audiences.is_empty() {
            return Ok(());
        }
        let ours = |name: &Value| name.as_str().is_some_and(|name| self.rules.audiences.iter().any(|a| a == name));
        match claim {
            None => Err(TokenError::MissingClaim("aud".into())),
            Some(Value::Array(names)) if names.iter().any(ours) => Ok(()),
            Some(name) if ours(name) => Ok(()),
            Some(_) => Err(TokenError::Audience),
        }
    }
}

fn read_header(token: &str) -> Result<Header, TokenError> {
    use jsonwebtoken::errors::ErrorKind;
    jsonwebtoken::decode_header(token).map_err(|error| match error.kind() {
        // Valid JSON whose `alg` is `none` or unknown; text that is no JSON is malformed.
        ErrorKind::Json(error) if error.is_data() => TokenError::Algorithm,
        _ => TokenError::Malformed,
    })
}

/// Checks the signature alone; the claims' rules are ours, because the library reads the system's clock.
fn decode(token: &str, key: &VerifyingKey) -> Result<Map<String, Value>, TokenError> {
    use jsonwebtoken::errors::ErrorKind;
    let validation = Validation {
        algorithms: key.algorithms.clone(),
        required_spec_claims: Default::default(),
        validate_exp: false,
        validate_nbf: false,
        validate_aud: false,
        ..Validation::default()
    };
    match jsonwebtoken::decode(token, &key.key, &validation) {
        Ok(data) => Ok(data.claims),
        Err(error) => Err(match error.kind() {
            ErrorKind::Json(_) | ErrorKind::Utf8(_) | ErrorKind::InvalidToken => TokenError::Malformed,
            ErrorKind::InvalidAlgorithm | ErrorKind::UnsupportedAlgorithm => TokenError::Algorithm,
            _ => TokenError::Signature,
        }),
    }
}

/// A NumericDate (RFC 7519 §2: seconds, perhaps with a fraction) in milliseconds.
fn numeric_date(claims: &Map<String, Value>, name: &str) -> Result<Option<i64>, TokenError> {
    match claims.get(name) {
        None => Ok(None),
        Some(Value::Number(number)) => {
            if let Some(seconds) = number.as_i64() {
                return Ok(Some(seconds.saturating_mul(1000)));
            }
            let seconds = number.as_f64().filter(|seconds| seconds.is_finite());
            // `as` saturates at the ends of i64, which is what a far date means.
            seconds
                .map(|seconds| Some((seconds * 1000.0) as i64))
                .ok_or_else(|| TokenError::InvalidClaim(name.to_owned()))
        }
        Some(_) => Err(TokenError::InvalidClaim(name.to_owned())),
    }
}

/// What `tidelog token` puts into a token.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TokenRequest {
    /// `sub`: the principal becomes `User:<subject>`.
    pub subject: String,
    /// `exp` lies this far ahead.
    pub ttl: Duration,
    /// `aud`, if any.
    pub audiences: Vec<String>,
    /// `iss`, if any.
    pub issuer: Option<String>,
}

/// Why no token was issued. Never contains the secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IssueError {
    /// No secret.
    #[error("the shared secret is empty")]
    EmptySecret,
    /// Empty, too long or with control characters.
    #[error("the subject must have 1 to {MAX_SUBJECT_BYTES} bytes and no control characters")]
    Subject,
    /// Zero.
    #[error("the time to live must be at least one second")]
    Ttl,
    /// The library refused.
    #[error("the token could not be signed")]
    Signing,
}

/// A token signed with HS256 and the shared secret, valid from `now` (wall clock).
pub fn issue_token(request: &TokenRequest, secret: &[u8], now: Timestamp) -> Result<String, IssueError> {
    if secret.is_empty() {
        return Err(IssueError::EmptySecret);
    }
    let subject = &request.subject;
    if subject.is_empty() || subject.len() > MAX_SUBJECT_BYTES || subject.chars().any(char::is_control) {
        return Err(IssueError::Subject);
    }
    if request.ttl.as_secs() == 0 {
        return Err(IssueError::Ttl);
    }
    let issued = now.get().div_euclid(1000);
    let ttl = i64::try_from(request.ttl.as_secs()).unwrap_or(i64::MAX);
    let mut claims = Map::new();
    claims.insert("sub".into(), Value::from(subject.as_str()));
    claims.insert("iat".into(), Value::from(issued));
    claims.insert("nbf".into(), Value::from(issued));
    claims.insert("exp".into(), Value::from(issued.saturating_add(ttl)));
    if let Some(issuer) = &request.issuer {
        claims.insert("iss".into(), Value::from(issuer.as_str()));
    }
    match request.audiences.as_slice() {
        [] => {}
        [one] => drop(claims.insert("aud".into(), Value::from(one.as_str()))),
        many => drop(claims.insert("aud".into(), Value::from(many.to_vec()))),
    }
    jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &EncodingKey::from_secret(secret))
        .map_err(|_| IssueError::Signing)
}

#[cfg(test)]
#[path = "token_tests.rs"]
mod tests;
