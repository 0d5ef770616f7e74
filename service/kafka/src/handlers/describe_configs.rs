//! DescribeConfigs (key 32): settings of topics, of groups and of this broker, with their origin.

use tidelog_broker::{BrokerError, TopicRef};
use tidelog_metadata::{Described, Synonym};
use tidelog_protocol::Str;
use tidelog_protocol::messages::{
    DescribeConfigsRequest, DescribeConfigsResource, DescribeConfigsResourceResult, DescribeConfigsResponse,
    DescribeConfigsResult, DescribeConfigsSynonym,
};

use super::resource::ConfigResource;
use crate::answer::{Hangup, Waiting};
use crate::request::{Request, sentence};

pub(crate) async fn handle(request: Request<'_>, message: DescribeConfigsRequest) -> Result<Waiting, Hangup> {
    let results = message
        .resources
        .into_iter()
        .map(|resource| {
            let found = find(&request, &resource);
            result(resource, found, message.include_synonyms, message.include_documentation)
        })
        .collect();
    request.ready(&DescribeConfigsResponse { results, ..Default::default() })
}

fn find(request: &Request<'_>, resource: &DescribeConfigsResource) -> Result<Vec<Described>, BrokerError> {
    let broker = &request.session.broker;
    match ConfigResource::from_wire(resource.resource_type, &resource.resource_name)? {
        ConfigResource::Topic(name) => broker.topic_configs(&request.caller, &TopicRef::from(name)),
        ConfigResource::Broker(name) => broker.broker_configs(&request.caller, name),
        ConfigResource::Loggers(name) => broker.loggers(&request.caller, name),
        ConfigResource::ClientMetrics(name) => broker.client_metrics(&request.caller, name),
        ConfigResource::Group(name) => broker.group_configs(&request.caller, name),
    }
}

fn result(
    resource: DescribeConfigsResource,
    found: Result<Vec<Described>, BrokerError>,
    synonyms: bool,
    documentation: bool,
) -> DescribeConfigsResult {
    let base = DescribeConfigsResult {
        resource_type: resource.resource_type,
        resource_name: resource.resource_name,
        error_message: None,
        ..Default::default()
    };
    match found {
        Err(error) => DescribeConfigsResult { error_code: error.error.code(), error_message: sentence(&error), ..base },
        Ok(configs) => {
            // An empty list asks for all, as a missing one does.
            let keys = resource.configuration_keys.filter(|keys| !keys.is_empty());
            let wanted = |name: &str| keys.as_ref().is_none_or(|keys| keys.iter().any(|key| *key == *name));
            let configs = configs.iter().filter(|config| wanted(&config.name));
            DescribeConfigsResult { configs: configs.map(|c| entry(c, synonyms, documentation)).collect(), ..base }
        }
    }
}

fn entry(config: &Described, synonyms: bool, documentation: bool) -> DescribeConfigsResourceResult {
    DescribeConfigsResourceResult {
        name: Str::from(&config.name),
        value: config.value.as_ref().map(Str::from),
        read_only: config.read_only,
        config_source: config.source.code(),
        synonyms: if synonyms { config.synonyms.iter().map(synonym).collect() } else { Vec::new() },
        is_sensitive: config.is_secret(),
        config_type: config.type_code(),
        documentation: documentation.then(|| Str::from(config.documentation())),
        ..Default::default()
    }
}

fn synonym(synonym: &Synonym) -> DescribeConfigsSynonym {
    DescribeConfigsSynonym {
        name: Str::from(&synonym.name),
        value: synonym.value.as_ref().map(Str::from),
        source: synonym.source.code(),
        ..Default::default()
    }
}
