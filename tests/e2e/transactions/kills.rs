//! The server killed at random moments of transactions: no committed one is partial, no aborted one is seen, and the position that goes
//! with each moves with it and never back. Of the writers two follow KIP-98 and one KIP-890. `TIDELOG_KILLS` sets how often (10), `TIDELOG_SEED`
//! repeats a run.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tidelog_harness::kafka::PATIENCE;
use tidelog_harness::rand::rngs::StdRng;
use tidelog_harness::rand::{Rng, SeedableRng};
use tidelog_harness::rdkafka::Offset;
use tidelog_harness::rdkafka::consumer::BaseConsumer;
use tidelog_harness::rdkafka::producer::{BaseRecord, Producer};
use tidelog_harness::{Server, number, seed, wait_until};

use crate::client::{End, Transactional, group, position, values};
use crate::version_2::Version2;

pub(crate) const PARTITIONS: [i32; 3] = [0, 1, 2];

/// The last writer is the one of KIP-890.
const WRITERS: usize = 3;

/// A restart included, in a debug build on a busy machine.
pub(crate) const PROGRESS: Duration = Duration::from_secs(180);

#[test]
fn no_transaction_is_torn_by_a_kill() {
    let seed = seed();
    let kills = number("TIDELOG_KILLS").unwrap_or(10);
    println!("{kills} kills; TIDELOG_SEED={seed} repeats the choices");
    let mut random = StdRng::seed_from_u64(seed);
    let mut server = Server::start(tidelog_harness::options!());
    server.run(&["topic", "create", "t", "--partitions", "3"]).expect(0);
    let ends = write_through(&mut server, kills, &mut random, |name| Record { key: None, value: name.to_owned() });
    // The writers left nothing undecided; soon all partitions are stable.
    let seen = || PARTITIONS.map(|partition| values(server.kafka(), "t", partition, "read_committed"));
    let committed = ends.values().filter(|end| **end == End::Committed).count();
    for writer in 0..WRITERS {
        let own = |(name, end): (&String, &End)| *end == End::Committed && is_of(writer, name);
        assert!(ends.iter().any(own), "writer {writer} has committed nothing");
    }
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

/// What a transaction writes to each partition.
pub(crate) struct Record {
    pub(crate) key: Option<String>,
    pub(crate) value: String,
}

/// Does this transaction belong to the writer?
fn is_of(writer: usize, name: &str) -> bool {
    name.starts_with(&format!("{writer}-"))
}

/// How far a writer is, and whether it goes on.
#[derive(Default)]
struct Course {
    stop: AtomicBool,
    steps: AtomicUsize,
}

impl Course {
    fn step(&self) {
        self.steps.fetch_add(1, Ordering::SeqCst);
    }

    fn steps(&self) -> usize {
        self.steps.load(Ordering::SeqCst)
    }
}

/// All writers go on while the server is killed so often; how each transaction ended. `record` makes a transaction's record of its name.
pub(crate) fn write_through(
    server: &mut Server,
    kills: u64,
    random: &mut StdRng,
    record: fn(&str) -> Record,
) -> BTreeMap<String, End> {
    let courses: [Arc<Course>; WRITERS] = Default::default();
    let start = |(writer, course): (usize, &Arc<Course>)| {
        let (brokers, course) = (server.kafka().to_owned(), Arc::clone(course));
        let version_2 = writer + 1 == WRITERS;
        thread::spawn(move || {
            if version_2 {
                write_version_2(&brokers, writer, &course, record)
            } else {
                write(&brokers, writer, &course, record)
            }
        })
    };
    let writers: Vec<_> = courses.iter().enumerate().map(start).collect();
    let reaches = |writer: usize, steps: usize| {
        assert!(!writers[writer].is_finished(), "writer {writer} has failed");
        courses[writer].steps() >= steps
    };
    for kill in 1..=kills {
        // A random number of one writer's steps is a random moment of its transaction. One of all writers' would be the quickest one's.
        let writer = random.random_range(0..WRITERS);
        let goal = courses[writer].steps() + random.random_range(3..40);
        let what = format!("steps of writer {writer} before kill {kill}");
        wait_until(|| reaches(writer, goal), PROGRESS, &what);
        server.kill();
        server.start_again();
    }
    for (writer, course) in courses.iter().enumerate() {
        let goal = course.steps() + 15;
        wait_until(|| reaches(writer, goal), PROGRESS, &format!("steps of writer {writer} after the last kill"));
    }
    courses.iter().for_each(|course| course.stop.store(true, Ordering::SeqCst));
    writers.into_iter().flat_map(|writer| writer.join().unwrap()).collect()
}

/// Lives transactions until the course is over, each with a position of the writer's group; returns how each ended. `transact` gets the
/// position and the name; of an end that it did not hear of the group's position tells.
fn follow(
    brokers: &str,
    writer: usize,
    course: &Course,
    mut transact: impl FnMut(&BaseConsumer, i64, &str) -> End,
) -> BTreeMap<String, End> {
    let consumer = group(brokers, &group_of(writer));
    let mut ends = BTreeMap::new();
    let mut stored = Offset::Invalid;
    for number in 0.. {
        if course.stop.load(Ordering::SeqCst) {
            break;
        }
        let name = format!("{writer}-{number:06}");
        let heard = transact(&consumer, number, &name);
        let now = position(&consumer, "t");
        let end = match heard {
            End::Unknown if now == stored => End::Aborted,
            End::Unknown => End::Committed,
            heard => heard,
        };
        if end == End::Committed {
            stored = Offset::Offset(number);
        }
        assert_eq!(now, stored, "the group's position after {name}, which ended {heard:?}");
        ends.insert(name, end);
        course.step();
    }
    ends
}

fn group_of(writer: usize) -> String {
    format!("group-{writer}")
}

/// Writes transactions by librdkafka, of one record per partition.
fn write(brokers: &str, writer: usize, course: &Course, record: fn(&str) -> Record) -> BTreeMap<String, End> {
    let id = format!("tx-{writer}");
    let mut producer = Transactional::new(brokers, &id);
    follow(brokers, writer, course, |consumer, number, name| {
        let record = record(name);
        let failed = producer.failed();
        producer.inner.begin_transaction().unwrap();
        let mut sent = PARTITIONS.iter().all(|partition| {
            course.step();
            let one = BaseRecord::<str, str>::to("t").partition(*partition).payload(&record.value);
            producer.inner.send(record.key.iter().fold(one, |one, key| one.key(key))).is_ok()
        });
        sent = sent && producer.send_position(consumer, "t", number).is_ok() && producer.delivered(failed);
        course.step();
        let end = producer.end(sent && number % 4 != 3);
        if end == End::Unknown {
            // The next instance ends what this one left; then it is decided.
            producer = Transactional::new(brokers, &id);
        }
        end
    })
}

/// The same as clients of KIP-890 do it. Now and then its process ends, before it asks for the commit or before it hears of it.
fn write_version_2(brokers: &str, writer: usize, course: &Course, record: fn(&str) -> Record) -> BTreeMap<String, End> {
    let id = format!("tx-{writer}");
    let begin = || Version2::new(brokers, &id);
    let mut producer = begin();
    follow(brokers, writer, course, |_, number, name| {
        let record = record(name);
        let mut sent = PARTITIONS.iter().all(|partition| {
            course.step();
            producer.send("t", *partition, &record).is_ok()
        });
        course.step();
        sent = sent && producer.send_position(&group_of(writer), "t", number).is_ok();
        course.step();
        let commit = sent && number % 4 != 3;
        match number % 8 {
            5 => {
                producer = begin();
                End::Aborted
            }
            6 if commit => {
                producer.commit_and_die();
                producer = begin();
                End::Unknown
            }
            _ => {
                producer.end(commit);
                if commit { End::Committed } else { End::Aborted }
            }
        }
    })
}

/// No writer's transaction comes before an earlier one, or twice.
pub(crate) fn check_order(partition: usize, names: &[String], seed: u64) {
    for writer in 0..WRITERS {
        let own: Vec<&String> = names.iter().filter(|name| is_of(writer, name)).collect();
        assert!(own.is_sorted_by(|a, b| a < b), "partition {partition}: repeated or out of order; seed {seed}");
    }
}

fn check(ends: &BTreeMap<String, End>, seen: &[Vec<String>; 3], seed: u64) {
    let mut times: BTreeMap<&str, usize> = BTreeMap::new();
    for (partition, values) in seen.iter().enumerate() {
        check_order(partition, values, seed);
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
