//! The transactions' settings. They keep Kafka's names.

use std::time::Duration;

/// Settings of one shard's transactions.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TransactionConfig {
    /// `transaction.max.timeout.ms`, milliseconds, default 900,000: longer ones get INVALID_TRANSACTION_TIMEOUT.
    pub max_timeout_ms: i32,
    /// `transactional.id.expiration.ms` as a duration, default 7 days: a transactional id that is not used for so long is forgotten.
    pub id_expiration: Duration,
    /// `transaction.remove.expired.transaction.cleanup.interval.ms`, default 1 hour: how often expired ids are looked for.
    pub id_expiration_interval: Duration,
}

impl Default for TransactionConfig {
    fn default() -> Self {
        TransactionConfig {
            max_timeout_ms: 900_000,
            id_expiration: Duration::from_secs(7 * 24 * 60 * 60),
            id_expiration_interval: Duration::from_secs(60 * 60),
        }
    }
}
