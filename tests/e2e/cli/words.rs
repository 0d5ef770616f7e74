//! What the command line says to somebody who has only the README: about a slip of the pen, a wrong port, an input without records.

use std::fs;
use std::io::Write;

use tidelog_harness::serde_json::{Value, json};
use tidelog_harness::{Server, run, tempfile};

use super::{QUICK, alone, server};

#[test]
fn an_input_without_records_sends_nothing_and_says_so() {
    let server = server();
    let nothing = server.run(&["produce", "new"]).expect(0);
    assert_eq!(nothing.stderr, "nothing was sent: no input; new does not exist and was not made\n");
    server.run(&["topic", "describe", "new"]).expect(4);
    server.run(&["topic", "create", "old"]).expect(0);
    assert_eq!(server.run(&["produce", "old"]).expect(0).stderr, "nothing was sent: no input\n");
    let refused = server.run(&["produce", "no/topic"]).expect(1);
    assert!(refused.stderr.contains("INVALID_TOPIC_EXCEPTION"), "{}", refused.stderr);
    let lines = b"{\"id\":1}\nid 2\n";
    let refused = server.run_with(&["produce", "old", "--key-field", "/id"], lines).expect(1);
    assert!(refused.stderr.contains("line 2: not JSON, column 1: expected value\n"), "{}", refused.stderr);
}

#[test]
fn other_ports_and_other_protocols_are_told_with_the_way_out() {
    let server = server();
    let told = |args: &[&str], envs: &[(&str, &str)], code: i32| {
        let mut command = server.command(args);
        run(command.envs(envs.iter().copied()), b"", QUICK).expect(code).stderr
    };
    let http = told(&["topic", "list", "-b", server.http()], &[], 3);
    assert!(http.contains("HTTP port") && http.contains("--brokers"), "{http}");
    let login = [("TIDELOG_USER", "alice"), ("TIDELOG_PASSWORD", "x")];
    let open = told(&["topic", "list"], &login, 1);
    assert!(open.contains("does not ask who its clients are") && open.contains("--user"), "{open}");
    let https = told(&["query", "SELECT 1", "--url", &format!("https://{}", server.http())], &[], 1);
    assert!(https.contains("http:// in --url"), "{https}");
    // A mechanism without anybody to authenticate is no wish to stay anonymous.
    assert!(told(&["topic", "list", "--sasl-mechanism", "OAUTHBEARER"], &[], 2).contains("TIDELOG_PASSWORD"));
    assert!(told(&["topic", "list", "--sasl-mechanism", "PLAIN"], &[], 2).contains("--user"));
}

#[test]
fn a_directory_is_made_for_a_user_only_if_somebody_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let secret = folder.path().join("secret");
    fs::write(&secret, "correct horse\n").unwrap();
    let (data_dir, file) = (data.to_str().unwrap(), secret.to_str().unwrap());
    let create = ["user", "create", "u", "--data-dir", data_dir];
    let with_file = [&create[..], &["--password-file", file]].concat();
    alone(&with_file).expect(4);
    assert!(!data.exists());
    // A directory of something else is none either.
    let other = folder.path().to_str().unwrap();
    let refused = alone(&["user", "create", "u", "--data-dir", other, "--password-file", file]).expect(1);
    assert!(refused.stderr.contains("--create"), "{}", refused.stderr);
    alone(&[&with_file[..], &["--create"]].concat()).expect(0);
    assert!(data.join("meta.properties").exists());
    // Now it is one.
    alone(&with_file).expect(0);
    let refused = alone(&create).expect(2);
    assert!(refused.stderr.contains("--password-file"), "{}", refused.stderr);
}

#[test]
fn access_rules_that_nobody_asks_or_that_are_not_there() {
    let open = server();
    let refused = open.run(&["acl", "list"]).expect(1);
    assert!(refused.stderr.contains("--authorizer acl"), "{}", refused.stderr);
    let args = ["--authorizer", "acl", "--super-user", "User:ANONYMOUS"];
    let server = Server::start(tidelog_harness::options!().args(args));
    let rule = ["--allow", "User:a", "--consumer", "--topic", "t", "--group", "g", "--output", "json"];
    let added = server.run(&[&["acl", "add"], &rule[..]].concat()).expect(0).json();
    let rules: Vec<_> =
        added.as_array().unwrap().iter().map(|rule| json!([rule["operation"], rule["resource"]])).collect();
    assert_eq!(rules, [json!(["READ", "TOPIC"]), json!(["DESCRIBE", "TOPIC"]), json!(["READ", "GROUP"])]);
    let refused = server.run(&["acl", "add", "--allow", "User:a", "--operation", "create", "--group", "g"]).expect(2);
    assert!(refused.stderr.contains("no operation on a group"), "{}", refused.stderr);
    let removed = server.run(&[&["acl", "remove"], &rule[..]].concat()).expect(0);
    assert_eq!((removed.json().as_array().unwrap().len(), removed.stderr.as_str()), (3, ""));
    let again = server.run(&[&["acl", "remove"], &rule[..]].concat()).expect(0);
    assert_eq!(again.stderr, "no rule fits: nothing was removed\n");
}

#[test]
fn access_rules_as_kafkas_own_tool_has_them() {
    let args = ["--authorizer", "acl", "--super-user", "User:ANONYMOUS"];
    let server = Server::start(tidelog_harness::options!().args(args));
    let acl = |text: &str| {
        let args: Vec<&str> = std::iter::once("acl").chain(text.split(' ')).chain(["--output", "json"]).collect();
        server.run(&args)
    };
    let told = |text: &str| -> Vec<String> {
        let word = |rule: &Value, name: &str| rule[name].as_str().unwrap().to_owned();
        let rules = acl(text).expect(0).json();
        let rules = rules.as_array().unwrap().iter();
        rules
            .map(|rule| ["permission", "operation", "resource", "name"].map(|name| word(rule, name)).join(" "))
            .collect()
    };
    assert_eq!(
        told("add --allow User:a --operation create-tokens --user-principal User:b"),
        ["ALLOW CREATE_TOKENS USER User:b"]
    );
    assert_eq!(
        told("add --allow User:a --operation describe --delegation-token an-id"),
        ["ALLOW DESCRIBE DELEGATION_TOKEN an-id"]
    );
    assert_eq!(told("add --allow User:a --producer --consumer --topic orders- --group g --prefixed").len(), 5);
    told("add --allow User:a --deny User:b --deny-host ::1 --operation read --topic *");
    for host in ["example.org", "10.0.0.0/8"] {
        let refused = acl(&format!("add --allow User:a --host {host} --operation read --topic t")).expect(2);
        assert!(refused.stderr.contains("is no IP address"), "{}", refused.stderr);
    }
    // What holds for a topic: its prefixes' rules, and those for every topic.
    assert_eq!(told("list --topic orders-new"), Vec::<String>::new());
    assert_eq!(told("list --topic orders-new --resource-pattern-type match").len(), 6);
    assert_eq!(told("list --topic orders- --resource-pattern-type any").len(), 4);
    assert_eq!(told("list --topic orders-new --resource-pattern-type match --principal User:b"), ["DENY READ TOPIC *"]);
    acl("add --allow User:a --operation read --topic t --resource-pattern-type match").expect(2);
    let hint = acl("remove --topic orders-").expect(0).stderr;
    assert!(hint.contains("there are 4 rules of that name") && hint.contains("--prefixed"), "{hint}");
    let would = acl("remove --topic orders- --prefixed --dry-run").expect(0);
    assert_eq!((would.json().as_array().unwrap().len(), told("list --topic orders- --prefixed").len()), (4, 4));
    assert!(would.stderr.starts_with("nothing was removed"), "{}", would.stderr);
    assert_eq!(told("remove --host ::1 --principal User:b"), ["DENY READ TOPIC *"]);
    assert_eq!(told("remove --topic orders-new --resource-pattern-type match").len(), 5);
    assert_eq!(told("list").len(), 3);
}

#[test]
fn records_up_to_an_end_and_none_beyond_it() {
    let server = server();
    server.run(&["topic", "create", "t", "-p", "2"]).expect(0);
    server.run_with(&["produce", "t", "-p", "1"], b"a\nb\nc\n").expect(0);
    let refused = server.run(&["records", "delete", "t", "--before-offset", "999"]).expect(1);
    assert!(refused.stderr.contains("it has offsets from 0 up to, not including, 3"), "{}", refused.stderr);
    assert_eq!(refused.stdout, "", "a heading without rows");
    let end = ["records", "delete", "t", "--before-offset", "END", "--output", "json"];
    let would = server.run(&[&end[..], &["--dry-run"]].concat()).expect(0);
    assert_eq!(would.json()[1], json!({"partition": 1, "log_start_offset": 3}));
    assert!(would.stderr.starts_with("nothing was deleted"), "{}", would.stderr);
    let beyond = server.run(&["records", "delete", "t", "--before-offset", "4", "--dry-run"]).expect(1);
    assert!(beyond.stderr.contains("it has offsets from 0 up to, not including, 3"), "{}", beyond.stderr);
    assert_eq!(server.run(&["consume", "t", "-p", "1", "--from", "2"]).expect(0).stdout, "c\n");
    let deleted =
        server.run(&["records", "delete", "t", "--before-offset", "END", "--output", "json"]).expect(0).json();
    assert_eq!(deleted[1], json!({"partition": 1, "log_start_offset": 3}));
    let gone = server.run(&["consume", "t", "-p", "1", "--from", "2"]).expect(1);
    assert!(gone.stderr.contains("t-1 begins at 3"), "{}", gone.stderr);
}

#[test]
fn what_is_not_there_is_told_as_that() {
    let server = server();
    server.run(&["topic", "create", "t", "-p", "2"]).expect(0);
    let told = |args: &[&str], code: i32| server.run(args).expect(code).stderr;
    for args in [
        &["records", "delete", "t", "-p", "9", "--all"][..],
        &["records", "delete", "t", "-p", "9", "--before-offset", "0"],
        &["consume", "t", "-p", "9"],
        &["txn", "find-hanging", "--topic", "t", "-p", "9"],
    ] {
        assert!(told(args, 4).contains("t-9: there are 2 partitions"), "{args:?}");
    }
    assert!(told(&["group", "reset-offsets", "none", "--all-topics", "--to-earliest"], 4).contains("none"));
    let nothing = server.run(&["group", "delete-offsets", "none", "--topic", "t"]).expect(4);
    assert_eq!(nothing.stdout, "", "a heading without rows");
    assert!(told(&["user", "delete", "nobody"], 4).contains("there is no such user"));
    for command in ["consume", "topic describe"] {
        let args: Vec<&str> = command.split(' ').chain(["t:0"]).collect();
        assert!(told(&args, 1).contains("--partition"), "{command}");
    }
    assert!(told(&["txn", "list", "--state", "Ongoin"], 2).contains("PrepareCommit"));
    assert!(told(&["group", "list", "--state", "stabel"], 2).contains("Stable"));
    server.run(&["topic", "create", "compacted", "--config", "cleanup.policy=compact"]).expect(0);
    assert!(told(&["records", "delete", "compacted", "--all"], 1).contains("cleanup.policy does not delete"));
    let kafka = format!("http://{}", server.kafka());
    assert!(told(&["query", "SELECT 1", "--url", &kafka], 1).contains("names the HTTP port"));
    let metadata = server.data_dir().join("metadata");
    let refused = alone(&["log", "dump", metadata.to_str().unwrap()]).expect(1);
    assert!(refused.stderr.contains("holds no file that this command knows"), "{}", refused.stderr);
    assert!(alone(&["help", "topic", "create"]).expect(0).stdout.contains("--partitions"));
}

#[test]
fn a_statement_comes_from_a_file_or_a_pipe_too() {
    let server = server();
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(b"SELECT 1 + 1 AS two;\n").unwrap();
    let path = file.path().to_str().unwrap();
    for answer in [
        server.run(&["query", "-f", path, "--output", "json"]),
        server.run_with(&["query", "-", "--output", "json"], b"SELECT 1 + 1 AS two"),
    ] {
        assert_eq!(answer.expect(0).json()["rows"], json!([{"two": 2}]));
    }
    server.run(&["query", "-f", "/no/such/file"]).expect(4);
    server.run(&["query", "-"]).expect(2);
    server.run(&["query"]).expect(2);
}

#[test]
fn where_settings_of_kafka_belong() {
    let folder = tempfile::tempdir().unwrap();
    let check = |text: &str| {
        let file = folder.path().join("tidelog.toml");
        fs::write(&file, text).unwrap();
        alone(&["config", "check", "--config", file.to_str().unwrap()]).expect(1).stderr
    };
    assert!(check("log.retention.hours = 5\n").contains("put it under [broker]"));
    let properties = check("broker.id=0\nlisteners=PLAINTEXT://:9092\nlog.dirs=/tmp/kafka-logs\n");
    for part in ["properties file of Kafka's", "--node-id", "--kafka-listen", "--data-dir"] {
        assert!(properties.contains(part), "{part} is not in {properties}");
    }
    let refused = alone(&["config", "check", "--set", "transaction.state.log.min.isr=2"]).expect(1).stderr;
    assert!(refused.contains("there is one node"), "{refused}");
}

#[test]
fn a_setting_has_the_source_that_it_has() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tidelog.toml");
    fs::write(&file, "[broker]\ndelegation.token.secret.key = 'a long and random secret, or nearly'\n").unwrap();
    let with_file = Server::start(tidelog_harness::options!().args(["--config", file.to_str().unwrap()]));
    let own = with_file.run(&["broker", "config", "--output", "json"]).expect(0).json();
    let secret = own.as_array().unwrap().iter().find(|entry| entry["name"] == "delegation.token.secret.key").unwrap();
    assert_eq!((&secret["source"], &secret["value"]), (&json!("start"), &json!(null)), "{own}");
    let bare = server();
    assert_eq!(
        bare.run(&["broker", "config", "all"]).expect(0).stdout,
        "all brokers have their defaults; --defaults shows them\n"
    );
    bare.run(&["topic", "create", "t"]).expect(0);
    let all = bare.run(&["topic", "config", "t", "--defaults", "--output", "json"]).expect(0).json();
    let tiered = all.as_array().unwrap().iter().find(|entry| entry["name"] == "remote.storage.enable").unwrap();
    assert_eq!((&tiered["source"], &tiered["value"]), (&json!("default"), &json!("true")), "{tiered}");
}

#[test]
fn a_refused_start_leaves_no_trace_for_the_next_one() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let serve = |args: &[&str]| {
        let mut command = tidelog_harness::options!().tidelog();
        command.args(["serve", "--kafka-listen", "127.0.0.1:0", "--http-listen", "127.0.0.1:0", "--data-dir"]);
        command.arg(&data).args(args);
        run(&mut command, b"", QUICK)
    };
    let audit = folder.path().join("no/such/audit.log");
    serve(&["--audit-log", audit.to_str().unwrap()]).expect(1);
    let metadata = data.join("metadata");
    let left = fs::read_dir(&metadata).map_or(0, Iterator::count);
    assert_eq!(left, 0, "the metadata store was opened");
}
