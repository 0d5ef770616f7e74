//! Leaving the beginning of a damaged log to the store, as a repair does that loses nothing by it. Decides nothing: the caller knows that the
//! store has what goes.

use std::path::Path;

use tidelog_model::Offset;

use crate::cut::unused_cut;
use crate::disk::{Disk, unlink_if_there, write_file};
use crate::names::{self, Kind, Stage, TIERED};
use crate::{LogError, open};

/// The segments in a log's directory and their bytes, ascending.
pub fn segments(disk: &dyn Disk, directory: &Path) -> Result<Vec<(Offset, u64)>, LogError> {
    let entries = disk.list(directory).map_err(LogError::io("cannot list", directory))?;
    let mut found: Vec<(Offset, u64)> = entries
        .iter()
        .filter_map(|entry| match names::parse(&entry.name) {
            Some((base, Kind::Log, Stage::Live)) if !entry.is_dir => Some((base, entry.len)),
            _ => None,
        })
        .collect();
    found.sort_unstable();
    Ok(found)
}

/// Makes the log in `directory`, which nobody has open, begin at `start`: with the segment there or, if there is none, with an empty one and
/// nothing behind it. What lies before is left to the store, and the log is marked for that first. What goes is kept in `.log.cut` files.
/// Returns its bytes. Whatever fails, it can be called again.
pub fn begin_at(disk: &dyn Disk, directory: &Path, start: Offset) -> Result<u64, LogError> {
    let flush = || disk.flush_dir(directory).map_err(LogError::io("cannot flush", directory));
    let present = segments(disk, directory)?;
    let kept = present.iter().any(|(base, _)| *base == start);
    let mut made = vec![directory.join(TIERED)];
    made.extend((!kept).then(|| names::path(directory, start, Kind::Log, Stage::Live)));
    for path in made {
        if !open::is_there(disk, &path)? {
            write_file(disk, &path, &[]).and_then(|file| file.flush()).map_err(LogError::io("cannot create", &path))?;
        }
    }
    flush()?;
    let mut bytes = 0;
    for (base, len) in present.into_iter().filter(|(base, _)| *base < start || !kept) {
        let path = names::path(directory, base, Kind::Log, Stage::Live);
        let cut = unused_cut(disk, directory, base)?;
        disk.rename(&path, &cut).map_err(LogError::io("cannot rename", &path))?;
        bytes += len;
    }
    // With an older snapshot the leader epochs from there on would be read again from segments that are not there any more.
    for entry in disk.list(directory).map_err(LogError::io("cannot list", directory))? {
        if let Some((at, Kind::Snapshot, Stage::Live)) = names::parse(&entry.name)
            && at < start
        {
            let path = names::path(directory, at, Kind::Snapshot, Stage::Live);
            unlink_if_there(disk, &path).map_err(LogError::io("cannot remove", &path))?;
        }
    }
    flush()?;
    Ok(bytes)
}
