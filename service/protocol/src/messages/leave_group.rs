//! LeaveGroup (key 13): members leave a classic group; from 3 on several at once (KIP-345).

use crate::Str;
use crate::describe::{api, message, structure};

api!(13, LeaveGroupRequest => LeaveGroupResponse);

message! {
    /// Who leaves.
    LeaveGroupRequest, versions(0, 5), flexible(4) {
        /// The group.
        group_id: Str, since(0);
        /// The member, up to version 2.
        member_id: Str, between(0, 2);
        /// The members, from version 3.
        members: Vec<MemberIdentity>, since(3);
    }
}

structure! {
    /// A member that leaves.
    MemberIdentity {
        /// Its id.
        member_id: Str, since(3);
        /// The static member's name.
        group_instance_id: Option<Str> = None, since(3).null(3);
        /// Why it leaves (KIP-800).
        reason: Option<Str> = None, since(5).null(5).ignorable();
    }
}

message! {
    /// Who has left.
    LeaveGroupResponse, versions(0, 5), flexible(4) {
        /// How long the client was throttled, milliseconds.
        throttle_time_ms: i32, since(1).ignorable();
        /// The error, or 0.
        error_code: i16, since(0);
        /// The results by member.
        members: Vec<MemberResponse>, since(3);
    }
}

structure! {
    /// One member's result.
    MemberResponse {
        /// Its id.
        member_id: Str, since(3);
        /// The static member's name.
        group_instance_id: Option<Str> = Some(Str::EMPTY), since(3).null(3);
        /// The error, or 0.
        error_code: i16, since(3);
    }
}
