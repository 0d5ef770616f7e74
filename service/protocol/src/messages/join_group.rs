//! JoinGroup (key 11): joins a group of the classic protocol. 4 asks new members to come back with their id
//! (KIP-394), 5 has static members (KIP-345), 9 can skip the assignment of a returning leader (KIP-814).

use bytes::Bytes;

use crate::Str;
use crate::describe::{api, message, structure};

api!(11, JoinGroupRequest => JoinGroupResponse);

message! {
    /// Who joins.
    JoinGroupRequest, versions(0, 9), flexible(6) {
        /// The group.
        group_id: Str, since(0);
        /// The member is gone after this time without a heartbeat, milliseconds.
        session_timeout_ms: i32, since(0);
        /// How long the members may take to join again, milliseconds; −1 is the session's time-out.
        rebalance_timeout_ms: i32 = -1, since(1).ignorable();
        /// The member's id; empty for a new one.
        member_id: Str, since(0);
        /// The static member's name (KIP-345).
        group_instance_id: Option<Str> = None, since(5).null(5);
        /// The class of protocols, `consumer` for consumers.
        protocol_type: Str, since(0);
        /// The protocols that the member can, the preferred one first.
        protocols: Vec<JoinGroupRequestProtocol>, since(0);
        /// Why it joins (KIP-800).
        reason: Option<Str> = None, since(8).null(8).ignorable();
    }
}

structure! {
    /// A protocol that a member can.
    JoinGroupRequestProtocol {
        /// Its name, for consumers the assignor's.
        name: Str, since(0);
        /// What the leader is told, for consumers the subscription.
        metadata: Bytes, since(0);
    }
}

message! {
    /// The generation joined.
    JoinGroupResponse, versions(0, 9), flexible(6) {
        /// How long the client was throttled, milliseconds.
        throttle_time_ms: i32, since(2).ignorable();
        /// The error, or 0.
        error_code: i16, since(0);
        /// The generation, or −1.
        generation_id: i32 = -1, since(0);
        /// The class of protocols.
        protocol_type: Option<Str> = None, since(7).null(7).ignorable();
        /// The chosen protocol. Before version 7 it cannot be null: empty then.
        protocol_name: Option<Str> = Some(Str::EMPTY), since(0).null(7);
        /// The leader's member id.
        leader: Str, since(0);
        /// The leader need not assign anything (KIP-814).
        skip_assignment: bool, since(9);
        /// The member's id.
        member_id: Str, since(0);
        /// All members, for the leader only.
        members: Vec<JoinGroupResponseMember>, since(0);
    }
}

structure! {
    /// A member as the leader sees it.
    JoinGroupResponseMember {
        /// Its id.
        member_id: Str, since(0);
        /// The static member's name.
        group_instance_id: Option<Str> = None, since(5).null(5).ignorable();
        /// Its metadata for the chosen protocol.
        metadata: Bytes, since(0);
    }
}
