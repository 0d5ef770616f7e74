//! What only a whole process can show: the same records through every door, paths that lead nowhere, stop and start.

use std::collections::BTreeSet;
use std::time::Instant;

use tidelog_harness::kafka::{PATIENCE, Producer, read_all, texts};
use tidelog_harness::serde_json::{Value, json};
use tidelog_harness::{http, tokio};

use crate::server;

#[tokio::test(flavor = "multi_thread")]
async fn one_log_behind_all_doors() {
    let mut server = server();
    let client = http();
    let post = async |path: &str, kind: &str, body: &str| {
        let request = client.post(server.url(path)).header("content-type", kind).body(body.to_owned());
        let response = request.send().await.unwrap();
        (response.status().as_u16(), response.json::<Value>().await.unwrap())
    };
    let (status, topic) = post("/v1/topics", "application/json", r#"{"name":"quakes","partitions":1}"#).await;
    assert_eq!((status, &topic["name"]), (201, &json!("quakes")));
    let lines = "{\"id\": 1.0}\n{\"id\":2}\n";
    let (status, answer) = post("/v1/topics/quakes/events", "application/x-ndjson", lines).await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(answer["offsets"], json!([{"partition":0,"offset":0},{"partition":0,"offset":1}]));
    let producer = Producer::new(server.kafka(), &[("enable.idempotence", "true")]);
    producer.send_value("quakes", 0, br#"{"id":3}"#);
    producer.finish_well();
    // Byte for byte as they were sent, at either door.
    let expected = [r#"{"id": 1.0}"#, r#"{"id":2}"#, r#"{"id":3}"#];
    assert_eq!(texts(&read_all(server.kafka(), "quakes", &[0])[&0]), expected);
    let read = async || client.get(server.url("/v1/topics/quakes/events")).send().await.unwrap().text().await.unwrap();
    let before = read().await;
    assert_eq!(before.lines().count(), 3);
    assert!(
        before.lines().zip(expected).all(|(line, value)| line.contains(&format!(r#""value":{value}"#))),
        "{before}"
    );
    let description = client.get(server.url("/v1/topics/quakes")).send().await.unwrap().json::<Value>().await.unwrap();
    let metrics = client.get(server.url("/metrics")).send().await.unwrap().text().await.unwrap();
    assert!(metrics.contains("tidelog_log_appended_bytes_total"), "{metrics}");
    every_series_has_help_and_type(&metrics);

    server.kill();
    server.start_again();
    assert_eq!(client.get(server.url("/v1/topics/quakes/events")).send().await.unwrap().text().await.unwrap(), before);
    let again = client.get(server.url("/v1/topics/quakes")).send().await.unwrap().json::<Value>().await.unwrap();
    assert_eq!(again["topic_id"], description["topic_id"]);
    server.stop();
}

fn every_series_has_help_and_type(metrics: &str) {
    let named = |line: &str, prefix: &str| Some(line.strip_prefix(prefix)?.split_once(' ')?.0.to_owned());
    let help: BTreeSet<String> = metrics.lines().filter_map(|line| named(line, "# HELP ")).collect();
    let types: BTreeSet<String> = metrics.lines().filter_map(|line| named(line, "# TYPE ")).collect();
    for line in metrics.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let series = line.split(['{', ' ']).next().unwrap();
        let parts = ["_bucket", "_sum", "_count"].iter().filter_map(|part| series.strip_suffix(part));
        let name = parts.chain([series]).find(|name| types.contains(*name));
        assert!(name.is_some_and(|name| help.contains(name)), "no HELP or no TYPE: {line}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_lag_of_groups_is_among_the_metrics() {
    let server = server();
    server.run_with(&["produce", "lagging"], b"a\nb\nc\n").expect(0);
    server.run(&["group", "reset-offsets", "g", "--topic", "lagging", "--to-offset", "1", "--execute"]).expect(0);
    // What a coordinator does not tell soon is left out of a scrape.
    let mut metrics = String::new();
    let deadline = Instant::now() + PATIENCE;
    while !metrics.contains("tidelog_consumer_group_lag{") && Instant::now() < deadline {
        metrics = http().get(server.url("/metrics")).send().await.unwrap().text().await.unwrap();
    }
    for line in [
        "tidelog_consumer_group_lag{group=\"g\",topic=\"lagging\",partition=\"0\"} 2\n",
        "tidelog_consumer_group_members{group=\"g\"} 0\n",
        "tidelog_consumer_groups{type=\"classic\",state=\"Empty\"} 1\n",
        "tidelog_consumer_groups_left_out 0\n",
    ] {
        assert!(metrics.contains(line), "{line} is not in\n{metrics}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn paths_that_lead_nowhere() {
    let server = server();
    let client = http();
    for path in ["/v1/nothing", "/nothing", "/v1/topics/none", "/v1/topics/none/events"] {
        let response = client.get(server.url(path)).send().await.unwrap();
        assert_eq!(response.status().as_u16(), 404, "{path}");
        assert_eq!(response.headers()["content-type"], "application/problem+json", "{path}");
        assert!(response.json::<Value>().await.unwrap()["error_code"].is_string(), "{path}");
    }
    let front = client.get(server.url("/")).send().await.unwrap().json::<Value>().await.unwrap();
    assert!(front["version"].is_string() && front["kafka_cluster_id"].is_string(), "{front}");
    // A web page of another site may not reach the open port.
    let foreign = client.get(server.url("/v1/topics")).header("host", "evil.example").send().await.unwrap();
    assert_eq!(foreign.status().as_u16(), 403);
    let ready = client.get(server.url("/readyz")).send().await.unwrap();
    assert_eq!(ready.status().as_u16(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn sql_over_what_was_just_written() {
    let server = server();
    let client = http();
    let create = json!({"name": "fresh", "partitions": 1, "config": {"tidelog.table.enable": "true"}});
    let created = client.post(server.url("/v1/topics")).json(&create).send().await.unwrap();
    assert_eq!(created.status().as_u16(), 201);
    let events = json!([{"net": "us", "mag": 1}, {"net": "us", "mag": 2.5}, {"net": "nc", "mag": null}]);
    let sent = client.post(server.url("/v1/topics/fresh/events")).json(&events).send().await.unwrap();
    assert_eq!(sent.status().as_u16(), 200);
    let ask = async |sql: &str| {
        let response = client.post(server.url("/v1/query")).json(&json!({"sql": sql})).send().await.unwrap();
        (response.status().as_u16(), response.json::<Value>().await.unwrap())
    };
    let (status, answer) = ask("SELECT net, count(*) AS n, sum(mag) AS m FROM fresh GROUP BY net ORDER BY net").await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(answer["rows"], json!([{"net":"nc","n":1,"m":null},{"net":"us","n":2,"m":3.5}]));
    for (sql, expected) in [("SELECT", 400), ("SELECT * FROM nowhere", 404), ("DROP TABLE fresh", 400)] {
        let (status, answer) = ask(sql).await;
        assert_eq!(status, expected, "{sql}: {answer}");
        assert!(answer["error_code"].is_string() && answer["detail"].is_string(), "{sql}: {answer}");
    }
}
