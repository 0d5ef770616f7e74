//! Quotas at the gateway's door, in a whole process: what a statement of SQL costs is done by threads of its own.

use tidelog_harness::serde_json::json;
use tidelog_harness::{http, tokio};

use crate::server;

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_costs_the_time_of_the_threads_that_run_it() {
    let server = server();
    // Half a second of one thread may come at once.
    server.run(&["quota", "set", "--for", "user=*", "request_percentage=5"]).expect(0);
    let topics = async || http().get(server.url("/v1/topics")).send().await.unwrap();
    for _ in 0..3 {
        assert_eq!(topics().await.status().as_u16(), 200, "others cost next to nothing");
    }
    // Without the work of its threads a statement is a request as those are.
    let sql = "SELECT sum(value % 7) AS n FROM generate_series(1, 3000000)";
    let mut statements = 0;
    let refused = loop {
        let answer = topics().await;
        if answer.status().as_u16() != 200 {
            break answer;
        }
        assert!(statements < 30, "SQL costs nothing");
        let answer = http().post(server.url("/v1/query")).json(&json!({ "sql": sql })).send().await.unwrap();
        let status = answer.status().as_u16();
        assert!([200, 429].contains(&status), "{status}: {}", answer.text().await.unwrap());
        statements += 1;
    };
    assert!(statements > 0, "whoever is within the quota may exceed it once");
    println!("{statements} statements");
    assert_eq!(refused.status().as_u16(), 429);
    let seconds: u64 = refused.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=11).contains(&seconds), "{seconds}");
    assert!(refused.text().await.unwrap().contains("request_percentage"));
    server.run(&["quota", "remove", "--for", "user=*"]).expect(0);
    assert_eq!(topics().await.status().as_u16(), 200);
    let metrics = http().get(server.url("/metrics")).send().await.unwrap().text().await.unwrap();
    let throttled = "tidelog_http_throttled_requests_total{quota=\"request_percentage\"} ";
    let count = metrics.lines().find_map(|line| line.strip_prefix(throttled)).unwrap_or("none");
    assert!(count.parse::<u64>().is_ok_and(|count| count >= 1), "one at least was refused: {count}");
}
