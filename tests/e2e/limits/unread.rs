//! Clients that ask for much and read nothing: large answers are not made in stock for them.

use tidelog_harness::kafka::PATIENCE;
use tidelog_harness::protocol::messages::{DescribeConfigsRequest, DescribeConfigsResource};
use tidelog_harness::raw::Raw;
use tidelog_harness::{Server, wait_until};

use crate::process::own_memory;

const CLIENTS: usize = 60;

/// As many as may wait on a connection, and more.
const REQUESTS: i32 = 100;

const VERSION: i16 = 4;

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
    // Until the sockets are full and the server has nothing to do for them. Another client is answered all the while.
    let (mut most, mut quiet, mut last) = (0, 0, 0);
    let settled = || {
        assert_eq!(reader.call(VERSION, &everything).results[0].configs.len(), settings);
        let now = own_memory(&server).saturating_sub(before);
        quiet = if now.abs_diff(last) < 1 << 20 { quiet + 1 } else { 0 };
        (most, last) = (most.max(now), now);
        quiet >= 50
    };
    wait_until(settled, PATIENCE, "the server makes no more for them");
    println!("{} MiB more than before with {CLIENTS} clients that read nothing", most >> 20);
    assert!(most < 48 << 20, "{} MiB", most >> 20);
    // Who reads at last gets every answer.
    for raw in &mut silent[..3] {
        for _ in 0..REQUESTS {
            assert_eq!(raw.response::<DescribeConfigsRequest>(VERSION).1.results[0].configs.len(), settings);
        }
    }
    server.assert_no_panic();
    server.stop();
}
