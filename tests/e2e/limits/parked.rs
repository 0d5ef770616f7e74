//! Requests that wait for long after they have been understood: what they came in is given back, and what they hold is bounded.

use std::time::Duration;

use tidelog_harness::kafka::{PATIENCE, Producer, read_all};
use tidelog_harness::protocol::messages::{
    FetchPartition, FetchRequest, FetchTopic, FindCoordinatorRequest, HeartbeatRequest, JoinGroupRequest,
    JoinGroupRequestProtocol,
};
use tidelog_harness::raw::{Raw, batch, encode, produce};
use tidelog_harness::{Server, wait_until};

use crate::process::own_memory;

/// The largest frame.
const FRAME: usize = 100 << 20;

/// What all of them may cost: as much as a burst leaves with the allocator.
const PARKED: u64 = 64 << 20;

/// The request, and bytes behind its last field up to the largest frame: they are ignored.
fn padded(frame: &[u8]) -> Vec<u8> {
    let mut padded = frame.to_vec();
    padded.resize(4 + FRAME, 0);
    padded[..4].copy_from_slice(&(FRAME as u32).to_be_bytes());
    padded
}

/// A fetch that waits until there is something.
fn fetch(topic: &str) -> FetchRequest {
    let partition = FetchPartition { partition: 0, partition_max_bytes: 1_000, ..Default::default() };
    let topic = FetchTopic { topic: topic.into(), partitions: vec![partition], ..Default::default() };
    FetchRequest { max_wait_ms: 300_000, min_bytes: 1, max_bytes: 1_000, topics: vec![topic], ..Default::default() }
}

fn join() -> JoinGroupRequest {
    let protocol = JoinGroupRequestProtocol { name: "range".into(), ..Default::default() };
    JoinGroupRequest {
        group_id: "g".into(),
        session_timeout_ms: 60_000,
        rebalance_timeout_ms: 60_000,
        protocol_type: "consumer".into(),
        protocols: vec![protocol],
        ..Default::default()
    }
}

#[test]
fn a_request_that_waits_does_not_keep_its_frame() {
    let mut server = Server::start(tidelog_harness::options!().set("group.initial.rebalance.delay.ms", 60_000));
    server.run(&["topic", "create", "quiet"]).expect(0);
    // The group's coordinator is there before anything is measured, and does not know the member.
    let mut raw = Raw::connect(server.kafka());
    raw.call(0, &FindCoordinatorRequest { key: "g".into(), ..Default::default() });
    let heartbeat = HeartbeatRequest { group_id: "g".into(), member_id: "m".into(), ..Default::default() };
    wait_until(|| raw.call(0, &heartbeat).error_code == 25, PATIENCE, "the group's coordinator is there");
    let session = FetchRequest { session_id: 0, session_epoch: 0, ..fetch("quiet") };
    let cases = [
        ("a fetch", encode(4, 1, &fetch("quiet"))),
        ("a fetch that wants a session", encode(12, 1, &session)),
        ("a join", encode(3, 1, &join())),
    ];
    let (before, mut parked) = (own_memory(&server), Vec::new());
    for (n, (case, frame)) in cases.into_iter().enumerate() {
        let seen = format!("seen-{n}");
        server.run(&["topic", "create", &seen]).expect(0);
        let mut raw = Raw::connect(server.kafka());
        raw.send(&padded(&frame));
        // The next request of the connection is carried out: the one before it waits now, or has failed.
        raw.send(&encode(7, 2, &produce(&seen, 0, -1, batch(&[b"x"]))));
        wait_until(|| read_all(server.kafka(), &seen, &[0])[&0].len() == 1, PATIENCE, case);
        let fits = || own_memory(&server) < before + PARKED;
        wait_until(fits, Duration::from_secs(20), &format!("{case} gives back what it came in"));
        println!("{case}: {} MiB more than before", own_memory(&server).saturating_sub(before) >> 20);
        parked.push((case, raw));
    }
    // They have waited all the time, and hear what they waited for.
    let producer = Producer::new(server.kafka(), &[]);
    producer.send_value("quiet", 0, b"news");
    producer.finish_well();
    for (version, (case, mut raw)) in [4, 12].into_iter().zip(parked) {
        let (id, answer) = raw.response::<FetchRequest>(version);
        let topic = &answer.responses[0];
        assert_eq!((id, answer.error_code, topic.topic.as_str()), (1, 0, "quiet"), "{case}");
        assert_eq!(topic.partitions[0].high_watermark, 1, "{case}");
        assert_eq!(answer.session_id > 0, version == 12, "{case}");
    }
    server.assert_no_panic();
    server.stop();
}
