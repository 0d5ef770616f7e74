//! Scenarios of `tests/transactions/*.txt` ([`crate::transcripts`]).

use std::fmt::Write as _;
use std::time::Duration;

use tidelog_model::{KafkaError, ProducerId};

use super::driver::{Done, Driver, add, end, init, partition, producer};
use crate::transaction::record::{TransactionRecord, decode};
use crate::transaction::state::Stored;
use crate::transaction::*;
use crate::{CoordinatorRecord, transcripts};

#[test]
fn transcripts() {
    transcripts::check_all("transactions", 9, run);
}

/// Runs the commands of a transcript and writes it anew.
fn run(text: &str) -> String {
    let mut driver = Driver::new();
    let mut out = String::new();
    for block in text.split("\n\n") {
        let block = block.trim_matches('\n');
        if block.is_empty() {
            continue;
        }
        if !out.is_empty() {
            out.push('\n');
        }
        let (head, _) = block.split_once("\n----").unwrap_or((block, ""));
        out.push_str(head);
        out.push('\n');
        if let Some(line) = head.lines().last().filter(|line| !line.starts_with('#')) {
            out.push_str("----\n");
            out.push_str(&command(&mut driver, line));
        }
    }
    out
}

/// One command:
///
/// ```text
/// init ID [timeout=MS] [has=PRODUCER]    InitProducerId
/// add ID PRODUCER PARTITION… [v2]        AddPartitionsToTxn
/// verify ID PRODUCER PARTITION…          is it part of the open transaction?
/// commit|abort ID PRODUCER [v2]          EndTxn
/// markers [PARTITION=ERROR…]             the partitions answer the oldest markers
/// advance SECONDS · restart · list · describe ID
/// seed ID PRODUCER [STATE]               a record that is in the log already
/// ```
///
/// `refuse` before a command: what it wants to append is refused.
fn command(driver: &mut Driver, line: &str) -> String {
    let (line, refuse) = match line.strip_prefix("refuse ") {
        Some(rest) => (rest, Some(KafkaError::NotEnoughReplicas)),
        None => (line, None),
    };
    driver.refuse = refuse;
    let (named, mut plain): (Vec<&str>, Vec<&str>) = line.split_whitespace().partition(|word| word.contains('='));
    let named: Vec<(&str, &str)> = named.iter().filter_map(|word| word.split_once('=')).collect();
    let get = |name: &str| named.iter().find(|(key, _)| *key == name).map(|(_, value)| *value);
    let version = if plain.last() == Some(&"v2") {
        plain.pop();
        ClientVersion::V2
    } else {
        ClientVersion::V0
    };
    let id = plain.get(1).copied().filter(|id| *id != "''").unwrap_or("");
    let call = match plain[0] {
        "init" => init(get("timeout").map_or(60_000, |ms| ms.parse().unwrap()), get("has").map(producer)),
        "add" => add(producer(plain[2]), &plain[3..], version),
        "verify" => TransactionCall::Verify {
            producer: producer(plain[2]),
            partitions: plain[3..].iter().map(|text| partition(text)).collect(),
        },
        "commit" | "abort" => end(producer(plain[2]), plain[0] == "commit", version),
        "markers" => {
            let error = |name: &str| *KafkaError::ALL.iter().find(|error| error.name() == name).unwrap();
            let done = driver.answer(|part| get(&part.to_string()).map_or(Ok(()), |name| Err(error(name))));
            return show(&done);
        }
        "advance" => {
            let steps = driver.advance(Duration::from_secs_f64(plain[1].parse().unwrap()));
            let text: String = steps.iter().map(show).collect();
            return if text.is_empty() { "nothing\n".into() } else { text };
        }
        "restart" => {
            driver.restart();
            return list(driver);
        }
        "list" => return list(driver),
        "describe" => return describe(driver, id),
        "seed" => return seed(driver, id, producer(plain[2]), plain.get(3).copied()),
        other => panic!("no command {other}"),
    };
    show(&driver.call(id, call))
}

/// A record that another process wrote.
fn seed(driver: &mut Driver, id: &str, producer: Producer, state: Option<&str>) -> String {
    let stored = Stored {
        producer,
        previous: producer.id,
        next: ProducerId::NONE,
        timeout_ms: 60_000,
        state: state.map_or(TransactionState::Empty, |name| TransactionState::from_name(name).unwrap()),
        partitions: Default::default(),
        updated: driver.now.wall,
        started: driver.now.wall,
        client_level: 0,
    };
    let record = record::transaction_record(&TransactionalId::from(id), &stored).unwrap();
    driver.log.push(record);
    driver.restart();
    list(driver)
}

fn show(done: &Done) -> String {
    let mut out = String::new();
    for event in &done.events {
        let _ = writeln!(out, "event {}", show_event(event));
    }
    for record in &done.records {
        let _ = writeln!(out, "record {}", show_record(record));
    }
    for markers in &done.markers {
        let TransactionMarkers { id, producer, commit, bumped, partitions } = markers;
        let kind = if *commit { "commit" } else { "abort" };
        let bumped = if *bumped { " bumped" } else { "" };
        let _ = writeln!(out, "markers {id} {kind} {}{bumped} {partitions:?}", show_producer(*producer));
    }
    if let Some(reply) = &done.reply {
        let _ = writeln!(out, "reply {}", show_reply(reply));
    }
    out
}

fn show_producer(producer: Producer) -> String {
    format!("{}/{}", producer.id, producer.epoch)
}

fn show_reply(reply: &TransactionReply) -> String {
    let producer = |result: &Result<Producer, KafkaError>| match result {
        Ok(producer) => show_producer(*producer),
        Err(error) => error.name().into(),
    };
    let plain = |result: &Result<(), KafkaError>| result.map_or_else(KafkaError::name, |()| "ok").to_string();
    match reply {
        TransactionReply::Init(result) => format!("init {}", producer(result)),
        TransactionReply::Add(result) => format!("add {}", plain(result)),
        TransactionReply::Verify(results) => {
            format!("verify {}", results.iter().map(plain).collect::<Vec<_>>().join(" "))
        }
        TransactionReply::End(result) => format!("end {}", producer(result)),
        TransactionReply::NeedsProducerId => "needs a producer id".into(),
    }
}

fn show_event(event: &TransactionEvent) -> String {
    match event {
        TransactionEvent::Fenced { id } => format!("{id} fenced"),
        TransactionEvent::TimedOut { id } => format!("{id} timed out"),
        TransactionEvent::Completed { id, committed } => {
            format!("{id} {}", if *committed { "committed" } else { "aborted" })
        }
        TransactionEvent::MarkerRefused { id, partition, error } => format!("{id} {partition} refuses: {error}"),
        TransactionEvent::MarkersDelayed { id, partitions, partition, error } => {
            format!("{id} waits for {partitions} partitions, {partition} says {error}")
        }
        TransactionEvent::Expired { count } => format!("{count} expired"),
    }
}

fn show_record(record: &CoordinatorRecord) -> String {
    match decode(record).unwrap() {
        TransactionRecord::Transaction(id, Some(stored)) => format!("{id} {}", show_stored(&stored)),
        TransactionRecord::Transaction(id, None) => format!("{id} tombstone"),
        TransactionRecord::Unknown(_) => "unknown".into(),
    }
}

fn show_stored(stored: &Stored) -> String {
    let mut out = format!("{} {}", stored.state.name(), show_producer(stored.producer));
    if stored.previous != stored.producer.id {
        let _ = write!(out, " previous={}", stored.previous);
    }
    if stored.next != ProducerId::NONE {
        let _ = write!(out, " next={}", stored.next);
    }
    if stored.client_level != 0 {
        let _ = write!(out, " v{}", stored.client_level);
    }
    if !stored.partitions.is_empty() {
        let _ = write!(out, " {:?}", stored.partitions);
    }
    out
}

fn list(driver: &Driver) -> String {
    let listed = driver.shard.list().unwrap();
    let row = |row: &TransactionListing| format!("{} {} {}\n", row.id, row.producer_id, row.state.name());
    if listed.is_empty() { "none\n".into() } else { listed.iter().map(row).collect() }
}

fn describe(driver: &Driver, id: &str) -> String {
    match driver.shard.describe(&TransactionalId::from(id)) {
        Ok(found) => format!(
            "{} {} timeout={} {:?}\n",
            found.state.name(),
            show_producer(found.producer),
            found.timeout_ms,
            found.partitions
        ),
        Err(error) => format!("{error}\n"),
    }
}
