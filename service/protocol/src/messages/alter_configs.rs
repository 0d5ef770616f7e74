//! AlterConfigs (key 33): replaces all settings of a resource; what the request does not name goes back to its default.
//! IncrementalAlterConfigs is its successor (KIP-339).

use crate::Str;
use crate::describe::{api, message, structure};

api!(33, AlterConfigsRequest => AlterConfigsResponse);

message! {
    /// The settings that shall remain.
    AlterConfigsRequest, versions(0, 2), flexible(2) {
        /// The settings by resource.
        resources: Vec<ReplacedConfigsResource>, since(0);
        /// Only check them.
        validate_only: bool, since(0);
    }
}

structure! {
    /// One resource's settings.
    ReplacedConfigsResource {
        /// As in DescribeConfigs.
        resource_type: i8, since(0);
        /// Its name.
        resource_name: Str, since(0);
        /// All its settings.
        configs: Vec<ReplacedConfig>, since(0);
    }
}

structure! {
    /// One setting.
    ReplacedConfig {
        /// The entry's name.
        name: Str, since(0);
        /// The value, or null.
        value: Option<Str> = Some(Str::EMPTY), since(0).null(0);
    }
}

message! {
    /// What became of them.
    AlterConfigsResponse, versions(0, 2), flexible(2) {
        /// How long the client was throttled, milliseconds.
        throttle_time_ms: i32, since(0);
        /// The results by resource.
        responses: Vec<ReplacedConfigsResourceResponse>, since(0);
    }
}

structure! {
    /// One resource's result.
    ReplacedConfigsResourceResponse {
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
