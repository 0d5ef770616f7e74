//! Control records: what brokers write between the applications' records. Key: version i16, type i16. Value of an end-transaction
//! marker: version i16, coordinator epoch i32.

use tidelog_model::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Sequence, Timestamp};

use crate::wire::{i16_at, i32_at};
use crate::{Batch, BatchBuilder, BatchError, RecordViews};

/// How a transaction ended.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum MarkerKind {
    /// Type 0.
    Abort,
    /// Type 1.
    Commit,
}

/// The end of a producer's transaction in one partition (KIP-98).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct EndTransactionMarker {
    /// Commit or abort.
    pub kind: MarkerKind,
    /// Epoch of the transaction coordinator that wrote it; an older one is fenced.
    pub coordinator_epoch: i32,
}

/// The record of a control batch.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ControlRecord {
    /// The end of a transaction.
    EndTransaction(EndTransactionMarker),
    /// Another type of Kafka's (leader change, snapshot header …), which partitions ignore.
    Other(i16),
}

/// Control batches hold one small record; more is not believed.
const MAX_CONTROL_BODY_BYTES: usize = 64 * 1024;
const VERSION: i16 = 0;

impl ControlRecord {
    /// Reads key and value of a control record. Newer versions are read by the fields known here, as Kafka does.
    pub fn parse(key: Option<&[u8]>, value: Option<&[u8]>) -> Result<Self, BatchError> {
        let key = key.ok_or(BatchError::Control("it has no key"))?;
        let version = i16_at(key, 0).ok_or(BatchError::Control("its key is cut off"))?;
        if version < 0 {
            return Err(BatchError::Control("its key's version is negative"));
        }
        let kind = match i16_at(key, 2).ok_or(BatchError::Control("its key is cut off"))? {
            0 => MarkerKind::Abort,
            1 => MarkerKind::Commit,
            other => return Ok(ControlRecord::Other(other)),
        };
        let value = value.ok_or(BatchError::Control("the marker has no value"))?;
        if i16_at(value, 0).is_none_or(|version| version < 0) {
            return Err(BatchError::Control("the marker's value is cut off"));
        }
        let coordinator_epoch = i32_at(value, 2).ok_or(BatchError::Control("the marker's value is cut off"))?;
        Ok(ControlRecord::EndTransaction(EndTransactionMarker { kind, coordinator_epoch }))
    }

    /// Reads the record of a control batch; `None` if compaction has removed it.
    pub fn of_batch(batch: &Batch) -> Result<Option<Self>, BatchError> {
        if !batch.header().attributes.is_control() {
            return Err(BatchError::Control("it is not a control batch"));
        }
        let body = batch.body(MAX_CONTROL_BODY_BYTES)?;
        match RecordViews::new(batch.header(), &body).next() {
            Some(record) => record.and_then(|record| Self::parse(record.key, record.value)).map(Some),
            None => Ok(None),
        }
    }
}

impl EndTransactionMarker {
    /// The marker of a batch: `None` if it is not a control batch, or one without an end-transaction marker.
    pub fn of_batch(batch: &Batch) -> Result<Option<Self>, BatchError> {
        if !batch.header().attributes.is_control() {
            return Ok(None);
        }
        Ok(match ControlRecord::of_batch(batch)? {
            Some(ControlRecord::EndTransaction(marker)) => Some(marker),
            Some(ControlRecord::Other(_)) | None => None,
        })
    }

    /// The key's four bytes.
    pub fn key(&self) -> [u8; 4] {
        let kind = match self.kind {
            MarkerKind::Abort => 0,
            MarkerKind::Commit => 1,
        };
        [0, VERSION as u8, 0, kind]
    }

    /// The value's six bytes.
    pub fn value(&self) -> [u8; 6] {
        let [a, b, c, d] = self.coordinator_epoch.to_be_bytes();
        [0, VERSION as u8, a, b, c, d]
    }

    /// The control batch that ends the producer's transaction, to be appended at `base_offset`.
    pub fn batch(
        &self,
        base_offset: Offset,
        leader_epoch: LeaderEpoch,
        producer_id: ProducerId,
        producer_epoch: ProducerEpoch,
        timestamp: Timestamp,
    ) -> Result<Batch, BatchError> {
        let mut builder = BatchBuilder::new(base_offset)
            .leader_epoch(leader_epoch)
            .producer(producer_id, producer_epoch, Sequence::NONE)
            .transactional(true)
            .control(true);
        builder.push(timestamp, Some(&self.key()), Some(&self.value()), &[])?;
        builder.build()
    }
}
