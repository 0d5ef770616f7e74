//! Blocks of producer ids (KIP-730). Decides which ids come next; ids of a block that is lost in a crash are never used.

use tidelog_model::{KafkaError, ProducerId};

use super::Refusal;
use crate::image::ClusterImage;
use crate::keys::{Key, ProducerIdsValue};
use crate::limits::PRODUCER_ID_BLOCK;
use crate::port::{Compare, Transaction, Write};

/// Producer ids `[first, end)`, ours once the transaction is committed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ProducerIdBlock {
    /// The first id.
    pub first: ProducerId,
    /// One past the last id.
    pub end: ProducerId,
}

/// Reserves the next block.
pub fn reserve_producer_ids(image: &ClusterImage) -> Result<(Transaction, ProducerIdBlock), Refusal> {
    let key = Key::ProducerIds;
    let (compare, first) = match image.producer_ids() {
        None => (Compare::absent(key.clone()), ProducerId(0)),
        Some(stored) => (Compare::unchanged(key.clone(), stored.revision), stored.value.next),
    };
    let end = first
        .get()
        .checked_add(PRODUCER_ID_BLOCK)
        .ok_or_else(|| Refusal::new(KafkaError::UnknownServerError, "All producer ids are used up."))?;
    let block = ProducerIdBlock { first, end: ProducerId(end) };
    let write = Write::put(key, ProducerIdsValue { next: block.end }.encode());
    Ok((Transaction { compares: vec![compare], writes: vec![write] }, block))
}
