//! `tidelog group delete-offsets`: positions that a group shall forget. The server keeps those of topics that its members read.

use clap::Args;
use serde::Serialize;

use super::group_reset::{Selection, partitions, selection};
use super::{connect, topic};
use crate::cli::{Format, KafkaArgs, OutputArgs};
use crate::output::{Table, show};

#[derive(Debug, Args)]
pub(crate) struct DeleteOffsetsArgs {
    /// Name of the group; its members must not read these topics.
    #[arg(value_name = "GROUP")]
    group: String,
    /// A topic, or some of its partitions as `orders:0,3`; may be repeated.
    #[arg(short, long, value_name = "TOPIC[:N,...]", required = true, value_parser = selection)]
    topic: Vec<Selection>,
    #[command(flatten)]
    kafka: KafkaArgs,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Serialize)]
struct Row {
    topic: String,
    partition: i32,
    deleted: bool,
}

pub(crate) async fn delete_offsets(args: DeleteOffsetsArgs) -> anyhow::Result<()> {
    let client = connect(&args.kafka, "tidelog-group").await?;
    let wanted = partitions(&client, &args.topic).await?;
    let results = client.delete_offsets(&args.group, &wanted).await?;
    let (mut rows, mut failed) = (Vec::new(), None);
    for ((name, partition), result) in wanted.into_iter().zip(results) {
        match result {
            Ok(()) => rows.push(Row { topic: name, partition: partition.get(), deleted: true }),
            Err(error) => failed = Some(topic::report(failed, error)),
        }
    }
    if rows.is_empty() && args.output.output == Format::Table {
        return failed.map_or(Ok(()), |error| Err(error.into()));
    }
    show(args.output.output, &rows, || {
        let mut table = Table::new(["TOPIC", "PARTITION", "OFFSET"]);
        for row in &rows {
            table.row([row.topic.clone(), row.partition.to_string(), "deleted".to_owned()]);
        }
        table.render()
    })?;
    failed.map_or(Ok(()), |error| Err(error.into()))
}
