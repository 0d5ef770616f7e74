//! Transactions by Kafka's own client library, and by the requests of newer ones, against the real process: what is committed is seen whole,
//! what is not is never seen.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test may fail this way

mod cli;
mod client;
mod compacted;
mod hanging;
mod kills;
mod rules;
mod version_2;
