//! `tidelog bench produce`.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use clap::Args;
use tidelog_client::{Delivery, NewRecord, Producer, ProducerOptions};
use tidelog_record::Codec;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::histogram::Histogram;
use super::{Figures, Latency, Limit, ensure_topic, usage};
use crate::cli::{KafkaArgs, OutputArgs};
use crate::commands::connect;
use crate::commands::parse::{duration, key_value, size};
use crate::commands::produce::{AcksArg, codec};

/// Deliveries each task looks at later at most.
const MAX_OPEN: usize = 200_000;

/// Different values in turn, so that compression and caches see some variety.
const VALUES: usize = 256;

#[derive(Debug, Args)]
pub(crate) struct ProduceBenchArgs {
    /// Topic to use; created if it does not exist.
    #[arg(long, default_value = "tidelog-bench", value_name = "TOPIC")]
    topic: String,
    /// Partitions of a new topic.
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(i32).range(1..))]
    partitions: i32,
    /// A configuration entry of a new topic; may be repeated.
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_value)]
    config: Vec<(String, String)>,
    /// Size of a record's value.
    #[arg(long, default_value = "1024", value_name = "SIZE", value_parser = size)]
    record_size: usize,
    /// Stop after this many records.
    #[arg(long, value_name = "N")]
    records: Option<u64>,
    /// Stop after this time [default: 10s, unless --records is given]
    #[arg(long, value_name = "TIME", value_parser = duration)]
    duration: Option<Duration>,
    /// Records per second at most [default: as fast as they are accepted]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    rate: Option<u32>,
    /// Whose confirmation a record waits for.
    #[arg(long, value_enum, default_value = "all")]
    acks: AcksArg,
    /// How batches are compressed: none, gzip, snappy, lz4 or zstd.
    #[arg(long, default_value = "none", value_name = "CODEC", value_parser = codec)]
    compression: Codec,
    /// How long a batch waits for more records.
    #[arg(long, default_value = "5ms", value_name = "TIME", value_parser = duration)]
    linger: Duration,
    /// Size at which a batch is full.
    #[arg(long, default_value = "128k", value_name = "SIZE", value_parser = size)]
    batch_size: usize,
    /// Requests in flight per broker.
    #[arg(long, default_value_t = 5, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=5))]
    in_flight: u8,
    /// Tasks that send, each its share.
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    tasks: u16,
    #[command(flatten)]
    kafka: KafkaArgs,
    #[command(flatten)]
    output: OutputArgs,
}

/// What one task did.
struct Done {
    stored: u64,
    errors: u64,
    latency: Histogram,
    first_error: Option<String>,
}

pub(crate) async fn run(args: ProduceBenchArgs) -> anyhow::Result<()> {
    let client = connect(&args.kafka, "tidelog-bench").await?;
    ensure_topic(&client, &args.topic, args.partitions, &args.config).await?;
    let options = ProducerOptions {
        acks: args.acks.into(),
        codec: args.compression,
        linger: args.linger,
        batch_bytes: args.batch_size,
        in_flight: usize::from(args.in_flight),
        ..ProducerOptions::default()
    };
    let producer = Arc::new(Producer::start(&client, options).await?);
    let values: Arc<[Bytes]> = values(args.record_size).into();
    let (start, cpu) = (Instant::now(), usage::cpu_seconds());
    let limit = Limit::new(args.records, args.duration);
    let mut tasks = JoinSet::new();
    for task in 0..args.tasks {
        let share =
            |total: u64| total / u64::from(args.tasks) + u64::from(u64::from(task) < total % u64::from(args.tasks));
        let limit = Limit { records: limit.records.map(share), ..limit };
        let pace = args.rate.map(|rate| f64::from(rate) / f64::from(args.tasks));
        tasks.spawn(send(Arc::clone(&producer), args.topic.clone(), Arc::clone(&values), limit, pace));
    }
    let mut all = Done { stored: 0, errors: 0, latency: Histogram::new(), first_error: None };
    while let Some(done) = tasks.join_next().await {
        let done = done?;
        all.stored += done.stored;
        all.errors += done.errors;
        all.latency.merge(&done.latency);
        all.first_error = all.first_error.or(done.first_error);
    }
    let bytes = all.stored.saturating_mul(args.record_size as u64);
    let mut figures = Figures::new("produce", start.elapsed(), all.stored, bytes);
    figures.latencies.push(Latency::new("send to acknowledgement", &all.latency));
    figures.client_cpu_seconds = usage::cpu_seconds().zip(cpu).map(|(end, start)| end - start);
    figures.errors = all.errors;
    figures.print(&args.output)?;
    match all.first_error {
        Some(error) => anyhow::bail!("{} records failed; the first: {error}", all.errors),
        None => Ok(()),
    }
}

async fn send(producer: Arc<Producer>, topic: String, values: Arc<[Bytes]>, limit: Limit, pace: Option<f64>) -> Done {
    let mut done = Done { stored: 0, errors: 0, latency: Histogram::new(), first_error: None };
    let mut open: VecDeque<(Instant, Delivery)> = VecDeque::new();
    let (start, mut sent) = (Instant::now(), 0u64);
    for value in values.iter().cycle() {
        // The clock is read once per 16 records where only the end depends on it.
        let at_limit = limit.records.is_some_and(|records| sent >= records);
        if at_limit || (sent.is_multiple_of(16) && limit.reached(sent)) {
            break;
        }
        if let Some(pace) = pace {
            tokio::time::sleep_until(start + Duration::from_secs_f64(sent as f64 / pace)).await;
        }
        let record = NewRecord { value: Some(value.clone()), ..NewRecord::default() };
        let now = Instant::now();
        match producer.send(&topic, record).await {
            Ok(delivery) => open.push_back((now, delivery)),
            Err(error) => done.fail(&error.to_string()),
        }
        sent += 1;
        if sent.is_multiple_of(1024) {
            while let Some((at, delivery)) = open.pop_front() {
                if delivery.now().is_none() && open.len() < MAX_OPEN {
                    open.push_front((at, delivery));
                    break;
                }
                done.settle(at, &delivery).await;
            }
            // `send` rarely waits; others must run too.
            tokio::task::yield_now().await;
        }
    }
    producer.flush().await;
    for (at, delivery) in open {
        done.settle(at, &delivery).await;
    }
    done
}

impl Done {
    async fn settle(&mut self, sent: Instant, delivery: &Delivery) {
        match delivery.outcome().await {
            Ok(_) => {
                self.stored += 1;
                let took = delivery.settled_at().map(|at| at.saturating_duration_since(sent)).unwrap_or_default();
                self.latency.record(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
            }
            Err(error) => self.fail(&error.to_string()),
        }
    }

    fn fail(&mut self, error: &str) {
        self.errors += 1;
        self.first_error.get_or_insert_with(|| error.to_owned());
    }
}

/// Values of letters and digits, 6 bits of chance per byte.
pub(super) fn values(size: usize) -> Vec<Bytes> {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    // xorshift64: fast, the same in every run.
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut letter = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        LETTERS.get((state >> 58) as usize).copied().unwrap_or(b'A')
    };
    let count = VALUES.min((64 * 1024 * 1024 / size.max(1)).max(1));
    (0..count).map(|_| Bytes::from((0..size).map(|_| letter()).collect::<Vec<u8>>())).collect()
}
