//! DescribeClientQuotas (key 48, KIP-546).

use tidelog_broker::{BrokerError, QuotaFilter, QuotaMatch};
use tidelog_model::{KafkaError, QuotaEntity};
use tidelog_protocol::Str;
use tidelog_protocol::messages::{
    DescribeClientQuotasRequest, DescribeClientQuotasResponse, DescribedQuota, DescribedQuotas, QuotaEntityPart,
    QuotaFilterComponent,
};

use crate::answer::{Hangup, Waiting};
use crate::request::{Request, sentence};

pub(crate) async fn handle(request: Request<'_>, message: DescribeClientQuotasRequest) -> Result<Waiting, Hangup> {
    let strict = message.strict;
    let parts: Result<Vec<_>, BrokerError> = message.components.iter().map(part).collect();
    let described =
        parts.and_then(|parts| request.session.broker.describe_quotas(&request.caller, &QuotaFilter { parts, strict }));
    request.ready(&match described {
        Ok(found) => DescribeClientQuotasResponse {
            error_message: None,
            entries: Some(
                found
                    .iter()
                    .map(|(entity, quotas)| DescribedQuotas {
                        entity: entity_parts(entity),
                        values: quotas
                            .iter()
                            .map(|(name, value)| DescribedQuota {
                                key: Str::from(name),
                                value: *value,
                                ..Default::default()
                            })
                            .collect(),
                        ..Default::default()
                    })
                    .collect(),
            ),
            ..Default::default()
        },
        Err(error) => DescribeClientQuotasResponse {
            error_code: error.error.code(),
            error_message: sentence(&error),
            entries: None,
            ..Default::default()
        },
    })
}

fn part(component: &QuotaFilterComponent) -> Result<(String, QuotaMatch), BrokerError> {
    let refuse = |message: String| Err(BrokerError::new(KafkaError::InvalidRequest, message));
    let wanted = match (component.match_type, &component.match_name) {
        (0, Some(name)) => QuotaMatch::Exactly(Some(name.to_string())),
        (0, None) => return refuse("Request specified MATCH_TYPE_EXACT, but set match string to null.".into()),
        (1, None) => QuotaMatch::Exactly(None),
        (2, None) => QuotaMatch::Any,
        (1 | 2, Some(_)) => return refuse("This match type takes no match string.".into()),
        (other, _) => return refuse(format!("Unknown match type {other}")),
    };
    if !QuotaEntity::TYPES.contains(&component.entity_type.as_str()) {
        let message = format!("Custom entity type '{}' is not supported.", component.entity_type);
        return Err(BrokerError::new(KafkaError::UnsupportedVersion, message));
    }
    Ok((component.entity_type.to_string(), wanted))
}

fn entity_parts(entity: &QuotaEntity) -> Vec<QuotaEntityPart> {
    let part = |(kind, name): (&str, Option<&str>)| QuotaEntityPart {
        entity_type: Str::from(kind),
        entity_name: name.map(Str::from),
        ..Default::default()
    };
    entity.parts().map(part).collect()
}
