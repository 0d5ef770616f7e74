//! `tidelog txn describe-producers` and `find-hanging`: what partitions know of their producers, and which of their open transactions no
//! coordinator will end (KIP-664). Changes nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use clap::Args;
use serde_json::json;
use tidelog_client::{ActiveProducer, Client, ClientError, TransactionDescription, TransactionQuery};
use tidelog_model::{KafkaError, PartitionIndex};

use super::connect;
use super::parse::duration;
use super::topic::has_partition;
use crate::cli::{KafkaArgs, OutputArgs};
use crate::output::{Table, show, time_for_people};

#[derive(Debug, Args)]
pub(super) struct ProducersArgs {
    /// Name of the topic.
    topic: String,
    /// The partition.
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(i32).range(0..))]
    partition: i32,
    #[command(flatten)]
    kafka: KafkaArgs,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Debug, Args)]
pub(super) struct HangingArgs {
    /// Only in this topic.
    #[arg(long, value_name = "NAME")]
    topic: Option<String>,
    /// Only in this partition of it.
    #[arg(short, long, value_name = "N", requires = "topic", value_parser = clap::value_parser!(i32).range(0..))]
    partition: Option<i32>,
    /// Only where nothing was written for longer than this; the server's `transaction.max.timeout.ms` is 15m by default.
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "15m")]
    max_transaction_timeout: Duration,
    #[command(flatten)]
    kafka: KafkaArgs,
    #[command(flatten)]
    output: OutputArgs,
}

pub(super) async fn describe_producers(args: ProducersArgs) -> anyhow::Result<()> {
    let client = connect(&args.kafka, "tidelog-txn").await?;
    let producers = client.active_producers(&args.topic, PartitionIndex(args.partition)).await?;
    let rows: Vec<_> = producers
        .iter()
        .map(|one| {
            json!({
                "producer_id": one.id, "producer_epoch": one.epoch, "coordinator_epoch": one.coordinator_epoch,
                "last_sequence": one.last_sequence, "last_written": one.last_written_ms,
                "start_offset": one.transaction_start.map(|start| start.get()),
            })
        })
        .collect();
    show(args.output.output, &rows, || {
        let mut table =
            Table::new(["PRODUCER", "EPOCH", "COORDINATOR EPOCH", "LAST SEQUENCE", "LAST WRITTEN", "START OFFSET"]);
        for one in &producers {
            table.row([
                one.id.to_string(),
                one.epoch.to_string(),
                one.coordinator_epoch.to_string(),
                one.last_sequence.to_string(),
                written(one),
                one.transaction_start.map_or_else(|| "-".to_owned(), |start| start.to_string()),
            ]);
        }
        table.render()
    })
}

fn written(producer: &ActiveProducer) -> String {
    producer.last_written_ms.map_or_else(|| "-".to_owned(), time_for_people)
}

/// An open transaction in a partition.
struct Open {
    topic: String,
    partition: PartitionIndex,
    producer: ActiveProducer,
}

pub(super) async fn find_hanging(args: HangingArgs) -> anyhow::Result<()> {
    let client = connect(&args.kafka, "tidelog-txn").await?;
    let least = i64::try_from(args.max_transaction_timeout.as_millis()).unwrap_or(i64::MAX);
    let latest = chrono::Utc::now().timestamp_millis().saturating_sub(least);
    let mut open = open_since(&client, args.topic.as_deref(), args.partition.map(PartitionIndex), latest).await?;
    let known = known_to_coordinators(&client, &open).await?;
    open.retain(|open| !known.get(&open.producer.id).is_some_and(|known| will_end(known, open)));
    if let Some(open) = open.iter().find(|open| !known.contains_key(&open.producer.id)) {
        must_see_all(&client, open.producer.id, "").await?;
    }
    let rows: Vec<_> = open
        .iter()
        .map(|Open { topic, partition, producer }| {
            json!({
                "topic": topic, "partition": partition.get(), "producer_id": producer.id, "producer_epoch": producer.epoch,
                "coordinator_epoch": producer.coordinator_epoch, "last_written": producer.last_written_ms,
                "start_offset": producer.transaction_start.map(|start| start.get()),
            })
        })
        .collect();
    show(args.output.output, &rows, || {
        let mut table = Table::new(["TOPIC", "PARTITION", "PRODUCER", "EPOCH", "LAST WRITTEN", "START OFFSET"]);
        for Open { topic, partition, producer } in &open {
            table.row([
                topic.clone(),
                partition.to_string(),
                producer.id.to_string(),
                producer.epoch.to_string(),
                written(producer),
                producer.transaction_start.map_or_else(|| "-".to_owned(), |start| start.to_string()),
            ]);
        }
        let mut text = table.render();
        if !open.is_empty() {
            text.push_str("\n`tidelog txn abort TOPIC -p PARTITION --start-offset START` ends one\n");
        }
        text
    })
}

/// Open transactions in which nothing was written since `latest`, milliseconds since 1970.
async fn open_since(
    client: &Client,
    topic: Option<&str>,
    partition: Option<PartitionIndex>,
    latest: i64,
) -> Result<Vec<Open>, ClientError> {
    let metadata = client.metadata(topic.as_ref().map(std::slice::from_ref), false).await?;
    let mut found = Vec::new();
    for topic in metadata.topics {
        if let Some(error) = topic.error {
            let what = format!("topic {}", topic.name);
            return Err(ClientError::Kafka { error, what, message: error.message().trim_end_matches('.').to_owned() });
        }
        partition.map_or(Ok(()), |wanted| has_partition(&topic, wanted))?;
        let indexes = topic.partitions.iter().map(|partition| partition.index);
        for index in indexes.filter(|index| partition.is_none_or(|partition| partition == *index)) {
            let producers = client.active_producers(&topic.name, index).await?;
            let open = |one: &ActiveProducer| {
                one.transaction_start.is_some() && one.last_written_ms.is_none_or(|written| written <= latest)
            };
            let open = producers.into_iter().filter(open);
            found.extend(open.map(|producer| Open { topic: topic.name.clone(), partition: index, producer }));
        }
    }
    Ok(found)
}

/// What coordinators know of the producers of these transactions.
async fn known_to_coordinators(
    client: &Client,
    open: &[Open],
) -> Result<BTreeMap<i64, TransactionDescription>, ClientError> {
    let mut known = BTreeMap::new();
    if open.is_empty() {
        return Ok(known);
    }
    let producer_ids = open.iter().map(|open| open.producer.id).collect();
    let query = TransactionQuery { producer_ids, ..TransactionQuery::default() };
    for listed in client.list_transactions(&query).await? {
        let described = client.describe_transaction(&listed.id).await?;
        known.insert(described.producer_id, described);
    }
    Ok(known)
}

/// TRANSACTIONAL_ID_AUTHORIZATION_FAILED if a coordinator may know this producer and not show it to the caller, to whom a living
/// transaction would look like one that hangs.
pub(super) async fn must_see_all(client: &Client, producer: i64, otherwise: &str) -> Result<(), ClientError> {
    if client.sees_all_transactions().await? {
        return Ok(());
    }
    Err(ClientError::Kafka {
        error: KafkaError::TransactionalIdAuthorizationFailed,
        what: format!("the transaction of producer {producer}"),
        message: format!("whether it hangs is known to who may see (DESCRIBE) every transactional id{otherwise}"),
    })
}

/// What its coordinator knows of a producer whose transaction in this partition it will end; `None` if that one hangs.
pub(super) async fn ended_by_coordinator(
    client: &Client,
    topic: &str,
    partition: PartitionIndex,
    producer: &ActiveProducer,
) -> Result<Option<TransactionDescription>, ClientError> {
    let open = Open { topic: topic.to_owned(), partition, producer: *producer };
    let mut known = known_to_coordinators(client, std::slice::from_ref(&open)).await?;
    if known.is_empty() {
        must_see_all(client, producer.id, "; --force aborts it all the same").await?;
    }
    Ok(known.remove(&producer.id).filter(|known| will_end(known, &open)))
}

/// Does the coordinator know that its transaction is open in this partition? Then it ends it there, sooner or later.
fn will_end(known: &TransactionDescription, open: &Open) -> bool {
    known.partitions.iter().any(|(topic, partition)| *topic == open.topic && *partition == open.partition)
}
