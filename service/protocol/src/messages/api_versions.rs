//! ApiVersions (key 18): what the server speaks, the first request on most connections. The response's header has no
//! tags in any version, and an unknown request version is answered in version 0 (KIP-511). 3 names the client's
//! software; 3 and 4 carry features (KIP-584), 4 also those whose lowest level is 0.

use crate::Str;
use crate::describe::{api, message, structure};

api!(18, ApiVersionsRequest => ApiVersionsResponse);

message! {
    /// Who asks.
    ApiVersionsRequest, versions(0, 4), flexible(3) {
        /// The client's software.
        client_software_name: Str, since(3).ignorable();
        /// Its version.
        client_software_version: Str, since(3).ignorable();
    }
}

message! {
    /// The served APIs and features.
    ApiVersionsResponse, versions(0, 4), flexible(3) {
        /// The error, or 0.
        error_code: i16, since(0);
        /// The served APIs.
        api_keys: Vec<ApiVersion>, since(0);
        /// How long the client was throttled, milliseconds.
        throttle_time_ms: i32, since(1).ignorable();
        /// Features that the server has.
        supported_features: Vec<SupportedFeatureKey>, since(3).tag(0).ignorable();
        /// Epoch of the finalized features, or −1.
        finalized_features_epoch: i64 = -1, since(3).tag(1).ignorable();
        /// Features that the cluster has agreed on.
        finalized_features: Vec<FinalizedFeatureKey>, since(3).tag(2).ignorable();
        /// Set by controllers that can migrate from ZooKeeper.
        zk_migration_ready: bool, since(3).tag(3).ignorable();
    }
}

structure! {
    /// One API's versions.
    ApiVersion {
        /// The API's key.
        api_key: i16, since(0);
        /// The first served version.
        min_version: i16, since(0);
        /// The last served version.
        max_version: i16, since(0);
    }
}

structure! {
    /// A feature that the server has.
    SupportedFeatureKey {
        /// The feature's name.
        name: Str, since(0);
        /// The lowest level.
        min_version: i16, since(0);
        /// The highest level.
        max_version: i16, since(0);
    }
}

structure! {
    /// A feature that the cluster has agreed on.
    FinalizedFeatureKey {
        /// The feature's name.
        name: Str, since(0);
        /// The highest agreed level.
        max_version_level: i16, since(0);
        /// The lowest agreed level.
        min_version_level: i16, since(0);
    }
}
