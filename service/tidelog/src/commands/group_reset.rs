//! `tidelog group reset-offsets`: where a group shall go on reading. As with Kafka's own tool nothing moves before `--execute`.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use anyhow::{Context, bail};
use clap::Args;
use serde::Serialize;
use tidelog_client::{Client, CommittedOffset, Isolation, OffsetQuery};
use tidelog_model::{KafkaError, LeaderEpoch, Offset, PartitionIndex, Timestamp};

use super::connect;
use super::parse::{duration, time};
use crate::cli::{KafkaArgs, OutputArgs};
use crate::output::{Table, Usage, counted, note, show};

#[derive(Debug, Args)]
pub(crate) struct ResetArgs {
    /// Name of the group; it must have no members.
    #[arg(value_name = "GROUP")]
    group: String,
    /// A topic, or some of its partitions as `orders:0,3`; may be repeated.
    #[arg(short, long, value_name = "TOPIC[:N,...]", value_parser = selection)]
    topic: Vec<Selection>,
    /// Every partition of which the group has a position.
    #[arg(long, conflicts_with = "topic")]
    all_topics: bool,
    #[command(flatten)]
    target: TargetArgs,
    /// Move the positions instead of only saying where to.
    #[arg(long)]
    execute: bool,
    #[command(flatten)]
    kafka: KafkaArgs,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct TargetArgs {
    /// To the first offset that exists.
    #[arg(long)]
    to_earliest: bool,
    /// To the end.
    #[arg(long)]
    to_latest: bool,
    /// To where it is; a partition without a position gets its end.
    #[arg(long)]
    to_current: bool,
    /// To this offset, or as near as the partition reaches.
    #[arg(long, value_name = "OFFSET", allow_negative_numbers = true, value_parser = clap::value_parser!(i64).range(0..))]
    to_offset: Option<i64>,
    /// By this many records, back if negative.
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    shift_by: Option<i64>,
    /// To the first record with this time or a later one, as 2026-11-21T10:00:00Z.
    #[arg(long, value_name = "TIME", value_parser = time)]
    to_datetime: Option<Timestamp>,
    /// To the first record that is younger than this, as 90m or 7d.
    #[arg(long, value_name = "TIME", value_parser = duration)]
    by_duration: Option<Duration>,
}

/// Partitions of one topic; all if none is named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Selection {
    topic: String,
    partitions: Vec<PartitionIndex>,
}

pub(super) fn selection(text: &str) -> Result<Selection, String> {
    let (topic, list) = text.split_once(':').unwrap_or((text, ""));
    let number = |text: &str| text.trim().parse().ok().filter(|number| *number >= 0).map(PartitionIndex);
    let partitions: Option<Vec<_>> = list.split(',').filter(|_| !list.is_empty()).map(number).collect();
    match partitions {
        Some(partitions) if !topic.is_empty() => Ok(Selection { topic: topic.to_owned(), partitions }),
        _ => Err("expected TOPIC or TOPIC:N,N".into()),
    }
}

/// Where to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Target {
    Earliest,
    Latest,
    Current,
    Offset(i64),
    Shift(i64),
    Time(Timestamp),
}

impl TargetArgs {
    fn target(&self) -> anyhow::Result<Target> {
        let since = |ago: Duration| -> anyhow::Result<Timestamp> {
            let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).context("the clock is before 1970")?;
            Ok(Timestamp(i64::try_from(now.saturating_sub(ago).as_millis()).unwrap_or(i64::MAX)))
        };
        Ok(match self {
            TargetArgs { to_offset: Some(offset), .. } => Target::Offset(*offset),
            TargetArgs { shift_by: Some(by), .. } => Target::Shift(*by),
            TargetArgs { to_datetime: Some(time), .. } => Target::Time(*time),
            TargetArgs { by_duration: Some(ago), .. } => Target::Time(since(*ago)?),
            TargetArgs { to_latest: true, .. } => Target::Latest,
            TargetArgs { to_current: true, .. } => Target::Current,
            TargetArgs { .. } => Target::Earliest,
        })
    }
}

/// What a partition is known to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Known {
    start: i64,
    end: i64,
    committed: Option<i64>,
    /// The first offset of the time asked for; `None` if no record is that late.
    at_time: Option<i64>,
}

/// The new position, always between the partition's start and end. A shift needs a position to begin from.
fn new_position(target: Target, known: Known) -> Option<i64> {
    let wanted = match target {
        Target::Earliest => known.start,
        Target::Latest => known.end,
        Target::Current => known.committed.unwrap_or(known.end),
        Target::Offset(offset) => offset,
        Target::Shift(by) => known.committed?.saturating_add(by),
        Target::Time(_) => known.at_time.unwrap_or(known.end),
    };
    Some(wanted.clamp(known.start.min(known.end), known.end))
}

#[derive(Serialize)]
struct Row {
    topic: String,
    partition: i32,
    offset: Option<i64>,
    new_offset: i64,
}

pub(crate) async fn reset(args: ResetArgs) -> anyhow::Result<()> {
    if args.topic.is_empty() && !args.all_topics {
        bail!(Usage(
            "say what is to move: --topic TOPIC, --topic TOPIC:0,3 for some of its partitions, or --all-topics".into()
        ));
    }
    let target = args.target.target()?;
    let client = connect(&args.kafka, "tidelog-group").await?;
    match client.describe_group(&args.group).await {
        Ok(group) if group.state != "Empty" => bail!(
            "group `{}` is {} with {}; stop them first: they would go on from their own positions",
            args.group,
            group.state,
            counted(group.members.len(), "member")
        ),
        // A group may get positions before it has ever had a member; of one that is not there, none can be meant.
        Err(error) if args.all_topics || error.kafka_error() != Some(KafkaError::GroupIdNotFound) => {
            return Err(error.into());
        }
        _ => {}
    }
    let committed: BTreeMap<(String, PartitionIndex), CommittedOffset> =
        match client.committed_offsets(&args.group).await {
            Ok(committed) => committed.into_iter().map(|c| ((c.topic.clone(), c.partition), c)).collect(),
            Err(error) if error.kafka_error() == Some(KafkaError::GroupIdNotFound) => BTreeMap::new(),
            Err(error) => return Err(error.into()),
        };
    let wanted = match args.all_topics {
        true => committed.keys().cloned().collect(),
        false => partitions(&client, &args.topic).await?,
    };
    if wanted.is_empty() {
        bail!(Usage(format!("group `{}` has no positions; name its topics with --topic", args.group)));
    }
    let mut rows = Vec::new();
    for ((topic, partition), known) in wanted.iter().zip(look_up(&client, &wanted, target, &committed).await?) {
        match new_position(target, known) {
            Some(new_offset) => {
                rows.push(Row { topic: topic.clone(), partition: partition.get(), offset: known.committed, new_offset })
            }
            None => note(&format!("{topic}-{partition} has no position that could be shifted; it is left out")),
        }
    }
    if args.execute {
        let commit = |row: &Row| CommittedOffset {
            topic: row.topic.clone(),
            partition: PartitionIndex(row.partition),
            offset: Offset(row.new_offset),
            leader_epoch: LeaderEpoch(-1),
            metadata: String::new(),
        };
        client.commit_offsets(&args.group, &rows.iter().map(commit).collect::<Vec<_>>()).await?;
    } else {
        note("nothing has moved; --execute moves the positions");
    }
    show(args.output.output, &rows, || {
        let mut table = Table::new(["TOPIC", "PARTITION", "OFFSET", "NEW OFFSET"]);
        for row in &rows {
            let offset = row.offset.map_or_else(|| "-".to_owned(), |offset| offset.to_string());
            table.row([row.topic.clone(), row.partition.to_string(), offset, row.new_offset.to_string()]);
        }
        table.render()
    })
}

/// The partitions of a selection, each once.
pub(super) async fn partitions(
    client: &Client,
    selected: &[Selection],
) -> anyhow::Result<Vec<(String, PartitionIndex)>> {
    let mut all = std::collections::BTreeSet::new();
    for Selection { topic, partitions } in selected {
        let info = client.topic(topic, false).await?;
        match partitions.is_empty() {
            true => all.extend(info.partitions.iter().map(|partition| (topic.clone(), partition.index))),
            // One that does not exist is refused where its offsets are looked up.
            false => all.extend(partitions.iter().map(|partition| (topic.clone(), *partition))),
        }
    }
    Ok(all.into_iter().collect())
}

async fn look_up(
    client: &Client,
    wanted: &[(String, PartitionIndex)],
    target: Target,
    committed: &BTreeMap<(String, PartitionIndex), CommittedOffset>,
) -> anyhow::Result<Vec<Known>> {
    let ask = async |query: OffsetQuery| -> anyhow::Result<Vec<Option<i64>>> {
        let targets: Vec<_> = wanted.iter().map(|(topic, partition)| (topic.as_str(), *partition, query)).collect();
        let listed = client.list_offsets(&targets, Isolation::ReadUncommitted).await?;
        Ok(listed.into_iter().map(|listed| listed.offset.map(Offset::get)).collect())
    };
    let (starts, ends) = (ask(OffsetQuery::Earliest).await?, ask(OffsetQuery::Latest).await?);
    let times = match target {
        Target::Time(time) => ask(OffsetQuery::AtOrAfter(time)).await?,
        _ => vec![None; wanted.len()],
    };
    let known = wanted.iter().zip(starts).zip(ends).zip(times);
    Ok(known
        .map(|(((partition, start), end), at_time)| Known {
            start: start.unwrap_or(0),
            end: end.unwrap_or(0),
            committed: committed.get(partition).map(|committed| committed.offset.get()),
            at_time,
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selections_are_topics_with_partitions() {
        let selected = |text: &str| selection(text).map(|s| (s.topic, s.partitions.iter().map(|p| p.0).collect()));
        assert_eq!(selected("orders"), Ok(("orders".to_owned(), vec![])));
        assert_eq!(selected("orders:0, 3"), Ok(("orders".to_owned(), vec![0, 3])));
        for bad in ["", ":1", "a:x", "a:-1", "a:1,"] {
            assert!(selection(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn new_positions_lie_within_the_partition() {
        let known = Known { start: 10, end: 20, committed: Some(15), at_time: Some(12) };
        let cases = [
            (Target::Earliest, Some(10)),
            (Target::Latest, Some(20)),
            (Target::Current, Some(15)),
            (Target::Offset(13), Some(13)),
            (Target::Offset(3), Some(10)),
            (Target::Offset(99), Some(20)),
            (Target::Shift(-3), Some(12)),
            (Target::Shift(i64::MIN), Some(10)),
            (Target::Shift(i64::MAX), Some(20)),
            (Target::Time(Timestamp(1)), Some(12)),
        ];
        for (target, expected) in cases {
            assert_eq!(new_position(target, known), expected, "{target:?}");
        }
        let new = Known { committed: None, at_time: None, ..known };
        assert_eq!(new_position(Target::Shift(1), new), None);
        assert_eq!(new_position(Target::Current, new), Some(20));
        assert_eq!(new_position(Target::Time(Timestamp(1)), new), Some(20), "no record is that late");
    }
}
