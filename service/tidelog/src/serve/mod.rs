//! `tidelog serve`: configuration, wiring, signals.

mod api_gauges;
pub(crate) mod args;
mod audit;
mod committed;
pub(crate) mod config;
pub(crate) mod endpoints;
mod facts;
mod file;
mod gauges;
mod group_gauges;
mod kafkas;
mod listeners;
mod log_levels;
mod metrics;
mod observer;
pub(crate) mod origin;
mod process_gauges;
pub(crate) mod resolve;
mod safety;
pub(crate) mod settings;
#[cfg(feature = "sql")]
mod sql;
pub(crate) mod start;
mod status;
mod tls;
mod tokens;
pub(crate) mod verify;

use std::sync::Arc;

use anyhow::Result;
use tokio::signal::unix::{SignalKind, signal};

pub(crate) use log_levels::log_to_stderr;
pub(crate) use start::start;
pub(crate) use tokens::WEAK_SECRET;

/// Serves until SIGINT or SIGTERM, then stops in order.
pub(crate) async fn run(args: args::ServeArgs) -> Result<()> {
    let (config, log) = resolve::resolve(args)?.valid()?;
    let levels = Arc::new(log_to_stderr(&log)?);
    // Signals count from the first moment on.
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let running = start(config, Some(levels)).await?;
    println!("kafka  {}", running.kafka);
    for (name, address) in running.listeners.iter().skip(1) {
        println!("kafka  {address}  {name}");
    }
    println!("http   {}://{}", running.http_scheme, running.http);
    println!("data   {}", running.data_dir.display());
    println!("store  {}", running.object_store);
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!("stopping");
    running.stop().await
}
