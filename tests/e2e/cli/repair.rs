//! Repairs of a partition of which the object store has a part: nothing goes that it has.

use std::fs;
use std::path::{Path, PathBuf};

use tidelog_harness::serde_json::{Value, json};
use tidelog_harness::{Server, wait_until};

use super::{QUICK, alone, server};

/// Each fills a segment of its own.
const PER_SEGMENT: usize = 100;

fn lines(numbers: std::ops::Range<usize>) -> String {
    numbers.map(|n| format!("{n:0120}\n")).collect()
}

fn json_lines(numbers: std::ops::Range<usize>) -> String {
    numbers.map(|n| format!("{{\"n\":{n}}}\n")).collect()
}

/// Segments from 0, 100, …; the last one of `segments` is active, the others are in the store and still on the disk. Each has records of two
/// leader epochs if the server is started anew within it.
fn tiered(segments: usize, started_anew: bool) -> Server {
    let mut server = server();
    server.run(&["topic", "create", "t", "-c", "internal.segment.bytes=16384"]).expect(0);
    for segment in 0..segments {
        let from = segment * PER_SEGMENT;
        let middle = from + PER_SEGMENT / 2;
        server.run_with(&["produce", "t"], lines(from..middle).as_bytes()).expect(0);
        if started_anew {
            server.stop();
            server.start_again();
        }
        server.run_with(&["produce", "t"], lines(middle..from + PER_SEGMENT).as_bytes()).expect(0);
    }
    wait_until(
        || tier(&server)["remote_end"] == json!((segments - 1) * PER_SEGMENT),
        QUICK,
        "closed segments are uploaded",
    );
    assert_eq!(tier(&server)["local_start"], json!(0));
    server
}

fn tier(server: &Server) -> Value {
    server.run(&["tier", "status", "--output", "json"]).expect(0).json()["partitions"][0].clone()
}

fn segment(server: &Server, base: usize) -> PathBuf {
    server.data_dir().join(format!("t-0/{base:020}.log"))
}

/// Its last batch.
fn damage(log: &Path) {
    let len = fs::metadata(log).unwrap().len();
    damage_at(log, len as usize - 1);
}

fn damage_at(log: &Path, at: usize) {
    let mut bytes = fs::read(log).unwrap();
    bytes[at] ^= 1;
    fs::write(log, bytes).unwrap();
}

#[test]
fn a_repair_leaves_to_the_store_what_it_has_and_nothing_is_lost() {
    let mut server = tiered(5, true);
    server.stop();
    // Two of them: the first mend is not the last.
    damage_at(&segment(&server, 100), 200);
    damage(&segment(&server, 200));
    let kept = fs::read(segment(&server, 100)).unwrap();
    let data = server.data_dir();
    let data = data.to_str().unwrap();
    let would = alone(&["log", "repair", data]).expect(0);
    assert!(would.stdout.starts_with("t-0: would begin on this disk at offset 300: "), "{would:?}");
    assert!(would.stdout.contains("none of that is lost") && !would.stdout.contains("are lost"), "{would:?}");
    assert!(would.stderr.contains("--yes") && fs::read(segment(&server, 100)).unwrap() == kept, "{would:?}");
    let done = alone(&["log", "repair", data, "--yes", "--output", "json"]).expect(0).json();
    assert_eq!((&done[0]["left_to_store"]["local_start"], &done[0]["repaired"]), (&json!(300), &json!(true)), "{done}");
    assert_eq!((&done[0]["log_end"], &done[0]["reason"]), (&json!(500), &Value::Null), "{done}");
    assert!(fs::read(segment(&server, 100).with_added_extension("cut")).unwrap() == kept, "what goes is kept");
    assert_eq!(alone(&["log", "repair", data]).expect(0).stdout, "nothing to repair in 1 partition\n");

    server.start_again();
    assert_eq!(server.run(&["consume", "t"]).expect(0).stdout, lines(0..500));
    // The next version of the manifest has all of it still.
    for from in [500, 600] {
        server.run_with(&["produce", "t"], lines(from..from + PER_SEGMENT).as_bytes()).expect(0);
    }
    wait_until(|| tier(&server)["remote_end"] == json!(600), QUICK, "it goes on behind what was uploaded");
    let now = tier(&server);
    assert_eq!((&now["remote_start"], &now["local_start"]), (&json!(0), &json!(300)), "{now}");
    assert_eq!(server.run(&["consume", "t"]).expect(0).stdout, lines(0..700));
}

#[test]
fn a_repair_of_what_the_store_has_not_loses_no_more_than_that() {
    let mut server = tiered(3, false);
    server.stop();
    // Nothing of the last two is left: the one that is in the store, and the active one.
    for base in [100, 200] {
        fs::remove_file(segment(&server, base)).unwrap();
    }
    let folder = server.data_dir().join("t-0");
    let done = alone(&["log", "repair", folder.to_str().unwrap(), "--yes"]).expect(0).stdout;
    assert!(done.starts_with("t-0: begins now on this disk at offset 200: "), "{done}");
    assert!(done.contains("t-0: ends now at offset 200: "), "{done}");
    assert!(done.contains("the records from offset 200 up to offset 299 are lost, acknowledged ones too"), "{done}");

    server.start_again();
    server.run_with(&["produce", "t"], lines(200..250).as_bytes()).expect(0);
    assert_eq!(server.run(&["consume", "t"]).expect(0).stdout, lines(0..250));
}

#[test]
fn a_repair_of_a_tables_topic_says_what_becomes_of_the_table() {
    let mut server = server();
    let configs = ["tidelog.table.enable=true", "tidelog.table.flush.interval.ms=100"];
    server.run(&["topic", "create", "t", "-c", configs[0], "-c", configs[1]]).expect(0);
    let exported = |server: &Server, end: i64| {
        let status = server.run(&["table", "status", "--output", "json"]).expect(0).json();
        status["tables"][0]["partitions"][0]["exported_end"] == json!(end)
    };
    server.run_with(&["produce", "t"], json_lines(0..10).as_bytes()).expect(0);
    server.run_with(&["produce", "t"], json_lines(10..20).as_bytes()).expect(0);
    wait_until(|| exported(&server, 20), QUICK, "the table has everything");
    server.stop();
    damage(&segment(&server, 0));
    let data = server.data_dir();
    let done = alone(&["log", "repair", data.to_str().unwrap(), "--yes"]).expect(0).stdout;
    let told = done.lines().find(|line| line.contains("the topic is a table")).unwrap_or_else(|| panic!("{done}"));
    assert!(told.contains("rows from offset 10 on that the log has no more"), "{told}");
    let folder = told.split_once("move ").unwrap().1.split_once(" of the cluster").unwrap().0;
    // Who did not read it hears it again, before new records take the offsets of what was exported.
    server.start_again();
    let table = || server.run(&["table", "status", "--output", "json"]).expect(0).json()["tables"][0].clone();
    let stopped = || table()["phase"]["stopped"].as_str().map(str::to_owned);
    wait_until(|| stopped().is_some(), QUICK, "the export ends");
    let reason = stopped().unwrap();
    assert!(reason.contains("ends at offset 10") && reason.contains(folder), "{reason}");
    server.stop();
    let mut clusters = fs::read_dir(data.join("object-store")).unwrap().map(|entry| entry.unwrap().path());
    let table = clusters.find_map(|cluster| Some(cluster.join(folder)).filter(|table| table.is_dir()));
    fs::remove_dir_all(table.unwrap()).unwrap();

    server.start_again();
    server.run_with(&["produce", "t"], json_lines(30..40).as_bytes()).expect(0);
    wait_until(|| exported(&server, 20), QUICK, "the table has what the log has");
    let sum = server.run(&["query", "SELECT sum(n) AS sum FROM t", "--output", "json"]).expect(0).json();
    let expected = (0..10).sum::<i64>() + (30..40).sum::<i64>();
    assert_eq!(sum["rows"][0]["sum"].as_f64(), Some(expected as f64), "{sum}");
}
