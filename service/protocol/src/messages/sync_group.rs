//! SyncGroup (key 14): the leader of a classic group hands in the assignment, everyone fetches their part.

use bytes::Bytes;

use crate::Str;
use crate::describe::{api, message, structure};

api!(14, SyncGroupRequest => SyncGroupResponse);

message! {
    /// Who asks, and the leader's assignment.
    SyncGroupRequest, versions(0, 5), flexible(4) {
        /// The group.
        group_id: Str, since(0);
        /// The generation.
        generation_id: i32, since(0);
        /// The member.
        member_id: Str, since(0);
        /// The static member's name (KIP-345).
        group_instance_id: Option<Str> = None, since(3).null(3);
        /// The class of protocols that the member expects (KIP-559).
        protocol_type: Option<Str> = None, since(5).null(5).ignorable();
        /// The protocol that the member expects (KIP-559).
        protocol_name: Option<Str> = None, since(5).null(5).ignorable();
        /// The parts of all members, from the leader only.
        assignments: Vec<SyncGroupRequestAssignment>, since(0);
    }
}

structure! {
    /// One member's part.
    SyncGroupRequestAssignment {
        /// The member.
        member_id: Str, since(0);
        /// Its part, opaque to the server.
        assignment: Bytes, since(0);
    }
}

message! {
    /// The member's part.
    SyncGroupResponse, versions(0, 5), flexible(4) {
        /// How long the client was throttled, milliseconds.
        throttle_time_ms: i32, since(1).ignorable();
        /// The error, or 0.
        error_code: i16, since(0);
        /// The class of protocols (KIP-559).
        protocol_type: Option<Str> = None, since(5).null(5).ignorable();
        /// The chosen protocol (KIP-559).
        protocol_name: Option<Str> = None, since(5).null(5).ignorable();
        /// The part.
        assignment: Bytes, since(0);
    }
}
