//! `tidelog log`: the files of a data directory, without a server.

mod dry_disk;
mod dump;
mod files;
mod left;
mod repair;
mod unreadable;

use clap::{Args, Subcommand};

#[derive(Debug, Args)]
pub(crate) struct LogArgs {
    #[command(subcommand)]
    command: LogCommand,
}

#[derive(Debug, Subcommand)]
enum LogCommand {
    /// Print what segments, indexes, snapshots and checkpoints hold; exits with 1 if something is damaged but in `.log.cut` files.
    Dump(dump::DumpArgs),
    /// End a damaged log before its damage, or begin it behind where the object store has the rest, and pass over what coordinators cannot
    /// read; without --yes only say what would be done.
    Repair(repair::RepairArgs),
}

pub(crate) async fn run(args: LogArgs) -> anyhow::Result<()> {
    match args.command {
        LogCommand::Dump(args) => dump::run(&args),
        LogCommand::Repair(args) => repair::run(args).await,
    }
}
