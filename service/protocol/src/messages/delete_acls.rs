//! DeleteAcls (key 31): removes the access rules that fit filters (KIP-140, 290).

use crate::Str;
use crate::describe::{api, message, structure};

api!(31, DeleteAclsRequest => DeleteAclsResponse);

message! {
    /// The filters.
    DeleteAclsRequest, versions(1, 3), flexible(2) {
        /// The filters.
        filters: Vec<DeleteAclsFilter>, since(0);
    }
}

structure! {
    /// One filter, as in DescribeAcls.
    DeleteAclsFilter {
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
    /// What was removed, in the order of the filters.
    DeleteAclsResponse, versions(1, 3), flexible(2) {
        /// How long the client was throttled, milliseconds.
        throttle_time_ms: i32, since(0);
        /// The results by filter.
        filter_results: Vec<DeleteAclsFilterResult>, since(0);
    }
}

structure! {
    /// What one filter removed.
    DeleteAclsFilterResult {
        /// The error, or 0.
        error_code: i16, since(0);
        /// What was wrong.
        error_message: Option<Str> = Some(Str::EMPTY), since(0).null(0);
        /// The rules that it met.
        matching_acls: Vec<DeleteAclsMatchingAcl>, since(0);
    }
}

structure! {
    /// One removed rule.
    DeleteAclsMatchingAcl {
        /// The error, or 0.
        error_code: i16, since(0);
        /// What was wrong.
        error_message: Option<Str> = Some(Str::EMPTY), since(0).null(0);
        /// The kind of resource.
        resource_type: i8, since(0);
        /// The resource's name, a prefix, or `*`.
        resource_name: Str, since(0);
        /// 3: literal, 4: prefixed.
        pattern_type: i8 = 3, since(1);
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
