//! CreateAcls (key 30): adds access rules (KIP-140, 290).

use crate::Str;
use crate::describe::{api, message, structure};

api!(30, CreateAclsRequest => CreateAclsResponse);

message! {
    /// The rules.
    CreateAclsRequest, versions(1, 3), flexible(2) {
        /// The rules.
        creations: Vec<AclCreation>, since(0);
    }
}

structure! {
    /// One rule.
    AclCreation {
        /// The kind of resource.
        resource_type: i8, since(0);
        /// The resource's name, a prefix, or `*`.
        resource_name: Str, since(0);
        /// 3: literal, 4: prefixed.
        resource_pattern_type: i8 = 3, since(1);
        /// Who.
        principal: Str, since(0);
        /// From where.
        host: Str, since(0);
        /// What.
        operation: i8, since(0);
        /// 2: deny, 3: allow.
        permission_type: i8, since(0);
    }
}

message! {
    /// What became of them, in the request's order.
    CreateAclsResponse, versions(1, 3), flexible(2) {
        /// How long the client was throttled, milliseconds.
        throttle_time_ms: i32, since(0);
        /// The results.
        results: Vec<AclCreationResult>, since(0);
    }
}

structure! {
    /// What became of one rule.
    AclCreationResult {
        /// The error, or 0.
        error_code: i16, since(0);
        /// What was wrong.
        error_message: Option<Str> = Some(Str::EMPTY), since(0).null(0);
    }
}
