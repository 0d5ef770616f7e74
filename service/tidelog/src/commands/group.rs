//! `tidelog group`: consumer groups, their members and positions.

use std::collections::{BTreeMap, BTreeSet};

use clap::{Args, Subcommand};
use serde::Serialize;
use serde_json::json;
use tidelog_client::{Client, ClientError, ConfigResource, GroupDescription, GroupMember, Isolation, OffsetQuery};
use tidelog_model::{KafkaError, Offset, PartitionIndex};

use super::entries::{self, EntryArgs};
use super::group_delete_offsets::{DeleteOffsetsArgs, delete_offsets};
use super::group_reset::{ResetArgs, reset};
use super::parse::one_of;
use super::{connect, topic};
use crate::cli::{KafkaArgs, OutputArgs};
use crate::output::{Table, show};

#[derive(Debug, Args)]
pub(crate) struct GroupArgs {
    #[command(subcommand)]
    command: GroupCommand,
}

#[derive(Debug, Subcommand)]
enum GroupCommand {
    /// List groups.
    List(ListArgs),
    /// Show a group's members, positions and lag.
    Describe(DescribeArgs),
    /// Move a group's positions; without --execute only say where to.
    ResetOffsets(ResetArgs),
    /// Forget positions of topics that no member reads.
    DeleteOffsets(DeleteOffsetsArgs),
    /// Show a group's own settings, or change them.
    Config(ConfigArgs),
    /// Delete groups without members, and their positions.
    Delete(DeleteArgs),
}

/// Every state that a group can be in, by Kafka's names.
const STATES: [&str; 7] =
    ["Empty", "PreparingRebalance", "CompletingRebalance", "Assigning", "Reconciling", "Stable", "Dead"];

#[derive(Debug, Args)]
struct ListArgs {
    /// Only in this state, such as Stable; may be repeated.
    #[arg(long, value_name = "STATE", value_delimiter = ',', value_parser = one_of(STATES))]
    state: Vec<&'static str>,
    /// Only of this type: classic or consumer.
    #[arg(long = "type", value_name = "TYPE", value_parser = one_of(["classic", "consumer"]))]
    kind: Option<&'static str>,
    #[command(flatten)]
    kafka: KafkaArgs,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Debug, Args)]
struct DescribeArgs {
    /// Name of the group.
    #[arg(value_name = "GROUP")]
    name: String,
    /// Show only the members, with their partitions.
    #[arg(long, conflicts_with = "state")]
    members: bool,
    /// Show only the state.
    #[arg(long)]
    state: bool,
    #[command(flatten)]
    kafka: KafkaArgs,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Debug, Args)]
struct ConfigArgs {
    /// Name of the group; there need not be one yet.
    #[arg(value_name = "GROUP")]
    name: String,
    #[command(flatten)]
    entries: EntryArgs,
}

#[derive(Debug, Args)]
struct DeleteArgs {
    /// Names of the groups.
    #[arg(required = true, value_name = "GROUP")]
    names: Vec<String>,
    /// Do nothing if a group does not exist.
    #[arg(long)]
    if_exists: bool,
    #[command(flatten)]
    kafka: KafkaArgs,
    #[command(flatten)]
    output: OutputArgs,
}

pub(crate) async fn run(args: GroupArgs) -> anyhow::Result<()> {
    match args.command {
        GroupCommand::List(args) => list(args).await,
        GroupCommand::Describe(args) => describe(args).await,
        GroupCommand::ResetOffsets(args) => reset(args).await,
        GroupCommand::DeleteOffsets(args) => delete_offsets(args).await,
        GroupCommand::Config(args) => config(args).await,
        GroupCommand::Delete(args) => delete(args).await,
    }
}

async fn list(args: ListArgs) -> anyhow::Result<()> {
    let client = connect(&args.kafka, "tidelog-group").await?;
    let mut groups = client.list_groups().await?;
    groups.retain(|group| {
        (args.state.is_empty() || args.state.iter().any(|state| group.state.eq_ignore_ascii_case(state)))
            && args.kind.is_none_or(|kind| group.kind.eq_ignore_ascii_case(kind))
    });
    let rows: Vec<_> = groups
        .iter()
        .map(|group| {
            json!({
                "group": group.group, "type": group.kind, "state": group.state, "protocol_type": group.protocol_type,
                "coordinator": group.coordinator.get(),
            })
        })
        .collect();
    show(args.output.output, &rows, || {
        let mut table = Table::new(["GROUP", "TYPE", "STATE", "PROTOCOL", "COORDINATOR"]);
        for group in &groups {
            let coordinator = group.coordinator.to_string();
            table.row([&group.group, &group.kind, &group.state, &group.protocol_type, &coordinator]);
        }
        table.render()
    })
}

#[derive(Serialize)]
struct Described {
    group: String,
    state: String,
    protocol_type: String,
    assignor: String,
    members: Vec<Member>,
    positions: Vec<Position>,
}

#[derive(Serialize)]
struct Member {
    id: String,
    instance_id: Option<String>,
    client_id: String,
    host: String,
    partitions: usize,
}

/// A partition that the group reads, or has read.
#[derive(Serialize)]
struct Position {
    topic: String,
    partition: i32,
    offset: Option<i64>,
    end_offset: Option<i64>,
    lag: Option<i64>,
    member: Option<String>,
    metadata: String,
}

async fn describe(args: DescribeArgs) -> anyhow::Result<()> {
    let client = connect(&args.kafka, "tidelog-group").await?;
    let group = client.describe_group(&args.name).await?;
    if args.state {
        return show_state(&client, &args, &group).await;
    }
    if args.members {
        return show_members(&args, &group);
    }
    let positions = positions(&client, &group).await?;
    let member = |member: &tidelog_client::GroupMember| Member {
        id: member.id.clone(),
        instance_id: member.instance_id.clone(),
        client_id: member.client_id.clone(),
        host: member.host.clone(),
        partitions: member.assignment.len(),
    };
    let described = Described {
        members: group.members.iter().map(member).collect(),
        positions,
        group: group.group,
        state: group.state,
        protocol_type: group.protocol_type,
        assignor: group.protocol,
    };
    show(args.output.output, &described, || described.render())
}

/// What holds of the group as a whole.
async fn show_state(client: &Client, args: &DescribeArgs, group: &GroupDescription) -> anyhow::Result<()> {
    let listed = client.list_groups().await?.into_iter().find(|listed| listed.group == group.group);
    let (kind, coordinator) = listed.map_or((String::new(), None), |one| (one.kind, Some(one.coordinator.get())));
    let row = json!({
        "group": group.group, "type": kind, "coordinator": coordinator, "assignor": group.protocol, "state": group.state,
        "members": group.members.len(),
    });
    show(args.output.output, &row, || {
        let mut table = Table::new(["GROUP", "TYPE", "COORDINATOR", "ASSIGNOR", "STATE", "MEMBERS"]);
        let coordinator = coordinator.map_or_else(|| "-".to_owned(), |node| node.to_string());
        let members = group.members.len().to_string();
        table.row([&group.group, &dash(&kind), &coordinator, &dash(&group.protocol), &group.state, &members]);
        table.render()
    })
}

fn show_members(args: &DescribeArgs, group: &GroupDescription) -> anyhow::Result<()> {
    // Each topic with the numbers of its partitions.
    let topics = |member: &GroupMember| {
        let mut topics: BTreeMap<String, Vec<i32>> = BTreeMap::new();
        for (topic, partition) in &member.assignment {
            topics.entry(topic.clone()).or_default().push(partition.get());
        }
        topics
    };
    let row = |member: &GroupMember| {
        json!({
            "id": member.id, "instance_id": member.instance_id, "client_id": member.client_id, "host": member.host,
            "protocol": member.kind, "assignment": topics(member),
        })
    };
    let rows: Vec<_> = group.members.iter().map(row).collect();
    show(args.output.output, &rows, || {
        let mut table = Table::new(["MEMBER", "INSTANCE", "CLIENT", "HOST", "PROTOCOL", "PARTITIONS"]);
        for member in &group.members {
            let instance = dash(member.instance_id.as_deref().unwrap_or_default());
            let list = |numbers: &[i32]| numbers.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
            let parts: Vec<String> =
                topics(member).iter().map(|(topic, numbers)| format!("{topic}:{}", list(numbers))).collect();
            let parts = dash(&parts.join(" "));
            table.row([&member.id, &instance, &member.client_id, &member.host, &member.kind.to_owned(), &parts]);
        }
        table.render_or(&format!("group {} has no members\n", group.group))
    })
}

fn dash(text: &str) -> String {
    if text.is_empty() { "-".to_owned() } else { text.to_owned() }
}

/// Committed positions and assigned partitions, each once, with the ends of those that still exist.
async fn positions(client: &Client, group: &GroupDescription) -> Result<Vec<Position>, ClientError> {
    let committed = client.committed_offsets(&group.group).await?;
    let owner: BTreeMap<(&str, PartitionIndex), &str> = group
        .members
        .iter()
        .flat_map(|member| member.assignment.iter().map(|(topic, part)| ((topic.as_str(), *part), member.id.as_str())))
        .collect();
    let mut all: BTreeSet<(&str, PartitionIndex)> = owner.keys().copied().collect();
    all.extend(committed.iter().map(|committed| (committed.topic.as_str(), committed.partition)));
    let ends = ends(client, &all).await?;
    let position = |(topic, partition): (&str, PartitionIndex)| {
        let committed = committed.iter().find(|c| c.topic == topic && c.partition == partition);
        let offset = committed.map(|c| c.offset.get());
        let end = ends.get(&(topic.to_owned(), partition)).map(|end| end.get());
        Position {
            topic: topic.to_owned(),
            partition: partition.get(),
            offset,
            end_offset: end,
            lag: offset.zip(end).map(|(offset, end)| end.saturating_sub(offset).max(0)),
            member: owner.get(&(topic, partition)).map(|id| (*id).to_owned()),
            metadata: committed.map(|c| c.metadata.clone()).unwrap_or_default(),
        }
    };
    Ok(all.into_iter().map(position).collect())
}

/// The ends of the partitions that exist.
async fn ends(
    client: &Client,
    wanted: &BTreeSet<(&str, PartitionIndex)>,
) -> Result<BTreeMap<(String, PartitionIndex), Offset>, ClientError> {
    let mut there = Vec::new();
    let mut known: Option<(&str, Option<usize>)> = None;
    for (topic, partition) in wanted {
        if known.is_none_or(|(name, _)| name != *topic) {
            known = match client.topic(topic, false).await {
                Ok(info) => Some((topic, Some(info.partitions.len()))),
                // A group outlives the topics that it has read.
                Err(error) if error.kafka_error() == Some(KafkaError::UnknownTopicOrPartition) => Some((topic, None)),
                Err(error) => return Err(error),
            };
        }
        let count = known.and_then(|(_, count)| count).unwrap_or(0);
        if usize::try_from(partition.get()).is_ok_and(|index| index < count) {
            there.push((*topic, *partition, OffsetQuery::Latest));
        }
    }
    let listed = client.list_offsets(&there, Isolation::ReadUncommitted).await?;
    let found = there.into_iter().zip(listed);
    Ok(found.filter_map(|((topic, partition, _), end)| Some(((topic.to_owned(), partition), end.offset?))).collect())
}

impl Described {
    fn render(&self) -> String {
        let number = |number: Option<i64>| number.map_or_else(|| "-".to_owned(), |number| number.to_string());
        let mut text =
            format!("Group     {}\nState     {}\nAssignor  {}\n", self.group, self.state, dash(&self.assignor));
        if !self.positions.is_empty() {
            let mut table = Table::new(["TOPIC", "PARTITION", "OFFSET", "END", "LAG", "MEMBER"]);
            for p in &self.positions {
                table.row([
                    p.topic.clone(),
                    p.partition.to_string(),
                    number(p.offset),
                    number(p.end_offset),
                    number(p.lag),
                    dash(p.member.as_deref().unwrap_or_default()),
                ]);
            }
            text.push('\n');
            text.push_str(&table.render());
        }
        if !self.members.is_empty() {
            let mut table = Table::new(["MEMBER", "INSTANCE", "CLIENT", "HOST", "PARTITIONS"]);
            for member in &self.members {
                let instance = dash(member.instance_id.as_deref().unwrap_or_default());
                let partitions = member.partitions.to_string();
                table.row([&member.id, &instance, &member.client_id, &member.host, &partitions]);
            }
            text.push('\n');
            text.push_str(&table.render());
        }
        text
    }
}

async fn config(args: ConfigArgs) -> anyhow::Result<()> {
    let client = connect(&args.entries.kafka, "tidelog-group").await?;
    let (resource, name) = (ConfigResource::Group(args.name.clone()), format!("group {}", args.name));
    entries::run(&client, &args.entries, &resource, &name, |entry| entry.source == "group").await
}

/// A group that is in use is told with the way out.
fn with_members(error: ClientError) -> ClientError {
    match error {
        ClientError::Kafka { error: error @ KafkaError::NonEmptyGroup, what, message } => {
            let message = format!("{message}; stop its members first (`tidelog group describe` names them)");
            ClientError::Kafka { error, what, message }
        }
        other => other,
    }
}

async fn delete(args: DeleteArgs) -> anyhow::Result<()> {
    let client = connect(&args.kafka, "tidelog-group").await?;
    let (mut done, mut failed) = (Vec::new(), None);
    for name in &args.names {
        match client.delete_group(name).await {
            Ok(()) => done.push(name),
            Err(error) if args.if_exists && error.kafka_error() == Some(KafkaError::GroupIdNotFound) => {}
            Err(error) => failed = Some(topic::report(failed, with_members(error))),
        }
    }
    let deleted: Vec<_> = done.iter().map(|name| json!({ "group": name, "deleted": true })).collect();
    show(args.output.output, &deleted, || done.iter().map(|name| format!("deleted {name}\n")).collect())?;
    failed.map_or(Ok(()), |error| Err(error.into()))
}
