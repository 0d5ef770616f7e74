//! A small log on the simulated disk, and batches to put into it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tidelog_model::{LeaderEpoch, Now, Offset, Timestamp, TopicId};
use tidelog_record::{Batch, BatchBuilder, Batches};

use crate::sim::SimDisk;
use crate::{Appended, Checkpoints, Disk, FileCache, Log, LogConfig, LogError, LogView, Recovered, StampedBatch};

pub(crate) const DIRECTORY: &str = "t-0";
pub(crate) const TOPIC: TopicId = TopicId::from_bytes([1; 16]);
pub(crate) const NOW: Now = Now { monotonic: Duration::ZERO, wall: Timestamp(1_700_000_000_000) };

pub(crate) fn config() -> LogConfig {
    LogConfig { segment_bytes: 16 * 1024, index_interval_bytes: 256, ..LogConfig::default() }
}

pub(crate) fn create(disk: &SimDisk) -> Log {
    create_with(disk, config())
}

pub(crate) fn create_with(disk: &SimDisk, config: LogConfig) -> Log {
    let directory = Path::new(DIRECTORY);
    Log::create(Arc::new(disk.clone()), FileCache::new(2), directory, TOPIC, config, Offset::ZERO).unwrap()
}

pub(crate) fn open(disk: &SimDisk, recovery_point: i64) -> Result<(Log, Recovered), LogError> {
    open_with(disk, config(), recovery_point)
}

pub(crate) fn open_with(disk: &SimDisk, config: LogConfig, recovery_point: i64) -> Result<(Log, Recovered), LogError> {
    let checkpoints = Checkpoints { recovery_point: Offset(recovery_point), ..Checkpoints::default() };
    open_at(disk, config, checkpoints)
}

pub(crate) fn open_at(
    disk: &SimDisk,
    config: LogConfig,
    checkpoints: Checkpoints,
) -> Result<(Log, Recovered), LogError> {
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    Log::open(disk, FileCache::new(2), Path::new(DIRECTORY), config, checkpoints, NOW)
}

/// A batch of records `(key, value)`, all with one timestamp.
pub(crate) fn keyed(base: Offset, time: i64, records: &[(&str, Option<&str>)]) -> Batch {
    let mut builder = BatchBuilder::new(base).leader_epoch(LeaderEpoch(0));
    for (key, value) in records {
        builder.push(Timestamp(time), Some(key.as_bytes()), value.map(str::as_bytes), &[]).unwrap();
    }
    builder.build().unwrap()
}

/// A batch of one record of `size` bytes.
pub(crate) fn filled(base: Offset, size: usize) -> Batch {
    holding(base, &vec![b'x'; size])
}

/// A batch of one record with this value.
pub(crate) fn holding(base: Offset, value: &[u8]) -> Batch {
    let mut builder = BatchBuilder::new(base).leader_epoch(LeaderEpoch(0));
    builder.push(NOW.wall, None, Some(value), &[]).unwrap();
    builder.build().unwrap()
}

pub(crate) fn append(log: &mut Log, batch: &Batch) -> Result<Appended, LogError> {
    let stamped = StampedBatch::new(batch, log.view().log_end(), LeaderEpoch(0));
    log.append(&[stamped], &[], &mut |_| empty_snapshot(), NOW)
}

pub(crate) fn empty_snapshot() -> Bytes {
    Bytes::from(tidelog_record::ProducerStates::new().encode_snapshot())
}

/// Appends `count` batches of one record of `size` bytes each.
pub(crate) fn fill(log: &mut Log, count: usize, size: usize) {
    for _ in 0..count {
        let end = log.view().log_end();
        append(log, &filled(end, size)).unwrap();
    }
}

/// Every batch from the front to the end.
pub(crate) fn read_all(view: &LogView) -> Vec<Batch> {
    let mut at = view.local_start();
    let mut found = Vec::new();
    loop {
        let read = view.read(at, view.log_end(), 1000, true).unwrap();
        if read.is_empty() {
            return found;
        }
        for slice in &read.slices {
            found.extend(Batches::strict(slice.read().unwrap()).map(Result::unwrap));
        }
        at = read.next;
    }
}

/// The offsets of all batches, to compare logs.
pub(crate) fn bases(view: &LogView) -> Vec<i64> {
    read_all(view).iter().map(|batch| batch.header().base_offset.0).collect()
}
