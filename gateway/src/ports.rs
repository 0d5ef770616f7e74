//! What the gateway asks of parts that it does not know: SQL and the state of tiering. The binary wires them.

use std::future::Future;
use std::pin::Pin;

use serde::Serialize;
use serde_json::value::RawValue;
use tidelog_broker::Trouble;
use tidelog_model::{Caller, KafkaError};
use utoipa::ToSchema;

/// A future that a port answers with.
pub type PortFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, PortError>> + Send + 'a>>;

/// Why a port refused or failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {message}", .error.name())]
pub struct PortError {
    /// The fact in Kafka's words, which decides the HTTP status.
    pub error: KafkaError,
    /// What the caller should know and do; no secrets, no paths of the server.
    pub message: String,
}

impl PortError {
    /// An error with its sentence.
    pub fn new(error: KafkaError, message: impl Into<String>) -> Self {
        PortError { error, message: message.into() }
    }
}

/// A column of a query's answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct SqlColumn {
    /// Its name, in its own case.
    pub name: String,
    /// Its SQL type, such as `DOUBLE`.
    #[serde(rename = "type")]
    pub kind: String,
}

/// A query's answer.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct SqlAnswer {
    /// The columns in order.
    pub columns: Vec<SqlColumn>,
    /// A JSON array with one object per row.
    #[schema(value_type = Vec<Object>)]
    pub rows: Box<RawValue>,
}

/// Answers SQL; the implementation authorizes the caller and limits memory, time and rows.
pub trait SqlPort: Send + Sync {
    /// Runs one statement.
    fn query<'a>(&'a self, caller: &'a Caller, sql: &'a str) -> PortFuture<'a, SqlAnswer>;
}

/// Answers where tiering and tables stand; the implementation authorizes the caller, where there is one.
pub trait StatusPort: Send + Sync {
    /// Per tiered topic and partition: what is local, remote, waiting.
    fn tier<'a>(&'a self, caller: &'a Caller) -> PortFuture<'a, serde_json::Value>;
    /// Per exported topic: what is in files, how far behind the export is.
    fn tables<'a>(&'a self, caller: &'a Caller) -> PortFuture<'a, serde_json::Value>;
    /// What of the cold tier the broker does not know: is its store away or another one, do uploads not come further?
    fn troubles(&self) -> Vec<Trouble>;
}
