//! Leaders and replicas as an administrator asks for them: elections (KIP-183, KIP-460) and reassignments (KIP-455).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tidelog_metadata::decide::{self, Election};
use tidelog_model::{Caller, KafkaError, NodeId, PartitionIndex};
use tidelog_security::{Operation, Resource};

use crate::BrokerError;
use crate::broker::Broker;

/// A partition by its topic's name, not checked yet.
pub type NamedPartition = (Arc<str>, PartitionIndex);

/// A reassignment that is under way.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reassignment {
    /// The partition.
    pub partition: NamedPartition,
    /// Its replicas.
    pub replicas: Vec<NodeId>,
    /// Those among them that are being added.
    pub adding: Vec<NodeId>,
    /// Those among them that are being removed.
    pub removing: Vec<NodeId>,
}

impl Broker {
    /// Elects leaders of these partitions, or (`None`) of all.
    pub async fn elect_leaders(
        &self,
        caller: &Caller,
        election: Election,
        partitions: Option<impl Iterator<Item = NamedPartition>>,
    ) -> Result<Vec<(NamedPartition, Result<(), BrokerError>)>, BrokerError> {
        self.may_cluster(caller, Operation::Alter)?;
        let all = partitions.is_none();
        let partitions: Vec<NamedPartition> = match partitions {
            Some(named) => named.collect(),
            None => {
                let image = self.image();
                let of = |topic: &Arc<tidelog_metadata::Topic>| {
                    let name: Arc<str> = Arc::from(topic.name.as_str());
                    topic.partitions().map(move |(index, _)| (name.clone(), index)).collect::<Vec<_>>()
                };
                image.topics().flat_map(of).collect()
            }
        };
        let mut results = Vec::new();
        for (topic, index) in partitions {
            let result = self.elect_leader(&topic, index, election).await;
            let needless = matches!(&result, Err(error) if error.error == KafkaError::ElectionNotNeeded);
            if !(all && needless) {
                self.audit_change(caller, "ELECT_LEADER", &format_args!("{topic}-{index}"), &result);
            }
            results.push(((topic, index), result));
        }
        Ok(results)
    }

    async fn elect_leader(&self, topic: &str, index: PartitionIndex, election: Election) -> Result<(), BrokerError> {
        let known = self.image().topic(topic).map(|topic| topic.id);
        if known.is_some_and(|id| self.replicas().is_offline(id, index)) {
            // The log is offline, and on one node nobody else has it.
            return Err(election.nobody().into());
        }
        self.cluster_image().carry_out(|image| Ok(((), decide::elect_leader(image, topic, index, election)?))).await
    }

    /// Gives partitions these replicas, or (`None`) ends what is under way; results in the request's order.
    pub fn reassign(
        &self,
        caller: &Caller,
        targets: impl Iterator<Item = (NamedPartition, Option<Vec<NodeId>>)>,
        another_factor: bool,
    ) -> Result<Vec<Result<(), BrokerError>>, BrokerError> {
        self.may_cluster(caller, Operation::Alter)?;
        let image = self.image();
        let check = |((topic, index), replicas): (NamedPartition, Option<Vec<NodeId>>)| {
            let checked = decide::check_reassignment(&image, &topic, index, replicas.as_deref(), another_factor);
            let checked = checked.map_err(BrokerError::from);
            self.audit_change(caller, "REASSIGN_PARTITION", &format_args!("{topic}-{index}"), &checked);
            checked
        };
        Ok(targets.map(check).collect())
    }

    /// The reassignments that are under way, of these partitions or (`None`) of all.
    pub fn reassignments(
        &self,
        caller: &Caller,
        partitions: Option<impl Iterator<Item = NamedPartition>>,
    ) -> Result<Vec<Reassignment>, BrokerError> {
        self.may_cluster(caller, Operation::Describe)?;
        let partitions = partitions.map(|named| {
            let mut wanted: BTreeMap<Arc<str>, BTreeSet<PartitionIndex>> = BTreeMap::new();
            for (topic, index) in named {
                wanted.entry(topic).or_default().insert(index);
            }
            wanted
        });
        let wanted = |topic: &str, index: PartitionIndex| {
            partitions.as_ref().is_none_or(|wanted| wanted.get(topic).is_some_and(|set| set.contains(&index)))
        };
        let mut found = Vec::new();
        for topic in self.image().topics() {
            for (index, partition) in topic.partitions() {
                let state = &partition.state;
                let moves = !state.adding.is_empty() || !state.removing.is_empty();
                if moves && wanted(topic.name.as_str(), index) {
                    found.push(Reassignment {
                        partition: (Arc::from(topic.name.as_str()), index),
                        replicas: state.replicas.clone(),
                        adding: state.adding.clone(),
                        removing: state.removing.clone(),
                    });
                }
            }
        }
        Ok(found)
    }

    /// Forgets a broker that is gone for good. One that runs keeps its registration: it is bound to the lease that the broker holds.
    pub fn unregister_broker(&self, caller: &Caller, node: NodeId) -> Result<(), BrokerError> {
        self.may_cluster_about(caller, Operation::Alter, &format_args!("no broker {node}"))?;
        let refused = Err(match self.image().brokers().any(|(registered, _)| registered == node) {
            true => BrokerError::new(KafkaError::InvalidRequest, format!("Broker {node} is running; stop it first.")),
            false => {
                let message = format!("Broker ID {node} is not currently registered");
                BrokerError::new(KafkaError::BrokerIdNotRegistered, message)
            }
        });
        self.audit_change(caller, "UNREGISTER_BROKER", &node, &refused);
        refused
    }

    /// Refuses who may not do this to the cluster.
    pub(crate) fn may_cluster(&self, caller: &Caller, operation: Operation) -> Result<(), BrokerError> {
        if self.may(caller, operation, Resource::Cluster) {
            Ok(())
        } else {
            Err(KafkaError::ClusterAuthorizationFailed.into())
        }
    }
}
