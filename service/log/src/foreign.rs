//! What is in a data directory whose cluster's metadata is not there: another broker's. Says which partitions it has, of which topics,
//! and how far they are; never changes a file.

use std::path::Path;

use tidelog_model::{LeaderEpoch, Offset, TopicId, TopicPartition};

use crate::disk::Disk;
use crate::limits::MAX_GAPS_NAMED;
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
    /// Where offsets are missing.
    pub gaps: Gaps,
}

/// Where offsets are missing between the batches of a log.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Gaps {
    /// The end of the last one.
    pub below: Option<Offset>,
    /// There are some within a segment, as only compaction leaves them.
    pub thinned: bool,
    /// The first few that lie between two segments: compaction has taken the last records of one, or whole segments are lost.
    pub between_segments: Vec<(Offset, Offset)>,
}

/// Every partition that names its topic, sorted. Reads the head of every batch.
pub fn found_partitions(disk: &dyn Disk, directory: &Path) -> Result<Vec<FoundPartition>, LogError> {
    let mut found = Vec::new();
    for partition in datadir::partitions(disk, directory)? {
        let folder = directory.join(partition.to_string());
        let Some(topic) = datadir::read_topic_id(disk, &folder) else { continue };
        let latest = read_epochs(disk, &folder).and_then(|epochs| epochs.latest());
        let epoch = latest.map_or(LeaderEpoch::NONE, |entry| entry.epoch);
        let gaps = gaps(disk, &folder)?;
        found.push(FoundPartition { partition, topic, epoch, gaps });
    }
    Ok(found)
}

/// What makes no sense ends the search: recovery says better what is wrong with it.
fn gaps(disk: &dyn Disk, folder: &Path) -> Result<Gaps, LogError> {
    let segments = segments(disk, folder)?;
    let mut next = segments.first().map(|(base, _)| *base);
    let mut gaps = Gaps::default();
    for (base, len) in segments {
        let path = names::path(folder, base, Kind::Log, Stage::Live);
        let file = disk.open(&path, false).map_err(LogError::io("cannot open", &path))?;
        let mut scan = Scan::headers(&*file, 0, len);
        if let Some(end) = next.filter(|end| base > *end) {
            gaps.below = Some(base);
            if gaps.between_segments.len() < MAX_GAPS_NAMED {
                gaps.between_segments.push((end, base));
            }
            next = Some(base);
        }
        loop {
            let header = match scan.next_header() {
                Ok(Some(located)) => located.header,
                Ok(None) => break,
                Err(ScanError::Batch { .. }) => return Ok(gaps),
                Err(ScanError::Io(source)) => return Err(LogError::io("cannot read", &path)(source)),
            };
            if next.is_some_and(|next| header.base_offset > next) {
                gaps.below = Some(header.base_offset);
                gaps.thinned = true;
            }
            gaps.thinned |= header.record_count <= header.last_offset_delta;
            next = Some(header.next_offset());
        }
    }
    Ok(gaps)
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
