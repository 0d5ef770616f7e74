//! `tidelog records`: deletion of records from the beginning of a topic's partitions.

use clap::{Args, Subcommand};
use serde::Serialize;
use tidelog_client::{Client, Isolation, OffsetQuery, TopicInfo};
use tidelog_model::{Offset, PartitionIndex, Timestamp};

use super::parse::time;
use super::{connect, topic};
use crate::cli::{KafkaArgs, OutputArgs};
use crate::output::{Table, show};

#[derive(Debug, Args)]
pub(crate) struct RecordsArgs {
    #[command(subcommand)]
    command: RecordsCommand,
}

#[derive(Debug, Subcommand)]
enum RecordsCommand {
    /// Delete the oldest records of a topic, for good.
    Delete(DeleteArgs),
}

#[derive(Debug, Args)]
struct DeleteArgs {
    /// Name of the topic.
    topic: String,
    /// Delete in this partition only; may be repeated.
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(i32).range(0..))]
    partition: Vec<i32>,
    #[command(flatten)]
    before: BeforeArgs,
    #[command(flatten)]
    kafka: KafkaArgs,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct BeforeArgs {
    /// Everything before this offset.
    #[arg(long, value_name = "OFFSET", value_parser = clap::value_parser!(i64).range(0..))]
    before_offset: Option<i64>,
    /// Everything before the first record with this time or a later one, as 2026-11-21T10:00:00Z.
    #[arg(long, value_name = "TIME", value_parser = time)]
    before_time: Option<Timestamp>,
    /// Everything.
    #[arg(long)]
    all: bool,
}

pub(crate) async fn run(args: RecordsArgs) -> anyhow::Result<()> {
    let RecordsCommand::Delete(args) = args.command;
    let client = connect(&args.kafka, "tidelog-records").await?;
    let info = client.topic(&args.topic, false).await?;
    let wanted = before(&client, &info, &args).await?;
    let results = client.delete_records(&args.topic, &wanted).await?;
    let (mut rows, mut failed) = (Vec::new(), None);
    for ((partition, _), result) in wanted.iter().zip(results) {
        match result {
            Ok(start) => rows.push(Row { partition: partition.get(), log_start_offset: start.get() }),
            Err(error) => failed = Some(topic::report(failed, error)),
        }
    }
    show(args.output.output, &rows, || {
        let mut table = Table::new(["PARTITION", "START"]);
        for row in &rows {
            table.row([row.partition.to_string(), row.log_start_offset.to_string()]);
        }
        table.render()
    })?;
    failed.map_or(Ok(()), |error| Err(error.into()))
}

#[derive(Serialize)]
struct Row {
    partition: i32,
    log_start_offset: i64,
}

/// Up to where each partition loses its records; `None` is everything.
async fn before(
    client: &Client,
    info: &TopicInfo,
    args: &DeleteArgs,
) -> anyhow::Result<Vec<(PartitionIndex, Option<Offset>)>> {
    // One that does not exist is refused by the server.
    let partitions: Vec<PartitionIndex> = match args.partition.is_empty() {
        true => info.partitions.iter().map(|partition| partition.index).collect(),
        false => args.partition.iter().copied().map(PartitionIndex).collect(),
    };
    let Some(time) = args.before.before_time else {
        let offset = args.before.before_offset.map(Offset);
        return Ok(partitions.into_iter().map(|partition| (partition, offset)).collect());
    };
    let query: Vec<_> = partitions.iter().map(|p| (info.name.as_str(), *p, OffsetQuery::AtOrAfter(time))).collect();
    let found = client.list_offsets(&query, Isolation::ReadUncommitted).await?;
    // No record is that late: all are older.
    Ok(partitions.into_iter().zip(found.into_iter().map(|found| found.offset)).collect())
}
