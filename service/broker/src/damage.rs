//! Batches that are decoded here are checked first: decides what of a read is as it was written, and what lies where it is not. Whoever
//! decodes reads through [`crate::Broker::read`]; Kafka's clients check what they fetch themselves.

use std::fmt::Display;
use std::ops::Range;

use bytes::Bytes;
use tidelog_model::{Offset, TopicIdPartition};
use tidelog_record::{BatchError, BatchHeader, Batches, check_crc};

/// Where a read met what is no batch as it was written.
#[derive(Debug)]
pub(crate) struct NoBatch {
    /// The batch's offsets up to the one asked for, as far as its header can be believed.
    pub(crate) place: Range<Offset>,
    pub(crate) reason: BatchError,
}

/// The batches of a read from `offset` on up to the first one whose checksum does not hold; if that is the first, its error. It is believed
/// nothing, so that only the log can tell what comes behind it.
pub(crate) fn sound(read: Bytes, offset: Offset) -> Result<Bytes, NoBatch> {
    let mut batches = Batches::strict(read.clone());
    loop {
        let at = batches.position();
        let batch = match batches.next() {
            None => return Ok(read),
            Some(batch) => batch.and_then(|batch| check_crc(&batch)),
        };
        match batch {
            Ok(()) => {}
            Err(_) if at > 0 => return Ok(read.slice(..at)),
            Err(reason) => return Err(NoBatch { place: place(&read, offset), reason }),
        }
    }
}

/// Readers that begin inside of a batch name the same place as who begins before it.
fn place(damaged: &[u8], offset: Offset) -> Range<Offset> {
    let header = BatchHeader::parse(damaged).ok();
    let header = header.filter(|header| header.base_offset <= offset && header.last_offset() >= offset);
    header.map_or(offset, |header| header.base_offset)..offset.plus(1)
}

/// What a caller reads of a place that is damaged; with the offset behind it, if that is known.
pub(crate) fn words(
    partition: &TopicIdPartition,
    offset: Offset,
    end: Option<Offset>,
    reason: &impl Display,
) -> String {
    let (topic, index) = (&partition.topic, partition.partition);
    let goes_on =
        end.map(|end| format!(" What is lost ends before offset {end}: reading goes on there.")).unwrap_or_default();
    format!(
        "Topic {topic}, partition {index}: the batch at offset {offset} is damaged on the disk ({reason}).{goes_on} `tidelog log dump` of \
         the folder {topic}-{index} in the data directory shows the place."
    )
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

    /// The base offsets of what is sound, or where nothing is.
    fn read(batches: &[Vec<u8>], offset: i64) -> Result<Vec<i64>, i64> {
        let found = sound(batches.concat().into(), Offset(offset)).map_err(|found| found.place.start.get())?;
        Ok(Batches::strict(found).map(|batch| batch.unwrap().header().base_offset.get()).collect())
    }

    #[test]
    fn what_lies_before_damage_is_read_and_nothing_of_it() {
        let log = [batch(0, 2), batch(2, 3), damaged(5, 4), batch(9, 1)];
        assert_eq!(read(&log[..2], 0), Ok(vec![0, 2]));
        assert_eq!(read(&log, 0), Ok(vec![0, 2]));
        assert_eq!(read(&log[2..], 5), Err(5));
        assert_eq!(read(&log[2..3], 7), Err(5), "the reader begins inside of it");
        assert_eq!(read(&log[3..], 9), Ok(vec![9]));
        assert_eq!(read(&[], 9), Ok(vec![]));
    }

    #[test]
    fn what_is_no_batch_is_an_error_where_nothing_lies_before_it() {
        let log = [batch(0, 2), vec![7; 100]];
        assert_eq!(read(&log, 0), Ok(vec![0]));
        let found = sound(log[1].clone().into(), Offset(2)).unwrap_err();
        assert!(found.place == (Offset(2)..Offset(3)) && !matches!(found.reason, BatchError::Crc { .. }), "{found:?}");
        // Cut off: its length is damaged.
        assert_eq!(read(&[batch(0, 2)[..70].to_vec()], 0), Err(0));
    }
}
