//! What an interrupted replacement, deletion or compaction has left in a log's directory is finished or removed here.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use tidelog_model::{Offset, Timestamp};

use crate::LogError;
use crate::disk::{Disk, unlink_if_there, write_file};
use crate::names::{self, Kind, LEADER_EPOCHS, PARTITION_METADATA, Stage, UNSETTLED};
use crate::open::{is_there, unlink_segment};
use crate::scan::{Scan, ScanError};

/// The live files of a log's directory.
#[derive(Default, Debug)]
pub(super) struct Folder {
    /// Base offset → bytes of the `.log` file.
    pub(super) logs: BTreeMap<Offset, u64>,
    /// When these files were changed last.
    pub(super) modified: BTreeMap<Offset, Timestamp>,
    pub(super) snapshots: BTreeSet<Offset>,
    pub(super) files: BTreeSet<(Offset, Kind)>,
    /// The mark of an unsettled page cache is there.
    pub(super) unsettled: bool,
}

/// Finishes what was begun and lists what is left.
pub(super) fn tidy(disk: &dyn Disk, directory: &Path) -> Result<Folder, LogError> {
    let found = list(disk, directory)?;
    let complete = |file: &&Listed| file.kind == Kind::Log && file.stage == Stage::Swap;
    let swaps: BTreeSet<Offset> = found.iter().filter(complete).map(|file| file.at).collect();
    for Listed { at: base, kind, stage, .. } in found {
        match stage {
            // Kafka renames the log first: its indexes are as complete.
            Stage::Cleaned if kind != Kind::Log && swaps.contains(&base) => {
                let (from, to) =
                    (names::path(directory, base, kind, stage), names::path(directory, base, kind, Stage::Swap));
                disk.rename(&from, &to).map_err(LogError::io("cannot rename", &from))?;
            }
            Stage::Cleaned | Stage::Deleted | Stage::Temporary => {
                let path = names::path(directory, base, kind, stage);
                unlink_if_there(disk, &path).map_err(LogError::io("cannot remove", &path))?;
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
    // Without the mark the page cache is believed.
    let mut folder = Folder { unsettled: is_there(disk, &directory.join(UNSETTLED))?, ..Folder::default() };
    for Listed { at: base, kind, stage, len, modified } in list(disk, directory)? {
        match (stage, kind) {
            (Stage::Live, Kind::Log) => {
                folder.logs.insert(base, len);
                folder.modified.insert(base, modified);
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
    // Should the log come back, a missing offset index tells that the transaction index may be missing as well; so it goes first, and for good.
    let (first, rest): (Vec<_>, Vec<_>) = orphans.into_iter().partition(|(_, kind)| *kind == Kind::Index);
    for (number, group) in [first, rest].into_iter().enumerate() {
        if number > 0 && !group.is_empty() {
            disk.flush_dir(directory).map_err(LogError::io("cannot flush", directory))?;
        }
        for (base, kind) in group {
            let path = names::path(directory, base, kind, Stage::Live);
            unlink_if_there(disk, &path).map_err(LogError::io("cannot remove", &path))?;
            folder.files.remove(&(base, kind));
        }
    }
    Ok(folder)
}

/// One file that belongs to an offset.
struct Listed {
    at: Offset,
    kind: Kind,
    stage: Stage,
    len: u64,
    modified: Timestamp,
}

fn list(disk: &dyn Disk, directory: &Path) -> Result<Vec<Listed>, LogError> {
    let entries = disk.list(directory).map_err(LogError::io("cannot list", directory))?;
    let parsed = entries.into_iter().filter(|entry| !entry.is_dir).filter_map(|entry| {
        let (at, kind, stage) = names::parse(&entry.name)?;
        Some(Listed { at, kind, stage, len: entry.len, modified: entry.modified })
    });
    Ok(parsed.collect())
}

/// A compacted segment is complete: it takes the place of the segments it was made of.
fn finish_swap(disk: &dyn Disk, directory: &Path, base: Offset) -> Result<(), LogError> {
    let path = names::path(directory, base, Kind::Log, Stage::Swap);
    let file = disk.open(&path, false).map_err(LogError::io("cannot open", &path))?;
    let size = file.len().map_err(LogError::io("cannot read", &path))?;
    let mut end = base;
    let mut scan = Scan::headers(&*file, 0, size);
    loop {
        match scan.next_header() {
            Ok(Some(located)) => end = located.header.next_offset(),
            Err(ScanError::Io(source)) => return Err(LogError::io("cannot read", &path)(source)),
            // It was flushed before it got this name; damage in it is met again when the segment is walked.
            Ok(None) | Err(ScanError::Batch { .. }) => break,
        }
    }
    clear_inside(disk, directory, base, end)?;
    take_place(disk, directory, base)
}

/// What lies behind the base of a compacted segment, and what it stands for, goes.
pub(crate) fn clear_inside(disk: &dyn Disk, directory: &Path, base: Offset, end: Offset) -> Result<(), LogError> {
    // The new name is durable before anything goes.
    disk.flush_dir(directory).map_err(LogError::io("cannot flush", directory))?;
    let mut old = list(disk, directory)?;
    old.retain(|file| file.stage == Stage::Live && base < file.at && file.at < end);
    // A log goes before its indexes.
    old.sort_by_key(|file| file.kind != Kind::Log);
    for Listed { at, kind, .. } in old {
        if kind == Kind::Log {
            unlink_segment(disk, directory, at, Stage::Live)?;
        } else {
            let path = names::path(directory, at, kind, Stage::Live);
            unlink_if_there(disk, &path).map_err(LogError::io("cannot remove", &path))?;
        }
    }
    Ok(())
}

/// Renames a segment's `.swap` files over the live ones: indexes first, the log last, each step durable before the next. Whatever fails,
/// it can be called again: an index that has no `.swap` any more has its place, and nothing is removed.
pub(crate) fn take_place(disk: &dyn Disk, directory: &Path, base: Offset) -> Result<(), LogError> {
    let flush = || disk.flush_dir(directory).map_err(LogError::io("cannot flush", directory));
    let swap = |kind| names::path(directory, base, kind, Stage::Swap);
    flush()?;
    // Kafka writes no transaction index where nothing was aborted, and the live one belongs to the old log. While the first index waits
    // none has been placed.
    if is_there(disk, &swap(Kind::Index))? && !is_there(disk, &swap(Kind::TxnIndex))? {
        let path = swap(Kind::TxnIndex);
        write_file(disk, &path, &[]).and_then(|file| file.flush()).map_err(LogError::io("cannot write", &path))?;
        flush()?;
    }
    for kind in Kind::SEGMENT {
        let (from, to) = (swap(kind), names::path(directory, base, kind, Stage::Live));
        if matches!(kind, Kind::TxnIndex | Kind::Log) {
            flush()?;
        }
        match disk.rename(&from, &to) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && kind != Kind::Log => {}
            other => other.map_err(LogError::io("cannot rename", &from))?,
        }
    }
    flush()
}
