//! The server killed in the middle of what it does to the object store: while a segment is put, a manifest version created, objects
//! deleted, a topic removed, and at random moments. After every death the store has what its manifests name; after every restart each
//! offset is read once, with its value; at the end the store has nothing else. `TIDELOG_KILLS` sets how often (10), `TIDELOG_SEED` repeats
//! a run.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test may fail this way

mod bucket;

use std::collections::BTreeMap;
use std::time::Duration;

use bucket::Bucket;
use tidelog_harness::kafka::{PATIENCE, Producer, assigned, is_transport, take};
use tidelog_harness::rand::rngs::StdRng;
use tidelog_harness::rand::seq::SliceRandom;
use tidelog_harness::rand::{Rng, SeedableRng};
use tidelog_harness::rdkafka::consumer::{BaseConsumer, Consumer};
use tidelog_harness::rdkafka::error::{KafkaError, RDKafkaErrorCode};
use tidelog_harness::rdkafka::message::OwnedMessage;
use tidelog_harness::rdkafka::{Message, Offset};
use tidelog_harness::s3::{ACCESS_KEY_ID, BUCKET, Held, Point, S3Server, SECRET_ACCESS_KEY};
use tidelog_harness::{Server, number, seed, tokio, wait_for, wait_until};

/// Everything stays.
const KEPT: &str = "kept";
/// Only the newest few segments stay.
const TRIMMED: &str = "trimmed";

/// A restart included, in a debug build on a busy machine.
const PROGRESS: Duration = Duration::from_secs(180);

/// What the server does when it dies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Moment {
    /// A segment is put.
    Put(Point),
    /// A manifest version is created.
    Create(Point),
    /// Objects that no manifest names any more are deleted.
    Delete(Point),
    /// A topic is deleted: the version that says so.
    Drop(Point),
    /// A topic is deleted: its objects.
    Clear(Point),
    /// Anything.
    Random,
}

const MOMENTS: [Moment; 11] = [
    Moment::Put(Point::Before),
    Moment::Put(Point::After),
    Moment::Create(Point::Before),
    Moment::Create(Point::After),
    Moment::Delete(Point::Before),
    Moment::Delete(Point::After),
    Moment::Drop(Point::Before),
    Moment::Drop(Point::After),
    Moment::Clear(Point::Before),
    Moment::Clear(Point::After),
    Moment::Random,
];

/// The value at an offset, so that a reader needs no list.
fn value(offset: i64) -> String {
    format!("{offset:08} {}", "z".repeat(300))
}

/// Segments that are closed every few records.
const SMALL: &str = "internal.segment.bytes=16384";

struct Run {
    s3: S3Server,
    server: Server,
    producer: Producer,
    random: StdRng,
    seed: u64,
    /// How many records were given to the producer, by topic.
    sent: BTreeMap<&'static str, i64>,
    doomed: usize,
}

impl Run {
    async fn start(seed: u64) -> Self {
        let s3 = S3Server::start().await.unwrap();
        let url = format!("s3://{BUCKET}/some/prefix");
        let options = tidelog_harness::options!()
            .args(["--object-store", &url, "--s3-endpoint", s3.endpoint(), "--s3-region", "us-east-1"])
            .args(["--s3-allow-http"])
            .set("log.local.retention.bytes", 1)
            .set("log.retention.check.interval.ms", 200)
            .env("AWS_ACCESS_KEY_ID", ACCESS_KEY_ID)
            .env("AWS_SECRET_ACCESS_KEY", SECRET_ACCESS_KEY)
            .env("AWS_EC2_METADATA_DISABLED", "true");
        let server = Server::start(options);
        server.run(&["topic", "create", KEPT, "--config", SMALL]).expect(0);
        server.run(&["topic", "create", TRIMMED, "--config", "retention.bytes=50000", "--config", SMALL]).expect(0);
        let settings = [
            ("enable.idempotence", "true"),
            ("acks", "all"),
            ("linger.ms", "1"),
            ("batch.num.messages", "10"),
            ("message.timeout.ms", "0"),
        ];
        let producer = Producer::new(server.kafka(), &settings);
        let random = StdRng::seed_from_u64(seed);
        Run { s3, server, producer, random, seed, sent: BTreeMap::from([(KEPT, 0), (TRIMMED, 0)]), doomed: 0 }
    }

    fn bucket(&self) -> Bucket {
        Bucket::read(&self.s3.folder().join(BUCKET))
    }

    fn send(&mut self, topic: &'static str, count: i64) {
        let sent = self.sent.get_mut(topic).unwrap();
        for _ in 0..count {
            self.producer.send_value(topic, 0, value(*sent).as_bytes());
            *sent += 1;
        }
    }

    fn all_sent(&self) -> usize {
        self.sent.values().sum::<i64>() as usize
    }

    /// Writes, so that segments close, until the condition holds.
    fn write_until(&mut self, mut condition: impl FnMut(&Self) -> bool, what: &str) {
        let start = std::time::Instant::now();
        while !condition(self) {
            assert!(start.elapsed() < PROGRESS, "waited in vain for {what}; seed {}", self.seed);
            // A segment and a half of each at most is on its way.
            if self.producer.reported() + 100 > self.all_sent() {
                self.send(KEPT, 10);
                self.send(TRIMMED, 20);
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    fn write_until_caught(&mut self, held: &Held, moment: Moment) {
        self.write_until(|_| held.is_caught(), &format!("{moment:?}"));
    }

    /// Brings the server to the moment, kills it there, and decides what becomes of the request that waits.
    fn die_at(&mut self, moment: Moment) {
        let held = match moment {
            Moment::Put(point) => self.s3.hold(&["PUT", "/segments/"], point),
            Moment::Create(point) => self.s3.hold(&["PUT", "/manifest/"], point),
            Moment::Delete(point) => self.s3.hold(&["POST", "delete", "/segments/"], point),
            Moment::Drop(point) | Moment::Clear(point) => return self.die_deleting(moment, point),
            Moment::Random => {
                let goal = self.s3.requests().len() + self.random.random_range(1..40);
                self.write_until(|run| run.s3.requests().len() >= goal, "requests");
                self.server.kill();
                return;
            }
        };
        self.write_until_caught(&held, moment);
        self.server.kill();
        self.decide(held, moment);
    }

    /// A topic with a few remote segments is deleted.
    fn die_deleting(&mut self, moment: Moment, point: Point) {
        self.doomed += 1;
        let topic = format!("doomed-{}", self.doomed);
        self.server.run(&["topic", "create", &topic, "--config", SMALL]).expect(0);
        self.fill(&topic);
        let folder = format!("/{topic}-");
        let held = match moment {
            Moment::Drop(_) => self.s3.hold(&["PUT", &folder, "/manifest/"], point),
            _ => self.s3.hold(&["POST", "delete", &folder, "/segments/"], point),
        };
        self.server.run(&["topic", "delete", &topic]).expect(0);
        self.write_until_caught(&held, moment);
        self.server.kill();
        self.decide(held, moment);
    }

    /// 150 records and their segments in the store.
    fn fill(&self, topic: &str) {
        let producer = Producer::new(self.server.kafka(), &[("batch.num.messages", "10"), ("linger.ms", "1")]);
        for n in 0..150 {
            producer.send_value(topic, 0, value(n).as_bytes());
            // What is written together is never split between segments.
            if n % 50 == 49 {
                producer.finish_well();
            }
        }
        wait_until(|| self.bucket().named(topic) >= 2, PROGRESS, "the topic has remote segments");
    }

    /// The request is lost, or it goes on although its sender is dead.
    fn decide(&mut self, held: Held, moment: Moment) {
        let goes_on = self.random.random_bool(0.3);
        println!("  killed at {moment:?}; the request {}", if goes_on { "goes on" } else { "is lost" });
        if goes_on { held.let_go() } else { held.lose() }
    }

    /// Everything that was acknowledged is there, each offset once, with its value.
    fn check_records(&mut self) {
        let (reported, seed) = (self.producer.reported() as i64, self.seed);
        let mut total = 0;
        // Both at once: each waits for a moment until its manifest is known.
        let readers = [KEPT, TRIMMED].map(|topic| (topic, self.reader(topic)));
        for (topic, reader) in readers {
            let records = self.read(topic, reader);
            let start = records.first().unwrap().offset();
            assert!(topic == TRIMMED || start == 0, "{topic} begins at {start}; seed {seed}");
            for (at, record) in (start..).zip(&records) {
                assert_eq!(record.offset(), at, "{topic}: a gap or a repetition; seed {seed}");
                let read = String::from_utf8_lossy(record.payload().unwrap());
                assert_eq!(read, value(at), "{topic} at {at}; seed {seed}");
            }
            total += start + records.len() as i64;
        }
        assert!(total >= reported, "{reported} records were acknowledged, {total} are there; seed {seed}");
    }

    fn reader(&self, topic: &str) -> BaseConsumer {
        assigned(self.server.kafka(), topic, &[0], Offset::Beginning)
    }

    /// Everything from the start to the end of now.
    fn read(&self, topic: &str, mut reader: BaseConsumer) -> Vec<OwnedMessage> {
        // The start that the client reports beside is the end while the manifest is not known.
        let ask = || reader.fetch_watermarks(topic, 0, Duration::from_secs(5)).ok();
        let (_, end) = wait_for(ask, PROGRESS, "the end of the log");
        // After a hundred kills there are many cold segments: what counts is that records go on coming.
        let mut came = std::time::Instant::now();
        let mut records: Vec<OwnedMessage> = Vec::new();
        while records.last().is_none_or(|last| last.offset() + 1 < end) {
            let seen = records.len();
            assert!(came.elapsed() < PROGRESS, "{topic}: {seen} records of {end}, then none; seed {}", self.seed);
            match reader.poll(Duration::from_millis(100)) {
                None => {}
                Some(Ok(record)) => {
                    records.push(record.detach());
                    came = std::time::Instant::now();
                }
                Some(Err(error)) if is_transport(&error) => {}
                // Retention was faster than the reader: only where there is any.
                Some(Err(KafkaError::MessageConsumption(RDKafkaErrorCode::AutoOffsetReset))) if topic == TRIMMED => {
                    reader = self.reader(topic);
                    records.clear();
                }
                Some(Err(error)) => panic!("{topic} after {seen} records: {error}; seed {}", self.seed),
            }
        }
        records
    }

    /// What earlier leaders left behind goes as soon as the next one leads, and nothing is left of deleted topics.
    fn wait_clean(&self, all: bool) {
        let start = std::time::Instant::now();
        loop {
            let bucket = self.bucket();
            let mut left = bucket.orphans(all);
            left.extend(bucket.topics().filter(|topic| topic.starts_with("doomed-")).map(str::to_owned));
            if left.is_empty() {
                return;
            }
            assert!(start.elapsed() < PROGRESS, "left behind: {left:?}; seed {}", self.seed);
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_doubled_or_leaked() {
    let seed = seed();
    let kills = number("TIDELOG_KILLS").unwrap_or(10) as usize;
    println!("{kills} kills; TIDELOG_SEED={seed} repeats the choices");
    let mut run = Run::start(seed).await;
    let mut moments = Vec::new();
    while moments.len() < kills {
        let mut round = MOMENTS;
        round.shuffle(&mut run.random);
        moments.extend(round);
    }
    for (kill, moment) in (1..=kills).zip(moments) {
        println!("kill {kill}: {moment:?}");
        run.die_at(moment);
        run.bucket().assert_whole(&format!("after {moment:?}, kill {kill}, seed {seed}"));
        run.server.start_again();
        run.check_records();
        run.wait_clean(false);
    }
    // The last of all leaders: everything but its own work is of a lower epoch.
    run.write_until(|run| run.producer.reported() == run.all_sent(), "the last acknowledgements");
    let deliveries = run.producer.finish_well();
    for delivery in &deliveries {
        let text = String::from_utf8_lossy(delivery.record.payload().unwrap()).into_owned();
        assert_eq!(text, value(delivery.record.offset()), "acknowledged at another offset; seed {seed}");
    }
    run.server.kill();
    run.server.start_again();
    run.check_records();
    run.wait_clean(true);
    run.bucket().assert_whole(&format!("at the end, seed {seed}"));
    println!("{} records, {} segments, {} deleted topics", deliveries.len(), run.bucket().segments(), run.doomed);
    run.server.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_retention_has_emptied_begins_where_it_ended() {
    let mut run = Run::start(0).await;
    run.fill(KEPT);
    let retention = |run: &Run, ms: &str| {
        let (all, local) = (format!("retention.ms={ms}"), format!("local.retention.ms={ms}"));
        run.server.run(&["topic", "alter", KEPT, "--config", &all, "--config", &local]).expect(0);
    };
    retention(&run, "1");
    let folder = run.server.data_dir().join("kept-0");
    let only_the_last = || {
        let names = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.ends_with(".log")).eq(["00000000000000000150.log".to_owned()])
    };
    // In this order: a segment that is gone here is named there until it has expired.
    wait_until(|| only_the_last() && run.bucket().named(KEPT) == 0, PROGRESS, "everything has expired");
    retention(&run, "86400000");
    // The checkpoint of the log start is seconds old, and the manifest names nothing.
    run.server.kill();
    run.server.start_again();
    let producer = Producer::new(run.server.kafka(), &[]);
    producer.send_value(KEPT, 0, value(150).as_bytes());
    producer.finish_well();
    let consumer = assigned(run.server.kafka(), KEPT, &[0], Offset::Beginning);
    let read = take(&consumer, 1, PATIENCE).remove(0);
    assert_eq!(read.offset(), 150);
    run.server.stop();
}
