//! Settings of topics, brokers and groups: describe and alter.

use std::sync::Arc;
use std::time::Duration;

use tidelog_metadata::broker_config::BrokerOverrides;
use tidelog_metadata::decide::{self, ConfigEdit, Plan, Refusal, Settings};
use tidelog_metadata::port::Transaction;
use tidelog_metadata::topic_config::describe_topic;
use tidelog_metadata::{
    ClientMetricsOverrides, ClusterImage, ConfigSource, Described, ImageChange, TopicConfig, TopicDefaults,
    TopicOverrides,
};
use tidelog_model::{Caller, KafkaError, NodeId, TopicId};
use tidelog_security::{Operation, Resource};
use tracing::warn;

use crate::about::Listed;
use crate::alterations::{Alteration, Concerns};
use crate::broker::Broker;
use crate::{BrokerError, TopicRef};

/// What has a configuration; the numbers are DescribeConfigs' codes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(i8)]
pub enum ConfigResourceKind {
    /// A topic.
    Topic = 2,
    /// A broker.
    Broker = 4,
    /// A broker's loggers (KIP-412).
    BrokerLogger = 8,
    /// Subscriptions of client metrics (KIP-714).
    ClientMetrics = 16,
    /// A group.
    Group = 32,
}

impl ConfigResourceKind {
    /// Every kind, by code.
    pub const ALL: &'static [ConfigResourceKind] = &[
        ConfigResourceKind::Topic,
        ConfigResourceKind::Broker,
        ConfigResourceKind::BrokerLogger,
        ConfigResourceKind::ClientMetrics,
        ConfigResourceKind::Group,
    ];

    /// The number on the wire.
    pub const fn code(self) -> i8 {
        self as i8
    }

    /// The kind with this number.
    pub fn from_code(code: i8) -> Option<ConfigResourceKind> {
        Self::ALL.iter().copied().find(|kind| kind.code() == code)
    }
}

impl Broker {
    /// The names of a kind's resources (KIP-1142); of groups those that set something of their own.
    pub fn config_resources(&self, caller: &Caller, kind: ConfigResourceKind) -> Result<Vec<String>, BrokerError> {
        self.may_cluster(caller, Operation::DescribeConfigs)?;
        let image = self.image();
        Ok(match kind {
            ConfigResourceKind::Topic => image.topics().map(|topic| topic.name.to_string()).collect(),
            ConfigResourceKind::Broker | ConfigResourceKind::BrokerLogger => {
                image.brokers().map(|(node, _)| node.to_string()).collect()
            }
            ConfigResourceKind::ClientMetrics => image.client_metrics_names().map(str::to_owned).collect(),
            ConfigResourceKind::Group => image.configured_groups().map(str::to_owned).collect(),
        })
    }

    /// `log.cleaner.backoff.ms` as it is now.
    pub(crate) fn cleaner_backoff(&self) -> Duration {
        self.with_running(&self.image(), |for_all, for_this| self.config().cleaner_backoff(for_all, for_this))
    }

    /// `producer.id.expiration.ms` as it is now.
    pub(crate) fn producer_id_expiration(&self) -> Duration {
        self.with_running(&self.image(), |for_all, for_this| self.config().producer_id_expiration(for_all, for_this))
    }

    /// `remote.fetch.max.wait.ms` as it is now.
    pub(crate) fn remote_fetch_max_wait(&self) -> Duration {
        self.with_running(&self.image(), |for_all, for_this| self.config().remote_fetch_max_wait(for_all, for_this))
    }

    /// What topics get where they set nothing.
    pub(crate) fn topic_defaults(&self, image: &ClusterImage) -> TopicDefaults {
        // Values were checked when they were set.
        let defaults = self.with_running(image, |for_all, for_this| self.config().topic_defaults(for_all, for_this));
        defaults.unwrap_or_default().with_remote_storage(self.tiers_by_default())
    }

    /// With the running changes for all brokers, and for this one.
    pub(crate) fn with_running<T>(
        &self,
        image: &ClusterImage,
        decide: impl FnOnce(&BrokerOverrides, &BrokerOverrides) -> T,
    ) -> T {
        let none = BrokerOverrides::default();
        let of = |node| image.broker_configs(node).map_or(&none, |stored| &stored.value);
        decide(of(None), of(Some(self.node())))
    }

    /// A topic's settings as they hold, with [`topic_defaults`](Self::topic_defaults) where it sets nothing.
    pub(crate) fn topic_config(
        &self,
        image: &ClusterImage,
        topic: TopicId,
        defaults: &TopicDefaults,
    ) -> Arc<TopicConfig> {
        let own = image.topic_by_id(topic).map(|topic| Arc::clone(&topic.configs)).unwrap_or_default();
        let mut config = TopicConfig::effective(&own, defaults);
        // Without a tier there is no older part anywhere.
        config.remote_storage_enable &= self.remote().is_some();
        Arc::new(config)
    }

    /// Every setting that a topic of this name would have with these of its own: what a creation that only checks answers.
    pub fn would_be_configs(
        &self,
        caller: &Caller,
        name: &str,
        own: &[(String, Option<String>)],
    ) -> Result<Vec<Described>, BrokerError> {
        if !self.may(caller, Operation::DescribeConfigs, Resource::Topic(name)) {
            return Err(KafkaError::TopicAuthorizationFailed.into());
        }
        let own = own.iter().filter_map(|(name, value)| Some((name.clone(), value.clone()?)));
        let own = TopicOverrides::new(own).map_err(decide::Refusal::from)?;
        Ok(describe_topic(&own, &self.topic_defaults(&self.image())))
    }

    /// Every setting of a topic, with its origin.
    pub fn topic_configs(&self, caller: &Caller, topic: &TopicRef) -> Result<Vec<Described>, BrokerError> {
        let image = self.image();
        let found = self.find_topic(&image, caller, Operation::DescribeConfigs, topic)?;
        Ok(describe_topic(&found.configs, &self.topic_defaults(&image)))
    }

    /// Changes a topic's settings: all of them or, with an error, none. They hold without a restart, once the [`Alteration`] says so.
    pub async fn alter_topic_configs(
        &self,
        caller: &Caller,
        topic: &str,
        edit: impl Into<ConfigEdit>,
        validate_only: bool,
    ) -> Result<Alteration, BrokerError> {
        let edit = edit.into();
        if !self.may_about(caller, Operation::AlterConfigs, Resource::Topic(topic), &Listed(edit.names())) {
            return Err(KafkaError::TopicAuthorizationFailed.into());
        }
        let alter = async {
            // What has no name has words of its own.
            let known = match topic.is_empty() {
                true => None,
                false => Some(self.known_topic(&self.image(), &TopicRef::from(topic))?.id),
            };
            let key_in_files = known.and_then(|id| self.observer()?.key_in_files(id));
            let decide = |image: &ClusterImage, settings: Settings<'_>| {
                decide::alter_topic_configs(image, settings, topic, &edit, key_in_files)
            };
            self.commit_settings(validate_only, decide).await?;
            // Whose topic is gone by now waits for nobody.
            let altered = self.image().topic(topic).map(|topic| topic.id).filter(|_| !validate_only);
            Ok(altered.map_or_else(Alteration::default, |id| Alteration::new(self, Concerns::Topic(id))))
        };
        let altered = alter.await;
        if !validate_only {
            let names = Listed(edit.names());
            self.audit_change(caller, "ALTER_TOPIC_CONFIGS", &format_args!("{topic}: {names}"), &altered);
        }
        altered
    }

    /// Every setting of this broker, or (with an empty name) what is set for all brokers.
    pub fn broker_configs(&self, caller: &Caller, name: &str) -> Result<Vec<Described>, BrokerError> {
        self.may_cluster(caller, Operation::DescribeConfigs)?;
        let image = self.image();
        let of = |node: Option<NodeId>| -> BrokerOverrides {
            image.broker_configs(node).map(|stored| stored.value.clone()).unwrap_or_default()
        };
        let for_all = of(None);
        match self.named_broker(name)? {
            Some(node) => Ok(self.config().describe(&for_all, &of(Some(node)))),
            None => {
                let mut described = self.config().describe(&for_all, &BrokerOverrides::default());
                described.retain(|config| config.source == ConfigSource::DynamicDefaultBroker);
                Ok(described)
            }
        }
    }

    /// Changes settings of this broker or (with an empty name) of all brokers while they run (KIP-226).
    pub async fn alter_broker_configs(
        &self,
        caller: &Caller,
        name: &str,
        edit: impl Into<ConfigEdit>,
        validate_only: bool,
    ) -> Result<Alteration, BrokerError> {
        let edit = edit.into();
        let (names, of) = (Listed(edit.names()), if name.is_empty() { "all" } else { name });
        self.may_cluster_about(caller, Operation::AlterConfigs, &format_args!("settings of broker {of}: {names}"))?;
        let alter = async {
            let node = self.named_broker(name)?;
            let tls = self.prepare_tls(node, &edit).await?;
            let decide = |image: &ClusterImage, settings: Settings<'_>| {
                decide::alter_broker_configs(image, settings, node, &edit)
            };
            self.commit_settings(validate_only, decide).await?;
            if let Some(tls) = tls.filter(|_| !validate_only) {
                tls.hold();
            }
            Ok(if validate_only { Alteration::default() } else { Alteration::new(self, Concerns::Everything) })
        };
        let altered = alter.await;
        if !validate_only {
            let names = Listed(edit.names());
            self.audit_change(caller, "ALTER_BROKER_CONFIGS", &format_args!("{of}: {names}"), &altered);
        }
        altered
    }

    /// Every setting of a group, whether there is such a group or not.
    pub fn group_configs(&self, caller: &Caller, group: &str) -> Result<Vec<Described>, BrokerError> {
        if !self.may(caller, Operation::DescribeConfigs, Resource::Group(group)) {
            return Err(KafkaError::GroupAuthorizationFailed.into());
        }
        if group.is_empty() {
            return Err(BrokerError::new(KafkaError::InvalidRequest, "Group name must not be empty"));
        }
        let image = self.image();
        let own = image.group_configs(group).map(|stored| stored.value.clone()).unwrap_or_default();
        Ok(self.with_running(&image, |for_all, for_this| own.describe(self.config(), for_all, for_this)))
    }

    /// Changes a group's settings. They hold from each member's next report on.
    pub async fn alter_group_configs(
        &self,
        caller: &Caller,
        group: &str,
        edit: impl Into<ConfigEdit>,
        validate_only: bool,
    ) -> Result<(), BrokerError> {
        let edit = edit.into();
        if !self.may_about(caller, Operation::AlterConfigs, Resource::Group(group), &Listed(edit.names())) {
            return Err(KafkaError::GroupAuthorizationFailed.into());
        }
        let altered = self
            .alter_plainly(validate_only, |image| decide::alter_group_configs(image, self.config(), group, &edit))
            .await;
        if !validate_only {
            let names = Listed(edit.names());
            self.audit_change(caller, "ALTER_GROUP_CONFIGS", &format_args!("{group}: {names}"), &altered);
        }
        altered
    }

    /// Changes what no partition follows, unless it is only to be judged.
    pub(crate) async fn alter_plainly(
        &self,
        validate_only: bool,
        decide: impl Fn(&ClusterImage) -> Result<Option<Transaction>, Refusal>,
    ) -> Result<(), BrokerError> {
        let plan = |image: &ClusterImage| {
            let change = decide(image)?;
            Ok(((), change.filter(|_| !validate_only).map_or_else(Plan::default, Plan::of)))
        };
        self.cluster_image().carry_out(plan).await
    }

    /// Every setting of a subscription to clients' metrics, whether there is one of this name or not.
    pub fn client_metrics(&self, caller: &Caller, name: &str) -> Result<Vec<Described>, BrokerError> {
        self.may_cluster(caller, Operation::DescribeConfigs)?;
        if name.is_empty() {
            let message = "Client metrics subscription name must not be empty";
            return Err(BrokerError::new(KafkaError::InvalidRequest, message));
        }
        let image = self.image();
        Ok(image
            .client_metrics(name)
            .map(|stored| stored.value.describe())
            .unwrap_or_else(|| ClientMetricsOverrides::default().describe()))
    }

    /// Changes a subscription to clients' metrics. It is only kept: no client is asked.
    pub async fn alter_client_metrics(
        &self,
        caller: &Caller,
        name: &str,
        edit: impl Into<ConfigEdit>,
        validate_only: bool,
    ) -> Result<(), BrokerError> {
        let edit = edit.into();
        let names = Listed(edit.names());
        self.may_cluster_about(caller, Operation::AlterConfigs, &format_args!("client metrics {name}: {names}"))?;
        let altered = self.alter_plainly(validate_only, |image| decide::alter_client_metrics(image, name, &edit)).await;
        if !validate_only {
            let names = Listed(edit.names());
            self.audit_change(caller, "ALTER_CLIENT_METRICS", &format_args!("{name}: {names}"), &altered);
        }
        altered
    }

    /// Changes what partitions follow, unless it is only to be judged.
    async fn commit_settings(
        &self,
        validate_only: bool,
        decide: impl Fn(&ClusterImage, Settings<'_>) -> Result<Option<Transaction>, Refusal>,
    ) -> Result<(), BrokerError> {
        let plan = |image: &ClusterImage| {
            let defaults = self.topic_defaults(image);
            let change = decide(image, Settings { broker: self.config(), defaults: &defaults })?;
            Ok(((), change.filter(|_| !validate_only).map_or_else(Plan::default, Plan::of)))
        };
        self.cluster_image().carry_out(plan).await
    }

    fn named_broker(&self, name: &str) -> Result<Option<NodeId>, BrokerError> {
        if name.is_empty() {
            return Ok(None);
        }
        match name.parse::<i32>() {
            Ok(number) if NodeId(number) == self.node() => Ok(Some(NodeId(number))),
            Ok(_) => Err(BrokerError::new(
                KafkaError::InvalidRequest,
                format!("Unexpected broker id, expected {} or empty string, but received {name}", self.node()),
            )),
            Err(_) => Err(BrokerError::new(
                KafkaError::InvalidRequest,
                format!("Broker id must be an integer, but it is: {name}"),
            )),
        }
    }
}

/// Says once of each stored setting that does not hold why it does not: at the start, and of one that comes later.
pub(crate) fn warn_of_unfit(before: &ClusterImage, image: &ClusterImage, changes: &[ImageChange]) {
    for change in changes {
        match change {
            ImageChange::Topic(id) => {
                let Some(topic) = image.topic_by_id(*id) else { continue };
                let known = before.topic_by_id(*id);
                for (name, unfit) in topic.configs.unfit() {
                    if known.is_none_or(|known| !known.configs.unfit().any(|old| old == (name, unfit))) {
                        warn!(topic = %topic.name, name, value = unfit.value, reason = %unfit.reason, "{KEPT}");
                    }
                }
            }
            ImageChange::BrokerConfigs(node) => {
                let Some(stored) = image.broker_configs(*node) else { continue };
                let broker = node.map_or("default".to_owned(), |node| node.to_string());
                let known = before.broker_configs(*node);
                for (name, unfit) in stored.value.unfit() {
                    if known.is_none_or(|known| !known.value.unfit().any(|old| old == (name, unfit))) {
                        let value = BrokerOverrides::told(name, &unfit.value);
                        warn!(broker, name, value, reason = %unfit.reason, "{KEPT}");
                    }
                }
            }
            ImageChange::Quotas(entity) => {
                let Some(stored) = image.quotas_of(entity) else { continue };
                let known = before.quotas_of(entity);
                for (name, value) in &stored.value.unfit {
                    if known.is_none_or(|known| known.value.unfit.get(name) != Some(value)) {
                        warn!(%entity, name, value, "a stored quota is none that is known here and does not hold; remove it");
                    }
                }
            }
            ImageChange::GroupConfigs(group) => {
                let Some(stored) = image.group_configs(group) else { continue };
                let known = before.group_configs(group);
                for (name, unfit) in stored.value.unfit() {
                    if known.is_none_or(|known| !known.value.unfit().any(|old| old == (name, unfit))) {
                        warn!(group, name, value = unfit.value, reason = %unfit.reason, "{KEPT}");
                    }
                }
            }
            ImageChange::ClientMetrics(subscription) => {
                let Some(stored) = image.client_metrics(subscription) else { continue };
                let known = before.client_metrics(subscription);
                for (name, unfit) in stored.value.unfit() {
                    if known.is_none_or(|known| !known.value.unfit().any(|old| old == (name, unfit))) {
                        warn!(subscription, name, value = unfit.value, reason = %unfit.reason, "{KEPT}");
                    }
                }
            }
            _ => {}
        }
    }
}

/// What is said of a stored setting that does not hold.
const KEPT: &str = "a stored setting does not hold and the default is used; set it anew or delete it";
