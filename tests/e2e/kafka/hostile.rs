//! Bytes that no client should send: that connection ends, or hears a clear error; nobody else notices.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use tidelog_harness::kafka::{PATIENCE, Producer, read_all};
use tidelog_harness::model::{KafkaError, Offset};
use tidelog_harness::protocol::TABLE;
use tidelog_harness::protocol::header::read_api_versions_response;
use tidelog_harness::protocol::messages::{
    ApiVersionsRequest, FetchPartition, FetchRequest, FetchTopic, MetadataRequest, MetadataRequestTopic,
};
use tidelog_harness::raw::{Raw, encode};
use tidelog_harness::{Server, wait_until};

use crate::{create, server};

/// What hostile bytes may cost in resident memory; one frame of the largest size would be more.
const MEMORY: u64 = 96 * 1024 * 1024;

/// Somebody who works with the server all the time and must not notice anything.
struct Bystander {
    stop: Arc<AtomicBool>,
    thread: thread::JoinHandle<usize>,
}

impl Bystander {
    fn start(server: &Server) -> Self {
        create(server, "bystander", 1, &[]);
        let stop = Arc::new(AtomicBool::new(false));
        let (brokers, told) = (server.kafka().to_owned(), Arc::clone(&stop));
        let thread = thread::spawn(move || {
            let producer = Producer::new(&brokers, &[("enable.idempotence", "true"), ("linger.ms", "0")]);
            let mut sent = 0;
            while !told.load(Ordering::SeqCst) || sent == 0 {
                producer.send_value("bystander", 0, b"x");
                // At most one second: a broken connection would cost more.
                let deliveries = producer.finish_well();
                assert_eq!(deliveries[0].record.offset_of(), sent as i64);
                sent += 1;
            }
            sent
        });
        Bystander { stop, thread }
    }

    /// Everything the bystander did worked.
    fn finish(self, server: &Server) {
        self.stop.store(true, Ordering::SeqCst);
        let sent = self.thread.join().unwrap();
        assert_eq!(read_all(server.kafka(), "bystander", &[0])[&0].len(), sent);
    }
}

trait OffsetOf {
    fn offset_of(&self) -> i64;
}

impl OffsetOf for tidelog_harness::rdkafka::message::OwnedMessage {
    fn offset_of(&self) -> i64 {
        tidelog_harness::rdkafka::Message::offset(self)
    }
}

/// Runs `hostile` beside a bystander and looks at the server's memory and log afterwards.
fn beside_a_bystander(hostile: impl FnOnce(&Server)) {
    let mut server = server();
    let bystander = Bystander::start(&server);
    // A first connection allocates what every connection shares.
    Raw::connect(server.kafka()).call(1, &MetadataRequest::default());
    let before = server.resident_bytes();
    hostile(&server);
    let grown = server.resident_bytes().saturating_sub(before);
    assert!(grown < MEMORY, "{} MiB more than before", grown >> 20);
    bystander.finish(&server);
    assert!(server.is_running());
    server.assert_no_panic();
    server.stop();
}

/// A frame's body: key, version, correlation id, no client id, then `rest`.
fn body(key: i16, version: i16, flexible: bool, rest: &[u8]) -> Vec<u8> {
    let mut body = [key.to_be_bytes(), version.to_be_bytes()].concat();
    body.extend(7i32.to_be_bytes());
    body.extend((-1i16).to_be_bytes());
    if flexible {
        body.push(0);
    }
    body.extend(rest);
    body
}

#[test]
fn frames_that_are_none_end_the_connection() {
    beside_a_bystander(|server| {
        let closed = |bytes: &[u8], why: &str| {
            let mut raw = Raw::connect(server.kafka());
            raw.send(bytes);
            raw.assert_closed(why);
        };
        for length in [-1, i32::MIN, 0, 1, 3, 7, i32::MAX, 100 * 1024 * 1024 + 1] {
            let bytes = [&length.to_be_bytes()[..], &[0; 64]].concat();
            closed(&bytes, &format!("announced length {length}"));
        }
        closed(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", "HTTP");
        closed(&[0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xfc, 0x03, 0x03], "TLS");
        for key in [9999i16, -1, i16::MIN, i16::MAX, 4] {
            let mut raw = Raw::connect(server.kafka());
            raw.send_frame(&body(key, 0, false, &[]));
            raw.assert_closed(&format!("API key {key}"));
        }
        for version in [99i16, -1] {
            let mut raw = Raw::connect(server.kafka());
            raw.send_frame(&body(3, version, false, &[0xff; 4]));
            raw.assert_closed(&format!("Metadata version {version}"));
        }
        // A client that dies in the middle of a frame.
        let whole = encode(1, 1, &MetadataRequest::default());
        for cut in [1, 4, 5, 9, whole.len() - 1] {
            let mut raw = Raw::connect(server.kafka());
            raw.send(&whole[..cut]);
            raw.shut();
            raw.assert_closed(&format!("cut after {cut} bytes"));
        }
    });
}

#[test]
fn unknown_versions_of_api_versions_are_answered_in_version_0() {
    let server = server();
    let mut raw = Raw::connect(server.kafka());
    raw.send_frame(&body(18, 99, true, &[0xff; 20]));
    let (id, answer) = read_api_versions_response(raw.frame().unwrap().unwrap(), 99).unwrap();
    assert_eq!((id, answer.error_code), (7, KafkaError::UnsupportedVersion.code()));
    let own = answer.api_keys.iter().find(|api| api.api_key == 18).unwrap();
    assert_eq!((own.min_version, own.max_version), (0, 4));
    // The same connection asks again, rightly.
    assert_eq!(raw.call(0, &ApiVersionsRequest::default()).error_code, 0);
}

#[test]
fn bytes_behind_a_request_are_ignored() {
    let server = server();
    let mut raw = Raw::connect(server.kafka());
    // Metadata version 13 for all topics as librdkafka 2.12 sends it: three bytes too long.
    raw.send_frame(&body(3, 13, true, &[0; 7]));
    let (_, answer) = raw.response::<MetadataRequest>(13);
    assert_eq!((answer.error_code, answer.brokers.len()), (0, 1));
}

#[test]
fn bodies_that_announce_too_much_cost_nothing() {
    beside_a_bystander(|server| {
        // A body of 4 bytes that announces 2^31 − 1 elements.
        let mut raw = Raw::connect(server.kafka());
        raw.send_frame(&body(3, 1, false, &i32::MAX.to_be_bytes()));
        raw.assert_closed("an array of 2^31 - 1 topics in 4 bytes");
        // The same idea everywhere: an empty body, huge array and string lengths, fixed and varint.
        let huge = [0xff, 0xff, 0xff, 0xff, 0x07];
        let bodies: [&[u8]; 6] = [&[], &[0x7f, 0xff, 0xff, 0xff], &[0x7f; 40], &huge, &[0xff; 64], &[0x00; 3]];
        for row in TABLE {
            for version in row.implemented.iter() {
                for rest in bodies {
                    let mut raw = Raw::connect(server.kafka());
                    raw.send_frame(&body(row.key.code(), version, version >= row.first_flexible, rest));
                    raw.shut();
                    // Some of these are requests by chance; all of them end.
                    while raw.frame().unwrap().is_some() {}
                }
            }
        }
    });
}

#[test]
fn names_that_are_no_topics_are_refused() {
    let server = server();
    let mut raw = Raw::connect(server.kafka());
    for name in ["", ".", "..", "no/slash", "no space", "ümlaut", "nul\0", &"x".repeat(250)] {
        let topic = MetadataRequestTopic { name: Some(name.into()), ..Default::default() };
        let request = MetadataRequest { topics: Some(vec![topic]), ..Default::default() };
        let answer = raw.call(4, &request);
        assert_eq!(answer.topics[0].error_code, KafkaError::InvalidTopicException.code(), "{name:?}");
    }
    assert!(!server.data_dir().join("no").exists());
}

#[test]
fn a_reader_that_never_reads_holds_nobody_up() {
    beside_a_bystander(|server| {
        create(server, "big", 1, &[]);
        let producer = Producer::new(server.kafka(), &[]);
        for _ in 0..40 {
            producer.send_value("big", 0, &[1; 500_000]);
        }
        producer.finish_well();
        let partition = FetchPartition {
            partition: 0,
            fetch_offset: Offset::ZERO.get(),
            partition_max_bytes: 20 << 20,
            ..Default::default()
        };
        let topic = FetchTopic { topic: "big".into(), partitions: vec![partition], ..Default::default() };
        let request = FetchRequest {
            max_wait_ms: 0,
            min_bytes: 1,
            max_bytes: 20 << 20,
            topics: vec![topic],
            ..Default::default()
        };
        let mut silent: Vec<Raw> = (0..8).map(|_| Raw::connect(server.kafka())).collect();
        for raw in &mut silent {
            for _ in 0..40 {
                raw.request(4, &request);
            }
        }
        // Somebody else reads the same meanwhile, all of it.
        assert_eq!(read_all(server.kafka(), "big", &[0])[&0].len(), 40);
        // One of them wakes up and finds whole answers, in order.
        let mut woken = silent.remove(0);
        for expected in 1..=3 {
            let (id, answer) = woken.response::<FetchRequest>(4);
            assert_eq!((id, answer.error_code), (expected, 0));
        }
        drop(silent);
        drop(woken);
        // Clients that vanish with a request in flight.
        for _ in 0..20 {
            Raw::connect(server.kafka()).request(4, &request);
        }
        let quiet = || {
            let mut raw = Raw::connect(server.kafka());
            raw.call(1, &MetadataRequest::default()).controller_id == 1
        };
        wait_until(quiet, PATIENCE, "the server answers others");
    });
}
