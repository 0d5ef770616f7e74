//! `tidelog txn` against a running server.

use tidelog_harness::kafka::PATIENCE;
use tidelog_harness::rdkafka::producer::Producer;
use tidelog_harness::serde_json::json;
use tidelog_harness::{Server, wait_until};

use crate::client::{CALL, End, Transactional, values};

#[test]
fn transactions_are_listed_described_and_aborted_by_the_command_line() {
    let server = Server::start(tidelog_harness::options!());
    server.run(&["topic", "create", "t", "--partitions", "2"]).expect(0);
    assert_eq!(server.run(&["txn", "list", "--output", "json"]).expect(0).json(), json!([]));
    let producer = Transactional::new(server.kafka(), "orders");
    producer.inner.begin_transaction().unwrap();
    producer.send("t", 1, "hangs").unwrap();
    producer.inner.flush(CALL).unwrap();

    let idle = Transactional::new(server.kafka(), "payments");
    let listed = server.run(&["txn", "list", "--output", "json"]).expect(0).json();
    assert_eq!((&listed[0]["id"], &listed[0]["state"]), (&json!("orders"), &json!("Ongoing")), "{listed}");
    assert_eq!((&listed[1]["id"], &listed[1]["state"]), (&json!("payments"), &json!("Empty")), "{listed}");
    for (filter, count) in [
        (["--state", "Ongoing"], 1),
        (["--state", "CompleteCommit"], 0),
        (["--pattern", "(orders|pay.*)"], 2),
        (["--pattern", "order"], 0),
        (["--longer-than", "1h"], 0),
        (["--producer-id", &listed[0]["producer_id"].to_string()], 1),
    ] {
        let found = server.run(&[&["txn", "list", "--output", "json"], &filter[..]].concat()).expect(0).json();
        assert_eq!(found.as_array().unwrap().len(), count, "{filter:?}: {found}");
    }
    server.run(&["txn", "list", "--pattern", "("]).expect(1);
    assert!(server.run(&["txn", "list"]).expect(0).stdout.starts_with("ID"));

    let described = server.run(&["txn", "describe", "orders", "--output", "json"]).expect(0).json();
    assert_eq!(described["partitions"], json!([{"topic": "t", "partition": 1}]), "{described}");
    assert_eq!((&described["timeout_ms"], &described["state"]), (&json!(120_000), &json!("Ongoing")), "{described}");
    assert!(described["started"].as_i64().unwrap() > 0, "{described}");
    server.run(&["txn", "describe", "nobody"]).expect(4);

    // What hangs is named by where it begins, or by its producer.
    server.run(&["txn", "abort", "t", "--partition", "1", "--start-offset", "7"]).expect(4);
    server.run(&["txn", "abort", "none", "--partition", "1", "--start-offset", "0"]).expect(4);
    server.run(&["txn", "abort", "t", "--partition", "1"]).expect(2);
    // Its producer is alive, and its coordinator would end it: that does not hang, though readers wait for it.
    let told = server.run(&["consume", "t"]).expect(0);
    assert!(told.stdout.is_empty() && told.stderr.contains("t-1: what begins at offset 0 (the end is 1)"), "{told:?}");
    assert!(server.run(&["consume", "t", "--read-uncommitted"]).expect(0).stderr.is_empty());
    let refused = server.run(&["txn", "abort", "t", "--partition", "1", "--start-offset", "0"]).expect(1).stderr;
    assert!(refused.contains("does not hang") && refused.contains("transactional id orders"), "{refused}");
    assert_eq!(server.run(&["txn", "describe", "orders", "--output", "json"]).expect(0).json(), described);
    let aborted = ["txn", "abort", "t", "--partition", "1", "--start-offset", "0", "--force", "--output", "json"];
    let aborted = server.run(&aborted).expect(0).json();
    assert_eq!(aborted["producer_id"], described["producer_id"], "{aborted}");
    wait_until(
        || values(server.kafka(), "t", 1, "read_committed").is_empty(),
        PATIENCE,
        "the aborted record is not seen",
    );

    idle.inner.begin_transaction().unwrap();
    idle.send("t", 0, "hangs too").unwrap();
    idle.inner.flush(CALL).unwrap();
    let (id, epoch) = (listed[1]["producer_id"].to_string(), "0");
    let shown = server.run(&["txn", "describe-producers", "t", "-p", "0", "--output", "json"]).expect(0).json();
    assert_eq!(
        (&shown[0]["producer_id"], &shown[0]["start_offset"]),
        (&listed[1]["producer_id"], &json!(0)),
        "{shown}"
    );
    let table = server.run(&["txn", "describe-producers", "t", "-p", "0"]).expect(0).stdout;
    assert!(table.contains("START OFFSET"), "{table}");
    // Its coordinator knows it.
    let hanging = ["txn", "find-hanging", "--max-transaction-timeout", "0s", "--output", "json"];
    assert_eq!(server.run(&hanging).expect(0).json(), json!([]));
    let fencing = ["--coordinator-epoch", "2147483647"];
    let abort = ["txn", "abort", "t", "-p", "0", "--producer-id", &id, "--producer-epoch", epoch];
    let refused = server.run(&[&abort[..], &fencing[..]].concat()).expect(1).stderr;
    assert!(refused.contains("the epoch 2147483647") && refused.contains("whose epoch is 0"), "{refused}");
    let by_producer = ["txn", "abort", "t", "-p", "0", "--producer-id", &id, "--producer-epoch", epoch, "--force"];
    assert!(server.run(&by_producer).expect(0).stdout.starts_with("aborted"));
    assert_eq!(values(server.kafka(), "t", 0, "read_committed"), [""; 0]);
    // There is nothing more to abort, and no epoch that its coordinator does not have.
    let nothing = server.run(&by_producer).expect(4).stderr;
    assert!(nothing.contains("no open transaction") && nothing.contains("describe-producers"), "{nothing}");
    // The coordinator was not asked: the producer ends its transaction as if nothing had happened.
    assert_eq!(idle.end(false), End::Aborted);
}

/// As Kafka's `kafka-transactions.sh forceTerminateTransaction`: by the coordinator, in all partitions.
#[test]
fn an_open_transaction_is_terminated_and_its_producer_fenced() {
    let server = Server::start(tidelog_harness::options!());
    server.run(&["topic", "create", "t", "--partitions", "2"]).expect(0);
    let terminate = ["txn", "terminate", "orders", "--output", "json"];
    server.run(&terminate).expect(4);
    let producer = Transactional::new(server.kafka(), "orders");
    let idle = server.run(&terminate).expect(4).stderr;
    assert!(idle.contains("no transaction is open") && idle.contains("Empty"), "{idle}");
    producer.inner.begin_transaction().unwrap();
    for partition in [0, 1] {
        producer.send("t", partition, "never seen").unwrap();
    }
    producer.inner.flush(CALL).unwrap();
    let open = server.run(&["txn", "describe", "orders", "--output", "json"]).expect(0).json();
    let ended = server.run(&terminate).expect(0).json();
    assert_eq!((&ended["terminated"], &ended["producer_id"]), (&json!(true), &open["producer_id"]), "{ended}");
    let now = server.run(&["txn", "describe", "orders", "--output", "json"]).expect(0).json();
    assert_eq!((&now["partitions"], &now["timeout_ms"]), (&json!([]), &open["timeout_ms"]), "{now}");
    assert_eq!(now["producer_epoch"], ended["producer_epoch"], "{now}");
    for partition in [0, 1] {
        let seen = || values(server.kafka(), "t", partition, "read_committed");
        assert_eq!(seen(), [""; 0]);
    }
    let shown = server.run(&["txn", "describe-producers", "t", "-p", "1", "--output", "json"]).expect(0).json();
    assert_eq!(shown[0]["start_offset"], json!(null), "{shown}");
    assert!(producer.inner.commit_transaction(CALL).is_err(), "it is fenced");
    server.run(&terminate).expect(4);
}

/// Offsets are not records: each transaction ends with a marker, which has an offset too.
#[test]
fn the_last_records_are_records() {
    let server = Server::start(tidelog_harness::options!());
    server.run(&["topic", "create", "t"]).expect(0);
    let producer = Transactional::new(server.kafka(), "orders");
    let transaction = |value: &str, commit: bool| {
        producer.inner.begin_transaction().unwrap();
        producer.send("t", 0, value).unwrap();
        producer.inner.flush(CALL).unwrap();
        let ended = producer.end(commit);
        assert!(matches!((commit, ended), (true, End::Committed) | (false, End::Aborted)));
    };
    for value in ["a", "b", "c"] {
        transaction(value, true);
    }
    for _ in 0..5 {
        transaction("gone", false);
    }
    // Its marker has the last offset, and comes behind the answer to the last end.
    let whole = || {
        let described = server.run(&["topic", "describe", "t"]).expect(0).stdout;
        described.contains("OFFSETS") && described.contains("16")
    };
    wait_until(whole, PATIENCE, "all markers are there");
    let last = |count: &str| server.run(&["consume", "t", "--from", count]).expect(0).stdout;
    for (count, expected) in [("-1", "c\n"), ("-2", "b\nc\n"), ("-3", "a\nb\nc\n"), ("-99", "a\nb\nc\n")] {
        assert_eq!(last(count), expected, "{count}");
    }
}
