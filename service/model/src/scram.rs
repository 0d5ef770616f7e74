//! What a server keeps of a SCRAM user (RFC 5802): enough to check a password, not the password. Decides nothing.

use std::fmt;

/// A SCRAM mechanism, numbered as in Kafka's APIs (KIP-554).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
#[repr(i8)]
pub enum ScramMechanism {
    /// SCRAM-SHA-256 (RFC 7677).
    Sha256 = 1,
    /// SCRAM-SHA-512.
    Sha512 = 2,
}

impl ScramMechanism {
    /// Every mechanism, in ascending order of its code.
    pub const ALL: &'static [ScramMechanism] = &[ScramMechanism::Sha256, ScramMechanism::Sha512];

    /// The number on the wire.
    pub const fn code(self) -> i8 {
        self as i8
    }

    /// The mechanism of this number.
    pub fn from_code(code: i8) -> Option<Self> {
        Self::ALL.iter().copied().find(|mechanism| mechanism.code() == code)
    }

    /// Its name in SASL.
    pub const fn name(self) -> &'static str {
        match self {
            ScramMechanism::Sha256 => "SCRAM-SHA-256",
            ScramMechanism::Sha512 => "SCRAM-SHA-512",
        }
    }

    /// The mechanism of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|mechanism| mechanism.name() == name)
    }

    /// Bytes of its hash, and so of its keys.
    pub const fn key_bytes(self) -> usize {
        match self {
            ScramMechanism::Sha256 => 32,
            ScramMechanism::Sha512 => 64,
        }
    }
}

/// One user's credential of one mechanism.
#[derive(Clone, PartialEq, Eq)]
pub struct ScramCredential {
    /// The salt of the password.
    pub salt: Vec<u8>,
    /// Checks the client's proof.
    pub stored_key: Vec<u8>,
    /// Proves to the client that we know the credential.
    pub server_key: Vec<u8>,
    /// Rounds of PBKDF2.
    pub iterations: i32,
}

impl fmt::Debug for ScramCredential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Keys never reach a log.
        write!(f, "ScramCredential({} iterations)", self.iterations)
    }
}
