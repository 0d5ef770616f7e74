//! AlterConfigs (key 33): replaces the settings of topics, of groups and of this broker.

use tidelog_broker::{Alteration, BrokerError};
use tidelog_metadata::decide::ConfigEdit;
use tidelog_model::KafkaError;
use tidelog_protocol::messages::{
    AlterConfigsRequest, AlterConfigsResponse, ReplacedConfigsResource, ReplacedConfigsResourceResponse,
};

use super::resource::{ConfigResource, Once};
use crate::answer::{Hangup, Waiting};
use crate::request::{Request, code, sentence};

pub(crate) async fn handle(request: Request<'_>, message: AlterConfigsRequest) -> Result<Waiting, Hangup> {
    let once = Once::new(message.resources.iter().map(|resource| (resource.resource_type, &resource.resource_name)));
    let mut altered = Vec::with_capacity(message.resources.len());
    for resource in &message.resources {
        altered.push(match once.check(resource.resource_type, &resource.resource_name) {
            Ok(()) => replace(&request, resource, message.validate_only).await,
            Err(repeated) => Err(repeated),
        });
    }
    let held = Alteration::all_hold(altered).await;
    let response = |(resource, held): (&ReplacedConfigsResource, Result<(), BrokerError>)| {
        let error = held.err();
        ReplacedConfigsResourceResponse {
            error_code: code(error.as_ref()),
            error_message: error.as_ref().and_then(sentence),
            resource_type: resource.resource_type,
            resource_name: resource.resource_name.clone(),
            ..Default::default()
        }
    };
    let responses = message.resources.iter().zip(held).map(response).collect();
    request.ready(&AlterConfigsResponse { responses, ..Default::default() })
}

async fn replace(
    request: &Request<'_>,
    resource: &ReplacedConfigsResource,
    validate_only: bool,
) -> Result<Alteration, BrokerError> {
    let setting = |config: &tidelog_protocol::messages::ReplacedConfig| {
        (config.name.to_string(), config.value.as_ref().map(|value| value.to_string()))
    };
    let holds = |()| Alteration::default();
    let all = ConfigEdit::Replace(resource.configs.iter().map(setting).collect());
    let broker = &request.session.broker;
    match ConfigResource::from_wire(resource.resource_type, &resource.resource_name)? {
        ConfigResource::Topic(name) => broker.alter_topic_configs(&request.caller, name, all, validate_only).await,
        ConfigResource::Broker(name) => broker.alter_broker_configs(&request.caller, name, all, validate_only).await,
        ConfigResource::ClientMetrics(name) => {
            broker.alter_client_metrics(&request.caller, name, all, validate_only).await.map(holds)
        }
        ConfigResource::Group(name) => {
            broker.alter_group_configs(&request.caller, name, all, validate_only).await.map(holds)
        }
        // Kafka's answer: levels are changed one by one only.
        ConfigResource::Loggers(_) => {
            Err(BrokerError::new(KafkaError::InvalidRequest, "Unknown resource type BROKER_LOGGER"))
        }
    }
}
