//! `tidelog tier`: the object store as the server sees it.

use anyhow::Context;
use clap::{Args, Subcommand};

use super::http::{Http, print_json, render_status};
use crate::cli::{Format, HttpArgs, OutputArgs};
use crate::output::print;

#[derive(Debug, Args)]
pub(crate) struct TierArgs {
    #[command(subcommand)]
    command: TierCommand,
}

#[derive(Debug, Subcommand)]
enum TierCommand {
    /// Show per topic and partition what is local, remote and waiting.
    Status(StatusArgs),
}

#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    #[command(flatten)]
    http: HttpArgs,
    #[command(flatten)]
    output: OutputArgs,
}

pub(crate) async fn run(args: TierArgs) -> anyhow::Result<()> {
    match args.command {
        TierCommand::Status(args) => show_status(&args, "v1/tier").await,
    }
}

/// Prints a status resource of the server.
pub(crate) async fn show_status(args: &StatusArgs, path: &str) -> anyhow::Result<()> {
    let body = Http::new(&args.http)?.get(path).await?;
    if args.output.output == Format::Json {
        return print_json(body);
    }
    let value = serde_json::from_slice(&body).context("the server's answer is not JSON")?;
    Ok(print(&render_status(&value))?)
}
