//! README is true: its demo ends well, and its blocks that call only `tidelog` do what they say.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test may fail this way

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use tidelog_harness::{Options, Output, Server, options, run, serde_json};

const PATIENCE: Duration = Duration::from_secs(90);

/// The shell block after `<!-- test: NAME -->`.
fn block(name: &str) -> String {
    let readme = include_str!("../../../README.md");
    let marker = format!("<!-- test: {name} -->\n```sh\n");
    let (_, rest) = readme.split_once(&marker).unwrap_or_else(|| panic!("README has no block {name}"));
    rest.split_once("```").expect("the block ends").0.to_owned()
}

/// Runs a block with `tidelog` on the path and a server at the default addresses of the command line.
fn shell(options: &Options, server: Option<&Server>, script: &str) -> Output {
    let tidelog = options.tidelog();
    let folder = PathBuf::from(tidelog.get_program()).parent().unwrap().to_owned();
    let mut command = Command::new("sh");
    let path = format!("{}:{}", folder.display(), std::env::var("PATH").unwrap_or_default());
    command.args(["-euc", script]).env("PATH", path);
    if let Some(server) = server {
        command.env("TIDELOG_BROKERS", server.kafka()).env("TIDELOG_URL", format!("http://{}", server.http()));
    }
    run(&mut command, b"", PATIENCE).expect(0)
}

#[test]
fn the_demo_sees_every_event_through_every_reader() {
    let mut command = options!().tidelog();
    command.args(["demo", "--exit", "--output", "json"]);
    let figures = run(&mut command, b"", PATIENCE).expect(0).json();
    let stages = figures["stages"].as_array().unwrap();
    let readers: Vec<&serde_json::Value> = stages.iter().filter(|stage| stage.get("distinct_ids").is_some()).collect();
    assert_eq!(readers.len(), 6, "Kafka, REST, gRPC, cold, Parquet, SQL");
    for reader in readers {
        assert_eq!((&reader["distinct_ids"], &reader["records"]), (&1707.into(), &1707.into()), "{reader}");
    }
    assert_eq!(figures["queries"].as_array().unwrap().len(), 3);
    let kept = PathBuf::from(figures["data_dir"].as_str().unwrap());
    assert!(!kept.exists(), "the demo removes its temporary directory");
}

#[test]
fn command_line_examples_run() {
    let options = options!();
    let server = Server::start(options.clone());
    let out = shell(&options, Some(&server), &block("cli"));
    assert!(out.stdout.contains("Amboy"), "{out:?}");
    let out = shell(&options, Some(&server), &block("sql"));
    for part in ["mb", "uw", "1.3", "strongest"] {
        assert!(out.stdout.contains(part), "{out:?}");
    }
    let out = shell(&options, Some(&server), &block("tier"));
    assert!(out.stdout.contains("quakes") && out.stdout.contains("file://"), "{out:?}");
    let token = shell(&options, None, &block("token")).stdout;
    assert_eq!(token.trim().split('.').count(), 3, "a compact JWT");
}
