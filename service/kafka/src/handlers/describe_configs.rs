//! DescribeConfigs (key 32): settings of topics, of groups and of this broker, with their origin.

use tidelog_broker::{BrokerError, TopicRef};
use tidelog_metadata::{Described, Synonym};
use tidelog_protocol::Str;
use tidelog_protocol::messages::{
    DescribeConfigsRequest, DescribeConfigsResource, DescribeConfigsResourceResult, DescribeConfigsResponse,
    DescribeConfigsResult, DescribeConfigsSynonym,
};

use super::repeated::merged;
use super::resource::ConfigResource;
use crate::answer::{Hangup, Waiting};
use crate::request::{Request, sentence};

pub(crate) async fn handle(request: Request<'_>, message: DescribeConfigsRequest) -> Result<Waiting, Hangup> {
    let results = once(message.resources)
        .into_iter()
        .map(|resource| {
            let found = find(&request, &resource);
            result(resource, found, message.include_synonyms, message.include_documentation)
        })
        .collect();
    request.ready(&DescribeConfigsResponse { results, ..Default::default() })
}

/// Each resource once, with all the keys that are asked for: what is told of one takes up to ten thousand times its name.
fn once(resources: Vec<DescribeConfigsResource>) -> Vec<DescribeConfigsResource> {
    merged(
        resources,
        |resource| (resource.resource_type, resource.resource_name.clone()),
        |first, other| {
            let both = some_keys(first.configuration_keys.take()).zip(some_keys(other.configuration_keys));
            first.configuration_keys = both.map(|(keys, others)| keys.into_iter().chain(others).collect());
        },
    )
}

/// An empty list asks for all, as a missing one does.
fn some_keys(keys: Option<Vec<Str>>) -> Option<Vec<Str>> {
    keys.filter(|keys| !keys.is_empty())
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
            let keys = some_keys(resource.configuration_keys);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resource_that_is_named_twice_is_described_once() {
        let resource = |name: &'static str, keys: Option<&[&'static str]>| DescribeConfigsResource {
            resource_type: 2,
            resource_name: Str::from_static(name),
            configuration_keys: keys.map(|keys| keys.iter().map(|key| Str::from_static(key)).collect()),
            ..Default::default()
        };
        let asked = vec![
            resource("t", Some(&["a"])),
            resource("u", Some(&["a"])),
            resource("t", Some(&["b"])),
            resource("u", Some(&[])),
        ];
        assert_eq!(once(asked), [resource("t", Some(&["a", "b"])), resource("u", None)]);
    }
}
