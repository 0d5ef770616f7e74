//! The audit log: the same line whichever door somebody comes by, and never a secret.

use std::fs;
use std::time::Duration;

use tidelog_harness::protocol::messages::*;
use tidelog_harness::raw::Raw;
use tidelog_harness::serde_json::Value;
use tidelog_harness::{Server, reqwest, tokio, wait_for};

use crate::{PASSWORD, SECRET, audited, command, token};

const QUICK: Duration = Duration::from_secs(120);

#[tokio::test(flavor = "multi_thread")]
async fn who_came_in_what_was_refused_and_what_was_changed_is_told_and_no_secret() {
    let folder = tidelog_harness::tempfile::tempdir().unwrap();
    let (file, old) = (folder.path().join("audit.log"), folder.path().join("audit.log.1"));
    let options = tidelog_harness::options!().env("E2E_SECRET", SECRET).env("TIDELOG_NEW_PASSWORD", PASSWORD);
    let path = file.display().to_string();
    let args =
        ["--kafka-listen", "SASL_PLAINTEXT://127.0.0.1:0", "--authorizer", "acl", "--super-user", "User:ANONYMOUS"];
    let mut server = Server::start(options.args(args).args(["--jwt-secret-env", "E2E_SECRET", "--audit-log", &path]));
    server.run(&["user", "create", "alice"]).expect(0);
    server.run(&["topic", "create", "t"]).expect(0);
    server.run_with(&["produce", "t"], b"x\n").expect(0);
    server.run(&["acl", "add", "--allow", "User:alice", "--operation", "describe", "--topic", "t"]).expect(0);
    let refused = command(&server, "alice", PASSWORD, "SCRAM-SHA-256", &["consume", "t", "--limit", "1"], b"");
    assert_ne!(refused.code, Some(0));
    let wrong = command(&server, "alice", "a wrong password", "SCRAM-SHA-256", &["topic", "list"], b"");
    assert_ne!(wrong.code, Some(0));
    let http = reqwest::Client::new();
    let post = |token: String| {
        let request = http.post(server.url("/v1/topics/t/events")).header("content-type", "application/json");
        request.bearer_auth(token).body("{}").send()
    };
    let alice = token("alice");
    assert_ne!(post(alice.clone()).await.unwrap().status().as_u16(), 401);
    assert_eq!(post("nonsense".into()).await.unwrap().status().as_u16(), 401);
    let lines = || audited(&file);
    let told = |fields: &[(&str, Value)]| {
        let has = |line: &Value| fields.iter().all(|(name, value)| line[*name] == *value);
        wait_for(|| lines().into_iter().find(has), QUICK, &format!("{fields:?}"));
    };
    told(&[("event", "authentication".into()), ("principal", "User:alice".into()), ("success", true.into())]);
    told(&[("event", "authentication".into()), ("success", false.into()), ("mechanism", "SCRAM-SHA-256".into())]);
    told(&[("event", "authentication".into()), ("success", false.into()), ("mechanism", "BEARER".into())]);
    // What was created, by whichever right.
    for (operation, kind, resource) in [("ALTER", "CLUSTER", "kafka-cluster"), ("CREATE", "TOPIC", "t")] {
        let fields = [("operation", operation), ("resource_type", kind), ("resource", resource)];
        let mut fields: Vec<(&str, Value)> = fields.into_iter().map(|(name, value)| (name, value.into())).collect();
        fields.extend([("principal", "User:ANONYMOUS".into()), ("allowed", true.into())]);
        told(&fields);
    }
    // Which of the cluster's users and rules, and who a login that failed was for.
    told(&[("about", "SCRAM-SHA-256 of alice, SCRAM-SHA-512 of alice".into()), ("operation", "ALTER".into())]);
    told(&[("about", "new rules ALLOW User:alice DESCRIBE LITERAL TOPIC:t from *".into()), ("allowed", true.into())]);
    told(&[("success", false.into()), ("mechanism", "SCRAM-SHA-256".into()), ("claimed", "alice".into())]);
    server.run(&["topic", "config", "t", "--set", "retention.ms=1234567"]).expect(0);
    told(&[("operation", "ALTER_CONFIGS".into()), ("resource", "t".into()), ("about", "retention.ms".into())]);
    for (door, operation) in [("kafka", "READ"), ("rest", "WRITE")] {
        told(&[
            ("door", door.into()),
            ("principal", "User:alice".into()),
            ("operation", operation.into()),
            ("resource", "t".into()),
            ("allowed", false.into()),
        ]);
    }
    // An idempotent producer who may write somewhere is not refused for what it need not have.
    server.run(&["acl", "add", "--allow", "User:alice", "--operation", "write", "--topic", "t"]).expect(0);
    command(&server, "alice", PASSWORD, "SCRAM-SHA-256", &["produce", "t"], b"y\n").expect(0);
    assert!(!lines().iter().any(|line| line["operation"] == "IDEMPOTENT_WRITE"));
    fs::rename(&file, &old).unwrap();
    server.run(&["topic", "delete", "t"]).expect(0);
    told(&[("operation", "DELETE".into()), ("resource", "t".into()), ("allowed", true.into())]);
    // And how it ended: what was allowed need not have happened.
    told(&[("change", "DELETE_TOPIC".into()), ("name", "t".into()), ("success", true.into())]);
    server.run(&["topic", "delete", "t"]).expect(4);
    told(&[
        ("change", "DELETE_TOPIC".into()),
        ("success", false.into()),
        ("reason", "UNKNOWN_TOPIC_OR_PARTITION".into()),
    ]);
    server.stop();
    let all = fs::read_to_string(&old).unwrap() + &fs::read_to_string(&file).unwrap();
    for secret in ["1234567", PASSWORD, "a wrong password", SECRET, &alice] {
        assert!(!all.contains(secret), "a secret is in the log");
    }
}

/// Each change that Kafka's door alone knows, once as it is done and once as it is not: by the operation's right nobody sees which.
#[test]
fn every_change_is_told_with_its_end() {
    let folder = tidelog_harness::tempfile::tempdir().unwrap();
    let file = folder.path().join("audit.log");
    let path = file.display().to_string();
    let server = Server::start(tidelog_harness::options!().args(["--audit-log", &path]));
    server.run(&["topic", "create", "t"]).expect(0);
    server.run_with(&["produce", "t"], b"x\n").expect(0);
    server.run_with(&["consume", "t", "--group", "g", "--limit", "1"], b"").expect(0);
    let mut raw = Raw::connect(server.kafka());
    let position = |topic: &str| OffsetDeleteRequestTopic {
        name: topic.into(),
        partitions: vec![OffsetDeleteRequestPartition::default()],
        ..Default::default()
    };
    let positions = vec![position("t"), position("none")];
    raw.call(0, &OffsetDeleteRequest { group_id: "g".into(), topics: positions, ..Default::default() });
    let groups_names = vec!["g".into(), "none".into()];
    raw.call(2, &DeleteGroupsRequest { groups_names, ..Default::default() });
    let records = |offset| DeleteRecordsTopic {
        name: "t".into(),
        partitions: vec![DeleteRecordsPartition { offset, ..Default::default() }],
        ..Default::default()
    };
    for offset in [1, 7] {
        let topics = vec![records(offset)];
        raw.call(2, &DeleteRecordsRequest { topics, timeout_ms: 10_000, ..Default::default() });
    }
    let partitions = vec![
        ReassignablePartition { replicas: Some(vec![1]), ..Default::default() },
        ReassignablePartition { partition_index: 7, replicas: Some(vec![1]), ..Default::default() },
    ];
    let topics = vec![ReassignableTopic { name: "t".into(), partitions, ..Default::default() }];
    raw.call(0, &AlterPartitionReassignmentsRequest { topics, ..Default::default() });
    for (level, validate_only) in [(1, false), (77, false), (78, true)] {
        let feature =
            FeatureUpdateKey { feature: "group.version".into(), max_version_level: level, ..Default::default() };
        raw.call(1, &UpdateFeaturesRequest { feature_updates: vec![feature], validate_only, ..Default::default() });
    }
    let marked =
        |name: &str| WritableTxnMarkerTopic { name: name.into(), partition_indexes: vec![0], ..Default::default() };
    let marker = WritableTxnMarker { producer_id: 77, topics: vec![marked("t"), marked("none")], ..Default::default() };
    raw.call(1, &WriteTxnMarkersRequest { markers: vec![marker], ..Default::default() });
    let elected = ElectLeadersTopic { topic: "t".into(), partitions: vec![0], ..Default::default() };
    raw.call(2, &ElectLeadersRequest { topic_partitions: Some(vec![elected]), ..Default::default() });
    let moved = AlterReplicaLogDirTopic { name: "t".into(), partitions: vec![0], ..Default::default() };
    let directory =
        |path: &str| AlterReplicaLogDir { path: path.into(), topics: vec![moved.clone()], ..Default::default() };
    let here = server.data_dir().display().to_string();
    let dirs = vec![directory(&here), directory("/nowhere")];
    raw.call(2, &AlterReplicaLogDirsRequest { dirs, ..Default::default() });
    raw.call(0, &UnregisterBrokerRequest { broker_id: 99, ..Default::default() });
    // Whoever asks and does not wait for the answer is told of too.
    let groups_names = vec!["also none".into()];
    raw.request(2, &DeleteGroupsRequest { groups_names, ..Default::default() });
    drop(raw);
    let lines = || audited(&file);
    for (change, name, reason) in [
        ("DELETE_OFFSET", "g: t-0", None),
        ("DELETE_OFFSET", "g: none-0", Some("UNKNOWN_TOPIC_OR_PARTITION")),
        ("DELETE_GROUP", "g", None),
        ("DELETE_GROUP", "none", Some("GROUP_ID_NOT_FOUND")),
        ("DELETE_GROUP", "also none", Some("GROUP_ID_NOT_FOUND")),
        ("DELETE_RECORDS", "t-0", None),
        ("DELETE_RECORDS", "t-0", Some("OFFSET_OUT_OF_RANGE")),
        ("REASSIGN_PARTITION", "t-0", None),
        ("REASSIGN_PARTITION", "t-7", Some("UNKNOWN_TOPIC_OR_PARTITION")),
        ("UPDATE_FEATURE", "group.version to 1", None),
        ("UPDATE_FEATURE", "group.version to 77", Some("INVALID_UPDATE_VERSION")),
        ("WRITE_TRANSACTION_MARKER", "Abort of 77 in epoch 0: t-0", None),
        ("WRITE_TRANSACTION_MARKER", "Abort of 77 in epoch 0: none-0", Some("UNKNOWN_TOPIC_OR_PARTITION")),
        ("ELECT_LEADER", "t-0", Some("ELECTION_NOT_NEEDED")),
        ("ALTER_LOG_DIR", &format!("t-0: {here}"), None),
        ("ALTER_LOG_DIR", "t-0: /nowhere", Some("LOG_DIR_NOT_FOUND")),
        ("UNREGISTER_BROKER", "99", Some("BROKER_ID_NOT_REGISTERED")),
    ] {
        let is = |line: &Value| {
            line["event"] == "change"
                && (&line["change"], &line["name"]) == (&change.into(), &name.into())
                && (&line["success"], &line["reason"]) == (&reason.is_none().into(), &reason.into())
        };
        wait_for(|| lines().into_iter().find(is), QUICK, &format!("{change} {name} {reason:?} in {:#?}", lines()));
    }
    assert!(!lines().iter().any(|line| line["name"] == "group.version to 78"), "only checked");
}
