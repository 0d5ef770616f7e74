//! What the answers about transactions have in common.

use tidelog_model::KafkaError;

/// The error as the version knows it: before KIP-588 a producer with an old epoch heard INVALID_PRODUCER_EPOCH.
pub(crate) fn fenced(error: KafkaError, knows_fencing: bool) -> KafkaError {
    match error {
        KafkaError::ProducerFenced if !knows_fencing => KafkaError::InvalidProducerEpoch,
        other => other,
    }
}
