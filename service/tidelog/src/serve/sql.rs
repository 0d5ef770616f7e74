//! SQL for the gateway: its port, answered by the query engine.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::value::RawValue;
use tidelog_broker::{Broker, TopicRef};
use tidelog_gateway::{PortError, PortFuture, SqlAnswer, SqlColumn, SqlPort};
use tidelog_model::{Caller, KafkaError};
use tidelog_query::{QueryAnswer, QueryEngine, QueryError};

/// The engine behind the gateway's port.
pub(super) struct Sql {
    pub(super) engine: QueryEngine,
    pub(super) broker: Broker,
}

impl SqlPort for Sql {
    fn query<'a>(&'a self, caller: &'a Caller, sql: &'a str) -> PortFuture<'a, SqlAnswer> {
        let (broker, caller) = (self.broker.clone(), caller.clone());
        let may_read =
            Arc::new(move |topic: &tidelog_model::TopicName| broker.may_read(&caller, &TopicRef::from(topic.as_str())));
        Box::pin(async move {
            let answer = self.engine.query(sql, may_read).await.map_err(|error| port_error(&error))?;
            let columns = answer.columns().iter();
            let columns = columns.map(|c| SqlColumn { name: c.name.clone(), kind: c.kind.clone() }).collect();
            let rows =
                rows_of(&answer).map_err(|error| PortError::new(KafkaError::UnknownServerError, error.to_string()))?;
            Ok(SqlAnswer { columns, rows })
        })
    }
}

/// The rows as the engine writes them, unparsed.
fn rows_of(answer: &QueryAnswer) -> serde_json::Result<Box<RawValue>> {
    #[derive(Deserialize)]
    struct Whole {
        rows: Box<RawValue>,
    }
    let whole: Whole = serde_json::from_str(&serde_json::to_string(answer)?)?;
    Ok(whole.rows)
}

fn port_error(error: &QueryError) -> PortError {
    let kafka = match error {
        QueryError::Sql(_) | QueryError::ReadOnly(_) | QueryError::TooLarge(_) => KafkaError::InvalidRequest,
        QueryError::NotATable { .. } => KafkaError::InvalidConfig,
        QueryError::UnknownTopic { .. } => KafkaError::UnknownTopicOrPartition,
        QueryError::Denied(_) => KafkaError::TopicAuthorizationFailed,
        QueryError::Unavailable(_) => KafkaError::BrokerNotAvailable,
        QueryError::Time(_) => KafkaError::RequestTimedOut,
        QueryError::Memory(_) => KafkaError::ThrottlingQuotaExceeded,
        QueryError::Internal(_) => KafkaError::UnknownServerError,
    };
    PortError::new(kafka, error.to_string())
}
