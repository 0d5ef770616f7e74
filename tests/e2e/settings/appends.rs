//! What an append must be, and what becomes of its bytes.

use crate::case::{INVALID_TIMESTAMP, MESSAGE_TOO_LARGE, now, said_by_topic_and_broker, stored};

const HOUR: i64 = 3_600_000;

#[test]
fn max_message_bytes() {
    said_by_topic_and_broker("max.message.bytes", "message.max.bytes", &[], |case| {
        let long = "x".repeat(3_000);
        case.put(&long).unwrap();
        case.set("2000");
        assert_eq!(case.put(&long), Err(MESSAGE_TOO_LARGE));
        case.set("4000");
        case.put(&long).unwrap();
    });
}

#[test]
fn message_timestamp_after_max_ms() {
    said_by_topic_and_broker("message.timestamp.after.max.ms", "log.message.timestamp.after.max.ms", &[], |case| {
        let ahead = || case.append(now() + HOUR / 2, None, Some("ahead"));
        ahead().unwrap();
        case.set("1000");
        assert_eq!(ahead(), Err(INVALID_TIMESTAMP));
        case.set("3600000");
        ahead().unwrap();
    });
}

#[test]
fn message_timestamp_before_max_ms() {
    // It says nothing of how long old records are kept.
    let configs = ["retention.ms=-1"];
    said_by_topic_and_broker(
        "message.timestamp.before.max.ms",
        "log.message.timestamp.before.max.ms",
        &configs,
        |case| {
            let old = || case.append(now() - HOUR, None, Some("old"));
            old().unwrap();
            case.set("1000000");
            assert_eq!(old(), Err(INVALID_TIMESTAMP));
            case.set("4000000");
            old().unwrap();
        },
    );
}

#[test]
fn message_timestamp_type() {
    let configs = ["retention.ms=-1"];
    said_by_topic_and_broker("message.timestamp.type", "log.message.timestamp.type", &configs, |case| {
        case.append(5, None, Some("the producer's")).unwrap();
        case.set("LogAppendTime");
        let before = now();
        case.append(5, None, Some("the broker's")).unwrap();
        let times: Vec<_> = stored(case.server, case.topic).into_iter().map(|batch| batch.time).collect();
        assert_eq!(times[0], (5, false));
        assert!(times[1].1 && (before..=now()).contains(&times[1].0), "{times:?}");
    });
}

#[test]
fn compression_type() {
    said_by_topic_and_broker("compression.type", "compression.type", &[], |case| {
        case.put("as it came").unwrap();
        for codec in ["gzip", "snappy", "lz4", "zstd", "uncompressed"] {
            case.set(codec);
            case.put(codec).unwrap();
        }
        let codecs: Vec<u8> = stored(case.server, case.topic).iter().map(|batch| batch.codec).collect();
        assert_eq!(codecs, [0, 1, 2, 3, 4, 0]);
    });
}

/// The bytes of a value that repeats itself and does not, stored at two levels.
fn levels(setting: &'static str, codec: &str, low: &str, high: &str) {
    let codec = format!("compression.type={codec}");
    said_by_topic_and_broker(setting, setting, &[&codec], |case| {
        let value: String =
            (0..3_000u32).map(|n| format!("{} km S of Amboy,", n.wrapping_mul(2_654_435_761) % 997)).collect();
        for level in [low, high] {
            case.set(level);
            case.put(&value).unwrap();
        }
        let sizes: Vec<usize> = stored(case.server, case.topic).iter().map(|batch| batch.size).collect();
        assert!(sizes[1] * 10 < sizes[0] * 9, "{setting} of {low} and {high}: {sizes:?} bytes");
    });
}

#[test]
fn compression_gzip_level() {
    levels("compression.gzip.level", "gzip", "1", "9");
}

#[test]
fn compression_zstd_level() {
    levels("compression.zstd.level", "zstd", "-1000", "19");
}
