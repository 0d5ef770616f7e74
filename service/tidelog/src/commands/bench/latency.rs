//! `tidelog bench latency`.

use std::time::Duration;

use clap::Args;
use tidelog_client::{Consumer, ConsumerOptions, Isolation, NewRecord, OffsetQuery, Producer, ProducerOptions};
use tidelog_model::{Offset, PartitionIndex};
use tokio::time::Instant;

use super::histogram::Histogram;
use super::produce::values;
use super::{Figures, Latency, ensure_topic, for_people, usage};
use crate::cli::{KafkaArgs, OutputArgs};
use crate::commands::connect;
use crate::commands::parse::size;
use crate::commands::produce::AcksArg;
use crate::output::note;

/// How long a record may take before the run is given up.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Debug, Args)]
pub(crate) struct LatencyBenchArgs {
    /// Topic to use; created with one partition if it does not exist. Partition 0 is used.
    #[arg(long, default_value = "tidelog-bench-latency", value_name = "TOPIC")]
    topic: String,
    /// How many records, one after another.
    #[arg(long, default_value_t = 1000, value_name = "N")]
    records: u64,
    /// Records sent first and not counted.
    #[arg(long, default_value_t = 100, value_name = "N")]
    warm_up: u64,
    /// Size of a record's value.
    #[arg(long, default_value = "100", value_name = "SIZE", value_parser = size)]
    record_size: usize,
    /// Whose confirmation a record waits for.
    #[arg(long, value_enum, default_value = "all")]
    acks: AcksArg,
    #[command(flatten)]
    kafka: KafkaArgs,
    #[command(flatten)]
    output: OutputArgs,
}

pub(crate) async fn run(args: LatencyBenchArgs) -> anyhow::Result<()> {
    let client = connect(&args.kafka, "tidelog-bench").await?;
    ensure_topic(&client, &args.topic, 1, &[]).await?;
    let partition = PartitionIndex(0);
    let options = ProducerOptions { acks: args.acks.into(), linger: Duration::ZERO, ..ProducerOptions::default() };
    let producer = Producer::start(&client, options).await?;
    let end = client.list_offsets(&[(&args.topic, partition, OffsetQuery::Latest)], Isolation::ReadUncommitted).await?;
    let mut consumer = Consumer::new(&client, ConsumerOptions::default());
    let mut position = end.first().and_then(|end| end.offset).unwrap_or(Offset::ZERO);
    consumer.assign(&args.topic, partition, position);
    let (mut acknowledged, mut received) = (Histogram::new(), Histogram::new());
    let (mut start, mut cpu) = (Instant::now(), usage::cpu_seconds());
    if for_people(&args.output) && args.warm_up > 0 {
        note(&format!("{} records to warm up, then {}", args.warm_up, args.records));
    }
    let total = args.warm_up.saturating_add(args.records);
    for (number, value) in (0..total).zip(values(args.record_size).iter().cycle()) {
        if number == args.warm_up {
            (start, cpu) = (Instant::now(), usage::cpu_seconds());
        }
        let record = NewRecord { partition: Some(partition), value: Some(value.clone()), ..NewRecord::default() };
        let sent = Instant::now();
        let delivery = producer.send(&args.topic, record).await?;
        position = position.plus(1);
        while consumer.position(&args.topic, partition).is_some_and(|now| now < position) {
            anyhow::ensure!(sent.elapsed() < PATIENCE, "record {number} did not arrive within {PATIENCE:?}");
            consumer.poll(Duration::from_millis(100)).await?;
            if let Some(Err(error)) = delivery.now() {
                return Err(error.into());
            }
        }
        let arrived = sent.elapsed();
        delivery.outcome().await?;
        let confirmed = delivery.settled_at().map(|at| at.saturating_duration_since(sent)).unwrap_or_default();
        if number >= args.warm_up {
            acknowledged.record(u64::try_from(confirmed.as_micros()).unwrap_or(u64::MAX));
            received.record(u64::try_from(arrived.as_micros()).unwrap_or(u64::MAX));
        }
    }
    let bytes = args.records.saturating_mul(args.record_size as u64);
    let mut figures = Figures::new("latency", start.elapsed(), args.records, bytes);
    figures.latencies =
        vec![Latency::new("send to acknowledgement", &acknowledged), Latency::new("send to reader", &received)];
    figures.client_cpu_seconds = usage::cpu_seconds().zip(cpu).map(|(end, start)| end - start);
    figures.print(&args.output)
}
