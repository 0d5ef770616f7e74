//! The keys that tokens are verified with. Decides which algorithms a key may verify; never reads files or the network.

use std::fmt;

use jsonwebtoken::crypto::rust_crypto::DEFAULT_PROVIDER;
use jsonwebtoken::jwk::{AlgorithmParameters, Jwk};
use jsonwebtoken::{Algorithm, DecodingKey};

use crate::limits::{MAX_JWKS_BYTES, MAX_JWKS_KEYS, MIN_RSA_BITS, STRONG_SECRET_BYTES};

/// Why keys cannot be used. Never contains key material.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// No bytes at all.
    #[error("the shared secret is empty")]
    EmptySecret,
    /// Too many bytes.
    #[error("the JWKS has {0} bytes, at most {MAX_JWKS_BYTES} are read")]
    JwksTooLarge(usize),
    /// Not `{"keys":[…]}`.
    #[error("the JWKS is not a JSON object with an array \"keys\" (RFC 7517)")]
    JwksMalformed,
    /// Too many keys.
    #[error("the JWKS has {0} keys, at most {MAX_JWKS_KEYS} are allowed")]
    TooManyKeys(usize),
    /// A key of a known kind is damaged or too weak.
    #[error("key {index} of the JWKS cannot be used: {reason}")]
    BadKey {
        /// Its place, from 0.
        index: usize,
        /// What is wrong.
        reason: &'static str,
    },
    /// Only keys for encryption or of unknown kinds.
    #[error("the JWKS has no key for verifying signatures (RSA, EC P-256, EC P-384 or Ed25519)")]
    NoUsableKey,
    /// Neither secret nor JWKS.
    #[error("no key: give a shared secret or a JWKS")]
    NoKey,
}

/// One key and the algorithms it verifies: the list comes from the key, never from the token.
pub(crate) struct VerifyingKey {
    pub(crate) id: Option<String>,
    pub(crate) algorithms: Vec<Algorithm>,
    pub(crate) key: DecodingKey,
}

/// All keys of an authenticator: a shared secret, a JWKS, or both.
#[derive(Default)]
pub struct KeySet {
    pub(crate) keys: Vec<VerifyingKey>,
    weak_secret: bool,
}

const HMAC: [Algorithm; 3] = [Algorithm::HS256, Algorithm::HS384, Algorithm::HS512];
const RSA: [Algorithm; 6] =
    [Algorithm::RS256, Algorithm::RS384, Algorithm::RS512, Algorithm::PS256, Algorithm::PS384, Algorithm::PS512];

impl KeySet {
    /// Adds a shared secret, which verifies HS256, HS384 and HS512.
    pub fn with_secret(mut self, secret: &[u8]) -> Result<Self, KeyError> {
        if secret.is_empty() {
            return Err(KeyError::EmptySecret);
        }
        self.weak_secret |= secret.len() < STRONG_SECRET_BYTES;
        self.keys.push(VerifyingKey { id: None, algorithms: HMAC.to_vec(), key: DecodingKey::from_secret(secret) });
        Ok(self)
    }

    /// Adds the public keys of a JWKS document (RFC 7517). Keys for encryption and of unknown kinds are passed over;
    /// symmetric keys too: a file of public keys is no place for a secret.
    pub fn with_jwks(mut self, document: &[u8]) -> Result<Self, KeyError> {
        if document.len() > MAX_JWKS_BYTES {
            return Err(KeyError::JwksTooLarge(document.len()));
        }
        #[derive(serde::Deserialize)]
        struct Document {
            keys: Vec<serde_json::Value>,
        }
        let document: Document = serde_json::from_slice(document).map_err(|_| KeyError::JwksMalformed)?;
        if document.keys.len() > MAX_JWKS_KEYS {
            return Err(KeyError::TooManyKeys(document.keys.len()));
        }
        let before = self.keys.len();
        for (index, value) in document.keys.into_iter().enumerate() {
            if let Some(key) = public_key(value).map_err(|reason| KeyError::BadKey { index, reason })? {
                self.keys.push(key);
            }
        }
        if self.keys.len() == before {
            return Err(KeyError::NoUsableKey);
        }
        Ok(self)
    }

    /// True if a shared secret is shorter than its algorithm's strength: worth a warning at start.
    pub fn has_weak_secret(&self) -> bool {
        self.weak_secret
    }

    /// True if nothing was added.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }
}

impl fmt::Debug for KeySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeySet({} keys)", self.keys.len())
    }
}

/// The key of one entry; `None` if it is not for us, an error if it is and cannot be used.
fn public_key(value: serde_json::Value) -> Result<Option<VerifyingKey>, &'static str> {
    // From the text alone: an entry of another kind may have any shape (RFC 7517 §5).
    let Some(mut algorithms) = algorithms_of(&value) else { return Ok(None) };
    if let Some(named) = value.get("alg") {
        // A key that names its algorithm verifies that one only (RFC 7517 §4.4).
        let Some(named) = named.as_str().and_then(|named| named.parse::<Algorithm>().ok()) else { return Ok(None) };
        algorithms.retain(|algorithm| *algorithm == named);
        if algorithms.is_empty() {
            return Err("its \"alg\" does not fit its \"kty\"");
        }
    }
    let jwk: Jwk = serde_json::from_value(value).map_err(|_| "a member is missing or has the wrong type")?;
    if let AlgorithmParameters::RSA(rsa) = &jwk.algorithm
        // Base64url carries six bits a character; leading zero bytes do not occur in a modulus.
        && rsa.n.trim_end_matches('=').len() * 6 < MIN_RSA_BITS
    {
        return Err("its RSA modulus is shorter than 2048 bits");
    }
    let key = DecodingKey::from_jwk(&jwk).map_err(|_| "its parameters are not base64url")?;
    if let Some(algorithm) = algorithms.first() {
        // Build a verifier once, so that a damaged key is an error at start and not a refused token later.
        (DEFAULT_PROVIDER.verifier_factory)(algorithm, &key).map_err(|_| "its parameters are no key")?;
    }
    Ok(Some(VerifyingKey { id: jwk.common.key_id, algorithms, key }))
}

/// What a key of this kind, curve and use can verify; `None` if nothing.
fn algorithms_of(key: &serde_json::Value) -> Option<Vec<Algorithm>> {
    let member = |name: &str| key.get(name).and_then(serde_json::Value::as_str);
    let verifies = match key.get("key_ops").and_then(serde_json::Value::as_array) {
        Some(operations) => operations.iter().any(|operation| operation == "verify"),
        None => true,
    };
    if !verifies || member("use").is_some_and(|purpose| purpose != "sig") {
        return None;
    }
    match (member("kty")?, member("crv")) {
        ("RSA", _) => Some(RSA.to_vec()),
        ("EC", Some("P-256")) => Some(vec![Algorithm::ES256]),
        ("EC", Some("P-384")) => Some(vec![Algorithm::ES384]),
        ("OKP", Some("Ed25519")) => Some(vec![Algorithm::EdDSA]),
        _ => None,
    }
}
