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
    match cli::Cli::try_parse() {
        Ok(cli) => output::exit_code(commands::run(cli)),
        Err(error) => cli::with_plain_usage(error, std::env::args_os()).exit(),
    }
}
