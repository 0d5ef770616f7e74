//! Clients that announce more than all the memory that requests may take, and send little or nothing of it.
//! `TIDELOG_CLIENTS` sets how many of them are strangers (at least 600).

use std::fs;
use std::time::{Duration, Instant};

use tidelog_harness::kafka::Producer;
use tidelog_harness::raw::Raw;
use tidelog_harness::serde_json::{self, Value};
use tidelog_harness::{Server, number, run};

/// Longest time of anything that others do meanwhile, in a debug build: without room it would be as long as slow frames are suffered.
const MEANWHILE: Duration = Duration::from_secs(8);

/// The largest frame of a client who is not known.
const STRANGERS_FRAME: u32 = 512 * 1024;

/// Together all memory for requests.
const LARGE_FRAMES: [u32; 3] = [100 << 20, 100 << 20, 56 << 20];

const PASSWORD: &str = "correct horse";

fn strangers() -> usize {
    number("TIDELOG_CLIENTS").map_or(600, |count| usize::try_from(count).unwrap().max(600))
}

/// A client that announces a frame and sends this much of it.
fn announce(address: &str, length: u32, sent: usize) -> Raw {
    let mut raw = Raw::connect(address);
    raw.send(&[&length.to_be_bytes()[..], &vec![0; sent]].concat());
    raw
}

/// What others do: ask as somebody who says who it is, and produce what fits into no small frame.
fn others_go_on(server: &Server, sasl: &str, case: &str) {
    let began = Instant::now();
    let mut list = server.command(&["topic", "list"]);
    list.env("TIDELOG_BROKERS", sasl).env("TIDELOG_USER", "alice").env("TIDELOG_PASSWORD", PASSWORD);
    run(&mut list, b"", Duration::from_secs(40)).expect(0);
    assert!(began.elapsed() < MEANWHILE, "{case}: topic list took {:?}", began.elapsed());
    let began = Instant::now();
    let producer = Producer::new(server.kafka(), &[("linger.ms", "0")]);
    producer.send_value("t", 0, &[1; 900_000]);
    producer.finish_well();
    assert!(began.elapsed() < MEANWHILE, "{case}: producing took {:?}", began.elapsed());
}

#[test]
fn what_is_announced_and_not_sent_holds_nobody_up() {
    let options = tidelog_harness::options!().env("TIDELOG_NEW_PASSWORD", PASSWORD);
    let mut server = Server::start(options.args(["--kafka-listen", "SASL_PLAINTEXT://127.0.0.1:0"]));
    server.run(&["topic", "create", "t"]).expect(0);
    server.run(&["user", "create", "alice"]).expect(0);
    let endpoints = fs::read_to_string(server.data_dir().join("endpoints.json")).unwrap();
    let endpoints: Value = serde_json::from_str(&endpoints).unwrap();
    let sasl = endpoints["listeners"]["SASL_PLAINTEXT"].as_str().unwrap();

    // Nobody of them has said who it is; some send a little more than a small frame.
    let strangers: Vec<Raw> =
        (0..strangers()).map(|n| announce(sasl, STRANGERS_FRAME, if n % 2 == 0 { 4 } else { 20_000 })).collect();
    others_go_on(&server, sasl, "strangers");
    drop(strangers);
    for sent in [24, 20_000] {
        let large: Vec<Raw> = LARGE_FRAMES.iter().map(|length| announce(server.kafka(), *length, sent)).collect();
        others_go_on(&server, sasl, &format!("{sent} bytes of large frames"));
        drop(large);
    }
    server.assert_no_panic();
    server.stop();
}
