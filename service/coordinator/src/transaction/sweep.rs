//! Decides which transactional ids are forgotten: those that nobody has used for `transactional.id.expiration.ms`. Works in steps, so
//! that no outcome grows beyond one batch.

use tidelog_model::Now;

use super::api::{TransactionEvent, TransactionOutcome};
use super::record::transaction_tombstone;
use super::shard::TransactionShard;
use super::state::TransactionState;
use crate::limits::MAX_TOMBSTONES_PER_OUTCOME;

impl TransactionShard {
    /// One step of expiry, if it is due.
    pub(super) fn expiry_step(&mut self, now: Now) -> TransactionOutcome {
        let mut out = TransactionOutcome::default();
        if !self.expiry.is_some_and(|deadline| deadline.passed(now)) {
            return out;
        }
        let age = i64::try_from(self.config.id_expiration.as_millis()).unwrap_or(i64::MAX);
        let expired = self.transactions.iter().filter(|(_, transaction)| {
            let stored = &transaction.stored;
            let idle = matches!(
                stored.state,
                TransactionState::Empty | TransactionState::CompleteCommit | TransactionState::CompleteAbort
            );
            idle && now.wall.get().saturating_sub(stored.updated.get()) >= age
        });
        // Ids are checked before they are stored; a longer one could not have been.
        out.records =
            expired.filter_map(|(id, _)| transaction_tombstone(id).ok()).take(MAX_TOMBSTONES_PER_OUTCOME).collect();
        if out.records.len() < MAX_TOMBSTONES_PER_OUTCOME {
            self.expiry = Some(now.after(self.config.id_expiration_interval));
        }
        if !out.records.is_empty() {
            out.events.push(TransactionEvent::Expired { count: out.records.len() });
        }
        out
    }
}
