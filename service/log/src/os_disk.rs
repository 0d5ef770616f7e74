//! The real disk: plain system calls, short writes continued, nothing decided.

use std::fs::{self, File, OpenOptions};
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tidelog_model::Timestamp;

use crate::disk::{DirEntry, Disk, DiskFile, Space};
use crate::limits::MAX_WRITE_PARTS;

/// The operating system's file system.
#[derive(Clone, Copy, Default, Debug)]
pub struct OsDisk;

#[derive(Debug)]
struct OsFile(File);

impl Disk for OsDisk {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(path)?;
        Ok(Arc::new(OsFile(file)))
    }

    fn open(&self, path: &Path, write: bool) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(OsFile(OpenOptions::new().read(true).write(write).open(path)?)))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn unlink(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        fs::remove_dir(path)
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        fs::create_dir_all(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            let metadata = match fs::metadata(entry.path()) {
                // Removed since the directory was read, or a dangling link: not there.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                other => other?,
            };
            let is_dir = metadata.is_dir();
            let len = if is_dir { 0 } else { metadata.len() };
            entries.push(DirEntry { name: entry.file_name(), is_dir, len, modified: timestamp(metadata.modified()?) });
        }
        entries.sort();
        Ok(entries)
    }

    fn flush_dir(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    fn space(&self, path: &Path) -> Option<Space> {
        let stat = rustix::fs::statvfs(path).ok()?;
        let bytes = |blocks: u64| blocks.checked_mul(stat.f_frsize);
        let space = Space { free: bytes(stat.f_bavail)?, total: bytes(stat.f_blocks)? };
        // Some file systems have no numbers and say nought.
        Some(space).filter(|space| space.total > 0)
    }
}

impl DiskFile for OsFile {
    fn read_at(&self, position: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let mut done = 0;
        while let Some(rest) = buffer.get_mut(done..).filter(|rest| !rest.is_empty()) {
            match self.0.read_at(rest, position + done as u64) {
                Ok(0) => break,
                Ok(read) => done += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }

    fn write_at(&self, mut position: u64, parts: &[IoSlice<'_>]) -> io::Result<()> {
        for group in parts.chunks(MAX_WRITE_PARTS) {
            let mut slices = group.to_vec();
            let mut rest = slices.as_mut_slice();
            // Leading empty parts would make an empty write look like a full disk.
            IoSlice::advance_slices(&mut rest, 0);
            while !rest.is_empty() {
                match rustix::io::pwritev(&self.0, rest, position) {
                    Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                    Ok(written) => {
                        position += written as u64;
                        IoSlice::advance_slices(&mut rest, written);
                    }
                    Err(rustix::io::Errno::INTR) => {}
                    Err(errno) => return Err(errno.into()),
                }
            }
        }
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn flush(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn set_modified(&self, to: Timestamp) -> io::Result<()> {
        let since = Duration::from_millis(u64::try_from(to.get()).unwrap_or(0));
        self.0.set_modified(SystemTime::UNIX_EPOCH + since)
    }

    fn fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.0.as_fd())
    }
}

/// Whole milliseconds; what lies before 1970 is 1970.
fn timestamp(time: SystemTime) -> Timestamp {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// A descriptor on a file system, opened before the first write, through which one `syncfs` makes every dirty file durable.
///
/// Linux reports write errors through it only from 5.8 on, and only those that happened after it was opened.
#[derive(Debug)]
pub struct SyncFs(File);

impl SyncFs {
    /// Opens the file system of `directory`; `None` where `syncfs` does not report errors (before Linux 5.8, other systems).
    pub fn open(directory: &Path) -> io::Result<Option<SyncFs>> {
        if !reports_errors() {
            return Ok(None);
        }
        Ok(Some(SyncFs(File::open(directory)?)))
    }

    /// Makes everything on the file system durable. A failure must not be tried again.
    pub fn sync(&self) -> io::Result<()> {
        #[cfg(target_os = "linux")]
        {
            Ok(rustix::fs::syncfs(&self.0)?)
        }
        #[cfg(not(target_os = "linux"))]
        {
            Err(io::ErrorKind::Unsupported.into())
        }
    }
}

fn reports_errors() -> bool {
    if !cfg!(target_os = "linux") {
        return false;
    }
    let Ok(release) = fs::read_to_string("/proc/sys/kernel/osrelease") else { return false };
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map_while(|part| part.parse::<u32>().ok());
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    version >= (5, 8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_parts_than_one_call_takes_are_written_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let file = OsDisk.create(&folder.path().join("f")).unwrap();
        let bytes: Vec<u8> = (0..5000u32).map(|i| i as u8).collect();
        let parts: Vec<IoSlice<'_>> = bytes.chunks(1).map(IoSlice::new).collect();
        file.write_at(3, &parts).unwrap();
        file.write_at(0, &[IoSlice::new(b""), IoSlice::new(b"abc"), IoSlice::new(b"")]).unwrap();
        file.write_at(0, &[IoSlice::new(b"")]).unwrap();
        let mut read = vec![0; 6000];
        assert_eq!(file.read_at(0, &mut read).unwrap(), 5003);
        assert_eq!(&read[..3], b"abc");
        assert_eq!(&read[3..5003], &bytes[..]);
        assert!(file.fd().is_some());
        file.flush().unwrap();
        OsDisk.flush_dir(folder.path()).unwrap();
        let space = OsDisk.space(folder.path()).unwrap();
        assert!(0 < space.free && space.free < space.total);
    }

    #[test]
    fn a_file_tells_when_it_was_changed_last_or_what_it_was_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f");
        let modified = || OsDisk.list(folder.path()).unwrap().remove(0).modified;
        let before = timestamp(SystemTime::now() - Duration::from_secs(5));
        let file = OsDisk.create(&path).unwrap();
        assert!(modified() > before);
        file.set_modified(Timestamp(1_500_000_000_123)).unwrap();
        assert_eq!(modified(), Timestamp(1_500_000_000_123));
        assert_eq!(OsDisk.open(&path, false).unwrap().len().unwrap(), 0);
        assert_eq!(modified(), Timestamp(1_500_000_000_123), "reading changes nothing");
        file.write_at(0, &[IoSlice::new(b"x")]).unwrap();
        assert!(modified() > before);
    }

    #[test]
    fn syncfs_is_offered_where_it_reports_errors() {
        let folder = tempfile::tempdir().unwrap();
        if let Some(sync) = SyncFs::open(folder.path()).unwrap() {
            sync.sync().unwrap();
        }
    }
}
