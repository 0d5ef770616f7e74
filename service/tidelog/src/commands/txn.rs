//! `tidelog txn`: transactional ids, the end of their transactions, and transactions that hang (KIP-664).

use std::collections::BTreeMap;
use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::json;
use tidelog_client::{ActiveProducer, Client, ClientError, TransactionQuery};
use tidelog_coordinator::partition_for;
use tidelog_coordinator::transaction::TransactionState;
use tidelog_model::{KafkaError, LeaderEpoch, Offset, PartitionIndex};

use super::connect;
use super::parse::{duration, one_of};
use super::txn_producers::{
    HangingArgs, ProducersArgs, describe_producers, ended_by_coordinator, find_hanging, must_see_all,
};
use crate::cli::{KafkaArgs, OutputArgs};
use crate::output::{Table, show, time_for_people};

/// States in which a transaction is open, or not ended in every partition.
const OPEN: [&str; 3] = ["Ongoing", "PrepareCommit", "PrepareAbort"];

#[derive(Debug, Args)]
pub(crate) struct TxnArgs {
    #[command(subcommand)]
    command: TxnCommand,
}

#[derive(Debug, Subcommand)]
enum TxnCommand {
    /// List transactional ids.
    List(ListArgs),
    /// Show a transactional id's producer, state and partitions.
    Describe(IdArgs),
    /// Show the producers that a partition remembers, and where their open transactions begin.
    DescribeProducers(ProducersArgs),
    /// Find transactions that are open in a partition, and that no coordinator will end.
    FindHanging(HangingArgs),
    /// Abort a transaction that hangs, in one partition.
    ///
    /// `find-hanging` finds such transactions. One that its coordinator knows and will end is refused without --force (`terminate` ends
    /// that); with it, the coordinator goes on showing the transaction as Ongoing until the producer ends it or it times out. Who may not
    /// see every transactional id is refused, too: a living transaction would look like one that hangs.
    Abort(AbortArgs),
    /// Abort the open transaction of a transactional id, in all its partitions, and fence its producer.
    ///
    /// Its coordinator does both, as when another instance of the producer begins.
    Terminate(IdArgs),
}

#[derive(Debug, Args)]
struct ListArgs {
    /// Only in this state, such as Ongoing; may be repeated.
    #[arg(long, value_name = "STATE", value_parser = one_of(TransactionState::ALL.iter().map(|state| state.name())))]
    state: Vec<&'static str>,
    /// Only of this producer; may be repeated.
    #[arg(long, value_name = "ID")]
    producer_id: Vec<i64>,
    /// Only transactions that have been open for longer than this, such as 5m.
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    longer_than: Option<Duration>,
    /// Only transactional ids that this regular expression matches as a whole.
    #[arg(long, value_name = "REGEX")]
    pattern: Option<String>,
    #[command(flatten)]
    kafka: KafkaArgs,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Debug, Args)]
struct IdArgs {
    /// The transactional id.
    #[arg(value_name = "ID")]
    id: String,
    #[command(flatten)]
    kafka: KafkaArgs,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Debug, Args)]
struct AbortArgs {
    /// Name of the topic.
    topic: String,
    /// The partition.
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(i32).range(0..))]
    partition: i32,
    #[command(flatten)]
    which: WhichArgs,
    /// The producer's epoch.
    #[arg(long, value_name = "EPOCH", requires = "producer_id")]
    producer_epoch: Option<i16>,
    /// The epoch of the coordinator that wrote the producer's last marker; the partition knows it.
    #[arg(long, value_name = "EPOCH", requires = "producer_id", value_parser = clap::value_parser!(i32).range(0..))]
    coordinator_epoch: Option<i32>,
    /// Abort it even if its coordinator will end it.
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    kafka: KafkaArgs,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct WhichArgs {
    /// The one that begins at this offset.
    #[arg(long, value_name = "OFFSET", value_parser = clap::value_parser!(i64).range(0..))]
    start_offset: Option<i64>,
    /// The one of this producer.
    #[arg(long, value_name = "ID", requires = "producer_epoch")]
    producer_id: Option<i64>,
}

pub(crate) async fn run(args: TxnArgs) -> anyhow::Result<()> {
    match args.command {
        TxnCommand::List(args) => list(args).await,
        TxnCommand::Describe(args) => describe(args).await,
        TxnCommand::DescribeProducers(args) => describe_producers(args).await,
        TxnCommand::FindHanging(args) => find_hanging(args).await,
        TxnCommand::Abort(args) => abort(args).await,
        TxnCommand::Terminate(args) => terminate(args).await,
    }
}

async fn list(args: ListArgs) -> anyhow::Result<()> {
    let client = connect(&args.kafka, "tidelog-txn").await?;
    let mut states = args.state;
    if states.is_empty() && args.longer_than.is_some() {
        // As in Kafka a server counts from 1970 where no transaction is open.
        states.extend(OPEN);
    }
    let query = TransactionQuery {
        states: states.into_iter().map(str::to_owned).collect(),
        producer_ids: args.producer_id,
        longer_than_ms: args.longer_than.map(|least| i64::try_from(least.as_millis()).unwrap_or(i64::MAX)),
        pattern: args.pattern,
    };
    let listed = client.list_transactions(&query).await?;
    let rows: Vec<_> = listed
        .iter()
        .map(|one| {
            json!({
                "id": one.id, "coordinator": one.coordinator.get(), "producer_id": one.producer_id, "state": one.state,
            })
        })
        .collect();
    show(args.output.output, &rows, || {
        let mut table = Table::new(["ID", "STATE", "PRODUCER", "COORDINATOR"]);
        for one in &listed {
            table.row([&one.id, &one.state, &one.producer_id.to_string(), &one.coordinator.to_string()]);
        }
        table.render()
    })
}

async fn describe(args: IdArgs) -> anyhow::Result<()> {
    let client = connect(&args.kafka, "tidelog-txn").await?;
    let found = client.describe_transaction(&args.id).await?;
    let partitions: Vec<_> =
        found.partitions.iter().map(|(topic, index)| json!({ "topic": topic, "partition": index.get() })).collect();
    let shown = json!({
        "id": found.id, "state": found.state, "producer_id": found.producer_id, "producer_epoch": found.producer_epoch,
        "timeout_ms": found.timeout_ms, "started": found.started_ms, "partitions": partitions,
    });
    show(args.output.output, &shown, || {
        let started = found.started_ms.map_or_else(|| "-".to_owned(), time_for_people);
        let mut text = format!(
            "Id         {}\nState      {}\nProducer   {}, epoch {}\nTime-out   {} ms\nStarted    {started}\n",
            found.id, found.state, found.producer_id, found.producer_epoch, found.timeout_ms
        );
        if !found.partitions.is_empty() {
            let mut table = Table::new(["TOPIC", "PARTITION"]);
            for (topic, index) in &found.partitions {
                table.row([topic.clone(), index.to_string()]);
            }
            text.push('\n');
            text.push_str(&table.render());
        }
        text
    })
}

async fn abort(args: AbortArgs) -> anyhow::Result<()> {
    let client = connect(&args.kafka, "tidelog-txn").await?;
    let partition = PartitionIndex(args.partition);
    let found = open_there(&client, &args.topic, partition, &args.which).await?;
    let producer = ActiveProducer {
        epoch: args.producer_epoch.unwrap_or(found.epoch),
        coordinator_epoch: args.coordinator_epoch.unwrap_or(found.coordinator_epoch),
        ..found
    };
    let own = own_coordinator_epoch(&client, &producer).await?.map(|own| own.max(found.coordinator_epoch));
    if own.is_none() && producer.coordinator_epoch > found.coordinator_epoch {
        must_see_all(&client, producer.id, ", and which epoch its coordinator has").await?;
    }
    anyhow::ensure!(
        own.is_none_or(|own| producer.coordinator_epoch <= own),
        "with the epoch {} the partition would refuse the producer's coordinator from then on, whose epoch is {}",
        producer.coordinator_epoch,
        own.unwrap_or_default()
    );
    if !args.force
        && let Some(known) = ended_by_coordinator(&client, &args.topic, partition, &producer).await?
    {
        anyhow::bail!(
            "this transaction does not hang: its coordinator knows it as {} of the transactional id {} and ends it {} ms after it began \
             at the latest; `tidelog txn terminate` has it ended now, --force aborts it here behind the back of both",
            known.state,
            known.id,
            known.timeout_ms
        );
    }
    client.abort_in_partition(&args.topic, partition, &producer).await?;
    let shown = json!({
        "topic": args.topic, "partition": args.partition, "producer_id": producer.id, "producer_epoch": producer.epoch,
        "aborted": true,
    });
    show(args.output.output, &shown, || {
        format!("aborted the transaction of producer {} in {}-{partition}\n", producer.id, args.topic)
    })
}

async fn terminate(args: IdArgs) -> anyhow::Result<()> {
    let client = connect(&args.kafka, "tidelog-txn").await?;
    let found = client.describe_transaction(&args.id).await?;
    if found.state != TransactionState::Ongoing.name() {
        let error = KafkaError::ResourceNotFound;
        let message = format!("no transaction is open, its state is {}", found.state);
        return Err(ClientError::Kafka { error, what: format!("transactional id `{}`", args.id), message }.into());
    }
    // A new instance says how long its transactions may take: what the fenced one said goes on to hold.
    let (producer_id, epoch) = client.fence_producer(&args.id, found.timeout_ms).await?;
    let shown = json!({
        "id": args.id, "producer_id": producer_id, "producer_epoch": epoch, "terminated": true,
    });
    show(args.output.output, &shown, || {
        format!("aborted the transaction of {} and fenced its producer {}\n", args.id, found.producer_id)
    })
}

/// The epoch of the coordinator that ends this producer's transactions; `None` if no coordinator knows it. A marker of a higher one would
/// shut it out of the partition, and the producer's next transactions would never end there.
async fn own_coordinator_epoch(client: &Client, producer: &ActiveProducer) -> Result<Option<i32>, ClientError> {
    let query = TransactionQuery { producer_ids: vec![producer.id], ..TransactionQuery::default() };
    let Some(known) = client.list_transactions(&query).await?.into_iter().next() else { return Ok(None) };
    Ok(epoch_of(&known.id, &client.coordinator_epochs().await?))
}

/// The epoch of the coordinator of this transactional id.
fn epoch_of(id: &str, epochs: &BTreeMap<PartitionIndex, LeaderEpoch>) -> Option<i32> {
    let count = i32::try_from(epochs.len()).ok()?;
    epochs.get(&partition_for(id, count)).map(|epoch| epoch.get())
}

/// The producer whose open transaction is meant.
async fn open_there(
    client: &Client,
    topic: &str,
    partition: PartitionIndex,
    which: &WhichArgs,
) -> Result<ActiveProducer, ClientError> {
    let producers = client.active_producers(topic, partition).await?;
    let mut open = producers.into_iter().filter(|producer| producer.transaction_start.is_some());
    let (found, lacks) = match (which.producer_id, which.start_offset) {
        (Some(id), _) => {
            (open.find(|producer| producer.id == id), format!("producer {id} has no open transaction there"))
        }
        (None, start) => {
            let start = Offset(start.unwrap_or_default());
            let found = open.find(|producer| producer.transaction_start == Some(start));
            (found, format!("no open transaction begins at offset {start} there"))
        }
    };
    found.ok_or_else(|| ClientError::Kafka {
        error: KafkaError::ResourceNotFound,
        what: format!("partition {topic}-{partition}"),
        message: format!("{lacks}; `tidelog txn describe-producers {topic} -p {partition}` shows those that are"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_coordinator_of_an_id_has_an_epoch_of_its_own() {
        let mut epochs: BTreeMap<_, _> = (0..50).map(|index| (PartitionIndex(index), LeaderEpoch(9))).collect();
        epochs.insert(partition_for("orders", 50), LeaderEpoch(2));
        assert_eq!(epoch_of("orders", &epochs), Some(2), "not the highest of any");
        assert_eq!(epoch_of("payments", &epochs), Some(9));
        assert_eq!(epoch_of("orders", &BTreeMap::new()), None);
    }
}
