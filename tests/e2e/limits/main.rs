//! What many, slow and vanished clients cost, what partitions and connections cost that nobody uses, what clients can fill, and how many
//! connections there may be.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test may fail this way

mod budgets;
mod clients;
mod connections;
mod filled;
mod idle;
mod parked;
mod process;
mod unread;
