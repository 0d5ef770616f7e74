//! Reassignments of partitions to brokers (KIP-455). Decides whether one is possible; with one node none moves anything.

use tidelog_model::{KafkaError, NodeId, PartitionIndex};

use super::Refusal;
use super::placement::check_manual;
use crate::image::ClusterImage;

/// Is it possible that the partition gets these replicas? `None` ends a reassignment that is under way. What passes changes nothing:
/// the replicas are those that the partition has.
pub fn check_reassignment(
    image: &ClusterImage,
    name: &str,
    index: PartitionIndex,
    replicas: Option<&[NodeId]>,
    another_factor: bool,
) -> Result<(), Refusal> {
    let unknown = |what: String| Refusal::new(KafkaError::UnknownTopicOrPartition, what);
    let topic = image.topic(name).ok_or_else(|| unknown(format!("Unable to find a topic named {name}.")))?;
    let partition =
        topic.partition(index).ok_or_else(|| unknown(format!("Unable to find partition {name}:{index}.")))?;
    let state = &partition.state;
    let Some(replicas) = replicas else {
        // Nothing begins a reassignment, so none is under way.
        return Err(KafkaError::NoReassignmentInProgress.into());
    };
    check_manual(image, &[replicas.to_vec()], index.get(), None)?;
    if !another_factor && replicas.len() != state.replicas.len() {
        return Err(Refusal::new(
            KafkaError::InvalidReplicationFactor,
            format!("The replication factor is changed from {} to {}", state.replicas.len(), replicas.len()),
        ));
    }
    if replicas != state.replicas {
        return Err(Refusal::new(
            KafkaError::InvalidReplicaAssignment,
            "This version moves no partition from one broker to another.",
        ));
    }
    Ok(())
}
