//! One story each: commit, abort, fencing, positions, time-out.

use std::time::Duration;

use tidelog_harness::kafka::{PATIENCE, config};
use tidelog_harness::rdkafka::Offset;
use tidelog_harness::rdkafka::error::KafkaError;
use tidelog_harness::rdkafka::producer::Producer;
use tidelog_harness::{Server, wait_until};

use crate::client::{CALL, End, Transactional, group, position, values};

fn server(topic: &str) -> Server {
    let server = Server::start(tidelog_harness::options!());
    server.run(&["topic", "create", topic, "--partitions", "2"]).expect(0);
    server
}

fn committed(server: &Server, topic: &str) -> [Vec<String>; 2] {
    [0, 1].map(|partition| values(server.kafka(), topic, partition, "read_committed"))
}

#[test]
fn what_is_committed_is_seen_and_what_is_aborted_is_not() {
    let mut server = server("t");
    let producer = Transactional::new(server.kafka(), "tx");
    for (name, commit) in [("a", true), ("b", false), ("c", true)] {
        producer.inner.begin_transaction().unwrap();
        for partition in [0, 1] {
            producer.send("t", partition, name).unwrap();
        }
        producer.inner.flush(CALL).unwrap();
        assert_eq!(producer.end(commit), if commit { End::Committed } else { End::Aborted });
    }
    wait_until(|| committed(&server, "t") == [["a", "c"], ["a", "c"]], PATIENCE, "the committed values");
    assert_eq!(values(server.kafka(), "t", 0, "read_uncommitted"), ["a", "b", "c"]);
    // An open transaction holds back what comes after it, for those who read committed values alone.
    producer.inner.begin_transaction().unwrap();
    producer.send("t", 0, "open").unwrap();
    producer.inner.flush(CALL).unwrap();
    let other = Transactional::new(server.kafka(), "other");
    other.inner.begin_transaction().unwrap();
    other.send("t", 0, "behind").unwrap();
    assert_eq!(other.end(true), End::Committed);
    assert_eq!(values(server.kafka(), "t", 0, "read_uncommitted"), ["a", "b", "c", "open", "behind"]);
    assert_eq!(committed(&server, "t")[0], ["a", "c"]);
    assert_eq!(producer.end(true), End::Committed);
    wait_until(|| committed(&server, "t")[0] == ["a", "c", "open", "behind"], PATIENCE, "all of them");
    server.stop();
}

#[test]
fn a_second_instance_fences_the_first_and_aborts_what_it_left() {
    let mut server = server("t");
    let first = Transactional::new(server.kafka(), "tx");
    first.inner.begin_transaction().unwrap();
    first.send("t", 0, "lost").unwrap();
    first.inner.flush(CALL).unwrap();
    let second = Transactional::new(server.kafka(), "tx");
    second.inner.begin_transaction().unwrap();
    second.send("t", 0, "kept").unwrap();
    assert_eq!(second.end(true), End::Committed);
    let Err(KafkaError::Transaction(error)) = first.inner.commit_transaction(CALL) else { panic!("not fenced") };
    assert!(error.is_fatal(), "{error}");
    wait_until(|| committed(&server, "t")[0] == ["kept"], PATIENCE, "the second one's value alone");
    server.stop();
}

#[test]
fn positions_count_with_their_transaction() {
    let mut server = server("t");
    let producer = Transactional::new(server.kafka(), "tx");
    let consumer = group(server.kafka(), "g");
    let mut expected = Offset::Invalid;
    for (offset, commit) in [(5, true), (9, false), (12, true)] {
        producer.inner.begin_transaction().unwrap();
        producer.send("t", 0, "x").unwrap();
        producer.send_position(&consumer, "t", offset).unwrap();
        assert_eq!(producer.end(commit), if commit { End::Committed } else { End::Aborted });
        if commit {
            expected = Offset::Offset(offset);
        }
        assert_eq!(position(&consumer, "t"), expected);
    }
    server.stop();
}

#[test]
fn an_open_transaction_is_aborted_after_its_time_out() {
    let mut server = server("t");
    let pairs = [("transactional.id", "slow"), ("transaction.timeout.ms", "1000"), ("message.timeout.ms", "900")];
    let mut config = config(server.kafka(), &pairs);
    config.remove("allow.auto.create.topics");
    let slow = Transactional::with(&config);
    slow.inner.init_transactions(CALL).unwrap();
    slow.inner.begin_transaction().unwrap();
    slow.send("t", 0, "late").unwrap();
    slow.inner.flush(CALL).unwrap();
    let quick = Transactional::new(server.kafka(), "quick");
    quick.inner.begin_transaction().unwrap();
    quick.send("t", 0, "in time").unwrap();
    assert_eq!(quick.end(true), End::Committed);
    wait_until(|| committed(&server, "t")[0] == ["in time"], PATIENCE, "the time-out");
    assert!(slow.inner.commit_transaction(Duration::from_secs(5)).is_err());
    assert_eq!(committed(&server, "t")[0], ["in time"]);
    server.stop();
}
