//! ListConfigResources (key 74): what has a configuration (KIP-1142); 0 lists only client metrics (KIP-1000).

use crate::Str;
use crate::describe::{api, message, structure};

api!(74, ListConfigResourcesRequest => ListConfigResourcesResponse);

message! {
    /// Which kinds.
    ListConfigResourcesRequest, versions(0, 1), flexible(0) {
        /// As in DescribeConfigs; none is all.
        resource_types: Vec<i8>, since(1);
    }
}

message! {
    /// The resources.
    ListConfigResourcesResponse, versions(0, 1), flexible(0) {
        /// How long the client was throttled, milliseconds.
        throttle_time_ms: i32, since(0);
        /// The error, or 0.
        error_code: i16, since(0);
        /// The resources.
        config_resources: Vec<ListedConfigResource>, since(0);
    }
}

structure! {
    /// One resource.
    ListedConfigResource {
        /// Its name.
        resource_name: Str, since(0);
        /// Its kind.
        resource_type: i8 = 16, since(1).ignorable();
    }
}
