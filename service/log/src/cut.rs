//! Keeps what is cut off a log in `.log.cut` files, for a person to look at. Decides their names, and nothing about where a log ends.

use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tidelog_model::Offset;

use crate::LogError;
use crate::append::Log;
use crate::disk::{Disk, DiskFile, read_exact, unlink_if_there};
use crate::limits::VERIFY_WINDOW_BYTES;
use crate::names::{self, Kind, Stage};
use crate::scan::{Scan, ScanError};

impl Log {
    /// Cuts the log as [`Log::truncate_to`] does, and keeps what goes. Nobody else may be at work on it.
    pub fn cut_to(&mut self, end: Offset) -> Result<Offset, LogError> {
        let shared = Arc::clone(&self.shared);
        let (disk, directory) = (&*shared.disk, &shared.directory);
        for segment in self.view().segments().iter().filter(|segment| segment.end > end) {
            let path = shared.path(segment.base, Kind::Log, Stage::Live);
            let file = disk.open(&path, false).map_err(LogError::io("cannot open", &path))?;
            let from = first_beyond(&*file, segment.size, end).map_err(|error| scan_failed(&path, error))?;
            keep_tail(disk, directory, segment.base, &*file, from, segment.size)?;
        }
        disk.flush_dir(directory).map_err(LogError::io("cannot flush", directory))?;
        self.truncate_to(end)
    }
}

/// Where the first batch begins that does not lie wholly below `end`.
fn first_beyond(file: &dyn DiskFile, size: u64, end: Offset) -> Result<u64, ScanError> {
    let mut scan = Scan::headers(file, 0, size);
    while let Some(located) = scan.next_header()? {
        if located.header.next_offset() > end {
            return Ok(located.position);
        }
    }
    Ok(size)
}

/// A walk through a segment's file failed.
pub(crate) fn scan_failed(path: &Path, error: ScanError) -> LogError {
    match error {
        ScanError::Io(source) => LogError::io("cannot read", path)(source),
        ScanError::Batch { position, error } => {
            LogError::Format { path: path.to_owned(), reason: format!("damaged at byte {position}: {error}") }
        }
    }
}

/// Copies a segment's bytes from `from` on. They are durable on return; their name is with the folder's next flush.
pub(crate) fn keep_tail(
    disk: &dyn Disk,
    directory: &Path,
    base: Offset,
    file: &dyn DiskFile,
    from: u64,
    size: u64,
) -> Result<(), LogError> {
    let kept = unused_cut(disk, directory, base)?;
    copy(disk, file, from, size, &kept).map_err(|source| {
        // Half a copy is worth nothing, and on a full disk every start would leave another.
        let removed = unlink_if_there(disk, &kept);
        tracing::debug!(?removed, "what was cut could not be copied");
        LogError::io("cannot write", &kept)(source)
    })
}

/// `<base>.log.cut`, or the first `<base>.log.cut.<n>` that no earlier cut has taken.
pub(crate) fn unused_cut(disk: &dyn Disk, directory: &Path, base: Offset) -> Result<PathBuf, LogError> {
    let first = names::path(directory, base, Kind::Log, Stage::Cut);
    let later = (1u32..).map(|number| first.with_added_extension(number.to_string()));
    for path in std::iter::once(first.clone()).chain(later) {
        match disk.open(&path, false) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(path),
            Err(source) => return Err(LogError::io("cannot open", &path)(source)),
        }
    }
    Ok(first)
}

fn copy(disk: &dyn Disk, file: &dyn DiskFile, from: u64, size: u64, to: &Path) -> io::Result<()> {
    let copy = disk.create(to)?;
    let mut at = from;
    while at < size {
        let bytes = read_exact(file, at, ((size - at) as usize).min(VERIFY_WINDOW_BYTES))?;
        copy.write_at(at - from, &[IoSlice::new(&bytes)])?;
        at += bytes.len() as u64;
    }
    copy.flush()
}
