//! Decides about partitions: which ones an open transaction gets, and whether one belongs to it (KIP-890).

use tidelog_model::{KafkaError, Timestamp, TopicPartition};

use super::api::{AddPartitions, Producer, TransactionReply};
use super::shard::Step;
use super::state::{Stored, Transaction, TransactionState};

/// What AddPartitionsToTxn leads to. The first partitions open the transaction.
pub(crate) fn add(now: Timestamp, found: Option<&Transaction>, call: &AddPartitions) -> Step {
    let transaction = match usable(found, call.producer) {
        Ok(transaction) => transaction,
        Err(error) => return Step::answer(TransactionReply::Add(Err(error))),
    };
    let stored = &transaction.stored;
    let is_open = stored.state == TransactionState::Ongoing;
    let reply = TransactionReply::Add(Ok(()));
    if is_open && call.partitions.is_subset(&stored.partitions) {
        return Step::answer(reply);
    }
    let next = Stored {
        partitions: stored.partitions.union(&call.partitions).cloned().collect(),
        started: if is_open { stored.started } else { now },
        client_level: call.version.level(),
        ..stored.successor(TransactionState::Ongoing, now)
    };
    Step { last_epoch: transaction.last_epoch, reply: Some(reply), ..Step::to(next) }
}

/// Is each partition part of the producer's open transaction?
pub(crate) fn verify(
    found: Option<&Transaction>,
    producer: Producer,
    partitions: &[TopicPartition],
) -> Vec<Result<(), KafkaError>> {
    match usable(found, producer) {
        Ok(transaction) => {
            let part = |partition| {
                let known = transaction.stored.partitions.contains(partition);
                if known { Ok(()) } else { Err(KafkaError::TransactionAbortable) }
            };
            partitions.iter().map(part).collect()
        }
        Err(error) => vec![Err(error); partitions.len()],
    }
}

/// The transaction, if this producer may use it now.
fn usable(found: Option<&Transaction>, producer: Producer) -> Result<&Transaction, KafkaError> {
    let transaction = found.ok_or(KafkaError::InvalidProducerIdMapping)?;
    let stored = &transaction.stored;
    // First: the producer may have heard of its next id already, before the record that makes it current.
    if stored.state.is_prepared() {
        return Err(KafkaError::ConcurrentTransactions);
    }
    if stored.producer.id != producer.id {
        return Err(KafkaError::InvalidProducerIdMapping);
    }
    if stored.producer.epoch != producer.epoch {
        return Err(KafkaError::ProducerFenced);
    }
    Ok(transaction)
}
