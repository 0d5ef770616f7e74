//! IncrementalAlterConfigs (key 44): changes single configuration entries (KIP-339).

use crate::Str;
use crate::describe::{api, message, structure};

api!(44, IncrementalAlterConfigsRequest => IncrementalAlterConfigsResponse);

message! {
    /// The changes.
    IncrementalAlterConfigsRequest, versions(0, 1), flexible(1) {
        /// The changes by resource.
        resources: Vec<AlterConfigsResource>, since(0);
        /// Only check them.
        validate_only: bool, since(0);
    }
}

structure! {
    /// One resource's changes.
    AlterConfigsResource {
        /// As in DescribeConfigs.
        resource_type: i8, since(0);
        /// Its name.
        resource_name: Str, since(0);
        /// The changes.
        configs: Vec<AlterableConfig>, since(0);
    }
}

structure! {
    /// One change.
    AlterableConfig {
        /// The entry's name.
        name: Str, since(0);
        /// 0: set, 1: delete, 2: append, 3: subtract.
        config_operation: i8, since(0);
        /// The value, or null.
        value: Option<Str> = Some(Str::EMPTY), since(0).null(0);
    }
}

message! {
    /// What became of the changes.
    IncrementalAlterConfigsResponse, versions(0, 1), flexible(1) {
        /// How long the client was throttled, milliseconds.
        throttle_time_ms: i32, since(0);
        /// The results by resource.
        responses: Vec<AlterConfigsResourceResponse>, since(0);
    }
}

structure! {
    /// One resource's result.
    AlterConfigsResourceResponse {
        /// The error, or 0.
        error_code: i16, since(0);
        /// What was wrong.
        error_message: Option<Str> = Some(Str::EMPTY), since(0).null(0);
        /// As in the request.
        resource_type: i8, since(0);
        /// Its name.
        resource_name: Str, since(0);
    }
}
