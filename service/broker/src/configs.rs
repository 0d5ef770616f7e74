//! Settings of topics and brokers: describe and alter.

use std::sync::Arc;

use tidelog_metadata::broker_config::BrokerOverrides;
use tidelog_metadata::decide::{self, ConfigChange, Plan, Settings};
use tidelog_metadata::topic_config::describe_topic;
use tidelog_metadata::{ClusterImage, Described, TopicConfig, TopicDefaults};
use tidelog_model::{Caller, KafkaError, NodeId, TopicId};
use tidelog_security::{Operation, Resource};

use crate::broker::Broker;
use crate::{BrokerError, TopicRef};

impl Broker {
    /// What topics get where they set nothing.
    pub(crate) fn topic_defaults(&self, image: &ClusterImage) -> TopicDefaults {
        let of = |node| image.broker_configs(node).map(|stored| stored.value.clone()).unwrap_or_default();
        let (for_all, for_this) = (of(None), of(Some(self.node())));
        // Values were checked when they were set.
        let defaults = self.config().topic_defaults(&for_all, &for_this).unwrap_or_default();
        defaults.with_remote_storage(self.tiers_by_default())
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

    /// Every setting of a topic, with its origin.
    pub fn topic_configs(&self, caller: &Caller, topic: &TopicRef) -> Result<Vec<Described>, BrokerError> {
        let image = self.image();
        let found = self.find_topic(&image, caller, Operation::DescribeConfigs, topic)?;
        Ok(describe_topic(&found.configs, &self.topic_defaults(&image)))
    }

    /// Changes a topic's settings: all of them or, with an error, none. They hold without a restart.
    pub async fn alter_topic_configs(
        &self,
        caller: &Caller,
        topic: &str,
        changes: Vec<ConfigChange>,
        validate_only: bool,
    ) -> Result<(), BrokerError> {
        self.find_topic(&self.image(), caller, Operation::AlterConfigs, &TopicRef::from(topic))?;
        self.cluster_image()
            .carry_out(|image| {
                let defaults = self.topic_defaults(image);
                let settings = Settings { broker: self.config(), defaults: &defaults };
                let change = decide::alter_topic_configs(image, settings, topic, &changes)?;
                Ok(((), change.filter(|_| !validate_only).map_or_else(Plan::default, Plan::of)))
            })
            .await
    }

    /// Every setting of this broker, or (with an empty name) what is set for all brokers.
    pub fn broker_configs(&self, caller: &Caller, name: &str) -> Result<Vec<Described>, BrokerError> {
        if !self.may(caller, Operation::DescribeConfigs, Resource::Cluster) {
            return Err(KafkaError::ClusterAuthorizationFailed.into());
        }
        let image = self.image();
        let of = |node: Option<NodeId>| -> BrokerOverrides {
            image.broker_configs(node).map(|stored| stored.value.clone()).unwrap_or_default()
        };
        let for_all = of(None);
        match self.named_broker(name)? {
            Some(node) => Ok(self.config().describe(&for_all, &of(Some(node)))),
            None => {
                let mut described = self.config().describe(&for_all, &BrokerOverrides::default());
                described.retain(|config| for_all.get(config.def.name).is_some());
                Ok(described)
            }
        }
    }

    /// Changes settings of this broker or (with an empty name) of all brokers while they run (KIP-226).
    pub async fn alter_broker_configs(
        &self,
        caller: &Caller,
        name: &str,
        changes: Vec<ConfigChange>,
        validate_only: bool,
    ) -> Result<(), BrokerError> {
        if !self.may(caller, Operation::AlterConfigs, Resource::Cluster) {
            return Err(KafkaError::ClusterAuthorizationFailed.into());
        }
        let node = self.named_broker(name)?;
        self.cluster_image()
            .carry_out(|image| {
                let defaults = self.topic_defaults(image);
                let settings = Settings { broker: self.config(), defaults: &defaults };
                let change = decide::alter_broker_configs(image, settings, node, &changes)?;
                Ok(((), change.filter(|_| !validate_only).map_or_else(Plan::default, Plan::of)))
            })
            .await
    }

    fn named_broker(&self, name: &str) -> Result<Option<NodeId>, BrokerError> {
        if name.is_empty() {
            return Ok(None);
        }
        match name.parse::<i32>() {
            Ok(number) if NodeId(number) == self.node() => Ok(Some(NodeId(number))),
            _ => Err(BrokerError::new(
                KafkaError::InvalidRequest,
                format!("this is broker {}: it has no configuration of broker {name}", self.node()),
            )),
        }
    }
}
