//! What is refused, and how: every error is problem+json with Kafka's name, whatever layer found it.

use axum::body::Body;
use http::header;
use serde_json::json;

use crate::fixture::{Server, Setup, request};

#[tokio::test]
async fn a_method_that_a_route_does_not_have() {
    let server = Server::open().await;
    for (method, path, allow) in [
        ("PUT", "/v1/topics", "GET,HEAD,POST"),
        ("OPTIONS", "/v1/topics/t", "GET,HEAD,PATCH,DELETE"),
        ("DELETE", "/v1/topics/t/events/", "GET,HEAD,POST"),
        ("GET", "/v1/query", "POST"),
        ("POST", "/healthz", "GET,HEAD"),
        ("TRACE", "/", "GET,HEAD"),
    ] {
        let answer = server.send(request(method, path).body(Body::empty()).unwrap()).await;
        answer.is_problem(405, "INVALID_REQUEST");
        assert_eq!(answer.header("allow"), allow, "{method} {path}");
    }
}

#[tokio::test]
async fn head_is_get_without_its_body() {
    let server = Server::open().await;
    server.topic("t", 1).await;
    for path in ["/", "/healthz", "/v1/topics", "/v1/topics/t", "/v1/topics/t/events", "/metrics"] {
        let answer = server.send(request("HEAD", path).body(Body::empty()).unwrap()).await;
        assert_eq!((answer.status.as_u16(), answer.body.len()), (200, 0), "{path}");
    }
    let answer = server.send(request("HEAD", "/v1/topics/none").body(Body::empty()).unwrap()).await;
    assert_eq!(answer.status.as_u16(), 404);
}

#[tokio::test]
async fn topic_names_are_percent_decoded_once() {
    let server = Server::open().await;
    server.topic("a.b", 1).await;
    assert_eq!(server.get("/v1/topics/a%2Eb").await.json()["name"], "a.b");
    server.get("/v1/topics/a%252Eb").await.is_problem(400, "INVALID_TOPIC_EXCEPTION");
    for path in ["/v1/topics/%ff", "/v1/topics/%ff/events"] {
        server.get(path).await.is_problem(400, "INVALID_REQUEST");
        let answer = server.post(path, "application/json", "{}").await;
        assert_eq!(answer.header("content-type"), "application/problem+json", "{path}");
    }
}

#[tokio::test]
async fn parameters_that_a_route_does_not_know() {
    let server = Server::open().await;
    server.topic("t", 1).await;
    // To pass over `dry_run` would delete the topic.
    let delete = request("DELETE", "/v1/topics/t?dry_run=true").body(Body::empty()).unwrap();
    server.send(delete).await.is_problem(400, "INVALID_REQUEST");
    server.get("/v1/topics/t?offsets=1").await.is_problem(400, "INVALID_REQUEST");
    server.json("PATCH", "/v1/topics/t?validate=1", json!({})).await.is_problem(400, "INVALID_REQUEST");
    server.json("POST", "/v1/topics?validate=1", json!({ "name": "x" })).await.is_problem(400, "INVALID_REQUEST");
    server.json("POST", "/v1/query?limit=1", json!({ "sql": "x" })).await.is_problem(400, "INVALID_REQUEST");
    for path in ["/v1/tier?x", "/v1/tables?x=1", "/v1/topics?limit=1&limit=2"] {
        server.get(path).await.is_problem(400, "INVALID_REQUEST");
    }
    assert_eq!(server.get("/v1/topics/t?").await.status.as_u16(), 200, "an empty query is none");
}

#[tokio::test]
async fn a_body_in_a_content_coding_is_not_taken_for_the_record() {
    let server = Server::open().await;
    server.topic("t", 1).await;
    let coded = |coding: &str, path: &str, kind: &str, body: &'static str| {
        let request = request("POST", path).header("content-encoding", coding).header(header::CONTENT_TYPE, kind);
        server.send(request.body(Body::from(body)).unwrap())
    };
    for coding in ["gzip", "br", "identity, gzip", "x"] {
        for kind in ["application/octet-stream", "application/json"] {
            let answer = coded(coding, "/v1/topics/t/events", kind, "{}").await;
            answer.is_problem(415, "INVALID_REQUEST");
            assert_eq!(answer.header("accept-encoding"), "identity");
        }
        coded(coding, "/v1/topics", "application/json", r#"{"name":"u"}"#).await.is_problem(415, "INVALID_REQUEST");
    }
    assert!(server.get("/v1/topics/t/events").await.body.is_empty(), "nothing was stored");
    assert_eq!(coded("Identity", "/v1/topics/t/events", "application/json", "{}").await.status.as_u16(), 200);
}

#[tokio::test]
async fn a_pointer_deeper_than_any_document_is_refused() {
    let server = Server::open().await;
    server.topic("t", 1).await;
    let deep = |levels: usize| format!("/v1/topics/t/events?key_field={}", "/a".repeat(levels));
    server.json("POST", &deep(65), json!({})).await.is_problem(400, "INVALID_REQUEST");
    server.json("POST", &deep(64), json!({})).await.is_problem(400, "INVALID_RECORD");
}

#[tokio::test]
async fn more_records_than_the_budget_has_room_for() {
    let mut setup = Setup::default();
    setup.options.memory_budget_bytes = 8 * 1024 * 1024;
    let server = setup.start().await;
    server.topic("t", 1).await;
    // Two bytes each, but every record costs much more while it is on its way.
    let small = "1\n".repeat(90_000);
    let refused = server.post("/v1/topics/t/events", "application/x-ndjson", small).await;
    refused.is_problem(503, "THROTTLING_QUOTA_EXCEEDED");
    assert_eq!(refused.header("retry-after"), "1");
    let fits = server.post("/v1/topics/t/events", "application/x-ndjson", "1\n".repeat(900)).await;
    assert_eq!(fits.status.as_u16(), 200, "and what was reserved came back");
}

#[tokio::test]
async fn answers_that_nobody_takes_have_a_budget_of_their_own() {
    let mut setup = Setup::default();
    setup.options.memory_budget_bytes = 128 * 1024;
    let server = setup.start().await;
    let sql = json!({ "sql": "x".repeat(30_000) }).to_string();
    let query = || {
        let request = request("POST", "/v1/query").header(header::CONTENT_TYPE, "application/json");
        server.respond(request.body(Body::from(sql.clone())).unwrap())
    };
    let untaken = [query().await, query().await];
    assert!(untaken.iter().all(|answer| answer.status().as_u16() == 200));
    let refused = query().await;
    assert_eq!((refused.status().as_u16(), refused.headers()["retry-after"].to_str().unwrap()), (503, "1"));
    drop(untaken);
    assert_eq!(query().await.status().as_u16(), 200);
}

#[tokio::test]
async fn nesting_that_would_overflow_a_stack() {
    let server = Server::open().await;
    server.topic("t", 1).await;
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        let deep = open.repeat(40_000) + "1" + &close.repeat(40_000);
        for body in [deep.clone(), format!("{{\"name\":\"x\",\"config\":{{\"a\":{deep}}}}}")] {
            let path = "/v1/topics";
            assert_eq!(
                server.post(path, "application/json", body.clone()).await.header("content-type"),
                "application/problem+json"
            );
            server.post("/v1/query", "application/json", body).await.is_problem(400, "INVALID_REQUEST");
        }
        // As a record it is a value like any other, and comes back as it is.
        let answer = server.post("/v1/topics/t/events", "application/json", format!("{{\"a\":{deep}}}")).await;
        assert_eq!(answer.status.as_u16(), 200);
        let body = server.get("/v1/topics/t/events").await.body;
        assert!(body.windows(deep.len()).any(|window| window == deep.as_bytes()));
        // Looking for its key neither.
        let path = "/v1/topics/t/events?key_field=/a/a";
        server
            .post(path, "application/json", format!("{{\"a\":{{\"b\":{deep}}}}}"))
            .await
            .is_problem(400, "INVALID_RECORD");
    }
}

#[tokio::test]
async fn no_answer_is_sniffed() {
    let server = Server::open().await;
    server.topic("t", 1).await;
    server.post("/v1/topics/t/events", "text/html", "<script>alert(1)</script>").await;
    for path in ["/v1/topics/t/events", "/nothing", "/"] {
        assert_eq!(server.get(path).await.header("x-content-type-options"), "nosniff", "{path}");
    }
}
