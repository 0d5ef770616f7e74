//! `tidelog consume`: records out of a topic, in offset order per partition.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::time::{Duration, Instant};

use anyhow::bail;
use clap::Args;
use tidelog_client::{
    Client, ClientError, Consumer, ConsumerOptions, Fetched, Isolation, OffsetQuery, OutOfRange, TopicInfo,
};
use tidelog_model::{KafkaError, Offset, PartitionIndex};

use super::parse::{Position, duration, position};
use super::record_line::{LineFormat, write_json};
use super::topic::{has_partition, is_json};
use super::waiting::{Told, telling, waiting};
use super::{connect, consume_group, tail};
use crate::cli::{KafkaArgs, OutputArgs};
use crate::output::{Interrupted, note};

/// How long one poll may wait; only decides how often Ctrl-C and the end are looked at.
const POLL: Duration = Duration::from_secs(1);

#[derive(Debug, Args)]
pub(crate) struct ConsumeArgs {
    /// Name of the topic.
    topic: String,
    /// Where to begin: beginning, end, an offset, -N for N records before the end of each partition, a time such as
    /// 2026-11-21T10:00:00Z, or a day (its beginning in UTC).
    #[arg(long, default_value = "beginning", value_name = "POSITION", value_parser = position, allow_hyphen_values = true)]
    from: Position,
    /// Read only this partition; may be repeated.
    #[arg(short, long, value_name = "N", allow_negative_numbers = true, value_parser = clap::value_parser!(i32).range(0..))]
    partition: Vec<i32>,
    /// Stop after this many records.
    #[arg(short = 'n', long, value_name = "N")]
    pub(super) limit: Option<u64>,
    /// Do not stop at the end of the topic: wait for new records until Ctrl-C.
    #[arg(short, long)]
    pub(super) follow: bool,
    /// How to print a record: %t topic, %p partition, %o offset, %k key, %s value, %T timestamp, %h headers, %K and %S sizes,
    /// %% percent; \n \t \r \0 \\.
    #[arg(long, default_value = "%s\\n", value_name = "FORMAT", value_parser = LineFormat::parse)]
    format: LineFormat,
    /// Show records of open and aborted transactions too.
    #[arg(long)]
    read_uncommitted: bool,
    /// Give up when there is more to read and the server has brought nothing for so long.
    #[arg(long, value_name = "TIME", default_value = "2m", value_parser = duration)]
    pub(super) timeout: Duration,
    /// Read as a member of this group, from its positions on, and commit what was printed; where it has no position, --from counts.
    #[arg(short, long, value_name = "GROUP", conflicts_with = "partition")]
    group: Option<String>,
    #[command(flatten)]
    kafka: KafkaArgs,
    #[command(flatten)]
    output: OutputArgs,
}

impl ConsumeArgs {
    /// The server's addresses, as they were given.
    pub(super) fn brokers(&self) -> &str {
        &self.kafka.brokers
    }
}

pub(crate) async fn run(args: ConsumeArgs) -> anyhow::Result<()> {
    let client = connect(&args.kafka, "tidelog-consume").await?;
    let brokers = args.kafka.brokers.clone();
    let reach = Reach { client: &client, brokers: &brokers, timeout: args.timeout, started: Instant::now() };
    let topic = reach.within(client.topic(&args.topic, false)).await?;
    let isolation = if args.read_uncommitted { Isolation::ReadUncommitted } else { Isolation::ReadCommitted };
    if let Some(group) = &args.group {
        return consume_group::run(&client, &args, &topic, group, isolation).await;
    }
    // A position that was looked up may fall to retention before it is read; one that the user named is an error.
    let out_of_range = if matches!(args.from, Position::At(_)) { OutOfRange::Fail } else { OutOfRange::Earliest };
    let patience = Some(args.timeout);
    let options = ConsumerOptions { isolation, out_of_range, patience, ..ConsumerOptions::default() };
    let mut consumer = Consumer::new(&client, options);
    let mut ends = BTreeMap::new();
    // Before the ends of what may be read: what is written between the two is no open transaction.
    let written = match (isolation, args.follow) {
        (Isolation::ReadCommitted, false) => reach.within(written_ends(&client, &topic, &args)).await?,
        _ => BTreeMap::new(),
    };
    let ranges = reach.within(range(&client, &topic, &args, isolation)).await?;
    let held_up: Vec<String> = ranges
        .iter()
        .filter_map(|(partition, _, end)| held_up(&topic.name, *partition, *end, *written.get(partition)?))
        .collect();
    if let Position::At(offset) = args.from
        && let Some((partition, _, end)) = ranges.iter().max_by_key(|(_, _, end)| *end)
        && offset > *end
    {
        bail!(ClientError::Kafka {
            error: KafkaError::OffsetOutOfRange,
            what: format!("offset {offset}"),
            message: format!("no partition reaches that far; {}-{partition} ends at {end}", topic.name),
        });
    }
    if let Position::At(offset) = args.from {
        not_before(&client, &topic, &ranges, offset, isolation).await?;
    }
    for (partition, start, end) in ranges {
        if args.follow || start < end {
            consumer.assign(&args.topic, partition, start);
            ends.insert(partition, end);
        }
    }
    let mut printer = Printer::new(&args);
    tokio::select! {
        result = follow(&mut consumer, &mut printer, &args, &mut ends) => {
            if result.is_ok() && !printer.is_over() {
                held_up.iter().for_each(|line| note(line));
            }
            result
        }
        // Ctrl-C is how following ends, unless it was to end by itself; what was read is printed.
        _ = tokio::signal::ctrl_c() => match args.follow && args.limit.is_none() {
            true => Ok(()),
            false => Err(Interrupted.into()),
        },
    }
}

/// What is asked before anything is read: it has the patience of one read altogether.
struct Reach<'a> {
    client: &'a Client,
    brokers: &'a str,
    timeout: Duration,
    started: Instant,
}

impl Reach<'_> {
    async fn within<T, E: Into<anyhow::Error>>(&self, work: impl Future<Output = Result<T, E>>) -> anyhow::Result<T> {
        let why = || self.client.obstacle();
        let obstacle = || why().map(|why| waiting(self.brokers, "to say what there is", Some(&why)));
        let left = self.timeout.saturating_sub(self.started.elapsed());
        match tokio::time::timeout(left, telling(obstacle, work)).await {
            Ok(done) => done.map_err(Into::into),
            Err(_) => {
                let why = why().map(|why| format!(": {why}")).unwrap_or_default();
                bail!("the server has not said within {:?} what there is{why}", self.timeout)
            }
        }
    }
}

/// Refuses an offset that a partition has no more, and says where it begins.
async fn not_before(
    client: &Client,
    topic: &TopicInfo,
    ranges: &[(PartitionIndex, Offset, Offset)],
    offset: Offset,
    isolation: Isolation,
) -> anyhow::Result<()> {
    let query: Vec<_> = ranges.iter().map(|(p, ..)| (topic.name.as_str(), *p, OffsetQuery::Earliest)).collect();
    let starts = client.list_offsets(&query, isolation).await?;
    for ((partition, ..), start) in ranges.iter().zip(starts) {
        if let Some(start) = start.offset.filter(|start| offset < *start) {
            bail!(ClientError::Kafka {
                error: KafkaError::OffsetOutOfRange,
                what: format!("offset {offset}"),
                message: format!("{}-{partition} begins at {start}", topic.name),
            });
        }
    }
    Ok(())
}

async fn follow(
    consumer: &mut Consumer,
    printer: &mut Printer<'_>,
    args: &ConsumeArgs,
    ends: &mut BTreeMap<PartitionIndex, Offset>,
) -> anyhow::Result<()> {
    let (mut told, mut since) = (Told::default(), Instant::now());
    while consumer.assigned() > 0 && !printer.is_over() {
        let Some(fetched) = consumer.poll(POLL).await? else {
            // What was to be read may have fallen to retention meanwhile.
            let passed = |partition: PartitionIndex, end: Offset| {
                !args.follow && consumer.position(&args.topic, partition).is_some_and(|position| position >= end)
            };
            let over: Vec<_> = ends.iter().filter(|(part, end)| passed(**part, **end)).map(|(part, _)| *part).collect();
            over.into_iter().for_each(|partition| consumer.unassign(&args.topic, partition));
            let due = if args.follow { None } else { first_due(consumer, args, ends) };
            let why = consumer.obstacle().map(ToString::to_string);
            if due.is_some() || why.is_some() {
                let what = due.as_ref().map_or_else(|| "to bring records".into(), |due| format!("to bring {due}"));
                told.tell(Some(waiting(&args.kafka.brokers, &what, why.as_deref())));
            }
            if let Some(due) = due
                && since.elapsed() >= args.timeout
            {
                bail!("the server has not brought {due} within {:?}, though there is more", args.timeout);
            }
            continue;
        };
        since = Instant::now();
        let end = if args.follow { None } else { ends.get(&fetched.partition).copied() };
        printer.print(&fetched, end)?;
        if end.is_some_and(|end| fetched.next >= end) {
            consumer.unassign(&args.topic, fetched.partition);
        }
    }
    Ok(())
}

/// The partitions to read: one that nobody wants may have no leader.
fn wanted(topic: &TopicInfo, args: &ConsumeArgs) -> Vec<PartitionIndex> {
    let all = topic.partitions.iter().map(|partition| partition.index);
    all.filter(|partition| args.partition.is_empty() || args.partition.contains(&partition.get())).collect()
}

/// The end of every partition to read, whatever is open there.
async fn written_ends(
    client: &Client,
    topic: &TopicInfo,
    args: &ConsumeArgs,
) -> Result<BTreeMap<PartitionIndex, Offset>, ClientError> {
    let partitions = wanted(topic, args).into_iter();
    let all: Vec<_> = partitions.map(|partition| (topic.name.as_str(), partition, OffsetQuery::Latest)).collect();
    let listed = client.list_offsets(&all, Isolation::ReadUncommitted).await?;
    Ok(all.iter().zip(listed).filter_map(|((_, index, _), listed)| Some((*index, listed.offset?))).collect())
}

/// What readers of committed records do not see yet of a partition: it ends at `end` for them, and was written up to `written`.
fn held_up(topic: &str, partition: PartitionIndex, end: Offset, written: Offset) -> Option<String> {
    (end < written).then(|| {
        format!(
            "{topic}-{partition}: what begins at offset {end} (the end is {written}) waits for an open transaction; `tidelog txn \
             describe-producers {topic} -p {partition}` shows whose, --read-uncommitted reads on"
        )
    })
}

/// What is still to come of the first partition that has not reached its end.
fn first_due(consumer: &Consumer, args: &ConsumeArgs, ends: &BTreeMap<PartitionIndex, Offset>) -> Option<String> {
    ends.iter().find_map(|(partition, end)| {
        let position = consumer.position(&args.topic, *partition).filter(|position| position < end)?;
        Some(format!("partition {}-{partition} from offset {position} on", args.topic))
    })
}

/// First and end offset of every partition to read.
pub(super) async fn range(
    client: &Client,
    topic: &TopicInfo,
    args: &ConsumeArgs,
    isolation: Isolation,
) -> anyhow::Result<Vec<(PartitionIndex, Offset, Offset)>> {
    for wanted in &args.partition {
        has_partition(topic, PartitionIndex(*wanted))?;
    }
    let partitions = wanted(topic, args);
    let query = |query| partitions.iter().map(|p| (topic.name.as_str(), *p, query)).collect::<Vec<_>>();
    let look_up = async |kind| -> anyhow::Result<Vec<Option<Offset>>> {
        let listed = client.list_offsets(&query(kind), isolation).await?;
        Ok(listed.into_iter().map(|listed| listed.offset).collect())
    };
    let ends = look_up(OffsetQuery::Latest).await?;
    let starts = match args.from {
        Position::Beginning | Position::BeforeEnd(_) => look_up(OffsetQuery::Earliest).await?,
        Position::End => ends.clone(),
        Position::At(offset) => vec![Some(offset); partitions.len()],
        Position::Time(time) => look_up(OffsetQuery::AtOrAfter(time)).await?,
    };
    let mut ranges = Vec::with_capacity(partitions.len());
    for ((partition, start), end) in partitions.into_iter().zip(starts).zip(ends) {
        let end = end.unwrap_or(Offset::ZERO);
        // No record is that late: begin at the end.
        let mut start = start.unwrap_or(end);
        if let Position::BeforeEnd(count) = args.from {
            start = tail::start(client, (&topic.name, partition), start..end, count, isolation).await?;
        }
        ranges.push((partition, start, end));
    }
    Ok(ranges)
}

pub(super) struct Printer<'a> {
    json: bool,
    format: &'a LineFormat,
    left: Option<u64>,
    buffer: Vec<u8>,
}

impl<'a> Printer<'a> {
    pub(super) fn new(args: &'a ConsumeArgs) -> Self {
        Printer { json: is_json(&args.output), format: &args.format, left: args.limit, buffer: Vec::new() }
    }

    /// Has everything been printed that was wanted?
    pub(super) fn is_over(&self) -> bool {
        self.left == Some(0)
    }

    /// Prints the records below `end`, as many as are left; answers the offset behind what was printed.
    pub(super) fn print(&mut self, fetched: &Fetched, end: Option<Offset>) -> anyhow::Result<Offset> {
        let mut out = io::stdout().lock();
        let mut next = fetched.next;
        for record in fetched.records() {
            let record = record?;
            if self.left == Some(0) || end.is_some_and(|end| record.offset >= end) {
                next = record.offset;
                break;
            }
            self.left = self.left.map(|left| left.saturating_sub(1));
            match self.json {
                true => write_json(&mut self.buffer, &fetched.topic, fetched.partition, &record)?,
                false => self.format.write(&mut self.buffer, &fetched.topic, fetched.partition, &record),
            }
            if self.buffer.len() >= 64 * 1024 {
                out.write_all(&self.buffer)?;
                self.buffer.clear();
            }
        }
        out.write_all(&self.buffer)?;
        self.buffer.clear();
        out.flush()?;
        Ok(next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_behind_the_last_stable_offset_is_held_up() {
        let told = |end, written| held_up("t", PartitionIndex(3), Offset(end), Offset(written));
        assert_eq!((told(2, 2), told(3, 2)), (None, None));
        let line = told(0, 2).unwrap();
        assert!(
            line.starts_with("t-3: what begins at offset 0 (the end is 2) waits for an open transaction"),
            "{line}"
        );
    }
}
