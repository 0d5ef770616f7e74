//! The messages of SCRAM (RFC 5802 §7) at the server's side.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tidelog_model::{ScramCredential, ScramMechanism};

use super::Done;
use crate::limits::MAX_NONCE_BYTES;
use crate::scram::{fits_proof, hmac};

/// The client's first message.
#[derive(Debug)]
pub(super) struct ClientFirst {
    pub(super) user: String,
    /// The user is the id of a delegation token (KIP-48).
    pub(super) is_token: bool,
    nonce: String,
    /// `n,,`: comes back in the last message, in base64.
    header: String,
    bare: String,
}

impl ClientFirst {
    pub(super) fn parse(message: &[u8]) -> Result<Self, &'static str> {
        let text = std::str::from_utf8(message).map_err(|_| "SCRAM: not UTF-8")?;
        let mut parts = text.splitn(3, ',');
        let (Some(binding), Some(acting), Some(bare)) = (parts.next(), parts.next(), parts.next()) else {
            return Err("SCRAM: not a first message");
        };
        // `y`: the client could bind channels and believes that we cannot, which is so.
        if binding != "n" && binding != "y" {
            return Err("SCRAM: channels are not bound here");
        }
        let mut fields = bare.split(',');
        let name = fields.next().and_then(|field| field.strip_prefix("n=")).ok_or("SCRAM: no user")?;
        let user = unescaped(name).ok_or("SCRAM: the user's name is not escaped as it must be")?;
        let nonce = fields.next().and_then(|field| field.strip_prefix("r=")).ok_or("SCRAM: no nonce")?;
        if !is_nonce(nonce) {
            return Err("SCRAM: the nonce is empty, very long or not printable");
        }
        if user.is_empty() {
            return Err("SCRAM: an empty user");
        }
        match acting.strip_prefix("a=").map(unescaped) {
            None if acting.is_empty() => {}
            Some(Some(acting)) if acting == user => {}
            _ => return Err("SCRAM: the client wants to act as somebody else"),
        }
        // An unknown extension is ignored (§5.1).
        let is_token = fields.any(|field| field == "tokenauth=true");
        let header = format!("{binding},{acting},");
        Ok(ClientFirst { user, is_token, nonce: nonce.to_owned(), header, bare: bare.to_owned() })
    }
}

/// We answered; the proof is to come.
#[derive(Debug)]
pub(super) struct ServerFirst {
    mechanism: ScramMechanism,
    client: ClientFirst,
    credential: ScramCredential,
    nonce: String,
    message: String,
}

impl ServerFirst {
    pub(super) fn new(
        mechanism: ScramMechanism,
        client: ClientFirst,
        credential: ScramCredential,
        chance: &str,
    ) -> Self {
        let nonce = format!("{}{chance}", client.nonce);
        let message = format!("r={nonce},s={},i={}", STANDARD.encode(&credential.salt), credential.iterations);
        ServerFirst { mechanism, client, credential, nonce, message }
    }

    pub(super) fn message(&self) -> &[u8] {
        self.message.as_bytes()
    }

    /// The client's last message: the proof.
    pub(super) fn finish(self, message: &[u8]) -> Result<Done, &'static str> {
        let text = std::str::from_utf8(message).map_err(|_| "SCRAM: not UTF-8")?;
        let (unproved, proof) = text.rsplit_once(",p=").ok_or("SCRAM: no proof")?;
        let mut fields = unproved.split(',');
        let binding = fields.next().and_then(|field| field.strip_prefix("c=")).ok_or("SCRAM: no channel binding")?;
        if binding != STANDARD.encode(&self.client.header) {
            return Err("SCRAM: another channel binding than before");
        }
        if !fields.next().and_then(|field| field.strip_prefix("r=")).is_some_and(|nonce| self.is_nonce(nonce)) {
            return Err("SCRAM: another nonce than ours");
        }
        let proof = STANDARD.decode(proof).map_err(|_| "SCRAM: the proof is not base64")?;
        let signed = format!("{},{},{unproved}", self.client.bare, self.message);
        if !fits_proof(self.mechanism, &self.credential, signed.as_bytes(), &proof) {
            return Err("wrong user or password");
        }
        let signature = hmac(self.mechanism, &self.credential.server_key, &[signed.as_bytes()]);
        let reply = format!("v={}", STANDARD.encode(signature)).into_bytes();
        Ok(Done { user: self.client.user, reply })
    }
}

impl ServerFirst {
    /// Is this the whole nonce? librdkafka before 2.6.1 puts its own in front of it once more. That is let through, and nothing else: our
    /// part, which makes the exchange fresh, is there to its last letter, and the proof is over the message as it came. (What must
    /// not be is a nonce that is not looked at, CVE-2024-56128, or one with any prefix.)
    fn is_nonce(&self, nonce: &str) -> bool {
        nonce == self.nonce || nonce.strip_prefix(self.client.nonce.as_str()) == Some(self.nonce.as_str())
    }
}

/// Printable ASCII without a comma (§7).
fn is_nonce(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= MAX_NONCE_BYTES
        && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b',')
}

/// `=2C` is a comma and `=3D` an equals sign; no other `=` may be there (§5.1).
pub(super) fn unescaped(name: &str) -> Option<String> {
    let mut pieces = name.split('=');
    let mut plain = pieces.next()?.to_owned();
    for piece in pieces {
        let (letter, rest) =
            if let Some(rest) = piece.strip_prefix("2C") { (',', rest) } else { ('=', piece.strip_prefix("3D")?) };
        plain.push(letter);
        plain.push_str(rest);
    }
    Some(plain)
}
