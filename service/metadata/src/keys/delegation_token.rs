//! `delegation-tokens/<id>`: a delegation token (KIP-48). Written by CreateDelegationToken, changed by renewals, removed by
//! ExpireDelegationToken or once it has expired. Its secret is not kept: it follows from the id and `delegation.token.secret.key`.
//!
//! Bytes: `{"version":1,"owner":"User:alice","requester":"User:alice","renewers":["User:bob"],"issued":1,"expires":2,"ends":3}`
//! (milliseconds since 1970)

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tidelog_model::{Principal, Timestamp};

use super::{Key, KeyError, from_json, invalid, to_json};
use crate::limits::MAX_TOKEN_ID_BYTES;

const VERSION: u32 = 1;

/// A stored token.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DelegationTokenValue {
    /// Whoever logs in with it is this one.
    pub owner: Principal,
    /// Who asked for it.
    pub requester: Principal,
    /// Who may renew it beside its owner.
    pub renewers: Vec<Principal>,
    /// When it was made.
    pub issued: Timestamp,
    /// When it ends unless it is renewed.
    pub expires: Timestamp,
    /// When it ends in any case.
    pub ends: Timestamp,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    version: u32,
    owner: String,
    requester: String,
    renewers: Vec<String>,
    issued: i64,
    expires: i64,
    ends: i64,
}

impl DelegationTokenValue {
    /// May this one renew it, end it, and see it without a rule?
    pub fn concerns(&self, principal: &Principal) -> bool {
        self.owner == *principal || self.renewers.contains(principal)
    }

    /// Its owner and renewers.
    pub fn concerned(&self) -> impl Iterator<Item = &Principal> {
        std::iter::once(&self.owner).chain(&self.renewers)
    }

    /// Is it over?
    pub fn has_expired(&self, now: Timestamp) -> bool {
        self.expires.min(self.ends) < now
    }

    /// The stored bytes.
    pub fn encode(&self) -> Bytes {
        to_json(&Stored {
            version: VERSION,
            owner: self.owner.to_string(),
            requester: self.requester.to_string(),
            renewers: self.renewers.iter().map(Principal::to_string).collect(),
            issued: self.issued.get(),
            expires: self.expires.get(),
            ends: self.ends.get(),
        })
    }

    /// Reads the stored bytes.
    pub fn decode(id: &str, bytes: &[u8]) -> Result<Self, KeyError> {
        let key = Key::DelegationToken(id.to_string());
        let stored: Stored = from_json(&key, VERSION, bytes)?;
        let principal = |text: &str| {
            let name = text.strip_prefix("User:").ok_or_else(|| invalid(&key, format!("{text:?} is no user")))?;
            Ok(Principal::user(name))
        };
        Ok(DelegationTokenValue {
            owner: principal(&stored.owner)?,
            requester: principal(&stored.requester)?,
            renewers: stored.renewers.iter().map(|text| principal(text)).collect::<Result<_, _>>()?,
            issued: Timestamp(stored.issued),
            expires: Timestamp(stored.expires),
            ends: Timestamp(stored.ends),
        })
    }
}

/// Could this be a token's id? They are made by brokers: letters, digits, `-` and `_`.
pub(crate) fn is_token_id(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    !text.is_empty() && text.len() <= MAX_TOKEN_ID_BYTES && text.bytes().all(fits)
}
