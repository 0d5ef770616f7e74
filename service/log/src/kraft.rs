//! The log of another broker's metadata (KRaft): which of its files count, and in which order their batches follow. It never changes a file
//! and knows no record.
//!
//! A snapshot `<end offset>-<epoch>.checkpoint` holds everything below its end; the segments go on from there. Nothing of this log is ever
//! compacted, so that an offset which is missing is damage. Only the end may be torn: the broker was killed while it wrote.

use std::path::{Path, PathBuf};

use tidelog_model::{LeaderEpoch, Offset};
use tidelog_record::Batch;

use crate::LogError;
use crate::disk::Disk;
use crate::foreign::segments;
use crate::names::{self, Kind, Stage};
use crate::scan::{Scan, ScanError};

/// The folder of the log, if the other broker kept it beside its partitions.
pub const KRAFT_LOG: &str = "__cluster_metadata-0";

/// What was read of the log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KraftLog {
    /// Where the snapshot that was read ends; `None` without one.
    pub snapshot: Option<Offset>,
    /// The offset after the last batch.
    pub end: Offset,
    /// Bytes at the end that are no whole batch.
    pub torn_bytes: u64,
}

/// A snapshot's file.
type Snapshot = (Offset, LeaderEpoch, PathBuf, u64);

/// Gives `take` every batch of the newest whole snapshot, and then every batch of the segments after it. `None` if there is no such log.
pub fn read_kraft_log(
    disk: &dyn Disk,
    data_dir: &Path,
    take: &mut dyn FnMut(&Batch) -> Result<(), LogError>,
) -> Result<Option<KraftLog>, LogError> {
    let folder = data_dir.join(KRAFT_LOG);
    let there = disk.list(data_dir).map_err(LogError::io("cannot list", data_dir))?;
    if !there.iter().any(|entry| entry.is_dir && entry.name == KRAFT_LOG) {
        return Ok(None);
    }
    let mut snapshot = None;
    for (end, _, path, len) in snapshots(disk, &folder)? {
        if is_whole(disk, &path, len)? {
            each_batch(disk, &path, len, take)?;
            snapshot = Some(end);
            break;
        }
        tracing::warn!(path = %path.display(), "a snapshot of the metadata is damaged; an older one is used");
    }
    let segments = segments(disk, &folder)?;
    let mut log = KraftLog { snapshot, end: snapshot.unwrap_or(Offset::ZERO), torn_bytes: 0 };
    for (number, (base, len)) in segments.iter().enumerate() {
        if segments.get(number + 1).is_some_and(|(next, _)| *next <= log.end) {
            // The snapshot has all of it, and that broker would have removed it: whatever is wrong with it, nobody needs it.
            continue;
        }
        let path = names::path(&folder, *base, Kind::Log, Stage::Live);
        let read = each_batch(disk, &path, *len, &mut |batch| {
            let header = batch.header();
            if header.next_offset() <= log.end {
                return Ok(());
            }
            if header.base_offset != log.end {
                let reason = format!("offset {} comes where {} is expected", header.base_offset, log.end);
                return Err(LogError::Format { path: path.clone(), reason });
            }
            take(batch)?;
            log.end = header.next_offset();
            Ok(())
        })?;
        log.torn_bytes = len - read;
        if log.torn_bytes > 0 && number + 1 < segments.len() {
            let reason = format!("it is damaged at byte {read}, and other segments follow");
            return Err(LogError::Format { path, reason });
        }
    }
    Ok(Some(log))
}

/// The snapshots, newest first. Those that were being written or deleted have other names.
fn snapshots(disk: &dyn Disk, folder: &Path) -> Result<Vec<Snapshot>, LogError> {
    let entries = disk.list(folder).map_err(LogError::io("cannot list", folder))?;
    let parse = |name: &str| {
        let (offset, epoch) = name.strip_suffix(".checkpoint")?.split_once('-')?;
        Some((Offset(offset.parse().ok()?), LeaderEpoch(epoch.parse().ok()?)))
    };
    let mut found: Vec<Snapshot> = entries
        .iter()
        .filter_map(|entry| {
            let (end, epoch) = parse(entry.name.to_str()?)?;
            Some((end, epoch, folder.join(&entry.name), entry.len))
        })
        .collect();
    found.sort_by_key(|(end, epoch, ..)| std::cmp::Reverse((*end, *epoch)));
    Ok(found)
}

/// Is every batch sound, and the last one the footer, a control batch?
fn is_whole(disk: &dyn Disk, path: &Path, len: u64) -> Result<bool, LogError> {
    let mut last_is_control = false;
    let read = each_batch(disk, path, len, &mut |batch| {
        last_is_control = batch.header().attributes.is_control();
        Ok(())
    })?;
    Ok(read == len && last_is_control)
}

/// Gives `take` every sound batch up to the first damage; returns how many bytes those are.
fn each_batch(
    disk: &dyn Disk,
    path: &Path,
    len: u64,
    take: &mut dyn FnMut(&Batch) -> Result<(), LogError>,
) -> Result<u64, LogError> {
    let file = disk.open(path, false).map_err(LogError::io("cannot open", path))?;
    let mut scan = Scan::batches(&*file, 0, len);
    let mut read = 0;
    loop {
        match scan.next_batch() {
            Ok(Some((position, batch))) if tidelog_record::check_crc(&batch).is_ok() => {
                take(&batch)?;
                read = position + batch.size() as u64;
            }
            Ok(_) | Err(ScanError::Batch { .. }) => return Ok(read),
            Err(ScanError::Io(source)) => return Err(LogError::io("cannot read", path)(source)),
        }
    }
}
