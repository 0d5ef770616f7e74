//! Settings of topics, brokers and groups in a running cluster: shown with their origin, changed entry by entry (KIP-226, KIP-339).

use clap::Args;
use serde::Serialize;
use serde_json::json;
use tidelog_client::{Client, ClientError, ConfigChange, ConfigEntry, ConfigResource};
use tidelog_metadata::config::nearest;
use tidelog_metadata::group_config::group_config;
use tidelog_metadata::topic_config::topic_config;
use tidelog_model::KafkaError;

use super::parse::key_value;
use crate::cli::{KafkaArgs, OutputArgs};
use crate::output::{Table, Usage, show};

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
        known_ones(client, resource, name, &args.delete).await?;
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
            let inert = match resource {
                ConfigResource::Group(_) => group_config(row.name),
                ConfigResource::Topic(_) => topic_config(row.name),
                ConfigResource::Broker(_) | ConfigResource::Loggers(_) => None,
            };
            let remark = match inert.and_then(|def| def.inert) {
                Some(why) => format!("without effect: {why}"),
                None if row.read_only => "needs a restart".to_owned(),
                None => String::new(),
            };
            table.row([row.name, value, row.source, &remark]);
        }
        table.render()
    })
}

/// Refuses to delete what the resource has no setting of: a server takes that, as Kafka does, and a slip of the finger would go unseen. Of
/// brokers not every name that can be set is listed.
pub(crate) async fn known_ones(
    client: &Client,
    resource: &ConfigResource,
    whose: &str,
    deleted: &[String],
) -> anyhow::Result<()> {
    if deleted.is_empty() || !matches!(resource, ConfigResource::Topic(_) | ConfigResource::Group(_)) {
        return Ok(());
    }
    let listed = match client.describe_configs(resource).await {
        Ok(listed) => listed,
        // Whoever may change settings need not be allowed to see them.
        Err(error) if client_may_not(&error) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    let names: Vec<&str> = listed.iter().map(|entry| entry.name.as_str()).collect();
    match deleted.iter().find_map(|name| unknown(name, &names, whose)) {
        Some(told) => Err(Usage(told).into()),
        None => Ok(()),
    }
}

fn client_may_not(error: &ClientError) -> bool {
    matches!(
        error.kafka_error(),
        Some(
            KafkaError::TopicAuthorizationFailed
                | KafkaError::GroupAuthorizationFailed
                | KafkaError::ClusterAuthorizationFailed
        )
    )
}

/// What is said of a name that is not listed. One of ours is shown only where it is set.
fn unknown(name: &str, listed: &[&str], whose: &str) -> Option<String> {
    if listed.contains(&name) || topic_config(name).is_some() {
        return None;
    }
    Some(match nearest(name, listed.iter().copied()) {
        Some(near) => format!("{whose} has no setting {name}; did you mean {near}?"),
        None => format!("{whose} has no setting {name}; --defaults shows all that it has"),
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
    use super::*;

    #[test]
    fn a_name_that_is_no_setting_cannot_be_deleted() {
        let told = |name: &str| unknown(name, &["retention.ms", "kept.from.another.version"], "topic t");
        assert_eq!(
            told("retention.mss").as_deref(),
            Some("topic t has no setting retention.mss; did you mean retention.ms?")
        );
        assert!(told("zzz").is_some_and(|told| told.contains("--defaults")));
        for known in ["retention.ms", "kept.from.another.version", "internal.segment.bytes"] {
            assert_eq!(told(known), None, "{known}");
        }
    }

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
