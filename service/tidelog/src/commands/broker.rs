//! `tidelog broker`: the settings of brokers while they run.

use anyhow::bail;
use clap::{Args, Subcommand};
use tidelog_client::ConfigResource;
use tidelog_model::NodeId;

use super::connect;
use super::entries::{self, EntryArgs};
use crate::output::Usage;

#[derive(Debug, Args)]
pub(crate) struct BrokerArgs {
    #[command(subcommand)]
    command: BrokerCommand,
}

#[derive(Debug, Subcommand)]
enum BrokerCommand {
    /// Show a broker's settings, or change those that can change while it runs.
    Config(ConfigArgs),
}

#[derive(Debug, Args)]
struct ConfigArgs {
    /// Number of the broker, or `all` for what all share [default: the controller, unless something is to change]
    #[arg(value_name = "BROKER", value_parser = whose)]
    broker: Option<Whose>,
    #[command(flatten)]
    entries: EntryArgs,
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
    let BrokerCommand::Config(args) = args.command;
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
    entries::run(&client, &args.entries, &resource, &name, |entry| entry.source != "default").await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brokers_have_numbers() {
        assert_eq!((whose("all"), whose("7")), (Ok(Whose::All), Ok(Whose::One(NodeId(7)))));
        for bad in ["", "-1", "one", "1.0"] {
            assert!(whose(bad).is_err(), "{bad}");
        }
    }
}
