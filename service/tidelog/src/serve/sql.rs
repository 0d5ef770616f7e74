//! SQL for the gateway: its port, answered by the query engine.

use std::sync::Arc;
use std::time::Duration;

use tidelog_broker::{Broker, FairPlace, FairPlaces, Sharer};
use tidelog_gateway::{PortError, PortFuture, SqlAnswer, SqlColumn, SqlPort};
use tidelog_model::{Caller, KafkaError};
use tidelog_query::{QueryEngine, QueryError, QueryLimits, QueryWork, Rights};
use tidelog_security::FairLimits;

/// The engine behind the gateway's port.
pub(super) struct Sql {
    engine: QueryEngine,
    broker: Broker,
    /// Of the statements that run, by who asks.
    places: FairPlaces<Sharer>,
    /// How long one waits for a place.
    patience: Duration,
}

impl Sql {
    /// An engine with these limits. One sharer leaves a place to the others however much it asks.
    pub(super) fn new(engine: QueryEngine, broker: Broker, limits: &QueryLimits) -> Self {
        let places = limits.running.max(1);
        let of_one = places.saturating_sub(1).max(1);
        let fair = FairLimits { places, places_of_one: of_one, of_one: WAITING_OF_ONE, of_all: WAITING };
        Sql { engine, broker, places: FairPlaces::new(fair), patience: limits.time }
    }

    async fn place(&self, caller: &Caller) -> Result<FairPlace<Sharer>, PortError> {
        let place = tokio::time::timeout(self.patience, self.places.place(Sharer::from(caller))).await;
        place.ok().flatten().ok_or_else(|| {
            let message = "As many statements run as may; try again.";
            PortError::new(KafkaError::ThrottlingQuotaExceeded, message)
        })
    }
}

/// Statements of one principal that wait at most: their texts are in memory.
const WAITING_OF_ONE: usize = 32;

/// And of all.
const WAITING: usize = 128;

impl SqlPort for Sql {
    fn query<'a>(&'a self, caller: &'a Caller, sql: &'a str) -> PortFuture<'a, SqlAnswer> {
        let (broker, caller) = (self.broker.clone(), caller.clone());
        let (shown_by, shown_to) = (broker.clone(), caller.clone());
        let (asked_by, asker) = (broker.clone(), caller.clone());
        let cost = Cost { broker: broker.clone(), caller: caller.clone(), work: Arc::default() };
        let rights = Rights {
            may_run: Arc::new(move || asked_by.may_query(&asker)),
            may_read: Arc::new(move |topic| broker.may_read(&caller, topic.as_str())),
            shows: Arc::new(move |topic| shown_by.shows(&shown_to, topic.as_str())),
        };
        Box::pin(async move {
            let _place = self.place(&cost.caller).await?;
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
        QueryError::Denied(_) | QueryError::DeniedWithoutTopic => KafkaError::TopicAuthorizationFailed,
        QueryError::Unavailable(_) => KafkaError::BrokerNotAvailable,
        QueryError::Time(_) => KafkaError::RequestTimedOut,
        QueryError::Memory(_) => KafkaError::ThrottlingQuotaExceeded,
        QueryError::Internal(_) => KafkaError::UnknownServerError,
    };
    PortError::new(kafka, error.to_string())
}
