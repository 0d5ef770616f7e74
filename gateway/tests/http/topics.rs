//! Topics, queries, status, documents and the fallback.

use axum::body::Body;
use http::header;
use serde_json::json;

use crate::fixture::{Server, Setup, request};

#[tokio::test]
async fn a_topic_from_creation_to_deletion() {
    let server = Server::open().await;
    let wanted =
        json!({ "name": "t", "partitions": 3, "config": { "retention.ms": 60000, "cleanup.policy": "delete" } });
    let created = server.json("POST", "/v1/topics", wanted.clone()).await;
    assert_eq!((created.status.as_u16(), created.header("location")), (201, "/v1/topics/t"));
    assert_eq!(created.json()["partitions"].as_array().unwrap().len(), 3);
    assert_eq!(created.json()["config"]["retention.ms"], "60000");
    server.json("POST", "/v1/topics", wanted).await.is_problem(409, "TOPIC_ALREADY_EXISTS");

    let one = server.get("/v1/topics/t/").await.json();
    assert_eq!(one["name"], "t");
    assert_eq!(one["topic_id"].as_str().unwrap().len(), 22);
    assert_eq!(one["partitions"][2]["leader"], 1);
    assert_eq!(one["partitions"][2]["high_watermark"], 0);

    let changes = json!({ "partitions": 4, "config": { "retention.ms": null, "segment.bytes": 1048576 } });
    let changed = server.json("PATCH", "/v1/topics/t", changes).await.json();
    assert_eq!(changed["partitions"].as_array().unwrap().len(), 4);
    assert_eq!(changed["config"]["segment.bytes"], "1048576");
    assert!(changed["config"].get("retention.ms").is_none(), "{changed}");
    let same = server.json("PATCH", "/v1/topics/t", json!({ "partitions": 4 })).await;
    assert_eq!(same.status.as_u16(), 200, "repeating changes nothing");
    server.json("PATCH", "/v1/topics/t", json!({ "partitions": 2 })).await.is_problem(400, "INVALID_PARTITIONS");
    server.json("PATCH", "/v1/topics/t", json!({ "config": { "no.such": 1 } })).await.is_problem(400, "INVALID_CONFIG");

    let deleted = server.send(request("DELETE", "/v1/topics/t").body(Body::empty()).unwrap()).await;
    assert_eq!((deleted.status.as_u16(), deleted.body.len()), (204, 0));
    server.get("/v1/topics/t").await.is_problem(404, "UNKNOWN_TOPIC_OR_PARTITION");
    let again = server.send(request("DELETE", "/v1/topics/t").body(Body::empty()).unwrap()).await;
    again.is_problem(404, "UNKNOWN_TOPIC_OR_PARTITION");
}

#[tokio::test]
async fn topics_are_listed_page_by_page() {
    let server = Server::open().await;
    for name in ["c", "a", "b"] {
        server.topic(name, 1).await;
    }
    let names = |page: &serde_json::Value| -> Vec<String> {
        page["topics"].as_array().unwrap().iter().map(|t| t["name"].as_str().unwrap().to_owned()).collect()
    };
    let first = server.get("/v1/topics?limit=2").await.json();
    assert_eq!((names(&first), &first["next"]), (vec!["a".into(), "b".into()], &json!("b")));
    let second = server.get("/v1/topics/?limit=2&after=b").await.json();
    assert_eq!((names(&second), second.get("next")), (vec!["c".into()], None));
    server.get("/v1/topics?limit=0").await.is_problem(400, "INVALID_REQUEST");
    server.get("/v1/topics?limt=2").await.is_problem(400, "INVALID_REQUEST");
}

#[tokio::test]
async fn bad_topics_are_refused() {
    let server = Server::open().await;
    let post = |body: serde_json::Value| server.json("POST", "/v1/topics", body);
    post(json!({ "name": "a/b" })).await.is_problem(400, "INVALID_TOPIC_EXCEPTION");
    post(json!({ "name": "" })).await.is_problem(400, "INVALID_TOPIC_EXCEPTION");
    post(json!({ "name": "t", "partitions": 0 })).await.is_problem(400, "INVALID_PARTITIONS");
    post(json!({ "name": "t", "replication_factor": 3 })).await.is_problem(400, "INVALID_REPLICATION_FACTOR");
    post(json!({ "name": "t", "config": { "retention.ms": "soon" } })).await.is_problem(400, "INVALID_CONFIG");
    post(json!({ "name": "t", "partition": 3 })).await.is_problem(400, "INVALID_REQUEST");
    post(json!({})).await.is_problem(400, "INVALID_REQUEST");
    server.post("/v1/topics", "application/json", "{").await.is_problem(400, "INVALID_REQUEST");
    server.post("/v1/topics", "text/plain", "{}").await.is_problem(415, "INVALID_REQUEST");
    let large = vec![b' '; 300 * 1024];
    server.post("/v1/topics", "application/json", large).await.is_problem(413, "MESSAGE_TOO_LARGE");
    let part = |_| Ok::<_, std::io::Error>(vec![b' '; 200 * 1024]);
    let chunked = futures::stream::iter((0..2).map(part));
    server
        .post("/v1/topics", "application/json", Body::from_stream(chunked))
        .await
        .is_problem(413, "MESSAGE_TOO_LARGE");
}

#[tokio::test]
async fn sql_and_status_exist_only_where_they_are_wired() {
    let server = Server::open().await;
    let answer = server.json("POST", "/v1/query", json!({ "sql": "SELECT 1" })).await.json();
    assert_eq!(answer["columns"], json!([{ "name": "sql", "type": "VARCHAR" }]));
    assert_eq!(answer["rows"][0], json!({ "sql": "SELECT 1", "principal": "User:ANONYMOUS" }));
    server.json("POST", "/v1/query", json!({ "sql": "BAD" })).await.is_problem(400, "INVALID_REQUEST");
    server.json("POST", "/v1/query", json!({ "sq": "" })).await.is_problem(400, "INVALID_REQUEST");
    let long = "x".repeat(70_000);
    server.json("POST", "/v1/query", json!({ "sql": long })).await.is_problem(413, "MESSAGE_TOO_LARGE");
    assert_eq!(server.get("/v1/tier").await.json(), json!({ "topics": [] }));
    assert_eq!(server.get("/v1/tables/").await.json(), json!({ "tables": [] }));
    assert!(server.get("/openapi.json").await.json()["paths"].get("/v1/query").is_some());

    let bare = Setup { wired: false, ..Setup::default() }.start().await;
    bare.json("POST", "/v1/query", json!({ "sql": "SELECT 1" })).await.is_problem(404, "RESOURCE_NOT_FOUND");
    bare.get("/v1/tier").await.is_problem(404, "RESOURCE_NOT_FOUND");
    let paths = bare.get("/openapi.json").await.json();
    assert!(paths["paths"].get("/v1/query").is_none() && paths["paths"].get("/v1/tier").is_none());
}

#[tokio::test]
async fn the_server_introduces_itself() {
    let server = Server::open().await;
    let expected = json!({ "version": "1.2.3", "commit": "abc", "kafka_cluster_id": "cluster" });
    assert_eq!(server.get("/").await.json(), expected);
    let browser = request("GET", "/").header(header::ACCEPT, "text/html,application/xhtml+xml,*/*;q=0.8");
    let browser = server.send(browser.body(Body::empty()).unwrap()).await;
    assert_eq!((browser.status.as_u16(), browser.header("location")), (303, "/docs/"));
    assert_eq!(server.get("/healthz").await.json(), json!({ "status": "ok" }));
    // A prompt stands on a line of its own behind the answer, be it good or bad.
    for path in ["/healthz", "/v1/topics", "/v1/topics/none", "/nothing"] {
        assert!(server.get(path).await.body.ends_with(b"}\n"), "{path}");
    }
    assert_eq!(server.get("/readyz/").await.json(), json!({ "status": "ok" }));
    let metrics = server.get("/metrics").await;
    assert_eq!(
        (&metrics.body[..], metrics.header("content-type")),
        (&b"# metrics\n"[..], "text/plain; version=0.0.4; charset=utf-8")
    );
    let docs = server.get("/docs").await;
    assert_eq!((docs.status.as_u16(), docs.header("location")), (303, "/docs/"));
    let page = server.get("/docs/").await;
    assert_eq!(page.status.as_u16(), 200);
    assert!(String::from_utf8_lossy(&page.body).contains("swagger-ui"));
    assert_eq!(server.get("/docs/swagger-ui-bundle.js").await.status.as_u16(), 200);
    let document = server.get("/openapi.json").await.json();
    assert!(document["openapi"].as_str().unwrap().starts_with("3."));
    server.shutdown.cancel();
    let stopping = server.get("/readyz").await;
    assert_eq!(stopping.status.as_u16(), 503);
    assert_eq!(stopping.json(), json!({ "status": "unavailable", "reasons": ["stopping"] }));
}

#[tokio::test]
async fn one_fallback_speaks_each_prefixes_language() {
    let server = Server::open().await;
    server.get("/v1/nothing").await.is_problem(404, "RESOURCE_NOT_FOUND");
    server.get("/nothing").await.is_problem(404, "RESOURCE_NOT_FOUND");
    for path in ["/topics", "/v3/clusters", "/subjects/x", "/kafka/v3/clusters"] {
        let answer = server.get(path).await;
        assert_eq!(answer.status.as_u16(), 404, "{path}");
        assert_eq!(answer.json(), json!({ "error_code": 404, "message": "HTTP 404 Not Found" }), "{path}");
    }
    let put = server.send(request("PUT", "/v1/topics").body(Body::empty()).unwrap()).await;
    put.is_problem(405, "INVALID_REQUEST");
    assert!(put.header("allow").contains("POST"), "{}", put.header("allow"));
    for path in ["/no.such.Service/Method", "/tidelog.v1.EventService/Subscribe", "/tidelog.v1.EventService/Nothing"] {
        let call = server.post(path, "application/grpc", "").await;
        assert_eq!((call.status.as_u16(), call.header("grpc-status")), (200, "12"), "{path}");
        assert!(call.header("content-type").starts_with("application/grpc"));
    }
}

#[tokio::test]
async fn requests_have_ids() {
    let server = Server::open().await;
    let own = request("GET", "/healthz").header("x-request-id", "my-id-7").body(Body::empty()).unwrap();
    assert_eq!(server.send(own).await.header("x-request-id"), "my-id-7");
    let bad = request("GET", "/nothing").header("x-request-id", "with space").body(Body::empty()).unwrap();
    assert_eq!(server.send(bad).await.header("x-request-id").len(), 36);
}

#[tokio::test]
async fn documents_are_compressed_and_streams_are_not() {
    let server = Server::open().await;
    server.topic("t", 1).await;
    server.json("POST", "/v1/topics/t/events", json!({ "long": "x".repeat(10_000) })).await;
    let get = |path: &str| {
        let request = request("GET", path).header(header::ACCEPT_ENCODING, "gzip").body(Body::empty()).unwrap();
        server.send(request)
    };
    assert_eq!(get("/openapi.json").await.header("content-encoding"), "gzip");
    assert_eq!(get("/v1/topics/t/events").await.header("content-encoding"), "");
}
