//! What consumers tell each other through JoinGroup and SyncGroup: subscriptions and assignments. The server does not
//! read them. A newer version is read as the last known one, as Java's consumer does.

use bytes::Bytes;

use crate::describe::{NEVER, message, structure};
use crate::{DecodeError, Decoder, Message, Str};

message! {
    /// What a member wants to read.
    ConsumerProtocolSubscription, versions(0, 3), flexible(NEVER) {
        /// The topics' names.
        topics: Vec<Str>, since(0);
        /// What the assignor adds.
        user_data: Option<Bytes> = None, since(0).null(0);
        /// What the member has now (KIP-429).
        owned_partitions: Vec<ConsumerTopicPartitions>, since(1).ignorable();
        /// The generation in which it got them, or −1 (KIP-792).
        generation_id: i32 = -1, since(2).ignorable();
        /// The member's rack (KIP-881).
        rack_id: Option<Str> = None, since(3).null(3).ignorable();
    }
}

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

/// Reads a subscription or assignment with its version in front; what a newer version appends is ignored.
pub fn decode_consumer_protocol<M: Message>(payload: Bytes) -> Result<M, DecodeError> {
    let mut from = Decoder::new(payload);
    let version = from.i16()?.min(M::VERSIONS.max);
    M::decode(&mut from, version)
}
