//! The server killed at random moments while a group reads and commits: no committed offset is lost, and whoever takes over reads
//! every record.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use tidelog_harness::kafka::{Producer, config, is_transport};
use tidelog_harness::rand::rngs::StdRng;
use tidelog_harness::rand::{Rng, SeedableRng};
use tidelog_harness::rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use tidelog_harness::rdkafka::{Message, Offset, TopicPartitionList};
use tidelog_harness::{Server, number, seed, wait_for};

use crate::PROGRESS;

/// Records per kill, at least: enough for one more.
const RECORDS_PER_KILL: usize = 200;

fn member(server: &Server) -> BaseConsumer {
    let pairs = [
        ("group.id", "g"),
        ("enable.auto.commit", "false"),
        ("auto.offset.reset", "earliest"),
        ("session.timeout.ms", "6000"),
        ("heartbeat.interval.ms", "200"),
        ("fetch.wait.max.ms", "50"),
    ];
    let consumer: BaseConsumer = config(server.kafka(), &pairs).create().unwrap();
    consumer.subscribe(&["t"]).unwrap();
    consumer
}

/// What the group has committed, as its coordinator says; 0 if nothing.
fn committed(consumer: &BaseConsumer) -> i64 {
    let mut asked = TopicPartitionList::new();
    asked.add_partition("t", 0);
    let answer = || consumer.committed_offsets(asked.clone(), Duration::from_secs(5)).ok();
    match wait_for(answer, PROGRESS, "the committed offset").elements()[0].offset() {
        Offset::Offset(offset) => offset,
        _ => 0,
    }
}

#[test]
fn no_committed_offset_is_lost_and_no_record_is_missed() {
    let seed = seed();
    let kills = number("TIDELOG_KILLS").unwrap_or(10) as usize;
    println!("{kills} kills; TIDELOG_SEED={seed} repeats the choices");
    let mut random = StdRng::seed_from_u64(seed);
    let mut server = Server::start(tidelog_harness::options!());
    server.run(&["topic", "create", "t"]).expect(0);
    let producer = Producer::new(server.kafka(), &[("enable.idempotence", "true")]);
    let records = RECORDS_PER_KILL * (kills + 1);
    (0..records).for_each(|n| producer.send_value("t", 0, n.to_string().as_bytes()));
    producer.finish_well();
    drop(producer);

    let (mut seen, mut acknowledged, mut kill) = (BTreeSet::new(), 0, 0);
    let mut consumer = member(&server);
    let mut next_kill = random.random_range(1..RECORDS_PER_KILL);
    let mut progress = Instant::now();
    while seen.len() < records {
        assert!(progress.elapsed() < PROGRESS, "{} of {records} records, kill {kill}; seed {seed}", seen.len());
        match consumer.poll(Duration::from_millis(50)) {
            Some(Ok(record)) => {
                assert!(record.offset() >= acknowledged, "offset {} again; seed {seed}", record.offset());
                if seen.insert(record.offset()) {
                    progress = Instant::now();
                }
                // Synchronous only: librdkafka sends an unanswered asynchronous commit again after it has reconnected, later than newer
                // ones, and a coordinator keeps the last that it received. Then what is found is older, and nothing was lost.
                if random.random_range(0..10) == 0 && consumer.commit_message(&record, CommitMode::Sync).is_ok() {
                    acknowledged = record.offset() + 1;
                }
            }
            Some(Err(error)) => assert!(is_transport(&error), "{error}; seed {seed}"),
            None => {}
        }
        if kill < kills && seen.len() >= next_kill {
            kill += 1;
            next_kill = seen.len() + random.random_range(1..RECORDS_PER_KILL);
            server.kill();
            server.start_again();
            // Half of the time somebody else takes over from what is committed.
            if random.random() {
                consumer = member(&server);
            }
            let stored = committed(&consumer);
            assert!(stored >= acknowledged, "committed {acknowledged}, found {stored} after kill {kill}; seed {seed}");
            acknowledged = stored;
            progress = Instant::now();
        }
    }
    assert_eq!(kill, kills, "seed {seed}");
    println!("{} records over {kills} kills, committed up to {acknowledged}", seen.len());
    server.stop();
}
