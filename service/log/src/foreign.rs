//! What is in a data directory whose cluster's metadata is not there: another broker's. Says which partitions it has, of which topics,
//! and how far they are; never changes a file.

use std::path::Path;

use tidelog_model::{LeaderEpoch, Offset, TopicId, TopicPartition};

use crate::disk::Disk;
use crate::names::{self, Kind, Stage};
use crate::open::read_epochs;
use crate::scan::{Scan, ScanError};
use crate::{LogError, datadir};

/// One partition as its folder says it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FoundPartition {
    /// Topic's name and number.
    pub partition: TopicPartition,
    /// The topic's id in `partition.metadata`.
    pub topic: TopicId,
    /// The newest leader epoch; `NONE` if no record was written in one.
    pub epoch: LeaderEpoch,
    /// Below it offsets are missing between its batches, as only compaction leaves them; zero if none are.
    pub gaps_below: Offset,
}

/// Every partition that names its topic, sorted. Reads the head of every batch.
pub fn found_partitions(disk: &dyn Disk, directory: &Path) -> Result<Vec<FoundPartition>, LogError> {
    let mut found = Vec::new();
    for partition in datadir::partitions(disk, directory)? {
        let folder = directory.join(partition.to_string());
        let Some(topic) = datadir::read_topic_id(disk, &folder) else { continue };
        let latest = read_epochs(disk, &folder).and_then(|epochs| epochs.latest());
        let epoch = latest.map_or(LeaderEpoch::NONE, |entry| entry.epoch);
        let gaps_below = last_gap(disk, &folder)?;
        found.push(FoundPartition { partition, topic, epoch, gaps_below });
    }
    Ok(found)
}

/// The end of the last gap between two batches; zero without one. What makes no sense ends the search: recovery says better what is wrong
/// with it.
fn last_gap(disk: &dyn Disk, folder: &Path) -> Result<Offset, LogError> {
    let segments = segments(disk, folder)?;
    let mut next = segments.first().map(|(base, _)| *base);
    let mut last = Offset::ZERO;
    for (base, len) in segments {
        let path = names::path(folder, base, Kind::Log, Stage::Live);
        let file = disk.open(&path, false).map_err(LogError::io("cannot open", &path))?;
        let mut scan = Scan::headers(&*file, 0, len);
        // Compaction may have taken the last records of the segment before, and nothing may have come since.
        if next.is_some_and(|next| base > next) {
            last = base;
            next = Some(base);
        }
        loop {
            let header = match scan.next_header() {
                Ok(Some(located)) => located.header,
                Ok(None) => break,
                Err(ScanError::Batch { .. }) => return Ok(last),
                Err(ScanError::Io(source)) => return Err(LogError::io("cannot read", &path)(source)),
            };
            if next.is_some_and(|next| header.base_offset > next) {
                last = header.base_offset;
            }
            next = Some(header.next_offset());
        }
    }
    Ok(last)
}

/// The segments of a log with their sizes, ascending.
pub(crate) fn segments(disk: &dyn Disk, folder: &Path) -> Result<Vec<(Offset, u64)>, LogError> {
    let entries = disk.list(folder).map_err(LogError::io("cannot list", folder))?;
    let mut segments: Vec<(Offset, u64)> =
        entries.iter().filter_map(|entry| Some((base_of_log(&entry.name)?, entry.len))).collect();
    segments.sort();
    Ok(segments)
}

fn base_of_log(name: &std::ffi::OsStr) -> Option<Offset> {
    match names::parse(name) {
        Some((base, Kind::Log, Stage::Live)) => Some(base),
        _ => None,
    }
}
