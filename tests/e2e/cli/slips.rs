//! What a slip of the finger, or a thing that is not possible, is answered with: what was meant, and what to do.

use tidelog_harness::run;

use super::{QUICK, alone, server};

#[test]
fn what_is_misspelt_is_told_with_what_there_is() {
    let server = server();
    server.run(&["topic", "create", "t"]).expect(0);
    for (args, code, part) in [
        (&["quota", "set", "--for", "user=bob", "producer_byte_rat=10MiB"][..], 2, "did you mean producer_byte_rate?"),
        (&["topic", "config", "t", "--delete", "retention.mss"], 2, "did you mean retention.ms?"),
        (&["topic", "alter", "t", "--delete-config", "retention.mss"], 2, "did you mean retention.ms?"),
        (&["acl", "add", "--allow", "User:a", "--topic", "t", "--operation", "raed"], 2, "there are all, read, "),
        (&["acl", "add", "--allow", "User:a", "--topic", "t", "--operation", "descrbe"], 2, "did you mean describe?"),
        (&["topic", "create", "u", "-c", "tidelog.table.json.integers=a..b"], 1, "a level without a name"),
        (&["group", "config", "g", "--set", "consumer.session.timeout.ms=1"], 1, "min.session.timeout.ms (45000)"),
        (&["group", "reset-offsets", "g", "--to-earliest"], 2, "--all-topics"),
        (&["broker", "config", "7"], 1, "expected 1 or all"),
        (&["token", "create"], 5, "delegation.token.secret.key"),
        (&["token", "list"], 5, "SASL"),
        (&["query", "SELECT 1; SELECT 2"], 1, "one statement at a time"),
        (&["query", "SELECT * FROM t"], 1, "`tidelog topic config t --set tidelog.table.enable=true`"),
        (&["query", "DROP TABLE t"], 1, "EXPLAIN"),
        (&["records", "delete", "t", "--before-offset", "-1"], 2, "expected an offset or END"),
        (&["consume", "t", "-p", "-1"], 2, "-1 is not in 0.."),
    ] {
        let refused = server.run(args).expect(code);
        assert!(refused.stderr.contains(part), "{args:?}: {}", refused.stderr);
    }
    // A setting that is not set can be deleted, as what has been set.
    server.run(&["topic", "config", "t", "--delete", "retention.ms"]).expect(0);
    let missing = server.run(&["topic", "describe", "nope"]).expect(4);
    assert_eq!(missing.stderr.matches("nope").count(), 1, "{}", missing.stderr);
    // What the environment says need not be typed.
    let usage = server.run(&["topic", "create"]).expect(2).stderr;
    assert!(usage.contains("Usage: tidelog topic create [OPTIONS] <TOPIC>..."), "{usage}");
}

#[test]
fn a_topic_that_a_failed_write_has_made_is_told() {
    let told = server().run_with(&["produce", "newt", "-p", "3"], b"x\n").expect(4).stderr;
    assert!(told.starts_with("topic newt did not exist and was created\n0 of 1 records stored in newt\n"), "{told}");
}

#[test]
fn where_there_is_nothing_no_heading_stands_alone() {
    let server = server();
    assert_eq!(server.run(&["quota", "list"]).expect(0).stdout, "there are no quotas\n");
    server.run_with(&["produce", "t"], b"x\n").expect(0);
    server.run(&["group", "reset-offsets", "g", "--to-latest", "--topic", "t", "--execute"]).expect(0);
    let members = server.run(&["group", "describe", "g", "--members"]).expect(0).stdout;
    assert_eq!(members, "group g has no members\n");
}

#[test]
fn a_secret_that_no_server_takes_signs_no_token() {
    let mut command = tidelog_harness::options!().tidelog();
    command.args(["token", "alice"]).env("TIDELOG_JWT_SECRET", "short");
    let refused = run(&mut command, b"", QUICK).expect(1);
    assert!(refused.stderr.contains("32 bytes") && refused.stdout.is_empty(), "{refused:?}");
}

#[test]
fn keys_are_shown_by_how_they_begin() {
    let shown = alone(&["config", "show", "kafka"]).expect(0).stdout;
    assert!(shown.contains("kafka.listen") && !shown.contains("data_dir"), "{shown}");
    let reference = alone(&["config", "reference", "num.partitions"]).expect(0).stdout;
    assert!(reference.contains("broker.num.partitions") && !reference.contains("SETTINGS OF A TOPIC"), "{reference}");
    assert!(alone(&["config", "show", "zzz"]).expect(2).stderr.contains("no setting begins with zzz"));
}

#[test]
fn what_a_record_holds_cannot_move_the_cursor() {
    let mut server = server();
    server.run_with(&["produce", "t", "-K", ":"], b"\x1b[31mk:\xff\x00\n").expect(0);
    server.stop();
    let dumped = alone(&["log", "dump", "--records", server.data_dir().join("t-0").to_str().unwrap()]).expect(0).stdout;
    assert!(dumped.contains("\\u{1b}[31mk  \\xff\\x00"), "{dumped}");
}
