//! Producer ids: handed out from blocks that are reserved in the metadata store, so that none is given twice.

use tidelog_metadata::decide::{Plan, ProducerIdBlock, reserve_producer_ids};
use tidelog_model::{Caller, KafkaError, ProducerEpoch, ProducerId};
use tidelog_security::{Operation, Resource, ResourceType, Way};
use tokio::sync::Mutex;

use crate::broker::Broker;
use crate::{BrokerError, ProducerIdentity};

/// What is left of the reserved block.
#[derive(Default)]
pub(crate) struct ProducerIds {
    left: Mutex<Option<ProducerIdBlock>>,
}

impl Broker {
    /// A new producer id for an idempotent producer, also for one that comes back: without a transactional id nobody keeps its epoch.
    pub async fn init_producer_id(&self, caller: &Caller) -> Result<ProducerIdentity, BrokerError> {
        // KIP-679: whoever may write somewhere may do it idempotently.
        let any = Way::Any(Operation::Write, ResourceType::Topic);
        if !self.may_one_of(caller, &[any, Way::Only(Operation::IdempotentWrite, Resource::Cluster)]) {
            return Err(KafkaError::ClusterAuthorizationFailed.into());
        }
        Ok(ProducerIdentity { id: self.next_producer_id().await?, epoch: ProducerEpoch(0) })
    }

    /// A producer id that nobody has.
    pub(crate) async fn next_producer_id(&self) -> Result<ProducerId, BrokerError> {
        let mut left = self.producer_ids().left.lock().await;
        let block = match *left {
            Some(block) if block.first < block.end => block,
            _ => {
                self.cluster_image()
                    .carry_out(|image| {
                        let (transaction, block) = reserve_producer_ids(image)?;
                        Ok((block, Plan::of(transaction)))
                    })
                    .await?
            }
        };
        *left = Some(ProducerIdBlock { first: ProducerId(block.first.get().saturating_add(1)), end: block.end });
        Ok(block.first)
    }
}
