//! Limits of this crate, each with its reason.

use std::time::Duration;

/// Longest token, bytes: real ones stay under 4 KiB, HTTP servers cut headers at 8 to 16 KiB.
pub const MAX_TOKEN_BYTES: usize = 16 * 1024;

/// Longest `sub`, bytes: it becomes a principal, which is logged and stored in ACLs.
pub const MAX_SUBJECT_BYTES: usize = 1024;

/// Most keys of one JWKS: a token without `kid` is checked against each that fits.
pub const MAX_JWKS_KEYS: usize = 64;

/// Largest JWKS document, bytes: 64 RSA keys with certificate chains fit.
pub const MAX_JWKS_BYTES: usize = 1024 * 1024;

/// Fewest rounds of PBKDF2 that a password is kept with (RFC 7677 §4, Kafka's minimum).
pub const MIN_SCRAM_ITERATIONS: i32 = 4096;

/// Most rounds: each check of a password costs them (Kafka's maximum).
pub const MAX_SCRAM_ITERATIONS: i32 = 16384;

/// Most rounds that our own client does for a server: about a second.
pub const MAX_SERVERS_ITERATIONS: i32 = 1_000_000;

/// Bytes of the salts that we make.
pub const SALT_BYTES: usize = 32;

/// Longest salt of others, bytes.
pub const MAX_SALT_BYTES: usize = 1024;

/// Longest password in PLAIN and HTTP Basic, bytes.
pub const MAX_PASSWORD_BYTES: usize = 4096;

/// Longest nonce of a SCRAM client, bytes; real ones have about 30.
pub const MAX_NONCE_BYTES: usize = 1024;

/// Who fails to authenticate hears of it after this time, at whatever door (Kafka's `connection.failed.authentication.delay.ms`): guessing
/// is slow.
pub const FAILED_AUTHENTICATION_DELAY: Duration = Duration::from_millis(100);

/// Users whose last right password is remembered, some 300 bytes each and the name.
pub const MAX_PROVEN: usize = 4_096;

/// How long: whoever says it with each request pays for one check in ten minutes.
pub const PROOF_LIFE: Duration = Duration::from_secs(600);

/// How far two clocks may differ (Kafka's `sasl.oauthbearer.clock.skew.seconds`).
pub const DEFAULT_LEEWAY: Duration = Duration::from_secs(30);

/// A shared secret below this many bytes is weaker than HS256 itself (RFC 7518 §3.2).
pub const STRONG_SECRET_BYTES: usize = 32;

/// Smallest RSA modulus, bits (RFC 7518 §3.3).
pub const MIN_RSA_BITS: usize = 2048;

/// Counts of quotas before idle ones are looked for; one takes some 200 bytes.
pub const COUNTERS_BEFORE_SWEEP: usize = 1_024;

/// Most counts of quotas, some 20 MiB: client ids are invented freely, and of addresses many are had.
pub const MAX_COUNTERS: usize = 100_000;

/// Least time between two searches for idle counts while there are as many as may be: each looks at all of them.
pub const SWEEP_PAUSE: Duration = Duration::from_secs(1);

/// Longest pause for time that requests took (Kafka's: one window).
pub const MAX_REQUEST_PAUSE: Duration = Duration::from_secs(1);

/// Longest time that a newcomer waits for a rate of new connections, or is held beyond its address' (Kafka's: one window).
pub const MAX_CONNECTION_PAUSE: Duration = Duration::from_secs(1);

/// Connections of one door at once, whatever `max.connections` allows: each costs tasks and buffers.
pub const MAX_DOOR_CONNECTIONS: usize = 10_000;

/// Which part of the places connections may hold whose clients are not known yet: one of so many.
pub const STRANGERS_PART: usize = 2;

/// So long has a client to say who it is before another one of its network may have its place, where they are few.
pub const STRANGER_GRACE: Duration = Duration::from_secs(5);
