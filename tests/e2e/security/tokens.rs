//! Delegation tokens by our own commands, from making one to its end; what the audit log has of them; and passwords over HTTP.

use std::fs;
use std::time::Duration;

use tidelog_harness::serde_json::{Value, json};
use tidelog_harness::{Output, Server, run, wait_for};

use crate::{PASSWORD, audited, command, sasl_listener};

const QUICK: Duration = Duration::from_secs(120);

fn by_token(server: &Server, id: &str, password: &str, args: &[&str]) -> Output {
    let mut command = server.command(args);
    command.env("TIDELOG_BROKERS", sasl_listener(server)).env("TIDELOG_TOKEN_AUTH", "true");
    command.env("TIDELOG_USER", id).env("TIDELOG_PASSWORD", password).env("TIDELOG_SASL_MECHANISM", "SCRAM-SHA-512");
    run(&mut command, b"", QUICK)
}

#[test]
fn a_token_is_made_used_renewed_and_ended_and_the_audit_log_tells_it() {
    let folder = tidelog_harness::tempfile::tempdir().unwrap();
    let file = folder.path().join("audit.log");
    let options = tidelog_harness::options!().env("TIDELOG_NEW_PASSWORD", PASSWORD);
    let args =
        ["--kafka-listen", "SASL_PLAINTEXT://127.0.0.1:0", "--authorizer", "acl", "--super-user", "User:ANONYMOUS"];
    let key = ["--set", "delegation.token.secret.key=0123456789abcdef0123456789abcdef"];
    let audit = file.display().to_string();
    let mut server = Server::start(options.args(args).args(key).args(["--audit-log", &audit]));
    for user in ["alice", "bob"] {
        server.run(&["user", "create", user]).expect(0);
    }
    let of = |user: &str, args: &[&str]| command(&server, user, PASSWORD, "SCRAM-SHA-512", args, b"");
    let made = of("alice", &["token", "create", "--renewer", "User:bob", "--max-lifetime", "1h", "--output", "json"]);
    let token = made.expect(0).json();
    let (id, password) = (token["id"].as_str().unwrap(), token["password"].as_str().unwrap());
    assert_eq!((&token["owner"], &token["renewers"]), (&json!("alice"), &json!(["bob"])));
    assert_eq!(token["ends_ms"].as_i64().unwrap() - token["issued_ms"].as_i64().unwrap(), 3_600_000);
    // For others only whoever may.
    of("alice", &["token", "create", "--owner", "bob"]).expect(5);
    // Whoever logs in with it is alice, and gets no token.
    by_token(&server, id, password, &["topic", "list"]).expect(0);
    by_token(&server, id, password, &["token", "list"]).expect(5);
    by_token(&server, id, "another", &["topic", "list"]).expect(5);
    let listed = of("bob", &["token", "list", "--output", "json"]).expect(0).json();
    assert_eq!((&listed[0]["id"], &listed[0]["password"]), (&json!(id), &Value::Null));
    let renewed = of("bob", &["token", "renew", id, "--for", "10m", "--output", "json"]).expect(0).json();
    assert!(renewed[0]["expires_ms"].as_i64() < token["expires_ms"].as_i64(), "{renewed}");
    assert_eq!(of("alice", &["token", "expire", id, "--output", "json"]).expect(0).json(), json!([]));
    of("alice", &["token", "renew", id]).expect(4);
    by_token(&server, id, password, &["topic", "list"]).expect(5);
    // Nobody who has not said who he is.
    server.run(&["token", "list"]).expect(5);
    let lines = || audited(&file);
    let told = |fields: &[(&str, Value)]| {
        let has = |line: &Value| fields.iter().all(|(name, value)| line[*name] == *value);
        wait_for(|| lines().into_iter().find(has), QUICK, &format!("{fields:?}"))
    };
    let login =
        |success: bool| [("event", json!("authentication")), ("token_id", json!(id)), ("success", json!(success))];
    assert_eq!(told(&login(true))["principal"], "User:alice");
    assert_eq!(told(&login(false))["principal"], Value::Null);
    for (who, operation) in [("User:alice", "CREATE"), ("User:bob", "RENEW"), ("User:alice", "EXPIRE")] {
        let line = told(&[("event", json!("delegation_token")), ("operation", json!(operation))]);
        let seen = (&line["principal"], &line["token_id"], &line["owner"], &line["success"]);
        assert_eq!(seen, (&json!(who), &json!(id), &json!("User:alice"), &json!(true)));
    }
    let described = [("event", json!("delegation_token")), ("operation", json!("DESCRIBE")), ("success", json!(true))];
    assert_eq!(told(&[&described[..], &[("about", json!("1 of User:alice"))]].concat())["principal"], "User:bob");
    // Who may not ask is told too: by a token, and without having said who he is.
    for who in ["User:alice", "User:ANONYMOUS"] {
        let reason = ("reason", json!("DELEGATION_TOKEN_REQUEST_NOT_ALLOWED"));
        told(&[("operation", json!("DESCRIBE")), ("principal", json!(who)), reason]);
    }
    let refused = told(&[("operation", json!("CREATE_TOKENS"))]);
    assert_eq!((&refused["resource"], &refused["allowed"]), (&json!("User:bob"), &json!(false)));
    server.stop();
    let all = fs::read_to_string(&file).unwrap() + &server.log();
    assert!(!all.contains(password), "a token's secret is in a log");
}

#[test]
fn our_http_commands_come_in_by_password() {
    let options = tidelog_harness::options!().env("TIDELOG_NEW_PASSWORD", PASSWORD);
    let server = Server::start(options.args(["--kafka-listen", "SASL_PLAINTEXT://127.0.0.1:0", "--http-basic"]));
    server.run(&["user", "create", "alice"]).expect(0);
    let status = |user: Option<&str>, password: &str| {
        let mut command = server.command(&["tier", "status", "--output", "json"]);
        command.env("TIDELOG_PASSWORD", password);
        if let Some(user) = user {
            command.env("TIDELOG_USER", user);
        }
        run(&mut command, b"", QUICK)
    };
    status(Some("alice"), PASSWORD).expect(0);
    let refused = status(Some("alice"), "mistyped").expect(5);
    assert!(!refused.stderr.contains("mistyped"), "{}", refused.stderr);
    assert!(status(None, PASSWORD).expect(5).stderr.contains("--user"), "it says how");
    status(Some("alice"), "").expect(2);
}
