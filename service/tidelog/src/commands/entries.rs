//! Settings of topics, brokers and groups in a running cluster: shown with their origin, changed entry by entry (KIP-226, KIP-339).

use clap::Args;
use serde::Serialize;
use serde_json::json;
use tidelog_client::{Client, ClientError, ConfigChange, ConfigEntry, ConfigResource};

use super::parse::key_value;
use crate::cli::{KafkaArgs, OutputArgs};
use crate::output::{Table, show};

/// What is to change, and what is shown.
#[derive(Debug, Args)]
pub(crate) struct EntryArgs {
    /// Set an entry; may be repeated.
    #[arg(short, long, value_name = "KEY=VALUE", value_parser = key_value)]
    set: Vec<(String, String)>,
    /// Return an entry to its default; may be repeated.
    #[arg(short, long, value_name = "KEY")]
    delete: Vec<String>,
    /// Add to an entry that is a list; may be repeated.
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_value)]
    append: Vec<(String, String)>,
    /// Take from an entry that is a list; may be repeated.
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_value)]
    subtract: Vec<(String, String)>,
    /// Only check whether the changes are possible.
    #[arg(long)]
    dry_run: bool,
    /// Show entries that have their defaults too.
    #[arg(long)]
    defaults: bool,
    #[command(flatten)]
    pub(crate) kafka: KafkaArgs,
    #[command(flatten)]
    output: OutputArgs,
}

impl EntryArgs {
    fn changes(&self) -> Vec<ConfigChange> {
        let pairs = |pairs: &[(String, String)], change: fn(String, String) -> ConfigChange| -> Vec<ConfigChange> {
            pairs.iter().cloned().map(|(key, value)| change(key, value)).collect()
        };
        let mut changes = pairs(&self.set, ConfigChange::Set);
        changes.extend(self.delete.iter().cloned().map(ConfigChange::Delete));
        changes.extend(pairs(&self.append, ConfigChange::Append));
        changes.extend(pairs(&self.subtract, ConfigChange::Subtract));
        changes
    }

    /// Is anything to change?
    pub(crate) fn is_change(&self) -> bool {
        !self.changes().is_empty()
    }
}

#[derive(Serialize)]
struct Entry<'a> {
    name: &'a str,
    value: Option<&'a str>,
    source: &'static str,
    read_only: bool,
    sensitive: bool,
}

/// Changes a resource's entries, all or none, or shows those that `own` calls the resource's own (all with `--defaults`).
pub(crate) async fn run(
    client: &Client,
    args: &EntryArgs,
    resource: &ConfigResource,
    name: &str,
    own: fn(&ConfigEntry) -> bool,
) -> anyhow::Result<()> {
    let changes = args.changes();
    if !changes.is_empty() {
        client.alter_configs(resource, &changes, args.dry_run).await.map_err(at_the_start)?;
        // Programs get the bare name, as from `topic alter`.
        let bare = match resource {
            ConfigResource::Topic(name) | ConfigResource::Group(name) => name.clone(),
            ConfigResource::Broker(Some(id)) | ConfigResource::Loggers(id) => id.to_string(),
            ConfigResource::Broker(None) => "all".to_owned(),
        };
        return show(args.output.output, &json!({ "name": bare, "changed": !args.dry_run }), || {
            format!("{} {name}\n", if args.dry_run { "could change" } else { "changed" })
        });
    }
    let mut entries = client.describe_configs(resource).await?;
    entries.retain(|entry| args.defaults || own(entry));
    let rows: Vec<Entry<'_>> = entries
        .iter()
        .map(|entry| Entry {
            name: &entry.name,
            value: entry.value.as_deref(),
            source: entry.source,
            read_only: entry.read_only,
            sensitive: entry.is_sensitive,
        })
        .collect();
    show(args.output.output, &rows, || {
        if rows.is_empty() {
            let (has, its) = if name.starts_with("all ") { ("have", "their") } else { ("has", "its") };
            return format!("{name} {has} {its} defaults; --defaults shows them\n");
        }
        let mut table = Table::new(["CONFIG", "VALUE", "SOURCE", ""]);
        for row in &rows {
            let value = row.value.unwrap_or(if row.sensitive { "(hidden)" } else { "-" });
            table.row([row.name, value, row.source, if row.read_only { "needs a restart" } else { "" }]);
        }
        table.render()
    })
}

/// Kafka's words for a setting that holds from the start on do not say where it is set.
fn at_the_start(error: ClientError) -> ClientError {
    match error {
        ClientError::Kafka { error, what, message } if message.contains("Cannot update these configs dynamically") => {
            let message = format!(
                "{message}; give it at the start (by its option, with --set, or in the table [broker] of the configuration file), \
                 and restart"
            );
            ClientError::Kafka { error, what, message }
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use tidelog_model::KafkaError;

    use super::*;

    #[test]
    fn who_cannot_change_a_setting_now_is_told_where_it_is_given() {
        let told = |message: &str| {
            let (error, what) = (KafkaError::InvalidRequest, "broker 1".to_owned());
            at_the_start(ClientError::Kafka { error, what, message: message.to_owned() }).to_string()
        };
        assert!(told("Cannot update these configs dynamically: [num.partitions]").contains("[broker]"));
        assert!(!told("not a number of type INT").contains("[broker]"));
    }
}
