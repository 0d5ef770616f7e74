//! When a topic becomes files, what its columns are, and how long retention waits for them.

use tidelog_harness::kafka::PATIENCE;
use tidelog_harness::{Server, wait_for, wait_until};

use crate::case::{Case, append, create, ends, now, said_by_topic};

const HOUR: i64 = 3_600_000;
const LATE: &str = "tidelog.table.flush.interval.ms=3600000";
const TABLE: &str = "tidelog.table.enable=true";

/// How far the topic is exported.
fn exported(server: &Server, topic: &str) -> Option<i64> {
    let status = server.run(&["table", "status", "--output", "json"]).expect(0).json();
    let table = status["tables"].as_array().unwrap().iter().find(|table| table["topic"] == topic)?.clone();
    table["partitions"][0]["exported_end"].as_i64()
}

fn is_known(server: &Server, topic: &str) -> bool {
    let status = server.run(&["table", "status", "--output", "json"]).expect(0).json();
    status["tables"].as_array().unwrap().iter().any(|table| table["topic"] == topic)
}

fn put(case: &Case<'_>, count: usize, value: &str) {
    (0..count).for_each(|_| assert!(case.append(now(), Some("k"), Some(value)).is_ok()));
}

/// Nothing is exported before the setting says so.
fn begins(setting: &'static str, configs: &[&str], count: usize, value: &str, changed: &str) {
    said_by_topic(setting, &[configs, &[TABLE]].concat(), |case| {
        put(case, count, value);
        // Another table has its turn meanwhile.
        create(case.server, "control", &[TABLE, "tidelog.table.flush.interval.ms=100"]);
        append(case.server, "control", now(), None, Some("{}")).unwrap();
        wait_until(|| exported(case.server, "control") == Some(1), PATIENCE, "the control is exported");
        assert_eq!(exported(case.server, case.topic).unwrap_or(0), 0);
        case.set(changed);
        put(case, 1, value);
        case.wait(|| exported(case.server, case.topic) > Some(0), "it is exported");
    });
}

#[test]
fn tidelog_table_enable() {
    said_by_topic("tidelog.table.enable", &["tidelog.table.flush.interval.ms=100"], |case| {
        put(case, 3, "{\"n\":1}");
        case.server.run(&["query", "SELECT count(*) FROM own"]).expect(1);
        case.set("true");
        case.wait(|| exported(case.server, case.topic) == Some(3), "it is exported");
        let rows = case.server.run(&["query", "SELECT count(*) AS n FROM own", "--output", "json"]).expect(0).json();
        assert_eq!(rows["rows"][0]["n"], 3);
    });
}

#[test]
fn tidelog_table_flush_records() {
    begins("tidelog.table.flush.records", &[LATE], 9, "{}", "10");
}

#[test]
fn tidelog_table_flush_bytes() {
    begins("tidelog.table.flush.bytes", &[LATE], 3, &format!("\"{}\"", "x".repeat(600_000)), "1048576");
}

#[test]
fn tidelog_table_flush_interval_ms() {
    begins("tidelog.table.flush.interval.ms", &[LATE], 3, "{}", "100");
}

/// The type of a column, as SQL has it, once the table has it.
fn kind(case: &Case<'_>, column: &str) -> String {
    let described = || {
        let rows = case.server.run(&["query", "DESCRIBE own", "--output", "json"]).expect(0).json();
        let row = rows["rows"].as_array()?.iter().find(|row| row["column_name"] == column)?.clone();
        Some(row["data_type"].as_str()?.to_owned())
    };
    wait_for(described, PATIENCE, column)
}

/// What a column is holds from the table's beginning on.
fn column(setting: &'static str, column: &str, kinds: [(&str, &str); 2]) {
    for (value, wanted) in kinds {
        let chosen = format!("{setting}={value}");
        said_by_topic(setting, &[TABLE, &chosen], |case| {
            put(case, 1, "{\"n\":12}");
            assert_eq!(kind(case, column), wanted, "{chosen}");
        });
    }
}

#[test]
fn tidelog_table_json_integers() {
    column("tidelog.table.json.integers", "n", [("other", "DOUBLE"), ("n,deep.m", "BIGINT")]);
}

#[test]
fn tidelog_table_key_format() {
    column("tidelog.table.key.format", "_key", [("binary", "BLOB"), ("string", "VARCHAR")]);
}

/// What a column is follows the setting until the table has a file.
fn follows(setting: &'static str, column: &'static str, (first, then): (&str, &str), (before, after): (&str, &str)) {
    let chosen = format!("{setting}={first}");
    said_by_topic(setting, &[TABLE, LATE, &chosen], |case| {
        put(case, 1, "{\"n\":12}");
        case.wait(|| kind(case, column) == before, "the column is there");
        case.set(then);
        case.wait(|| kind(case, column) == after, "nothing is exported yet");
    });
}

#[test]
fn tidelog_table_key_format_of_a_table_without_files() {
    follows("tidelog.table.key.format", "_key", ("binary", "string"), ("BLOB", "VARCHAR"));
}

#[test]
fn tidelog_table_key_format_of_a_table_with_files() {
    said_by_topic("tidelog.table.key.format", &[TABLE, "tidelog.table.flush.interval.ms=100"], |case| {
        put(case, 1, "{\"n\":12}");
        case.wait(|| exported(case.server, case.topic) == Some(1), "it is exported");
        let change = ["topic", "config", case.topic, "--set", "tidelog.table.key.format=string"];
        let refused = case.server.run(&change).expect(1).stderr;
        assert!(refused.contains("can only be binary") && refused.contains("new topic"), "{refused}");
    });
}

#[test]
fn tidelog_table_retention_grace_ms() {
    said_by_topic("tidelog.table.retention.grace.ms", &[TABLE, LATE, "retention.ms=1000000"], |case| {
        create(case.server, "control", &["retention.ms=1000000"]);
        wait_until(|| is_known(case.server, case.topic), PATIENCE, "the export knows the table");
        for _ in 0..2 {
            let (start, _) = ends(case.server, "control");
            for topic in [case.topic, "control"] {
                append(case.server, topic, now() - HOUR, None, Some("{}")).unwrap();
            }
            wait_until(|| ends(case.server, "control").0 > start, PATIENCE, "what is no table is removed");
        }
        let rows = exported(case.server, case.topic).unwrap_or(0);
        assert_eq!((ends(case.server, case.topic), rows), ((0, 2), 0), "the table lacks them");
        case.set("0");
        case.wait(|| ends(case.server, case.topic) == (2, 2), "they are removed all the same");
    });
}
