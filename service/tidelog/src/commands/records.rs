//! `tidelog records`: deletion of records from the beginning of a topic's partitions.

use clap::{Args, Subcommand};
use serde::Serialize;
use tidelog_client::{Client, ClientError, Isolation, OffsetQuery, TopicInfo};
use tidelog_model::{KafkaError, Offset, PartitionIndex, Timestamp};

use super::parse::time;
use super::{connect, topic};
use crate::cli::{Format, KafkaArgs, OutputArgs};
use crate::output::{Table, note, show};

#[derive(Debug, Args)]
pub(crate) struct RecordsArgs {
    #[command(subcommand)]
    command: RecordsCommand,
}

#[derive(Debug, Subcommand)]
enum RecordsCommand {
    /// Delete the oldest records of a topic, for good.
    ///
    /// What a table topic has exported stays in its Parquet files, and SQL goes on answering with it: whoever must erase those rows has to
    /// remove them there.
    Delete(DeleteArgs),
}

#[derive(Debug, Args)]
struct DeleteArgs {
    /// Name of the topic.
    topic: String,
    /// Delete in this partition only; may be repeated.
    #[arg(short, long, value_name = "N", allow_negative_numbers = true, value_parser = clap::value_parser!(i32).range(0..))]
    partition: Vec<i32>,
    #[command(flatten)]
    before: BeforeArgs,
    /// Only show where the partitions would begin.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    kafka: KafkaArgs,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct BeforeArgs {
    /// Everything before this offset; END is the end of each partition.
    #[arg(long, value_name = "OFFSET", allow_negative_numbers = true, value_parser = offset)]
    before_offset: Option<Before>,
    /// Everything before the first record with this time or a later one, as 2026-11-21T10:00:00Z.
    #[arg(long, value_name = "TIME", value_parser = time)]
    before_time: Option<Timestamp>,
    /// Everything.
    #[arg(long)]
    all: bool,
}

/// Up to where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Before {
    End,
    Offset(Offset),
}

fn offset(text: &str) -> Result<Before, String> {
    if text.eq_ignore_ascii_case("end") {
        return Ok(Before::End);
    }
    let number = text.parse().ok().filter(|number| *number >= 0);
    number.map(|number| Before::Offset(Offset(number))).ok_or_else(|| "expected an offset or END".into())
}

pub(crate) async fn run(args: RecordsArgs) -> anyhow::Result<()> {
    let RecordsCommand::Delete(args) = args.command;
    let client = connect(&args.kafka, "tidelog-records").await?;
    let info = client.topic(&args.topic, false).await?;
    let wanted = before(&client, &info, &args).await?;
    let results = match args.dry_run {
        true => would_begin(&client, &info, &wanted).await?,
        false => client.delete_records(&args.topic, &wanted).await?,
    };
    let (mut rows, mut errors) = (Vec::new(), Vec::new());
    for ((partition, _), result) in wanted.iter().zip(results) {
        match result {
            Ok(start) => rows.push(Row { partition: partition.get(), log_start_offset: start.get() }),
            Err(error) => errors.push(explained(&client, &info, *partition, error).await),
        }
    }
    let failed = errors.into_iter().fold(None, |earlier, error| Some(topic::report(earlier, error)));
    if rows.is_empty() && args.output.output == Format::Table {
        return failed.map_or(Ok(()), |error| Err(error.into()));
    }
    if args.dry_run {
        note("nothing was deleted; without --dry-run the partitions begin there");
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

/// Where each partition would begin.
async fn would_begin(
    client: &Client,
    info: &TopicInfo,
    wanted: &[(PartitionIndex, Option<Offset>)],
) -> Result<Vec<Result<Offset, ClientError>>, ClientError> {
    let ends = topic::ends(client, info).await?;
    let begin = |(partition, before): &(PartitionIndex, Option<Offset>)| {
        let what = || format!("partition {}-{partition}", info.name);
        let range = info.partitions.iter().zip(&ends).find(|(known, _)| known.index == *partition);
        let Some((start, end)) = range.and_then(|(_, range)| *range) else {
            let error = KafkaError::LeaderNotAvailable;
            return Err(ClientError::Kafka { error, what: what(), message: "it has no leader now".into() });
        };
        let offset = before.map_or(end, Offset::get);
        match offset <= end {
            true => Ok(Offset(offset.max(start))),
            false => {
                Err(ClientError::Kafka { error: KafkaError::OffsetOutOfRange, what: what(), message: String::new() })
            }
        }
    };
    Ok(wanted.iter().map(begin).collect())
}

/// An offset that a partition does not have is told with those that it has, and which policy is in the way: the answer has codes only.
async fn explained(client: &Client, info: &TopicInfo, partition: PartitionIndex, error: ClientError) -> ClientError {
    let ClientError::Kafka { error, what, message } = error else { return error };
    let message = match error {
        KafkaError::OffsetOutOfRange => {
            let ends = topic::ends(client, info).await.unwrap_or_default();
            let mut ranges = info.partitions.iter().zip(ends);
            let range = ranges.find(|(known, _)| known.index == partition).and_then(|(_, range)| range);
            range.map_or(message, |(start, end)| format!("it has offsets from {start} up to, not including, {end}"))
        }
        KafkaError::PolicyViolation => "its cleanup.policy does not delete; compact,delete would do both".into(),
        _ => message,
    };
    ClientError::Kafka { error, what, message }
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
    let partitions: Vec<PartitionIndex> = match args.partition.is_empty() {
        true => info.partitions.iter().map(|partition| partition.index).collect(),
        false => args.partition.iter().copied().map(PartitionIndex).collect(),
    };
    partitions.iter().try_for_each(|partition| topic::has_partition(info, *partition))?;
    let Some(time) = args.before.before_time else {
        let offset = match args.before.before_offset {
            Some(Before::Offset(offset)) => Some(offset),
            Some(Before::End) | None => None,
        };
        return Ok(partitions.into_iter().map(|partition| (partition, offset)).collect());
    };
    let query: Vec<_> = partitions.iter().map(|p| (info.name.as_str(), *p, OffsetQuery::AtOrAfter(time))).collect();
    let found = client.list_offsets(&query, Isolation::ReadUncommitted).await?;
    // No record is that late: all are older.
    Ok(partitions.into_iter().zip(found.into_iter().map(|found| found.offset)).collect())
}
