//! Groups and records from the command line, with a member of another client's making.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tidelog_harness::rdkafka::ClientConfig;
use tidelog_harness::rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use tidelog_harness::serde_json::{Value, json};
use tidelog_harness::{Server, wait_for};

use super::{QUICK, server};

fn described(server: &Server, group: &str) -> Value {
    server.run(&["group", "describe", group, "--output", "json"]).expect(0).json()
}

/// Partition → committed offset, of topic `t`.
fn offsets(server: &Server, group: &str) -> Vec<(i64, i64)> {
    let described = described(server, group);
    let positions = described["positions"].as_array().unwrap();
    positions.iter().filter_map(|p| Some((p["partition"].as_i64()?, p["offset"].as_i64()?))).collect()
}

#[test]
fn groups_from_their_first_member_to_their_deletion() {
    let server = server();
    server.run(&["topic", "create", "t", "-p", "2"]).expect(0);
    for partition in ["0", "1"] {
        server.run_with(&["produce", "t", "-p", partition], b"a\nb\nc\n").expect(0);
    }
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", server.kafka())
        .set("group.id", "g")
        .set("client.id", "reader")
        .set("enable.auto.commit", "false")
        .set("auto.offset.reset", "earliest")
        .create()
        .unwrap();
    consumer.subscribe(&["t"]).unwrap();
    let mut read = 0;
    wait_for(
        || {
            read += usize::from(matches!(consumer.poll(Duration::from_millis(100)), Some(Ok(_))));
            (read == 6).then_some(())
        },
        QUICK,
        "all records",
    );
    consumer.commit_consumer_state(CommitMode::Sync).unwrap();
    server.run_with(&["produce", "t", "-p", "1"], b"d\n").expect(0);

    let listed = server.run(&["group", "list", "--output", "json"]).expect(0).json();
    assert_eq!((&listed[0]["group"], &listed[0]["state"]), (&json!("g"), &json!("Stable")), "{listed}");
    let count = |args: &[&str]| {
        let listed = server.run(&[&["group", "list", "--output", "json"], args].concat()).expect(0).json();
        listed.as_array().unwrap().len()
    };
    assert_eq!((count(&["--state", "stable,empty"]), count(&["--state", "Empty"])), (1, 0));
    assert_eq!((count(&["--type", "classic"]), count(&["--type", "consumer"])), (1, 0));
    let group = described(&server, "g");
    assert_eq!((group["members"].as_array().unwrap().len(), &group["members"][0]["client_id"]), (1, &json!("reader")));
    let lags: Vec<&Value> = group["positions"].as_array().unwrap().iter().map(|position| &position["lag"]).collect();
    assert_eq!(lags, [0, 1], "{group}");
    assert_eq!(group["positions"][0]["member"], group["members"][0]["id"], "{group}");
    let people = server.run(&["group", "describe", "g"]).expect(0).stdout;
    assert!(people.contains("State     Stable") && people.contains("TOPIC"), "{people}");
    let refused = server.run(&["group", "reset-offsets", "g", "--all-topics", "--to-earliest", "--execute"]).expect(1);
    assert!(refused.stderr.contains("Stable"), "{}", refused.stderr);
    server.run(&["group", "delete", "g"]).expect(1);

    drop(consumer);
    wait_for(|| (described(&server, "g")["state"] == "Empty").then_some(()), QUICK, "the group is empty");
    let dry =
        server.run(&["group", "reset-offsets", "g", "--all-topics", "--to-earliest", "--output", "json"]).expect(0);
    assert_eq!(dry.json()[0], json!({"topic": "t", "partition": 0, "offset": 3, "new_offset": 0}));
    assert!(dry.stderr.contains("--execute"), "{}", dry.stderr);
    assert_eq!(offsets(&server, "g"), [(0, 3), (1, 3)], "nothing has moved");
    for (target, expected) in [
        (&["--to-earliest"][..], 0),
        (&["--to-offset", "99"], 4),
        (&["--shift-by", "-3"], 1),
        (&["--to-datetime", "1970-01-01T00:00:00Z"], 0),
        (&["--to-datetime", "2999-01-01T00:00:00Z"], 4),
        (&["--by-duration", "1d"], 0),
        (&["--to-latest"], 4),
    ] {
        let reset = [&["group", "reset-offsets", "g", "--topic", "t:1", "--execute"], target].concat();
        server.run(&reset).expect(0);
        assert_eq!(offsets(&server, "g"), [(0, 3), (1, expected)], "{target:?}");
    }
    // Positions before the first member.
    server.run(&["group", "reset-offsets", "new", "--topic", "t", "--to-latest", "--execute"]).expect(0);
    assert_eq!(offsets(&server, "new"), [(0, 3), (1, 4)]);
    server.run(&["group", "reset-offsets", "g", "--topic", "t:7", "--to-latest"]).expect(4);
    server.run(&["group", "reset-offsets", "g", "--topic", "none", "--to-latest"]).expect(4);
    server.run(&["group", "reset-offsets", "g", "--all-topics"]).expect(2);
    server.run(&["group", "reset-offsets", "g", "--all-topics", "--to-latest", "--to-earliest"]).expect(2);

    let gone = server.run(&["group", "delete-offsets", "new", "--topic", "t:1", "--output", "json"]).expect(0).json();
    assert_eq!(gone, json!([{"topic": "t", "partition": 1, "deleted": true}]));
    assert_eq!(offsets(&server, "new"), [(0, 3)]);
    server.run(&["group", "delete-offsets", "new", "--topic", "none"]).expect(4);
    server.run(&["group", "delete-offsets", "nobody", "--topic", "t"]).expect(4);
    server.run(&["group", "delete-offsets", "new"]).expect(2);

    let deleted = server.run(&["group", "delete", "g", "new", "--output", "json"]).expect(0).json();
    assert_eq!(deleted, json!([{"group": "g", "deleted": true}, {"group": "new", "deleted": true}]));
    assert_eq!(server.run(&["group", "list", "--output", "json"]).expect(0).json(), json!([]));
    server.run(&["group", "describe", "g"]).expect(4);
    server.run(&["group", "delete", "g"]).expect(4);
    server.run(&["group", "delete", "g", "--if-exists"]).expect(0);
}

#[test]
fn a_group_has_settings_before_it_has_members() {
    const TIMEOUT: &str = "consumer.session.timeout.ms";
    let server = server();
    let own = || server.run(&["group", "config", "g", "--output", "json"]).expect(0).json();
    assert_eq!(own(), json!([]));
    server.run(&["group", "config", "g", "--set", "consumer.session.timeout.ms=50000"]).expect(0);
    let group = own();
    assert_eq!(
        (&group[0]["name"], &group[0]["value"], &group[0]["source"]),
        (&json!(TIMEOUT), &json!("50000"), &json!("group"))
    );
    let refused = server.run(&["group", "config", "g", "--set", "consumer.session.timeout.ms=1"]).expect(1);
    assert!(refused.stderr.contains("group.consumer.min.session.timeout.ms"), "{}", refused.stderr);
    server.run(&["group", "config", "g", "--delete", TIMEOUT]).expect(0);
    assert_eq!(own(), json!([]));
}

#[test]
fn records_are_deleted_from_the_beginning() {
    let server = server();
    server.run(&["topic", "create", "t", "-p", "2"]).expect(0);
    for partition in ["0", "1"] {
        server.run_with(&["produce", "t", "-p", partition], b"a\nb\nc\n").expect(0);
    }
    let starts = || -> Vec<Value> {
        let topic = server.run(&["topic", "describe", "t", "--output", "json"]).expect(0).json();
        topic["partitions"].as_array().unwrap().iter().map(|partition| partition["log_start_offset"].clone()).collect()
    };
    let deleted =
        server.run(&["records", "delete", "t", "-p", "1", "--before-offset", "2", "--output", "json"]).expect(0);
    assert_eq!(deleted.json(), json!([{"partition": 1, "log_start_offset": 2}]));
    assert_eq!(starts(), [0, 2]);
    server.run(&["records", "delete", "t", "--before-time", "1970-01-01T00:00:00Z"]).expect(0);
    assert_eq!(starts(), [0, 2]);
    let refused = server.run(&["records", "delete", "t", "--before-offset", "99"]).expect(1);
    assert!(refused.stderr.contains("OFFSET_OUT_OF_RANGE"), "{}", refused.stderr);
    server.run(&["records", "delete", "t", "--all"]).expect(0);
    assert_eq!(starts(), [3, 3]);
    assert_eq!(server.run(&["consume", "t"]).expect(0).stdout, "");
    server.run(&["records", "delete", "t"]).expect(2);
    server.run(&["records", "delete", "none", "--all"]).expect(4);
}

#[test]
fn a_group_of_the_consumer_protocol_is_described_too() {
    let server = server();
    server.run_with(&["produce", "t"], b"a\n").expect(0);
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", server.kafka())
        .set("group.id", "g")
        .set("group.protocol", "consumer")
        .set("client.id", "reader")
        .set("auto.offset.reset", "earliest")
        .create()
        .unwrap();
    consumer.subscribe(&["t"]).unwrap();
    let read = || consumer.poll(Duration::from_millis(100)).and_then(Result::ok).map(drop);
    wait_for(read, QUICK, "the record");
    let group = described(&server, "g");
    assert_eq!((&group["members"][0]["client_id"], &group["members"][0]["partitions"]), (&json!("reader"), &json!(1)));
    assert_eq!((&group["positions"][0]["topic"], &group["state"]), (&json!("t"), &json!("Stable")), "{group}");
    let part = |flag: &str| server.run(&["group", "describe", "g", flag, "--output", "json"]).expect(0).json();
    let state = json!({
        "group": "g", "type": "consumer", "coordinator": 1, "assignor": "uniform", "state": "Stable", "members": 1,
    });
    assert_eq!(part("--state"), state);
    let members = part("--members");
    let member = &members[0];
    assert_eq!((&member["protocol"], &member["assignment"]), (&json!("consumer"), &json!({"t": [0]})), "{members}");
    let people = server.run(&["group", "describe", "g", "--members"]).expect(0).stdout;
    assert!(people.contains("PROTOCOL") && people.contains("t:0"), "{people}");
    server.run(&["group", "describe", "g", "--members", "--state"]).expect(2);
    let refused = server.run(&["group", "delete-offsets", "g", "--topic", "t"]).expect(1);
    assert!(refused.stderr.contains("GROUP_SUBSCRIBED_TO_TOPIC"), "{}", refused.stderr);
    let refused = server.run(&["group", "reset-offsets", "g", "--topic", "t", "--to-latest", "--execute"]).expect(1);
    assert!(refused.stderr.contains("Stable"), "{}", refused.stderr);
}

#[test]
fn our_own_member_commits_what_it_has_printed() {
    let server = server();
    server.run(&["topic", "create", "t", "-p", "2"]).expect(0);
    for partition in ["0", "1"] {
        server.run_with(&["produce", "t", "-p", partition], b"a\nb\nc\n").expect(0);
    }
    let read = |more: &[&str]| server.run(&[&["consume", "t", "--group", "g"], more].concat()).expect(0).stdout;
    assert_eq!(read(&[]).lines().count(), 6);
    assert_eq!(read(&[]), "", "everything is committed");
    assert_eq!(offsets(&server, "g"), [(0, 3), (1, 3)]);
    // What was fetched and not printed is still to be read.
    server.run_with(&["produce", "t", "-p", "0"], b"d\ne\nf\n").expect(0);
    assert_eq!(read(&["--limit", "2"]), "d\ne\n");
    assert_eq!(offsets(&server, "g"), [(0, 5), (1, 3)]);
    assert_eq!(read(&[]), "f\n");
    assert_eq!(server.run(&["consume", "t", "--group", "late", "--from", "end"]).expect(0).stdout, "");
    server.run(&["consume", "t", "--group", "g", "--partition", "0"]).expect(2);
    assert_eq!(described(&server, "g")["state"], "Empty", "it has left");
}

#[test]
fn our_own_members_share_the_partitions() {
    let server = server();
    server.run(&["topic", "create", "t", "-p", "2"]).expect(0);
    let member = || {
        let mut command = server.command(&["consume", "t", "--group", "g", "--follow"]);
        Killed(command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap())
    };
    let shares = || -> Vec<i64> {
        let described = server.run(&["group", "describe", "g", "--output", "json"]);
        if described.code != Some(0) {
            return Vec::new();
        }
        let members = described.json()["members"].clone();
        members.as_array().unwrap().iter().map(|member| member["partitions"].as_i64().unwrap()).collect()
    };
    let mut first = member();
    wait_for(|| (shares() == [2]).then_some(()), QUICK, "one member with both");
    let mut second = member();
    wait_for(|| (shares() == [1, 1]).then_some(()), QUICK, "each with one");
    assert!(Command::new("kill").args(["-INT", &first.0.id().to_string()]).status().unwrap().success());
    assert_eq!(wait_for(|| first.0.try_wait().unwrap(), QUICK, "its end").code(), Some(0));
    wait_for(|| (shares() == [2]).then_some(()), QUICK, "what the first had goes to the second");
    for partition in ["0", "1"] {
        server.run_with(&["produce", "t", "-p", partition], b"x\n").expect(0);
    }
    let mut lines = BufReader::new(second.0.stdout.take().unwrap()).lines();
    assert_eq!([lines.next().unwrap().unwrap(), lines.next().unwrap().unwrap()], ["x", "x"]);
    server.run(&["topic", "alter", "t", "--partitions", "3"]).expect(0);
    wait_for(|| (shares() == [3]).then_some(()), QUICK, "the new one too");
    server.run_with(&["produce", "t", "-p", "2"], b"y\n").expect(0);
    assert_eq!(lines.next().unwrap().unwrap(), "y", "what was added is read");
    assert!(Command::new("kill").args(["-INT", &second.0.id().to_string()]).status().unwrap().success());
    assert_eq!(wait_for(|| second.0.try_wait().unwrap(), QUICK, "its end").code(), Some(0));
    assert_eq!(offsets(&server, "g"), [(0, 1), (1, 1), (2, 1)]);
}

/// A child that does not outlive a failed test.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
