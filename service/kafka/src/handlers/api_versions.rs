//! ApiVersions (key 18): the API table as clients see it. Allowed before anything else.

use tidelog_model::KafkaError;
use tidelog_protocol::TABLE;
use tidelog_protocol::messages::{ApiVersion, ApiVersionsRequest, ApiVersionsResponse};

use crate::answer::{Hangup, Waiting};
use crate::request::Request;

pub(crate) fn handle(request: &Request<'_>, message: &ApiVersionsRequest) -> Result<Waiting, Hangup> {
    let named = request.header.version < 3
        || (is_software_name(&message.client_software_name) && is_software_name(&message.client_software_version));
    let error = if named { KafkaError::None } else { KafkaError::InvalidRequest };
    request.ready(&ApiVersionsResponse {
        error_code: error.code(),
        api_keys: if named { table() } else { Vec::new() },
        ..Default::default()
    })
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
    use super::*;

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
