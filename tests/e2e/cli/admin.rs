//! Administration: settings of a running cluster, and the files that a server leaves.

use std::path::Path;

use tidelog_harness::Server;
use tidelog_harness::serde_json::{self, Value, json};

use super::{alone, server};

fn entry(entries: &Value, name: &str) -> Value {
    let found = entries.as_array().unwrap().iter().find(|entry| entry["name"] == name);
    found.cloned().unwrap_or(Value::Null)
}

#[test]
fn settings_of_topics_and_brokers_are_shown_and_changed() {
    let server = server();
    server.run(&["topic", "create", "t"]).expect(0);
    assert_eq!(
        server.run(&["topic", "config", "t"]).expect(0).stdout,
        "topic t has its defaults; --defaults shows them\n"
    );
    let changed = ["--set", "retention.ms=5000000", "--append", "leader.replication.throttled.replicas=0:1"];
    let dry = server.run(&[&["topic", "config", "t", "--dry-run"], &changed[..]].concat()).expect(0);
    assert_eq!(dry.stdout, "could change topic t\n");
    assert_eq!(server.run(&["topic", "config", "t", "--output", "json"]).expect(0).json(), json!([]));
    server.run(&[&["topic", "config", "t"], &changed[..]].concat()).expect(0);
    let own = server.run(&["topic", "config", "t", "--output", "json"]).expect(0).json();
    assert_eq!(own.as_array().unwrap().len(), 2, "{own}");
    let retention = entry(&own, "retention.ms");
    assert_eq!((&retention["value"], &retention["source"]), (&json!("5000000"), &json!("topic")), "{own}");
    assert!(server.run(&["topic", "config", "t"]).expect(0).stdout.starts_with("CONFIG"));
    let back =
        ["topic", "config", "t", "-d", "retention.ms", "--subtract", "leader.replication.throttled.replicas=0:1"];
    server.run(&back).expect(0);
    let all = server.run(&["topic", "config", "t", "--defaults", "--output", "json"]).expect(0).json();
    assert_eq!(entry(&all, "retention.ms")["value"], json!("604800000"), "{all}");
    for (whose, name) in [(&["topic", "config", "t"][..], "t"), (&["broker", "config", "all"], "all")] {
        let change = ["--set", if name == "t" { "retention.ms=1" } else { "log.retention.ms=1" }];
        let changed = server.run(&[whose, &change[..], &["--dry-run", "--output", "json"]].concat()).expect(0).json();
        assert_eq!(changed, json!({"name": name, "changed": false}));
    }
    server.run(&["topic", "config", "t", "--set", "no.such.key=1"]).expect(1);
    server.run(&["topic", "config", "none"]).expect(4);

    let refused = server.run(&["broker", "config", "--set", "log.retention.ms=7000000"]).expect(2);
    assert!(refused.stderr.contains("all"), "{}", refused.stderr);
    server.run(&["broker", "config", "all", "--set", "log.retention.ms=7000000"]).expect(0);
    for whose in [&["broker", "config"][..], &["broker", "config", "1"], &["broker", "config", "all"]] {
        let entries = server.run(&[whose, &["--output", "json"]].concat()).expect(0).json();
        assert_eq!(entry(&entries, "log.retention.ms")["value"], json!("7000000"), "{whose:?}: {entries}");
    }
    let all = server.run(&["topic", "config", "t", "--defaults", "--output", "json"]).expect(0).json();
    assert_eq!(entry(&all, "retention.ms")["value"], json!("7000000"), "{all}");
    server.run(&["broker", "config", "all", "--delete", "log.retention.ms"]).expect(0);
    server.run(&["broker", "config", "1", "--set", "num.partition=1"]).expect(1);
    server.run(&["broker", "config", "7"]).expect(1);
}

#[test]
fn quotas_are_set_listed_and_removed() {
    let server = server();
    let set = ["quota", "set", "--for", "user=alice", "--for", "client-id=app", "producer_byte_rate=1MiB"];
    assert_eq!(server.run(&[&set[..], &["--dry-run"]].concat()).expect(0).stdout.split(' ').next(), Some("could"));
    assert_eq!(server.run(&["quota", "list", "--output", "json"]).expect(0).json(), json!([]));
    assert_eq!(server.run(&set).expect(0).stdout, "changed the quotas of user=alice, client-id=app\n");
    server.run(&["quota", "set", "--for", "user=*", "request_percentage=50", "consumer_byte_rate=1000"]).expect(0);
    server.run(&["quota", "set", "--for", "ip=10.0.0.1", "connection_creation_rate=5"]).expect(0);
    let listed = server.run(&["quota", "list", "--output", "json"]).expect(0).json();
    let alice = json!({"for": {"user": "alice", "client-id": "app"}, "quotas": {"producer_byte_rate": 1048576.0}});
    assert!(listed.as_array().unwrap().len() == 3 && listed.as_array().unwrap().contains(&alice), "{listed}");
    let everybody = server.run(&["quota", "list", "--for", "user=*"]).expect(0).stdout;
    assert_eq!(
        everybody,
        "FOR     QUOTA               VALUE\nuser=*  consumer_byte_rate   1000\nuser=*  request_percentage     50\n"
    );
    // Only what is named, then all that is left; a second time there is none.
    server.run(&["quota", "remove", "--for", "user=*", "request_percentage"]).expect(0);
    let again = server.run(&["quota", "remove", "--for", "user=*", "request_percentage"]).expect(4);
    assert!(again.stderr.contains("there is no request_percentage"), "{}", again.stderr);
    let left = server.run(&["quota", "list", "--for", "user=*", "--output", "json"]).expect(0).json();
    assert_eq!(left, json!([{"for": {"user": null}, "quotas": {"consumer_byte_rate": 1000.0}}]));
    server.run(&["quota", "remove", "--for", "client-id=app", "--for", "user=alice"]).expect(0);
    server.run(&["quota", "remove", "--for", "client-id=app", "--for", "user=alice"]).expect(4);
    let unknown = server.run(&["quota", "set", "--for", "user=a", "no_such_rate=1"]).expect(2);
    assert!(unknown.stderr.contains("there are producer_byte_rate, "), "{}", unknown.stderr);
    server.run(&["quota", "set", "--for", "user=a", "--for", "ip=::1", "producer_byte_rate=1"]).expect(2);
    let both = server.run(&["quota", "set", "--for", "user=a,client-id=b", "producer_byte_rate=1"]).expect(2);
    assert!(both.stderr.contains("repeat --for"), "{}", both.stderr);
    server.run(&["quota", "set", "producer_byte_rate=1"]).expect(2);
    server.run(&["quota", "set", "--for", "user=a"]).expect(2);
}

#[test]
fn a_running_server_writes_more_or_less_to_its_log() {
    let server = server();
    let level = |logger: &str| {
        let levels = server.run(&["broker", "loggers", "--output", "json"]).expect(0).json();
        levels[logger].as_str().unwrap_or_default().to_owned()
    };
    // Each request is a line at DEBUG.
    let lines = || {
        server.run(&["status"]).expect(0);
        server.log().lines().filter(|line| line.contains("DEBUG")).count()
    };
    assert_eq!((level("root").as_str(), level("tidelog_gateway").as_str(), lines()), ("INFO", "INFO", 0));
    server.run(&["broker", "loggers", "1", "--set", "tidelog_gateway=debug"]).expect(0);
    assert_eq!((level("root").as_str(), level("tidelog_gateway").as_str()), ("INFO", "DEBUG"));
    let written = lines();
    assert!(written > 0);
    server.run(&["broker", "loggers", "1", "--delete", "tidelog_gateway"]).expect(0);
    let before = lines();
    assert_eq!(lines(), before, "nothing more after it was taken back");
    server.run(&["broker", "loggers", "1", "--set", "kafka.server.KafkaApis=DEBUG"]).expect(1);
    server.run(&["broker", "loggers", "1", "--set", "root=LOUD"]).expect(1);
    server.run(&["broker", "loggers", "1", "--delete", "root"]).expect(1);
    server.run(&["broker", "loggers", "--set", "root=WARN"]).expect(2);
}

/// The lines of `log dump --output json`.
fn lines(stdout: &str) -> Vec<Value> {
    stdout.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

/// Somebody decides on this number: what was acknowledged after the last checkpoint is lost too.
#[test]
fn a_repair_says_everything_that_is_lost() {
    let mut server: Server = server();
    server.run_with(&["produce", "t"], b"one\n").expect(0);
    server.stop();
    server.start_again();
    for value in [&b"two\n"[..], b"three\nfour\n"] {
        server.run_with(&["produce", "t"], value).expect(0);
    }
    server.kill();
    let data = server.data_dir();
    let log = data.join("t-0/00000000000000000000.log");
    let mut bytes = std::fs::read(&log).unwrap();
    let at = bytes.windows(3).position(|window| window == b"one").unwrap();
    bytes[at] ^= 1;
    std::fs::write(&log, bytes).unwrap();
    let would = alone(&["log", "repair", data.to_str().unwrap()]).expect(0).stdout;
    let lost = "the records from offset 0 up to offset 3 are lost, acknowledged ones too";
    assert!(would.starts_with("t-0: would end at offset 0: ") && would.contains(lost), "{would}");
}

#[test]
fn the_files_of_a_stopped_server_can_be_read_and_their_damage_is_found() {
    let mut server: Server = server();
    server.run_with(&["produce", "t", "-K", ":", "-z", "zstd"], b"k1:one\nk2:two\n").expect(0);
    server.run_with(&["produce", "t", "-K", ":"], b"k3:three\n").expect(0);
    server.stop();
    let data = server.data_dir();
    let data = data.to_str().unwrap();
    let dumped = lines(&alone(&["log", "dump", data, "--records", "--output", "json"]).expect(0).stdout);
    let of = |kind: &str| dumped.iter().filter(|line| line["kind"] == kind).collect::<Vec<_>>();
    let batches = of("batch");
    assert_eq!(batches.len(), 2, "{dumped:?}");
    assert_eq!((&batches[0]["base_offset"], &batches[0]["last_offset"]), (&json!(0), &json!(1)), "{dumped:?}");
    assert_eq!((&batches[0]["codec"], &batches[1]["codec"]), (&json!("zstd"), &json!("none")), "{dumped:?}");
    let values: Vec<&Value> = dumped.iter().filter(|line| line["topic"] == "t").map(|line| &line["value"]).collect();
    assert_eq!(values, ["one", "two", "three"]);
    assert!(of("checkpoint").iter().any(|line| line["partition"] == "t-0" && line["offset"] == 3), "{dumped:?}");
    assert_eq!((of("leader_epoch").len(), of("producer").is_empty()), (1, false), "{dumped:?}");
    let people = alone(&["log", "dump", &format!("{data}/t-0")]).expect(0).stdout;
    assert!(people.contains("  0: offsets 0 to 1, 2 records, "), "{people}");

    let log = format!("{data}/t-0/00000000000000000000.log");
    let mut bytes = std::fs::read(&log).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&log, &bytes).unwrap();
    let damaged = alone(&["log", "dump", &log]).expect(1);
    assert!(damaged.stdout.contains("DAMAGED") && damaged.stderr.contains("one place"), "{damaged:?}");
    assert!(damaged.stdout.contains("offsets 0 to 1"), "what is before it is shown: {damaged:?}");
    // A reader hears where it is, and what to do.
    server.start_again();
    let told = server.run(&["consume", "t"]).expect(1);
    assert_eq!(told.stdout, "one\ntwo\n", "what lies before it is good");
    assert!(told.stderr.contains("t-0 is damaged at offset 2") && told.stderr.contains("log repair"), "{told:?}");
    server.stop();
    // A repair says first what it would do.
    let would = alone(&["log", "repair", data]).expect(0);
    assert!(would.stdout.starts_with("t-0: would end at offset 2: "), "{would:?}");
    assert!(would.stdout.contains("up to offset 2 are lost") && would.stderr.contains("--yes"), "{would:?}");
    assert!(std::fs::read(&log).unwrap() == bytes, "nothing has changed");
    let done = alone(&["log", "repair", &format!("{data}/t-0"), "--yes", "--output", "json"]).expect(0).json();
    assert_eq!((&done[0]["log_end"], &done[0]["repaired"]), (&json!(2), &json!(true)), "{done}");
    let kept = std::fs::read(format!("{log}.cut")).unwrap();
    assert!(bytes.ends_with(&kept) && !kept.is_empty(), "what was cut off is kept");
    assert_eq!(alone(&["log", "repair", data]).expect(0).stdout, "nothing to repair in 1 partition\n");
    let dumped = alone(&["log", "dump", data]).expect(0);
    assert!(dumped.stdout.contains("DAMAGED") && dumped.stderr.contains("in .log.cut files"), "{dumped:?}");
    // What a start makes anew is removed if it cannot be right.
    let (index, snapshot) = (log.replace(".log", ".index"), format!("{data}/t-0/00000000000000000002.snapshot"));
    std::fs::write(&index, [[0; 4], (-1i32).to_be_bytes()].concat()).unwrap();
    std::fs::write(&snapshot, "no snapshot").unwrap();
    let dumped = alone(&["log", "dump", &index]).expect(1).stdout;
    assert!(dumped.contains("0: DAMAGED: offset 0 at -1"), "{dumped}");
    let would = alone(&["log", "repair", data]).expect(0).stdout;
    assert_eq!(would.matches("would be removed, the next start makes it anew").count(), 2, "{would}");
    alone(&["log", "repair", data, "--yes"]).expect(0);
    assert!(!Path::new(&index).exists() && !Path::new(&snapshot).exists());
    assert_eq!(alone(&["log", "repair", data]).expect(0).stdout, "nothing to repair in 1 partition\n");
    server.start_again();
    assert_eq!(server.run(&["consume", "t"]).expect(0).stdout, "one\ntwo\n");
    server.run_with(&["produce", "t"], b"four\n").expect(0);
    assert_eq!(server.run(&["consume", "t"]).expect(0).stdout, "one\ntwo\nfour\n");
    let used = alone(&["log", "repair", data, "--yes"]).expect(1);
    assert!(used.stderr.contains("in use by process"), "{}", used.stderr);
    server.stop();
    let mut bytes = std::fs::read(&log).unwrap();
    bytes.truncate(bytes.len() - 5);
    std::fs::write(&log, &bytes).unwrap();
    alone(&["log", "dump", &log]).expect(1);
    alone(&["log", "repair", "/"]).expect(1);
    std::fs::write(format!("{data}/notes.txt"), "x").unwrap();
    alone(&["log", "dump", &format!("{data}/notes.txt")]).expect(1);
    alone(&["log", "dump", &format!("{data}/endpoints.json")]).expect(4);
    alone(&["log", "dump"]).expect(2);
}

/// Every file of the directory that Apache Kafka wrote: its preallocated indexes, its transactions, its coordinators' records.
#[test]
fn what_kafka_wrote_can_be_read() {
    let kafka = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/data/kafka-4.3.0/log-dir");
    let dumped = lines(&alone(&["log", "dump", kafka, "--records", "--output", "json"]).expect(0).stdout);
    for kind in ["batch", "offset_index", "time_index", "producer", "leader_epoch", "checkpoint", "aborted_transaction"]
    {
        assert!(dumped.iter().any(|line| line["kind"] == kind), "no {kind}");
    }
    assert!(dumped.iter().any(|line| line["control"] == true) && dumped.iter().any(|line| line["topic"] == "fixture"));
    assert!(!alone(&["log", "dump", kafka]).expect(0).stdout.contains("DAMAGED"));
}
