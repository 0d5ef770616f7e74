//! SQL over tables: exported files, the log behind them, and both together.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod bench;

use std::sync::Arc;
use std::time::Duration;

use bench::support::{name, patient, sample};
use bench::{bench, fill};
use serde_json::{Value, json};
use tidelog_query::{MayRead, QueryError, QueryLimits};
use tidelog_tables::TableSettings;

const BY_NETWORK: &str =
    "SELECT properties['net'] AS net, count(*) AS events FROM quakes GROUP BY net ORDER BY events DESC, net LIMIT 3";
const STRONGEST: &str = "SELECT properties.mag AS mag, properties.place AS place, to_timestamp_millis(properties.time) AS at \
                         FROM quakes ORDER BY mag DESC, place LIMIT 5";
const PER_HOUR: &str = "SELECT date_trunc('hour', to_timestamp_millis(properties.time)) AS hour, count(*) AS events \
                        FROM quakes GROUP BY hour ORDER BY hour";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_has_every_committed_record() {
    let lines = sample();
    let bench = bench(QueryLimits::default(), |log| {
        log.create("quakes", 3, Some(patient()));
    })
    .await;
    let count = "SELECT count(*) AS n, count(DISTINCT id) AS ids FROM quakes";
    let n = |n: usize| json!([{"n": n, "ids": n}]);
    assert_eq!(bench.ask("SELECT count(*) AS n FROM quakes").await, json!([{"n": 0}]), "an empty table");

    fill(&bench.log, "quakes", 3, &lines[..700]);
    assert_eq!(bench.ask(count).await, n(700), "all in the log");
    bench.exporter.flush(&name("quakes")).await.unwrap();
    assert_eq!(bench.ask(count).await, n(700), "all in files");
    fill(&bench.log, "quakes", 3, &lines[700..]);
    assert_eq!(bench.ask(count).await, n(1_707), "both");
    let both = [bench.ask(BY_NETWORK).await, bench.ask(STRONGEST).await, bench.ask(PER_HOUR).await];
    bench.exporter.flush(&name("quakes")).await.unwrap();
    assert_eq!(bench.exporter.status()[0].rows, 1_707);
    assert_eq!([bench.ask(BY_NETWORK).await, bench.ask(STRONGEST).await, bench.ask(PER_HOUR).await], both);

    // The same from the sample itself.
    let events: Vec<Value> = lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let sum: f64 = events.iter().filter_map(|e| e["properties"]["mag"].as_f64()).sum();
    let sums = bench.ask("SELECT sum(properties.mag) AS mag, count(properties.alert) AS alerts, count(properties.gap) AS gaps, max(properties['magType']) AS kind FROM quakes").await;
    assert!((sums[0]["mag"].as_f64().unwrap() - sum).abs() < 1e-6);
    assert_eq!((&sums[0]["alerts"], &sums[0]["gaps"]), (&json!(12), &json!(1_404)));
    let strongest = events.iter().filter_map(|e| e["properties"]["mag"].as_f64()).fold(f64::MIN, f64::max);
    assert_eq!(both[1][0]["mag"], json!(strongest));
    let hours: i64 = both[2].as_array().unwrap().iter().map(|row| row["events"].as_i64().unwrap()).sum();
    assert_eq!(hours, 1_707);
    assert!(both[2][0]["hour"].as_str().unwrap().ends_with(":00:00"), "{}", both[2][0]["hour"]);
    let us = events.iter().filter(|e| e["properties"]["net"] == both[0][0]["net"]).count();
    assert_eq!(both[0][0]["events"], json!(us));
}

/// Files will lack the same rows: no query waits for them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damaged_batches_are_passed_over_before_they_are_exported_and_after() {
    let bench = bench(QueryLimits::default(), |log| {
        log.create("t", 1, Some(patient()));
        for n in 0..6 {
            log.append("t", 0, &[&format!("{{\"n\":{n}}}")]);
        }
        for base in [0, 3, 5] {
            log.damage("t", 0, base);
        }
    })
    .await;
    let rows = json!([{"n": 1.0}, {"n": 2.0}, {"n": 4.0}]);
    assert_eq!(bench.ask("SELECT n FROM t ORDER BY n").await, rows);
    bench.exporter.flush(&name("t")).await.unwrap();
    assert_eq!(bench.ask("SELECT n FROM t ORDER BY n").await, rows);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_and_their_columns_can_be_asked_for() {
    let bench = bench(QueryLimits::default(), |log| {
        log.create("zoo.animals", 1, Some(patient()));
        log.create("events", 1, Some(patient()));
        log.create("plain", 1, None);
    })
    .await;
    bench.log.append("events", 0, &[r#"{"a":1,"Mag":{"x":true,"l":["s"]}}"#]);
    assert_eq!(bench.ask("SHOW TABLES").await, json!([{"table_name": "events"}, {"table_name": "zoo.animals"}]));
    let columns = bench.ask("DESCRIBE events").await;
    let rows: Vec<String> = columns
        .as_array()
        .unwrap()
        .iter()
        .map(|row| {
            format!("{} {} {}", row["column_name"], row["data_type"], row["is_nullable"]).replace(['"', '\\'], "")
        })
        .collect();
    for row in ["_partition INTEGER NO", "_offset BIGINT NO", "a DOUBLE YES", "Mag STRUCT(x BOOLEAN, l VARCHAR[]) YES"]
    {
        assert!(rows.iter().any(|found| found == row), "{row} is not in {rows:?}");
    }
    for sql in ["DESC events", "SHOW COLUMNS FROM events", "describe \"events\""] {
        assert_eq!(bench.ask(sql).await, columns, "{sql}");
    }
    assert!(bench.ask("DESCRIBE \"zoo.animals\"").await.as_array().is_some_and(|rows| !rows.is_empty()));
    assert!(bench.refused("DESCRIBE zoo.animals").await.contains("double quotes"));
    assert!(bench.refused("DESCRIBE plain").await.contains("tidelog.table.enable"));
    assert!(bench.refused("DESCRIBE none").await.contains("there is no topic"));
    assert!(bench.refused("SHOW VIEWS").await.contains("SHOW TABLES and DESCRIBE"));
    let only_plain: MayRead = Arc::new(|topic| topic.as_str() == "plain");
    let shown = bench.engine.query("SHOW TABLES", Arc::clone(&only_plain)).await.unwrap();
    assert_eq!(shown.rows.get(), "[]");
    let denied = bench.engine.query("DESCRIBE events", only_plain).await.unwrap_err();
    assert!(matches!(denied, QueryError::Denied(_)), "{denied:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn older_files_have_null_where_columns_came_later() {
    let bench = bench(QueryLimits::default(), |log| {
        log.create("t", 1, Some(patient()));
    })
    .await;
    for line in [
        r#"{"a":1,"o":{"x":1},"l":[{"p":1}],"d":{"e":{"f":1}}}"#,
        r#"{"a":2,"o":{"x":2,"y":"new"},"l":[{"p":2,"q":true}],"d":{"e":{"g":"deep"}},"b":"later"}"#,
    ] {
        bench.log.append("t", 0, &[line]);
        bench.exporter.flush(&name("t")).await.unwrap();
    }
    bench.log.append("t", 0, &[r#"{"a":3,"o":{"z":[1]},"c":true}"#]);
    assert_eq!(bench.exporter.status()[0].files, 2);
    assert_eq!(
        bench.ask("SELECT a, b, c, o, l, d FROM t ORDER BY a").await,
        json!([
            {"a": 1.0, "b": null, "c": null, "o": {"x": 1.0, "y": null, "z": null}, "l": [{"p": 1.0, "q": null}], "d": {"e": {"f": 1.0, "g": null}}},
            {"a": 2.0, "b": "later", "c": null, "o": {"x": 2.0, "y": "new", "z": null}, "l": [{"p": 2.0, "q": true}], "d": {"e": {"f": null, "g": "deep"}}},
            {"a": 3.0, "b": null, "c": true, "o": {"x": null, "y": null, "z": [1.0]}, "l": null, "d": null},
        ])
    );
    assert_eq!(bench.ask("SELECT a FROM t WHERE c").await, json!([{"a": 3.0}]));
    assert_eq!(bench.ask("SELECT a FROM t WHERE o.y = 'new'").await, json!([{"a": 2.0}]));
    assert_eq!(bench.ask("SELECT a FROM t WHERE d.e.g = 'deep' AND b IS NOT NULL").await, json!([{"a": 2.0}]));
    assert_eq!(bench.ask("SELECT a FROM t WHERE a > 1.5 ORDER BY a DESC LIMIT 1").await, json!([{"a": 3.0}]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn facts_and_misfits_can_be_asked() {
    let bench = bench(QueryLimits::default(), |log| {
        log.create("t", 2, Some(TableSettings { key_format: tidelog_tables::KeyFormat::String, ..patient() }));
        log.append("t", 1, &[r#"{"id":1}"#, r#"{"id":"one"}"#, "no json"]);
    })
    .await;
    let answer = bench
        .try_ask("SELECT _partition, _offset, _key, _timestamp, id, _raw, _value FROM t ORDER BY _offset")
        .await
        .unwrap();
    let json = serde_json::to_value(&answer).unwrap();
    let types: Vec<_> = json["columns"].as_array().unwrap().iter().map(|c| c["type"].as_str().unwrap()).collect();
    assert_eq!(types, ["INTEGER", "BIGINT", "VARCHAR", "TIMESTAMP WITH TIME ZONE", "DOUBLE", "VARCHAR", "BLOB"]);
    assert_eq!(
        json["rows"][0],
        json!({"_partition": 1, "_offset": 0, "_key": "key 0", "_timestamp": "2017-07-14T02:40:00Z", "id": 1.0, "_raw": null, "_value": null})
    );
    assert_eq!(json["rows"][1]["_raw"], r#"{"id":"one"}"#);
    assert_eq!(json["rows"][2]["_value"], "bm8ganNvbg==");
    assert_eq!(
        bench.ask("SELECT CAST(_value AS VARCHAR) AS v FROM t WHERE _value IS NOT NULL").await,
        json!([{"v": "no json"}])
    );
    let text = serde_json::to_string(&answer).unwrap();
    assert!(text.contains(r#""rows":[{"_partition":1,"_offset":0,"_key":"key 0""#), "columns keep their order: {text}");
    let twice = bench.try_ask("SELECT a.id, b.id FROM t a JOIN t b ON a._offset = b._offset").await.unwrap();
    assert_eq!(twice.columns.iter().map(|c| c.name.as_str()).collect::<Vec<_>>(), ["id", "id:2"]);
    assert_eq!(bench.ask("WITH c AS (SELECT id FROM t) SELECT count(*) AS n FROM c").await, json!([{"n": 3}]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_keep_their_case_and_some_need_quotes() {
    let bench = bench(QueryLimits::default(), |log| {
        for topic in ["Quakes", "earth-quakes", "quakes.eu.west"] {
            log.create(topic, 1, Some(patient()));
        }
        log.create("plain", 1, None);
        log.append("Quakes", 0, &[r#"{"magType":"ml"}"#]);
    })
    .await;
    assert_eq!(bench.ask("SELECT magType FROM Quakes").await, json!([{"magType": "ml"}]));
    for quoted in ["\"earth-quakes\"", "\"quakes.eu.west\""] {
        assert_eq!(bench.ask(&format!("SELECT count(*) AS n FROM {quoted}")).await, json!([{"n": 0}]));
    }
    for (sql, part) in [
        ("SELECT * FROM quakes", "did you mean \"Quakes\"? Names keep their case"),
        ("SELECT * FROM earth-quakes", "needs double quotes: \"earth-quakes\""),
        ("SELECT * FROM quakes.eu.west", "needs double quotes: FROM \"quakes.eu.west\""),
        ("SELECT * FROM plain", "tidelog.table.enable=true"),
        ("SELECT magtype FROM Quakes", "magtype"),
        ("SELECT nonsense(1)", "nonsense"),
        ("SELEC 1", "SELEC"),
        ("", "No SQL statements"),
    ] {
        let text = bench.refused(sql).await;
        assert!(text.contains(part), "{sql}: {text}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_select_is_possible() {
    let bench = bench(QueryLimits::default(), |log| {
        log.create("t", 1, Some(patient()));
    })
    .await;
    for sql in [
        "DROP TABLE t",
        "CREATE TABLE x AS SELECT 1",
        "CREATE EXTERNAL TABLE x STORED AS PARQUET LOCATION '/etc'",
        "INSERT INTO t VALUES (1)",
        "DELETE FROM t",
        "COPY (SELECT 1) TO '/tmp/x.parquet'",
        "COPY t TO '/tmp/x.parquet'",
        "SET datafusion.execution.batch_size = 1",
        "SELECT * INTO x FROM t",
        "EXPLAIN COPY t TO '/tmp/x.parquet'",
        "CREATE VIEW v AS SELECT 1",
        "SHOW TABLES LIKE 't'",
        "SHOW VIEWS",
        "SHOW ALL",
        "BEGIN",
    ] {
        let error = bench.try_ask(sql).await.expect_err(sql);
        assert!(matches!(error, QueryError::ReadOnly(_) | QueryError::Sql(_)), "{sql}: {error:?}");
    }
    assert!(matches!(bench.try_ask("DROP TABLE t").await, Err(QueryError::ReadOnly(_))));
    for sql in [
        "SELECT 1; SELECT 2",
        "SELECT * FROM '/etc/passwd'",
        "SELECT * FROM \"/etc/passwd\"",
        "SELECT * FROM \"file:///etc/passwd\"",
        "SELECT * FROM read_parquet('/etc/passwd')",
    ] {
        let error = bench.try_ask(sql).await.expect_err(sql);
        assert!(matches!(error, QueryError::Sql(_) | QueryError::UnknownTopic { .. }), "{sql}: {error:?}");
    }
    let nobody: MayRead = Arc::new(|_| false);
    assert_eq!(bench.engine.query("SELECT 1 FROM t", nobody).await, Err(QueryError::Denied("t".to_owned())));
    assert!(bench.ask("EXPLAIN SELECT * FROM t").await.as_array().is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn queries_have_limits() {
    let limits = QueryLimits { rows: 1_000, memory_bytes: 4 * 1024 * 1024, ..QueryLimits::default() };
    let bench = bench(limits, |log| {
        log.create("quakes", 1, Some(patient()));
        fill(log, "quakes", 1, &sample());
    })
    .await;
    assert_eq!(bench.try_ask("SELECT id FROM quakes").await, Err(QueryError::TooLarge("1000 rows".to_owned())));
    assert_eq!(bench.ask("SELECT id FROM quakes LIMIT 7").await.as_array().unwrap().len(), 7);
    let memory = bench
        .try_ask("SELECT a.id, b.id FROM quakes a, quakes b ORDER BY a.id || b.id || a.properties.title LIMIT 500000")
        .await;
    assert!(matches!(memory, Err(QueryError::Memory(_))), "{memory:?}");
    let long = format!("SELECT '{}'", "x".repeat(70_000));
    assert!(bench.refused(&long).await.contains("at most 65536"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_query_has_only_so_much_time() {
    let limits = QueryLimits { memory_bytes: 4 * 1024 * 1024, time: Duration::from_secs(3), ..QueryLimits::default() };
    let bench = bench(limits, |log| {
        log.create("quakes", 1, Some(patient()));
        fill(log, "quakes", 1, &sample());
    })
    .await;
    let slow = "SELECT count(*) AS n FROM generate_series(1, 100000) a, generate_series(1, 100000) b WHERE a.value * b.value = -1";
    assert_eq!(bench.try_ask(slow).await, Err(QueryError::Time(Duration::from_secs(3))));
    // The step in which the ended query was found may last a while in an unoptimised build.
    let mut after = bench.try_ask("SELECT count(*) AS n FROM quakes").await;
    for _ in 0..40 {
        if after == Err(QueryError::Time(Duration::from_secs(3))) {
            after = bench.try_ask("SELECT count(*) AS n FROM quakes").await;
        }
    }
    assert_eq!(after.unwrap().rows.get(), r#"[{"n":1707}]"#, "the engine goes on");
}
