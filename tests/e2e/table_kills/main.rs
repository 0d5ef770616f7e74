//! The server killed at random moments while it exports a table: a reader that only lists the directory never sees an offset twice,
//! and at the end sees every acknowledged record once. `TIDELOG_KILLS` sets how often (10), `TIDELOG_SEED` repeats a run.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test may fail this way

mod lister;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use lister::{Lister, parquet_below};
use tidelog_harness::kafka::Producer;
use tidelog_harness::rand::rngs::StdRng;
use tidelog_harness::rand::{Rng, SeedableRng};
use tidelog_harness::rdkafka::Message;
use tidelog_harness::serde_json::Value;
use tidelog_harness::tempfile::{TempDir, tempdir};
use tidelog_harness::{Server, number, seed, wait_until};

const TOPIC: &str = "events";

const PARTITIONS: i32 = 3;

/// A restart included, in a debug build on a busy machine.
const PROGRESS: Duration = Duration::from_secs(180);

/// A server whose object store is a folder that outlives it.
fn start() -> (TempDir, Server) {
    let store = tempdir().unwrap();
    let url = format!("file://{}", store.path().display());
    (store, Server::start(tidelog_harness::options!().args(["--object-store", &url])))
}

fn create(server: &Server, partitions: i32) {
    let partitions = partitions.to_string();
    let mut args = vec!["topic", "create", TOPIC, "--partitions", &partitions];
    // Files of a few dozen records: at any moment one is being written.
    for config in ["tidelog.table.enable=true", "tidelog.table.flush.records=40", "tidelog.table.flush.interval.ms=100"]
    {
        args.extend(["--config", config]);
    }
    server.run(&args).expect(0);
}

fn sql(server: &Server, select: &str) -> Value {
    server.run(&["query", select, "--output", "json"]).expect(0).json()["rows"][0].clone()
}

fn table(server: &Server) -> Value {
    let status = server.run(&["table", "status", "--output", "json"]).expect(0).json();
    status["tables"].as_array().unwrap().iter().find(|table| table["topic"] == TOPIC).cloned().unwrap_or_default()
}

/// Has each partition been exported up to this offset?
fn is_exported(server: &Server, ends: &[i64]) -> bool {
    let table = table(server);
    ends.iter().enumerate().all(|(at, end)| table["partitions"][at]["exported_end"].as_i64() == Some(*end))
}

#[test]
fn a_reader_that_lists_sees_every_record_once() {
    let seed = seed();
    let kills = number("TIDELOG_KILLS").unwrap_or(10);
    println!("{kills} kills; TIDELOG_SEED={seed} repeats the choices");
    let mut random = StdRng::seed_from_u64(seed);
    let (store, mut server) = start();
    create(&server, PARTITIONS);

    let stop = Arc::new(AtomicBool::new(false));
    let lister = {
        let (folder, stop) = (store.path().to_owned(), Arc::clone(&stop));
        thread::spawn(move || {
            let mut lister = Lister::new(&folder);
            while !stop.load(Ordering::SeqCst) {
                lister.look();
            }
            lister
        })
    };
    let settings = [
        ("enable.idempotence", "true"),
        ("acks", "all"),
        ("linger.ms", "1"),
        ("batch.num.messages", "10"),
        ("message.timeout.ms", "0"),
    ];
    let producer = Arc::new(Producer::new(server.kafka(), &settings));
    let writer = {
        let (producer, stop) = (Arc::clone(&producer), Arc::clone(&stop));
        thread::spawn(move || {
            let mut sent = 0;
            while !stop.load(Ordering::SeqCst) {
                // Paced by the acknowledgements, so that a run is as long as its kills and not as the machine is fast.
                if sent > producer.reported() + 200 {
                    thread::yield_now();
                    continue;
                }
                producer.send_value(TOPIC, sent as i32 % PARTITIONS, format!("{{\"n\":{sent}}}").as_bytes());
                sent += 1;
            }
            sent
        })
    };
    for kill in 1..=kills {
        // A random number of new files is a random moment of the export, which goes on all the time.
        let goal = parquet_below(store.path()).len() + random.random_range(1..12);
        let acknowledged = producer.reported() + random.random_range(1..100);
        wait_until(
            || parquet_below(store.path()).len() >= goal && producer.reported() >= acknowledged,
            PROGRESS,
            &format!("files before kill {kill} (seed {seed})"),
        );
        server.kill();
        server.start_again();
    }
    let goal = parquet_below(store.path()).len() + PARTITIONS as usize;
    wait_until(|| parquet_below(store.path()).len() >= goal, PROGRESS, "files after the last kill");
    stop.store(true, Ordering::SeqCst);
    let sent = writer.join().unwrap();
    let deliveries = producer.finish_well();
    assert_eq!(deliveries.len(), sent, "seed {seed}");
    let mut acknowledged: BTreeMap<(i32, i64), String> = BTreeMap::new();
    for delivery in &deliveries {
        let value = String::from_utf8(delivery.record.payload().unwrap().to_vec()).unwrap();
        acknowledged.insert((delivery.record.partition(), delivery.record.offset()), value);
    }
    assert_eq!(acknowledged.len(), sent, "two records with one offset; seed {seed}");

    let mut ends = vec![0; PARTITIONS as usize];
    for (partition, offset) in acknowledged.keys() {
        ends[*partition as usize] = offset + 1;
    }
    wait_until(|| is_exported(&server, &ends), PROGRESS, "everything is exported");
    let mut lister = lister.join().unwrap();
    lister.look();
    let rows: BTreeMap<(i32, i64), String> =
        lister.rows().map(|(place, n)| (place, format!("{{\"n\":{n}}}"))).collect();
    assert!(rows == acknowledged, "{} rows of {sent} records; seed {seed}", rows.len());
    let counted = sql(
        &server,
        "SELECT count(*) AS n, count(DISTINCT CAST(_partition AS BIGINT) * 1000000000 + _offset) AS d, sum(n) AS s FROM events",
    );
    let total = sent as i64;
    assert_eq!((counted["n"].as_i64(), counted["d"].as_i64()), (Some(total), Some(total)), "{counted}; seed {seed}");
    assert_eq!(counted["s"].as_f64(), Some((total * (total - 1) / 2) as f64), "{counted}; seed {seed}");
    assert_eq!(table(&server)["rows"].as_i64(), Some(total), "seed {seed}");
    assert!(lister.looks() > kills as usize, "the reader looked only {} times", lister.looks());
    println!(
        "{sent} records in {} files over {kills} kills; the reader looked {} times",
        lister.files(),
        lister.looks()
    );
    server.stop();
    assert_eq!(server.log().matches(" ERROR ").count(), 0, "{}", server.log());
}

#[test]
fn a_topic_created_anew_is_another_table() {
    let (store, mut server) = start();
    let produce = |server: &Server, range: std::ops::Range<i64>| {
        let producer = Producer::new(server.kafka(), &[]);
        range.for_each(|n| producer.send_value(TOPIC, 0, format!("{{\"n\":{n}}}").as_bytes()));
        producer.finish_well();
    };
    create(&server, 1);
    produce(&server, 0..10);
    wait_until(|| is_exported(&server, &[10]), PROGRESS, "the first topic is exported");
    let first = parquet_below(store.path());
    server.run(&["topic", "delete", TOPIC]).expect(0);
    create(&server, 1);
    produce(&server, 100..103);
    let ask = "SELECT count(*) AS n, min(n) AS least, max(_offset) AS last FROM events";
    let new = |row: &Value| {
        assert_eq!(
            (row["n"].as_i64(), row["least"].as_f64(), row["last"].as_i64()),
            (Some(3), Some(100.0), Some(2)),
            "{row}"
        );
    };
    new(&sql(&server, ask));
    wait_until(|| is_exported(&server, &[3]), PROGRESS, "the second topic is exported");
    new(&sql(&server, ask));
    let both = parquet_below(store.path());
    assert!(first.iter().all(|file| both.contains(file)), "the table of the deleted topic stays");
    let folder = |file: &std::path::Path| file.ancestors().nth(2).unwrap().to_owned();
    let second: Vec<_> = both.iter().filter(|file| !first.contains(file)).collect();
    assert!(!second.is_empty() && second.iter().all(|file| folder(file) != folder(&first[0])), "a folder of its own");
    server.stop();
    assert_eq!(server.log().matches(" ERROR ").count(), 0, "{}", server.log());
}
