//! Partitions and connections that nobody uses cost next to nothing. `TIDELOG_PARTITIONS` (1,000) and `TIDELOG_CONNECTIONS` (200) set
//! how many.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use tidelog_harness::kafka::Producer;
use tidelog_harness::protocol::messages::{ApiVersionsRequest, MetadataRequest};
use tidelog_harness::raw::Raw;
use tidelog_harness::{Server, number, wait_until};

use crate::process::{Activity, descriptors, own_memory, sockets};

/// Partitions and connections.
pub(crate) fn counts() -> (usize, usize) {
    let count = |name, usual| number(name).map_or(usual, |count| usize::try_from(count).unwrap());
    (count("TIDELOG_PARTITIONS", 1_000), count("TIDELOG_CONNECTIONS", 200))
}

/// Partitions that one producer writes to: each costs the client memory and a place in its queue.
const PER_PRODUCER: usize = 1_000;

/// Longest time for each thing that is done to many partitions at once (one request creates them all, a start opens them all, one request
/// deletes them all), beside a part for each of them: a debug build on a machine that does other things too.
const FOR_ALL: Duration = Duration::from_secs(90);
const FOR_EACH: Duration = Duration::from_millis(3);

/// Memory of a server that nobody uses, bytes.
pub(crate) const EMPTY: u64 = 50 * 1024 * 1024;

/// Memory per idle partition, bytes: its log, its state, and what the cold tier knows of it.
pub(crate) const PER_PARTITION: u64 = 32 * 1024;

/// Memory per idle connection, bytes: two tasks and a read buffer.
pub(crate) const PER_CONNECTION: u64 = 32 * 1024;

/// Memory that a burst leaves with the threads that carried it, bytes, whatever its size: here a thousand partitions that are created
/// and written to at once.
pub(crate) const AFTER_A_BURST: u64 = 64 * 1024 * 1024;

/// Descriptors beyond one per partition and connection: listeners, the metadata store, locks.
const FURTHER_DESCRIPTORS: usize = 100;

/// How long the idle server is watched: long enough for one round of its slowest habit, the checkpoints every five seconds.
const WATCHED: Duration = Duration::from_secs(6);

/// It may have something left to do at first, and on a busy machine that takes its time: so often it is watched until it is found idle.
/// What never ends is found each time.
const LOOKS: usize = 10;

/// Processor time that it may use meanwhile, in ticks of 10 ms: 1 % of one core, and what looking at so many partitions for their
/// checkpoints takes.
const IDLE_TICKS: u64 = 6;
const TICKS_PER_THOUSAND_PARTITIONS: u64 = 2;

/// Times that its threads may wake up meanwhile: a timer per partition or connection would be many times as many.
const IDLE_SLEEPS: u64 = 120;

/// The time that may be spent on so many partitions.
pub(crate) fn allowed(partitions: usize) -> Duration {
    FOR_ALL + FOR_EACH * partitions as u32
}

/// Does `act` within the time that may be spent on `partitions` of them.
pub(crate) fn timed(what: &str, partitions: usize, act: impl FnOnce()) {
    let (began, allowed) = (Instant::now(), allowed(partitions));
    act();
    println!("{partitions} partitions and {what}: {:?}", began.elapsed());
    assert!(
        began.elapsed() < allowed,
        "{what} with {partitions} partitions took {:?}, not {allowed:?}",
        began.elapsed()
    );
}

/// Watches the server until it is idle; fails with what every thread did if it never is.
fn assert_idle(server: &Server, partitions: usize) {
    let ticks = IDLE_TICKS + TICKS_PER_THOUSAND_PARTITIONS * (partitions as u64 / 1_000);
    let mut seen = Vec::new();
    for _ in 0..LOOKS {
        let before = Activity::of(server);
        thread::sleep(WATCHED);
        let during = Activity::of(server).since(&before);
        println!("idle for {WATCHED:?}: {} ticks, {} wake-ups", during.ticks, during.sleeps());
        if during.ticks <= ticks && during.sleeps() <= IDLE_SLEEPS {
            return;
        }
        seen.push(during);
    }
    panic!(
        "never idle with {partitions} partitions: {ticks} ticks of 10 ms and {IDLE_SLEEPS} wake-ups in {WATCHED:?} are allowed: {seen:#?}"
    );
}

/// Never more than ARCHITECTURE states of so many partitions and connections, whatever was done to them last.
fn assert_memory(server: &Server, partitions: usize, connections: usize, after: &str) {
    let own = own_memory(server);
    let most = EMPTY + partitions as u64 * PER_PARTITION + connections as u64 * PER_CONNECTION + AFTER_A_BURST;
    println!("{} MiB of {} after {after}", own >> 20, most >> 20);
    assert!(own < most, "{} MiB after {after}, {} are allowed", own >> 20, most >> 20);
}

/// Folders of the topic's partitions.
pub(crate) fn folders(server: &Server, topic: &str) -> usize {
    let is_one = |name: &str| name.strip_prefix(topic).is_some_and(|rest| rest.starts_with('-'));
    let entries = fs::read_dir(server.data_dir()).unwrap().map(|entry| entry.unwrap().file_name());
    entries.filter(|name| name.to_str().is_some_and(is_one)).count()
}

#[test]
fn many_partitions_and_connections_are_quiet() {
    let (partitions, connections) = counts();
    let mut server = Server::start(tidelog_harness::options!());
    // What every first request allocates is no partition's.
    Raw::connect(server.kafka()).call(1, &MetadataRequest::default());
    let empty = own_memory(&server);
    println!("{} KiB when empty", empty >> 10);
    assert!(empty < EMPTY, "{} KiB when empty", empty >> 10);
    let allowed = allowed(partitions);
    timed("their creation", partitions, || {
        // A client on a busy machine may lose its patience; the topic comes all the same.
        let created = server.run(&["topic", "create", "many", "--partitions", &partitions.to_string()]);
        println!("{}{}", created.stdout, created.stderr);
        wait_until(|| folders(&server, "many") == partitions && server.is_ready(), allowed, "all of them are open");
    });
    assert_memory(&server, partitions, 0, "their creation");
    timed("a record for each", partitions, || {
        for first in (0..partitions).step_by(PER_PRODUCER) {
            let producer = Producer::new(server.kafka(), &[]);
            for partition in first..partitions.min(first + PER_PRODUCER) {
                producer.send_value("many", partition as i32, b"x");
            }
            producer.finish_well();
        }
    });
    let mut open: Vec<Raw> = (0..connections).map(|_| Raw::connect(server.kafka())).collect();
    for raw in &mut open {
        assert_eq!(raw.call(0, &ApiVersionsRequest::default()).error_code, 0);
    }
    assert!(sockets(&server) >= connections);
    assert_memory(&server, partitions, connections, "records and connections");
    let files = descriptors(&server);
    assert!(files < partitions + connections + FURTHER_DESCRIPTORS, "{files} open descriptors");

    assert_idle(&server, partitions);
    let grown = own_memory(&server).saturating_sub(empty);
    println!("{} KiB more than when empty, {files} descriptors", grown >> 10);
    let memory = partitions as u64 * PER_PARTITION + connections as u64 * PER_CONNECTION + AFTER_A_BURST;
    assert!(grown < memory, "{} KiB more than when empty, {} are allowed", grown >> 10, memory >> 10);

    // And all of it works at once.
    for raw in open.iter_mut().rev() {
        assert_eq!(raw.call(1, &MetadataRequest { topics: Some(Vec::new()), ..Default::default() }).controller_id, 1);
    }
    assert_memory(&server, partitions, connections, "a request of each connection");
    drop(open);
    timed("a stop", partitions, || server.stop_within(allowed));
    timed("a start", partitions, || server.start_again());
    assert_memory(&server, partitions, 0, "a start");
    server.kill();
    timed("a start after a kill", partitions, || server.start_again());
    assert_memory(&server, partitions, 0, "a start after a kill");
    timed("their deletion", partitions, || {
        server.run(&["topic", "delete", "many"]).expect(0);
        // Others need not wait for it.
        server.run(&["topic", "create", "other"]).expect(0);
        server.run_with(&["produce", "other"], b"x\n").expect(0);
        wait_until(|| folders(&server, "many") == 0, allowed, "the files are gone");
    });
    server.assert_no_panic();
    // The disk may still be at work for the files that are gone.
    timed("a stop after it", partitions, || server.stop_within(allowed));
}
