//! DescribeAcls (key 29): the access rules that fit a filter (KIP-140); prefixed ones since version 1 (KIP-290).

use crate::Str;
use crate::describe::{api, message, structure};

api!(29, DescribeAclsRequest => DescribeAclsResponse);

message! {
    /// The filter.
    DescribeAclsRequest, versions(1, 3), flexible(2) {
        /// The kind of resource; 1 is any.
        resource_type_filter: i8, since(0);
        /// The resource's name; null is any.
        resource_name_filter: Option<Str> = Some(Str::EMPTY), since(0).null(0);
        /// 1: any, 2: every rule that meets a resource of this name, 3: literal, 4: prefixed.
        pattern_type_filter: i8 = 3, since(1);
        /// The principal; null is any.
        principal_filter: Option<Str> = Some(Str::EMPTY), since(0).null(0);
        /// The host; null is any.
        host_filter: Option<Str> = Some(Str::EMPTY), since(0).null(0);
        /// The operation; 1 is any.
        operation: i8, since(0);
        /// 1: any, 2: deny, 3: allow.
        permission_type: i8, since(0);
    }
}

message! {
    /// The rules.
    DescribeAclsResponse, versions(1, 3), flexible(2) {
        /// How long the client was throttled, milliseconds.
        throttle_time_ms: i32, since(0);
        /// The error, or 0.
        error_code: i16, since(0);
        /// What was wrong.
        error_message: Option<Str> = Some(Str::EMPTY), since(0).null(0);
        /// The rules by resource.
        resources: Vec<DescribeAclsResource>, since(0);
    }
}

structure! {
    /// The rules of one resource.
    DescribeAclsResource {
        /// Its kind.
        resource_type: i8, since(0);
        /// Its name.
        resource_name: Str, since(0);
        /// 3: literal, 4: prefixed.
        pattern_type: i8 = 3, since(1);
        /// The rules.
        acls: Vec<AclDescription>, since(0);
    }
}

structure! {
    /// One rule.
    AclDescription {
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
