//! Batches that are decoded here are checked first: decides what of a read is as it was written, and what lies where it is not. Whoever
//! decodes reads through [`crate::Broker::read`]; Kafka's clients check what they fetch themselves.

use bytes::Bytes;
use tidelog_model::{Offset, TopicIdPartition};
use tidelog_record::{Batch, BatchError, Batches, check_crc};
use tracing::error;

use crate::limits::MAX_TOLD_DAMAGES;
use crate::replica::Replica;
use crate::types::DamagedBatch;

/// What a read has found.
#[derive(Debug)]
pub(crate) struct Sound {
    /// Batches whose checksum holds, up to the first one of which it does not; nothing lies in front of them that is not below the offset.
    pub(crate) batches: Bytes,
    /// Only where the batch with the offset that was asked for is damaged; then there is nothing else.
    pub(crate) damaged: Option<DamagedBatch>,
}

/// Where a read met what is no batch, so that nobody can tell where the next one begins.
#[derive(Debug)]
pub(crate) struct NoBatch {
    pub(crate) offset: Offset,
    pub(crate) reason: BatchError,
}

/// The sound batches of a read from `offset` on, none of which may be seen from `end` on.
pub(crate) fn sound(read: Bytes, offset: Offset, end: Offset) -> Result<Sound, NoBatch> {
    let mut from = 0;
    let mut next = offset;
    let mut batches = Batches::strict(read.clone());
    loop {
        let at = batches.position();
        let batch = match batches.next() {
            None => return Ok(Sound { batches: read.slice(from..), damaged: None }),
            Some(Ok(batch)) => batch,
            Some(Err(_)) if at > from => return Ok(Sound { batches: read.slice(from..at), damaged: None }),
            Some(Err(reason)) => return Err(NoBatch { offset: next, reason }),
        };
        let Err(reason) = check_crc(&batch) else {
            next = next.max(batch.header().next_offset());
            continue;
        };
        if at > from {
            return Ok(Sound { batches: read.slice(from..at), damaged: None });
        }
        let base = batch.header().base_offset;
        let Some(behind) = behind(&batch, batches.clone().next(), end) else {
            return Err(NoBatch { offset: base, reason });
        };
        if behind > offset {
            let damaged = DamagedBatch { base, start: next.max(base), end: behind, reason: reason.to_string() };
            return Ok(Sound { batches: Bytes::new(), damaged: Some(damaged) });
        }
        from = batches.position();
    }
}

/// The offset behind a damaged batch, whose own word on it may be what is damaged: the next batch's is better.
fn behind(batch: &Batch, following: Option<Result<Batch, BatchError>>, end: Offset) -> Option<Offset> {
    let header = batch.header();
    let following = following.and_then(Result::ok).filter(|following| check_crc(following).is_ok());
    let limit = following.map(|following| following.header().base_offset).filter(|next| *next <= end);
    let own = Some(header.next_offset()).filter(|next| *next <= limit.unwrap_or(end));
    own.or(limit).filter(|behind| *behind > header.base_offset)
}

/// What a caller reads of a place that is damaged.
pub(crate) fn words(partition: &TopicIdPartition, offset: Offset, reason: &impl std::fmt::Display) -> String {
    let (topic, index) = (&partition.topic, partition.partition);
    format!(
        "Topic {topic}, partition {index}: the batch at offset {offset} is damaged on the disk ({reason}). `tidelog log dump` of the \
         folder {topic}-{index} in the data directory shows the place."
    )
}

/// Tells a person, once for each place.
pub(crate) fn tell(replica: &Replica, offset: Offset, reason: &impl std::fmt::Display) {
    {
        let mut told = replica.told_damages.lock();
        if told.len() >= MAX_TOLD_DAMAGES || !told.insert(offset) {
            return;
        }
    }
    metrics::counter!("tidelog_log_damaged_batches_total").increment(1);
    let (topic, partition) = (&replica.id.topic, replica.id.partition);
    error!(
        %topic, %partition, %offset, %reason,
        "a reader met a damaged record batch and gets none of its records; `tidelog log dump` of the partition's folder shows the place"
    );
}

#[cfg(test)]
mod tests {
    use tidelog_model::Timestamp;
    use tidelog_record::BatchBuilder;

    use super::*;

    fn batch(base: i64, records: usize) -> Vec<u8> {
        let mut builder = BatchBuilder::new(Offset(base));
        for _ in 0..records {
            builder.push(Timestamp(1), None, Some(b"value"), &[]).unwrap();
        }
        builder.build().unwrap().into_bytes().to_vec()
    }

    fn damaged(base: i64, records: usize) -> Vec<u8> {
        let mut bytes = batch(base, records);
        *bytes.last_mut().unwrap() ^= 1;
        // What comes behind the value: the count of headers.
        let at = bytes.len() - 3;
        bytes[at] ^= 1;
        bytes
    }

    /// The base offsets of what is sound, or what is damaged.
    fn read(batches: &[Vec<u8>], offset: i64, end: i64) -> Result<Vec<i64>, (i64, i64)> {
        let found = sound(batches.concat().into(), Offset(offset), Offset(end)).unwrap();
        match found.damaged {
            Some(damaged) => {
                assert!(found.batches.is_empty() && damaged.reason.contains("CRC32C"), "{damaged:?}");
                Err((damaged.start.get(), damaged.end.get()))
            }
            None => Ok(Batches::strict(found.batches).map(|batch| batch.unwrap().header().base_offset.get()).collect()),
        }
    }

    #[test]
    fn what_lies_before_damage_is_read_and_then_the_damage_is_told() {
        let log = [batch(0, 2), batch(2, 3), damaged(5, 4), batch(9, 1)];
        assert_eq!(read(&log[..2], 0, 10), Ok(vec![0, 2]));
        assert_eq!(read(&log, 0, 10), Ok(vec![0, 2]));
        assert_eq!(read(&log[2..], 5, 10), Err((5, 9)));
        assert_eq!(read(&log[2..3], 7, 10), Err((7, 9)), "the reader begins inside of it");
        assert_eq!(read(&log[3..], 9, 10), Ok(vec![9]));
        assert_eq!(read(&[], 9, 10), Ok(vec![]));
    }

    #[test]
    fn a_batch_that_lies_about_its_end_costs_no_record_behind_it() {
        let mut far = damaged(5, 4);
        far[23..27].copy_from_slice(&900_i32.to_be_bytes());
        let log = [far, batch(9, 1), damaged(10, 1)];
        assert_eq!(read(&log, 5, 11), Err((5, 9)), "the next batch tells");
        // The log finds it again for every offset that it claims.
        assert_eq!(read(&log, 9, 11), Ok(vec![9]));
        assert_eq!(sound(log[0].clone().into(), Offset(5), Offset(11)).unwrap_err().offset, Offset(5), "nobody knows");
    }

    #[test]
    fn what_is_no_batch_is_an_error_where_nothing_lies_before_it() {
        let log = [batch(0, 2), vec![7; 100]];
        assert_eq!(read(&log, 0, 10), Ok(vec![0]));
        let found = sound(log[1].clone().into(), Offset(2), Offset(10)).unwrap_err();
        assert!(found.offset == Offset(2) && !matches!(found.reason, BatchError::Crc { .. }), "{found:?}");
        // Cut off: its length is damaged.
        assert!(sound(batch(0, 2)[..70].to_vec().into(), Offset(0), Offset(10)).is_err());
    }
}
