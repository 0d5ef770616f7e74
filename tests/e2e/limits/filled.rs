//! All that clients can fill cheaply is filled at once: producers that partitions remember, positions of groups, fetch sessions, and fetches
//! that wait. Together they stay below what ARCHITECTURE states ("Memory"). `TIDELOG_PARTITIONS` (1,000) and `TIDELOG_CONNECTIONS` (200) set
//! how much is asked for: with 10,000 and 1,000 more positions and waiting fetches than there is room for.

use tidelog_harness::kafka::PATIENCE;
use tidelog_harness::model::{Offset, ProducerEpoch, ProducerId, Sequence, Timestamp};
use tidelog_harness::protocol::messages::{
    ApiVersionsRequest, FetchPartition, FetchRequest, FetchTopic, FindCoordinatorRequest, HeartbeatRequest,
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic, PartitionProduceData, ProduceRequest,
    TopicProduceData,
};
use tidelog_harness::protocol::{Records, Str};
use tidelog_harness::raw::Raw;
use tidelog_harness::record::BatchBuilder;
use tidelog_harness::{Server, wait_until};

use crate::idle::{AFTER_A_BURST, EMPTY, PER_CONNECTION, PER_PARTITION, allowed, counts, folders, timed};
use crate::process::own_memory;

const MIB: u64 = 1 << 20;

/// What ARCHITECTURE says of producers: for all, and of each partition.
const PRODUCERS: u64 = 256 * MIB;
const LEAST_OF_PRODUCERS: u64 = 16 << 10;

/// What it says of groups: for all, and of each of the 50 partitions of their topic.
const GROUPS: u64 = 256 * MIB;
const LEAST_OF_GROUPS: u64 = 64 << 10;
const GROUP_PARTITIONS: u64 = 50;

const WAITING_FETCHES: u64 = 128 * MIB;
const FETCH_SESSIONS: u64 = 64 * MIB;

/// Producers that write once to each partition, and what one of them may cost, bytes.
const PRODUCERS_OF_EACH: u64 = 50;
const PRODUCER: u64 = 512;

/// Positions that the group of each connection commits, each with a note of as many bytes as are allowed; and what one may cost.
const POSITIONS: u64 = 100;
const NOTE: usize = 4_096;
const POSITION: u64 = NOTE as u64 + 512;

/// What a partition costs that a waiting fetch or a session has, bytes.
const WAITING_PARTITION: u64 = 512;

/// INVALID_COMMIT_OFFSET_SIZE, NOT_ENOUGH_REPLICAS: there is no room.
const NO_ROOM: [i16; 2] = [28, 19];

/// Every partition gets a batch of a producer of its own; how many were taken.
fn produce_once(raw: &mut Raw, partitions: u64, round: u64) -> u64 {
    let one = |partition: u64| {
        let id = ProducerId(i64::try_from(1_000_000 + round * partitions + partition).unwrap());
        let mut builder = BatchBuilder::new(Offset::ZERO).producer(id, ProducerEpoch(0), Sequence(0));
        builder.push(Timestamp(1_700_000_000_000), None, Some(b"x"), &[]).unwrap();
        let records = Some(Records::from(builder.build().unwrap().into_bytes()));
        PartitionProduceData { index: partition as i32, records, ..Default::default() }
    };
    let data = (0..partitions).map(one).collect();
    let topic = TopicProduceData { name: "many".into(), partition_data: data, ..Default::default() };
    let request = ProduceRequest { acks: 1, timeout_ms: 60_000, topic_data: vec![topic], ..Default::default() };
    let answer = raw.call(9, &request);
    let results = answer.responses.iter().flat_map(|topic| &topic.partition_responses).map(|part| part.error_code);
    taken(results)
}

/// A group commits its positions; how many were taken.
fn commit(raw: &mut Raw, group: &str, note: &Str) -> u64 {
    let one = |partition| OffsetCommitRequestPartition {
        partition_index: partition as i32,
        committed_offset: 1,
        committed_metadata: Some(note.clone()),
        ..Default::default()
    };
    let partitions = (0..POSITIONS).map(one).collect();
    let topics = vec![OffsetCommitRequestTopic { name: "many".into(), partitions, ..Default::default() }];
    let request = OffsetCommitRequest { group_id: group.into(), topics, ..Default::default() };
    let answer = raw.call(8, &request);
    taken(answer.topics.iter().flat_map(|topic| &topic.partitions).map(|part| part.error_code))
}

fn taken(results: impl Iterator<Item = i16>) -> u64 {
    let results: Vec<i16> = results.collect();
    assert!(results.iter().all(|code| *code == 0 || NO_ROOM.contains(code)), "{results:?}");
    results.iter().filter(|code| **code == 0).count() as u64
}

/// A fetch of all partitions without records that wants a session and waits.
fn waiting_fetch(partitions: u64) -> FetchRequest {
    let one =
        |partition| FetchPartition { partition: partition as i32, partition_max_bytes: 1_000, ..Default::default() };
    let partitions = (0..partitions).map(one).collect();
    let topics = vec![FetchTopic { topic: "quiet".into(), partitions, ..Default::default() }];
    let (session_id, session_epoch) = (0, 0);
    FetchRequest { max_wait_ms: 300_000, min_bytes: 1, session_id, session_epoch, topics, ..Default::default() }
}

/// The most memory that the server takes until it has nothing more to do; somebody else is served all the while.
fn settled(server: &Server, other: &mut Raw) -> u64 {
    let (mut most, mut quiet, mut last) = (0, 0, 0);
    let look = || {
        assert_eq!(other.call(0, &ApiVersionsRequest::default()).error_code, 0);
        let now = own_memory(server);
        quiet = if now.abs_diff(last) < MIB { quiet + 1 } else { 0 };
        (most, last) = (most.max(now), now);
        quiet >= 50
    };
    wait_until(look, PATIENCE, "the server has nothing more to do");
    most
}

#[test]
fn what_clients_fill_stays_within_the_stated_memory() {
    let (partitions, connections) = counts();
    let quiet = partitions / 10;
    let mut server = Server::start(tidelog_harness::options!());
    timed("their creation", partitions, || {
        server.run(&["topic", "create", "many", "--partitions", &partitions.to_string()]);
        server.run(&["topic", "create", "quiet", "--partitions", &quiet.to_string()]);
        let open = || server.is_ready() && folders(&server, "many") == partitions && folders(&server, "quiet") == quiet;
        wait_until(open, allowed(partitions), "all of them are open");
    });
    let (partitions, connections, quiet) = (partitions as u64, connections as u64, quiet as u64);
    let hosted = partitions + quiet + GROUP_PARTITIONS;
    let base = EMPTY + hosted * PER_PARTITION + connections * PER_CONNECTION + AFTER_A_BURST;
    let mut raw = Raw::connect(server.kafka());

    let taken = (0..PRODUCERS_OF_EACH).map(|round| produce_once(&mut raw, partitions, round)).sum::<u64>();
    println!("{taken} producers of {} taken", PRODUCERS_OF_EACH * partitions);
    let producers = (PRODUCERS + hosted * LEAST_OF_PRODUCERS).min(PRODUCERS_OF_EACH * partitions * PRODUCER);
    let assert_within = |memory: u64, most: u64, what: &str| {
        println!("{} MiB of {} with {what}", memory >> 20, most >> 20);
        assert!(memory < most, "{} MiB with {what}, {} are allowed", memory >> 20, most >> 20);
    };
    let most = base + producers;
    assert_within(settled(&server, &mut raw), most, "producers");

    let name = |number| format!("g{number}");
    let first = FindCoordinatorRequest { key: name(0).into(), ..Default::default() };
    wait_until(|| raw.call(0, &first).error_code == 0, PATIENCE, "the groups' topic is there");
    let note = Str::from("n".repeat(NOTE).as_str());
    let loads = |raw: &mut Raw, number| {
        let heartbeat = HeartbeatRequest { group_id: name(number).into(), member_id: "m".into(), ..Default::default() };
        // UNKNOWN_MEMBER_ID: the group's coordinator is there.
        raw.call(0, &heartbeat).error_code != 25
    };
    let asked = connections * POSITIONS;
    let mut positions = 0;
    for number in 0..connections {
        wait_until(|| !loads(&mut raw, number), PATIENCE, "the coordinator has loaded");
        positions += commit(&mut raw, &name(number), &note);
    }
    println!("{positions} positions of {asked} taken");
    let groups = GROUPS + GROUP_PARTITIONS * LEAST_OF_GROUPS;
    assert_eq!(positions < asked, asked * NOTE as u64 > groups, "refused only when there is no room");
    let most = most + groups.min(asked * POSITION);
    assert_within(settled(&server, &mut raw), most, "groups");

    let mut waiting: Vec<Raw> = (0..connections).map(|_| Raw::connect(server.kafka())).collect();
    let fetch = waiting_fetch(quiet);
    for waiting in &mut waiting {
        waiting.request(11, &fetch);
    }
    let parts = connections * quiet * WAITING_PARTITION;
    let fetches = WAITING_FETCHES.min(parts) + FETCH_SESSIONS.min(parts);
    assert_within(settled(&server, &mut raw), most + fetches, "waiting fetches and sessions");
    drop(waiting);

    // What is remembered comes back with the next start, and no more.
    timed("a stop", partitions as usize, || server.stop_within(allowed(partitions as usize)));
    timed("a start", partitions as usize, || server.start_again());
    let mut raw = Raw::connect(server.kafka());
    wait_until(|| !loads(&mut raw, 0), PATIENCE, "the coordinator has loaded");
    assert_within(settled(&server, &mut raw), most, "a start");
    server.assert_no_panic();
    server.stop();
}
