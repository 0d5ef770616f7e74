//! `tidelog bench fetch`.

use std::time::Duration;

use clap::Args;
use tidelog_client::{Consumer, ConsumerOptions, Isolation, OffsetQuery};
use tidelog_model::limits::MAX_INFLATED_BATCH_BYTES;
use tidelog_model::{Offset, PartitionIndex};
use tidelog_record::RecordViews;
use tokio::time::Instant;

use super::{Figures, Limit, usage};
use crate::cli::{KafkaArgs, OutputArgs};
use crate::commands::connect;
use crate::commands::parse::{duration, size};

#[derive(Debug, Args)]
pub(crate) struct FetchBenchArgs {
    /// Topic to read.
    #[arg(long, default_value = "tidelog-bench", value_name = "TOPIC")]
    topic: String,
    /// Stop after this many records; the topic is read again from the beginning as often as needed [default: read it once]
    #[arg(long, value_name = "N")]
    records: Option<u64>,
    /// Stop after this time; the topic is read again as often as needed.
    #[arg(long, value_name = "TIME", value_parser = duration)]
    duration: Option<Duration>,
    /// Largest answer.
    #[arg(long, default_value = "32MiB", value_name = "SIZE", value_parser = size)]
    max_bytes: usize,
    /// Largest part of one partition in an answer.
    #[arg(long, default_value = "4MiB", value_name = "SIZE", value_parser = size)]
    partition_bytes: usize,
    /// Count records by the batches' headers instead of reading each record.
    #[arg(long)]
    no_decode: bool,
    #[command(flatten)]
    kafka: KafkaArgs,
    #[command(flatten)]
    output: OutputArgs,
}

pub(crate) async fn run(args: FetchBenchArgs) -> anyhow::Result<()> {
    let client = connect(&args.kafka, "tidelog-bench").await?;
    let topic = client.topic(&args.topic, false).await?;
    let query = |query| topic.partitions.iter().map(|p| (topic.name.as_str(), p.index, query)).collect::<Vec<_>>();
    let starts = client.list_offsets(&query(OffsetQuery::Earliest), Isolation::ReadUncommitted).await?;
    let ends = client.list_offsets(&query(OffsetQuery::Latest), Isolation::ReadUncommitted).await?;
    let ranges: Vec<(PartitionIndex, Offset, Offset)> = topic
        .partitions
        .iter()
        .zip(starts.iter().zip(&ends))
        .map(|(p, (start, end))| (p.index, start.offset.unwrap_or(Offset::ZERO), end.offset.unwrap_or(Offset::ZERO)))
        .filter(|(_, start, end)| start < end)
        .collect();
    anyhow::ensure!(!ranges.is_empty(), "topic {} is empty; fill it with `tidelog bench produce`", args.topic);
    let options = ConsumerOptions {
        // All records are there before the run; a fetch at the end must not hold up the next pass.
        max_wait: Duration::ZERO,
        max_bytes: i32::try_from(args.max_bytes).unwrap_or(i32::MAX),
        partition_bytes: i32::try_from(args.partition_bytes).unwrap_or(i32::MAX),
        ..ConsumerOptions::default()
    };
    let mut consumer = Consumer::new(&client, options);
    let once = args.records.is_none() && args.duration.is_none();
    let limit = if once { Limit { records: None, until: None } } else { Limit::new(args.records, args.duration) };
    let (start, cpu) = (Instant::now(), usage::cpu_seconds());
    let (mut records, mut bytes) = (0u64, 0u64);
    'run: loop {
        for (partition, first, _) in &ranges {
            consumer.assign(&args.topic, *partition, *first);
        }
        while consumer.assigned() > 0 {
            if limit.reached(records) {
                break 'run;
            }
            let Some(fetched) = consumer.poll(Duration::from_secs(1)).await? else { continue };
            for batch in &fetched.batches {
                if args.no_decode {
                    records += u64::try_from(batch.header().record_count).unwrap_or(0);
                    bytes += batch.size() as u64;
                    continue;
                }
                let body = batch.body(MAX_INFLATED_BATCH_BYTES)?;
                for record in RecordViews::new(batch.header(), &body) {
                    let record = record?;
                    records += 1;
                    bytes += (record.key.map_or(0, <[u8]>::len) + record.value.map_or(0, <[u8]>::len)) as u64;
                }
            }
            if ranges.iter().any(|(partition, _, end)| *partition == fetched.partition && fetched.next >= *end) {
                consumer.unassign(&args.topic, fetched.partition);
            }
        }
        if once {
            break;
        }
    }
    let mut figures = Figures::new("fetch", start.elapsed(), records, bytes);
    figures.client_cpu_seconds = usage::cpu_seconds().zip(cpu).map(|(end, start)| end - start);
    figures.print(&args.output)
}
