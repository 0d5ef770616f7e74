//! The port through which all of the log's bytes go; it decides nothing and knows no format.
//!
//! [`OsDisk`](crate::OsDisk) is the operating system, [`SimDisk`](crate::sim::SimDisk) a deterministic disk that loses
//! power, tears writes, fills up and fails on demand.
//!
//! Durability, on both: a write counts after [`DiskFile::flush`], a created, renamed or removed name after
//! [`Disk::flush_dir`] of the directory that holds it.

use std::ffi::OsString;
use std::fmt::Debug;
use std::io::{self, IoSlice};
use std::os::fd::BorrowedFd;
use std::path::Path;
use std::sync::Arc;

use tidelog_model::Timestamp;

use crate::limits::{RESERVE_BYTES, RESERVE_SHARE};

/// One entry of a directory.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct DirEntry {
    /// Its name, without the directory.
    pub name: OsString,
    /// Is it a directory?
    pub is_dir: bool,
    /// Length, bytes; 0 for a directory.
    pub len: u64,
    /// When its content was changed last, by the wall clock.
    pub modified: Timestamp,
}

/// The room on a file system.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Space {
    /// Bytes that may still be written.
    pub free: u64,
    /// Bytes that it holds when it is full.
    pub total: u64,
}

impl Space {
    /// The last part, which is kept for the metadata and the service's own topics: neither clients nor caches get it.
    pub fn reserve(&self) -> u64 {
        RESERVE_BYTES.min(self.total / RESERVE_SHARE)
    }

    /// May so many bytes be written without touching that?
    pub fn has(&self, bytes: u64) -> bool {
        self.free >= self.reserve().saturating_add(bytes)
    }
}

/// A file system, as far as a log needs one. Every call may block.
pub trait Disk: Send + Sync + Debug {
    /// Creates a file for reading and writing, empty; an existing one is emptied.
    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>>;

    /// Opens an existing file, for writing too if `write`.
    fn open(&self, path: &Path, write: bool) -> io::Result<Arc<dyn DiskFile>>;

    /// Renames a file or directory, replacing a file of the new name.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file's name; handles stay usable.
    fn unlink(&self, path: &Path) -> io::Result<()>;

    /// Removes an empty directory.
    fn remove_dir(&self, path: &Path) -> io::Result<()>;

    /// Creates a directory and those above it; an existing one is fine.
    fn create_dir(&self, path: &Path) -> io::Result<()>;

    /// The entries of a directory, sorted by name.
    fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>>;

    /// Makes the directory's own entries durable.
    fn flush_dir(&self, path: &Path) -> io::Result<()>;

    /// The room on the file system of `path`; `None` if it cannot tell.
    fn space(&self, path: &Path) -> Option<Space>;
}

/// An open file. Handles are shared; reads and writes name their position.
pub trait DiskFile: Send + Sync + Debug {
    /// Reads into `buffer` from `position` until it is full or the file ends; returns how many bytes were read.
    fn read_at(&self, position: u64, buffer: &mut [u8]) -> io::Result<usize>;

    /// Writes all parts one after another from `position` on. After an error any prefix may have been written.
    fn write_at(&self, position: u64, parts: &[IoSlice<'_>]) -> io::Result<()>;

    /// Length, bytes.
    fn len(&self) -> io::Result<u64>;

    /// Is the file empty?
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Cuts (or extends with zeros) the file to `len` bytes.
    fn truncate(&self, len: u64) -> io::Result<()>;

    /// Makes data and length durable (`fdatasync`). After an error nothing may be assumed, and it must not be tried again.
    fn flush(&self) -> io::Result<()>;

    /// Says that the content was changed last at `to`, until it is changed again.
    fn set_modified(&self, to: Timestamp) -> io::Result<()>;

    /// The descriptor, for `sendfile`; `None` on a simulated disk.
    fn fd(&self) -> Option<BorrowedFd<'_>>;
}

/// Reads exactly `len` bytes from `position`; fewer are an error of kind `UnexpectedEof`.
pub(crate) fn read_exact(file: &dyn DiskFile, position: u64, len: usize) -> io::Result<Vec<u8>> {
    let mut buffer = vec![0; len];
    let read = file.read_at(position, &mut buffer)?;
    if read < len {
        return Err(io::Error::new(
            io::ErrorKind::UnexpectedEof,
            format!("the file ends {} bytes too early", len - read),
        ));
    }
    Ok(buffer)
}

/// Reads a whole small file; a file longer than `limit` bytes is an error.
pub(crate) fn read_file(disk: &dyn Disk, path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let file = disk.open(path, false)?;
    let len = file.len()?;
    if len > limit {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("{} has {len} bytes, at most {limit} are believed", path.display()),
        ));
    }
    read_exact(&*file, 0, len as usize)
}

/// Writes a whole file, without flushing it.
pub(crate) fn write_file(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> io::Result<Arc<dyn DiskFile>> {
    let file = disk.create(path)?;
    file.write_at(0, &[IoSlice::new(bytes)])?;
    Ok(file)
}

/// Replaces a file so that at every moment either the old or the new content is there: temporary file, flush, rename,
/// flush of the directory.
pub fn replace_file(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".tmp");
    let temporary = Path::new(&temporary);
    write_file(disk, temporary, bytes)?.flush()?;
    disk.rename(temporary, path)?;
    match path.parent() {
        Some(parent) => disk.flush_dir(parent),
        None => Ok(()),
    }
}

/// Replaces a file without a flush: a power cut may leave the old content, the new one, or neither.
pub(crate) fn put_file(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".tmp");
    let temporary = Path::new(&temporary);
    write_file(disk, temporary, bytes)?;
    disk.rename(temporary, path)
}

/// Removes a file that may already be gone.
pub(crate) fn unlink_if_there(disk: &dyn Disk, path: &Path) -> io::Result<()> {
    match disk.unlink(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
