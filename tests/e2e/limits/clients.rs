//! Clients that send half, never read, vanish, or announce too much: each costs little, is let go, and holds nobody up.

use std::io::Write;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tidelog_harness::kafka::{PATIENCE, Producer, assigned, read_all, take};
use tidelog_harness::protocol::messages::{FetchPartition, FetchRequest, FetchTopic, MetadataRequest, ProduceRequest};
use tidelog_harness::raw::{Raw, batch, encode, produce};
use tidelog_harness::rdkafka::{Message, Offset};
use tidelog_harness::{Server, number, wait_until};

use crate::process::sockets;

/// Clients that send half a frame and clients that never read. `TIDELOG_CLIENTS` (250) sets how many they are together.
fn counts() -> (usize, usize) {
    let all = number("TIDELOG_CLIENTS").map_or(250, |count| usize::try_from(count).unwrap());
    (all - all / 5, all / 5)
}

const VANISHED: usize = 100;

/// Bytes of a frame.
const FRAME: usize = 200_000;

/// Bytes that a stalled frame announces: all of them together more than all memory for requests.
const ANNOUNCED: u32 = 2_000_000;

/// Bytes that come of it: more than its connection's own buffer.
const CAME: usize = 40_000;

/// Memory that it may cost: what is taken for it at first.
const HELD: usize = 96 * 1024;

/// Bytes of the topic that silent readers ask for, each four times.
const TOPIC: usize = 20_000_000;

/// Resident memory that all of them together may cost beside what comes of the stalled frames: the silent readers alone would
/// be 4 GB if answers were kept in memory.
const MEMORY: u64 = 88 * 1024 * 1024;

/// A frame must come within 10 s and its size at 128 KiB/s; a connection that is only idle has ten minutes.
const FRAME_TIME: Duration = Duration::from_secs(90);

/// Longest time between two acknowledgements of those who do nothing wrong: who had to wait until half a frame is let go would need more.
const HICCUP: Duration = Duration::from_secs(10);

/// A producer and a consumer that do nothing wrong.
struct Healthy {
    stop: Arc<AtomicBool>,
    producer: thread::JoinHandle<usize>,
    consumer: thread::JoinHandle<usize>,
}

impl Healthy {
    fn start(server: &Server) -> Self {
        server.run(&["topic", "create", "healthy"]).expect(0);
        let stop = Arc::new(AtomicBool::new(false));
        let (brokers, told) = (server.kafka().to_owned(), Arc::clone(&stop));
        let producer = thread::spawn(move || {
            let producer = Producer::new(&brokers, &[("enable.idempotence", "true"), ("linger.ms", "0")]);
            let mut sent = 0;
            while !told.load(Ordering::SeqCst) {
                let began = Instant::now();
                producer.send_value("healthy", 0, b"x");
                assert_eq!(producer.finish_well()[0].record.offset(), sent as i64);
                assert!(began.elapsed() < HICCUP, "record {sent} took {:?}", began.elapsed());
                sent += 1;
            }
            producer.send_value("healthy", 0, b"last");
            producer.finish_well();
            sent + 1
        });
        let (brokers, progress) = (server.kafka().to_owned(), Arc::new(AtomicUsize::new(0)));
        let seen = Arc::clone(&progress);
        let consumer = thread::spawn(move || {
            let consumer = assigned(&brokers, "healthy", &[0], Offset::Beginning);
            let mut read = 0;
            loop {
                // One at a time: each must come while the others misbehave.
                let record = take(&consumer, 1, PATIENCE).remove(0);
                assert_eq!(record.offset(), read as i64);
                read += 1;
                seen.store(read, Ordering::SeqCst);
                if record.payload() == Some(b"last") {
                    return read;
                }
            }
        });
        // Both have all their connections from here on.
        wait_until(|| progress.load(Ordering::SeqCst) > 10, PATIENCE, "records go through");
        Healthy { stop, producer, consumer }
    }

    fn finish(self) {
        self.stop.store(true, Ordering::SeqCst);
        let sent = self.producer.join().unwrap();
        assert_eq!(self.consumer.join().unwrap(), sent);
        println!("{sent} records went through meanwhile");
    }
}

fn big_fetch() -> FetchRequest {
    let partition = FetchPartition { partition: 0, partition_max_bytes: TOPIC as i32, ..Default::default() };
    let topic = FetchTopic { topic: "big".into(), partitions: vec![partition], ..Default::default() };
    FetchRequest { max_wait_ms: 0, min_bytes: 1, max_bytes: TOPIC as i32, topics: vec![topic], ..Default::default() }
}

/// A client that is gone without a goodbye: closing a socket with an answer unread resets the connection.
fn vanish(server: &Server, sent: &[u8]) {
    let mut stream = TcpStream::connect(server.kafka()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(&encode(1, 1, &MetadataRequest::default())).unwrap();
    stream.peek(&mut [0]).unwrap();
    stream.write_all(sent).unwrap();
}

#[test]
fn slow_and_vanished_clients_cost_little_and_hold_nobody_up() {
    let mut server = Server::start(tidelog_harness::options!());
    server.run(&["topic", "create", "big"]).expect(0);
    let producer = Producer::new(server.kafka(), &[]);
    for _ in 0..TOPIC / 500_000 {
        producer.send_value("big", 0, &[1; 500_000]);
    }
    producer.finish_well();
    drop(producer);
    let healthy = Healthy::start(&server);
    let (stalled_count, silent_count) = counts();
    let quiet = sockets(&server);
    let before = server.resident_bytes();

    let body = produce("big", 0, -1, batch(&[&vec![7; FRAME]]));
    let frame = encode(7, 1, &body);
    let mut stalled: Vec<Raw> = (0..stalled_count).map(|_| Raw::connect(server.kafka())).collect();
    let begun = [&ANNOUNCED.to_be_bytes(), &frame[4..CAME]].concat();
    stalled.iter_mut().for_each(|raw| raw.send(&begun));
    let mut silent: Vec<Raw> = (0..silent_count).map(|_| Raw::connect(server.kafka())).collect();
    for raw in &mut silent {
        for _ in 0..4 {
            raw.request(4, &big_fetch());
        }
    }
    let misbehaving = || sockets(&server) >= quiet + stalled_count + silent_count;
    wait_until(misbehaving, PATIENCE, "all of them are connected");
    let grown = server.resident_bytes().saturating_sub(before);
    println!("{} MiB more than before with {} clients that misbehave", grown >> 20, stalled_count + silent_count);
    assert!(grown < MEMORY + (stalled_count * HELD) as u64, "{} MiB more than before", grown >> 20);

    // Who reads what the silent ones ask for gets all of it meanwhile.
    let whole = read_all(server.kafka(), "big", &[0]);
    assert_eq!(whole[&0].len(), TOPIC / 500_000);

    for _ in 0..VANISHED / 2 {
        vanish(&server, &frame[..frame.len() / 2]);
        vanish(&server, &frame);
    }
    let mut oversized = Raw::connect(server.kafka());
    oversized.send(&(100u32 * 1024 * 1024 + 1).to_be_bytes());
    oversized.assert_closed("a frame above the limit");

    // Half a frame is not waited for for ever: it holds memory that others need.
    let began = Instant::now();
    for raw in stalled {
        raw.assert_closed("half a frame");
    }
    assert!(began.elapsed() < FRAME_TIME, "{:?}", began.elapsed());
    // A silent reader that wakes up finds whole answers; the others go, with theirs half sent.
    let mut woken = silent.remove(0);
    for expected in 1..=4 {
        let (id, answer) = woken.response::<FetchRequest>(4);
        assert_eq!((id, answer.error_code), (expected, 0));
    }
    drop((woken, silent));
    wait_until(|| sockets(&server) <= quiet, PATIENCE, &format!("every connection but {quiet} is given back"));

    healthy.finish();
    // What vanished clients had sent whole was appended, what they had sent half was not; both leave the partition as it should be.
    let answer = Raw::connect(server.kafka()).call::<ProduceRequest>(7, &produce("big", 0, -1, batch(&[b"end"])));
    let end = answer.responses[0].partition_responses[0].base_offset as usize;
    let first = TOPIC / 500_000;
    assert!((first..=first + VANISHED / 2).contains(&end), "{end}");
    server.assert_no_panic();
    server.stop();
}
