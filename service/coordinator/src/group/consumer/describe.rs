//! The group as administrators see it.

use std::sync::Arc;

use super::Consumer;
use super::heartbeat::listed;
use super::subscriptions::Draft;
use crate::group::api::{ConsumerDescription, ConsumerMemberDescription, TopicPartitions};
use crate::group::config::GroupConfig;
use crate::group::records::{MemberState, Partitions};

impl Consumer {
    /// Kafka's name of the group's state.
    pub(crate) fn state(&self) -> &'static str {
        let target = self.target_epoch();
        if self.members.is_empty() {
            "Empty"
        } else if self.epoch() > target {
            "Assigning"
        } else if self
            .members
            .values()
            .any(|member| member.current.state != MemberState::Stable || member.current.epoch != target)
        {
            "Reconciling"
        } else {
            "Stable"
        }
    }

    pub(crate) fn describe(&self, config: &GroupConfig) -> ConsumerDescription {
        let members = self.members.iter().map(|(id, member)| ConsumerMemberDescription {
            member_id: id.clone(),
            is_classic: member.subscriber.classic.is_some(),
            instance_id: member.subscriber.instance_id.clone(),
            rack_id: member.subscriber.rack_id.clone(),
            epoch: member.current.epoch,
            client_id: Arc::clone(&member.subscriber.client_id),
            client_host: Arc::clone(&member.subscriber.client_host),
            topics: member.subscriber.topics.iter().cloned().collect(),
            regex: member.subscriber.regex.clone(),
            assigned: listed(&member.current.assigned),
            target: self.targets.get(id).map(targeted).unwrap_or_default(),
        });
        ConsumerDescription {
            group: self.id.clone(),
            state: self.state(),
            epoch: self.epoch(),
            target_epoch: self.target_epoch(),
            assignor: self.preferred(config, Draft::default()).name(),
            members: members.collect(),
        }
    }
}

fn targeted(target: &Partitions) -> Vec<TopicPartitions> {
    let one = |(topic, partitions): (&_, &std::collections::BTreeSet<_>)| TopicPartitions {
        topic: *topic,
        partitions: partitions.iter().copied().collect(),
    };
    target.iter().map(one).collect()
}
