//! The command line against a server, and a server that must not start: what it says, and with which exit code.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test may fail this way

mod admin;
mod config;
mod connections;
mod demo;
mod groups;
mod members;
mod offline;
mod repair;
mod slips;
mod unreadable;
mod words;

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use tidelog_harness::protocol::Str;
use tidelog_harness::protocol::messages::FindCoordinatorRequest;
use tidelog_harness::raw::Raw;
use tidelog_harness::serde_json::{Value, json};
use tidelog_harness::{Output, Server, run, serde_json, wait_for, wait_until};

const QUICK: Duration = Duration::from_secs(120);

fn server() -> Server {
    Server::start(tidelog_harness::options!())
}

/// `tidelog` with no server behind it.
fn alone(args: &[&str]) -> Output {
    run(tidelog_harness::options!().tidelog().args(args), b"", QUICK)
}

fn ends(mut command: Command) -> Output {
    run(&mut command, b"", QUICK)
}

#[test]
fn topics_from_creation_to_deletion() {
    let server = server();
    let created = server.run(&["topic", "create", "a", "b", "-p", "2", "-c", "retention.ms=1000000"]).expect(0);
    assert_eq!(created.stdout, "created a\ncreated b\n");
    let again = server.run(&["topic", "create", "a"]).expect(1);
    assert!(again.stderr.contains("TOPIC_ALREADY_EXISTS"), "{}", again.stderr);
    server.run(&["topic", "create", "a", "--if-not-exists"]).expect(0);
    let listed = server.run(&["topic", "list", "--output", "json"]).expect(0).json();
    let names: Vec<&str> = listed.as_array().unwrap().iter().map(|topic| topic["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["a", "b"]);
    server.run(&["topic", "alter", "a", "-p", "3", "-c", "segment.bytes=2000000"]).expect(0);
    let described = server.run(&["topic", "describe", "a", "--output", "json"]).expect(0).json();
    assert_eq!(described["partitions"].as_array().unwrap().len(), 3);
    let value = |name: &str| {
        let entries = described["config"].as_array().unwrap();
        entries.iter().find(|entry| entry["name"] == name).map(|entry| entry["value"].clone())
    };
    assert_eq!((value("retention.ms"), value("segment.bytes")), (Some(json!("1000000")), Some(json!("2000000"))));
    server.run(&["topic", "alter", "a", "-c", "no.such.key=1"]).expect(1);
    server.run(&["topic", "alter", "a", "-c", "retention.ms=soon"]).expect(1);
    server.run(&["topic", "alter", "a", "-p", "1"]).expect(1);
    server.run(&["topic", "alter", "a"]).expect(2);
    server.run(&["topic", "create", "no/slash"]).expect(1);
    server.run(&["topic", "describe", "none"]).expect(4);
    let changed = server.run(&["topic", "alter", "a", "-c", "retention.ms=5", "--dry-run", "--output", "json"]);
    assert_eq!(changed.expect(0).json(), json!({"name": "a", "changed": false}));
    let deleted = server.run(&["topic", "delete", "b", "none", "--output", "json"]).expect(4);
    assert_eq!(deleted.json(), json!([{"name": "b", "deleted": true}]));
    server.run(&["topic", "delete", "b"]).expect(4);
    server.run(&["topic", "delete", "b", "--if-exists"]).expect(0);
    let people = server.run(&["topic", "list"]).expect(0).stdout;
    assert!(people.starts_with("TOPIC") && people.contains("\na ") && !people.contains("\nb "), "{people}");
}

#[test]
fn records_in_and_out() {
    let server = server();
    server.run(&["topic", "create", "t", "-p", "3"]).expect(0);
    let input: String = (0..500).map(|n| format!("key{}:value {n}\n", n % 10)).collect();
    let sent = server.run_with(&["produce", "t", "-K", ":", "-z", "zstd", "-H", "h=1"], input.as_bytes()).expect(0);
    assert_eq!((sent.stdout.as_str(), sent.stderr.trim()), ("", "500 of 500 records stored in t"));
    let read = server.run(&["consume", "t", "--format", "%k:%s\\n"]).expect(0).stdout;
    let mut lines: Vec<&str> = read.lines().collect();
    let mut expected: Vec<&str> = input.lines().collect();
    lines.sort_unstable();
    expected.sort_unstable();
    assert_eq!(lines, expected);
    let json = server.run(&["consume", "t", "-n", "1", "--output", "json"]).expect(0).stdout;
    let record: Value = serde_json::from_str(json.trim()).unwrap();
    assert_eq!((&record["topic"], &record["headers"][0]["value"]), (&json!("t"), &json!("1")));
    let offsets = server.run_with(&["produce", "t", "-p", "1", "--output", "json"], b"x\ny\n").expect(0).stdout;
    let offsets: Vec<Value> = offsets.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(offsets.len(), 2);
    assert_eq!(offsets[1]["offset"].as_i64(), offsets[0]["offset"].as_i64().map(|offset| offset + 1));
    let tail = server.run(&["consume", "t", "-p", "1", "--from", "-2"]).expect(0).stdout;
    assert_eq!(tail, "x\ny\n");
    assert_eq!(server.run(&["consume", "t", "--from", "end"]).expect(0).stdout, "");
    assert_eq!(server.run(&["consume", "t", "--from", "2999-01-01T00:00:00Z"]).expect(0).stdout, "");
    // An offset that no partition has is an error, as it is with --follow; the end of the longest is none.
    let longest = server.run(&["topic", "describe", "t", "--output", "json"]).expect(0).json();
    let ends =
        longest["partitions"].as_array().unwrap().iter().map(|partition| partition["end_offset"].as_i64().unwrap());
    let end = ends.max().unwrap();
    assert_eq!(server.run(&["consume", "t", "--from", &end.to_string()]).expect(0).stdout, "");
    let beyond = server.run(&["consume", "t", "--from", &(end + 1).to_string()]).expect(1);
    assert!(beyond.stderr.contains("OFFSET_OUT_OF_RANGE") && beyond.stderr.contains("ends at"), "{}", beyond.stderr);
    server.run(&["consume", "none"]).expect(4);
    server.run(&["consume", "t", "-p", "7"]).expect(4);
    server.run_with(&["produce", "t", "-K", ":"], b"no separator\n").expect(1);
    // A value, and a key, that is none; -1 is its size.
    let marked = ["produce", "nulls", "-p", "0", "-K", ":", "--null-marker", "NULL"];
    server.run_with(&marked, b"k:NULL\nNULL:v\nk:NULLS\n").expect(0);
    let sizes = server.run(&["consume", "nulls", "--format", "%K %S\\n"]).expect(0).stdout;
    assert_eq!(sizes, "1 -1\n-1 1\n1 5\n");
}

#[test]
fn status_tier_table_and_query() {
    let server = server();
    server.run(&["topic", "create", "t", "-c", "tidelog.table.enable=true"]).expect(0);
    server.run_with(&["produce", "t"], b"{\"a\":1}\n{\"a\":2}\n").expect(0);
    let status = server.run(&["status", "--topics", "--output", "json"]).expect(0).json();
    assert_eq!((&status["ready"], &status["topics"]), (&json!(true), &json!(1)), "{status}");
    assert_eq!((&status["reasons"], &status["visible_only"]), (&json!([]), &json!(false)), "{status}");
    assert_eq!(status["topic_list"], json!([{"name": "t", "partitions": 1, "offsets": 2}]));
    let tier = server.run(&["tier", "status", "--output", "json"]).expect(0).json();
    assert!(tier["store"].as_str().unwrap().starts_with("file://"), "{tier}");
    // The export hears of a new topic a moment later.
    let is_table =
        || server.run(&["table", "status", "--output", "json"]).expect(0).json()["tables"][0]["topic"] == "t";
    wait_until(is_table, QUICK, "the topic is a table");
    for command in [["tier", "status"], ["table", "status"]] {
        assert!(!server.run(&command).expect(0).stdout.trim().is_empty());
    }
    let people = server.run(&["status"]).expect(0).stdout;
    assert!(people.contains(server.kafka()) && !people.contains("Internal"), "{people}");
    // The first group makes fifty partitions that nobody asked for.
    let coordinator = FindCoordinatorRequest { coordinator_keys: vec![Str::from("g")], ..Default::default() };
    Raw::connect(server.kafka()).call(4, &coordinator);
    let counted = "Topics      1\nPartitions  1\nInternal    50 partitions of 1 topic\n";
    wait_for(
        || server.run(&["status"]).stdout.contains(counted).then_some(()),
        QUICK,
        "internal partitions with leaders",
    );
    assert!(
        server.log().lines().filter(|line| line.contains("leading")).count() < 10,
        "one line for all: {}",
        server.log()
    );
    let status = server.run(&["status", "--output", "json"]).expect(0).json();
    assert_eq!((&status["topics"], &status["partitions"]), (&json!(1), &json!(1)), "{status}");
    assert_eq!((&status["internal_topics"], &status["internal_partitions"]), (&json!(1), &json!(50)), "{status}");
    assert!(server.run(&["table", "status"]).expect(0).stdout.starts_with("TOPIC  STATE"));
    assert!(server.run(&["query", "DESCRIBE t"]).expect(0).stdout.contains("DOUBLE"));
    let people = server.run(&["query", "SELECT a FROM t ORDER BY a"]).expect(0).stdout;
    assert!(people.ends_with("(2 rows)\n"), "{people}");
    let json = server.run(&["query", "SELECT sum(a) AS s FROM t", "--output", "json"]).expect(0).json();
    assert_eq!(json["rows"], json!([{"s": 3.0}]));
    server.run(&["query", "SELEC"]).expect(1);
    server.run(&["query", "SELECT * FROM none"]).expect(4);
}

#[test]
fn without_a_server() {
    let commands: [&[&str]; 4] = [
        &["topic", "list", "-b", "127.0.0.1:1"],
        &["produce", "t", "-b", "127.0.0.1:1"],
        &["consume", "t", "-b", "127.0.0.1:1"],
        &["query", "SELECT 1", "--url", "http://127.0.0.1:1"],
    ];
    for args in commands {
        let refused = alone(args).expect(3);
        assert!(refused.stderr.contains("no Tidelog at "), "{args:?}: {}", refused.stderr);
        assert!(refused.stderr.contains("start one with `tidelog serve`"), "{args:?}: {}", refused.stderr);
    }
    alone(&["log", "dump", "/no/such/file"]).expect(4);
    alone(&["log", "repair", "/no/such/file"]).expect(4);
    alone(&["topic"]).expect(2);
    alone(&["no-such-command"]).expect(2);
    alone(&["consume", "t", "--from", "somewhere"]).expect(2);
    alone(&["produce", "t", "-z", "rar"]).expect(2);
    alone(&["token", "alice", "--secret-env", "NOT_SET"]).expect(2);
    assert!(alone(&["--version"]).expect(0).stdout.starts_with("tidelog "));
    assert!(alone(&["completions", "bash"]).expect(0).stdout.contains("tidelog"));
}

#[test]
fn a_server_that_cannot_start_says_why() {
    let server = server();
    let folder = server.folder();
    let serve = |data: &str, kafka: &str, http: &str| {
        let mut command = tidelog_harness::options!().tidelog();
        command.arg("serve").arg("--data-dir").arg(folder.join(data));
        command.args(["--kafka-listen", kafka, "--http-listen", http]);
        command
    };
    let free = "127.0.0.1:0";
    for (refused, flag) in [
        (ends(serve("x", server.kafka(), free)), "--kafka-listen"),
        (ends(serve("y", free, server.http())), "--http-listen"),
    ] {
        let refused = refused.expect(1);
        assert!(refused.stderr.contains(flag) && refused.stderr.contains("in use"), "{}", refused.stderr);
    }
    let second = ends(serve("data", free, free)).expect(1);
    let pid = server.pid().as_raw_nonzero().to_string();
    assert!(second.stderr.contains(&pid), "no pid {pid} in: {}", second.stderr);
    // The first one does not notice.
    server.run(&["status"]).expect(0);
    for (kafka, http, way_out) in
        [("0.0.0.0:0", free, "--allow-unauthenticated"), (free, "0.0.0.0:0", "--jwt-secret-env")]
    {
        let refused = ends(serve("z", kafka, http)).expect(1);
        assert!(refused.stderr.contains(way_out), "{}", refused.stderr);
        assert!(!folder.join("z").exists(), "a refused start leaves nothing behind");
    }
    let mut setting = serve("z", free, free);
    setting.args(["-s", "num.partition=3"]);
    let refused = ends(setting).expect(2);
    assert!(refused.stderr.contains("num.partitions"), "the nearest known key is not named: {}", refused.stderr);
    let mut store = serve("z", free, free);
    store.args(["--object-store", "ftp://example.org/x"]);
    let refused = ends(store).expect(1);
    assert!(refused.stderr.contains("ftp"), "{}", refused.stderr);
}

#[test]
fn a_configuration_file_with_an_unknown_key_is_refused() {
    let folder = tidelog_harness::tempfile::tempdir().unwrap();
    let file = folder.path().join("tidelog.toml");
    std::fs::write(&file, "[kafka]\nlisten = \"127.0.0.1:0\"\nlistne = 1\n").unwrap();
    let refused = alone(&["serve", "--config", file.to_str().unwrap()]).expect(1);
    assert!(refused.stderr.contains("listne"), "{}", refused.stderr);
}

#[test]
fn bytes_that_are_no_text_and_readers_that_leave() {
    let server = server();
    server.run(&["topic", "create", "b"]).expect(0);
    let bytes = b"k\xff\x00\t\x80v\n";
    server.run_with(&["produce", "b", "-K", "\t"], bytes).expect(0);
    let record = server.run(&["consume", "b", "--output", "json"]).expect(0).json();
    assert_eq!((&record["key"], &record["value"]), (&json!("a/8A"), &json!("gHY=")), "{record}");
    let mut raw = server.command(&["consume", "b", "--format", "%k\\t%s\\n"]);
    assert_eq!(raw.output().unwrap().stdout, bytes);
    // `consume | head -1`: far more than a pipe holds, of which somebody wants one line.
    let lines: String = (0..100_000).map(|n| format!("line {n}\n")).collect();
    server.run_with(&["produce", "many"], lines.as_bytes()).expect(0);
    let mut many = server.command(&["consume", "many"]);
    let mut child = many.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut first = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut first).unwrap();
    let left = child.wait_with_output().unwrap();
    assert_eq!((first.as_str(), left.status.code(), left.stderr.len()), ("line 0\n", Some(0), 0));
}

#[test]
fn interrupted_commands_say_so() {
    let server = server();
    server.run_with(&["produce", "t"], b"a\n").expect(0);
    // Following has no end but this one; with a limit it has.
    let cases = [
        (&["consume", "t", "--follow"][..], 0),
        (&["consume", "t", "--follow", "-n", "9"], 130),
        (&["produce", "t"], 130),
    ];
    for (args, code) in cases {
        let mut command = server.command(args);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // Whoever waits for more is ready to be interrupted: the one has printed a record, the other has sent one.
        if args.contains(&"consume") {
            let mut line = String::new();
            BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
            assert_eq!(line, "a\n");
        } else {
            std::io::Write::write_all(child.stdin.as_mut().unwrap(), b"b\n").unwrap();
            wait_for(|| server.run(&["consume", "t"]).stdout.contains('b').then_some(()), QUICK, "the record");
        }
        assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
        let ended = wait_for(|| child.try_wait().unwrap(), QUICK, "its end");
        assert_eq!(ended.code(), Some(code), "{args:?}");
    }
}

#[test]
fn whoever_produces_is_told_that_the_server_is_away() {
    let mut server = server();
    server.run(&["produce", "t", "--file", "/no/such/file"]).expect(4);
    let mut command = server.command(&["produce", "t"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    std::io::Write::write_all(&mut stdin, b"a\n").unwrap();
    wait_for(|| server.run(&["consume", "t"]).stdout.contains('a').then_some(()), QUICK, "the first record");
    server.kill();
    std::io::Write::write_all(&mut stdin, b"b\n").unwrap();
    let mut told = String::new();
    while !told.contains("waiting for the server at ") {
        assert_ne!(stderr.read_line(&mut told).unwrap(), 0, "it ended: {told}");
    }
    server.start_again();
    drop(stdin);
    let ended = wait_for(|| child.try_wait().unwrap(), QUICK, "its end");
    assert_eq!(ended.code(), Some(0));
    assert_eq!(server.run(&["consume", "t"]).expect(0).stdout, "a\nb\n");
}

#[test]
fn who_speaks_another_protocol_leaves_one_line_that_names_the_right_port() {
    let server = server();
    let send = |to: &str, bytes: &[u8]| {
        let mut stream = std::net::TcpStream::connect(to).unwrap();
        stream.set_read_timeout(Some(QUICK)).unwrap();
        std::io::Write::write_all(&mut stream, bytes).unwrap();
        // Until the server hangs up.
        let _ = std::io::Read::read_to_end(&mut stream, &mut Vec::new());
    };
    let lines = |part: &str| server.log().lines().filter(|line| line.contains(part)).count();
    send(server.kafka(), b"GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!(lines("this is HTTP, which the server speaks on another port (--http-listen)"), 1, "{}", server.log());
    send(server.http(), b"\0\0\0\x18\0\x12\0\0\0\0\0\x01\0\x0ekafka-client-1");
    let told = || (lines("not HTTP but perhaps Kafka") == 1).then_some(());
    wait_for(told, QUICK, "the line about Kafka");
}

#[test]
fn a_topic_that_the_first_record_creates_is_told_once() {
    let server = server();
    let told = |output: &Output| output.stderr.lines().filter(|line| line.contains("created")).count();
    let first = server.run_with(&["produce", "mistyped"], b"a\nb\n").expect(0);
    assert!(first.stderr.starts_with("topic mistyped did not exist and was created\n"), "{}", first.stderr);
    assert_eq!((told(&first), first.stdout.as_str()), (1, ""));
    assert_eq!(told(&server.run_with(&["produce", "mistyped"], b"c\n").expect(0)), 0);
    server.run(&["topic", "create", "made"]).expect(0);
    assert_eq!(told(&server.run_with(&["produce", "made"], b"c\n").expect(0)), 0);
}

#[test]
fn a_topic_that_nobody_creates() {
    let server = Server::start(tidelog_harness::options!().set("auto.create.topics.enable", false));
    let start = Instant::now();
    let refused = server.run_with(&["produce", "misspelt", "--delivery-timeout", "1h"], b"x\n").expect(4);
    assert!(refused.stderr.contains("misspelt"), "{}", refused.stderr);
    println!("a typing error took {:?} to learn", start.elapsed());
    assert!(!refused.stderr.contains("created"), "{}", refused.stderr);
    server.run(&["consume", "misspelt"]).expect(4);
    server.run(&["topic", "describe", "misspelt", "--output", "json"]).expect(4);
}
