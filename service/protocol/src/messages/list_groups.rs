//! ListGroups (key 16): the groups that a broker coordinates. 4 filters by state (KIP-518), 5 by type (KIP-848).

use crate::Str;
use crate::describe::{api, message, structure};

api!(16, ListGroupsRequest => ListGroupsResponse);

message! {
    /// Which groups to list.
    ListGroupsRequest, versions(0, 5), flexible(3) {
        /// Only groups in these states; empty is all.
        states_filter: Vec<Str>, since(4);
        /// Only groups of these types; empty is all.
        types_filter: Vec<Str>, since(5);
    }
}

message! {
    /// The groups.
    ListGroupsResponse, versions(0, 5), flexible(3) {
        /// How long the client was throttled, milliseconds.
        throttle_time_ms: i32, since(1).ignorable();
        /// The error, or 0.
        error_code: i16, since(0);
        /// The groups.
        groups: Vec<ListedGroup>, since(0);
    }
}

structure! {
    /// One group.
    ListedGroup {
        /// The group.
        group_id: Str, since(0);
        /// The class of protocols.
        protocol_type: Str, since(0);
        /// Its state.
        group_state: Str, since(4).ignorable();
        /// Its type.
        group_type: Str, since(5).ignorable();
    }
}
