//! `tidelog table`: the topics that are exported as tables.

use clap::{Args, Subcommand};

use super::tier::{StatusArgs, show_status};

#[derive(Debug, Args)]
pub(crate) struct TableArgs {
    #[command(subcommand)]
    command: TableCommand,
}

#[derive(Debug, Subcommand)]
enum TableCommand {
    /// Show per table what is in files and how far behind the export is.
    Status(StatusArgs),
}

pub(crate) async fn run(args: TableArgs) -> anyhow::Result<()> {
    match args.command {
        TableCommand::Status(args) => show_status(&args, "v1/tables").await,
    }
}
