//! The whole way of a record through one process: produced, rolled, uploaded, gone locally, read cold, exported, counted by SQL;
//! the server is killed once at each of these steps and everything still holds.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test may fail this way

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tidelog_harness::kafka::{PATIENCE, Producer, assigned, read_all, take, texts};
use tidelog_harness::rdkafka::Offset;
use tidelog_harness::serde_json::Value;
use tidelog_harness::tempfile::TempDir;
use tidelog_harness::{Server, wait_until};

const TOPIC: &str = "events";

const RECORDS: usize = 1_000;

/// Everything on the way to the store: uploads, commits, exports.
const WORK: Duration = Duration::from_secs(180);

fn value(n: usize) -> String {
    format!(r#"{{"id":{n},"name":"event {n}","mag":{},"pad":"{}"}}"#, n % 7, "x".repeat(200))
}

fn files(below: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(below) else { return Vec::new() };
    let paths = entries.map(|entry| entry.unwrap().path());
    paths.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

struct Walk {
    server: Server,
    /// It outlives the server and what happens to the data directory.
    store: TempDir,
    written: usize,
}

impl Walk {
    fn start() -> Self {
        let store = tidelog_harness::tempfile::tempdir().unwrap();
        let url = format!("file://{}", store.path().display());
        let server = Server::start(tidelog_harness::options!().args(["--object-store", &url]));
        let configs = [
            "internal.segment.bytes=16384",
            "local.retention.bytes=1",
            "tidelog.table.enable=true",
            "tidelog.table.flush.records=100",
            "tidelog.table.flush.interval.ms=500",
        ];
        let mut args = vec!["topic", "create", TOPIC, "--partitions", "1"];
        configs.iter().for_each(|config| args.extend(["--config", config]));
        server.run(&args).expect(0);
        Walk { server, store, written: 0 }
    }

    fn produce(&mut self, count: usize) {
        let settings = [("enable.idempotence", "true"), ("batch.num.messages", "20"), ("linger.ms", "1")];
        let producer = Producer::new(self.server.kafka(), &settings);
        for n in self.written..self.written + count {
            producer.send_value(TOPIC, 0, value(n).as_bytes());
        }
        producer.finish_well();
        self.written += count;
    }

    /// Killed and started again; then all records are still there, through hot log or store, each once and in order.
    fn crash(&mut self, step: &str) {
        self.server.kill();
        self.server.start_again();
        self.holds(step);
    }

    fn holds(&self, step: &str) {
        let read = texts(&read_all(self.server.kafka(), TOPIC, &[0])[&0]);
        let expected: Vec<String> = (0..self.written).map(value).collect();
        assert!(read == expected, "after the kill at {step}: {} records of {}", read.len(), self.written);
    }

    fn tier(&self) -> Value {
        let status = self.server.run(&["tier", "status", "--output", "json"]).expect(0).json();
        let found = status["partitions"].as_array().unwrap().iter().find(|p| p["topic"] == TOPIC).cloned();
        found.unwrap_or_default()
    }

    fn table(&self) -> Value {
        let status = self.server.run(&["table", "status", "--output", "json"]).expect(0).json();
        let found = status["tables"].as_array().unwrap().iter().find(|t| t["topic"] == TOPIC).cloned();
        found.unwrap_or_default()
    }

    fn sql(&self, sql: &str) -> Value {
        self.server.run(&["query", sql, "--output", "json"]).expect(0).json()["rows"][0].clone()
    }

    fn segments_in_store(&self) -> usize {
        files(self.store.path()).iter().filter(|path| path.to_string_lossy().contains("/segments/")).count()
    }

    fn parquet(&self) -> Vec<PathBuf> {
        files(self.store.path()).into_iter().filter(|path| path.extension().is_some_and(|e| e == "parquet")).collect()
    }

    fn local_segments(&self) -> BTreeSet<String> {
        let names = files(&self.server.data_dir().join(format!("{TOPIC}-0")));
        let names = names.iter().map(|path| path.file_name().unwrap().to_string_lossy().into_owned());
        names.filter(|name| name.ends_with(".log")).collect()
    }

    /// A reader that only lists the directory sees no offset twice.
    fn exported_ranges_are_disjoint(&self) {
        let mut ranges: Vec<(i64, i64)> = self.parquet().iter().map(|path| range(path)).collect();
        ranges.sort_unstable();
        for pair in ranges.windows(2) {
            assert!(pair[0].1 < pair[1].0, "{ranges:?} overlap");
        }
    }
}

/// First and last offset of a file of the table, from its name.
fn range(path: &Path) -> (i64, i64) {
    let name = path.file_stem().unwrap().to_str().unwrap();
    let numbers: Vec<i64> = name.split('+').filter_map(|part| part.parse().ok()).collect();
    assert!(numbers.len() >= 2, "no range in {name}");
    (numbers[numbers.len() - 2], numbers[numbers.len() - 1])
}

#[test]
fn the_whole_way_with_a_kill_at_every_step() {
    let mut walk = Walk::start();

    walk.produce(RECORDS);
    walk.crash("produce");

    // The kill falls while closed segments are on their way to the store.
    walk.produce(RECORDS);
    wait_until(|| walk.segments_in_store() > 0, WORK, "a segment is in the store");
    walk.crash("upload");

    // What is in the store goes locally.
    walk.produce(RECORDS);
    let first = "00000000000000000000.log";
    wait_until(|| !walk.local_segments().contains(first), WORK, "the first segment is gone locally");
    walk.crash("local deletion");
    let settled = || {
        let tier = walk.tier();
        tier["remote_end"].as_i64().is_some_and(|end| end > RECORDS as i64 * 2)
            && tier["local_start"].as_i64() > Some(0)
    };
    wait_until(settled, WORK, "nearly everything is remote and the older part gone locally");
    assert!(!walk.local_segments().contains(first), "{:?}", walk.local_segments());

    // A consumer that is reading the cold part when the server dies goes on where it was.
    let consumer = assigned(walk.server.kafka(), TOPIC, &[0], Offset::Beginning);
    let mut read = take(&consumer, 100, PATIENCE);
    walk.server.kill();
    walk.server.start_again();
    read.extend(take(&consumer, walk.written - 100, PATIENCE));
    assert!(texts(&read) == (0..walk.written).map(value).collect::<Vec<_>>(), "the reader lost its way");
    drop(consumer);

    // The export runs since the first record; the kill falls while there is more to do.
    walk.produce(RECORDS);
    wait_until(|| !walk.parquet().is_empty(), WORK, "a Parquet file is in the store");
    walk.crash("export");

    let mut query = walk.server.command(&["query", "SELECT count(*) AS n FROM events", "--output", "json"]);
    let mut asking = query.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null()).spawn().unwrap();
    walk.crash("query");
    asking.wait().unwrap();

    let counted = walk.sql("SELECT count(*) AS n, count(DISTINCT _offset) AS d, sum(id) AS s FROM events");
    let n = walk.written as i64;
    assert_eq!((counted["n"].as_i64(), counted["d"].as_i64()), (Some(n), Some(n)), "{counted}");
    assert_eq!(counted["s"].as_f64(), Some((n * (n - 1) / 2) as f64), "{counted}");
    let exported = || walk.table()["partitions"][0]["exported_end"].as_i64() == Some(n);
    wait_until(exported, WORK, "everything is exported");
    walk.exported_ranges_are_disjoint();
    // Now SQL reads files alone.
    let again = walk.sql("SELECT count(*) AS n, count(DISTINCT _offset) AS d FROM events");
    assert_eq!((again["n"].as_i64(), again["d"].as_i64()), (Some(n), Some(n)), "{again}");
    assert_eq!(walk.table()["rows"].as_i64(), Some(n), "{}", walk.table());

    walk.server.stop();
    walk.server.start_again();
    walk.holds("the orderly stop");
    let log = walk.server.log();
    assert_eq!(log.matches(" ERROR ").count(), 0, "{log}");
}
