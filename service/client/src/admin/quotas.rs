//! Quotas of users, client ids and addresses (KIP-546).

use tidelog_model::KafkaError;
use tidelog_protocol::Str;
use tidelog_protocol::messages::{
    AlterClientQuotasRequest, AlteredQuota, AlteredQuotas, DescribeClientQuotasRequest, QuotaEntityPart,
};

use crate::{Client, ClientError};

/// Whom quotas are for: parts of a type (`user`, `client-id`, `ip`) with a name; no name is the default.
pub type QuotaEntity = Vec<(String, Option<String>)>;

/// One entity's quotas.
#[derive(Debug, Clone, PartialEq)]
pub struct EntityQuotas {
    /// The entity.
    pub entity: QuotaEntity,
    /// Its quotas by name.
    pub quotas: Vec<(String, f64)>,
}

impl Client {
    /// Every quota that is set.
    pub async fn describe_quotas(&self) -> Result<Vec<EntityQuotas>, ClientError> {
        let response = self.call(&DescribeClientQuotasRequest::default()).await?;
        ClientError::check(response.error_code, || "quotas".into(), response.error_message.as_deref())?;
        let entries = response.entries.unwrap_or_default().into_iter().map(|entry| EntityQuotas {
            entity: entry
                .entity
                .into_iter()
                .map(|part| (text(&part.entity_type), part.entity_name.as_ref().map(text)))
                .collect(),
            quotas: entry.values.into_iter().map(|value| (text(&value.key), value.value)).collect(),
        });
        Ok(entries.collect())
    }

    /// Changes one entity's quotas, all or none; no value removes a quota.
    pub async fn alter_quotas(
        &self,
        entity: &QuotaEntity,
        changes: &[(String, Option<f64>)],
        validate_only: bool,
    ) -> Result<(), ClientError> {
        let part = |(kind, name): &(String, Option<String>)| QuotaEntityPart {
            entity_type: Str::from(kind),
            entity_name: name.as_ref().map(Str::from),
            ..Default::default()
        };
        let op = |(key, value): &(String, Option<f64>)| AlteredQuota {
            key: Str::from(key),
            value: value.unwrap_or_default(),
            remove: value.is_none(),
            ..Default::default()
        };
        let entry = AlteredQuotas {
            entity: entity.iter().map(part).collect(),
            ops: changes.iter().map(op).collect(),
            ..Default::default()
        };
        let request = AlterClientQuotasRequest { entries: vec![entry], validate_only, ..Default::default() };
        let response = self.call(&request).await?;
        let what = || "quotas".to_owned();
        let answer = response.entries.first();
        let answer = answer.ok_or_else(|| {
            ClientError::kafka(KafkaError::UnknownServerError, what(), Some("the answer lacks the entity"))
        })?;
        ClientError::check(answer.error_code, what, answer.error_message.as_deref())
    }
}

fn text(text: &Str) -> String {
    text.as_str().to_owned()
}
