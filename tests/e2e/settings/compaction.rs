//! When a compacted topic is compacted, and what of it stays.

use tidelog_harness::kafka::PATIENCE;
use tidelog_harness::wait_until;

use crate::case::{COMPACTED, Case, append, create, now, said_by_topic_and_broker, table};

/// Four values of a key.
fn four(case: &Case<'_>) {
    (0..4).for_each(|round| case.put_key("a", Some(&round.to_string())));
}

fn count(case: &Case<'_>) -> usize {
    table(case.server, case.topic).1
}

/// Waits until every log has been looked at: a topic that is to be compacted at once is, twice, so that a whole round lies between.
fn rounds(case: &Case<'_>) {
    let control = format!("control-{}", case.topic);
    create(case.server, &control, &[&COMPACTED[..], &["min.compaction.lag.ms=0"]].concat());
    for _ in 0..2 {
        (0..4).for_each(|_| assert!(append(case.server, &control, now(), Some("a"), Some("x")).is_ok()));
        wait_until(|| table(case.server, &control).1 == 1, PATIENCE, "the control is compacted");
    }
}

#[test]
fn cleanup_policy() {
    let configs = ["segment.ms=50", "min.cleanable.dirty.ratio=0"];
    said_by_topic_and_broker("cleanup.policy", "log.cleanup.policy", &configs, |case| {
        four(case);
        rounds(case);
        assert_eq!(count(case), 4);
        case.set("compact");
        case.wait(|| count(case) == 1, "it is compacted");
        case.append(now(), None, Some("without a key")).unwrap_err();
        case.set("delete");
        case.append(now(), None, Some("without a key")).unwrap();
    });
}

#[test]
fn min_cleanable_dirty_ratio() {
    let configs = ["cleanup.policy=compact", "segment.ms=50"];
    said_by_topic_and_broker("min.cleanable.dirty.ratio", "log.cleaner.min.cleanable.ratio", &configs, |case| {
        case.set("1");
        four(case);
        rounds(case);
        assert_eq!(count(case), 4, "all of it is not more than all");
        case.set("0");
        case.wait(|| count(case) == 1, "it is compacted");
    });
}

#[test]
fn min_compaction_lag_ms() {
    said_by_topic_and_broker("min.compaction.lag.ms", "log.cleaner.min.compaction.lag.ms", &COMPACTED, |case| {
        case.set("3600000");
        four(case);
        rounds(case);
        assert_eq!(count(case), 4, "it is too young");
        case.set("0");
        case.wait(|| count(case) == 1, "it is compacted");
    });
}

#[test]
fn max_compaction_lag_ms() {
    let configs = ["cleanup.policy=compact", "segment.ms=50", "min.cleanable.dirty.ratio=1"];
    said_by_topic_and_broker("max.compaction.lag.ms", "log.cleaner.max.compaction.lag.ms", &configs, |case| {
        four(case);
        rounds(case);
        assert_eq!(count(case), 4);
        case.set("1");
        case.wait(|| count(case) == 1, "it is compacted");
    });
}

/// The first compaction that passes a tombstone says how long it stays (KIP-534).
#[test]
fn delete_retention_ms() {
    said_by_topic_and_broker("delete.retention.ms", "log.cleaner.delete.retention.ms", &COMPACTED, |case| {
        case.put_key("early", Some("x"));
        case.put_key("early", None);
        let rows = || table(case.server, case.topic);
        case.wait(|| rows().1 == 1, "the value before the tombstone is gone");
        case.set("0");
        case.put_key("late", Some("x"));
        case.put_key("late", None);
        let forgotten = || {
            // Compaction needs a reason to look again.
            case.put_key("other", Some("x"));
            !rows().0.contains_key("late")
        };
        case.wait(forgotten, "the tombstone has served its time");
        assert_eq!(rows().0.get("early"), Some(&None), "the earlier one has not");
    });
}
