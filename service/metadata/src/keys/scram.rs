//! `scram/<mechanism>/<user>`: what is kept of a user's password (RFC 5802). Lives until the user's credential is deleted.
//!
//! Bytes: `{"version":1,"salt":"c2FsdA==","stored_key":"…","server_key":"…","iterations":4096}` (base64, RFC 4648 §4, as in Kafka's)

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tidelog_model::{ScramCredential, ScramMechanism};

use super::{Key, KeyError, from_json, invalid, to_json};

const VERSION: u32 = 1;

/// A stored credential.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ScramValue(pub ScramCredential);

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    version: u32,
    salt: String,
    stored_key: String,
    server_key: String,
    iterations: i32,
}

impl ScramValue {
    /// The stored bytes.
    pub fn encode(&self) -> Bytes {
        let ScramCredential { salt, stored_key, server_key, iterations } = &self.0;
        to_json(&Stored {
            version: VERSION,
            salt: STANDARD.encode(salt),
            stored_key: STANDARD.encode(stored_key),
            server_key: STANDARD.encode(server_key),
            iterations: *iterations,
        })
    }

    /// Reads the stored bytes.
    pub fn decode(mechanism: ScramMechanism, user: &str, bytes: &[u8]) -> Result<Self, KeyError> {
        let key = Key::Scram(mechanism, user.to_string());
        let stored: Stored = from_json(&key, VERSION, bytes)?;
        // The sentence names the field, never its content.
        let read =
            |what: &str, text: &str| STANDARD.decode(text).map_err(|_| invalid(&key, format!("{what} is not base64")));
        let credential = ScramCredential {
            salt: read("salt", &stored.salt)?,
            stored_key: read("stored_key", &stored.stored_key)?,
            server_key: read("server_key", &stored.server_key)?,
            iterations: stored.iterations,
        };
        let keys = [&credential.stored_key, &credential.server_key];
        if credential.iterations < 1 || keys.iter().any(|key| key.len() != mechanism.key_bytes()) {
            return Err(invalid(&key, "keys or iterations do not fit the mechanism"));
        }
        Ok(ScramValue(credential))
    }
}
