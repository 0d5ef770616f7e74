//! ApiVersions (key 18): the API table and the features (KIP-584) as clients see them. Allowed before anything else.

use tidelog_broker::FeaturesDescription;
use tidelog_metadata::features::FeatureLevel;
use tidelog_model::KafkaError;
use tidelog_protocol::messages::{
    ApiVersion, ApiVersionsRequest, ApiVersionsResponse, FinalizedFeatureKey, SupportedFeatureKey,
};
use tidelog_protocol::{Str, TABLE};

use crate::answer::{Hangup, Waiting};
use crate::request::Request;

pub(crate) fn handle(request: &Request<'_>, message: &ApiVersionsRequest) -> Result<Waiting, Hangup> {
    let named = request.header.version < 3
        || (is_software_name(&message.client_software_name) && is_software_name(&message.client_software_version));
    if !named {
        let error_code = KafkaError::InvalidRequest.code();
        return request.ready(&ApiVersionsResponse { error_code, ..Default::default() });
    }
    let FeaturesDescription { levels, epoch } = request.session.broker.features(&request.caller);
    request.ready(&ApiVersionsResponse {
        api_keys: table(),
        supported_features: supported(&levels, request.header.version),
        finalized_features_epoch: epoch,
        finalized_features: finalized(&levels),
        ..Default::default()
    })
}

/// What this broker can work with. Clients that speak versions before 4 fail on a range that begins at 0 (KAFKA-17011).
fn supported(levels: &[FeatureLevel], version: i16) -> Vec<SupportedFeatureKey> {
    levels
        .iter()
        .map(|one| one.feature)
        .filter(|feature| version >= 4 || feature.min > 0)
        .map(|feature| SupportedFeatureKey {
            name: Str::from(feature.name),
            min_version: feature.min,
            max_version: feature.level,
            ..Default::default()
        })
        .collect()
}

/// What the cluster has agreed on; level 0 is nothing.
fn finalized(levels: &[FeatureLevel]) -> Vec<FinalizedFeatureKey> {
    levels
        .iter()
        .filter(|one| one.level > 0)
        .map(|one| FinalizedFeatureKey {
            name: Str::from(one.feature.name),
            max_version_level: one.level,
            min_version_level: one.level,
            ..Default::default()
        })
        .collect()
}

/// The answer to a version that is not served (KIP-511): the range of ApiVersions itself.
pub(crate) fn unsupported() -> ApiVersionsResponse {
    ApiVersionsResponse { error_code: KafkaError::UnsupportedVersion.code(), api_keys: table(), ..Default::default() }
}

fn table() -> Vec<ApiVersion> {
    TABLE
        .iter()
        .map(|row| ApiVersion {
            api_key: row.key.code(),
            min_version: row.advertised.min,
            max_version: row.advertised.max,
            ..Default::default()
        })
        .collect()
}

/// KIP-511: letters and digits at both ends, `-` and `.` between.
fn is_software_name(name: &str) -> bool {
    let ends = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    ends(name.chars().next())
        && ends(name.chars().next_back())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '.')
}

#[cfg(test)]
mod tests {
    use tidelog_metadata::features::Feature;

    use super::*;

    #[test]
    fn features_that_begin_at_0_are_for_clients_that_understand_them() {
        static FEATURES: [Feature; 3] = [
            Feature { name: "a", min: 0, level: 2, lowest: 2 },
            Feature { name: "b", min: 1, level: 1, lowest: 1 },
            Feature { name: "c", min: 1, level: 3, lowest: 0 },
        ];
        let level = |feature: &'static Feature, level| FeatureLevel { feature, level };
        let levels = [level(&FEATURES[0], 2), level(&FEATURES[1], 1), level(&FEATURES[2], 0)];
        let names = |version| -> Vec<String> {
            supported(&levels, version).iter().map(|feature| feature.name.to_string()).collect()
        };
        assert_eq!(
            (names(3), names(4)),
            (["b", "c"].map(str::to_owned).into(), ["a", "b", "c"].map(str::to_owned).into())
        );
        let levels: Vec<i16> = finalized(&levels).iter().map(|feature| feature.max_version_level).collect();
        assert_eq!(levels, [2, 1], "level 0 is none");
    }

    #[test]
    fn software_names_follow_the_kip() {
        for good in ["librdkafka", "2.12.1", "a", "apache-kafka-java"] {
            assert!(is_software_name(good), "{good}");
        }
        for bad in ["", "-a", "a.", "a b", "ä"] {
            assert!(!is_software_name(bad), "{bad}");
        }
    }
}
