//! DescribeProducers (key 61): who writes to partitions, and since which offset a transaction is open (KIP-664).

use crate::Str;
use crate::describe::{api, message, structure};

api!(61, DescribeProducersRequest => DescribeProducersResponse);

message! {
    /// What to describe.
    DescribeProducersRequest, versions(0, 0), flexible(0) {
        /// The partitions, by topic.
        topics: Vec<DescribeProducersTopic>, since(0);
    }
}

structure! {
    /// One topic.
    DescribeProducersTopic {
        /// The topic's name.
        name: Str, since(0);
        /// The partitions' numbers.
        partition_indexes: Vec<i32>, since(0);
    }
}

message! {
    /// The producers.
    DescribeProducersResponse, versions(0, 0), flexible(0) {
        /// How long the client was throttled, milliseconds.
        throttle_time_ms: i32, since(0);
        /// The answers by topic.
        topics: Vec<DescribeProducersTopicResponse>, since(0);
    }
}

structure! {
    /// One topic's answer.
    DescribeProducersTopicResponse {
        /// The topic's name.
        name: Str, since(0);
        /// The answers by partition.
        partitions: Vec<DescribeProducersPartitionResponse>, since(0);
    }
}

structure! {
    /// One partition's answer.
    DescribeProducersPartitionResponse {
        /// The partition's number.
        partition_index: i32, since(0);
        /// The error, or 0.
        error_code: i16, since(0);
        /// What was wrong.
        error_message: Option<Str> = None, since(0).null(0);
        /// The producers that the partition remembers.
        active_producers: Vec<DescribedProducer>, since(0);
    }
}

structure! {
    /// One producer.
    DescribedProducer {
        /// Its id.
        producer_id: i64, since(0);
        /// Its epoch.
        producer_epoch: i32, since(0);
        /// The sequence of its last record, or −1.
        last_sequence: i32 = -1, since(0);
        /// The timestamp of its last batch, or −1.
        last_timestamp: i64 = -1, since(0);
        /// The epoch of the coordinator that wrote its last marker, or −1.
        coordinator_epoch: i32, since(0);
        /// The first offset of its open transaction, or −1.
        current_txn_start_offset: i64 = -1, since(0);
    }
}
