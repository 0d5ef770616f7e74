//! The one binary: reads the command line and hands over. Everything else lives below it.

mod cli;
mod commands;
mod demo;
mod output;
mod pem;
mod serve;

use std::process::ExitCode;

use clap::Parser;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    output::exit_code(commands::run(cli::Cli::parse()))
}
