//! Callers beyond their quota of the server's time (KIP-124), at every kind of route.

use std::time::{Duration, Instant};

use axum::body::Body;
use http_body_util::BodyExt;
use serde_json::json;
use tidelog_model::{Caller, QuotaEntity};

use crate::fixture::{Server, Setup, good_token, request};

async fn limit(server: &Server, percent: Option<f64>) {
    let entity = QuotaEntity::new([("user", None)]).unwrap();
    let change = [("request_percentage".to_owned(), percent)];
    server.broker.alter_quotas(&Caller::internal("test"), &entity, &change, false).await.unwrap();
}

/// So little that any request exceeds it.
const NEXT_TO_NOTHING: Option<f64> = Some(0.000_01);

#[tokio::test]
async fn who_has_used_too_much_time_is_refused_until_it_is_over() {
    let server = Server::open().await;
    server.topic("t", 1).await;
    assert_eq!(server.get("/v1/topics").await.status.as_u16(), 200);
    limit(&server, NEXT_TO_NOTHING).await;
    assert_eq!(server.get("/v1/topics").await.status.as_u16(), 200, "whoever is within may exceed it once");
    for path in ["/v1/topics", "/v1/topics/t/events", "/v1/tier", "/metrics"] {
        let refused = server.get(path).await;
        refused.is_problem(429, "THROTTLING_QUOTA_EXCEEDED");
        let seconds: u64 = refused.header("retry-after").parse().unwrap();
        assert!((1..=11).contains(&seconds), "{path}: {seconds}");
        let detail = refused.json()["detail"].as_str().unwrap().to_owned();
        assert!(detail.contains("request_percentage"), "{detail}");
    }
    let refused = server.json("POST", "/v1/query", json!({ "sql": "SELECT 1" })).await;
    refused.is_problem(429, "THROTTLING_QUOTA_EXCEEDED");
    let refused = server.json("POST", "/v1/topics/t/events", json!({ "n": 1 })).await;
    refused.is_problem(429, "THROTTLING_QUOTA_EXCEEDED");
    let call = request("POST", "/tidelog.v1.TopicService/ListTopics").header("content-type", "application/grpc");
    let refused = server.send(call.version(http::Version::HTTP_2).body(Body::from(vec![0u8; 5])).unwrap()).await;
    assert_eq!(refused.header("grpc-status"), "8", "RESOURCE_EXHAUSTED");
    for open in ["/healthz", "/readyz", "/"] {
        assert_eq!(server.get(open).await.status.as_u16(), 200, "{open}: nobody is asked who he is");
    }
    // What was refused was not done.
    limit(&server, None).await;
    assert_eq!(server.get("/v1/topics/t/events").await.lines().len(), 0);
}

#[tokio::test]
async fn each_user_has_used_his_own_time() {
    let server = Setup::secure().start().await;
    limit(&server, NEXT_TO_NOTHING).await;
    let ask = async |token: &str| {
        let request = request("GET", "/v1/topics").header("authorization", format!("Bearer {token}"));
        server.send(request.body(Body::empty()).unwrap()).await.status.as_u16()
    };
    let alice = good_token();
    assert_eq!((ask(&alice).await, ask(&alice).await), (200, 429));
    assert_eq!(ask("no token").await, 401, "who is nobody has no quota");
}

#[tokio::test]
async fn a_stream_pauses_between_its_pieces() {
    let server = Server::open().await;
    server.topic("t", 1).await;
    // A piece holds 64 KiB.
    let value = "x".repeat(40_000);
    for _ in 0..10 {
        let published = server.json("POST", "/v1/topics/t/events", json!({ "value": value })).await;
        assert_eq!(published.status.as_u16(), 200);
    }
    let pieces = async |accept: &str| {
        let request = request("GET", "/v1/topics/t/events?from=earliest&limit=10").header("accept", accept);
        let (began, response) = (Instant::now(), server.respond(request.body(Body::empty()).unwrap()).await);
        assert_eq!(response.status().as_u16(), 200);
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        assert!(bytes.len() > 400_000, "all of it comes");
        began.elapsed()
    };
    let free = pieces("text/event-stream").await;
    limit(&server, NEXT_TO_NOTHING).await;
    // Its first two pieces go out at once, and each later one costs a window.
    let slow = pieces("text/event-stream").await;
    assert!(slow >= Duration::from_secs(3), "{slow:?}, without a quota {free:?}");
}

/// Twenty partitions at one a second are owed for nine seconds (ten seconds' worth, and one more, may come at once).
#[tokio::test]
async fn who_creates_too_much_hears_how_long_to_wait() {
    let server = Server::open().await;
    let entity = QuotaEntity::new([("user", None)]).unwrap();
    let change = [("controller_mutation_rate".to_owned(), Some(1.0))];
    server.broker.alter_quotas(&Caller::internal("test"), &entity, &change, false).await.unwrap();
    let create = async |name: &str| server.json("POST", "/v1/topics", json!({ "name": name, "partitions": 20 })).await;
    assert_eq!(create("a").await.status.as_u16(), 201, "whoever is within may exceed it once");
    let refused = create("b").await;
    refused.is_problem(429, "THROTTLING_QUOTA_EXCEEDED");
    let seconds: u64 = refused.header("retry-after").parse().unwrap();
    assert!((5..=9).contains(&seconds), "{seconds}");
}
