//! What is in a data directory whose cluster's metadata is not there: another broker's. Says which partitions it has, of which topics,
//! and how far they are; never changes a file.

use std::path::Path;

use tidelog_model::{LeaderEpoch, Offset, TopicId, TopicPartition};

use crate::disk::Disk;
use crate::names::{self, Kind, Stage};
use crate::open::read_epochs;
use crate::{LogError, datadir};

/// Before what a batch's length counts: base offset and length.
const BATCH_PREFIX_BYTES: u64 = 12;

/// A batch's header up to its last offset delta.
const BATCH_HEAD_BYTES: usize = 27;

/// One partition as its folder says it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FoundPartition {
    /// Topic's name and number.
    pub partition: TopicPartition,
    /// The topic's id in `partition.metadata`.
    pub topic: TopicId,
    /// The newest leader epoch; `NONE` if no record was written in one.
    pub epoch: LeaderEpoch,
    /// Offsets are missing between its batches, as only compaction leaves them.
    pub compacted: bool,
}

/// Every partition that names its topic, sorted. Reads the head of every batch.
pub fn found_partitions(disk: &dyn Disk, directory: &Path) -> Result<Vec<FoundPartition>, LogError> {
    let mut found = Vec::new();
    for partition in datadir::partitions(disk, directory)? {
        let folder = directory.join(partition.to_string());
        let Some(topic) = datadir::read_topic_id(disk, &folder) else { continue };
        let latest = read_epochs(disk, &folder).and_then(|epochs| epochs.latest());
        let epoch = latest.map_or(LeaderEpoch::NONE, |entry| entry.epoch);
        let compacted = has_gaps(disk, &folder)?;
        found.push(FoundPartition { partition, topic, epoch, compacted });
    }
    Ok(found)
}

/// Is an offset missing between two batches? What makes no sense ends the search: recovery says better what is wrong with it.
fn has_gaps(disk: &dyn Disk, folder: &Path) -> Result<bool, LogError> {
    let entries = disk.list(folder).map_err(LogError::io("cannot list", folder))?;
    let mut bases: Vec<Offset> = entries.iter().filter_map(|entry| base_of_log(&entry.name)).collect();
    bases.sort();
    let mut next = bases.first().map(|first| first.get());
    for base in bases {
        let path = names::path(folder, base, Kind::Log, Stage::Live);
        let file = disk.open(&path, false).map_err(LogError::io("cannot open", &path))?;
        let mut position = 0;
        let mut head = [0; BATCH_HEAD_BYTES];
        while file.read_at(position, &mut head).map_err(LogError::io("cannot read", &path))? == head.len() {
            let Some((first, length, after)) = read_head(&head) else { return Ok(false) };
            if next.is_some_and(|next| first > next) {
                return Ok(true);
            }
            next = Some(after);
            position += BATCH_PREFIX_BYTES + length;
        }
    }
    Ok(false)
}

/// First offset, length and next offset of the batch that begins with these bytes.
fn read_head(head: &[u8; BATCH_HEAD_BYTES]) -> Option<(i64, u64, i64)> {
    let (base, rest) = head.split_first_chunk::<8>()?;
    let (length, rest) = rest.split_first_chunk::<4>()?;
    // Leader epoch, magic, checksum and attributes lie between.
    let delta = rest.last_chunk::<4>()?;
    let (base, delta) = (i64::from_be_bytes(*base), i32::from_be_bytes(*delta));
    let length = u64::try_from(i32::from_be_bytes(*length)).ok()?;
    let next = base.checked_add(i64::from(delta))?.checked_add(1)?;
    (base >= 0 && delta >= 0).then_some((base, length, next))
}

fn base_of_log(name: &std::ffi::OsStr) -> Option<Offset> {
    match names::parse(name) {
        Some((base, Kind::Log, Stage::Live)) => Some(base),
        _ => None,
    }
}
