//! Clients that announce more than all the memory that requests may take, and send little or nothing of it; and clients that ask for more of
//! the cold tier than may be in memory, and take nothing. `TIDELOG_CLIENTS` sets how many of them are strangers (at least 600).

use std::fs;
use std::time::Duration;

use tidelog_harness::kafka::{PATIENCE, Producer, assigned, take};
use tidelog_harness::protocol::Records;
use tidelog_harness::protocol::messages::{FetchPartition, FetchRequest, FetchTopic};
use tidelog_harness::raw::Raw;
use tidelog_harness::rdkafka::{Message, Offset};
use tidelog_harness::record::Batches;
use tidelog_harness::serde_json::{self, Value};
use tidelog_harness::{Server, number, run, tempfile, wait_until};

/// A slow frame is let go after ten seconds, and then others have room again: only what they do before that counts. A busy machine may
/// need more than one attempt.
const ATTEMPTS: usize = 10;

/// Longest time for what takes seconds.
const LONG: Duration = Duration::from_secs(180);

/// The largest frame of a client who is not known.
const STRANGERS_FRAME: u32 = 512 * 1024;

/// Together all memory for requests.
const LARGE_FRAMES: [u32; 3] = [100 << 20, 100 << 20, 56 << 20];

const PASSWORD: &str = "correct horse";

/// Clients that read nothing of the cold tier, and what each asks for: together more than answers may keep in memory.
const SILENT: usize = 24;
const COLD_FETCH: i32 = 8 << 20;

/// Records of the cold topic, of so many bytes each, written so many at a time: more than one such fetch.
const COLD_RECORDS: usize = 120;
const COLD_CHUNK: usize = 10;
const COLD_RECORD: usize = 100_000;

fn strangers() -> usize {
    number("TIDELOG_CLIENTS").map_or(600, |count| usize::try_from(count).unwrap().max(600))
}

/// A client that announces a frame and sends this much of it.
fn announce(address: &str, length: u32, sent: usize) -> Raw {
    let mut raw = Raw::connect(address);
    raw.send(&[&length.to_be_bytes()[..], &vec![0; sent]].concat());
    raw
}

/// Others ask as somebody who says who it is, and produce what fits into no small frame, while all of these announced frames are waited for.
fn others_go_on(server: &Server, sasl: &str, case: &str, announced: impl Fn() -> Vec<Raw>) {
    let actions: [(&str, &dyn Fn()); 2] = [
        ("topic list", &|| {
            let mut list = server.command(&["topic", "list"]);
            list.env("TIDELOG_BROKERS", sasl).env("TIDELOG_USER", "alice").env("TIDELOG_PASSWORD", PASSWORD);
            run(&mut list, b"", LONG).expect(0);
        }),
        ("producing", &|| {
            let producer = Producer::new(server.kafka(), &[("linger.ms", "0")]);
            producer.send_value("t", 0, &[1; 900_000]);
            producer.finish_well();
        }),
    ];
    for (what, act) in actions {
        let went_on = |attempt: usize| {
            let waiting = announced();
            act();
            let went_on = waiting.iter().all(Raw::is_silent);
            println!("{case}, {what}, attempt {attempt}: {went_on}");
            went_on
        };
        assert!((1..=ATTEMPTS).any(went_on), "{case}: {what} waits until slow frames are let go");
    }
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
    let strangers =
        || (0..strangers()).map(|n| announce(sasl, STRANGERS_FRAME, if n % 2 == 0 { 4 } else { 20_000 })).collect();
    others_go_on(&server, sasl, "strangers", strangers);
    for sent in [24, 20_000] {
        let large = || LARGE_FRAMES.iter().map(|length| announce(server.kafka(), *length, sent)).collect();
        others_go_on(&server, sasl, &format!("{sent} bytes of large frames"), large);
    }
    server.assert_no_panic();
    server.stop();
}

/// A value of its own for each record.
fn cold_value(n: usize) -> Vec<u8> {
    let mut value = vec![(n % 251) as u8; COLD_RECORD];
    value[..8].copy_from_slice(&(n as u64).to_be_bytes());
    value
}

#[test]
fn who_reads_nothing_of_the_cold_tier_keeps_nobody_from_it() {
    let store = tempfile::tempdir().unwrap();
    let url = format!("file://{}", store.path().display());
    let mut server = Server::start(
        tidelog_harness::options!().args(["--object-store", &url]).set("log.retention.check.interval.ms", 1_000),
    );
    let configs = ["--config", "internal.segment.bytes=1048576", "--config", "local.retention.bytes=1"];
    server.run(&[&["topic", "create", "cold"][..], &configs].concat()).expect(0);
    // What is written at once stays in one segment, and the active one is not uploaded: a little at a time leaves little there.
    for first in (0..COLD_RECORDS).step_by(COLD_CHUNK) {
        let producer = Producer::new(server.kafka(), &[("compression.type", "none"), ("batch.num.messages", "2")]);
        (first..first + COLD_CHUNK).for_each(|n| producer.send_value("cold", 0, &cold_value(n)));
        producer.finish_well();
    }
    let local_start = || {
        let status = server.run(&["tier", "status", "--output", "json"]).expect(0).json();
        let partitions = status["partitions"].as_array().unwrap();
        let found = partitions.iter().find(|p| p["topic"] == "cold").and_then(|p| p["local_start"].as_i64());
        found.unwrap_or(0) as usize
    };
    let fetched = COLD_FETCH as usize / COLD_RECORD + 1;
    wait_until(|| local_start() > fetched, LONG, "what is fetched is only in the store");

    let partition = FetchPartition { partition: 0, partition_max_bytes: COLD_FETCH, ..Default::default() };
    let topic = FetchTopic { topic: "cold".into(), partitions: vec![partition], ..Default::default() };
    let fetch = FetchRequest {
        max_wait_ms: 10_000,
        min_bytes: 1,
        max_bytes: COLD_FETCH,
        topics: vec![topic],
        ..Default::default()
    };
    let mut silent: Vec<Raw> = (0..SILENT).map(|_| Raw::connect(server.kafka())).collect();
    for raw in &mut silent {
        raw.request(4, &fetch);
    }
    silent.iter().for_each(Raw::wait_answer);

    // An answer of which nobody takes anything is given up after two minutes: this is before.
    let consumer = assigned(server.kafka(), "cold", &[0], Offset::Beginning);
    for (n, record) in take(&consumer, COLD_RECORDS, PATIENCE).iter().enumerate() {
        assert!(record.payload() == Some(&cold_value(n)[..]), "record {n} is another");
    }

    // Who wakes up finds its answer whole, though others needed the memory meanwhile.
    for mut raw in silent {
        let (_, mut answer) = raw.response::<FetchRequest>(4);
        let records = answer.responses.remove(0).partitions.remove(0).records;
        let Some(Records::Bytes(bytes)) = records else { panic!("no records") };
        let mut offset = 0;
        for batch in Batches::strict(bytes) {
            let batch = batch.unwrap();
            tidelog_harness::record::check_crc(&batch).unwrap();
            assert_eq!(batch.header().base_offset.get(), offset);
            offset = batch.header().last_offset().get() + 1;
        }
        assert!(offset > 0, "an answer without records");
    }
    server.assert_no_panic();
    server.stop();
}
