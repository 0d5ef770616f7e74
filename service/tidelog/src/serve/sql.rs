//! SQL for the gateway: its port, answered by the query engine.

use std::sync::Arc;

use tidelog_broker::Broker;
use tidelog_gateway::{PortError, PortFuture, SqlAnswer, SqlColumn, SqlPort};
use tidelog_model::{Caller, KafkaError};
use tidelog_query::{QueryEngine, QueryError, QueryWork, Rights};

/// The engine behind the gateway's port.
pub(super) struct Sql {
    pub(super) engine: QueryEngine,
    pub(super) broker: Broker,
}

impl SqlPort for Sql {
    fn query<'a>(&'a self, caller: &'a Caller, sql: &'a str) -> PortFuture<'a, SqlAnswer> {
        let (broker, caller) = (self.broker.clone(), caller.clone());
        let (shown_by, shown_to) = (broker.clone(), caller.clone());
        let cost = Cost { broker: broker.clone(), caller: caller.clone(), work: Arc::default() };
        let rights = Rights {
            may_read: Arc::new(move |topic| broker.may_read(&caller, topic.as_str())),
            shows: Arc::new(move |topic| shown_by.shows(&shown_to, topic.as_str())),
        };
        Box::pin(async move {
            let answer = self.engine.query_counted(sql, rights, &cost.work).await;
            let answer = answer.map_err(|error| port_error(&error))?;
            let columns = answer.columns.into_iter().map(|c| SqlColumn { name: c.name, kind: c.kind }).collect();
            Ok(SqlAnswer { columns, rows: answer.rows })
        })
    }
}

/// What a statement costs its caller; it has done so however it ends.
struct Cost {
    broker: Broker,
    caller: Caller,
    work: Arc<QueryWork>,
}

impl Drop for Cost {
    fn drop(&mut self) {
        self.broker.charge_time(&self.caller, self.work.time());
    }
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
