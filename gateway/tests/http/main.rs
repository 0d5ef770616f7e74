//! The gateway over a real broker in a temporary directory: every route, every kind of caller.

mod events;
mod fixture;
mod grpc;
mod guard;
mod stream;
mod topics;
