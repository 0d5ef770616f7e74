//! DeleteTopics (key 20); from 6 on by name or id (KIP-516).

use tidelog_model::TopicId;

use crate::Str;
use crate::describe::{api, message, structure};

api!(20, DeleteTopicsRequest => DeleteTopicsResponse);

message! {
    /// The topics to delete.
    DeleteTopicsRequest, versions(1, 6), flexible(4) {
        /// The topics, from version 6.
        topics: Vec<DeleteTopicState>, since(6);
        /// Their names, up to version 5.
        topic_names: Vec<Str>, between(0, 5).ignorable();
        /// How long to wait for it, milliseconds.
        timeout_ms: i32, since(0);
    }
}

structure! {
    /// One topic by name or id.
    DeleteTopicState {
        /// Its name, or null.
        name: Option<Str> = None, since(6).null(6);
        /// Its id, or zero.
        topic_id: TopicId = TopicId::ZERO, since(6);
    }
}

message! {
    /// What became of them.
    DeleteTopicsResponse, versions(1, 6), flexible(4) {
        /// How long the client was throttled, milliseconds.
        throttle_time_ms: i32, since(1).ignorable();
        /// The results by topic.
        responses: Vec<DeletableTopicResult>, since(0);
    }
}

structure! {
    /// One topic's result.
    DeletableTopicResult {
        /// Its name; null if it was given by an id that is not known.
        name: Option<Str> = Some(Str::EMPTY), since(0).null(6);
        /// Its id.
        topic_id: TopicId = TopicId::ZERO, since(6).ignorable();
        /// The error, or 0.
        error_code: i16, since(0);
        /// What was wrong.
        error_message: Option<Str> = None, since(5).null(5).ignorable();
    }
}
