//! A classic group's generation, as `__consumer_offsets` stores it.

use bytes::Bytes;

use crate::Str;
use crate::describe::{NEVER, message, structure};

/// The key type.
pub const GROUP_METADATA_KEY_VERSION: i16 = 2;

/// The value version that Kafka 4.3 writes.
pub const GROUP_METADATA_VALUE_VERSION: i16 = 3;

message! {
    /// Key, type 2.
    GroupMetadataKey, versions(2, 2), flexible(NEVER) {
        /// The group.
        group: Str, since(0);
    }
}

message! {
    /// Value; without one the group is gone.
    GroupMetadataValue, versions(0, 4), flexible(4) {
        /// The class of protocols.
        protocol_type: Str, since(0);
        /// The generation.
        generation: i32, since(0);
        /// The chosen protocol; null in an empty group.
        protocol: Option<Str> = Some(Str::EMPTY), since(0).null(0);
        /// The leader's member id; null in an empty group.
        leader: Option<Str> = Some(Str::EMPTY), since(0).null(0);
        /// When the group came into its state, milliseconds since 1970, or −1.
        current_state_timestamp: i64 = -1, since(2).ignorable();
        /// The members.
        members: Vec<MemberMetadata>, since(0);
    }
}

structure! {
    /// One member.
    MemberMetadata {
        /// Its id.
        member_id: Str, since(0);
        /// The static member's name.
        group_instance_id: Option<Str> = None, since(3).null(3).ignorable();
        /// The client's own name.
        client_id: Str, since(0);
        /// The client's address.
        client_host: Str, since(0);
        /// How long it may take to join again, milliseconds.
        rebalance_timeout: i32, since(1).ignorable();
        /// It is gone after this time without a heartbeat, milliseconds.
        session_timeout: i32, since(0);
        /// Its metadata for the chosen protocol.
        subscription: Bytes, since(0);
        /// Its part.
        assignment: Bytes, since(0);
    }
}
