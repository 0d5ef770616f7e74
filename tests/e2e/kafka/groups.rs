//! Consumer groups: members come and go, offsets are committed and found again.

use std::collections::BTreeSet;
use std::time::Duration;

use tidelog_harness::kafka::{PATIENCE, Producer, config};
use tidelog_harness::rdkafka::Message;
use tidelog_harness::rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use tidelog_harness::{Server, wait_until};

use crate::create;

/// A server that allows session timeouts for impatient tests.
fn server() -> Server {
    Server::start(tidelog_harness::options!().set("group.min.session.timeout.ms", 500))
}

const PARTITIONS: i32 = 4;

fn member(server: &Server, group: &str, strategy: &str) -> BaseConsumer {
    let settings = [
        ("group.id", group),
        ("partition.assignment.strategy", strategy),
        ("auto.offset.reset", "earliest"),
        ("enable.auto.commit", "false"),
        // A member that dies without a word is missed after this; one whose machine is busy must not be.
        ("session.timeout.ms", "6000"),
        ("heartbeat.interval.ms", "300"),
        ("fetch.wait.max.ms", "50"),
    ];
    let consumer: BaseConsumer = config(server.kafka(), &settings).create().unwrap();
    consumer.subscribe(&["work"]).unwrap();
    consumer
}

fn partitions(consumer: &BaseConsumer) -> BTreeSet<i32> {
    consumer.assignment().unwrap().elements().iter().map(|element| element.partition()).collect()
}

/// Polls all members once; what came goes to `values`.
fn poll(members: &[&BaseConsumer], values: &mut Vec<String>) {
    for member in members {
        if let Some(Ok(message)) = member.poll(Duration::from_millis(10)) {
            values.push(String::from_utf8(message.payload().unwrap().to_vec()).unwrap());
        }
    }
}

fn produce(server: &Server, label: &str, count: i32) -> BTreeSet<String> {
    let producer = Producer::new(server.kafka(), &[("enable.idempotence", "true")]);
    let values: Vec<String> = (0..count).map(|n| format!("{label}{n}")).collect();
    for (n, value) in (0i32..).zip(&values) {
        producer.send_value("work", n % PARTITIONS, value.as_bytes());
    }
    producer.finish_well();
    values.into_iter().collect()
}

fn sorted(values: &[String]) -> BTreeSet<String> {
    values.iter().cloned().collect()
}

/// Two members share, one leaves, the other takes over; nothing is lost or read twice.
fn members_come_and_go(strategy: &str) {
    let server = server();
    create(&server, "work", PARTITIONS as usize, &[]);
    let mut expected = produce(&server, "a", 40);
    let (mut values, mut nothing) = (Vec::new(), Vec::new());
    let first = member(&server, "g", strategy);
    let all = || {
        poll(&[&first], &mut values);
        values.len() == 40
    };
    wait_until(all, PATIENCE, "the first member reads everything");
    assert_eq!(partitions(&first).len(), PARTITIONS as usize);
    first.commit_consumer_state(CommitMode::Sync).unwrap();

    let second = member(&server, "g", strategy);
    let shared = || {
        poll(&[&first, &second], &mut nothing);
        let (a, b) = (partitions(&first), partitions(&second));
        a.len() == 2 && b.len() == 2 && a.is_disjoint(&b)
    };
    wait_until(shared, PATIENCE, "both members have two partitions");
    expected.extend(produce(&server, "b", 40));
    let all = || {
        poll(&[&first, &second], &mut values);
        values.len() == 80
    };
    wait_until(all, PATIENCE, "both together read what is new");
    first.commit_consumer_state(CommitMode::Sync).unwrap();
    second.commit_consumer_state(CommitMode::Sync).unwrap();

    first.unsubscribe();
    drop(first);
    let alone = || {
        poll(&[&second], &mut nothing);
        partitions(&second).len() == PARTITIONS as usize
    };
    wait_until(alone, PATIENCE, "the second member takes over");
    expected.extend(produce(&server, "c", 8));
    let all = || {
        poll(&[&second], &mut values);
        values.len() == 88
    };
    wait_until(all, PATIENCE, "the second member reads the rest");
    assert_eq!(sorted(&values), expected);
    assert!(nothing.is_empty(), "read twice: {nothing:?}");
}

#[test]
fn members_come_and_go_with_range() {
    members_come_and_go("range");
}

#[test]
fn members_come_and_go_with_cooperative_sticky() {
    members_come_and_go("cooperative-sticky");
}

#[test]
fn a_group_resumes_where_it_committed() {
    let mut server = server();
    create(&server, "work", PARTITIONS as usize, &[]);
    for (round, label) in ["a", "b", "c"].into_iter().enumerate() {
        let expected = produce(&server, label, 20);
        let consumer = member(&server, "resume", "range");
        let mut values = Vec::new();
        let all = || {
            poll(&[&consumer], &mut values);
            values.len() >= 20
        };
        wait_until(all, PATIENCE, "the new records of this round");
        assert_eq!(sorted(&values), expected, "round {round}");
        consumer.commit_consumer_state(CommitMode::Sync).unwrap();
        if label == "a" {
            // As a deploy does it: the consumer first, then an orderly stop.
            drop(consumer);
            server.stop();
        } else {
            // As a crash does it; what was committed is durable.
            server.kill();
            drop(consumer);
        }
        server.start_again();
    }
    let consumer = member(&server, "resume", "range");
    wait_until(
        || !partitions(&consumer).is_empty() || consumer.poll(Duration::from_millis(10)).is_some(),
        PATIENCE,
        "joins",
    );
    let committed = consumer.committed(PATIENCE).unwrap();
    let sum: i64 = committed.elements().iter().filter_map(|element| element.offset().to_raw()).sum();
    assert_eq!(sum, 60, "{committed:?}");
}
