//! A transaction that hangs: its records are in a partition, and no coordinator knows of it any more.

use tidelog_harness::damage::append_unreadable;
use tidelog_harness::kafka::PATIENCE;
use tidelog_harness::rdkafka::producer::Producer;
use tidelog_harness::serde_json::{Value, json};
use tidelog_harness::{Server, run, wait_until};

use crate::client::{CALL, End, Transactional, values};

/// `find-hanging` of everything that is open, whatever its age.
fn hanging(server: &Server) -> Value {
    let command = ["txn", "find-hanging", "--max-transaction-timeout", "0s", "--output", "json"];
    server.run(&command).expect(0).json()
}

#[test]
fn a_transaction_whose_coordinator_has_forgotten_it_is_found_and_ended() {
    let mut server = Server::start(tidelog_harness::options!());
    server.run(&["topic", "create", "t", "--partitions", "2"]).expect(0);
    let producer = Transactional::new(server.kafka(), "orders");
    producer.inner.begin_transaction().unwrap();
    producer.send("t", 1, "before").unwrap();
    assert_eq!(producer.end(true), End::Committed);
    producer.inner.begin_transaction().unwrap();
    producer.send("t", 1, "hangs").unwrap();
    producer.inner.flush(CALL).unwrap();
    assert_eq!(hanging(&server), json!([]), "its coordinator will end it");
    server.stop();
    drop(producer);
    let data = server.data_dir();
    append_unreadable(&data, "__transaction_state", b"orders");
    let forget = ["log", "repair", data.to_str().unwrap(), "--forget-unreadable", "--yes"];
    let done = run(tidelog_harness::options!().tidelog().args(forget), b"", CALL).expect(0).stdout;
    assert!(done.contains("transactional id `orders`") && done.contains("find-hanging"), "{done}");

    server.start_again();
    // Another one goes on while that hangs, above it and elsewhere.
    let other = Transactional::new(server.kafka(), "payments");
    other.inner.begin_transaction().unwrap();
    other.send("t", 1, "behind").unwrap();
    assert_eq!(other.end(true), End::Committed);
    assert_eq!(values(server.kafka(), "t", 1, "read_committed"), ["before"], "what hangs holds up what follows");
    let found = hanging(&server);
    assert_eq!((&found[0]["topic"], &found[0]["partition"]), (&json!("t"), &json!(1)), "{found}");
    assert_eq!(found.as_array().unwrap().len(), 1, "{found}");
    // Only where nothing was written for long, and only where it is asked for.
    for narrower in
        [&["--max-transaction-timeout", "1h"][..], &["--topic", "t", "-p", "0", "--max-transaction-timeout", "0s"]]
    {
        let none = server.run(&[&["txn", "find-hanging", "--output", "json"], narrower].concat()).expect(0).json();
        assert_eq!(none, json!([]), "{narrower:?}");
    }
    let people = server.run(&["txn", "find-hanging", "--max-transaction-timeout", "0s"]).expect(0).stdout;
    assert!(people.contains("txn abort"), "{people}");
    // The epoch of a coordinator before the last that has written here; the next one would be anybody's.
    let start = found[0]["start_offset"].to_string();
    let abort = ["txn", "abort", "t", "-p", "1", "--start-offset", &start];
    assert!(server.run(&abort).expect(0).stdout.starts_with("aborted"));
    wait_until(
        || values(server.kafka(), "t", 1, "read_committed") == ["before", "behind"],
        PATIENCE,
        "what follows is seen",
    );
    assert_eq!(hanging(&server), json!([]));
    // Its owner begins anew.
    let again = Transactional::new(server.kafka(), "orders");
    again.inner.begin_transaction().unwrap();
    again.send("t", 1, "after").unwrap();
    assert_eq!(again.end(true), End::Committed);
    let all = || values(server.kafka(), "t", 1, "read_committed") == ["before", "behind", "after"];
    wait_until(all, PATIENCE, "its marker comes behind the answer");
    server.stop();
}

/// As Kafka's WriteTxnMarkers: an epoch is held against that of the coordinator whose marker the partition has of this producer.
#[test]
fn the_epoch_of_an_abort_is_held_against_the_producers_own_coordinator() {
    let mut server = Server::start(tidelog_harness::options!());
    server.run(&["topic", "create", "t"]).expect(0);
    let open = |server: &Server, id: &str| {
        let producer = Transactional::new(server.kafka(), id);
        producer.inner.begin_transaction().unwrap();
        producer.send("t", 0, "one").unwrap();
        assert_eq!(producer.end(true), End::Committed);
        producer.inner.begin_transaction().unwrap();
        producer.send("t", 0, "two").unwrap();
        producer.inner.flush(CALL).unwrap();
        producer
    };
    // Each start is another epoch of every coordinator.
    drop(open(&server, "warm"));
    server.stop();
    server.start_again();
    let _producer = open(&server, "orders");
    let listed = server.run(&["txn", "describe", "orders", "--output", "json"]).expect(0).json();
    let (id, epoch) = (listed["producer_id"].to_string(), listed["producer_epoch"].to_string());
    let shown = server.run(&["txn", "describe-producers", "t", "-p", "0", "--output", "json"]).expect(0).json();
    let own = shown.as_array().unwrap().iter().find(|one| one["producer_id"] == listed["producer_id"]).unwrap();
    let own = own["coordinator_epoch"].as_i64().unwrap();
    assert!(own > 0, "{shown}");
    let abort = |coordinator: i64| {
        let coordinator = coordinator.to_string();
        let which = ["--producer-id", &id, "--producer-epoch", &epoch, "--coordinator-epoch", &coordinator];
        server.run(&[&["txn", "abort", "t", "-p", "0", "--force"], &which[..]].concat())
    };
    let older = abort(own - 1).expect(1).stderr;
    assert!(older.contains("TRANSACTION_COORDINATOR_FENCED"), "{older}");
    let newer = abort(own + 1).expect(1).stderr;
    assert!(newer.contains(&format!("whose epoch is {own}")), "{newer}");
    assert!(abort(own).expect(0).stdout.starts_with("aborted"));
}

/// Lists leave out what somebody may not see: to him a transaction that its coordinator will end looks like one that hangs.
#[test]
fn who_may_not_see_a_transactional_id_does_not_abort_its_living_transaction() {
    let password = "correct horse";
    let args = ["--kafka-listen", "SASL_PLAINTEXT://127.0.0.1:0", "--kafka-sasl-mechanism", "PLAIN"];
    let rules = ["--authorizer", "acl", "--super-user", "User:ANONYMOUS"];
    let options = tidelog_harness::options!().env("TIDELOG_NEW_PASSWORD", password);
    let server = Server::start(options.args(args).args(rules));
    server.run(&["topic", "create", "t"]).expect(0);
    server.run(&["user", "create", "alice"]).expect(0);
    let allow = |what: &[&str]| {
        server.run(&[&["acl", "add", "--allow", "User:alice", "--operation"], what].concat()).expect(0);
    };
    allow(&["all", "--topic", "t"]);
    allow(&["all", "--cluster"]);
    let endpoints = std::fs::read_to_string(server.data_dir().join("endpoints.json")).unwrap();
    let endpoints: Value = tidelog_harness::serde_json::from_str(&endpoints).unwrap();
    let listener = endpoints["listeners"]["SASL_PLAINTEXT"].as_str().unwrap();
    let alice = |args: &[&str]| {
        let mut command = server.command(&[&["txn"], args].concat());
        command.env("TIDELOG_BROKERS", listener).env("TIDELOG_USER", "alice");
        command.env("TIDELOG_PASSWORD", password).env("TIDELOG_SASL_MECHANISM", "PLAIN");
        run(&mut command, b"", CALL)
    };
    let producer = Transactional::new(server.kafka(), "orders");
    producer.inner.begin_transaction().unwrap();
    producer.send("t", 0, "lives").unwrap();
    producer.inner.flush(CALL).unwrap();

    let abort = ["abort", "t", "-p", "0", "--start-offset", "0"];
    let told = alice(&abort).expect(5).stderr;
    assert!(told.contains("DESCRIBE") && told.contains("--force"), "{told}");
    let told = alice(&["find-hanging", "--topic", "t", "--max-transaction-timeout", "0s"]).expect(5).stderr;
    assert!(told.contains("DESCRIBE") && !told.contains("--force"), "{told}");
    // Not by an epoch either that would shut its coordinator out.
    let shown = alice(&["describe-producers", "t", "-p", "0", "--output", "json"]).expect(0).json();
    let (id, epoch) = (shown[0]["producer_id"].to_string(), shown[0]["producer_epoch"].to_string());
    let by_epoch = ["--producer-id", &id, "--producer-epoch", &epoch, "--coordinator-epoch", "9", "--force"];
    alice(&[&abort[..4], &by_epoch[..]].concat()).expect(5);
    // Whoever sees this one hears that it lives.
    allow(&["describe", "--transactional-id", "orders"]);
    assert!(alice(&abort).expect(1).stderr.contains("does not hang"));
    alice(&["terminate", "orders"]).expect(5);
    assert_eq!(producer.end(true), End::Committed);
    let seen = || values(server.kafka(), "t", 0, "read_committed") == ["lives"];
    wait_until(seen, PATIENCE, "nobody has aborted it");
}
