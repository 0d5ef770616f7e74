//! DescribeGroups (key 15): classic groups and their members. 6 has error texts (KIP-1043).

use bytes::Bytes;

use super::NO_AUTHORIZED_OPERATIONS;
use crate::Str;
use crate::describe::{api, message, structure};

api!(15, DescribeGroupsRequest => DescribeGroupsResponse);

message! {
    /// Which groups to describe.
    DescribeGroupsRequest, versions(0, 6), flexible(5) {
        /// The groups.
        groups: Vec<Str>, since(0);
        /// Answer with what the caller may do to each (KIP-430).
        include_authorized_operations: bool, since(3);
    }
}

message! {
    /// The groups.
    DescribeGroupsResponse, versions(0, 6), flexible(5) {
        /// How long the client was throttled, milliseconds.
        throttle_time_ms: i32, since(1).ignorable();
        /// The groups.
        groups: Vec<DescribedGroup>, since(0);
    }
}

structure! {
    /// One group.
    DescribedGroup {
        /// The error, or 0.
        error_code: i16, since(0);
        /// What was wrong.
        error_message: Option<Str> = None, since(6).null(6);
        /// The group.
        group_id: Str, since(0);
        /// Its state, or empty.
        group_state: Str, since(0);
        /// The class of protocols, or empty.
        protocol_type: Str, since(0);
        /// The chosen protocol, or empty.
        protocol_data: Str, since(0);
        /// The members.
        members: Vec<DescribedGroupMember>, since(0);
        /// Bits of what the caller may do to the group.
        authorized_operations: i32 = NO_AUTHORIZED_OPERATIONS, since(3);
    }
}

structure! {
    /// One member.
    DescribedGroupMember {
        /// Its id.
        member_id: Str, since(0);
        /// The static member's name.
        group_instance_id: Option<Str> = None, since(4).null(4).ignorable();
        /// The client's own name.
        client_id: Str, since(0);
        /// The client's address.
        client_host: Str, since(0);
        /// Its metadata for the chosen protocol.
        member_metadata: Bytes, since(0);
        /// Its part.
        member_assignment: Bytes, since(0);
    }
}
