//! The server killed at random moments of transactions: no committed one is partial, no aborted one is seen, and the position that goes
//! with each moves with it and never back. `TIDELOG_KILLS` sets how often (10), `TIDELOG_SEED` repeats a run.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tidelog_harness::kafka::PATIENCE;
use tidelog_harness::rand::rngs::StdRng;
use tidelog_harness::rand::{Rng, SeedableRng};
use tidelog_harness::rdkafka::Offset;
use tidelog_harness::rdkafka::error::KafkaResult;
use tidelog_harness::rdkafka::producer::Producer;
use tidelog_harness::{Server, number, seed, wait_until};

use crate::client::{End, Transactional, group, position, values};

pub(crate) const PARTITIONS: [i32; 3] = [0, 1, 2];

/// A restart included, in a debug build on a busy machine.
const PROGRESS: Duration = Duration::from_secs(180);

#[test]
fn no_transaction_is_torn_by_a_kill() {
    let seed = seed();
    let kills = number("TIDELOG_KILLS").unwrap_or(10);
    println!("{kills} kills; TIDELOG_SEED={seed} repeats the choices");
    let mut random = StdRng::seed_from_u64(seed);
    let mut server = Server::start(tidelog_harness::options!());
    server.run(&["topic", "create", "t", "--partitions", "3"]).expect(0);
    let ends =
        write_through(&mut server, kills, &mut random, |producer, partition, name| producer.send("t", partition, name));
    // The writers left nothing undecided; soon all partitions are stable.
    let seen = || PARTITIONS.map(|partition| values(server.kafka(), "t", partition, "read_committed"));
    let committed = ends.values().filter(|end| **end == End::Committed).count();
    assert!(committed > 0, "nothing was committed");
    // What is missing after this time is named.
    let start = Instant::now();
    while seen().iter().any(|values| values.len() < committed) && start.elapsed() < PATIENCE {}
    if let Some(late) = seen().iter().position(|values| values.len() < committed) {
        println!("partition {late} has {:?}", server.run(&["txn", "list"]).expect(0).stdout);
    }
    check(&ends, &seen(), seed);
    println!("{} transactions over {kills} kills, {committed} committed", ends.len());
    server.stop();
}

/// Two writers go on while the server is killed so often; how each transaction ended. `send` queues a transaction's record for one partition; it gets
/// the transaction's name.
pub(crate) fn write_through(
    server: &mut Server,
    kills: u64,
    random: &mut StdRng,
    send: fn(&Transactional, i32, &str) -> KafkaResult<()>,
) -> BTreeMap<String, End> {
    let (stop, steps) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let writers: Vec<_> = (0..2)
        .map(|writer| {
            let (brokers, stop, steps) = (server.kafka().to_owned(), Arc::clone(&stop), Arc::clone(&steps));
            thread::spawn(move || write(&brokers, writer, &stop, &steps, send))
        })
        .collect();
    for kill in 1..=kills {
        // A random number of steps is a random moment of a transaction.
        let goal = steps.load(Ordering::SeqCst) + random.random_range(5..80);
        let what = format!("steps before kill {kill}");
        wait_until(|| steps.load(Ordering::SeqCst) >= goal, PROGRESS, &what);
        server.kill();
        server.start_again();
    }
    let goal = steps.load(Ordering::SeqCst) + 40;
    wait_until(|| steps.load(Ordering::SeqCst) >= goal, PROGRESS, "steps after the last kill");
    stop.store(true, Ordering::SeqCst);
    let mut ends = BTreeMap::new();
    for writer in writers {
        ends.extend(writer.join().unwrap());
    }
    ends
}

/// Writes transactions of one record per partition and a position of the writer's group until it is told to stop; returns how each ended.
/// Of one whose end it did not hear the position tells.
fn write(
    brokers: &str,
    writer: usize,
    stop: &AtomicBool,
    steps: &AtomicUsize,
    send: fn(&Transactional, i32, &str) -> KafkaResult<()>,
) -> BTreeMap<String, End> {
    let step = || steps.fetch_add(1, Ordering::SeqCst);
    let id = format!("tx-{writer}");
    let consumer = group(brokers, &format!("group-{writer}"));
    let mut producer = Transactional::new(brokers, &id);
    let mut ends = BTreeMap::new();
    let mut stored = Offset::Invalid;
    for number in 0.. {
        if stop.load(Ordering::SeqCst) {
            break;
        }
        let name = format!("{writer}-{number:06}");
        let failed = producer.failed();
        producer.inner.begin_transaction().unwrap();
        let mut sent = PARTITIONS.iter().all(|partition| {
            step();
            send(&producer, *partition, &name).is_ok()
        });
        sent = sent && producer.send_position(&consumer, "t", number).is_ok() && producer.delivered(failed);
        step();
        let mut end = producer.end(sent && number % 4 != 3);
        let heard = end;
        if end == End::Unknown {
            // The next instance ends what this one left; then it is decided.
            producer = Transactional::new(brokers, &id);
        }
        let now = position(&consumer, "t");
        if end == End::Unknown {
            end = if now == stored { End::Aborted } else { End::Committed };
        }
        if end == End::Committed {
            stored = Offset::Offset(number);
        }
        assert_eq!(now, stored, "the group's position after {name}, which ended {heard:?}");
        ends.insert(name, end);
        step();
    }
    ends
}

fn check(ends: &BTreeMap<String, End>, seen: &[Vec<String>; 3], seed: u64) {
    let mut times: BTreeMap<&str, usize> = BTreeMap::new();
    for (partition, values) in seen.iter().enumerate() {
        for writer in ["0-", "1-"] {
            let own: Vec<&String> = values.iter().filter(|value| value.starts_with(writer)).collect();
            assert!(own.is_sorted_by(|a, b| a < b), "partition {partition}: repeated or out of order; seed {seed}");
        }
        values.iter().for_each(|value| *times.entry(value).or_default() += 1);
    }
    for (name, end) in ends {
        let count = times.remove(name.as_str()).unwrap_or(0);
        match end {
            End::Committed => assert_eq!(count, 3, "{name} was committed; seed {seed}"),
            End::Aborted => assert_eq!(count, 0, "{name} was aborted; seed {seed}"),
            End::Unknown => panic!("{name} is undecided"),
        }
    }
    assert!(times.is_empty(), "values that nobody wrote: {times:?}; seed {seed}");
}
