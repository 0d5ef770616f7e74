//! Out through every reader: Kafka (hot and cold), REST, gRPC, Parquet files, SQL. Each returns the ids it saw.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use arrow::array::{Array, AsArray};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::{Value, json};
use tidelog_client::{Client, Consumer, ConsumerOptions};
use tidelog_model::{Offset, PartitionIndex};
use tidelog_objects::{Objects, StoreOptions};
use tidelog_proto::v1::event_service_client::EventServiceClient;
use tidelog_proto::v1::start::Position;
use tidelog_proto::v1::{Edge, ReadRequest, Start};

use super::sample::id_of;

/// Longest wait for the next records.
const PATIENCE: Duration = Duration::from_secs(20);

/// Distinct ids, and how many records they came in.
#[derive(Default)]
pub(super) struct Seen {
    pub(super) ids: BTreeSet<String>,
    pub(super) records: usize,
    pub(super) bytes: usize,
}

impl Seen {
    fn add(&mut self, json: &[u8]) -> Result<()> {
        self.ids.insert(id_of(json)?);
        self.records += 1;
        self.bytes += json.len();
        Ok(())
    }
}

/// With a Kafka consumer, each partition from its first offset to its end.
pub(super) async fn kafka(client: &Client, topic: &str, ends: &[i64]) -> Result<Seen> {
    let mut consumer = Consumer::new(client, ConsumerOptions::default());
    for partition in 0..ends.len() {
        consumer.assign(topic, PartitionIndex(partition as i32), Offset::ZERO);
    }
    let mut seen = Seen::default();
    let mut left = ends.iter().filter(|end| **end > 0).count();
    while left > 0 {
        let fetched = consumer.poll(PATIENCE).await?.context("Kafka: nothing more came")?;
        for record in fetched.records() {
            seen.add(&record?.value.context("Kafka: a record without a value")?)?;
        }
        let end = ends.get(fetched.partition.get() as usize).copied().unwrap_or(0);
        if fetched.next.get() >= end {
            consumer.unassign(topic, fetched.partition);
            left -= 1;
        }
    }
    Ok(seen)
}

/// With one HTTP request over all partitions.
pub(super) async fn rest(http: &reqwest::Client, url: &str, topic: &str, count: usize) -> Result<Seen> {
    let response =
        http.get(format!("{url}/v1/topics/{topic}/events?from=earliest&limit={count}&wait=5s")).send().await?;
    let status = response.status();
    let text = response.text().await?;
    ensure!(status.is_success(), "REST answered {status}: {text}");
    let mut seen = Seen::default();
    for line in text.lines() {
        let line: Value = serde_json::from_str(line).context("a line that is not JSON")?;
        let value = line.get("value").context("a line without a value")?;
        seen.add(value.to_string().as_bytes())?;
    }
    Ok(seen)
}

/// With the gRPC server stream.
pub(super) async fn grpc(url: &str, topic: &str) -> Result<Seen> {
    let mut service = EventServiceClient::connect(url.to_owned()).await?;
    let start = Start { position: Some(Position::Edge(Edge::Earliest as i32)) };
    let request = ReadRequest { topic: topic.to_owned(), start: Some(start), ..ReadRequest::default() };
    let mut stream = service.read(request).await?.into_inner();
    let mut seen = Seen::default();
    while let Some(response) = stream.message().await? {
        for event in response.events {
            seen.add(&event.value.context("gRPC: an event without a value")?)?;
        }
    }
    Ok(seen)
}

/// The column `id` of every Parquet file of the topic, found by listing the store as any engine would.
pub(super) async fn parquet(store: &str, prefix: &str) -> Result<(Seen, Vec<String>)> {
    let objects = Objects::open(store, &StoreOptions::default()).await?;
    let listing = objects.list(prefix, None, 10_000).await?;
    let files: Vec<String> =
        listing.objects.into_iter().map(|object| object.key).filter(|key| key.ends_with(".parquet")).collect();
    let mut seen = Seen::default();
    for file in &files {
        let bytes = objects.get(file).await?;
        seen.bytes += bytes.len();
        for batch in ParquetRecordBatchReaderBuilder::try_new(bytes)?.build()? {
            let batch = batch?;
            let ids = batch.column_by_name("id").context("a file without the column id")?;
            let ids = ids.as_string_opt::<i32>().context("the column id is not text")?;
            seen.records += ids.len();
            seen.ids.extend(ids.iter().flatten().map(str::to_owned));
        }
    }
    Ok((seen, files))
}

/// One statement over HTTP.
pub(super) async fn sql(http: &reqwest::Client, url: &str, statement: &str) -> Result<Value> {
    let response = http.post(format!("{url}/v1/query")).json(&json!({ "sql": statement })).send().await?;
    let status = response.status();
    let answer: Value = response.json().await?;
    ensure!(status.is_success(), "SQL answered {status}: {answer}\n  {statement}");
    Ok(answer)
}
