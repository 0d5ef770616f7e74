//! Who may come in, and what they may do: the same answer at every door.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test may fail this way

mod audit;
mod guesses;
mod matrix;
mod own_tls;
mod statements;
mod tls;
mod tokens;

use tidelog_harness::model::Timestamp;
use tidelog_harness::security::{TokenRequest, issue_token};
use tidelog_harness::serde_json::{Value, json};
use tidelog_harness::{Output, Server, serde_json};

const SECRET: &str = "a secret of thirty-two bytes, ok";
const PASSWORD: &str = "correct horse";

/// Clients authenticate at one Kafka listener and administrate at an open one on loopback.
fn server() -> Server {
    let args = [
        "--kafka-listen",
        "SASL_PLAINTEXT://127.0.0.1:0",
        "--kafka-sasl-mechanism",
        "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512,OAUTHBEARER",
        "--authorizer",
        "acl",
        "--super-user",
        "User:ANONYMOUS",
        "--jwt-secret-env",
        "E2E_SECRET",
    ];
    let options = tidelog_harness::options!().env("E2E_SECRET", SECRET).env("TIDELOG_NEW_PASSWORD", PASSWORD);
    Server::start(options.args(args))
}

fn sasl_listener(server: &Server) -> String {
    listener(server, "SASL_PLAINTEXT")
}

fn listener(server: &Server, name: &str) -> String {
    let text = std::fs::read_to_string(server.data_dir().join("endpoints.json")).unwrap();
    let endpoints: Value = serde_json::from_str(&text).unwrap();
    endpoints["listeners"][name].as_str().unwrap().to_owned()
}

fn token(subject: &str) -> String {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let ttl = std::time::Duration::from_secs(600);
    let request = TokenRequest { subject: subject.into(), ttl, audiences: vec![], issuer: None };
    issue_token(&request, SECRET.as_bytes(), Timestamp(since.as_millis() as i64)).unwrap()
}

/// What the audit log has told so far: its last line may be being written.
fn audited(file: &std::path::Path) -> Vec<Value> {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
    whole.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// A command of a user with a password.
fn command(server: &Server, user: &str, secret: &str, mechanism: &str, args: &[&str], input: &[u8]) -> Output {
    let mut command = server.command(args);
    command.env("TIDELOG_BROKERS", sasl_listener(server)).env("TIDELOG_USER", user);
    command.env("TIDELOG_PASSWORD", secret).env("TIDELOG_SASL_MECHANISM", mechanism);
    tidelog_harness::run(&mut command, input, std::time::Duration::from_secs(120))
}

#[test]
fn a_password_opens_the_door_by_every_mechanism() {
    let mut server = server();
    let created = server.run(&["user", "create", "alice", "--output", "json"]).expect(0).json();
    assert_eq!(created["principal"], "User:alice");
    assert_eq!(created["mechanisms"], json!(["SCRAM-SHA-256", "SCRAM-SHA-512"]));
    server.run(&["acl", "add", "--allow", "User:alice", "--operation", "all", "--topic", "*"]).expect(0);
    let alice = token("alice");
    let secrets =
        [("PLAIN", PASSWORD), ("SCRAM-SHA-256", PASSWORD), ("SCRAM-SHA-512", PASSWORD), ("OAUTHBEARER", &*alice)];
    for (mechanism, secret) in secrets {
        let topic = format!("by-{mechanism}");
        command(&server, "alice", secret, mechanism, &["topic", "create", &topic], b"").expect(0);
        let produced = command(&server, "alice", secret, mechanism, &["produce", &topic], b"hello\n");
        produced.expect(0);
        let read = command(&server, "alice", secret, mechanism, &["consume", &topic, "--limit", "1"], b"").expect(0);
        assert!(read.stdout.contains("hello"), "{read:?}");
        let refused = command(&server, "alice", "mistyped", mechanism, &["topic", "list"], b"").expect(5);
        assert!(!refused.stderr.contains("mistyped"), "a secret is shown: {}", refused.stderr);
        if mechanism != "OAUTHBEARER" {
            command(&server, "nobody", PASSWORD, mechanism, &["topic", "list"], b"").expect(5);
        }
    }
    // The log says why, the client hears that it is refused.
    assert!(server.log().contains("the token is malformed"), "{}", server.log());
    // Nobody gets in without saying who he is, and hears what to do.
    for args in
        [&["topic", "list"][..], &["status"], &["produce", "t"], &["consume", "t"], &["consume", "t", "-g", "g"]]
    {
        let mut bare = server.command(args);
        bare.env("TIDELOG_BROKERS", sasl_listener(&server));
        let refused = tidelog_harness::run(&mut bare, b"x\n", std::time::Duration::from_secs(120)).expect(5);
        for part in ["TIDELOG_USER", "TIDELOG_PASSWORD", "it offers PLAIN, SCRAM-SHA-256, SCRAM-SHA-512, OAUTHBEARER"] {
            assert!(refused.stderr.contains(part), "{args:?}: {refused:?}");
        }
    }
    for secret in [PASSWORD, "mistyped", SECRET, &*alice] {
        assert!(!server.log().contains(secret), "a secret in the log");
    }
    // A password outlives a restart, and ends with its user.
    server.stop();
    server.start_again();
    command(&server, "alice", PASSWORD, "SCRAM-SHA-512", &["topic", "list"], b"").expect(0);
    let users = server.run(&["user", "list", "--output", "json"]).expect(0).json();
    assert_eq!(users[0], json!({"user": "alice", "mechanism": "SCRAM-SHA-256", "iterations": 4096}));
    let deleted = server.run(&["user", "delete", "alice", "--output", "json"]).expect(0).json();
    assert_eq!(deleted, json!({"user": "alice", "deleted": true}));
    server.run(&["user", "delete", "alice", "--output", "json"]).expect(4);
    command(&server, "alice", PASSWORD, "SCRAM-SHA-512", &["topic", "list"], b"").expect(5);
}

#[test]
fn a_password_for_one_mechanism_with_more_rounds() {
    let server = server();
    let create = ["user", "create", "bob", "--mechanism", "scram-sha-256", "--iterations", "8192", "--output", "json"];
    assert_eq!(server.run(&create).expect(0).json()["mechanisms"], json!(["SCRAM-SHA-256"]));
    let users = server.run(&["user", "list", "--output", "json"]).expect(0).json();
    assert_eq!(users, json!([{"user": "bob", "mechanism": "SCRAM-SHA-256", "iterations": 8192}]));
    command(&server, "bob", PASSWORD, "SCRAM-SHA-256", &["topic", "list"], b"").expect(0);
    command(&server, "bob", PASSWORD, "SCRAM-SHA-512", &["topic", "list"], b"").expect(5);
    for bad in [["--mechanism", "PLAIN"], ["--iterations", "4095"], ["--iterations", "16385"]] {
        server.run(&[&["user", "create", "bob"], &bad[..]].concat()).expect(2);
    }
}

#[test]
fn a_mechanism_that_the_server_does_not_offer_is_no_way_in() {
    let args = ["--kafka-listen", "SASL_PLAINTEXT://127.0.0.1:0", "--kafka-sasl-mechanism", "PLAIN"];
    let server = Server::start(tidelog_harness::options!().args(args));
    let refused = command(&server, "alice", PASSWORD, "SCRAM-SHA-256", &["topic", "list"], b"").expect(5);
    assert!(refused.stderr.contains("the server offers PLAIN"), "{refused:?}");
}

#[test]
fn the_first_user_is_made_while_the_server_does_not_run() {
    let mut server = server();
    let directory = server.data_dir().display().to_string();
    let offline = ["user", "create", "root", "--data-dir", &directory];
    let locked = server.run(&offline).expect(1);
    assert!(locked.stderr.contains("process"), "{}", locked.stderr);
    server.stop();
    server.run(&offline).expect(0);
    server.start_again();
    let refused = command(&server, "root", PASSWORD, "SCRAM-SHA-256", &["acl", "list"], b"").expect(5);
    assert!(refused.stderr.contains("CLUSTER_AUTHORIZATION_FAILED"), "{}", refused.stderr);
    server.run(&["acl", "add", "--allow", "User:root", "--operation", "describe", "--cluster"]).expect(0);
    let rules = command(&server, "root", PASSWORD, "SCRAM-SHA-256", &["acl", "list", "--output", "json"], b"");
    assert_eq!(rules.expect(0).json()[0]["principal"], "User:root");
    server.run(&["acl", "remove", "--allow", "User:root"]).expect(0);
    command(&server, "root", PASSWORD, "SCRAM-SHA-256", &["acl", "list"], b"").expect(5);
}

#[test]
fn status_counts_what_somebody_may_see_and_says_so() {
    let server = server();
    server.run(&["topic", "create", "hidden", "shown"]).expect(0);
    server.run(&["user", "create", "alice"]).expect(0);
    let status = |args: &[&str]| command(&server, "alice", PASSWORD, "SCRAM-SHA-512", args, b"").expect(0);
    assert!(status(&["status"]).stdout.contains("\nTopics      0 visible to you\n"));
    let refused = command(&server, "alice", PASSWORD, "SCRAM-SHA-512", &["produce", "shown"], b"x\n").expect(5);
    assert!(refused.stderr.contains("--producer --topic shown"), "{refused:?}");
    server.run(&["acl", "add", "--allow", "User:alice", "--operation", "describe", "--topic", "shown"]).expect(0);
    let told = status(&["status", "--output", "json"]).json();
    assert_eq!((&told["topics"], &told["visible_only"]), (&json!(1), &json!(true)), "{told}");
    // Who may describe the cluster need not see every topic.
    server.run(&["acl", "add", "--allow", "User:alice", "--operation", "all", "--cluster"]).expect(0);
    assert!(status(&["status"]).stdout.contains("\nTopics      1 visible to you\n"));
    assert!(server.run(&["status"]).expect(0).stdout.contains("\nTopics      2 visible to you\n"));
}

#[test]
fn a_server_where_nobody_may_do_anything_says_so() {
    let server = Server::start(tidelog_harness::options!().args(["--authorizer", "acl"]));
    assert!(server.log().contains("--super-user User:NAME"), "{}", server.log());
    assert!(!self::server().log().contains("--super-user User:NAME"));
}
