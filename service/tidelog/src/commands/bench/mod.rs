//! `tidelog bench`: our own load generator. It measures what this client sees; run it beside another server's own tools with care.

mod fetch;
mod histogram;
mod latency;
mod produce;
mod usage;

use std::time::Duration;

use clap::{Args, Subcommand};
use serde::Serialize;
use tidelog_client::{Client, ClientError, NewTopic};
use tidelog_model::KafkaError;
use tokio::time::Instant;

use histogram::Histogram;

use crate::cli::{Format, OutputArgs};
use crate::output::{bytes_for_people, show};

#[derive(Debug, Args)]
pub(crate) struct BenchArgs {
    #[command(subcommand)]
    command: BenchCommand,
}

#[derive(Debug, Subcommand)]
enum BenchCommand {
    /// Send records as fast as they are accepted, or at a fixed rate.
    ///
    /// The topic stays with all that was sent, which may be many GiB: `tidelog topic delete tidelog-bench` gives the room back, and
    /// `--config retention.bytes=1073741824` bounds a new one.
    Produce(produce::ProduceBenchArgs),
    /// Read records from the beginning as fast as they come.
    Fetch(fetch::FetchBenchArgs),
    /// Send one record at a time and read it back: time to the acknowledgement and to the reader.
    Latency(latency::LatencyBenchArgs),
}

pub(crate) async fn run(args: BenchArgs) -> anyhow::Result<()> {
    match args.command {
        BenchCommand::Produce(args) => produce::run(args).await,
        BenchCommand::Fetch(args) => fetch::run(args).await,
        BenchCommand::Latency(args) => latency::run(args).await,
    }
}

/// How long a run lasts.
#[derive(Debug, Clone, Copy)]
struct Limit {
    records: Option<u64>,
    until: Option<Instant>,
}

impl Limit {
    /// By count, by time, or whichever comes first; without either, 10 s.
    fn new(records: Option<u64>, duration: Option<Duration>) -> Self {
        let duration = duration.or(records.is_none().then_some(Duration::from_secs(10)));
        Limit { records, until: duration.map(|duration| Instant::now() + duration) }
    }

    fn reached(&self, records: u64) -> bool {
        self.records.is_some_and(|limit| records >= limit) || self.until.is_some_and(|until| Instant::now() >= until)
    }
}

/// Creates the topic; one that exists is used as it is.
async fn ensure_topic(client: &Client, name: &str, partitions: i32, config: &[(String, String)]) -> anyhow::Result<()> {
    let topic = NewTopic {
        name: name.to_owned(),
        partitions: Some(partitions),
        replication_factor: None,
        config: config.to_vec(),
    };
    for result in client.create_topics(&[topic], false).await? {
        match result {
            Ok(_) => {}
            Err(ClientError::Kafka { error: KafkaError::TopicAlreadyExists, .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    // Apache Kafka answers before its own view has the topic: wait for it as for one that is being created.
    client.refresh_topic(name, true).await?;
    Ok(())
}

/// What a run measured.
#[derive(Debug, Serialize)]
struct Figures {
    what: &'static str,
    seconds: f64,
    records: u64,
    bytes: u64,
    records_per_second: f64,
    /// 10^6 bytes of keys and values per second.
    megabytes_per_second: f64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    latencies: Vec<Latency>,
    /// CPU time of this process, not of the server.
    #[serde(skip_serializing_if = "Option::is_none")]
    client_cpu_seconds: Option<f64>,
    errors: u64,
}

#[derive(Debug, Serialize)]
struct Latency {
    of: &'static str,
    count: u64,
    mean_ms: f64,
    p50_ms: f64,
    p99_ms: f64,
    p999_ms: f64,
    max_ms: f64,
}

impl Latency {
    fn new(of: &'static str, histogram: &Histogram) -> Self {
        let ms = |micros: u64| micros as f64 / 1000.0;
        Latency {
            of,
            count: histogram.count(),
            mean_ms: histogram.mean() / 1000.0,
            p50_ms: ms(histogram.quantile(0.5)),
            p99_ms: ms(histogram.quantile(0.99)),
            p999_ms: ms(histogram.quantile(0.999)),
            max_ms: ms(histogram.max()),
        }
    }
}

impl Figures {
    fn new(what: &'static str, took: Duration, records: u64, bytes: u64) -> Self {
        let seconds = took.as_secs_f64().max(1e-9);
        Figures {
            what,
            seconds,
            records,
            bytes,
            records_per_second: records as f64 / seconds,
            megabytes_per_second: bytes as f64 / 1e6 / seconds,
            latencies: Vec::new(),
            client_cpu_seconds: None,
            errors: 0,
        }
    }

    fn print(&self, output: &OutputArgs) -> anyhow::Result<()> {
        show(output.output, self, || self.render())
    }

    fn render(&self) -> String {
        let mut text = format!(
            "{}: {} records, {} in {:.2} s: {:.0} records/s, {:.1} MB/s\n",
            self.what,
            self.records,
            bytes_for_people(self.bytes as f64),
            self.seconds,
            self.records_per_second,
            self.megabytes_per_second
        );
        for l in &self.latencies {
            text.push_str(&format!(
                "{}: mean {:.3} ms, p50 {:.3} ms, p99 {:.3} ms, p99.9 {:.3} ms, max {:.3} ms\n",
                l.of, l.mean_ms, l.p50_ms, l.p99_ms, l.p999_ms, l.max_ms
            ));
        }
        if let Some(cpu) = self.client_cpu_seconds {
            text.push_str(&format!("client CPU: {cpu:.2} s\n"));
        }
        if self.errors > 0 {
            text.push_str(&format!("errors: {}\n", self.errors));
        }
        text
    }
}

/// True if a table is wanted: then progress may be shown too.
fn for_people(output: &OutputArgs) -> bool {
    output.output == Format::Table
}
