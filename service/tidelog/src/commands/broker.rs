//! `tidelog broker`: the settings of brokers and the levels of their logs while they run.

use std::collections::BTreeMap;

use anyhow::bail;
use clap::{Args, Subcommand};
use serde_json::json;
use tidelog_client::{ClientError, ConfigChange, ConfigResource};
use tidelog_model::NodeId;

use super::connect;
use super::entries::{self, EntryArgs};
use super::parse::key_value;
use crate::cli::{KafkaArgs, OutputArgs};
use crate::output::{Table, Usage, show};

#[derive(Debug, Args)]
pub(crate) struct BrokerArgs {
    #[command(subcommand)]
    command: BrokerCommand,
}

#[derive(Debug, Subcommand)]
enum BrokerCommand {
    /// Show a broker's settings, or change those that can change while it runs.
    Config(ConfigArgs),
    /// Show how much each part of a broker writes to its log, or change it until the next restart.
    Loggers(LoggersArgs),
}

#[derive(Debug, Args)]
struct ConfigArgs {
    /// Number of the broker, or `all` for what all share [default: the controller, unless something is to change]
    #[arg(value_name = "BROKER", value_parser = whose)]
    broker: Option<Whose>,
    #[command(flatten)]
    entries: EntryArgs,
}

#[derive(Debug, Args)]
struct LoggersArgs {
    /// Number of the broker [default: the controller, unless something is to change]
    #[arg(value_name = "BROKER", value_parser = clap::value_parser!(i32).range(0..))]
    broker: Option<i32>,
    /// Set a level (ERROR, WARN, INFO, DEBUG or TRACE), of root or of a part such as tidelog_kafka; may be repeated.
    #[arg(short, long, value_name = "LOGGER=LEVEL", value_parser = key_value)]
    set: Vec<(String, String)>,
    /// Return a logger to what the broker was started with; may be repeated.
    #[arg(short, long, value_name = "LOGGER")]
    delete: Vec<String>,
    /// Only check whether the changes are possible.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    kafka: KafkaArgs,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Whose {
    All,
    One(NodeId),
}

fn whose(text: &str) -> Result<Whose, String> {
    match text {
        "all" => Ok(Whose::All),
        number => match number.parse() {
            Ok(id) if id >= 0 => Ok(Whose::One(NodeId(id))),
            _ => Err("expected a broker's number, or all".into()),
        },
    }
}

pub(crate) async fn run(args: BrokerArgs) -> anyhow::Result<()> {
    match args.command {
        BrokerCommand::Config(args) => config(args).await,
        BrokerCommand::Loggers(args) => loggers(args).await,
    }
}

async fn config(args: ConfigArgs) -> anyhow::Result<()> {
    if args.broker.is_none() && args.entries.is_change() {
        bail!(Usage("say whose settings are to change: a broker's number, or all".into()));
    }
    let client = connect(&args.entries.kafka, "tidelog-broker").await?;
    let whose = match args.broker {
        Some(whose) => whose,
        None => Whose::One(client.describe_cluster().await?.controller),
    };
    let (resource, name) = match whose {
        Whose::All => (ConfigResource::Broker(None), "all brokers".to_owned()),
        Whose::One(id) => (ConfigResource::Broker(Some(id)), format!("broker {id}")),
    };
    let run = entries::run(&client, &args.entries, &resource, &name, |entry| entry.source != "default").await;
    run.map_err(|error| match error.downcast::<ClientError>() {
        Ok(error) => in_our_words(error).into(),
        Err(error) => error,
    })
}

/// What is no number is the empty string on the wire, and `all` on the command line.
fn in_our_words(error: ClientError) -> ClientError {
    match error {
        ClientError::Kafka { error, what, message } => {
            ClientError::Kafka { error, what, message: message.replace("or empty string", "or all") }
        }
        other => other,
    }
}

async fn loggers(args: LoggersArgs) -> anyhow::Result<()> {
    let mut changes: Vec<ConfigChange> =
        args.set.into_iter().map(|(logger, level)| ConfigChange::Set(logger, level.to_ascii_uppercase())).collect();
    changes.extend(args.delete.into_iter().map(ConfigChange::Delete));
    if args.broker.is_none() && !changes.is_empty() {
        bail!(Usage("say whose loggers are to change: a broker's number".into()));
    }
    let client = connect(&args.kafka, "tidelog-broker").await?;
    let id = match args.broker {
        Some(id) => NodeId(id),
        None => client.describe_cluster().await?.controller,
    };
    let resource = ConfigResource::Loggers(id);
    if !changes.is_empty() {
        client.alter_configs(&resource, &changes, args.dry_run).await?;
        return show(args.output.output, &json!({ "broker": id.get(), "changed": !args.dry_run }), || {
            format!("{} the loggers of broker {id}\n", if args.dry_run { "could change" } else { "changed" })
        });
    }
    let found = client.describe_configs(&resource).await?;
    let levels: BTreeMap<&str, Option<&str>> =
        found.iter().map(|logger| (logger.name.as_str(), logger.value.as_deref())).collect();
    show(args.output.output, &levels, || {
        let mut table = Table::new(["LOGGER", "LEVEL"]);
        levels.iter().for_each(|(logger, level)| table.row([*logger, level.unwrap_or("-")]));
        table.render()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broker_that_is_not_there_is_told_as_it_would_be_typed() {
        let error = ClientError::Kafka {
            error: tidelog_model::KafkaError::InvalidRequest,
            what: "broker 7".to_owned(),
            message: "Unexpected broker id, expected 1 or empty string, but received 7".to_owned(),
        };
        assert!(in_our_words(error).to_string().contains("expected 1 or all, but received 7"));
    }

    #[test]
    fn brokers_have_numbers() {
        assert_eq!((whose("all"), whose("7")), (Ok(Whose::All), Ok(Whose::One(NodeId(7)))));
        for bad in ["", "-1", "one", "1.0"] {
            assert!(whose(bad).is_err(), "{bad}");
        }
    }
}
