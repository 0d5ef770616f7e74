//! DescribeTransactions (key 65): what a coordinator knows of transactional ids (KIP-664).

use crate::Str;
use crate::describe::{api, message, structure};

api!(65, DescribeTransactionsRequest => DescribeTransactionsResponse);

message! {
    /// What to describe.
    DescribeTransactionsRequest, versions(0, 0), flexible(0) {
        /// The transactional ids.
        transactional_ids: Vec<Str>, since(0);
    }
}

message! {
    /// The transactions.
    DescribeTransactionsResponse, versions(0, 0), flexible(0) {
        /// How long the client was throttled, milliseconds.
        throttle_time_ms: i32, since(0);
        /// One state per transactional id.
        transaction_states: Vec<DescribedTransaction>, since(0);
    }
}

structure! {
    /// One transactional id.
    DescribedTransaction {
        /// The error, or 0.
        error_code: i16, since(0);
        /// The transactional id.
        transactional_id: Str, since(0);
        /// `Empty`, `Ongoing` …
        transaction_state: Str, since(0);
        /// An open transaction is aborted after this time, milliseconds.
        transaction_timeout_ms: i32, since(0);
        /// When the transaction began, milliseconds since 1970, or −1.
        transaction_start_time_ms: i64, since(0);
        /// The producer id.
        producer_id: i64, since(0);
        /// Its epoch.
        producer_epoch: i16, since(0);
        /// Its partitions by topic.
        topics: Vec<DescribedTransactionTopic>, since(0);
    }
}

structure! {
    /// A transaction's partitions of one topic.
    DescribedTransactionTopic {
        /// The topic.
        topic: Str, since(0);
        /// The partitions.
        partitions: Vec<i32>, since(0);
    }
}
