//! `tidelog produce`: lines in, records out.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail};
use bytes::Bytes;
use clap::{Args, ValueEnum};
use serde_json::json;
use tidelog_client::{Acks, ClientError, Delivery, NewRecord, Producer, ProducerOptions};
use tidelog_model::{KafkaError, PartitionIndex, TopicName};
use tidelog_record::{Codec, Header};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::parse::{duration, key_value};
use super::topic::is_json;
use super::waiting::{telling, waiting};
use super::{connect, lines};
use crate::cli::{KafkaArgs, OutputArgs};
use crate::output::{Interrupted, Usage, note, print};

/// Deliveries that are looked at later at most; each holds a few words.
const MAX_OPEN_DELIVERIES: usize = 100_000;

/// Whose confirmation a record waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum AcksArg {
    /// Nobody's.
    #[value(name = "0")]
    None,
    /// The leader's.
    #[value(name = "1")]
    Leader,
    /// All in-sync replicas'.
    #[value(name = "all", alias = "-1")]
    All,
}

impl From<AcksArg> for Acks {
    fn from(acks: AcksArg) -> Self {
        match acks {
            AcksArg::None => Acks::None,
            AcksArg::Leader => Acks::Leader,
            AcksArg::All => Acks::All,
        }
    }
}

pub(crate) fn codec(name: &str) -> Result<Codec, String> {
    Codec::from_name(name).ok_or_else(|| "expected none, gzip, snappy, lz4 or zstd".into())
}

fn header(text: &str) -> Result<Header, String> {
    let (key, value) = key_value(text)?;
    Ok(Header { key: Bytes::from(key), value: Some(Bytes::from(value)) })
}

/// How often records that were sent are looked at while no input comes.
const LOOK: Duration = Duration::from_secs(1);

#[derive(Debug, Args)]
pub(crate) struct ProduceArgs {
    /// Name of the topic.
    topic: String,
    /// Read lines from this file instead of standard input.
    #[arg(short, long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// What stands between key and value in a line; without it lines have no key.
    #[arg(short = 'K', long, value_name = "TEXT", conflicts_with = "key_field")]
    key_separator: Option<String>,
    /// Take the key from this field of each line, which must be JSON: a pointer such as `/id` (RFC 6901).
    #[arg(long, value_name = "POINTER")]
    key_field: Option<String>,
    /// A key or value that is exactly this text is null: a null value deletes its key where the topic is compacted.
    #[arg(long, value_name = "TEXT")]
    null_marker: Option<String>,
    /// Send to this partition [default: by key; without a key one partition per batch]
    #[arg(short, long, value_name = "N", allow_negative_numbers = true, value_parser = clap::value_parser!(i32).range(0..))]
    partition: Option<i32>,
    /// Whose confirmation a record waits for.
    #[arg(long, value_enum, default_value = "all")]
    acks: AcksArg,
    /// How batches are compressed: none, gzip, snappy, lz4 or zstd.
    #[arg(short = 'z', long, default_value = "none", value_name = "CODEC", value_parser = codec)]
    compression: Codec,
    /// A header of every record; may be repeated.
    #[arg(short = 'H', long, value_name = "KEY=VALUE", value_parser = header)]
    header: Vec<Header>,
    /// Records per second at most.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    rate: Option<u32>,
    /// How long a record may take to be stored before the command gives up.
    #[arg(long, value_name = "TIME", default_value = "2m", value_parser = duration)]
    delivery_timeout: Duration,
    #[command(flatten)]
    kafka: KafkaArgs,
    #[command(flatten)]
    output: OutputArgs,
}

pub(crate) async fn run(args: ProduceArgs) -> anyhow::Result<()> {
    if args.key_separator.as_deref() == Some("") {
        bail!(Usage("--key-separator must not be empty".into()));
    }
    if args.key_field.as_deref().is_some_and(|pointer| !pointer.is_empty() && !pointer.starts_with('/')) {
        bail!(Usage("--key-field is a JSON pointer and begins with /".into()));
    }
    // With no input at all no server would say so.
    TopicName::new(&args.topic).map_err(|error| ClientError::Kafka {
        error: KafkaError::InvalidTopicException,
        what: format!("topic `{}`", args.topic),
        message: error.to_string(),
    })?;
    let client = connect(&args.kafka, "tidelog-produce").await?;
    let options = ProducerOptions {
        acks: args.acks.into(),
        codec: args.compression,
        delivery_timeout: args.delivery_timeout,
        ..ProducerOptions::default()
    };
    let brokers = args.kafka.brokers.as_str();
    let line = |why: Option<&str>| Some(waiting(brokers, "to store records", why));
    let starting = || client.obstacle().and_then(|why| line(Some(&why)));
    let started = telling(starting, Producer::start(&client, options)).await;
    let producer = started.map_err(|error| explained(error, &args.topic))?;
    let mut input = lines::read(args.file.as_deref())?;
    let mut tally = Tally { json: is_json(&args.output), ..Tally::default() };
    // The first write to a topic creates it: who misspelt a name should learn so.
    let before = client.metadata(Some(&[&args.topic]), false).await?;
    if before.topic(&args.topic).is_some_and(|topic| topic.error == Some(KafkaError::UnknownTopicOrPartition)) {
        tally.created = Some(args.topic.clone());
    }
    let mut before = producer.progress();
    let mut stuck = || {
        let now = producer.progress();
        let stands = before.0 > 0 && now.0 > 0 && now.1 == before.1;
        before = now;
        let why = client.obstacle().or_else(|| producer.last_error().filter(|_| stands));
        if stands || why.is_some() { line(why.as_deref()) } else { None }
    };
    let result = telling(&mut stuck, async {
        tokio::select! {
            result = send_all(&args, &producer, &mut input, &mut tally) => result,
            _ = tokio::signal::ctrl_c() => Err(Interrupted.into()),
        }
    })
    .await;
    // Whatever ended it: what was sent is settled and counted. Once one record took too long, others need not.
    if !tally.gave_up {
        telling(&mut stuck, producer.flush()).await;
    }
    drop(producer);
    tally.finish().await?;
    // Looking for the topic has made it, whether a record was stored or not.
    if tally.sent > 0
        && let Some(topic) = tally.created.take()
        && client.refresh_topic(&topic, false).await.is_ok()
    {
        note(&format!("topic {topic} did not exist and was created"));
    }
    match (tally.sent, &tally.created, &result) {
        (0, Some(topic), Ok(())) => {
            note(&format!("nothing was sent: no input; {topic} does not exist and was not made"))
        }
        (0, None, Ok(())) => note("nothing was sent: no input"),
        _ => note(&format!("{} of {} records stored in {}", tally.stored, tally.sent, args.topic)),
    }
    result?;
    tally.first_error.map_or(Ok(()), |error| Err(error.into()))
}

/// The server speaks of the cluster; whoever may write to some topic gets a producer id (KIP-679).
fn explained(error: ClientError, topic: &str) -> ClientError {
    match error {
        ClientError::Kafka { error: error @ KafkaError::ClusterAuthorizationFailed, .. } => ClientError::Kafka {
            error,
            what: format!("topic `{topic}`"),
            message: format!(
                "you may write to no topic; `tidelog acl add --allow PRINCIPAL --producer --topic {topic}` allows it"
            ),
        },
        other => other,
    }
}

async fn send_all(
    args: &ProduceArgs,
    producer: &Producer,
    input: &mut mpsc::Receiver<lines::Portion>,
    tally: &mut Tally,
) -> anyhow::Result<()> {
    let start = Instant::now();
    while !tally.gave_up {
        let portion = match tokio::time::timeout(LOOK, input.recv()).await {
            Ok(Some(portion)) => portion,
            Ok(None) => break,
            Err(_) => {
                tally.settle_known().await?;
                continue;
            }
        };
        for line in portion.context("cannot read the input")? {
            if let Some(rate) = args.rate {
                let due = Duration::from_secs_f64(tally.sent as f64 / f64::from(rate));
                tokio::time::sleep_until(start + due).await;
            }
            let record = args.record(line, tally.sent + 1)?;
            tally.sent += 1;
            tally.add(producer.send(&args.topic, record).await?).await?;
            if tally.gave_up {
                break;
            }
        }
    }
    Ok(())
}

impl ProduceArgs {
    fn record(&self, line: Bytes, number: u64) -> anyhow::Result<NewRecord> {
        let (key, value) = match (&self.key_separator, &self.key_field) {
            (Some(separator), _) => match split(&line, separator.as_bytes()) {
                Some((key, value)) => (Some(key), value),
                None => bail!("line {number} has no {separator:?} between key and value"),
            },
            (None, Some(pointer)) => match key_of(&line, pointer) {
                Ok(key) => (Some(key), line),
                Err(error) => bail!("line {number}: {error}"),
            },
            (None, None) => (None, line),
        };
        Ok(NewRecord {
            partition: self.partition.map(PartitionIndex),
            key: key.filter(|key| !self.is_null(key)),
            value: Some(value).filter(|value| !self.is_null(value)),
            headers: self.header.clone(),
            timestamp: None,
        })
    }

    fn is_null(&self, text: &[u8]) -> bool {
        self.null_marker.as_ref().is_some_and(|marker| marker.as_bytes() == text)
    }
}

/// Splits at the first separator, which is not empty.
fn split(line: &Bytes, separator: &[u8]) -> Option<(Bytes, Bytes)> {
    let at = line.windows(separator.len()).position(|window| window == separator)?;
    Some((line.slice(..at), line.slice(at.saturating_add(separator.len())..)))
}

/// A string is its text, any other scalar its JSON; objects, arrays and null are no keys.
fn key_of(line: &[u8], pointer: &str) -> Result<Bytes, String> {
    let value: serde_json::Value = serde_json::from_slice(line).map_err(|error| {
        // Its own number of the line is always 1.
        let reason = error.to_string();
        let reason = reason.split(" at line ").next().unwrap_or_default();
        format!("not JSON, column {}: {reason}", error.column())
    })?;
    match value.pointer(pointer) {
        Some(serde_json::Value::String(text)) => Ok(Bytes::from(text.clone())),
        Some(scalar @ (serde_json::Value::Number(_) | serde_json::Value::Bool(_))) => {
            Ok(Bytes::from(scalar.to_string()))
        }
        Some(_) => Err(format!("{pointer} is not a string, number or boolean")),
        None => Err(format!("there is no {pointer}")),
    }
}

/// Follows deliveries in the order of the input.
#[derive(Default)]
struct Tally {
    json: bool,
    /// The topic that the first stored record creates.
    created: Option<String>,
    sent: u64,
    stored: u64,
    /// A record was not stored in time.
    gave_up: bool,
    open: VecDeque<Delivery>,
    first_error: Option<ClientError>,
}

impl Tally {
    async fn add(&mut self, delivery: Delivery) -> anyhow::Result<()> {
        self.open.push_back(delivery);
        self.settle_known().await
    }

    /// Settles what is known, in order; waits only for the oldest of too many.
    async fn settle_known(&mut self) -> anyhow::Result<()> {
        while let Some(delivery) = self.open.pop_front() {
            if delivery.now().is_none() && self.open.len() < MAX_OPEN_DELIVERIES {
                self.open.push_front(delivery);
                return Ok(());
            }
            self.settle(delivery.outcome().await)?;
        }
        Ok(())
    }

    async fn finish(&mut self) -> anyhow::Result<()> {
        while let Some(delivery) = self.open.pop_front() {
            self.settle(delivery.outcome().await)?;
        }
        Ok(())
    }

    /// With JSON every record gets a line, in the order of the input.
    fn settle(&mut self, outcome: Result<tidelog_client::Placed, ClientError>) -> anyhow::Result<()> {
        let line = match &outcome {
            Ok(placed) => json!({"partition": placed.partition.get(), "offset": placed.offset.get()}),
            Err(error) => json!({
                "error_code": error.kafka_error().map_or("UNKNOWN_SERVER_ERROR", |error| error.name()),
                "message": error.to_string(),
            }),
        };
        match outcome {
            Ok(_) => {
                self.stored += 1;
                if let Some(topic) = self.created.take() {
                    note(&format!("topic {topic} did not exist and was created"));
                }
            }
            Err(error) => {
                self.gave_up |= matches!(error, ClientError::Expired { .. });
                self.first_error = self.first_error.take().or(Some(error));
            }
        }
        if self.json {
            print(&format!("{line}\n"))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_before_the_first_separator() {
        let split = |line: &'static str, by: &str| split(&Bytes::from_static(line.as_bytes()), by.as_bytes());
        assert_eq!(split("a:b:c", ":"), Some((Bytes::from("a"), Bytes::from("b:c"))));
        assert_eq!(split(":x", ":"), Some((Bytes::new(), Bytes::from("x"))));
        assert_eq!(split("k=>v", "=>"), Some((Bytes::from("k"), Bytes::from("v"))));
        assert_eq!(split("abc", ":"), None);
        assert_eq!(split("", "::"), None);
    }

    #[test]
    fn keys_come_from_json_fields() {
        let line = br#"{"id":"x","n":1.50,"o":{"a/b":true},"z":null}"#;
        assert_eq!(key_of(line, "/id"), Ok(Bytes::from("x")));
        assert_eq!(key_of(line, "/n"), Ok(Bytes::from("1.5")));
        assert_eq!(key_of(line, "/o/a~1b"), Ok(Bytes::from("true")));
        for bad in ["/none", "/o", "/z", ""] {
            assert!(key_of(line, bad).is_err(), "{bad}");
        }
        assert_eq!(key_of(b"no json", "/id").unwrap_err(), "not JSON, column 2: expected ident");
    }

    #[test]
    fn headers_and_codecs() {
        assert_eq!(header("a=b=c").unwrap().value, Some(Bytes::from("b=c")));
        assert!(header("a").is_err());
        assert_eq!(codec("zstd"), Ok(Codec::Zstd));
        assert!(codec("brotli").is_err());
    }
}
