//! DeleteGroups (key 42): removes empty groups and their positions (KIP-229).

use crate::Str;
use crate::describe::{api, message, structure};

api!(42, DeleteGroupsRequest => DeleteGroupsResponse);

message! {
    /// The groups to delete.
    DeleteGroupsRequest, versions(0, 2), flexible(2) {
        /// The groups.
        groups_names: Vec<Str>, since(0);
    }
}

message! {
    /// What became of them.
    DeleteGroupsResponse, versions(0, 2), flexible(2) {
        /// How long the client was throttled, milliseconds.
        throttle_time_ms: i32, since(0);
        /// The results by group.
        results: Vec<DeletableGroupResult>, since(0);
    }
}

structure! {
    /// One group's result.
    DeletableGroupResult {
        /// The group.
        group_id: Str, since(0);
        /// The error, or 0.
        error_code: i16, since(0);
    }
}
