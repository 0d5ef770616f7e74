//! What consumers of a classic group are told to read, as the group's description shows it: bytes with a version of their own in front. A newer
//! version is read as the last known one, as Java's consumer does.

use bytes::Bytes;

use crate::describe::{NEVER, message, structure};
use crate::{DecodeError, Decoder, Message, Str};

message! {
    /// What a member is to read.
    ConsumerProtocolAssignment, versions(0, 3), flexible(NEVER) {
        /// The partitions by topic.
        assigned_partitions: Vec<ConsumerTopicPartitions>, since(0);
        /// What the assignor adds.
        user_data: Option<Bytes> = None, since(0).null(0);
    }
}

structure! {
    /// Partitions of one topic.
    ConsumerTopicPartitions {
        /// The topic's name.
        topic: Str, since(0);
        /// The partitions' numbers.
        partitions: Vec<i32>, since(0);
    }
}

/// Reads an assignment with its version in front; what a newer version appends is ignored.
pub fn decode_assignment(payload: Bytes) -> Result<ConsumerProtocolAssignment, DecodeError> {
    let mut from = Decoder::new(payload);
    let version = from.i16()?.min(ConsumerProtocolAssignment::VERSIONS.max);
    ConsumerProtocolAssignment::decode(&mut from, version)
}
