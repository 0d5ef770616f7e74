//! Loads what coordinators keep in the partitions of their internal topics. Decides nothing but that a log which cannot be read as a whole
//! is not read at all.

use std::error::Error;
use std::sync::Arc;

use tidelog_coordinator::CoordinatorRecord;
use tidelog_model::limits::MAX_INFLATED_BATCH_BYTES;
use tidelog_record::{Batch, BatchError, BatchHeader, Batches, EndTransactionMarker};
use tracing::error;

use crate::limits::LOAD_READ_BYTES;
use crate::replica::Replica;

/// What is made of the records of one partition.
pub(crate) trait Replay {
    /// One record, in the batch with this header.
    fn record(&mut self, header: &BatchHeader, record: &CoordinatorRecord);

    /// The end of a transaction that has written to the partition.
    fn marker(&mut self, header: &BatchHeader, marker: EndTransactionMarker);

    /// Records of a known kind that it could not read so far.
    fn undecodable(&self) -> u64;
}

/// Shows a partition's whole log to `shard`, which nobody else has yet. Blocks; nothing is appended meanwhile. `None` if it cannot be
/// read: then the partition serves nobody, and a person must look.
pub(crate) fn load<T: Replay>(replica: &Arc<Replica>, mut shard: T) -> Option<T> {
    match read(replica, &mut shard).and_then(|()| whole(&shard)) {
        Ok(()) => Some(shard),
        Err(failure) => {
            error!(partition = %replica.id, error = %failure, "the coordinator cannot load its partition");
            replica.view.take_offline("its coordinator cannot load it");
            None
        }
    }
}

fn read(replica: &Replica, shard: &mut impl Replay) -> Result<(), Box<dyn Error>> {
    let view = &replica.view;
    let (mut next, end) = (view.local_start(), view.log_end());
    while next < end {
        let read = view.read(next, end, LOAD_READ_BYTES, true)?;
        if read.is_empty() {
            // Loaded from half a log it would say that the rest never was.
            return Err(format!("nothing can be read at offset {next}, before the log's end {end}").into());
        }
        for slice in &read.slices {
            for batch in Batches::strict(slice.read()?) {
                replay(&batch?, shard)?;
            }
        }
        next = read.next;
    }
    Ok(())
}

fn replay(batch: &Batch, shard: &mut impl Replay) -> Result<(), BatchError> {
    let header = batch.header();
    if let Some(marker) = EndTransactionMarker::of_batch(batch)? {
        shard.marker(header, marker);
        return Ok(());
    }
    if header.attributes.is_control() {
        return Ok(());
    }
    for record in batch.records(MAX_INFLATED_BATCH_BYTES)? {
        let record = record?;
        let Some(key) = record.key else { continue };
        shard.record(header, &CoordinatorRecord { key, value: record.value });
    }
    Ok(())
}

/// A record that cannot be read may be the last word on its key: what lies before it would rule again. A newer version of the service, or
/// Kafka's, has written it and can read it.
fn whole(shard: &impl Replay) -> Result<(), Box<dyn Error>> {
    match shard.undecodable() {
        0 => Ok(()),
        count => Err(format!("{count} records cannot be decoded").into()),
    }
}
