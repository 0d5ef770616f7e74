//! README is true: its demo ends well, and its blocks that call only `tidelog` do what they say.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test may fail this way

use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tidelog_harness::kafka::{assigned, config, take, texts, watermarks};
use tidelog_harness::rcgen::{CertificateParams, KeyPair};
use tidelog_harness::rdkafka::Offset;
use tidelog_harness::rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use tidelog_harness::s3::{ACCESS_KEY_ID, S3Server, SECRET_ACCESS_KEY};
use tidelog_harness::{Options, Output, Server, options, run, serde_json, tempfile, tokio, wait_for};

const PATIENCE: Duration = Duration::from_secs(300);

/// The shell block after `<!-- test: NAME -->`.
fn block(name: &str) -> String {
    block_in("sh", name)
}

fn block_in(language: &str, name: &str) -> String {
    let readme = include_str!("../../../README.md");
    let marker = format!("<!-- test: {name} -->\n```{language}\n");
    let (_, rest) = readme.split_once(&marker).unwrap_or_else(|| panic!("README has no block {name}"));
    rest.split_once("```").expect("the block ends").0.to_owned()
}

/// A shell for a block: `tidelog` is on the path, and nothing of the test's own settings is there.
fn shell(options: &Options, script: &str) -> Command {
    let tidelog = options.tidelog();
    let folder = PathBuf::from(tidelog.get_program()).parent().unwrap().to_owned();
    let mut command = Command::new("sh");
    for (name, value) in tidelog.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    let path = format!("{}:{}", folder.display(), std::env::var("PATH").unwrap_or_default());
    command.args(["-euc", script]).env("PATH", path);
    command
}

/// Runs a block against a server that stands at other addresses than the defaults.
fn run_at(options: &Options, kafka: &str, http: &str, script: &str) -> Output {
    let mut command = shell(options, script);
    command.env("TIDELOG_BROKERS", kafka).env("TIDELOG_URL", format!("http://{http}"));
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
    let shell = |name: &str| run_at(&options, server.kafka(), server.http(), &block(name));
    let out = shell("cli");
    assert!(out.stdout.contains("Amboy"), "{out:?}");
    let out = shell("sql");
    for part in ["mb", "uw", "1.3", "strongest"] {
        assert!(out.stdout.contains(part), "{out:?}");
    }
    let out = shell("odd values");
    for part in ["no JSON", "strong", "ak"] {
        assert!(out.stdout.contains(part), "{out:?}");
    }
    let out = shell("tier");
    assert!(out.stdout.contains("quakes") && out.stdout.contains("file://"), "{out:?}");
}

#[test]
fn topics_come_back_from_the_object_store_alone() {
    let options = options!();
    let mut server = Server::start(options.clone());
    server.run(&["topic", "create", "quakes", "-c", "internal.segment.bytes=16384"]).expect(0);
    let lines = |round: usize| (0..1000).map(move |n| format!("{{\"round\":{round},\"n\":{n}}}"));
    let produce = |round: usize| {
        let text: String = lines(round).map(|line| line + "\n").collect();
        server.run_with(&["produce", "quakes"], text.as_bytes()).expect(0);
    };
    produce(0);
    produce(1);
    let undecided: BaseProducer = config(server.kafka(), &[("transactional.id", "t")]).create().unwrap();
    undecided.init_transactions(PATIENCE).unwrap();
    undecided.begin_transaction().unwrap();
    undecided.send(BaseRecord::<[u8], [u8]>::to("quakes").payload(b"aborted")).unwrap();
    undecided.flush(PATIENCE).unwrap();
    undecided.abort_transaction(PATIENCE).unwrap();
    // The last one stays in the active segment, and is lost.
    produce(2);
    produce(3);
    let uploaded = || {
        let status = server.run(&["tier", "status", "--output", "json"]).expect(0).json();
        status["partitions"][0]["remote_end"].as_i64().filter(|end| *end >= 3002)
    };
    let end = wait_for(uploaded, PATIENCE, "closed segments are uploaded");
    let (_, log_end) = watermarks(server.kafka(), "quakes", 0);
    assert!(end < log_end, "something is only on the disk");
    // One partition has had segments there, and they are gone; the one before it never had any.
    server.run(&["topic", "create", "emptied", "-p", "2", "-c", "internal.segment.bytes=16384"]).expect(0);
    let text: String = lines(0).map(|line| line + "\n").collect();
    // Twice: what is full ends with the next batch.
    for _ in 0..2 {
        server.run_with(&["produce", "emptied", "-p", "1"], text.as_bytes()).expect(0);
    }
    let of_emptied = || {
        let status = server.run(&["tier", "status", "--output", "json"]).expect(0).json();
        let partitions = status["partitions"].as_array().unwrap().clone();
        partitions.into_iter().find(|one| one["topic"] == "emptied" && one["partition"] == 1)
    };
    let has_some = || of_emptied().and_then(|one| one["remote_end"].as_i64()).filter(|end| *end > 0);
    wait_for(has_some, PATIENCE, "closed segments are uploaded");
    server.run(&["records", "delete", "emptied", "--all"]).expect(0);
    let segments = || segment_in(&log_of(&server.data_dir(), "emptied-").join("1"));
    wait_for(|| (!segments()).then_some(()), PATIENCE, "what was deleted is no longer in the store");
    server.kill();

    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("tidelog-data")).unwrap();
    let store = folder.path().join("tidelog-data/object-store");
    std::fs::rename(server.data_dir().join("object-store"), store).unwrap();
    std::fs::remove_dir_all(server.data_dir()).unwrap();
    let mut command = shell(&options, &block("restore"));
    run(command.current_dir(folder.path()), b"", PATIENCE).expect(0);
    std::fs::rename(folder.path().join("restored"), server.data_dir()).unwrap();
    server.start_again();
    // Readers of what is committed: the aborted record and the marker behind it have the two offsets that nobody sees.
    let read = texts(&take(&assigned(server.kafka(), "quakes", &[0], Offset::Beginning), 3000, PATIENCE));
    assert!(read == (0..3).flat_map(lines).collect::<Vec<_>>(), "{} records came back: {:?}", read.len(), read.last());
    assert_eq!(watermarks(server.kafka(), "quakes", 0), (0, end), "the offsets are the same");
    assert_eq!(watermarks(server.kafka(), "emptied", 0), (0, 0));
    let (first, next) = watermarks(server.kafka(), "emptied", 1);
    assert!(first == next && first > 900, "no offset is given twice: {first} to {next}");
    server.run_with(&["produce", "quakes"], b"{}\n").expect(0);
    server.stop();
}

/// The folder of a topic's log in the object store of this data directory.
fn log_of(data_dir: &Path, topic: &str) -> PathBuf {
    let clusters = std::fs::read_dir(data_dir.join("object-store")).unwrap().flatten();
    let mut logs =
        clusters.filter_map(|cluster| std::fs::read_dir(cluster.path().join("log")).ok()).flatten().flatten();
    logs.find(|log| log.file_name().to_string_lossy().starts_with(topic)).expect("the topic is there").path()
}

/// A block that starts a server: a process group, so that the shell and the server end together.
struct Serving(Child);

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = kill_process_group(Pid::from_child(&self.0), Signal::KILL);
        let _ = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_on_s3_keeps_its_segments_there() {
    let store = S3Server::start().await.unwrap();
    let bucket = store.folder().join("my-bucket");
    std::fs::create_dir(&bucket).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let options = options!();
    let mut command = shell(&options, &block("s3"));
    // What a reader has from AWS and from an empty machine: credentials, a bucket, free ports, a directory.
    command
        .env("AWS_ACCESS_KEY_ID", ACCESS_KEY_ID)
        .env("AWS_SECRET_ACCESS_KEY", SECRET_ACCESS_KEY)
        .env("TIDELOG_S3_ENDPOINT", store.endpoint())
        .env("TIDELOG_S3_ALLOW_HTTP", "true")
        .env("TIDELOG_KAFKA_LISTEN", "127.0.0.1:0")
        .env("TIDELOG_HTTP_LISTEN", "127.0.0.1:0")
        .current_dir(folder.path());
    let log = File::create(folder.path().join("log")).unwrap();
    let mut serving = Serving(command.stderr(log).stdout(Stdio::null()).process_group(0).spawn().unwrap());
    let endpoints = folder.path().join("tidelog-data/endpoints.json");
    let shown = || std::fs::read_to_string(folder.path().join("log")).unwrap();
    let endpoints: serde_json::Value = wait_for(
        || {
            assert!(serving.0.try_wait().unwrap().is_none(), "the server ended: {}", shown());
            serde_json::from_str(&std::fs::read_to_string(&endpoints).ok()?).ok()
        },
        PATIENCE,
        "the server is ready",
    );
    let (kafka, http) = (endpoints["kafka"].as_str().unwrap(), endpoints["http"].as_str().unwrap());
    let fill = "tidelog topic create cold --config internal.segment.bytes=16384
        seq 1 4000 | sed 's/.*/{\"n\":&,\"text\":\"some more bytes\"}/' | tidelog produce cold";
    run_at(&options, kafka, http, fill);
    wait_for(|| segment_in(&bucket.join("tidelog")).then_some(()), PATIENCE, "a segment in the bucket");
    let tiers = run_at(&options, kafka, http, &block("tier")).stdout;
    assert!(tiers.contains("s3://my-bucket/tidelog"), "{tiers}");
}

/// Is there a segment's object below this folder?
fn segment_in(folder: &Path) -> bool {
    let Ok(entries) = std::fs::read_dir(folder) else { return false };
    entries.flatten().any(|entry| match entry.file_type() {
        Ok(kind) if kind.is_dir() => segment_in(&entry.path()),
        _ => entry.path().parent().is_some_and(|parent| parent.ends_with("segments")),
    })
}

#[test]
fn users_and_access_rules() {
    let sasl = ["--kafka-listen", "SASL_PLAINTEXT://127.0.0.1:0", "--authorizer", "acl", "--super-user", "User:admin"];
    let options = options!();
    let mut server = Server::start(options.clone().args(sasl));
    server.stop();
    std::os::unix::fs::symlink(server.data_dir(), server.folder().join("tidelog-data")).unwrap();
    let mut first = shell(&options, &block("first user"));
    run(first.current_dir(server.folder()), b"", PATIENCE).expect(0);
    server.start_again();
    let text = std::fs::read_to_string(server.data_dir().join("endpoints.json")).unwrap();
    let endpoints: serde_json::Value = serde_json::from_str(&text).unwrap();
    let listener = endpoints["listeners"]["SASL_PLAINTEXT"].as_str().unwrap();
    let output = run_at(&options, listener, server.http(), &block("users"));
    assert!(output.stdout.contains("User:alice") && output.stdout.contains("PREFIXED"), "{output:?}");
}

#[test]
fn the_configuration_file_is_one() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tidelog.toml");
    std::fs::write(&file, block_in("toml", "config file")).unwrap();
    let mut command = options!().tidelog();
    command.args(["config", "show", "--output", "json", "--config"]).arg(&file);
    let shown = run(&mut command, b"", PATIENCE).expect(0).json();
    let from_file = shown.as_array().unwrap().iter().filter(|setting| setting["source"] == "file").count();
    assert_eq!(from_file, 10, "{shown}");
    // The certificate that the file names, as TLS's example makes one.
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec!["localhost".into()]).unwrap().self_signed(&key).unwrap();
    std::fs::write(folder.path().join("server.pem"), certificate.pem()).unwrap();
    std::fs::write(folder.path().join("server.key"), key.serialize_pem()).unwrap();
    let mut command = options!().tidelog();
    command.args(["config", "check", "--config"]).arg(&file).current_dir(folder.path());
    run(&mut command, b"", PATIENCE).expect(0);
}

#[test]
fn every_shell_example_is_run_by_a_test() {
    let readme = include_str!("../../../README.md");
    // The demo has a test above, the other two are what runs all of this and what every process test does.
    let known = ["cargo run --bin tidelog -- demo\n", "cargo test --workspace\n", "cargo run --bin tidelog -- serve\n"];
    let mut before = "";
    let mut lines = readme.lines();
    while let Some(line) = lines.next() {
        if line.starts_with("```") {
            let block: String =
                lines.by_ref().take_while(|line| *line != "```").map(|line| format!("{line}\n")).collect();
            let marked = before.starts_with("<!-- test: ") || before.starts_with("<!-- interop: ");
            assert!(marked || known.contains(&block.as_str()), "nobody runs this:\n{block}");
        }
        before = line;
    }
}
