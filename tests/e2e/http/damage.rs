//! What the disk has changed: nobody gets it as a good event, and a person hears of it.

use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use tidelog_harness::serde_json::{self, Value, json};
use tidelog_harness::{Server, http, tokio, wait_until};

use crate::server;

fn segment(server: &Server, partition: &str) -> PathBuf {
    server.data_dir().join(partition).join("00000000000000000000.log")
}

/// Another digit on the disk.
fn change(path: &Path, from: &str, to: &str) {
    let mut bytes = std::fs::read(path).unwrap();
    let at = bytes.windows(from.len()).position(|window| window == from.as_bytes()).unwrap();
    bytes.splice(at..at + from.len(), to.bytes());
    std::fs::write(path, bytes).unwrap();
}

async fn lines(server: &Server, from: i64) -> Vec<Value> {
    let url = server.url(&format!("/v1/topics/t/events?partition=0&from={from}&limit=10"));
    let body = http().get(url).send().await.unwrap().text().await.unwrap();
    body.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{body}"))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_disk_has_changed_is_given_out_by_nobody() {
    let mut server = server();
    server.run(&["topic", "create", "t", "-p", "1"]).expect(0);
    for value in ["{\"id\":1}\n", "{\"id\":27150}\n", "{\"id\":3}\n"] {
        server.run_with(&["produce", "t"], value.as_bytes()).expect(0);
    }
    server.stop();
    change(&segment(&server, "t-0"), "27150", "97150");
    server.start_again();

    let found = lines(&server, 0).await;
    assert_eq!(found.iter().map(|line| line["offset"].as_i64().unwrap()).collect::<Vec<_>>(), [0, 1, 2], "{found:?}");
    assert_eq!((&found[0]["value"]["id"], &found[2]["value"]["id"]), (&json!(1), &json!(3)));
    let lost = &found[1];
    assert_eq!((&lost["error_code"], &lost["last_offset"]), (&json!("CORRUPT_MESSAGE"), &json!(1)), "{lost}");
    let message = lost["message"].as_str().unwrap();
    for part in ["Topic t, partition 0", "offset 1 ", "CRC32C", "tidelog log dump"] {
        assert!(message.contains(part), "{part}: {message}");
    }
    assert_eq!(lines(&server, 1).await[0], *lost);
    let told = || server.log().lines().filter(|line| line.contains("damaged record batch")).count();
    assert_eq!(told(), 1, "once, however often it is read");

    // As a table: the wrong number is in no row, and the table says what it lacks.
    server
        .run(&[
            "topic",
            "config",
            "t",
            "--set",
            "tidelog.table.enable=true",
            "--set",
            "tidelog.table.flush.interval.ms=100",
        ])
        .expect(0);
    let status = || server.run(&["table", "status", "--output", "json"]).expect(0).json()["tables"][0].clone();
    wait_until(|| status()["rows"] == 2, tidelog_harness::kafka::PATIENCE, "the others are exported");
    assert_eq!(status()["skipped_records"], 1, "{}", status());
    let rows = server.run(&["query", "SELECT id FROM t ORDER BY id", "--output", "json"]).expect(0).stdout;
    assert!(rows.contains('3') && !rows.contains("7150"), "{rows}");
    server.stop();
}

/// Where the batches of a segment begin.
fn places(bytes: &[u8]) -> Vec<u64> {
    let (mut places, mut at) = (Vec::new(), 0);
    while at < bytes.len() {
        places.push(at as u64);
        at += 12 + u32::from_be_bytes(bytes[at + 8..at + 12].try_into().unwrap()) as usize;
    }
    places
}

#[tokio::test(flavor = "multi_thread")]
async fn a_header_that_is_gone_ends_nobodys_way() {
    let mut server = server();
    server.run(&["topic", "create", "t", "-p", "1"]).expect(0);
    for id in 0..5 {
        server.run_with(&["produce", "t"], format!("{{\"id\":{id}}}\n").as_bytes()).expect(0);
    }
    let path = segment(&server, "t-0");
    let second = places(&std::fs::read(&path).unwrap())[1];
    std::fs::OpenOptions::new().write(true).open(&path).unwrap().write_all_at(&[0; 61], second).unwrap();

    let found = lines(&server, 0).await;
    assert_eq!(
        found.iter().map(|line| line["offset"].as_i64().unwrap()).collect::<Vec<_>>(),
        [0, 1, 2, 3, 4],
        "{found:?}"
    );
    assert_eq!(
        (&found[1]["error_code"], &found[1]["last_offset"]),
        (&json!("CORRUPT_MESSAGE"), &json!(1)),
        "{found:?}"
    );
    assert!(found[1]["message"].as_str().unwrap().contains("offset 2: reading goes on there"), "{found:?}");
    assert_eq!(lines(&server, 3).await[..], found[3..]);
    let told = || server.log().lines().filter(|line| line.contains("damaged record batch")).count();
    assert_eq!(told(), 1, "{}", server.log());

    // SQL does not wait for the export, which lacks the same.
    let set = |value: &str| server.run(&["topic", "config", "t", "--set", value]).expect(0);
    set("tidelog.table.flush.interval.ms=3600000");
    set("tidelog.table.enable=true");
    let rows = || server.run(&["query", "SELECT id FROM t ORDER BY id", "--output", "json"]);
    wait_until(|| rows().code == Some(0), tidelog_harness::kafka::PATIENCE, "the table is there");
    let before = rows().expect(0).json()["rows"].clone();
    assert_eq!(before, json!([{"id": 0.0}, {"id": 2.0}, {"id": 3.0}, {"id": 4.0}]));
    set("tidelog.table.flush.interval.ms=100");
    let status = || server.run(&["table", "status", "--output", "json"]).expect(0).json()["tables"][0].clone();
    wait_until(|| status()["rows"] == 4, tidelog_harness::kafka::PATIENCE, "the others are exported");
    assert_eq!(status()["skipped_records"], 1, "{}", status());
    assert_eq!(rows().expect(0).json()["rows"], before);
    server.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_that_cuts_a_log_is_counted_and_told_once() {
    let mut server = server();
    server.run(&["topic", "create", "t", "-p", "1"]).expect(0);
    for value in ["one\n", "27150\n", "three\n"] {
        server.run_with(&["produce", "t"], value.as_bytes()).expect(0);
    }
    server.kill();
    change(&segment(&server, "t-0"), "27150", "97150");
    server.start_again();
    let metrics = http().get(server.url("/metrics")).send().await.unwrap().text().await.unwrap();
    assert!(metrics.lines().any(|line| line == "tidelog_log_recovery_cuts_total 1"), "{metrics}");
    let told = server.log().lines().filter(|line| line.contains(".log.cut")).count();
    assert_eq!(told, 1, "{}", server.log());
    server.stop();
}
