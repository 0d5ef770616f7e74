//! The gateway over a real broker in a temporary directory: every route, every kind of caller.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test may fail this way

#[path = "../../../tests/e2e/http/cases.rs"]
mod cases;
mod connection;
mod events;
mod fixture;
mod grpc;
mod guard;
mod refusals;
mod stream;
mod throttle;
mod tls;
mod topics;

pub(crate) use serde_json::Value;
