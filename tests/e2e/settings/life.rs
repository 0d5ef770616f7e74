//! How long records are kept, and how long locally.

use tidelog_harness::kafka::PATIENCE;
use tidelog_harness::{Server, wait_until};

use crate::case::{append, create, ends, now, options, said_by_topic_and_broker, segments};

const HOUR: i64 = 3_600_000;

#[test]
fn retention_ms() {
    said_by_topic_and_broker("retention.ms", "log.retention.ms", &[], |case| {
        case.append(now() - HOUR, None, Some("an hour old")).unwrap();
        // The default is a week.
        assert_eq!(ends(case.server, case.topic), (0, 1));
        case.set("1000000");
        case.wait(|| ends(case.server, case.topic) == (1, 1), "the record is gone");
        case.set("4000000");
        case.append(now() - HOUR, None, Some("an hour old")).unwrap();
        assert_eq!(ends(case.server, case.topic), (1, 2));
    });
}

/// The broker's setting in other units, which needs a start.
fn of_the_start(setting: &str, value: u32) {
    let server = Server::start(options().set(setting, value));
    create(&server, "own", &["retention.ms=-1"]);
    create(&server, "given", &[]);
    for topic in ["own", "given"] {
        append(&server, topic, now() - 2 * HOUR, None, Some("two hours old")).unwrap();
    }
    wait_until(|| ends(&server, "given") == (1, 1), PATIENCE, setting);
    assert_eq!(ends(&server, "own"), (0, 1));
}

#[test]
fn log_retention_hours() {
    of_the_start("log.retention.hours", 1);
}

#[test]
fn log_retention_minutes() {
    of_the_start("log.retention.minutes", 60);
}

/// Without it a look comes every five minutes.
#[test]
fn log_retention_check_interval_ms() {
    let server = Server::start(tidelog_harness::options!().set("log.retention.check.interval.ms", 50));
    create(&server, "short", &["retention.ms=1000000"]);
    append(&server, "short", now() - HOUR, None, Some("x")).unwrap();
    wait_until(|| ends(&server, "short") == (1, 1), PATIENCE, "the record is gone");
}

const SMALL: &str = "internal.segment.bytes=16384";

#[test]
fn retention_bytes() {
    let configs = [SMALL, "remote.storage.enable=false"];
    said_by_topic_and_broker("retention.bytes", "log.retention.bytes", &configs, |case| {
        (0..6).for_each(|_| assert!(case.put(&"y".repeat(10_000)).is_ok()));
        assert_eq!(ends(case.server, case.topic), (0, 6));
        case.set("25000");
        // A segment goes only if what stays is as much as that.
        case.wait(|| ends(case.server, case.topic).0 == 3, "what is too much is gone");
    });
}

/// What is remote stays readable; only the local copy goes.
fn local(setting: &'static str, of_broker: &'static str, value: &str) {
    let configs = [SMALL, "remote.storage.enable=true"];
    said_by_topic_and_broker(setting, of_broker, &configs, |case| {
        (0..6).for_each(|_| assert!(case.put(&"y".repeat(10_000)).is_ok()));
        let closed = case.segments() - 1;
        let uploaded = || {
            let status = case.server.run(&["tier", "status", "--output", "json"]).expect(0).json();
            let of_topic = |one: &&tidelog_harness::serde_json::Value| one["topic"] == case.topic;
            let all = status["partitions"].as_array().unwrap();
            all.iter().find(of_topic).and_then(|one| one["remote_segments"].as_u64()) == Some(closed as u64)
        };
        case.wait(uploaded, "closed segments are remote");
        assert_eq!(case.segments(), closed + 1, "and local");
        case.set(value);
        case.wait(|| segments(case.server, case.topic) == 1, "only the newest is local");
        assert_eq!(crate::case::table(case.server, case.topic).1, 6);
    });
}

#[test]
fn local_retention_bytes() {
    local("local.retention.bytes", "log.local.retention.bytes", "1");
}

#[test]
fn local_retention_ms() {
    local("local.retention.ms", "log.local.retention.ms", "1");
}
