//! The HTTP door: REST, server-sent events and gRPC on one port. It translates between those and the broker's use cases;
//! it decides nothing about topics or records, and it never names a part of the cold tier: SQL and tiering reach it through
//! the ports [`SqlPort`] and [`StatusPort`].

mod activity;
mod body;
mod budget;
mod context;
mod error;
mod events;
mod extract;
mod grpc;
mod guard;
mod heads;
mod http_routes;
mod json;
pub mod limits;
mod media;
mod observe;
mod openapi;
mod ports;
mod router;
mod serve;
mod taken;
mod throttle;
mod time;
mod topic_view;
mod unread;

use std::sync::Arc;

use tidelog_broker::Broker;
use tidelog_security::Authenticator;
use tokio_util::sync::CancellationToken;

pub use error::{ApiError, Problem, grpc_code, http_status};
pub use openapi::document as openapi_document;
pub use ports::{PortError, PortFuture, SqlAnswer, SqlColumn, SqlPort, StatusPort};
pub use serve::serve;
pub use tidelog_model::{murmur2, partition_of_key};

/// What `GET /` tells about the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GatewayInfo {
    /// The version of the binary.
    pub version: String,
    /// The commit it was built from.
    pub commit: String,
    /// The cluster's id.
    pub cluster_id: String,
}

/// Settings of one HTTP listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GatewayOptions {
    /// Largest body of a publish request and of a gRPC message, bytes.
    pub max_body_bytes: usize,
    /// What is in memory at a time, bytes: half of it for requests, half for what is read from the log and for answers of SQL.
    pub memory_budget_bytes: usize,
    /// True for a listener without authentication: then Host and Origin are checked.
    pub open_listener: bool,
    /// On an open listener that is reachable from elsewhere: accept a Host that is an IP address.
    pub allow_address_hosts: bool,
    /// Users with passwords may come in by HTTP Basic (RFC 7617).
    pub basic: bool,
    /// Origins that web pages may call from, such as `https://example.org`; none turns CORS off.
    pub allowed_origins: Vec<String>,
}

impl Default for GatewayOptions {
    fn default() -> Self {
        GatewayOptions {
            max_body_bytes: limits::DEFAULT_MAX_BODY_BYTES,
            memory_budget_bytes: limits::DEFAULT_MEMORY_BUDGET_BYTES,
            open_listener: true,
            allow_address_hosts: false,
            basic: false,
            allowed_origins: Vec::new(),
        }
    }
}

/// Renders all metrics: some are asked for, which takes a moment.
pub type Metrics = Box<dyn Fn() -> futures::future::BoxFuture<'static, String> + Send + Sync>;

/// Everything that a router is made of.
pub struct GatewayParts {
    /// The use cases.
    pub broker: Broker,
    /// Verifies bearer tokens; without it, and without passwords, everybody is `User:ANONYMOUS`.
    pub authenticator: Option<Arc<Authenticator>>,
    /// Answers `POST /v1/query`; without it the route does not exist.
    pub sql: Option<Arc<dyn SqlPort>>,
    /// Answers `GET /v1/tier` and `GET /v1/tables`; without it the routes do not exist.
    pub status: Option<Arc<dyn StatusPort>>,
    /// Renders the metrics in Prometheus' text format.
    pub metrics: Metrics,
    /// What `GET /` tells.
    pub info: GatewayInfo,
    /// Settings.
    pub options: GatewayOptions,
    /// Cancelled when the server stops: event streams and long polls end then. Give the same one to [`serve`].
    pub shutdown: CancellationToken,
}

/// The gateway.
pub struct Gateway;

impl Gateway {
    /// The one router: REST, gRPC, documents, health and metrics, with one fallback.
    pub fn router(parts: GatewayParts) -> axum::Router {
        router::router(parts)
    }
}
