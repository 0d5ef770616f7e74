//! CreateTopics (key 19). 4 leaves counts to the server's defaults with −1 (KIP-464), 5 answers with the
//! configuration (KIP-525), 7 with the topic's id.

use tidelog_model::TopicId;

use crate::Str;
use crate::describe::{api, message, structure};

api!(19, CreateTopicsRequest => CreateTopicsResponse);

message! {
    /// The topics to create.
    CreateTopicsRequest, versions(2, 7), flexible(5) {
        /// The topics.
        topics: Vec<CreatableTopic>, since(0);
        /// How long to wait for them, milliseconds.
        timeout_ms: i32 = 60_000, since(0);
        /// Only check whether they could be created.
        validate_only: bool, since(1);
    }
}

structure! {
    /// One topic to create.
    CreatableTopic {
        /// Its name.
        name: Str, since(0);
        /// How many partitions; −1 with assignments or for the server's default.
        num_partitions: i32, since(0);
        /// How many replicas each; −1 with assignments or for the server's default.
        replication_factor: i16, since(0);
        /// Which brokers hold which partition; empty leaves it to the server.
        assignments: Vec<CreatableReplicaAssignment>, since(0);
        /// Its configuration.
        configs: Vec<CreatableTopicConfig>, since(0);
    }
}

structure! {
    /// One partition's brokers.
    CreatableReplicaAssignment {
        /// The partition's number.
        partition_index: i32, since(0);
        /// The brokers, the preferred leader first.
        broker_ids: Vec<i32>, since(0);
    }
}

structure! {
    /// One configuration entry.
    CreatableTopicConfig {
        /// Its name.
        name: Str, since(0);
        /// Its value.
        value: Option<Str> = Some(Str::EMPTY), since(0).null(0);
    }
}

message! {
    /// What became of them.
    CreateTopicsResponse, versions(2, 7), flexible(5) {
        /// How long the client was throttled, milliseconds.
        throttle_time_ms: i32, since(2).ignorable();
        /// The results by topic.
        topics: Vec<CreatableTopicResult>, since(0);
    }
}

structure! {
    /// One topic's result.
    CreatableTopicResult {
        /// Its name.
        name: Str, since(0);
        /// Its id.
        topic_id: TopicId = TopicId::ZERO, since(7).ignorable();
        /// The error, or 0.
        error_code: i16, since(0);
        /// What was wrong.
        error_message: Option<Str> = Some(Str::EMPTY), since(1).null(0).ignorable();
        /// Why the configuration is missing, or 0.
        topic_config_error_code: i16, since(5).tag(0).ignorable();
        /// How many partitions it has, or −1.
        num_partitions: i32 = -1, since(5).ignorable();
        /// How many replicas each has, or −1.
        replication_factor: i16 = -1, since(5).ignorable();
        /// Its configuration, or null.
        configs: Option<Vec<CreatableTopicConfigs>> = Some(Vec::new()), since(5).null(5).ignorable();
    }
}

structure! {
    /// One configuration entry of a new topic.
    CreatableTopicConfigs {
        /// Its name.
        name: Str, since(5);
        /// Its value.
        value: Option<Str> = Some(Str::EMPTY), since(5).null(5);
        /// It cannot be changed.
        read_only: bool, since(5);
        /// Where the value comes from (as in DescribeConfigs).
        config_source: i8 = -1, since(5).ignorable();
        /// The value is a secret and left out.
        is_sensitive: bool, since(5);
    }
}
