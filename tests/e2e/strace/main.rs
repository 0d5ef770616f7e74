//! What the process asks of the kernel, and in which order: flush before answer, `sendfile` for fetches.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test may fail this way

use std::collections::HashMap;
use std::thread;
use std::time::Duration;

use tidelog_harness::kafka::{Producer, read_all};
use tidelog_harness::protocol::messages::ProduceRequest;
use tidelog_harness::raw::{Raw, batch, produce};
use tidelog_harness::strace::{Call, parse};
use tidelog_harness::{Server, wait_until};

/// Connections that write at the same time, so that flushes are shared.
const WRITERS: usize = 4;

/// Everything that writes to files or sockets, and everything that flushes.
const TRACED: &str = "pwrite64,pwritev,pwritev2,write,writev,sendto,sendmsg,fdatasync,fsync,syncfs";

/// Requests of each.
const REQUESTS: usize = 25;

/// A server under strace, or `None` where strace is missing or may not trace; CI says that it must (`TIDELOG_NEEDS_STRACE`).
fn traced(calls: &str) -> Option<Server> {
    let probe = std::process::Command::new("strace").args(["-o", "/dev/null", "true"]).output();
    if !probe.as_ref().is_ok_and(|output| output.status.success()) {
        assert!(std::env::var_os("TIDELOG_NEEDS_STRACE").is_none(), "strace cannot trace here: {probe:?}");
        eprintln!("SKIPPED: strace is not installed or may not trace here; `apt-get install strace`");
        return None;
    }
    Some(Server::start(tidelog_harness::options!().strace(calls)))
}

/// The whole trace, after an orderly stop and once strace has written its last line.
fn calls(mut server: Server) -> Vec<Call> {
    let pid = server.pid().as_raw_nonzero().to_string();
    server.stop();
    let complete = || server.trace().lines().any(|line| line.starts_with(&pid) && line.contains("+++ exited"));
    wait_until(complete, Duration::from_secs(90), "strace has written everything");
    parse(&server.trace())
}

/// A text that marks one request in the trace.
fn marker(writer: usize, request: usize) -> String {
    format!("marker-{writer:02}-{request:04}-end")
}

fn contains(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

#[test]
fn no_answer_leaves_before_the_flush_that_covers_it() {
    let Some(server) = traced(TRACED) else { return };
    server.run(&["topic", "create", "flushed", "-p", "2"]).expect(0);
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let address = server.kafka().to_owned();
            thread::spawn(move || {
                let mut raw = Raw::connect(&address);
                for request in 0..REQUESTS {
                    let value = marker(writer, request);
                    // The client's correlation ids are unique over all writers: an answer names its request.
                    raw.set_next(i32::try_from(1_000_000 + writer * 1000 + request).unwrap());
                    let body = produce("flushed", (writer % 2) as i32, -1, batch(&[value.as_bytes()]));
                    let answer = raw.call::<ProduceRequest>(7, &body);
                    assert_eq!(answer.responses[0].partition_responses[0].error_code, 0);
                }
            })
        })
        .collect();
    writers.into_iter().for_each(|writer| writer.join().unwrap());
    let calls = calls(server);

    // Where each answer left: frames on sockets, by correlation id.
    let mut left: HashMap<i32, &Call> = HashMap::new();
    for call in calls.iter().filter(|call| ["write", "writev", "sendto", "sendmsg"].contains(&call.name.as_str())) {
        for id in correlation_ids(&call.bytes()) {
            left.entry(id).or_insert(call);
        }
    }
    for writer in 0..WRITERS {
        for request in 0..REQUESTS {
            let text = marker(writer, request);
            let file = format!("flushed-{}/", writer % 2);
            let written = calls
                .iter()
                .find(|call| {
                    call.name.starts_with("pwrite")
                        && call.targets()[0].contains(&file)
                        && contains(&call.bytes(), &text)
                })
                .unwrap_or_else(|| panic!("{text} was never written"));
            let covers = |call: &&Call| match call.name.as_str() {
                "fdatasync" | "fsync" => call.targets() == written.targets(),
                name => name == "syncfs",
            };
            let flushed = calls
                .iter()
                .filter(covers)
                .find(|call| call.succeeded() && call.began > written.ended)
                .unwrap_or_else(|| panic!("{text} was never flushed"));
            let id = i32::try_from(1_000_000 + writer * 1000 + request).unwrap();
            let answered = left.get(&id).unwrap_or_else(|| panic!("no answer to {text} in the trace"));
            assert!(
                answered.began > flushed.ended,
                "{text}: written on line {}, answered on line {}, flushed on lines {} to {}",
                written.ended,
                answered.began,
                flushed.began,
                flushed.ended
            );
        }
    }
}

/// Correlation ids of the response frames that these bytes are made of.
fn correlation_ids(mut bytes: &[u8]) -> Vec<i32> {
    let mut ids = Vec::new();
    while let Some((head, _)) = bytes.split_first_chunk::<8>() {
        let length = i32::from_be_bytes([head[0], head[1], head[2], head[3]]);
        ids.push(i32::from_be_bytes([head[4], head[5], head[6], head[7]]));
        let Ok(length) = usize::try_from(length) else { break };
        let Some(rest) = bytes.get(length.saturating_add(4)..) else { break };
        bytes = rest;
    }
    ids
}

#[test]
fn a_fetch_goes_by_sendfile() {
    let Some(server) = traced("sendfile,write,writev,sendto,sendmsg") else { return };
    let producer = Producer::new(server.kafka(), &[("compression.type", "none")]);
    let value = [b'v'; 50_000];
    for _ in 0..60 {
        producer.send_value("sent", 0, &value);
    }
    producer.finish_well();
    let read = read_all(server.kafka(), "sent", &[0]);
    assert_eq!(read[&0].len(), 60);
    let calls = calls(server);
    let from_log =
        |call: &&Call| call.name == "sendfile" && call.targets().iter().any(|target| target.contains("/sent-0/"));
    let sent: u64 = calls.iter().filter(from_log).filter_map(|call| call.result.parse::<u64>().ok()).sum();
    assert!(sent >= 60 * 50_000, "{sent} bytes by sendfile of {}", 60 * 50_000);
    // And not a second time through the process's memory.
    let run = "v".repeat(1000);
    let copied = calls.iter().filter(|call| call.name != "sendfile" && contains(&call.bytes(), &run)).count();
    assert_eq!(copied, 0, "record bytes were written from memory");
}
