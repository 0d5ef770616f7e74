//! HTTP and gRPC against the real process: every route with every kind of caller, streams that outlive the server, and the
//! generated gRPC client beside one that knows nothing but reflection.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test may fail this way

mod cases;
mod damage;
mod grpc;
mod guard;
mod keys;
mod metrics;
mod quotas;
mod routes;
mod stream;

use tidelog_harness::Server;
pub(crate) use tidelog_harness::serde_json::Value;

/// An open server on loopback.
fn server() -> Server {
    Server::start(tidelog_harness::options!())
}
