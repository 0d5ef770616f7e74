//! Statements of SQL take the server's time: who may have it, and that one principal does not take all of it.

use std::time::Duration;

use tidelog_harness::serde_json::json;
use tidelog_harness::{Server, http, reqwest, tokio};

use crate::{server, token};

/// A caller's statement, as it is sent.
fn statement(server: &Server, user: &str, sql: &str) -> reqwest::RequestBuilder {
    http().post(server.url("/v1/query")).bearer_auth(token(user)).json(&json!({ "sql": sql }))
}

async fn status(server: &Server, user: &str, sql: &str) -> u16 {
    statement(server, user, sql).send().await.unwrap().status().as_u16()
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_read_nothing_runs_nothing() {
    let server = server();
    let free = ["SELECT 1", "SELECT count(*) FROM generate_series(1, 10)", "EXPLAIN SELECT 1", "VALUES (1)"];
    for sql in free {
        assert_eq!(status(&server, "carol", sql).await, 403, "{sql}");
    }
    assert_eq!(status(&server, "carol", "SHOW TABLES").await, 200, "there is nothing to show");
    for (user, right) in [("alice", ["read", "--topic", "orders"].as_slice()), ("bob", &["describe", "--cluster"])] {
        let principal = format!("User:{user}");
        server.run(&[&["acl", "add", "--allow", &*principal, "--operation"], right].concat()).expect(0);
        for sql in free {
            assert_eq!(status(&server, user, sql).await, 200, "{user}: {sql}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_principal_leaves_a_place_to_others() {
    let server = server();
    for user in ["User:alice", "User:bob"] {
        server.run(&["acl", "add", "--allow", user, "--operation", "read", "--topic", "orders"]).expect(0);
    }
    // Each takes longer than a statement may.
    let endless = "SELECT sum(value % 7) FROM generate_series(1, 100000000000)";
    let mut running = Vec::new();
    for _ in 0..6 {
        let statement = statement(&server, "alice", endless).send();
        running.push(tokio::spawn(async move { statement.await.unwrap().status().as_u16() }));
    }
    // They are at work once the server has read them all.
    let metrics = async || {
        let scrape = http().get(server.url("/metrics")).bearer_auth(token("metrics")).send().await.unwrap();
        scrape.text().await.unwrap()
    };
    server.run(&["acl", "add", "--allow", "User:metrics", "--operation", "describe", "--cluster"]).expect(0);
    let received = "tidelog_http_request_bytes_total{method=\"POST\",route=\"/v1/query\"} ";
    let all = 6 * json!({ "sql": endless }).to_string().len();
    let arrived = async {
        loop {
            let bytes = metrics().await.lines().find_map(|line| line.strip_prefix(received)?.parse::<usize>().ok());
            if bytes.is_some_and(|bytes| bytes >= all) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), arrived).await.expect("they arrive");
    assert_eq!(status(&server, "bob", "SELECT 1").await, 200);
    assert!(running.iter().all(|statement| !statement.is_finished()), "all of alice's go on");
    running.iter().for_each(tokio::task::JoinHandle::abort);
}
