//! What process tests share: the server as a process, the command line, clients, a raw Kafka connection, and waiting for conditions.
//! It never looks inside the server; what it knows comes through the doors, the data directory and the exit status.
//!
//! A failing test panics here, with the server's last log lines on standard error.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test may fail this way

mod cli;
pub mod damage;
pub mod frames;
pub mod kafka;
pub mod raw;
mod server;
pub mod strace;
mod wait;

pub use cli::{Output, run};
pub use server::{Options, Server};
pub use wait::{wait_for, wait_until};

pub use tidelog_model as model;
pub use tidelog_proto as proto;
pub use tidelog_protocol as protocol;
pub use tidelog_record as record;
pub use tidelog_security as security;
pub use tidelog_test_s3 as s3;
pub use {
    bytes, futures, prost_reflect, rand, rcgen, rdkafka, reqwest, serde_json, tempfile, tokio, tonic, tonic_reflection,
};

/// What a run is told by its environment: a count or a seed. A text that is no number ends the test instead of being passed over.
pub fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is no number: {text}")))
}

/// The seed of a test's random choices: `TIDELOG_SEED`, or a new one.
pub fn seed() -> u64 {
    let clock = || std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos() as u64;
    number("TIDELOG_SEED").unwrap_or_else(clock)
}

/// An HTTP client without proxies of the environment: servers under test are on loopback.
pub fn http() -> reqwest::Client {
    reqwest::Client::builder().no_proxy().build().unwrap()
}

/// Options for a server of the binary under test: `$TIDELOG_BIN`, or the one that cargo built for this test.
#[macro_export]
macro_rules! options {
    () => {
        $crate::Options::new(env!("CARGO_BIN_EXE_tidelog"))
    };
}
