//! AddPartitionsToTxn (key 24): partitions that a transaction writes to (KIP-98). From 4 on only brokers ask, for several
//! transactions at once, and may ask only whether the partitions are part of them (KIP-890).

use crate::Str;
use crate::describe::{api, message, structure};

api!(24, AddPartitionsToTxnRequest => AddPartitionsToTxnResponse);

message! {
    /// Partitions of transactions.
    AddPartitionsToTxnRequest, versions(0, 5), flexible(3) {
        /// The transactions, from version 4.
        transactions: Vec<AddPartitionsToTxnTransaction>, since(4);
        /// The transactional id, up to version 3.
        v3_and_below_transactional_id: Str, between(0, 3);
        /// The producer id, up to version 3.
        v3_and_below_producer_id: i64, between(0, 3);
        /// Its epoch, up to version 3.
        v3_and_below_producer_epoch: i16, between(0, 3);
        /// The partitions by topic, up to version 3.
        v3_and_below_topics: Vec<AddPartitionsToTxnTopic>, between(0, 3);
    }
}

structure! {
    /// One transaction.
    AddPartitionsToTxnTransaction {
        /// The transactional id.
        transactional_id: Str, since(4);
        /// The producer id.
        producer_id: i64, since(4);
        /// Its epoch.
        producer_epoch: i16, since(4);
        /// Ask only, change nothing.
        verify_only: bool, since(4);
        /// The partitions by topic.
        topics: Vec<AddPartitionsToTxnTopic>, since(4);
    }
}

structure! {
    /// Partitions of one topic.
    AddPartitionsToTxnTopic {
        /// The topic.
        name: Str, since(0);
        /// The partitions.
        partitions: Vec<i32>, since(0);
    }
}

message! {
    /// What became of them.
    AddPartitionsToTxnResponse, versions(0, 5), flexible(3) {
        /// How long the client was throttled, milliseconds.
        throttle_time_ms: i32, since(0);
        /// The error of the whole request, or 0; from version 4.
        error_code: i16, since(4).ignorable();
        /// The results by transaction, from version 4.
        results_by_transaction: Vec<AddPartitionsToTxnResult>, since(4);
        /// The results by topic, up to version 3.
        results_by_topic_v3_and_below: Vec<AddPartitionsToTxnTopicResult>, between(0, 3);
    }
}

structure! {
    /// One transaction's results.
    AddPartitionsToTxnResult {
        /// The transactional id.
        transactional_id: Str, since(4);
        /// The results by topic.
        topic_results: Vec<AddPartitionsToTxnTopicResult>, since(4);
    }
}

structure! {
    /// One topic's results.
    AddPartitionsToTxnTopicResult {
        /// The topic.
        name: Str, since(0);
        /// The results by partition.
        results_by_partition: Vec<AddPartitionsToTxnPartitionResult>, since(0);
    }
}

structure! {
    /// One partition's result.
    AddPartitionsToTxnPartitionResult {
        /// The partition's number.
        partition_index: i32, since(0);
        /// The error, or 0.
        partition_error_code: i16, since(0);
    }
}
