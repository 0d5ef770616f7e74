//! Who is let in: every route × every kind of token; Host and Origin on an open listener; CORS.

use axum::body::Body;
use http::header;
use serde_json::json;

use crate::fixture::{SECRET, Server, Setup, good_token, now, request, token_for};
use tidelog_model::Timestamp;

/// Every route that needs a caller: method, path, content type, body, and the status of a good request.
const GUARDED: [(&str, &str, &str, &str, u16); 10] = [
    ("GET", "/v1/topics", "", "", 200),
    ("POST", "/v1/topics", "application/json", r#"{"name":"new"}"#, 201),
    ("GET", "/v1/topics/t", "", "", 200),
    ("PATCH", "/v1/topics/t", "application/json", "{}", 200),
    ("DELETE", "/v1/topics/gone", "", "", 404),
    ("POST", "/v1/topics/t/events", "application/json", "{}", 200),
    ("GET", "/v1/topics/t/events", "", "", 200),
    ("POST", "/v1/query", "application/json", r#"{"sql":"SELECT 1"}"#, 200),
    ("GET", "/v1/tier", "", "", 200),
    ("GET", "/v1/tables", "", "", 200),
];

const OPEN: [&str; 6] = ["/", "/healthz", "/readyz", "/metrics", "/openapi.json", "/docs/"];

/// base64url of `{"alg":"none","typ":"JWT"}`.
const NONE_HEADER: &str = "eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0";

fn none_token() -> String {
    let good = good_token();
    let claims = good.split('.').nth(1).unwrap();
    format!("{NONE_HEADER}.{claims}.")
}

#[tokio::test]
async fn every_route_against_every_token() {
    let server = Setup::secure().start().await;
    let create = request("POST", "/v1/topics").header(header::AUTHORIZATION, format!("Bearer {}", good_token()));
    let created = server.send(create.body(Body::from(r#"{"name":"t"}"#)).unwrap()).await;
    assert_eq!(created.status.as_u16(), 201);

    let refused = [
        ("no token", None, "Bearer realm=\"tidelog\""),
        ("expired", Some(token_for("tidelog", Timestamp(now().get() - 3_600_000), SECRET)), "invalid_token"),
        ("not yet", Some(token_for("tidelog", Timestamp(now().get() + 3_600_000), SECRET)), "invalid_token"),
        ("wrong signature", Some(token_for("tidelog", now(), b"another secret of thirty-two byt")), "invalid_token"),
        ("alg none", Some(none_token()), "invalid_token"),
        ("wrong audience", Some(token_for("others", now(), SECRET)), "invalid_token"),
        ("garbage", Some("garbage".to_owned()), "invalid_token"),
    ];
    for (method, path, content_type, body, good_status) in GUARDED {
        let send = |authorization: Option<String>, path: String| {
            let mut request = request(method, &path);
            if !content_type.is_empty() {
                request = request.header(header::CONTENT_TYPE, content_type);
            }
            if let Some(authorization) = authorization {
                request = request.header(header::AUTHORIZATION, authorization);
            }
            server.send(request.body(Body::from(body)).unwrap())
        };
        for (name, token, challenge) in &refused {
            let answer = send(token.as_ref().map(|token| format!("Bearer {token}")), path.to_owned()).await;
            assert_eq!(answer.status.as_u16(), 401, "{method} {path}: {name}");
            answer.is_problem(401, "SASL_AUTHENTICATION_FAILED");
            assert!(answer.header("www-authenticate").contains(challenge), "{method} {path}: {name}");
            let text = String::from_utf8_lossy(&answer.body).into_owned();
            assert!(token.as_ref().is_none_or(|token| token.len() < 20 || !text.contains(token.as_str())), "{text}");
        }
        let basic = send(Some("Basic dXNlcjpwYXNz".into()), path.to_owned()).await;
        assert_eq!(basic.status.as_u16(), 401, "{method} {path}");
        // With a slash at its end the route is the same and as guarded.
        assert_eq!(send(None, format!("{path}/")).await.status.as_u16(), 401, "{method} {path}/");
        let good = send(Some(format!("Bearer {}", good_token())), path.to_owned()).await;
        assert_eq!(good.status.as_u16(), good_status, "{method} {path}: {}", String::from_utf8_lossy(&good.body));
    }
    for path in OPEN {
        assert_eq!(server.get(path).await.status.as_u16(), 200, "{path}");
    }
    // What does not exist is the same for everybody.
    server.get("/v1/nothing").await.is_problem(404, "RESOURCE_NOT_FOUND");
    let call = server.post("/tidelog.v1.TopicService/ListTopics", "application/grpc", vec![0u8; 5]).await;
    assert_eq!((call.status.as_u16(), call.header("grpc-status")), (200, "16"));
}

#[tokio::test]
async fn the_principal_is_the_subject() {
    let server = Setup::secure().start().await;
    let query = request("POST", "/v1/query").header(header::AUTHORIZATION, format!("Bearer {}", good_token()));
    let answer = server.send(query.body(Body::from(json!({ "sql": "x" }).to_string())).unwrap()).await;
    assert_eq!(answer.json()["rows"][0]["principal"], "User:alice");
}

#[tokio::test]
async fn an_open_listener_answers_only_its_own_pages() {
    let server = Server::open().await;
    let send = |host: &str, origin: Option<&str>| {
        let mut request = http::Request::builder().method("POST").uri("/v1/topics/t/events").header(header::HOST, host);
        if let Some(origin) = origin {
            request = request.header(header::ORIGIN, origin);
        }
        server.send(request.body(Body::from("{}")).unwrap())
    };
    for host in ["localhost:8082", "127.0.0.1:8082", "[::1]:8082", "LocalHost"] {
        assert_eq!(send(host, None).await.status.as_u16(), 200, "{host}");
    }
    for host in ["evil.example", "127.0.0.1.evil.example:8082", "10.0.0.7", ""] {
        send(host, None).await.is_problem(403, "CLUSTER_AUTHORIZATION_FAILED");
    }
    assert_eq!(send("localhost:8082", Some("http://localhost:8082")).await.status.as_u16(), 200);
    for origin in ["http://evil.example", "null", "http://localhost.evil.example", "http://localhost:3000"] {
        send("localhost:8082", Some(origin)).await.is_problem(403, "CLUSTER_AUTHORIZATION_FAILED");
    }
    let nameless = http::Request::builder().uri("/healthz").body(Body::empty()).unwrap();
    server.send(nameless).await.is_problem(403, "CLUSTER_AUTHORIZATION_FAILED");
}

#[tokio::test]
async fn cross_origin_answers_only_to_listed_origins() {
    let preflight = |origin: &str| {
        request("OPTIONS", "/v1/topics")
            .header(header::ORIGIN, origin)
            .header(header::ACCESS_CONTROL_REQUEST_METHOD, "POST")
            .body(Body::empty())
            .unwrap()
    };
    let mut setup = Setup::secure();
    setup.options.allowed_origins = vec!["https://app.example".into()];
    let server = setup.start().await;
    let listed = server.send(preflight("https://app.example")).await;
    assert_eq!(listed.header("access-control-allow-origin"), "https://app.example");
    assert_eq!(server.send(preflight("https://other.example")).await.header("access-control-allow-origin"), "");
    let closed = Setup::secure().start().await;
    assert_eq!(closed.send(preflight("https://app.example")).await.header("access-control-allow-origin"), "");
}
