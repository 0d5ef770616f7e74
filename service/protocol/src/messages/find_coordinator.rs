//! FindCoordinator (key 10): which broker coordinates a group or transaction. From 4 on several keys at once
//! (KIP-699).

use crate::Str;
use crate::describe::{api, message, structure};

api!(10, FindCoordinatorRequest => FindCoordinatorResponse);

message! {
    /// What to find.
    FindCoordinatorRequest, versions(0, 6), flexible(3) {
        /// The group or transactional id, up to version 3.
        key: Str, between(0, 3);
        /// 0: group, 1: transaction, 2: share group.
        key_type: i8, since(1);
        /// The ids, from version 4.
        coordinator_keys: Vec<Str>, since(4);
    }
}

message! {
    /// Where the coordinators are.
    FindCoordinatorResponse, versions(0, 6), flexible(3) {
        /// How long the client was throttled, milliseconds.
        throttle_time_ms: i32, since(1).ignorable();
        /// The error, or 0; up to version 3.
        error_code: i16, between(0, 3);
        /// What was wrong; up to version 3.
        error_message: Option<Str> = Some(Str::EMPTY), between(1, 3).null(1).ignorable();
        /// The broker; up to version 3.
        node_id: i32, between(0, 3);
        /// Its host; up to version 3.
        host: Str, between(0, 3);
        /// Its port; up to version 3.
        port: i32, between(0, 3);
        /// The coordinators by key, from version 4.
        coordinators: Vec<Coordinator>, since(4);
    }
}

structure! {
    /// One key's coordinator.
    Coordinator {
        /// The group or transactional id.
        key: Str, since(4);
        /// The broker.
        node_id: i32, since(4);
        /// Its host.
        host: Str, since(4);
        /// Its port.
        port: i32, since(4);
        /// The error, or 0.
        error_code: i16, since(4);
        /// What was wrong.
        error_message: Option<Str> = Some(Str::EMPTY), since(4).null(4).ignorable();
    }
}
