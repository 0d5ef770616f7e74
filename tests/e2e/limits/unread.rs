//! Clients that ask for much and read nothing: large answers are not made in stock for them.

use tidelog_harness::kafka::PATIENCE;
use tidelog_harness::protocol::messages::{
    DescribeConfigsRequest, DescribeConfigsResource, FindCoordinatorRequest, OffsetCommitRequest,
    OffsetCommitRequestPartition, OffsetCommitRequestTopic, OffsetFetchRequest, OffsetFetchRequestGroup,
    OffsetFetchResponse,
};
use tidelog_harness::raw::Raw;
use tidelog_harness::{Server, wait_until};

use crate::process::own_memory;

const CLIENTS: usize = 60;

/// As many as may wait on a connection, and more.
const REQUESTS: i32 = 100;

/// What they all may cost.
const MOST: u64 = 48 << 20;

const VERSION: i16 = 4;

/// Partitions that a group has positions of: an answer takes some 20 bytes for each, and what it is made of several times as much.
const PARTITIONS: i32 = 1_000;

/// What the server takes at most, beyond what it took before, until the sockets are full and it has nothing to do for those who do not read.
/// Another client is answered all the while.
fn most_until_settled(server: &Server, before: u64, mut another: impl FnMut()) -> u64 {
    let (mut most, mut quiet, mut last) = (0, 0, 0);
    let settled = || {
        another();
        let now = own_memory(server).saturating_sub(before);
        quiet = if now.abs_diff(last) < 1 << 20 { quiet + 1 } else { 0 };
        (most, last) = (most.max(now), now);
        quiet >= 50
    };
    wait_until(settled, PATIENCE, "the server makes no more for them");
    most
}

#[test]
fn answers_that_nobody_reads_are_not_made_in_stock() {
    let mut server = Server::start(tidelog_harness::options!());
    let resource = DescribeConfigsResource { resource_type: 4, resource_name: "1".into(), ..Default::default() };
    let everything = DescribeConfigsRequest {
        resources: vec![resource],
        include_synonyms: true,
        include_documentation: true,
        ..Default::default()
    };
    let mut reader = Raw::connect(server.kafka());
    let settings = reader.call(VERSION, &everything).results[0].configs.len();
    let before = own_memory(&server);
    let mut silent: Vec<Raw> = (0..CLIENTS).map(|_| Raw::connect(server.kafka())).collect();
    for raw in &mut silent {
        for _ in 0..REQUESTS {
            raw.request(VERSION, &everything);
        }
    }
    let other = || assert_eq!(reader.call(VERSION, &everything).results[0].configs.len(), settings);
    let most = most_until_settled(&server, before, other);
    println!("{} MiB more than before with {CLIENTS} clients that read nothing", most >> 20);
    assert!(most < MOST, "{} MiB", most >> 20);
    // Who reads at last gets every answer.
    for raw in &mut silent[..3] {
        for _ in 0..REQUESTS {
            assert_eq!(raw.response::<DescribeConfigsRequest>(VERSION).1.results[0].configs.len(), settings);
        }
    }
    server.assert_no_panic();
    server.stop();
}

#[test]
fn answers_of_a_coordinator_that_nobody_reads_are_not_asked_for_in_stock() {
    let mut server = Server::start(tidelog_harness::options!());
    server.run(&["topic", "create", "t", "--partitions", &PARTITIONS.to_string()]).expect(0);
    let mut reader = Raw::connect(server.kafka());
    reader.call(0, &FindCoordinatorRequest { key: "g".into(), ..Default::default() });
    let partition = |partition_index| OffsetCommitRequestPartition { partition_index, ..Default::default() };
    let topic = OffsetCommitRequestTopic {
        name: "t".into(),
        partitions: (0..PARTITIONS).map(partition).collect(),
        ..Default::default()
    };
    let commit = OffsetCommitRequest {
        group_id: "g".into(),
        generation_id_or_member_epoch: -1,
        topics: vec![topic],
        ..Default::default()
    };
    let committed = || reader.call(8, &commit).topics[0].partitions.iter().all(|partition| partition.error_code == 0);
    wait_until(committed, PATIENCE, "the group has its positions");
    let group = OffsetFetchRequestGroup { group_id: "g".into(), topics: None, ..Default::default() };
    // Named twice, it is told once.
    let all = OffsetFetchRequest { groups: vec![group; 2], ..Default::default() };
    let positions = |answer: &OffsetFetchResponse| -> Vec<usize> {
        answer.groups.iter().map(|group| group.topics[0].partitions.len()).collect()
    };
    let expected = [PARTITIONS as usize];
    assert_eq!(positions(&reader.call(8, &all)), expected);
    let before = own_memory(&server);
    let mut silent: Vec<Raw> = (0..CLIENTS).map(|_| Raw::connect(server.kafka())).collect();
    for raw in &mut silent {
        for _ in 0..REQUESTS {
            raw.request(8, &all);
        }
    }
    let most = most_until_settled(&server, before, || assert_eq!(positions(&reader.call(8, &all)), expected));
    println!("{} MiB more than before with {CLIENTS} clients that read nothing of a coordinator", most >> 20);
    assert!(most < MOST, "{} MiB", most >> 20);
    for raw in &mut silent[..3] {
        for _ in 0..REQUESTS {
            assert_eq!(positions(&raw.response::<OffsetFetchRequest>(8).1), expected);
        }
    }
    server.assert_no_panic();
    server.stop();
}
