//! Who is let in: every route × every kind of token; Host and Origin on an open listener; CORS.

use axum::body::Body;
use http::header;
use serde_json::json;

use prost::Message;

use crate::cases::{self, Token};
use crate::fixture::{SECRET, Server, Setup, good_token, now, request, token_for};
use tidelog_model::Timestamp;

/// base64url of `{"alg":"none","typ":"JWT"}`.
const NONE_HEADER: &str = "eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0";

fn none_token() -> String {
    let good = good_token();
    let claims = good.split('.').nth(1).unwrap();
    format!("{NONE_HEADER}.{claims}.")
}

fn authorization(token: Token) -> Option<String> {
    let hour = 3_600_000;
    let token = match token {
        Token::None => return None,
        Token::Good => good_token(),
        Token::Garbage => "garbage".to_owned(),
        Token::Expired => token_for("tidelog", Timestamp(now().get() - hour), SECRET),
        Token::NotYetValid => token_for("tidelog", Timestamp(now().get() + hour), SECRET),
        Token::WrongSignature => token_for("tidelog", now(), b"another secret of thirty-two byt"),
        Token::AlgNone => none_token(),
        Token::WrongAudience => token_for("others", now(), SECRET),
    };
    Some(format!("Bearer {token}"))
}

#[tokio::test]
async fn every_route_against_every_wrong_way_to_ask() {
    let server = Setup::secure().start().await;
    let send = |method: &str, path: &str, content_type: &str, authorization: Option<String>, body: Vec<u8>| {
        let mut request = request(method, path);
        if !content_type.is_empty() {
            request = request.header(header::CONTENT_TYPE, content_type);
        }
        if let Some(authorization) = authorization {
            request = request.header(header::AUTHORIZATION, authorization);
        }
        server.send(request.body(Body::from(body)).unwrap())
    };
    let topic = br#"{"name":"t"}"#.to_vec();
    let created = send("POST", "/v1/topics", "application/json", authorization(Token::Good), topic).await;
    assert_eq!(created.status.as_u16(), 201);
    for case in cases::table() {
        let token = authorization(case.token);
        let answer = send(case.method, &case.path, case.content_type, token.clone(), case.body).await;
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        assert_eq!(answer.status.as_u16(), case.status, "{}: {text}", case.name);
        if !case.error_code.is_empty() {
            answer.is_problem(case.status, case.error_code);
        }
        let challenge = answer.header("www-authenticate");
        match case.token {
            Token::Good => assert_eq!(challenge, "", "{}", case.name),
            Token::None => assert_eq!(challenge, "Bearer realm=\"tidelog\"", "{}", case.name),
            _ => assert!(challenge.contains("error=\"invalid_token\""), "{}: {challenge}", case.name),
        }
        assert!(token.is_none_or(|token| token.len() < 20 || !text.contains(&token[7..])), "{}: {text}", case.name);
    }
    let basic = send("GET", "/v1/topics", "", Some("Basic dXNlcjpwYXNz".into()), vec![]).await;
    basic.is_problem(401, "SASL_AUTHENTICATION_FAILED");
    for path in cases::OPEN {
        assert_eq!(server.get(path).await.status.as_u16(), 200, "{path}");
    }
    cases::assert_complete(&server.get("/openapi.json").await.json());
    // What does not exist is the same for everybody.
    server.get("/v1/nothing").await.is_problem(404, "RESOURCE_NOT_FOUND");
}

/// The path of every method of every service, from the descriptors.
fn methods() -> Vec<String> {
    let files = prost_types::FileDescriptorSet::decode(tidelog_proto::v1::FILE_DESCRIPTOR_SET).unwrap().file;
    let mut methods = Vec::new();
    for file in files {
        for service in &file.service {
            for method in &service.method {
                methods.push(format!("/{}.{}/{}", file.package(), service.name(), method.name()));
            }
        }
    }
    assert!(methods.len() >= 8, "{methods:?}");
    methods
}

#[tokio::test]
async fn every_grpc_method_against_every_wrong_way_to_ask() {
    let server = Setup::secure().start().await;
    // The status is in the headers if there is no message, otherwise in the trailers.
    let status = async |path: &str, kind: &str, token: Token, body: Vec<u8>| {
        let mut request = request("POST", path).header(header::CONTENT_TYPE, kind);
        if let Some(authorization) = authorization(token) {
            request = request.header(header::AUTHORIZATION, authorization);
        }
        let response = server.respond(request.body(Body::from(body)).unwrap()).await;
        let (parts, body) = response.into_parts();
        let body = http_body_util::BodyExt::collect(body).await.unwrap();
        let of = |headers: &http::HeaderMap| headers.get("grpc-status").map(|code| code.to_str().unwrap().to_owned());
        let code = of(&parts.headers).or_else(|| body.trailers().and_then(of));
        (parts.status.as_u16(), code.unwrap_or_default())
    };
    let empty = || vec![0u8; 5];
    for path in methods() {
        for token in Token::REFUSED {
            let answer = status(&path, "application/grpc", token, empty()).await;
            assert_eq!(answer, (200, "16".into()), "{path}: {token:?}");
        }
        let malformed = vec![0, 0, 0, 0, 1, 0xff];
        assert_eq!(status(&path, "application/grpc", Token::Good, malformed).await, (200, "13".into()), "{path}");
        let announced = vec![0, 0xff, 0xff, 0xff, 0xff];
        assert_eq!(status(&path, "application/grpc", Token::Good, announced).await, (200, "11".into()), "{path}");
        let unknown = path.replace(".v1.", ".v2.");
        assert_eq!(status(&unknown, "application/grpc", Token::Good, empty()).await, (200, "12".into()), "{unknown}");
        let unknown = format!("{path}s");
        assert_eq!(status(&unknown, "application/grpc", Token::Good, empty()).await, (200, "12".into()), "{unknown}");
        assert_eq!(status(&path, "application/json", Token::Good, empty()).await.0, 415, "{path}");
        // Good enough to be understood: an empty request is an argument's fault, or none.
        let (http, code) = status(&path, "application/grpc", Token::Good, empty()).await;
        assert!(http == 200 && ["0", "3", "5"].contains(&code.as_str()), "{path}: {code}");
    }
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
    for host in [
        "localhost:8082",
        "127.0.0.1:8082",
        "[::1]:8082",
        "LocalHost",
        "localhost.",
        "[::ffff:127.0.0.1]:8082",
        "[0:0:0:0:0:0:0:1]",
    ] {
        assert_eq!(send(host, None).await.status.as_u16(), 200, "{host}");
    }
    for host in [
        "evil.example",
        "127.0.0.1.evil.example:8082",
        "10.0.0.7",
        "0.0.0.0:8082",
        "",
        "::1",
        "[::1",
        "localhost:8082@evil.example",
        "localhost@evil.example",
        "localhost/evil.example",
        "[fe80::1]:8082",
        "localhost..",
    ] {
        send(host, None).await.is_problem(403, "CLUSTER_AUTHORIZATION_FAILED");
    }
    // What a proxy says about itself changes nothing, and a second Host makes the first worthless.
    let forwarded = http::Request::builder().uri("/healthz").header(header::HOST, "evil.example");
    let forwarded = forwarded.header("x-forwarded-host", "localhost").header("forwarded", "host=localhost");
    server.send(forwarded.body(Body::empty()).unwrap()).await.is_problem(403, "CLUSTER_AUTHORIZATION_FAILED");
    let two = request("GET", "/healthz").header(header::HOST, "evil.example").body(Body::empty()).unwrap();
    server.send(two).await.is_problem(403, "CLUSTER_AUTHORIZATION_FAILED");
    // HTTP/2 has :authority, which becomes the URI's.
    for (uri, status) in [
        ("http://localhost:8082/healthz", 200),
        ("http://evil.example/healthz", 403),
        ("http://localhost:1@evil.example/healthz", 403),
    ] {
        let request = http::Request::builder().uri(uri).version(http::Version::HTTP_2);
        assert_eq!(server.send(request.body(Body::empty()).unwrap()).await.status.as_u16(), status, "{uri}");
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

#[tokio::test]
async fn users_with_passwords_come_in_by_basic_where_that_is_on() {
    use base64::Engine;
    use tidelog_broker::{CredentialChange, SaltedPassword};
    use tidelog_model::{Caller, ScramMechanism};
    let encoded = |text: &str| format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(text));
    for (tokens, challenges) in [(true, 2), (false, 1)] {
        let mut setup = if tokens { Setup::secure() } else { Setup::default() };
        (setup.options.basic, setup.options.open_listener) = (true, false);
        setup.options.allowed_origins = vec!["https://ours.example".into()];
        let server = setup.start().await;
        let mechanism = ScramMechanism::Sha256;
        let salted = tidelog_security::scram::salted_password(mechanism, b"pen:cil", b"salt", 4096);
        let password = Some(SaltedPassword { salt: b"salt".to_vec(), iterations: 4096, salted });
        let change = CredentialChange { user: "alice".into(), mechanism: Some(mechanism), password };
        server.broker.alter_users(&Caller::internal("test"), vec![change]).await.unwrap();
        let ask = |authorization: Option<String>, origin: Option<&str>| {
            let mut request = request("GET", "/v1/topics");
            for (name, value) in [(header::AUTHORIZATION, authorization), (header::ORIGIN, origin.map(str::to_owned))] {
                if let Some(value) = value {
                    request = request.header(name, value);
                }
            }
            server.send(request.body(Body::empty()).unwrap())
        };
        for origin in [None, Some("http://localhost:8082"), Some("https://ours.example")] {
            assert_eq!(ask(Some(encoded("alice:pen:cil")), origin).await.status.as_u16(), 200, "{origin:?}");
        }
        let mut heard = Vec::new();
        for (authorization, origin) in [
            (None, None),
            (Some(encoded("alice:pencil")), None),
            (Some(encoded("nobody:pen:cil")), None),
            (Some(encoded("alice")), None),
            (Some(encoded(":pen:cil")), None),
            (Some("Basic !".to_owned()), None),
            (Some("Digest x".to_owned()), None),
            (Some(encoded("alice:pen:cil")), Some("https://evil.example")),
        ] {
            let answer = ask(authorization.clone(), origin).await;
            assert_eq!(answer.status.as_u16(), 401, "{authorization:?}");
            let asked: Vec<&str> =
                answer.headers.get_all(header::WWW_AUTHENTICATE).iter().map(|value| value.to_str().unwrap()).collect();
            assert!(asked.len() == challenges && asked.iter().any(|one| one.starts_with("Basic")), "{asked:?}");
            heard.push(answer.body);
        }
        assert_eq!(heard[1], heard[2], "neither hears whether the user exists");
        let bearer = ask(Some(format!("Bearer {}", good_token())), None).await.status.as_u16();
        assert_eq!(bearer, if tokens { 200 } else { 401 });
    }
    // Off, a password is no way in.
    let server = Setup::secure().start().await;
    let request = request("GET", "/v1/topics").header(header::AUTHORIZATION, encoded("alice:pen:cil"));
    assert_eq!(server.send(request.body(Body::empty()).unwrap()).await.status.as_u16(), 401);
}
