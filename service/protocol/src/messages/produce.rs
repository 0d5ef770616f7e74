//! Produce (key 0): appends record batches. Versions 0 to 2 carry older record formats and are gone since Kafka 4.0
//! (KIP-896); 13 names topics by id (KIP-516).

use tidelog_model::TopicId;

use crate::describe::{api, message, structure};
use crate::{Records, Str};

api!(0, ProduceRequest => ProduceResponse);

message! {
    /// Batches to append.
    ProduceRequest, versions(3, 13), flexible(9) {
        /// The transactional id, or null.
        transactional_id: Option<Str> = None, since(3).null(3);
        /// 0: do not answer, 1: after the leader's append, −1: after all in-sync replicas.
        acks: i16, since(3);
        /// How long to wait for the replicas, milliseconds.
        timeout_ms: i32, since(3);
        /// The batches by topic.
        topic_data: Vec<TopicProduceData>, since(3);
    }
}

structure! {
    /// One topic's batches.
    TopicProduceData {
        /// The topic's name.
        name: Str, between(0, 12).ignorable();
        /// The topic's id.
        topic_id: TopicId = TopicId::ZERO, since(13).ignorable();
        /// The batches by partition.
        partition_data: Vec<PartitionProduceData>, since(0);
    }
}

structure! {
    /// One partition's batches.
    PartitionProduceData {
        /// The partition's number.
        index: i32, since(0);
        /// The batches.
        records: Option<Records> = Some(Records::default()), since(0).null(0);
    }
}

message! {
    /// What became of the batches.
    ProduceResponse, versions(3, 13), flexible(9) {
        /// The results by topic.
        responses: Vec<TopicProduceResponse>, since(0);
        /// How long the client was throttled, milliseconds.
        throttle_time_ms: i32, since(1).ignorable();
        /// Addresses of the leaders named in the results (KIP-951).
        node_endpoints: Vec<ProduceNodeEndpoint>, since(10).tag(0).ignorable();
    }
}

structure! {
    /// One topic's results.
    TopicProduceResponse {
        /// The topic's name.
        name: Str, between(0, 12).ignorable();
        /// The topic's id.
        topic_id: TopicId = TopicId::ZERO, since(13).ignorable();
        /// The results by partition.
        partition_responses: Vec<PartitionProduceResponse>, since(0);
    }
}

structure! {
    /// One partition's result.
    PartitionProduceResponse {
        /// The partition's number.
        index: i32, since(0);
        /// The error, or 0.
        error_code: i16, since(0);
        /// Offset of the first appended record.
        base_offset: i64, since(0);
        /// The broker's time of the append in milliseconds if the topic uses log-append time, otherwise −1.
        log_append_time_ms: i64 = -1, since(2).ignorable();
        /// The partition's first offset.
        log_start_offset: i64 = -1, since(5).ignorable();
        /// The records that made the batch fail (KIP-467).
        record_errors: Vec<BatchIndexAndErrorMessage>, since(8).ignorable();
        /// What was wrong with them together.
        error_message: Option<Str> = None, since(8).null(8).ignorable();
        /// The leader to turn to, if it is another (KIP-951).
        current_leader: ProduceLeader, since(10).tag(0).ignorable();
    }
}

structure! {
    /// One record that made its batch fail.
    BatchIndexAndErrorMessage {
        /// The record's number in the batch, from 0.
        batch_index: i32, since(0);
        /// What was wrong with it.
        batch_index_error_message: Option<Str> = None, since(0).null(0);
    }
}

structure! {
    /// A partition's leader.
    ProduceLeader {
        /// The broker, or −1.
        leader_id: i32 = -1, since(0);
        /// The leader's epoch, or −1.
        leader_epoch: i32 = -1, since(0);
    }
}

structure! {
    /// A broker's address.
    ProduceNodeEndpoint {
        /// The broker.
        node_id: i32, since(0);
        /// Its host.
        host: Str, since(0);
        /// Its port.
        port: i32, since(0);
        /// Its rack, or null.
        rack: Option<Str> = None, since(0).null(0);
    }
}
