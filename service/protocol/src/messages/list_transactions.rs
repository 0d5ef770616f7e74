//! ListTransactions (key 66): the transactional ids of a coordinator (KIP-664); 1 filters by duration (KIP-994), 2 by a pattern
//! (KIP-1152).

use crate::Str;
use crate::describe::{api, message, structure};

api!(66, ListTransactionsRequest => ListTransactionsResponse);

message! {
    /// What to list.
    ListTransactionsRequest, versions(0, 2), flexible(0) {
        /// Only these states; none means all.
        state_filters: Vec<Str>, since(0);
        /// Only these producer ids; none means all.
        producer_id_filters: Vec<i64>, since(0);
        /// Only transactions that have been running for longer, milliseconds; −1 means all.
        duration_filter: i64 = -1, since(1);
        /// Only transactional ids that match this regular expression; null and empty mean all.
        transactional_id_pattern: Option<Str> = None, since(2).null(2);
    }
}

message! {
    /// The transactions.
    ListTransactionsResponse, versions(0, 2), flexible(0) {
        /// How long the client was throttled, milliseconds.
        throttle_time_ms: i32, since(0);
        /// The error, or 0.
        error_code: i16, since(0);
        /// States of the request that do not exist.
        unknown_state_filters: Vec<Str>, since(0);
        /// The transactions.
        transaction_states: Vec<ListedTransaction>, since(0);
    }
}

structure! {
    /// One transactional id.
    ListedTransaction {
        /// The transactional id.
        transactional_id: Str, since(0);
        /// The producer id.
        producer_id: i64, since(0);
        /// `Empty`, `Ongoing` …
        transaction_state: Str, since(0);
    }
}
