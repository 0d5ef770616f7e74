//! IncrementalAlterConfigs (key 44, KIP-339).

use tidelog_broker::{Alteration, BrokerError};
use tidelog_metadata::decide::{ConfigChange, ConfigOperation};
use tidelog_model::KafkaError;
use tidelog_protocol::messages::{
    AlterConfigsResource, AlterConfigsResourceResponse, AlterableConfig, IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsResponse,
};

use super::resource::{ConfigResource, Once};
use crate::answer::{Hangup, Waiting};
use crate::request::{Request, code, sentence};

pub(crate) async fn handle(request: Request<'_>, message: IncrementalAlterConfigsRequest) -> Result<Waiting, Hangup> {
    let once = Once::new(message.resources.iter().map(|resource| (resource.resource_type, &resource.resource_name)));
    let mut altered = Vec::with_capacity(message.resources.len());
    for resource in &message.resources {
        altered.push(match once.check(resource.resource_type, &resource.resource_name) {
            Ok(()) => alter(&request, resource, message.validate_only).await,
            Err(repeated) => Err(repeated),
        });
    }
    let held = Alteration::all_hold(altered).await;
    let response = |(resource, held): (&AlterConfigsResource, Result<(), BrokerError>)| {
        let error = held.err();
        AlterConfigsResourceResponse {
            error_code: code(error.as_ref()),
            error_message: error.as_ref().and_then(sentence),
            resource_type: resource.resource_type,
            resource_name: resource.resource_name.clone(),
            ..Default::default()
        }
    };
    let responses = message.resources.iter().zip(held).map(response).collect();
    request.ready(&IncrementalAlterConfigsResponse { responses, ..Default::default() })
}

async fn alter(
    request: &Request<'_>,
    resource: &AlterConfigsResource,
    validate_only: bool,
) -> Result<Alteration, BrokerError> {
    let holds = |()| Alteration::default();
    let changes = resource.configs.iter().map(change).collect::<Result<Vec<_>, _>>()?;
    let broker = &request.session.broker;
    match ConfigResource::from_wire(resource.resource_type, &resource.resource_name)? {
        ConfigResource::Topic(name) => broker.alter_topic_configs(&request.caller, name, changes, validate_only).await,
        ConfigResource::Broker(name) => {
            broker.alter_broker_configs(&request.caller, name, changes, validate_only).await
        }
        ConfigResource::Loggers(name) => {
            broker.alter_loggers(&request.caller, name, &changes, validate_only).map(holds)
        }
        ConfigResource::ClientMetrics(name) => {
            broker.alter_client_metrics(&request.caller, name, changes, validate_only).await.map(holds)
        }
        ConfigResource::Group(name) => {
            broker.alter_group_configs(&request.caller, name, changes, validate_only).await.map(holds)
        }
    }
}

fn change(config: &AlterableConfig) -> Result<ConfigChange, BrokerError> {
    let operation = ConfigOperation::from_code(config.config_operation).ok_or_else(|| {
        let reason = format!("Unknown operations type {}", config.config_operation);
        BrokerError::new(KafkaError::InvalidRequest, reason)
    })?;
    Ok(ConfigChange {
        name: config.name.to_string(),
        operation,
        value: config.value.as_ref().map(|value| value.to_string()),
    })
}
