//! What many, slow and vanished clients cost, and what partitions and connections cost that nobody uses.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test may fail this way

mod budgets;
mod clients;
mod idle;
mod process;
