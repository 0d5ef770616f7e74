//! Heartbeat (key 12): a member of a classic group is alive.

use crate::Str;
use crate::describe::{api, message};

api!(12, HeartbeatRequest => HeartbeatResponse);

message! {
    /// Who is alive.
    HeartbeatRequest, versions(0, 4), flexible(4) {
        /// The group.
        group_id: Str, since(0);
        /// The generation that the member knows.
        generation_id: i32, since(0);
        /// The member.
        member_id: Str, since(0);
        /// The static member's name (KIP-345).
        group_instance_id: Option<Str> = None, since(3).null(3);
    }
}

message! {
    /// Whether the member must join again.
    HeartbeatResponse, versions(0, 4), flexible(4) {
        /// How long the client was throttled, milliseconds.
        throttle_time_ms: i32, since(1).ignorable();
        /// The error, or 0.
        error_code: i16, since(0);
    }
}
