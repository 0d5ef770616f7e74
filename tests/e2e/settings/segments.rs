//! When a segment ends.

use tidelog_harness::Server;

use crate::case::{append, create, now, options, said_by_topic, said_by_topic_and_broker, segments};

const HOUR: i64 = 3_600_000;

#[test]
fn segment_bytes() {
    said_by_topic_and_broker("segment.bytes", "log.segment.bytes", &[], |case| {
        let value = "x".repeat(600_000);
        let three = || (0..3).for_each(|_| assert!(case.put(&value).is_ok()));
        three();
        assert_eq!(case.segments(), 1);
        case.set("1048576");
        three();
        assert_eq!(case.segments(), 4, "one batch in each");
    });
}

#[test]
fn internal_segment_bytes() {
    said_by_topic("internal.segment.bytes", &["segment.bytes=1048576"], |case| {
        let value = "x".repeat(10_000);
        let three = || (0..3).for_each(|_| assert!(case.put(&value).is_ok()));
        three();
        assert_eq!(case.segments(), 1);
        case.set("16384");
        three();
        assert_eq!(case.segments(), 4);
    });
}

#[test]
fn segment_ms() {
    said_by_topic_and_broker("segment.ms", "log.roll.ms", &["tidelog.tier.roll.ms=604800000"], |case| {
        case.put("x").unwrap();
        case.put("x").unwrap();
        assert_eq!(case.segments(), 1);
        case.set("100");
        case.wait(|| case.segments() == 2, "the segment ends though nothing is written");
    });
}

#[test]
fn tidelog_tier_roll_ms() {
    said_by_topic("tidelog.tier.roll.ms", &["remote.storage.enable=true"], |case| {
        case.put("x").unwrap();
        case.put("x").unwrap();
        assert_eq!(case.segments(), 1);
        case.set("100");
        case.wait(|| case.segments() == 2, "the segment of a tiered topic ends");
        // What is not tiered has nothing to do with it.
        create(case.server, "local", &["remote.storage.enable=false", "tidelog.tier.roll.ms=100"]);
        append(case.server, "local", now() - HOUR, None, Some("x")).unwrap();
        append(case.server, "local", now(), None, Some("x")).unwrap();
        assert_eq!(segments(case.server, "local"), 1);
    });
}

/// Forty batches, and how many segments they are in.
fn forty(case: &crate::case::Case<'_>) -> usize {
    (0..40).for_each(|_| assert!(case.put("x").is_ok()));
    case.segments()
}

#[test]
fn index_interval_bytes() {
    // An index of eight entries is full after eight times the interval.
    let configs = ["segment.index.bytes=64"];
    said_by_topic_and_broker("index.interval.bytes", "log.index.interval.bytes", &configs, |case| {
        assert_eq!(forty(case), 1);
        case.set("0");
        let count = forty(case);
        assert!((4..=6).contains(&count), "{count} segments");
    });
}

#[test]
fn segment_index_bytes() {
    let configs = ["index.interval.bytes=0"];
    said_by_topic_and_broker("segment.index.bytes", "log.index.size.max.bytes", &configs, |case| {
        assert_eq!(forty(case), 1);
        case.set("64");
        let count = forty(case);
        assert!((4..=7).contains(&count), "{count} segments");
    });
}

/// The broker's setting in hours, which needs a start; the default is a week.
#[test]
fn log_roll_hours() {
    let server = Server::start(options().set("log.roll.hours", 1));
    let untiered = "remote.storage.enable=false";
    create(&server, "given", &[untiered]);
    create(&server, "own", &[untiered, "segment.ms=604800000"]);
    for topic in ["given", "own"] {
        for time in [now() - 2 * HOUR, now()] {
            append(&server, topic, time, None, Some("x")).unwrap();
        }
    }
    assert!(segments(&server, "given") > 1, "two hours lie between the records");
    assert_eq!(segments(&server, "own"), 1);
}
