//! AlterClientQuotas (key 49, KIP-546).

use std::collections::BTreeMap;

use tidelog_broker::BrokerError;
use tidelog_model::{KafkaError, QuotaEntity};
use tidelog_protocol::messages::{
    AlterClientQuotasRequest, AlterClientQuotasResponse, AlteredQuotas, AlteredQuotasResult,
};

use crate::answer::{Hangup, Waiting};
use crate::request::{Request, code, sentence};

pub(crate) async fn handle(request: Request<'_>, message: AlterClientQuotasRequest) -> Result<Waiting, Hangup> {
    let entities: Vec<Result<QuotaEntity, BrokerError>> = message.entries.iter().map(entity).collect();
    let mut times: BTreeMap<&QuotaEntity, usize> = BTreeMap::new();
    for entity in entities.iter().flatten() {
        *times.entry(entity).or_default() += 1;
    }
    let mut entries = Vec::with_capacity(message.entries.len());
    for (entry, entity) in message.entries.iter().zip(&entities) {
        let error = match entity {
            Err(error) => Some(error.clone()),
            Ok(entity) if times.get(entity).is_some_and(|times| *times > 1) => {
                Some(BrokerError::new(KafkaError::InvalidRequest, "the request names this entity more than once"))
            }
            Ok(entity) => alter(&request, entity, entry, message.validate_only).await.err(),
        };
        entries.push(AlteredQuotasResult {
            error_code: code(error.as_ref()),
            error_message: error.as_ref().and_then(sentence),
            entity: entry.entity.clone(),
            ..Default::default()
        });
    }
    request.ready(&AlterClientQuotasResponse { entries, ..Default::default() })
}

fn entity(entry: &AlteredQuotas) -> Result<QuotaEntity, BrokerError> {
    let parts = entry.entity.iter().map(|part| (part.entity_type.as_str(), part.entity_name.as_deref()));
    QuotaEntity::new(parts).map_err(|invalid| BrokerError::new(KafkaError::InvalidRequest, invalid.to_string()))
}

async fn alter(
    request: &Request<'_>,
    entity: &QuotaEntity,
    entry: &AlteredQuotas,
    validate_only: bool,
) -> Result<(), BrokerError> {
    let changes: Vec<_> =
        entry.ops.iter().map(|op| (op.key.to_string(), if op.remove { None } else { Some(op.value) })).collect();
    request.session.broker.alter_quotas(&request.caller, entity, &changes, validate_only).await
}
