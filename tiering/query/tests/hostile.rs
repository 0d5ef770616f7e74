//! Queries that would take the server with them, see what they may not, or fall between the log and the files.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod bench;

use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use bench::bench;
use bench::support::{name, patient};
use serde_json::json;
use tidelog_query::{MayRead, QueryError, QueryLimits};

/// Retention deletes what was exported a moment ago, while a query looks for it in the log.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_record_falls_between_the_log_and_the_files() {
    let bench = bench(QueryLimits::default(), |log| {
        log.create("t", 1, Some(patient()));
        log.append("t", 0, &["{\"a\":1}"; 10]);
    })
    .await;
    let all = |n: i64| json!([{"n": n, "first": 0, "last": n - 1}]);
    let ask = "SELECT count(*) AS n, min(_offset) AS first, max(_offset) AS last FROM t";
    assert_eq!(bench.ask(ask).await, all(10));
    let runtime = tokio::runtime::Handle::current();
    let export = |end: i64| {
        let (log, exporter, runtime) = (Arc::clone(&bench.log), Arc::clone(&bench.exporter), runtime.clone());
        move || {
            tokio::task::block_in_place(|| runtime.block_on(exporter.flush(&name("t")))).unwrap();
            log.delete_below("t", 0, end);
        }
    };
    bench.is_scanned("t", 10).await;
    bench.log.before_range(export(10));
    assert_eq!(bench.ask(ask).await, all(10), "exported and deleted when the query looks at the log");
    bench.log.append("t", 0, &["{\"a\":1}"; 10]);
    bench.exporter.flush(&name("t")).await.unwrap();
    bench.log.append("t", 0, &["{\"a\":1}"; 10]);
    bench.is_scanned("t", 30).await;
    bench.log.before_read(export(30));
    assert_eq!(bench.ask(ask).await, all(30), "exported and deleted when the query reads the log");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_name_no_topic_that_the_caller_may_not_read() {
    let bench = bench(QueryLimits::default(), |log| {
        log.create("mine", 1, Some(patient()));
        log.create("mines", 1, Some(patient()));
        log.create("secret", 1, Some(patient()));
        log.create("secret-plain", 1, None);
    })
    .await;
    let mine: MayRead = Arc::new(|topic| ["mine", "no-such", "Secret"].contains(&topic.as_str()));
    let error = |sql: String| {
        let mine = Arc::clone(&mine);
        let engine = &bench.engine;
        async move { engine.query(&sql, mine).await.unwrap_err() }
    };
    for unreadable in ["mines", "secret", "secret-plain", "does-not-exist"] {
        let denied = QueryError::Denied(unreadable.to_owned());
        assert_eq!(error(format!("SELECT 1 FROM \"{unreadable}\"")).await, denied, "{unreadable}");
    }
    for known in ["\"no-such\"", "Secret", "a.b", "secret-plain x y"] {
        let text = error(format!("SELECT * FROM {known}")).await.to_string();
        assert!(!text.contains("secret\"") && !text.contains("\"secret") && !text.contains("mines"), "{known}: {text}");
    }
    assert_eq!(
        error("SELECT * FROM \"no-such\"".to_owned()).await.to_string(),
        "there is no topic \"no-such\"; tables are mine"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_may_be_called_like_a_table_function() {
    let bench = bench(QueryLimits::default(), |log| {
        log.create("range", 1, Some(patient()));
        log.append("range", 0, &["{\"a\":1}"]);
    })
    .await;
    assert_eq!(bench.ask("SELECT count(*) AS n FROM range").await, json!([{"n": 1}]));
    assert_eq!(bench.ask("SELECT count(*) AS n FROM generate_series(1, 7)").await, json!([{"n": 7}]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_is_bounded_as_it_is_sent() {
    let bench = bench(QueryLimits { answer_bytes: 100_000, ..QueryLimits::default() }, |_| {}).await;
    let wide = |rows: usize| format!("SELECT 1 AS \"{}\" FROM generate_series(1, {rows})", "x".repeat(1_000));
    assert_eq!(bench.ask(&wide(90)).await.as_array().unwrap().len(), 90);
    assert_eq!(bench.try_ask(&wide(110)).await, Err(QueryError::TooLarge("100000 bytes".to_owned())));
    // What is cut out of a large array counts as what it is.
    let sorted =
        "SELECT value, 'a text of some length' AS text FROM generate_series(1, 50000) ORDER BY value DESC LIMIT 900";
    assert_eq!(bench.ask(sorted).await.as_array().unwrap().len(), 900);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn little_is_not_made_much_outside_the_limits() {
    let bench = bench(QueryLimits::default(), |_| {}).await;
    for large in [
        "length(repeat('x', 400000000))",
        "length(lpad('x', 400000000))",
        "length(rpad('x', 400000000, 'y'))",
        "array_length(range(0, 50000000))",
        "array_length(generate_series(0, 50000000))",
        "array_length(array_repeat(1, 50000000))",
        "array_length(list_repeat(1, 50000000))",
        "array_length(array_resize([1], 50000000, 1))",
        "array_length(list_resize([1], 50000000, 1))",
    ] {
        let refused = bench.try_ask(&format!("SELECT {large} AS n")).await;
        assert!(matches!(refused, Err(QueryError::Sql(_))), "{large}: {refused:?}");
    }
}

/// The statement alone takes the process down if nothing bounds it: see it so with a limit on the address space (`ulimit -v`).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn functions_that_feed_each_other_stay_small() {
    let bench = bench(QueryLimits::default(), |_| {}).await;
    let long = format!("'{}'", "x".repeat(300));
    let nested = |call: &dyn Fn(&str) -> String, times: usize| {
        let inner = format!("SELECT {long} AS q");
        let nested = (0..times).fold(inner, |inner, _| format!("SELECT {} AS q FROM ({inner})", call("q")));
        format!("SELECT length(q) AS n FROM ({nested})")
    };
    let many = |function: &str, times: usize| format!("{function}({})", vec!["q"; times].join(","));
    let lists = |function: &str, times: usize| format!("array_length({function}({}))", vec!["q"; times].join(","));
    for large in [
        format!("SELECT length(replace(replace({long},'x',{long}),'x',replace({long},'x',{long}))) AS n"),
        format!("SELECT length(replace(replace({long},'',{long}),'',replace({long},'',{long}))) AS n"),
        format!(
            "SELECT length(regexp_replace(regexp_replace({long},'x',{long},'g'),'x',regexp_replace({long},'x',{long},'g'),'g')) AS n"
        ),
        nested(&|_| many("concat", 1_000), 4),
        nested(&|_| many("concat_ws", 1_000), 4),
        nested(&|q| [q; 100].join("||"), 5),
        format!(
            "SELECT {} AS n FROM (SELECT {} AS q FROM ({}))",
            lists("array_concat", 900),
            many("make_array", 900),
            format_args!("SELECT {} AS q", many("concat", 900))
                .to_string()
                .replace("concat(q", &format!("concat({long}"))
                .replace(",q", ",'xxxx'")
        ),
    ] {
        let start = &large[..large.len().min(200)];
        let text = bench.refused(&large).await;
        assert!(text.contains("makes too much at once") || text.contains("constants have"), "{start}: {text}");
    }
    // The same from rows instead of constants.
    let rows = "SELECT max(length(q)) AS n FROM (SELECT concat(q,q,q,q,q,q,q,q,q,q) AS q FROM (SELECT replace(CAST(value AS text),'1',lower(concat(value,'{long}'))) AS q FROM generate_series(100000, 199999)))";
    let rows = rows.replace("{long}", &"x".repeat(6_000));
    assert!(matches!(bench.try_ask(&rows).await, Err(QueryError::Memory(_))));
    // A constant is repeated for every row.
    let columns: Vec<String> = (0..700).map(|n| format!("'{}' c{n}", "x".repeat(50))).collect();
    let wide = format!("SELECT {} FROM generate_series(1, 100000)", columns.join(","));
    let text = bench.refused(&wide).await;
    assert!(text.contains("constants have"), "{text}");
    let table = bench.refused(&format!("SELECT * FROM generate_series(1, length(replace({long},'x',{long})))")).await;
    assert!(table.contains("a table function takes plain values"), "{table}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bounded_functions_do_what_they_did() {
    let bench = bench(QueryLimits::default(), |log| {
        log.create("t", 1, Some(patient()));
        log.append("t", 0, &["{\"a\":\"x\",\"l\":[1,2]}", "{\"b\":1}"]);
    })
    .await;
    let ask = "SELECT a || '-' || _offset AS j, concat(a, '-', b) AS c, concat_ws('+', a, 'z', b) AS w, \
        replace(a, 'x', 'yy') AS r, regexp_replace(a, '(x)', '<$1>', 'g') AS g, [a, 'k'] AS l, l || [3.0] AS m, \
        overlay('abc' placing 'X' from 2) AS o, translate('abc', 'b', 'B') AS t, NULL || 'a' AS z FROM t ORDER BY _offset";
    let expected = json!([
        {"j": "x-0", "c": "x-", "w": "x+z", "r": "yy", "g": "<x>", "l": ["x", "k"], "m": [1.0, 2.0, 3.0], "o": "aXc", "t": "aBc", "z": null},
        {"j": null, "c": "-1.0", "w": "z+1.0", "r": null, "g": null, "l": [null, "k"], "m": [3.0], "o": "aXc", "t": "aBc", "z": null},
    ]);
    assert_eq!(bench.ask(ask).await, expected);
    let grouped = "SELECT a || 'y', count(*) AS n FROM t WHERE a || 'y' = 'xy' GROUP BY a || 'y' HAVING max(a || 'z') = 'xz' \
        ORDER BY a || 'y'";
    assert_eq!(bench.try_ask(grouped).await.unwrap().columns[0].name, "t.a || Utf8(\"y\")");
    assert_eq!(
        bench
            .ask("SELECT count(*) AS n FROM t WHERE _offset IN (SELECT _offset FROM t WHERE concat(a, 'y') = 'xy')")
            .await,
        json!([{"n": 1}])
    );
}

/// A step that does not let go of its thread.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_caller_gets_an_answer_in_time_whatever_the_query_does() {
    let limits = QueryLimits { time: Duration::from_millis(200), ..QueryLimits::default() };
    let bench = bench(limits, |log| {
        log.create("t", 1, Some(patient()));
    })
    .await;
    bench.is_scanned("t", 0).await;
    let (release, held) = mpsc::channel::<()>();
    bench.log.before_range(move || held.recv_timeout(Duration::from_secs(180)).unwrap());
    let start = Instant::now();
    assert_eq!(bench.try_ask("SELECT * FROM t").await, Err(QueryError::Time(Duration::from_millis(200))));
    assert!(start.elapsed() < Duration::from_secs(90), "{:?}", start.elapsed());
    release.send(()).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_engine_is_free_after_queries_that_never_end() {
    let limits = QueryLimits { time: Duration::from_millis(500), ..QueryLimits::default() };
    let bench = bench(limits, |_| {}).await;
    let endless = [
        "WITH RECURSIVE n AS (SELECT 1 AS v UNION ALL SELECT v + 1 FROM n) SELECT count(*) FROM n",
        "SELECT count(*) FROM generate_series(1, 9000000000000000000)",
        "SELECT count(*) FROM generate_series(1, 20000) a, generate_series(1, 9000000) b WHERE a.value * b.value = -1",
        "SELECT count(*) FROM generate_series(1, 100000) a, generate_series(1, 100000) b, generate_series(1, 100000) c",
        "SELECT sum(a.value) FROM generate_series(1, 100000) a JOIN generate_series(1, 100000) b ON a.value % 1 = b.value % 1",
    ];
    let all = futures::future::join_all(endless.iter().cycle().take(10).map(|sql| bench.try_ask(sql))).await;
    assert!(all.iter().all(|answer| *answer == Err(QueryError::Time(Duration::from_millis(500)))), "{all:?}");
    // A query that was ended lets go of its thread at its next step.
    let deadline = Instant::now() + Duration::from_secs(120);
    while bench.try_ask("SELECT 1").await.is_err() {
        assert!(Instant::now() < deadline, "its threads are still busy");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_does_not_list_a_thousand_columns() {
    let bench = bench(QueryLimits::default(), |log| {
        log.create("t", 1, Some(patient()));
        let fields: Vec<String> = (0..500).map(|n| format!("\"a column of a wide table {n}\":1")).collect();
        log.append("t", 0, &[&format!("{{{}}}", fields.join(","))]);
    })
    .await;
    let text = bench.refused("SELECT nothing FROM t").await;
    assert!(text.contains("nothing") && text.len() < 1_100, "{} bytes: {text}", text.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deep_statements_do_not_break_the_stack() {
    let bench = bench(QueryLimits::default(), |log| {
        log.create("t", 1, Some(patient()));
    })
    .await;
    for (before, link, inner, close, tokens) in [
        ("1", "+1", "", "", 1),
        ("true", " AND true", "", "", 2),
        ("'a'", "||'a'", "", "", 1),
        ("count(*) FROM t WHERE _offset=1", " OR _offset=1", "", "", 2),
        ("1", " UNION ALL SELECT 1", "", "", 3),
        ("1", "::int", "", "", 2),
        ("a", ".a", "", "", 1),
        ("a", "[1]", "", "", 2),
        ("* FROM t", " JOIN t USING (_offset)", "", "", 4),
        ("* FROM ", "(SELECT * FROM ", "t", ")", 5),
        ("", "(", "1", ")", 2),
        ("", "NOT ", "true", "", 1),
        ("", "- ", "1", "", 1),
        ("", "[", "1", "]", 2),
        ("", "abs(", "1", ")", 3),
        ("", "CASE WHEN true THEN ", "1", " END", 5),
    ] {
        for times in [990 / tokens, 65_000 / (link.len() + close.len())] {
            let sql = format!("SELECT {before}{}{inner}{}", link.repeat(times), close.repeat(times));
            // Any answer will do, as long as there is one.
            let _ = bench.try_ask(&sql).await;
        }
    }
    assert_eq!(bench.ask("SELECT count(*) AS n FROM t").await, json!([{"n": 0}]), "the engine goes on");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_are_not_multiplied_by_their_own_lists() {
    let bench = bench(QueryLimits::default(), |_| {}).await;
    let nested = "SELECT max(array_length(l)) FROM (SELECT l, unnest(l) v FROM (SELECT l, unnest(l) u FROM \
                  (SELECT [1, 2, 3] AS l FROM generate_series(1, 9))))";
    for sql in [nested, "SELECT unnest([1, 2])", "SELECT * FROM unnest([1, 2])"] {
        assert!(bench.refused(sql).await.contains("unnest is refused"), "{sql}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_local_is_read_and_nothing_written() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("x.csv");
    std::fs::write(&file, "a,b\n1,2\n").unwrap();
    let (file, target) = (file.display().to_string(), folder.path().join("written").display().to_string());
    let bench = bench(QueryLimits::default(), |log| {
        log.create("t", 1, Some(patient()));
        log.append("t", 0, &["{\"a\":1}"]);
    })
    .await;
    for sql in [
        format!("CREATE EXTERNAL TABLE x STORED AS CSV LOCATION '{file}'"),
        format!("COPY t TO '{target}'"),
        format!("COPY (SELECT * FROM t) TO '{target}' STORED AS PARQUET"),
        format!("EXPLAIN ANALYZE COPY t TO '{target}'"),
        "INSERT INTO t VALUES (1)".to_owned(),
        "EXPLAIN ANALYZE INSERT INTO t (a) VALUES (1)".to_owned(),
        "WITH x AS (INSERT INTO t VALUES (1)) SELECT * FROM x".to_owned(),
        "UPDATE t SET a = 1".to_owned(),
        "TRUNCATE TABLE t".to_owned(),
        "PREPARE p AS SELECT 1".to_owned(),
        "EXECUTE p".to_owned(),
        format!("SELECT * FROM '{file}'"),
        format!("SELECT * FROM \"{file}\""),
        format!("SELECT * FROM \"file://{file}\""),
        format!("SELECT * FROM read_csv('{file}')"),
    ] {
        let answer = bench.try_ask(&sql).await;
        let refused =
            matches!(answer, Err(QueryError::ReadOnly(_) | QueryError::Sql(_) | QueryError::UnknownTopic { .. }));
        assert!(refused, "{sql}: {answer:?}");
    }
    assert!(!std::path::Path::new(&target).exists());
    assert_eq!(bench.ask("SELECT count(*) AS n FROM t").await, json!([{"n": 1}]));
}
