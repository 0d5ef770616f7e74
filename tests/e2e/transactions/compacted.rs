//! Transactions on a topic that is compacted all the time, and the server killed at random moments: no committed transaction is partial, no
//! aborted record is seen, and the last committed value of every key stays. `TIDELOG_KILLS` sets how often (10), `TIDELOG_SEED` repeats a
//! run.

use std::collections::BTreeMap;

use tidelog_harness::kafka::PATIENCE;
use tidelog_harness::rand::SeedableRng;
use tidelog_harness::rand::rngs::StdRng;
use tidelog_harness::{Server, number, seed, wait_until};

use crate::client::{End, values};
use crate::kills::{PARTITIONS, Record, check_order, write_through};

/// Keys of one writer. A fourth of the transactions abort: each key has committed and aborted ones.
const KEYS: i64 = 5;

/// Bytes of a value: a dozen records fill a segment.
const VALUE: usize = 1_200;

/// The transaction that a value is of.
fn name(value: &str) -> &str {
    value.trim_end_matches('.')
}

/// The key that a transaction writes.
fn key(name: &str) -> String {
    let (writer, number) = name.split_once('-').unwrap();
    format!("{writer}-k{}", number.parse::<i64>().unwrap() % KEYS)
}

#[test]
fn whole_transactions_stay_on_a_compacted_topic_through_every_kill() {
    let seed = seed();
    let kills = number("TIDELOG_KILLS").unwrap_or(10);
    println!("{kills} kills; TIDELOG_SEED={seed} repeats the choices");
    let mut random = StdRng::seed_from_u64(seed);
    let options = tidelog_harness::options!().set("log.cleaner.backoff.ms", 20);
    let mut server = Server::start(options);
    let settings = ["cleanup.policy=compact", "internal.segment.bytes=16384", "min.cleanable.dirty.ratio=0.0"];
    let settings: Vec<&str> = settings.iter().flat_map(|setting| ["--config", setting]).collect();
    server.run(&[&["topic", "create", "t", "--partitions", "3"], &settings[..]].concat()).expect(0);
    let ends = write_through(&mut server, kills, &mut random, |name| Record {
        key: Some(key(name)),
        value: format!("{name:.<VALUE$}"),
    });
    let mut last: BTreeMap<String, &str> = BTreeMap::new();
    for (name, _) in ends.iter().filter(|(_, end)| **end == End::Committed) {
        // By writer and number, so that the later one is met later.
        last.insert(key(name), name);
    }
    assert!(!last.is_empty(), "nothing was committed");
    let committed = ends.values().filter(|end| **end == End::Committed).count();
    check(&server, &ends, &last, seed);
    // What the last compactions leave is as whole as what they found, and so is what a start finds.
    wait_until(|| seen(&server).iter().all(|values| values.len() < committed), PATIENCE, "something is compacted");
    check(&server, &ends, &last, seed);
    server.kill();
    server.start_again();
    check(&server, &ends, &last, seed);
    let left: usize = seen(&server).iter().map(Vec::len).sum();
    println!(
        "{} transactions over {kills} kills, {committed} committed, {left} of {} records left",
        ends.len(),
        3 * committed
    );
    server.stop();
}

/// The transactions whose records readers of committed ones see, by partition.
fn seen(server: &Server) -> [Vec<String>; 3] {
    let names = |values: Vec<String>| values.iter().map(|value| name(value).to_owned()).collect();
    PARTITIONS.map(|partition| names(values(server.kafka(), "t", partition, "read_committed")))
}

fn check(server: &Server, ends: &BTreeMap<String, End>, last: &BTreeMap<String, &str>, seed: u64) {
    let newest =
        |names: &[String]| -> BTreeMap<String, String> { names.iter().map(|name| (key(name), name.clone())).collect() };
    let expected: BTreeMap<String, String> = last.iter().map(|(key, name)| (key.clone(), (*name).to_owned())).collect();
    // The writers left nothing undecided; soon all partitions are stable.
    let whole = || seen(server).iter().all(|names| newest(names) == expected);
    wait_until(whole, PATIENCE, &format!("every key has its last committed value in every partition (seed {seed})"));
    for (partition, names) in seen(server).iter().enumerate() {
        check_order(partition, names, seed);
        for name in names {
            assert_eq!(ends.get(name), Some(&End::Committed), "partition {partition} shows {name}; seed {seed}");
        }
    }
}
