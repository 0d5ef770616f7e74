//! Which version of an API a connection uses: the highest that both sides have.

use tidelog_protocol::messages::ApiVersionsResponse;
use tidelog_protocol::{Request, Versions};

use crate::ClientError;

/// What a server announced in its ApiVersions answer.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ServerVersions {
    ranges: Vec<(i16, Versions)>,
}

impl ServerVersions {
    /// The announced ranges.
    pub fn new(response: &ApiVersionsResponse) -> Self {
        let ranges = response.api_keys.iter();
        ServerVersions {
            ranges: ranges.map(|api| (api.api_key, Versions::new(api.min_version, api.max_version))).collect(),
        }
    }

    /// Forbids versions of an API above `max`.
    pub fn cap(&mut self, key: i16, max: i16) {
        for (_, versions) in self.ranges.iter_mut().filter(|(api, _)| *api == key) {
            versions.max = versions.max.min(max);
        }
    }

    /// The server's versions of an API.
    pub fn of(&self, key: i16) -> Option<Versions> {
        self.ranges.iter().find(|(api, _)| *api == key).map(|(_, versions)| *versions)
    }

    /// The version to use for a request, at most `max`.
    pub fn choose<R: Request>(&self, max: i16) -> Result<i16, ClientError> {
        let ours = Versions::new(R::VERSIONS.min, R::VERSIONS.max.min(max));
        let server = self.of(R::KEY);
        server.and_then(|versions| ours.highest_common(versions)).ok_or(ClientError::Version {
            api: tidelog_protocol::api::kafka_name(R::KEY).unwrap_or(R::NAME),
            server,
            ours,
        })
    }
}

#[cfg(test)]
mod tests {
    use tidelog_protocol::messages::{ApiVersion, FetchRequest, ProduceRequest};

    use super::*;

    #[test]
    fn the_highest_common_version_is_chosen() {
        let api = |key, min, max| ApiVersion { api_key: key, min_version: min, max_version: max, ..Default::default() };
        let answer = ApiVersionsResponse { api_keys: vec![api(0, 0, 99), api(1, 90, 99)], ..Default::default() };
        let mut versions = ServerVersions::new(&answer);
        assert_eq!(versions.choose::<ProduceRequest>(i16::MAX), Ok(13));
        assert_eq!(versions.choose::<ProduceRequest>(12), Ok(12));
        versions.cap(0, 7);
        assert_eq!(versions.choose::<ProduceRequest>(12), Ok(7));
        assert!(matches!(versions.choose::<FetchRequest>(99), Err(ClientError::Version { api: "Fetch", .. })));
        let none = ServerVersions::default().choose::<FetchRequest>(99).unwrap_err().to_string();
        assert!(none.contains("Fetch in no version"), "{none}");
    }
}
