//! Tokens from `tidelog token`, and every wrong one.

use tidelog_harness::model::Timestamp;
use tidelog_harness::security::{TokenRequest, issue_token};
use tidelog_harness::serde_json::Value;
use tidelog_harness::{Server, http, tokio};

use crate::cases::{self, Case, Token};

const SECRET: &str = "a secret of thirty-two bytes, ok";

/// The default of the binary; the table counts with a smaller one.
const MAX_BODY_BYTES: usize = 16 * 1024 * 1024;

/// base64url of `{"alg":"none","typ":"JWT"}`.
const NONE_HEADER: &str = "eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0";

fn secure() -> Server {
    let args = ["--jwt-secret-env", "E2E_SECRET", "--jwt-issuer", "us", "--jwt-audience", "tidelog"];
    Server::start(tidelog_harness::options!().env("E2E_SECRET", SECRET).args(args))
}

fn now() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    since.as_millis() as i64
}

fn signed(audience: &str, issued: i64, secret: &str) -> String {
    let request = TokenRequest {
        subject: "alice".into(),
        ttl: std::time::Duration::from_secs(600),
        audiences: vec![audience.into()],
        issuer: Some("us".into()),
    };
    issue_token(&request, secret.as_bytes(), Timestamp(issued)).unwrap()
}

/// As an operator gets one.
fn issued_by_the_command(server: &Server) -> String {
    let args = ["token", "alice", "--secret-env", "E2E_SECRET", "--issuer", "us", "--audience", "tidelog"];
    server.run(&args).expect(0).stdout.trim().to_owned()
}

fn token(kind: Token, good: &str) -> Option<String> {
    let hour = 3_600_000;
    Some(match kind {
        Token::None => return None,
        Token::Good => good.to_owned(),
        Token::Garbage => "garbage".to_owned(),
        Token::Expired => signed("tidelog", now() - hour, SECRET),
        Token::NotYetValid => signed("tidelog", now() + hour, SECRET),
        Token::WrongSignature => signed("tidelog", now(), "another secret of thirty-two byt"),
        Token::AlgNone => format!("{NONE_HEADER}.{}.", good.split('.').nth(1).unwrap()),
        Token::WrongAudience => signed("others", now(), SECRET),
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_against_every_wrong_way_to_ask() {
    let server = secure();
    let good = issued_by_the_command(&server);
    let client = http();
    let ask = async |case: Case| {
        let mut request = client.request(case.method.parse().unwrap(), server.url(&case.path));
        if !case.content_type.is_empty() {
            request = request.header("content-type", case.content_type);
        }
        if let Some(token) = token(case.token, &good) {
            request = request.bearer_auth(token);
        }
        let body = if case.name.ends_with("events: too large") { vec![b' '; MAX_BODY_BYTES + 1] } else { case.body };
        let response = request.body(body).send().await.unwrap_or_else(|error| panic!("{}: {error:?}", case.name));
        let status = response.status().as_u16();
        let kind = response.headers().get("content-type").map(|value| value.to_str().unwrap().to_owned());
        (status, kind.unwrap_or_default(), response.bytes().await.unwrap())
    };
    let create = client.post(server.url("/v1/topics")).bearer_auth(&good).header("content-type", "application/json");
    assert_eq!(create.body(r#"{"name":"t"}"#).send().await.unwrap().status().as_u16(), 201);
    let mut wrong = Vec::new();
    for case in cases::table() {
        let (name, expected, code) = (case.name.clone(), case.status, case.error_code);
        let (status, kind, body) = ask(case).await;
        let problem: Value = tidelog_harness::serde_json::from_slice(&body).unwrap_or_default();
        let fits = status == expected
            && (code.is_empty() || (kind == "application/problem+json" && problem["error_code"] == code));
        if !fits {
            wrong.push(format!("{name}: {status} {} instead of {expected} {code}", String::from_utf8_lossy(&body)));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    for path in cases::OPEN {
        assert_eq!(client.get(server.url(path)).send().await.unwrap().status().as_u16(), 200, "{path}");
    }
    cases::assert_complete(&client.get(server.url("/openapi.json")).send().await.unwrap().json().await.unwrap());
    let log = server.log();
    assert!(!log.contains(SECRET) && !log.contains(&good), "a secret in the log: {log}");
    assert!(log.contains("the Kafka door on"), "no warning that tokens do not cover the Kafka door: {log}");
}

#[test]
fn commands_take_tokens_and_say_what_is_missing() {
    let server = secure();
    let refused = server.run(&["tier", "status"]).expect(5);
    assert!(refused.stderr.contains("SASL_AUTHENTICATION_FAILED"), "{}", refused.stderr);
    let good = issued_by_the_command(&server);
    server.run(&["tier", "status", "--token", &good]).expect(0);
}
