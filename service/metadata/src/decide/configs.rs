//! Changed settings (KIP-339, KIP-226). Decides what a topic's or broker's settings become; unset ones stay unset.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use tidelog_model::{HTTP_LISTENER, KafkaError, NodeId};

use super::{Refusal, Settings};
use crate::broker_config::{BrokerConfig, BrokerOverrides, check_listener, is_per_broker};
use crate::client_metrics::ClientMetricsOverrides;
use crate::config::{ConfigDef, ConfigError, ConfigType, parse_list};
use crate::group_config::GroupOverrides;
use crate::image::{ClusterImage, Versioned};
use crate::keys::{Key, TopicValue, is_configurable};
use crate::limits::{MAX_CLIENT_METRICS, MAX_CONFIGURED_NAME_BYTES, MAX_GROUP_CONFIGS};
use crate::overrides::{self, Overrides};
use crate::port::{Compare, Transaction, Write};
use crate::topic_config::{KeyFormat, TopicConfig, TopicOverrides};

/// What to do with one setting; the numbers are IncrementalAlterConfigs' codes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(i8)]
pub enum ConfigOperation {
    /// Set it.
    Set = 0,
    /// Back to the default.
    Delete = 1,
    /// Add items to a list.
    Append = 2,
    /// Remove items from a list.
    Subtract = 3,
}

impl ConfigOperation {
    /// The operation with this code.
    pub const fn from_code(code: i8) -> Option<ConfigOperation> {
        match code {
            0 => Some(ConfigOperation::Set),
            1 => Some(ConfigOperation::Delete),
            2 => Some(ConfigOperation::Append),
            3 => Some(ConfigOperation::Subtract),
            _ => None,
        }
    }
}

/// One change of one setting.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConfigChange {
    /// The setting.
    pub name: String,
    /// What to do.
    pub operation: ConfigOperation,
    /// The value, or the items; ignored by [`ConfigOperation::Delete`], needed by the others.
    pub value: Option<String>,
}

/// What a request wants of a resource's settings.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ConfigEdit {
    /// These change, the others stay (IncrementalAlterConfigs).
    Change(Vec<ConfigChange>),
    /// These hold, all others go back to their defaults (AlterConfigs). A null value is refused.
    Replace(Vec<(String, Option<String>)>),
}

impl ConfigEdit {
    /// The settings that it names.
    pub fn names(&self) -> impl Iterator<Item = &str> + Clone {
        let (changes, replacements): (&[ConfigChange], &[(String, Option<String>)]) = match self {
            ConfigEdit::Change(changes) => (changes, &[]),
            ConfigEdit::Replace(all) => (&[], all),
        };
        let replaced = replacements.iter().map(|(name, _)| name.as_str());
        changes.iter().map(|change| change.name.as_str()).chain(replaced)
    }

    /// Does it decide about this setting?
    fn touches(&self, name: &str) -> bool {
        match self {
            ConfigEdit::Change(changes) => changes.iter().any(|change| change.name == name),
            ConfigEdit::Replace(_) => true,
        }
    }
}

impl From<Vec<ConfigChange>> for ConfigEdit {
    fn from(changes: Vec<ConfigChange>) -> Self {
        ConfigEdit::Change(changes)
    }
}

/// Changes a topic's settings: all of them or, with an error, none. `None` = nothing differs, so there is nothing to write. `key_in_files` is
/// what the files of the topic's table have, if it has any.
pub fn alter_topic_configs(
    image: &ClusterImage,
    settings: Settings<'_>,
    name: &str,
    edit: &ConfigEdit,
    key_in_files: Option<KeyFormat>,
) -> Result<Option<Transaction>, Refusal> {
    if name.is_empty() {
        return Err(Refusal::new(KafkaError::InvalidRequest, "Default topic resources are not allowed."));
    }
    let Some(topic) = image.topic(name) else {
        return Err(Refusal::new(KafkaError::UnknownTopicOrPartition, KafkaError::UnknownTopicOrPartition.message()));
    };
    let before = &*topic.configs;
    let after = edited(before, edit, Refusal::from)?;
    after.check(settings.defaults)?;
    check_remote(settings, before, &after)?;
    check_table(settings, before, &after, key_in_files)?;
    if after == *before {
        return Ok(None);
    }
    let value = TopicValue { name: topic.name.clone(), partitions: topic.partition_count, configs: after };
    Ok(Some(Transaction {
        compares: vec![Compare::unchanged(Key::Topic(topic.id), topic.revision)],
        writes: vec![Write::put(Key::Topic(topic.id), value.encode())],
    }))
}

/// Changes the running settings of one broker, or (`None`) the default of all.
pub fn alter_broker_configs(
    image: &ClusterImage,
    settings: Settings<'_>,
    node: Option<NodeId>,
    edit: &ConfigEdit,
) -> Result<Option<Transaction>, Refusal> {
    let stored = image.broker_configs(node);
    let after = altered_broker_configs(image, settings, node, edit)?;
    let differs = stored.map_or(!after.is_empty(), |stored| after != stored.value);
    Ok(differs.then(|| stored_as(Key::BrokerConfigs(node), stored, &after, after.encode())))
}

/// What these settings become by that.
pub fn altered_broker_configs(
    image: &ClusterImage,
    settings: Settings<'_>,
    node: Option<NodeId>,
    edit: &ConfigEdit,
) -> Result<BrokerOverrides, Refusal> {
    if let Some(node) = node
        && image.broker(node).is_none()
    {
        return Err(Refusal::new(KafkaError::InvalidRequest, format!("Broker {node} is not registered.")));
    }
    let before = image.broker_configs(node).map(|stored| stored.value.clone()).unwrap_or_default();
    // What a broker does not take is an invalid request to Kafka, not an invalid configuration as with topics (KAFKA-13609).
    let invalid = |error: ConfigError| Refusal::new(KafkaError::InvalidRequest, error.to_string());
    let after = edited(&before, edit, invalid)?;
    check_listeners(image, &after, edit).map_err(invalid)?;
    if node.is_none()
        && let Some((name, _)) = after.iter().find(|(name, _)| is_per_broker(name))
    {
        let message = "Cannot update these configs at default cluster level, broker id must be specified";
        return Err(Refusal::new(KafkaError::InvalidRequest, format!("{message}: [{name}]")));
    }
    after.listener_tls().map_err(invalid)?;
    // What topics then get must still fit together.
    let for_brokers = image.broker_configs(None).map(|stored| stored.value.clone()).unwrap_or_default();
    let none = BrokerOverrides::default();
    let (for_all, for_this) = if node.is_some() { (&for_brokers, &after) } else { (&after, &none) };
    let defaults = settings.broker.topic_defaults(for_all, for_this).map_err(invalid)?;
    TopicOverrides::default().check(&defaults).map_err(invalid)?;
    settings.broker.check_running(for_all, for_this).map_err(invalid)?;
    check_threads(image, settings.broker, node, &before, &after).map_err(invalid)?;
    Ok(after)
}

/// Threads change in steps, of whichever broker.
fn check_threads(
    image: &ClusterImage,
    broker: &BrokerConfig,
    node: Option<NodeId>,
    before: &BrokerOverrides,
    after: &BrokerOverrides,
) -> Result<(), ConfigError> {
    let none = BrokerOverrides::default();
    let of = |node| image.broker_configs(node).map_or(&none, |stored| &stored.value);
    if node.is_some() {
        return broker.check_threads((of(None), before), (of(None), after));
    }
    let mut brokers = image.brokers().map(|(node, _)| of(Some(node)));
    brokers.try_for_each(|own| broker.check_threads((before, own), (after, own)))
}

/// A setting of one listener is about one that some broker has, or it would be ignored.
fn check_listeners(image: &ClusterImage, after: &BrokerOverrides, edit: &ConfigEdit) -> Result<(), ConfigError> {
    let listeners = || {
        let endpoints = image.brokers().flat_map(|(_, broker)| &broker.value.endpoints);
        endpoints.map(|endpoint| endpoint.listener.as_str()).chain([HTTP_LISTENER])
    };
    let touched = after.iter().filter(|(name, _)| edit.touches(name));
    touched.map(|(name, _)| name).try_for_each(|name| check_listener(name, listeners()))
}

/// Changes a group's settings; whether there is such a group does not matter.
pub fn alter_group_configs(
    image: &ClusterImage,
    broker: &BrokerConfig,
    group: &str,
    edit: &ConfigEdit,
) -> Result<Option<Transaction>, Refusal> {
    if group.is_empty() {
        return Err(Refusal::new(KafkaError::InvalidRequest, "Default group resources are not allowed."));
    }
    if !is_configurable(group) {
        let message =
            format!("A group with settings has at most {MAX_CONFIGURED_NAME_BYTES} bytes, none a control character.");
        return Err(Refusal::new(KafkaError::InvalidRequest, message));
    }
    let stored = image.group_configs(group);
    if stored.is_none() && image.configured_group_count() >= MAX_GROUP_CONFIGS {
        let message = format!("More than {MAX_GROUP_CONFIGS} groups cannot have settings of their own.");
        return Err(Refusal::new(KafkaError::PolicyViolation, message));
    }
    let before = stored.map(|stored| stored.value.clone()).unwrap_or_default();
    let after: GroupOverrides = edited(&before, edit, Refusal::from)?;
    after.check(broker)?;
    Ok((after != before).then(|| stored_as(Key::GroupConfigs(group.to_owned()), stored, &after, after.encode())))
}

/// Changes a subscription to clients' metrics (KIP-714); the first change makes it, and it is gone once it says nothing.
pub fn alter_client_metrics(
    image: &ClusterImage,
    name: &str,
    edit: &ConfigEdit,
) -> Result<Option<Transaction>, Refusal> {
    let invalid = |message: String| Refusal::new(KafkaError::InvalidRequest, message);
    if name.is_empty() {
        return Err(invalid("Subscription name can't be empty".to_owned()));
    }
    if !is_configurable(name) {
        return Err(invalid(format!(
            "The name of a subscription has at most {MAX_CONFIGURED_NAME_BYTES} bytes, none a control character."
        )));
    }
    let stored = image.client_metrics(name);
    if stored.is_none() && image.client_metrics_names().len() >= MAX_CLIENT_METRICS {
        let message = format!("There cannot be more than {MAX_CLIENT_METRICS} subscriptions to clients' metrics.");
        return Err(Refusal::new(KafkaError::PolicyViolation, message));
    }
    let before = stored.map(|stored| stored.value.clone()).unwrap_or_default();
    // An unknown name and an unfit value have different codes in Kafka.
    let after: ClientMetricsOverrides = edited(&before, edit, |error| match &error {
        ConfigError::Unknown { .. } => Refusal::new(KafkaError::InvalidRequest, error.to_string()),
        ConfigError::Value { .. } | ConfigError::Conflict(_) => Refusal::from(error),
    })?;
    after.check_interval().map_err(invalid)?;
    Ok((after != before).then(|| stored_as(Key::ClientMetrics(name.to_owned()), stored, &after, after.encode())))
}

/// The settings after the edit, each checked for itself. What nobody touches need not hold, or a stored setting of another version would be
/// in the way of every change.
fn edited<Of: overrides::Settings>(
    before: &Overrides<Of>,
    edit: &ConfigEdit,
    invalid: impl FnOnce(ConfigError) -> Refusal,
) -> Result<Overrides<Of>, Refusal> {
    let values = match edit {
        ConfigEdit::Change(changes) => changed(before.texts(), changes, Of::def)?,
        ConfigEdit::Replace(all) => replaced(all)?,
    };
    let values = values.into_iter().filter(|(name, _)| edit.touches(name) || before.get(name).is_some());
    Ok(Overrides::new(values).map_err(invalid)?.keeping_unfit(before, |name| edit.touches(name)))
}

/// Settings that have a key of their own are there while one is set.
fn stored_as<Of: overrides::Settings>(
    key: Key,
    before: Option<&Versioned<Overrides<Of>>>,
    after: &Overrides<Of>,
    bytes: Bytes,
) -> Transaction {
    let compare = match before {
        Some(stored) => Compare::unchanged(key.clone(), stored.revision),
        None => Compare::absent(key.clone()),
    };
    let write = if after.is_empty() { Write::delete(key) } else { Write::put(key, bytes) };
    Transaction { compares: vec![compare], writes: vec![write] }
}

/// These settings and no others, not yet validated.
fn replaced(all: &[(String, Option<String>)]) -> Result<BTreeMap<String, String>, Refusal> {
    let mut values = BTreeMap::new();
    for (name, value) in all {
        let value = value.as_ref().ok_or_else(|| null_value(name))?;
        if values.insert(name.clone(), value.clone()).is_some() {
            return Err(twice(name));
        }
    }
    Ok(values)
}

fn twice(name: &str) -> Refusal {
    Refusal::new(KafkaError::InvalidRequest, format!("The setting {name} is given twice."))
}

fn null_value(name: &str) -> Refusal {
    Refusal::new(KafkaError::InvalidRequest, format!("Null value not supported for : {name}"))
}

/// The settings after the changes, not yet validated.
fn changed(
    mut values: BTreeMap<String, String>,
    changes: &[ConfigChange],
    def_of: fn(&str) -> Option<&'static ConfigDef>,
) -> Result<BTreeMap<String, String>, Refusal> {
    let mut seen = BTreeSet::new();
    for change in changes {
        if !seen.insert(change.name.as_str()) {
            return Err(twice(&change.name));
        }
        if change.operation == ConfigOperation::Delete {
            // What nobody knows is not set either: Kafka takes that.
            values.remove(&change.name);
            continue;
        }
        let value = change.value.as_ref().ok_or_else(|| null_value(&change.name))?;
        let new = match change.operation {
            ConfigOperation::Append | ConfigOperation::Subtract => {
                merged(&values, change, value, def_of(&change.name))?
            }
            ConfigOperation::Set | ConfigOperation::Delete => value.clone(),
        };
        values.insert(change.name.clone(), new);
    }
    Ok(values)
}

/// The list after an append or a subtraction, starting from the default if it is not set.
fn merged(
    values: &BTreeMap<String, String>,
    change: &ConfigChange,
    items: &str,
    def: Option<&'static ConfigDef>,
) -> Result<String, Refusal> {
    if def.is_none_or(|def| def.kind != ConfigType::List) {
        let verb = if change.operation == ConfigOperation::Append { "APPEND to" } else { "SUBTRACT from" };
        return Err(Refusal::new(
            KafkaError::InvalidConfig,
            format!("Can't {verb} key {} because its type is not LIST.", change.name),
        ));
    }
    let old = values.get(&change.name).map(String::as_str).or(def.and_then(|def| def.default)).unwrap_or("");
    let (mut list, items) = (parse_list(old), parse_list(items));
    if change.operation == ConfigOperation::Append {
        for item in items {
            if !list.contains(&item) {
                list.push(item);
            }
        }
    } else {
        list.retain(|item| !items.contains(item));
    }
    Ok(list.join(","))
}

/// A column keeps its type, so what decides types cannot change under a table.
fn check_table(
    settings: Settings<'_>,
    before: &TopicOverrides,
    after: &TopicOverrides,
    key_in_files: Option<KeyFormat>,
) -> Result<(), Refusal> {
    let old = TopicConfig::effective(before, settings.defaults).table;
    let new = TopicConfig::effective(after, settings.defaults).table;
    if old.enable && old.json_integers != new.json_integers {
        return Err(Refusal::new(
            KafkaError::InvalidConfig,
            "The topic is a table (tidelog.table.enable) whose columns have their types already, so its \
             tidelog.table.json.integers cannot change.",
        ));
    }
    // What was set already, and does not count, keeps no other setting from being changed.
    if let Some(fixed) = key_in_files.filter(|fixed| *fixed != new.key_format && old.key_format != new.key_format) {
        let fixed = fixed.name();
        return Err(Refusal::new(
            KafkaError::InvalidConfig,
            format!(
                "The topic's table has files, in which the column _key is {fixed}, and a column keeps its type: \
                 tidelog.table.key.format can only be {fixed}. For the other write to a new topic that has it from the beginning."
            ),
        ));
    }
    Ok(())
}

/// A topic that asks for its tier itself does not leave its remote part behind by the way. Where only the broker's default tiers it, it may be
/// compacted or end its uploads at any time: what is remote by then stays readable.
fn check_remote(settings: Settings<'_>, before: &TopicOverrides, after: &TopicOverrides) -> Result<(), Refusal> {
    let new = TopicConfig::effective(after, settings.defaults);
    if before.asks_for_tier() && !new.remote_storage_enable && !new.remote_log_given_up {
        return Err(Refusal::new(
            KafkaError::InvalidConfig,
            "It is invalid to disable remote storage without deleting remote data. To keep the remote data and upload nothing more, set \
             remote.storage.enable=true,remote.log.copy.disable=true. To disable remote storage and delete all remote data, set \
             remote.storage.enable=false,remote.log.delete.on.disable=true.",
        ));
    }
    Ok(())
}
