//! UpdateFeatures (key 57): agrees on other levels of features (KIP-584); 1 can check only (KIP-778), 2 answers for all
//! features together.

use crate::Str;
use crate::describe::{api, message, structure};

api!(57, UpdateFeaturesRequest => UpdateFeaturesResponse);

message! {
    /// The levels to agree on.
    UpdateFeaturesRequest, versions(0, 2), flexible(0) {
        /// How long to wait, milliseconds.
        timeout_ms: i32 = 60_000, since(0);
        /// The levels by feature.
        feature_updates: Vec<FeatureUpdateKey>, since(0);
        /// Only check them.
        validate_only: bool, since(1);
    }
}

structure! {
    /// One feature's level.
    FeatureUpdateKey {
        /// The feature.
        feature: Str, since(0);
        /// The level; 0 takes the feature away.
        max_version_level: i16, since(0);
        /// May the level become lower?
        allow_downgrade: bool, between(0, 0);
        /// 1: only higher, 2: lower if nothing is lost, 3: lower whatever is lost.
        upgrade_type: i8 = 1, since(1);
    }
}

message! {
    /// What became of them.
    UpdateFeaturesResponse, versions(0, 2), flexible(0) {
        /// How long the client was throttled, milliseconds.
        throttle_time_ms: i32, since(0);
        /// The error of the whole request, or 0.
        error_code: i16, since(0);
        /// What was wrong.
        error_message: Option<Str> = Some(Str::EMPTY), since(0).null(0);
        /// The results by feature.
        results: Vec<UpdatableFeatureResult>, between(0, 1).ignorable();
    }
}

structure! {
    /// One feature's result.
    UpdatableFeatureResult {
        /// The feature.
        feature: Str, since(0);
        /// The error, or 0.
        error_code: i16, since(0);
        /// What was wrong.
        error_message: Option<Str> = Some(Str::EMPTY), since(0).null(0);
    }
}
