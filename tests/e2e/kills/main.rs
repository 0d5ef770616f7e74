//! The server killed at random moments while an idempotent producer writes: what was acknowledged is read, each record once, in
//! order. `TIDELOG_KILLS` sets how often (10), `TIDELOG_SEED` repeats a run.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test may fail this way

mod groups;
mod migrations;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use tidelog_harness::kafka::{Producer, read_all, texts};
use tidelog_harness::rand::rngs::StdRng;
use tidelog_harness::rand::{Rng, SeedableRng};
use tidelog_harness::rdkafka::Message;
use tidelog_harness::{Server, number, seed, wait_until};

const PARTITIONS: i32 = 3;

/// A restart included, in a debug build on a busy machine.
const PROGRESS: Duration = Duration::from_secs(180);

#[test]
fn what_was_acknowledged_is_read_once_and_in_order() {
    let seed = seed();
    let kills = number("TIDELOG_KILLS").unwrap_or(10);
    println!("{kills} kills; TIDELOG_SEED={seed} repeats the choices");
    let mut random = StdRng::seed_from_u64(seed);
    // Small segments: kills fall on rolls too.
    let mut server = Server::start(tidelog_harness::options!());
    let small = "internal.segment.bytes=65536";
    server.run(&["topic", "create", "t", "--partitions", "3", "--config", small]).expect(0);
    let settings = [
        ("enable.idempotence", "true"),
        ("acks", "all"),
        ("linger.ms", "1"),
        ("batch.num.messages", "50"),
        ("queue.buffering.max.messages", "2000"),
        ("message.timeout.ms", "0"),
    ];
    let producer = Arc::new(Producer::new(server.kafka(), &settings));
    let stop = Arc::new(AtomicBool::new(false));
    let writer = {
        let (producer, stop) = (Arc::clone(&producer), Arc::clone(&stop));
        thread::spawn(move || {
            let mut sent = 0usize;
            while !stop.load(Ordering::SeqCst) {
                // Paced by the acknowledgements, so that a run is as long as its kills and not as the machine is fast.
                if sent > producer.reported() + 1000 {
                    thread::yield_now();
                    continue;
                }
                let partition = sent as i32 % PARTITIONS;
                producer.send_value("t", partition, format!("{:08}", sent / PARTITIONS as usize).as_bytes());
                sent += 1;
            }
            sent
        })
    };
    for kill in 1..=kills {
        // A random number of acknowledgements is a random moment of the server's work.
        let goal = producer.reported() + random.random_range(1..3000);
        wait_until(
            || producer.reported() >= goal,
            PROGRESS,
            &format!("acknowledgements before kill {kill} (seed {seed})"),
        );
        server.kill();
        server.start_again();
    }
    let goal = producer.reported() + 100;
    wait_until(|| producer.reported() >= goal, PROGRESS, "acknowledgements after the last kill");
    stop.store(true, Ordering::SeqCst);
    let sent = writer.join().unwrap();
    let deliveries = producer.finish_well();
    assert_eq!(deliveries.len(), sent, "seed {seed}");

    let mut acknowledged: BTreeMap<i32, Vec<(i64, String)>> = BTreeMap::new();
    for delivery in deliveries {
        let record = delivery.record;
        let value = String::from_utf8(record.payload().unwrap().to_vec()).unwrap();
        acknowledged.entry(record.partition()).or_default().push((record.offset(), value));
    }
    for (partition, read) in read_all(server.kafka(), "t", &[0, 1, 2]) {
        let values = texts(&read);
        let expected: Vec<String> = (0..values.len()).map(|n| format!("{n:08}")).collect();
        assert!(values == expected, "partition {partition}: not each once and in order; seed {seed}");
        let acknowledged = &acknowledged[&partition];
        assert_eq!(acknowledged.len(), values.len(), "partition {partition}; seed {seed}");
        for (offset, value) in acknowledged {
            assert_eq!(&values[*offset as usize], value, "partition {partition}, offset {offset}; seed {seed}");
        }
    }
    println!("{sent} records over {kills} kills");
    server.stop();
}
