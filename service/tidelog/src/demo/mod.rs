//! The demo: sample events in through every door, off to the object store, out as Parquet, and the same events out of every reader.

pub(crate) mod args;
mod publish;
mod read;
mod report;
mod sample;
mod settle;

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use tidelog_client::{BrokerAddress, Client, ClientOptions, NewTopic};
use tidelog_model::{KafkaError, NodeId};
use tidelog_partition::Durability;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::cli::Format;
use crate::output::Interrupted;
use crate::serve::config::{KafkaListener, Protocol, ServeConfig, StoreConfig};
use crate::serve::start::Running;
use args::DemoArgs;
use report::{Report, Stage};

const TOPIC: &str = "earthquakes";
const PARTITIONS: i32 = 3;

/// The ports that it takes if nobody has them.
const KAFKA_PORT: u16 = 9092;
const HTTP_PORT: u16 = 8082;

/// Settings under which a small sample goes through everything in seconds.
const TOPIC_CONFIG: &[(&str, &str)] = &[
    ("internal.segment.bytes", "65536"),
    ("remote.storage.enable", "true"),
    // Closed segments go to the store and leave the local disk at once; an idle tail is closed after a second.
    ("local.retention.ms", "1"),
    ("tidelog.tier.roll.ms", "1000"),
    ("tidelog.table.enable", "true"),
    ("tidelog.table.key.format", "string"),
    ("tidelog.table.flush.interval.ms", "500"),
];

const QUERIES: &[(&str, &str)] = &[
    (
        "events by network",
        "SELECT properties.net AS network, count(*) AS events, max(properties.mag) AS strongest \
         FROM earthquakes GROUP BY properties.net ORDER BY events DESC, network LIMIT 5",
    ),
    (
        "the strongest five",
        "SELECT properties.mag AS magnitude, properties.place AS place, \
         to_timestamp_millis(CAST(properties.time AS BIGINT)) AS time \
         FROM earthquakes ORDER BY magnitude DESC, time LIMIT 5",
    ),
    (
        "events per hour, the first five hours",
        "SELECT date_trunc('hour', to_timestamp_millis(CAST(properties.time AS BIGINT))) AS hour, count(*) AS events \
         FROM earthquakes GROUP BY hour ORDER BY hour LIMIT 5",
    ),
];

/// Runs the demo; an error if any reader misses an event.
pub(crate) async fn run(args: DemoArgs) -> Result<()> {
    let _ = crate::serve::log_to_stderr("warn")?;
    // From here on Ctrl-C ends the demo in good order, whatever it is doing: the temporary directory must go.
    let mut interrupt = Interrupt::new()?;
    let temporary = match &args.data_dir {
        Some(_) => None,
        None => Some(Temporary::create()?),
    };
    let data_dir = args.data_dir.clone().or_else(|| temporary.as_ref().map(|t| t.0.clone())).context("no directory")?;
    let mut report = Report::new(args.output.output);
    let started = Instant::now();
    let server = tokio::select! {
        server = crate::serve::start(config(data_dir, args.object_store.clone()), None) => server?,
        () = interrupt.came() => return Err(Interrupted.into()),
    };
    let shown = tokio::select! {
        shown = show(&server, &mut report, &args, started) => shown,
        () = interrupt.came() => Err(Interrupted.into()),
    };
    if shown.is_ok() && !args.exit {
        interrupt.came().await;
    }
    tokio::select! {
        // The first error is the one to tell.
        stopped = server.stop() => shown.and(stopped),
        // Once more: at once.
        () = interrupt.came() => Err(Interrupted.into()),
    }
}

/// Everything from the first stage to the last line.
async fn show(server: &Running, report: &mut Report, args: &DemoArgs, started: Instant) -> Result<()> {
    let taken = |wanted: u16, got: SocketAddr| match got.port() == wanted {
        true => String::new(),
        false => format!(" ({wanted} is taken)"),
    };
    let what = format!(
        "Kafka on {}{}, HTTP on {}{}",
        server.kafka,
        taken(KAFKA_PORT, server.kafka),
        server.http,
        taken(HTTP_PORT, server.http)
    );
    report.stage(started.elapsed(), Stage { stage: "start", what, ..Stage::default() })?;
    let answers = stages(server, report).await?;
    finish(server, report, &answers, args.output.output, args.exit)
}

fn config(data_dir: PathBuf, object_store: Option<String>) -> ServeConfig {
    let local = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, free_or_any(port)));
    ServeConfig {
        data_dir,
        node: NodeId(1),
        kafka: vec![KafkaListener {
            name: "PLAINTEXT".into(),
            protocol: Protocol::Plaintext,
            listen: local(KAFKA_PORT),
            advertise: None,
        }],
        tls: None,
        sasl_mechanisms: Vec::new(),
        http: local(HTTP_PORT),
        https: false,
        audit_log: None,
        http_basic: false,
        http_advertise: None,
        object_store,
        store: StoreConfig::default(),
        durability: Durability::Fsync,
        allow_unauthenticated: false,
        acls: None,
        jwt: None,
        broker: vec![("log.retention.check.interval.ms".into(), "250".into())],
        allowed_origins: Vec::new(),
    }
}

/// The well-known port if nobody has it, otherwise 0: any free one.
fn free_or_any(port: u16) -> u16 {
    match TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
        Ok(_) => port,
        Err(_) => 0,
    }
}

/// What the last stages bring for the end of the demo.
struct Answers {
    queries: Vec<(&'static str, Value)>,
    /// The folder of the table's files, relative to the store.
    folder: String,
}

async fn stages(server: &Running, report: &mut Report) -> Result<Answers> {
    let url = format!("http://{}", server.http);
    let http = reqwest::Client::new();
    let brokers = BrokerAddress::list(&server.kafka.to_string())?;
    let client = Client::connect(ClientOptions::new(brokers)).await?;
    let events = sample::events()?;
    if create_topic(&client).await? {
        publish_all(&client, &http, &url, &events, report).await?;
    } else {
        let what = "nothing: an earlier demo's events are here".into();
        report.stage(Duration::ZERO, Stage { stage: "publish", what, ..Stage::default() })?;
    }
    let ends = ends(&http, &url).await?;
    ensure!(
        ends.iter().sum::<i64>() == events.len() as i64,
        "topic {TOPIC} in {} holds {ends:?}, not {} events; give the demo a directory of its own",
        server.data_dir.display(),
        events.len()
    );

    read_stage(report, "read", "with a Kafka consumer", events.len(), read::kafka(&client, TOPIC, &ends)).await?;
    read_stage(report, "read", "with one HTTP request", events.len(), read::rest(&http, &url, TOPIC, events.len()))
        .await?;
    read_stage(report, "read", "with a gRPC stream", events.len(), read::grpc(&url, TOPIC)).await?;

    let started = Instant::now();
    let standing = settle::wait(&http, &url, TOPIC, &ends).await?;
    let (segments, bytes) = settle::tier_totals(&standing.tier, TOPIC);
    report.stage(
        started.elapsed(),
        Stage {
            stage: "tier",
            what: "closed segments are remote, local copies gone".into(),
            files: Some(segments),
            bytes: Some(bytes),
            store_requests: Some(settle::requests(&standing.tier)),
            ..Stage::default()
        },
    )?;
    report.stage(
        Duration::ZERO,
        Stage {
            stage: "table",
            what: "exported as Parquet".into(),
            records: standing.table["rows"].as_u64().map(|rows| rows as usize),
            files: standing.table["files"].as_u64(),
            bytes: standing.table["bytes"].as_u64(),
            ..Stage::default()
        },
    )?;
    let cold = read::kafka(&client, TOPIC, &ends);
    read_stage(report, "cold", "with a Kafka consumer, from the object store", events.len(), cold).await?;
    let folder = standing.table["folder"].as_str().context("the table has no folder")?.to_owned();
    parquet_stage(server, report, &folder, events.len()).await?;
    let queries = sql_stage(&http, &url, report, events.len()).await?;
    Ok(Answers { queries, folder })
}

/// Creates the demo's topic; false if the directory has it from an earlier run.
async fn create_topic(client: &Client) -> Result<bool> {
    let config = TOPIC_CONFIG.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    let topic = NewTopic { name: TOPIC.to_owned(), partitions: Some(PARTITIONS), replication_factor: None, config };
    match client.create_topics(&[topic], false).await?.pop().context("no answer about the topic")? {
        Ok(_) => Ok(true),
        Err(error) if error.kafka_error() == Some(KafkaError::TopicAlreadyExists) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

async fn publish_all(
    client: &Client,
    http: &reqwest::Client,
    url: &str,
    events: &[sample::Event],
    report: &mut Report,
) -> Result<()> {
    let third = events.len().div_ceil(3);
    let mut parts = events.chunks(third);
    let mut next = || parts.next().unwrap_or_default();
    let doors = [("Kafka", next()), ("REST", next()), ("gRPC", next())];
    for (door, part) in doors {
        let started = Instant::now();
        match door {
            "Kafka" => publish::kafka(client, TOPIC, part).await,
            "REST" => publish::rest(http, url, TOPIC, part).await,
            _ => publish::grpc(url, TOPIC, part).await,
        }
        .with_context(|| format!("publishing through {door}"))?;
        let bytes: usize = part.iter().map(|event| event.json.len()).sum();
        report.stage(
            started.elapsed(),
            Stage {
                stage: "publish",
                what: format!("through {door}, acknowledged durable"),
                records: Some(part.len()),
                bytes: Some(bytes as u64),
                ..Stage::default()
            },
        )?;
    }
    Ok(())
}

/// The partitions' ends as the server tells them.
async fn ends(http: &reqwest::Client, url: &str) -> Result<Vec<i64>> {
    let topic: Value = http.get(format!("{url}/v1/topics/{TOPIC}")).send().await?.json().await?;
    let partitions = topic["partitions"].as_array().context("the topic has no partitions")?;
    partitions.iter().map(|p| p["high_watermark"].as_i64().context("a partition without a watermark")).collect()
}

async fn read_stage(
    report: &mut Report,
    stage: &'static str,
    what: &str,
    expected: usize,
    read: impl Future<Output = Result<read::Seen>>,
) -> Result<()> {
    let started = Instant::now();
    let seen = read.await.with_context(|| format!("reading {what}"))?;
    report.stage(
        started.elapsed(),
        Stage {
            stage,
            what: what.to_owned(),
            records: Some(seen.records),
            distinct_ids: Some(seen.ids.len()),
            bytes: Some(seen.bytes as u64),
            ..Stage::default()
        },
    )?;
    complete(what, &seen, expected)
}

fn complete(what: &str, seen: &read::Seen, expected: usize) -> Result<()> {
    if seen.ids.len() != expected || seen.records != expected {
        bail!("reading {what} saw {} records with {} ids, not {expected}", seen.records, seen.ids.len());
    }
    Ok(())
}

async fn parquet_stage(server: &Running, report: &mut Report, folder: &str, expected: usize) -> Result<()> {
    let started = Instant::now();
    let (seen, files) = read::parquet(&server.object_store, folder).await?;
    report.stage(
        started.elapsed(),
        Stage {
            stage: "parquet",
            what: "listing the folder, as any engine does".into(),
            records: Some(seen.records),
            distinct_ids: Some(seen.ids.len()),
            files: Some(files.len() as u64),
            bytes: Some(seen.bytes as u64),
            ..Stage::default()
        },
    )?;
    complete("the Parquet files", &seen, expected)
}

async fn sql_stage(
    http: &reqwest::Client,
    url: &str,
    report: &mut Report,
    expected: usize,
) -> Result<Vec<(&'static str, Value)>> {
    let started = Instant::now();
    let counted =
        read::sql(http, url, "SELECT count(*) AS records, count(DISTINCT id) AS ids FROM earthquakes").await?;
    let figure = |name: &str| counted["rows"][0][name].as_u64().map(|count| count as usize);
    report.stage(
        started.elapsed(),
        Stage {
            stage: "sql",
            what: "count(*) and count(DISTINCT id)".into(),
            records: figure("records"),
            distinct_ids: figure("ids"),
            ..Stage::default()
        },
    )?;
    ensure!(figure("records") == Some(expected) && figure("ids") == Some(expected), "SQL counted {counted}");
    let mut answers = Vec::with_capacity(QUERIES.len());
    for (title, statement) in QUERIES {
        answers.push((*title, read::sql(http, url, statement).await?));
    }
    Ok(answers)
}

fn finish(server: &Running, report: &Report, answers: &Answers, format: Format, exit: bool) -> Result<()> {
    if format == Format::Json {
        let queries: Vec<Value> =
            answers.queries.iter().map(|(title, answer)| json!({ "title": title, "answer": answer })).collect();
        let all = json!({
            "kafka": server.kafka.to_string(), "http": server.http.to_string(),
            "data_dir": server.data_dir, "object_store": server.object_store, "cluster_id": server.cluster_id,
            "stages": report.stages, "queries": queries, "milliseconds": report.elapsed().as_millis(),
        });
        crate::output::print(&format!("{all:#}\n"))?;
        return Ok(());
    }
    for (title, answer) in &answers.queries {
        report.say(&format!("\n{title}\n{}", crate::commands::http::table_of(answer)?))?;
    }
    report.say(&format!("\nevery reader saw every event; {:.1} s in all", report.elapsed().as_secs_f64()))?;
    if exit {
        return Ok(());
    }
    let folder = server.object_store.strip_prefix("file://").unwrap_or(&server.object_store);
    report.say(&format!(
        "\ntry it, this server stays up until Ctrl-C:\n\
         \x20 curl 'http://{http}/v1/topics/{TOPIC}/events?from=earliest&limit=2'\n\
         \x20 kcat -b {kafka} -t {TOPIC} -C -e -o beginning -c 2\n\
         \x20 duckdb -c \"SELECT count(*), max(properties.mag) FROM read_parquet('{folder}/{table}/*/*.parquet', union_by_name=true)\"",
        http = server.http,
        kafka = server.kafka,
        table = answers.folder,
    ))?;
    Ok(())
}

/// Ctrl-C, or a polite kill.
struct Interrupt {
    terminate: Signal,
    interrupt: Signal,
}

impl Interrupt {
    fn new() -> Result<Self> {
        Ok(Interrupt { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn came(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// A directory of the demo's own, removed at the end.
struct Temporary(PathBuf);

impl Temporary {
    fn create() -> Result<Self> {
        let path = std::env::temp_dir().join(format!("tidelog-demo-{}", std::process::id()));
        std::fs::create_dir_all(&path)
            .with_context(|| format!("cannot create {}; --data-dir names another directory", path.display()))?;
        Ok(Temporary(path))
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            tracing::warn!(path = %self.0.display(), %error, "cannot remove the demo's directory");
        }
    }
}
