//! The Kafka door: listeners, connections, and one handler file per API. It translates; it decides nothing about the log.
//!
//! A request passes `listener → connection → frame → dispatch → handlers/<api>`; its answer goes back as pieces, of which
//! those that lie in segment files reach a plaintext socket by `sendfile`.

mod answer;
mod auth;
mod budget;
mod connection;
mod counters;
mod decode;
mod dispatch;
mod fetch_sessions;
mod frame;
mod handlers;
mod limits;
mod listener;
mod pace;
mod pool;
mod request;
mod sealed;
mod send;
mod session;
mod shares;
#[cfg(test)]
mod tests;
mod throttle;
mod times;
mod tls;
mod unsent;
mod usage;

pub use auth::SaslOptions;
pub use listener::{KafkaDoor, ListenerSecurity};
pub use session::ListenerName;
pub use times::{TIME_BUCKETS_MICROS, TimesSoFar};
pub use tls::TlsOptions;
pub use usage::{ApiUsage, api_usage};
