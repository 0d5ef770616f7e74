//! Partitions and connections that nobody uses cost next to nothing. `TIDELOG_PARTITIONS` (1,000) and `TIDELOG_CONNECTIONS` (200) set
//! how many.

use std::thread;
use std::time::{Duration, Instant};

use tidelog_harness::kafka::{PATIENCE, Producer};
use tidelog_harness::protocol::messages::{ApiVersionsRequest, MetadataRequest};
use tidelog_harness::raw::Raw;
use tidelog_harness::{Server, number, wait_until};

use crate::process::{descriptors, own_memory, sleeps, sockets, ticks};

/// Partitions and connections.
fn counts() -> (usize, usize) {
    let count = |name, usual| number(name).map_or(usual, |count| usize::try_from(count).unwrap());
    (count("TIDELOG_PARTITIONS", 1_000), count("TIDELOG_CONNECTIONS", 200))
}

/// Partitions of one topic: so many are created well within the time that a client waits for an answer, in a debug build too.
const PER_TOPIC: usize = 1_000;

/// Memory per idle partition, bytes: its log, its state, and what the cold tier knows of it.
const PER_PARTITION: u64 = 32 * 1024;

/// Memory per idle connection, bytes: two tasks and a read buffer.
const PER_CONNECTION: u64 = 32 * 1024;

/// Memory that a burst leaves with the threads that carried it, bytes, whatever its size: here a thousand partitions that are created
/// and written to at once.
const AFTER_A_BURST: u64 = 64 * 1024 * 1024;

/// Descriptors beyond one per partition and connection: listeners, the metadata store, locks.
const FURTHER_DESCRIPTORS: usize = 100;

/// How long the idle server is watched: long enough for one round of its slowest habit, the checkpoints every five seconds.
const WATCHED: Duration = Duration::from_secs(6);

/// Processor time that it may use meanwhile, in ticks of 10 ms: 1 % of one core, and what writing the checkpoints of so many
/// partitions takes.
const IDLE_TICKS: u64 = 6;
const TICKS_PER_THOUSAND_PARTITIONS: u64 = 2;

/// Times that its threads may wake up meanwhile: a timer per partition or connection would be many times as many.
const IDLE_SLEEPS: u64 = 120;

#[test]
fn many_partitions_and_connections_are_quiet() {
    let (partitions, connections) = counts();
    let mut server = Server::start(tidelog_harness::options!());
    // What every first request allocates is no partition's.
    Raw::connect(server.kafka()).call(1, &MetadataRequest::default());
    let empty = own_memory(&server);
    let began = Instant::now();
    for first in (0..partitions).step_by(PER_TOPIC) {
        let (topic, count) = (format!("many-{first}"), PER_TOPIC.min(partitions - first));
        server.run(&["topic", "create", &topic, "--partitions", &count.to_string()]).expect(0);
        let producer = Producer::new(server.kafka(), &[]);
        for partition in 0..count {
            producer.send_value(&topic, partition as i32, b"x");
        }
        producer.finish_well();
    }
    let mut open: Vec<Raw> = (0..connections).map(|_| Raw::connect(server.kafka())).collect();
    for raw in &mut open {
        assert_eq!(raw.call(0, &ApiVersionsRequest::default()).error_code, 0);
    }

    println!("{partitions} partitions and {connections} connections after {:?}", began.elapsed());
    assert!(sockets(&server) >= connections);
    let files = descriptors(&server);
    assert!(files < partitions + connections + FURTHER_DESCRIPTORS, "{files} open descriptors");

    // The work of the last requests ends; then it is watched.
    let mut last = ticks(&server);
    let settled = || {
        thread::sleep(Duration::from_millis(300));
        ticks(&server) - std::mem::replace(&mut last, ticks(&server)) <= 1
    };
    wait_until(settled, PATIENCE, "the server has nothing left to do");
    let (used, slept) = (ticks(&server), sleeps(&server));
    thread::sleep(WATCHED);
    let (used, slept) = (ticks(&server) - used, sleeps(&server) - slept);
    println!("idle for {WATCHED:?}: {used} ticks, {slept} wake-ups, {files} descriptors");
    let ticks = IDLE_TICKS + TICKS_PER_THOUSAND_PARTITIONS * (partitions as u64 / 1_000);
    assert!(used <= ticks, "{used} ticks of 10 ms in {WATCHED:?}");
    assert!(slept <= IDLE_SLEEPS, "{slept} wake-ups in {WATCHED:?}");
    let grown = own_memory(&server).saturating_sub(empty);
    println!("{} KiB more than when empty", grown >> 10);
    let allowed = partitions as u64 * PER_PARTITION + connections as u64 * PER_CONNECTION + AFTER_A_BURST;
    assert!(grown < allowed, "{} KiB more than when empty, {} are allowed", grown >> 10, allowed >> 10);

    // And all of it works at once.
    for raw in open.iter_mut().rev() {
        assert_eq!(raw.call(1, &MetadataRequest { topics: Some(Vec::new()), ..Default::default() }).controller_id, 1);
    }
    server.stop();
}
