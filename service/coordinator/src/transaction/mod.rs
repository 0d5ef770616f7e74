//! Transactions (KIP-98, 360, 890): who owns a transactional id, which partitions its open transaction has, how it ends.

mod api;
mod config;
mod end;
mod init;
mod markers;
mod partitions;
mod record;
mod shard;
mod state;
mod sweep;
#[cfg(test)]
mod tests;

pub use api::*;
pub use config::TransactionConfig;
pub use shard::TransactionShard;
pub use state::TransactionState;
