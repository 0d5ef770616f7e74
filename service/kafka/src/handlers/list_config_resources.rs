//! ListConfigResources (key 74): what has a configuration (KIP-1142).

use tidelog_broker::{BrokerError, ConfigResourceKind};
use tidelog_model::KafkaError;
use tidelog_protocol::Str;
use tidelog_protocol::messages::{ListConfigResourcesRequest, ListConfigResourcesResponse, ListedConfigResource};

use crate::answer::{Hangup, Waiting};
use crate::request::Request;

pub(crate) async fn handle(request: Request<'_>, message: ListConfigResourcesRequest) -> Result<Waiting, Hangup> {
    request.ready(&match list(&request, &message.resource_types) {
        Ok(config_resources) => ListConfigResourcesResponse { config_resources, ..Default::default() },
        Err(error) => ListConfigResourcesResponse { error_code: error.error.code(), ..Default::default() },
    })
}

fn list(request: &Request<'_>, asked: &[i8]) -> Result<Vec<ListedConfigResource>, BrokerError> {
    let kinds: Vec<ConfigResourceKind> = if request.header.version == 0 {
        vec![ConfigResourceKind::ClientMetrics]
    } else if asked.is_empty() {
        ConfigResourceKind::ALL.to_vec()
    } else {
        let known: Option<_> = asked.iter().map(|code| ConfigResourceKind::from_code(*code)).collect();
        known.ok_or(KafkaError::UnsupportedVersion)?
    };
    let mut listed = Vec::new();
    for kind in kinds {
        let names = request.session.broker.config_resources(&request.caller, kind)?;
        listed.extend(names.iter().map(|name| ListedConfigResource {
            resource_name: Str::from(name),
            resource_type: kind.code(),
            ..Default::default()
        }));
    }
    Ok(listed)
}
