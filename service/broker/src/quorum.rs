//! Who keeps the metadata, and which levels of features hold, as Kafka's tools ask for it (KIP-595, KIP-584).

use tidelog_metadata::decide::{self, FeatureUpdate};
use tidelog_metadata::features::{FEATURES, FeatureLevel, GROUP_VERSION};
use tidelog_metadata::keys::Endpoint;
use tidelog_model::{Caller, NodeId, Timestamp, TopicId};
use tidelog_security::Operation;

use crate::BrokerError;
use crate::about::Listed;
use crate::broker::Broker;

/// The quorum of the metadata. The store decides; this broker, which holds the controller's role, speaks for it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct QuorumDescription {
    /// The controller.
    pub leader: NodeId,
    /// The revision at which it took the role, as far as Kafka's 32 bits hold it.
    pub leader_epoch: i32,
    /// The last revision of the metadata that this broker has.
    pub revision: i64,
    /// The id of the controller's data directory.
    pub directory: TopicId,
    /// Now.
    pub time: Timestamp,
    /// The controller's listeners.
    pub endpoints: Vec<Endpoint>,
}

/// The features at one moment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FeaturesDescription {
    /// Each feature.
    pub levels: Vec<FeatureLevel>,
    /// Grows whenever a level may have changed.
    pub epoch: i64,
}

impl Broker {
    /// The quorum of the metadata.
    pub fn quorum(&self, caller: &Caller) -> Result<QuorumDescription, BrokerError> {
        self.may_cluster(caller, Operation::Describe)?;
        let image = self.image();
        let controller = image.controller();
        let leader = controller.map_or(self.node(), |controller| controller.value.broker);
        let endpoints = image.broker(leader).map(|broker| broker.value.endpoints.clone()).unwrap_or_default();
        Ok(QuorumDescription {
            leader,
            leader_epoch: controller.map_or(0, |c| i32::try_from(c.revision.get()).unwrap_or(i32::MAX)),
            revision: image.revision().get(),
            directory: self.directory_id(),
            time: self.clock().now().wall,
            endpoints,
        })
    }

    /// The features. Everybody may know them: clients ask before they say who they are.
    pub fn features(&self, _caller: &Caller) -> FeaturesDescription {
        let image = self.image();
        let level = |feature| FeatureLevel { feature, level: image.feature_level(feature) };
        FeaturesDescription { levels: FEATURES.iter().map(level).collect(), epoch: image.revision().get() }
    }

    /// Agrees on these levels: on all of them or, with an error, on none.
    pub async fn update_features(
        &self,
        caller: &Caller,
        updates: &[FeatureUpdate],
        validate_only: bool,
    ) -> Result<(), BrokerError> {
        self.may_cluster_about(caller, Operation::Alter, &Listed(updates.iter().map(|(name, ..)| name)))?;
        let agreed = self.alter_plainly(validate_only, |image| decide::update_features(image, updates)).await;
        for (name, level, _) in updates.iter().filter(|_| !validate_only) {
            self.audit_change(caller, "UPDATE_FEATURE", &format_args!("{name} to {level}"), &agreed);
        }
        agreed
    }

    /// Has the cluster agreed on the consumer protocol (KIP-848)?
    pub(crate) fn has_consumer_protocol(&self) -> bool {
        let feature = FEATURES.iter().find(|feature| feature.name == GROUP_VERSION);
        feature.is_some_and(|feature| self.image().feature_level(feature) > 0)
    }
}
