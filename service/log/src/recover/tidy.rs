//! What an interrupted replacement, deletion or compaction has left in a log's directory is finished or removed here.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use tidelog_model::Offset;

use crate::LogError;
use crate::disk::{Disk, unlink_if_there};
use crate::names::{self, Kind, LEADER_EPOCHS, PARTITION_METADATA, Stage, UNSETTLED};
use crate::open::unlink_segment;
use crate::scan::Scan;

/// The live files of a log's directory.
#[derive(Default, Debug)]
pub(super) struct Folder {
    /// Base offset → bytes of the `.log` file.
    pub(super) logs: BTreeMap<Offset, u64>,
    pub(super) snapshots: BTreeSet<Offset>,
    pub(super) files: BTreeSet<(Offset, Kind)>,
    /// The mark of an unsettled page cache is there.
    pub(super) unsettled: bool,
}

/// Finishes what was begun and lists what is left.
pub(super) fn tidy(disk: &dyn Disk, directory: &Path) -> Result<Folder, LogError> {
    let mut swaps = BTreeSet::new();
    for (base, kind, stage, _) in list(disk, directory)? {
        match stage {
            Stage::Cleaned | Stage::Deleted | Stage::Temporary => {
                let path = names::path(directory, base, kind, stage);
                unlink_if_there(disk, &path).map_err(LogError::io("cannot remove", &path))?;
            }
            Stage::Swap if kind == Kind::Log => {
                swaps.insert(base);
            }
            Stage::Swap | Stage::Live | Stage::Cut => {}
        }
    }
    for name in [LEADER_EPOCHS, PARTITION_METADATA] {
        let path = directory.join(format!("{name}.tmp"));
        unlink_if_there(disk, &path).map_err(LogError::io("cannot remove", &path))?;
    }
    for base in swaps {
        finish_swap(disk, directory, base)?;
    }
    let mut folder = Folder { unsettled: is_unsettled(disk, directory)?, ..Folder::default() };
    for (base, kind, stage, len) in list(disk, directory)? {
        match (stage, kind) {
            (Stage::Live, Kind::Log) => {
                folder.logs.insert(base, len);
            }
            (Stage::Live, Kind::Snapshot) => {
                folder.snapshots.insert(base);
            }
            (Stage::Live, _) => {
                folder.files.insert((base, kind));
            }
            // An index whose log was never renamed belongs to a compaction that did not come to its end.
            (Stage::Swap, _) => {
                let path = names::path(directory, base, kind, stage);
                unlink_if_there(disk, &path).map_err(LogError::io("cannot remove", &path))?;
            }
            _ => {}
        }
    }
    let orphans: Vec<_> = folder.files.iter().filter(|(base, _)| !folder.logs.contains_key(base)).copied().collect();
    for (base, kind) in orphans {
        let path = names::path(directory, base, kind, Stage::Live);
        unlink_if_there(disk, &path).map_err(LogError::io("cannot remove", &path))?;
        folder.files.remove(&(base, kind));
    }
    Ok(folder)
}

/// Is the mark there? Only a disk that says "not found" proves that it is not: without it the page cache is believed.
fn is_unsettled(disk: &dyn Disk, directory: &Path) -> Result<bool, LogError> {
    let marker = directory.join(UNSETTLED);
    match disk.open(&marker, false) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(LogError::io("cannot open", &marker)(error)),
    }
}

fn list(disk: &dyn Disk, directory: &Path) -> Result<Vec<(Offset, Kind, Stage, u64)>, LogError> {
    let entries = disk.list(directory).map_err(LogError::io("cannot list", directory))?;
    let parsed = entries
        .into_iter()
        .filter(|entry| !entry.is_dir)
        .filter_map(|entry| names::parse(&entry.name).map(|(base, kind, stage)| (base, kind, stage, entry.len)));
    Ok(parsed.collect())
}

/// A compacted segment is complete: it takes the place of the segments it was made of.
fn finish_swap(disk: &dyn Disk, directory: &Path, base: Offset) -> Result<(), LogError> {
    let path = names::path(directory, base, Kind::Log, Stage::Swap);
    let file = disk.open(&path, false).map_err(LogError::io("cannot open", &path))?;
    let size = file.len().map_err(LogError::io("cannot read", &path))?;
    let mut end = base;
    let mut scan = Scan::headers(&*file, 0, size);
    // It was flushed before it got this name; damage in it is met again when the segment is walked.
    while let Ok(Some(located)) = scan.next_header() {
        end = located.header.next_offset();
    }
    let replaced: Vec<Offset> = list(disk, directory)?
        .into_iter()
        .filter(|(other, kind, stage, _)| *kind == Kind::Log && *stage == Stage::Live && *other > base && *other < end)
        .map(|(other, ..)| other)
        .collect();
    for other in replaced {
        unlink_segment(disk, directory, other, Stage::Live)?;
    }
    take_place(disk, directory, base)
}

/// Renames a segment's `.swap` files over the live ones: indexes first, the log last, each step durable before the next.
pub(crate) fn take_place(disk: &dyn Disk, directory: &Path, base: Offset) -> Result<(), LogError> {
    let flush = || disk.flush_dir(directory).map_err(LogError::io("cannot flush", directory));
    flush()?;
    for kind in Kind::SEGMENT {
        let from = names::path(directory, base, kind, Stage::Swap);
        let to = names::path(directory, base, kind, Stage::Live);
        if kind == Kind::Log {
            flush()?;
        }
        match disk.rename(&from, &to) {
            // The live index belongs to the old log; without one it is rebuilt.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && kind != Kind::Log => {
                unlink_if_there(disk, &to).map_err(LogError::io("cannot remove", &to))?;
            }
            other => other.map_err(LogError::io("cannot rename", &from))?,
        }
    }
    flush()
}
