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

/// What anybody may see of a credential who begins to log in with its name, but for the salt itself.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ScramShape {
    /// Which.
    pub mechanism: ScramMechanism,
    /// Rounds of PBKDF2.
    pub iterations: i32,
    /// Bytes of the salt.
    pub salt_bytes: usize,
    /// The salt has digits and small letters only, as those that Kafka's tools make.
    pub is_text: bool,
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

impl ScramCredential {
    /// What of it shows before anybody has proven anything.
    pub fn shape(&self, mechanism: ScramMechanism) -> ScramShape {
        ScramShape {
            mechanism,
            iterations: self.iterations,
            salt_bytes: self.salt.len(),
            is_text: self.salt.iter().all(|byte| byte.is_ascii_digit() || byte.is_ascii_lowercase()),
        }
    }
}

impl fmt::Debug for ScramCredential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Keys never reach a log.
        write!(f, "ScramCredential({} iterations)", self.iterations)
    }
}
