//! Kafka's own client library, and hostile bytes, against the real process.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test may fail this way

mod admin;
mod adopted;
mod consumer_protocol;
mod fuzz;
mod group_admin;
mod groups;
mod hostile;
mod hostile_produce;
mod log_life;
mod produce;
mod records;
mod restarts;

use tidelog_harness::Server;

/// A server with nothing special.
fn server() -> Server {
    Server::start(tidelog_harness::options!())
}

/// Creates a topic with this many partitions and these entries.
fn create(server: &Server, topic: &str, partitions: usize, configs: &[&str]) {
    let count = partitions.to_string();
    let mut args = vec!["topic", "create", topic, "--partitions", &count];
    configs.iter().for_each(|config| args.extend(["--config", config]));
    server.run(&args).expect(0);
}
