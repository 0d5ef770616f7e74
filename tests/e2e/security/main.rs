//! Who may come in, and what they may do: the same answer at every door.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test may fail this way

mod audit;
mod tls;
mod tokens;

use std::collections::BTreeMap;

use tidelog_harness::model::Timestamp;
use tidelog_harness::proto::v1;
use tidelog_harness::proto::v1::event_service_client::EventServiceClient;
use tidelog_harness::proto::v1::publish_result::Result as Published;
use tidelog_harness::proto::v1::topic_service_client::TopicServiceClient;
use tidelog_harness::security::{TokenRequest, issue_token};
use tidelog_harness::serde_json::{Value, json};
use tidelog_harness::tonic::{Code, Request};
use tidelog_harness::{Output, Server, http, reqwest, serde_json, tokio, tonic};

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

/// A command of a user with a password.
fn command(server: &Server, user: &str, secret: &str, mechanism: &str, args: &[&str], input: &[u8]) -> Output {
    let mut command = server.command(args);
    command.env("TIDELOG_BROKERS", sasl_listener(server)).env("TIDELOG_USER", user);
    command.env("TIDELOG_PASSWORD", secret).env("TIDELOG_SASL_MECHANISM", mechanism);
    tidelog_harness::run(&mut command, input, std::time::Duration::from_secs(40))
}

#[test]
fn a_password_opens_the_door_by_every_mechanism() {
    let mut server = server();
    server.run(&["user", "create", "alice"]).expect(0);
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
    // Nobody gets in without saying who he is.
    let mut bare = server.command(&["topic", "list"]);
    bare.env("TIDELOG_BROKERS", sasl_listener(&server));
    let refused = tidelog_harness::run(&mut bare, b"", std::time::Duration::from_secs(40));
    assert_ne!(refused.code, Some(0), "{refused:?}");
    assert!(refused.stderr.contains("TIDELOG_USER") && refused.stderr.contains("TIDELOG_PASSWORD"), "{refused:?}");
    for secret in [PASSWORD, "mistyped", SECRET, &*alice] {
        assert!(!server.log().contains(secret), "a secret in the log");
    }
    // A password outlives a restart, and ends with its user.
    server.stop();
    server.start_again();
    command(&server, "alice", PASSWORD, "SCRAM-SHA-512", &["topic", "list"], b"").expect(0);
    let users = server.run(&["user", "list", "--output", "json"]).expect(0).json();
    assert_eq!(users[0], json!({"user": "alice", "mechanism": "SCRAM-SHA-256", "iterations": 4096}));
    server.run(&["user", "delete", "alice"]).expect(0);
    server.run(&["user", "delete", "alice"]).expect(4);
    command(&server, "alice", PASSWORD, "SCRAM-SHA-512", &["topic", "list"], b"").expect(5);
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
fn a_server_where_nobody_may_do_anything_says_so() {
    let server = Server::start(tidelog_harness::options!().args(["--authorizer", "acl"]));
    assert!(server.log().contains("--super-user User:NAME"), "{}", server.log());
    assert!(!self::server().log().contains("--super-user User:NAME"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_told_of_the_whole_cluster_is_for_who_may_describe_it() {
    let server = server();
    let status = async |path: &str| {
        http().get(server.url(path)).bearer_auth(token("alice")).send().await.unwrap().status().as_u16()
    };
    for path in ["/metrics", "/v1/tier"] {
        assert_eq!(status(path).await, 403, "{path}");
    }
    server.run(&["acl", "add", "--allow", "User:alice", "--operation", "describe", "--cluster"]).expect(0);
    for path in ["/metrics", "/v1/tier"] {
        assert_eq!(status(path).await, 200, "{path}");
    }
}

/// What a principal hears: nothing if it may, otherwise Kafka's name of the error.
type Heard = Option<String>;

const OPERATIONS: [&str; 7] = ["describe", "list", "publish", "read", "configure", "create", "delete"];

/// Whoever may not see a topic hears nothing of it in a list; as a refusal, so that it compares with the others.
fn listed(names: &[&str]) -> Heard {
    (!names.contains(&"t")).then(|| "TOPIC_AUTHORIZATION_FAILED".to_owned())
}

/// By the Kafka door, with a token as the others.
fn kafka(server: &Server, who: &str, operation: &str, fresh: &str) -> Heard {
    let (args, input): (Vec<&str>, &[u8]) = match operation {
        "describe" => (vec!["topic", "describe", "t"], b""),
        "list" => (vec!["topic", "list"], b""),
        "configure" => (vec!["topic", "config", "t", "--set", "max.message.bytes=1000000"], b""),
        "publish" => (vec!["produce", "t"], b"x\n"),
        "read" => (vec!["consume", "t", "--limit", "1"], b""),
        "create" => (vec!["topic", "create", fresh], b""),
        _ => (vec!["topic", "delete", "gone"], b""),
    };
    let output = command(server, who, &token(who), "OAUTHBEARER", &args, input);
    if output.code == Some(0) {
        let names: Vec<&str> = output.stdout.split_whitespace().collect();
        return if operation == "list" { listed(&names) } else { None };
    }
    // A producer asks for an identity first, which Kafka refuses to whoever may write nowhere.
    let names = ["TOPIC_AUTHORIZATION_FAILED", "CLUSTER_AUTHORIZATION_FAILED", "UNKNOWN_TOPIC_OR_PARTITION"];
    let name = names.iter().find(|name| output.stderr.contains(**name) || output.stdout.contains(**name));
    Some(name.unwrap_or_else(|| panic!("{who} {operation}: {output:?}")).to_string())
}

async fn rest(server: &Server, who: &str, operation: &str, fresh: &str) -> Heard {
    let client = http();
    let url = |path: &str| server.url(path);
    let request = match operation {
        "describe" => client.get(url("/v1/topics/t")),
        "list" => client.get(url("/v1/topics")),
        "configure" => client.patch(url("/v1/topics/t")).json(&json!({"config": {"max.message.bytes": "1000000"}})),
        "publish" => client.post(url("/v1/topics/t/events")).json(&json!({"a": 1})),
        "read" => client.get(url("/v1/topics/t/events?limit=1")),
        "create" => client.post(url("/v1/topics")).json(&json!({"name": fresh})),
        _ => client.delete(url("/v1/topics/gone")),
    };
    let answer = request.bearer_auth(token(who)).send().await.unwrap();
    let status = answer.status();
    if status.is_success() {
        let answer: Value = answer.json().await.unwrap_or_default();
        let topics = answer["topics"].as_array().cloned().unwrap_or_default();
        let names: Vec<&str> = topics.iter().filter_map(|topic| topic["name"].as_str()).collect();
        return if operation == "list" { listed(&names) } else { None };
    }
    let problem: Value = answer.json().await.unwrap();
    let name = problem["error_code"].as_str().unwrap().to_owned();
    let denied = name.ends_with("AUTHORIZATION_FAILED");
    assert_eq!(status == reqwest::StatusCode::FORBIDDEN, denied, "{problem}");
    Some(name)
}

async fn grpc(server: &Server, who: &str, operation: &str, fresh: &str) -> Heard {
    let channel = tonic::transport::Channel::from_shared(server.url("")).unwrap().connect().await.unwrap();
    let bearer: tonic::metadata::MetadataValue<_> = format!("Bearer {}", token(who)).parse().unwrap();
    let with = move |mut request: Request<()>| -> Result<Request<()>, tonic::Status> {
        request.metadata_mut().insert("authorization", bearer.clone());
        Ok(request)
    };
    let mut topics = TopicServiceClient::with_interceptor(channel.clone(), with.clone());
    let mut events = EventServiceClient::with_interceptor(channel, with);
    let failed = match operation {
        "describe" => topics.get_topic(v1::GetTopicRequest { name: "t".into() }).await.err(),
        "list" => match topics.list_topics(v1::ListTopicsRequest::default()).await {
            Ok(answer) => {
                let answer = answer.into_inner();
                return listed(&answer.topics.iter().map(|topic| topic.name.as_str()).collect::<Vec<_>>());
            }
            Err(error) => Some(error),
        },
        "configure" => {
            let set_config = [("max.message.bytes".to_owned(), "1000000".to_owned())].into();
            topics
                .update_topic(v1::UpdateTopicRequest { name: "t".into(), set_config, ..Default::default() })
                .await
                .err()
        }
        "publish" => {
            let event = v1::NewEvent { value: Some(b"x".to_vec().into()), partition: Some(0), ..Default::default() };
            let request = v1::PublishRequest { topic: "t".into(), events: vec![event] };
            match events.publish(request).await {
                // Each event has its own answer.
                Ok(answer) => match answer.into_inner().results.remove(0).result {
                    Some(Published::Error(error)) => return Some(error.reason),
                    _ => None,
                },
                Err(error) => Some(error),
            }
        }
        "read" => match events.read(v1::ReadRequest { topic: "t".into(), ..Default::default() }).await {
            Ok(stream) => stream.into_inner().message().await.err(),
            Err(error) => Some(error),
        },
        "create" => {
            topics.create_topic(v1::CreateTopicRequest { name: fresh.into(), ..Default::default() }).await.err()
        }
        _ => topics.delete_topic(v1::DeleteTopicRequest { name: "gone".into() }).await.err(),
    }?;
    // The reason of google.rpc.ErrorInfo is in the details, as text between other bytes.
    let details = String::from_utf8_lossy(failed.details()).into_owned();
    let names = ["TOPIC_AUTHORIZATION_FAILED", "UNKNOWN_TOPIC_OR_PARTITION"];
    let name = names.iter().find(|name| details.contains(**name));
    let name = name.unwrap_or_else(|| panic!("{who} {operation}: {failed:?}")).to_string();
    assert_eq!(failed.code() == Code::PermissionDenied, name.ends_with("AUTHORIZATION_FAILED"), "{failed:?}");
    Some(name)
}

#[tokio::test(flavor = "multi_thread")]
async fn doors_operations_and_principals_the_same_answer_everywhere() {
    let server = server();
    server.run(&["topic", "create", "t", "gone"]).expect(0);
    server.run_with(&["produce", "t"], b"first\n").expect(0);
    let rules: [&[&str]; 10] = [
        &["--allow", "User:reader", "--operation", "read", "--topic", "t"],
        &["--allow", "User:writer", "--operation", "write,create", "--topic", "*"],
        &["--allow", "User:owner", "--operation", "all", "--topic", "*"],
        &["--allow", "User:banned", "--operation", "all", "--topic", "*"],
        &["--deny", "User:banned", "--operation", "read,delete", "--topic", "*"],
        &["--allow", "User:seer", "--operation", "describe", "--topic", "t", "--prefixed"],
        &["--allow", "User:keeper", "--operation", "describe,alter-configs", "--topic", "t"],
        &["--allow", "User:far", "--operation", "all", "--topic", "*", "--host", "192.0.2.1"],
        &["--allow", "User:near", "--operation", "read", "--topic", "t", "--host", "127.0.0.1"],
        &["--deny", "User:near", "--operation", "read", "--topic", "t", "--host", "192.0.2.1"],
    ];
    for rule in rules {
        server.run(&[&["acl", "add"], rule].concat()).expect(0);
    }
    let may: BTreeMap<&str, &[&str]> = BTreeMap::from([
        ("reader", &["describe", "list", "read"][..]),
        ("writer", &["describe", "list", "publish", "create"]),
        ("owner", &OPERATIONS),
        ("banned", &["describe", "list", "publish", "configure", "create"]),
        ("seer", &["describe", "list"]),
        ("keeper", &["describe", "list", "configure"]),
        ("far", &[]),
        ("near", &["describe", "list", "read"]),
        ("stranger", &[]),
    ]);
    for (who, allowed) in may {
        for operation in OPERATIONS {
            let fresh = |door: &str| format!("{who}-{door}");
            let heard = [
                ("kafka", kafka(&server, who, operation, &fresh("kafka"))),
                ("rest", rest(&server, who, operation, &fresh("rest")).await),
                ("grpc", grpc(&server, who, operation, &fresh("grpc")).await),
            ];
            for (door, heard) in heard {
                let denied = heard.as_ref().is_some_and(|name| name.ends_with("AUTHORIZATION_FAILED"));
                // The owner's first door deletes the topic; the others hear that it is gone, which is no refusal either.
                assert_eq!(!denied, allowed.contains(&operation), "{who} {operation} by {door}: {heard:?}");
            }
        }
    }
}
