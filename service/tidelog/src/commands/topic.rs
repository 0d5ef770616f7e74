//! `tidelog topic`: create, list, describe, alter, delete.

use anyhow::bail;
use clap::{Args, Subcommand};
use serde::Serialize;
use serde_json::json;
use tidelog_client::{
    Client, ClientError, ConfigChange, ConfigEntry, ConfigResource, Isolation, NewTopic, OffsetQuery, PartitionInfo,
    TopicInfo,
};
use tidelog_model::{KafkaError, NodeId, PartitionIndex, TopicId};

use super::connect;
use super::entries::{self, EntryArgs};
use super::parse::key_value;
use crate::cli::{Format, KafkaArgs, OutputArgs};
use crate::output::{Table, Usage, are, note, show};

#[derive(Debug, Args)]
pub(crate) struct TopicArgs {
    #[command(subcommand)]
    command: TopicCommand,
}

#[derive(Debug, Subcommand)]
enum TopicCommand {
    /// Create topics.
    Create(CreateArgs),
    /// List topics.
    List(ListArgs),
    /// Show a topic's partitions, offsets and configuration.
    Describe(DescribeArgs),
    /// Add partitions, set and delete configuration entries.
    Alter(AlterArgs),
    /// Show a topic's own settings, or change them entry by entry.
    Config(ConfigArgs),
    /// Delete topics and their records.
    Delete(DeleteArgs),
}

#[derive(Debug, Args)]
struct CreateArgs {
    /// Names of the topics.
    #[arg(required = true, value_name = "TOPIC")]
    names: Vec<String>,
    /// Partitions of each [default: the server's num.partitions]
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(i32).range(1..))]
    partitions: Option<i32>,
    /// Replicas of each partition [default: the server's default.replication.factor]
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(i16).range(1..))]
    replication_factor: Option<i16>,
    /// A configuration entry, as `retention.ms=86400000`; may be repeated.
    #[arg(short, long, value_name = "KEY=VALUE", value_parser = key_value)]
    config: Vec<(String, String)>,
    /// Do nothing if a topic exists already.
    #[arg(long)]
    if_not_exists: bool,
    /// Only check whether the topics could be created.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    kafka: KafkaArgs,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Debug, Args)]
struct ListArgs {
    /// List the service's own topics too.
    #[arg(long)]
    internal: bool,
    #[command(flatten)]
    kafka: KafkaArgs,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Debug, Args)]
struct DescribeArgs {
    /// Name of the topic.
    #[arg(value_name = "TOPIC")]
    name: String,
    /// Show configuration entries that have their defaults too.
    #[arg(long)]
    defaults: bool,
    #[command(flatten)]
    kafka: KafkaArgs,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Debug, Args)]
struct AlterArgs {
    /// Name of the topic.
    #[arg(value_name = "TOPIC")]
    name: String,
    /// Raise the number of partitions to this.
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(i32).range(1..))]
    partitions: Option<i32>,
    /// Set a configuration entry; may be repeated.
    #[arg(short, long, value_name = "KEY=VALUE", value_parser = key_value)]
    config: Vec<(String, String)>,
    /// Return a configuration entry to its default; may be repeated.
    #[arg(long, value_name = "KEY")]
    delete_config: Vec<String>,
    /// Only check whether the changes are possible.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    kafka: KafkaArgs,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Debug, Args)]
struct ConfigArgs {
    /// Name of the topic.
    #[arg(value_name = "TOPIC")]
    name: String,
    #[command(flatten)]
    entries: EntryArgs,
}

#[derive(Debug, Args)]
struct DeleteArgs {
    /// Names of the topics.
    #[arg(required = true, value_name = "TOPIC")]
    names: Vec<String>,
    /// Do nothing if a topic does not exist.
    #[arg(long)]
    if_exists: bool,
    #[command(flatten)]
    kafka: KafkaArgs,
    #[command(flatten)]
    output: OutputArgs,
}

pub(crate) async fn run(args: TopicArgs) -> anyhow::Result<()> {
    match args.command {
        TopicCommand::Create(args) => create(args).await,
        TopicCommand::List(args) => list(args).await,
        TopicCommand::Describe(args) => describe(args).await,
        TopicCommand::Alter(args) => alter(args).await,
        TopicCommand::Config(args) => config(args).await,
        TopicCommand::Delete(args) => delete(args).await,
    }
}

#[derive(Serialize)]
struct Created {
    name: String,
    id: Option<String>,
    partitions: Option<i32>,
    replication_factor: Option<i16>,
    created: bool,
}

async fn create(args: CreateArgs) -> anyhow::Result<()> {
    let client = connect(&args.kafka, "tidelog-topic").await?;
    let topic = |name: &String| NewTopic {
        name: name.clone(),
        partitions: args.partitions,
        replication_factor: args.replication_factor,
        config: args.config.clone(),
    };
    let topics: Vec<NewTopic> = args.names.iter().map(topic).collect();
    let results = client.create_topics(&topics, args.dry_run).await?;
    let (mut done, mut failed) = (Vec::new(), None);
    for (topic, result) in topics.iter().zip(results) {
        match result {
            Ok(created) => done.push(Created {
                name: created.name,
                id: (created.id != TopicId::ZERO).then(|| created.id.to_string()),
                partitions: (created.partitions > 0).then_some(created.partitions),
                replication_factor: (created.replication_factor > 0).then_some(created.replication_factor),
                created: !args.dry_run,
            }),
            Err(error) if args.if_not_exists && error.kafka_error() == Some(KafkaError::TopicAlreadyExists) => {
                let name = topic.name.clone();
                done.push(Created { name, id: None, partitions: None, replication_factor: None, created: false });
            }
            Err(error) => failed = Some(report(failed, error)),
        }
    }
    show(args.output.output, &done, || {
        let line = |topic: &Created| match topic.created {
            true => format!("created {}\n", topic.name),
            false if args.dry_run => format!("could create {}\n", topic.name),
            false => format!("{} exists\n", topic.name),
        };
        done.iter().map(line).collect()
    })?;
    failed.map_or(Ok(()), |error| Err(error.into()))
}

/// Refuses a partition that the topic does not have.
pub(crate) fn has_partition(topic: &TopicInfo, partition: PartitionIndex) -> Result<(), ClientError> {
    if topic.partition(partition).is_some() {
        return Ok(());
    }
    Err(ClientError::Kafka {
        error: KafkaError::UnknownTopicOrPartition,
        what: format!("partition {}-{partition}", topic.name),
        message: format!("there {}, numbered from 0", are(topic.partitions.len(), "partition")),
    })
}

/// Of several errors the last one ends the command; the others are told at once.
pub(crate) fn report(earlier: Option<ClientError>, error: ClientError) -> ClientError {
    if let Some(earlier) = earlier {
        note(&format!("tidelog: {earlier}"));
    }
    error
}

#[derive(Serialize)]
struct Listed {
    name: String,
    id: String,
    partitions: usize,
    replication_factor: usize,
    internal: bool,
}

async fn list(args: ListArgs) -> anyhow::Result<()> {
    let client = connect(&args.kafka, "tidelog-topic").await?;
    let mut topics = client.metadata(None, false).await?.topics;
    topics.retain(|topic| args.internal || !topic.is_internal);
    topics.sort_by(|a, b| a.name.cmp(&b.name));
    let listed: Vec<Listed> = topics
        .iter()
        .map(|topic| Listed {
            name: topic.name.clone(),
            id: topic.id.to_string(),
            partitions: topic.partitions.len(),
            replication_factor: topic.partitions.first().map_or(0, |partition| partition.replicas.len()),
            internal: topic.is_internal,
        })
        .collect();
    show(args.output.output, &listed, || {
        let mut table = Table::new(["TOPIC", "PARTITIONS", "REPLICAS"]);
        for topic in &listed {
            table.row([topic.name.clone(), topic.partitions.to_string(), topic.replication_factor.to_string()]);
        }
        table.render()
    })
}

#[derive(Serialize)]
struct Described {
    name: String,
    id: String,
    internal: bool,
    partitions: Vec<DescribedPartition>,
    config: Vec<DescribedConfig>,
}

#[derive(Serialize)]
struct DescribedPartition {
    partition: i32,
    leader: i32,
    leader_epoch: i32,
    replicas: Vec<i32>,
    isr: Vec<i32>,
    /// None: it has no leader that could say.
    log_start_offset: Option<i64>,
    end_offset: Option<i64>,
}

#[derive(Serialize)]
struct DescribedConfig {
    name: String,
    value: Option<String>,
    source: &'static str,
}

async fn describe(args: DescribeArgs) -> anyhow::Result<()> {
    let client = connect(&args.kafka, "tidelog-topic").await?;
    let topic = client.refresh_topic(&args.name, false).await?;
    let offsets = ends(&client, &topic).await?;
    let nodes = |nodes: &[NodeId]| nodes.iter().map(|node| node.get()).collect();
    let partitions = topic.partitions.iter().zip(offsets).map(|(partition, range)| DescribedPartition {
        partition: partition.index.get(),
        leader: partition.leader.get(),
        leader_epoch: partition.leader_epoch.get(),
        replicas: nodes(&partition.replicas),
        isr: nodes(&partition.isr),
        log_start_offset: range.map(|(start, _)| start),
        end_offset: range.map(|(_, end)| end),
    });
    let shown = |entry: &ConfigEntry| args.defaults || entry.source == "topic";
    let config = match client.describe_configs(&ConfigResource::Topic(args.name.clone())).await {
        Ok(config) => config,
        // Whoever may describe a topic need not be allowed to see its settings.
        Err(error) if error.kafka_error() == Some(KafkaError::TopicAuthorizationFailed) => Vec::new(),
        Err(error) => return Err(error.into()),
    };
    let config = config.into_iter().filter(shown);
    let described = Described {
        name: topic.name.clone(),
        id: topic.id.to_string(),
        internal: topic.is_internal,
        partitions: partitions.collect(),
        config: config.map(|e| DescribedConfig { name: e.name, value: e.value, source: e.source }).collect(),
    };
    show(args.output.output, &described, || described.render())
}

/// Log start and end offset of every partition; `None` of one without a leader, for which nobody should wait.
pub(crate) async fn ends(client: &Client, topic: &TopicInfo) -> Result<Vec<Option<(i64, i64)>>, ClientError> {
    let led = |partition: &&PartitionInfo| partition.leader.get() >= 0;
    let query = |query| {
        let asked = topic.partitions.iter().filter(led).map(move |p| (topic.name.as_str(), p.index, query));
        asked.collect::<Vec<_>>()
    };
    let starts = client.list_offsets(&query(OffsetQuery::Earliest), Isolation::ReadUncommitted).await?;
    let ends = client.list_offsets(&query(OffsetQuery::Latest), Isolation::ReadUncommitted).await?;
    let get = |listed: tidelog_client::ListedOffset| listed.offset.map_or(0, tidelog_model::Offset::get);
    let mut ranges = starts.into_iter().zip(ends).map(|(start, end)| (get(start), get(end)));
    Ok(topic.partitions.iter().map(|p| if led(&p) { ranges.next() } else { None }).collect())
}

impl Described {
    fn render(&self) -> String {
        let number = |offset: Option<i64>| offset.map_or_else(|| "-".to_owned(), |offset| offset.to_string());
        let list = |nodes: &[i32]| nodes.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
        let mut text = format!("Topic {} ({})\n\n", self.name, self.id);
        let mut table = Table::new(["PARTITION", "LEADER", "EPOCH", "REPLICAS", "ISR", "START", "END", "OFFSETS"]);
        for p in &self.partitions {
            table.row([
                p.partition.to_string(),
                if p.leader < 0 { "none".to_owned() } else { p.leader.to_string() },
                p.leader_epoch.to_string(),
                list(&p.replicas),
                list(&p.isr),
                number(p.log_start_offset),
                number(p.end_offset),
                number(p.end_offset.zip(p.log_start_offset).map(|(end, start)| end.saturating_sub(start))),
            ]);
        }
        text.push_str(&table.render());
        if !self.config.is_empty() {
            let mut table = Table::new(["CONFIG", "VALUE", "SOURCE"]);
            for entry in &self.config {
                table.row([&entry.name, entry.value.as_deref().unwrap_or("-"), entry.source]);
            }
            text.push('\n');
            text.push_str(&table.render());
        }
        text
    }
}

async fn alter(args: AlterArgs) -> anyhow::Result<()> {
    let set = args.config.into_iter().map(|(key, value)| ConfigChange::Set(key, value));
    let delete = args.delete_config.iter().cloned().map(ConfigChange::Delete);
    let changes: Vec<ConfigChange> = set.chain(delete).collect();
    if changes.is_empty() && args.partitions.is_none() {
        bail!(Usage("nothing to change: give --partitions, --config or --delete-config".into()));
    }
    let client = connect(&args.kafka, "tidelog-topic").await?;
    // Configuration first: it can be refused without having changed anything.
    if !changes.is_empty() {
        let resource = ConfigResource::Topic(args.name.clone());
        entries::known_ones(&client, &resource, &format!("topic {}", args.name), &args.delete_config).await?;
        client.alter_configs(&resource, &changes, args.dry_run).await?;
    }
    if let Some(total) = args.partitions {
        client.create_partitions(&args.name, total, args.dry_run).await?;
    }
    show(args.output.output, &json!({ "name": args.name, "changed": !args.dry_run }), || {
        format!("{} {}\n", if args.dry_run { "could change" } else { "changed" }, args.name)
    })
}

async fn config(args: ConfigArgs) -> anyhow::Result<()> {
    let client = connect(&args.entries.kafka, "tidelog-topic").await?;
    let resource = ConfigResource::Topic(args.name.clone());
    entries::run(&client, &args.entries, &resource, &format!("topic {}", args.name), |entry| entry.source == "topic")
        .await
}

async fn delete(args: DeleteArgs) -> anyhow::Result<()> {
    let client = connect(&args.kafka, "tidelog-topic").await?;
    let names: Vec<&str> = args.names.iter().map(String::as_str).collect();
    let results = client.delete_topics(&names).await?;
    let (mut done, mut failed) = (Vec::new(), None);
    for (name, result) in names.iter().zip(results) {
        match result {
            Ok(()) => done.push(*name),
            Err(error) if args.if_exists && error.kafka_error() == Some(KafkaError::UnknownTopicOrPartition) => {}
            Err(error) => failed = Some(report(failed, error)),
        }
    }
    let deleted: Vec<_> = done.iter().map(|name| json!({ "name": name, "deleted": true })).collect();
    show(args.output.output, &deleted, || done.iter().map(|name| format!("deleted {name}\n")).collect())?;
    failed.map_or(Ok(()), |error| Err(error.into()))
}

/// `--output` of commands whose JSON is one line per record.
pub(crate) fn is_json(output: &OutputArgs) -> bool {
    output.output == Format::Json
}
