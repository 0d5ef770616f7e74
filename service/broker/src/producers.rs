//! DescribeProducers: who writes to a partition, and who holds its last stable offset back (KIP-664).

use tidelog_model::{Caller, KafkaError, PartitionIndex};
use tidelog_security::Operation;

use crate::broker::Broker;
use crate::{ActiveProducer, BrokerError, TopicRef};

impl Broker {
    /// The producers that a partition remembers, by id.
    pub fn active_producers(
        &self,
        caller: &Caller,
        topic: &TopicRef,
        partition: PartitionIndex,
    ) -> Result<Vec<ActiveProducer>, BrokerError> {
        let (_, replica) = self.find_partition(caller, Operation::Read, topic, partition)?;
        if replica.view.offline().is_some() {
            return Err(KafkaError::KafkaStorageError.into());
        }
        Ok(replica.with_machine(|machine| {
            let active = machine.sums().producers.iter().map(|entry| ActiveProducer {
                id: entry.producer_id,
                epoch: entry.epoch,
                last_sequence: entry.last_sequence(),
                last_timestamp: entry.last_timestamp,
                coordinator_epoch: entry.coordinator_epoch,
                transaction_start: entry.open_transaction,
            });
            active.collect()
        }))
    }
}
