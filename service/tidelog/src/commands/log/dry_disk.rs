//! A disk that changes nothing: what is written, cut, renamed and removed is remembered here and read back from here, so that a
//! recovery can be tried before it is carried out. What is put into a `.cut` file is forgotten: nobody reads it again.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::{self, IoSlice};
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use tidelog_log::{DirEntry, Disk, DiskFile, OsDisk, Space};
use tidelog_model::Timestamp;

/// The real disk below, and what became of names since.
#[derive(Debug, Default)]
pub(super) struct DryDisk {
    changed: Mutex<BTreeMap<PathBuf, Option<Arc<DryFile>>>>,
}

/// A file: as much of the real one as is left, and what was written over it.
#[derive(Debug)]
struct DryFile {
    below: Option<Arc<dyn DiskFile>>,
    keeps: bool,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    len: u64,
    /// Bytes of the real file that still count.
    below_len: u64,
    /// When the real file was changed last, or what was said of it since.
    modified: Timestamp,
    /// In the order in which they were written.
    writes: Vec<(u64, Vec<u8>)>,
}

fn not_found(path: &Path) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, format!("{} does not exist", path.display()))
}

/// When the real file was changed last.
fn modified(path: &Path) -> io::Result<Timestamp> {
    let entries = OsDisk.list(path.parent().unwrap_or(path))?;
    let entry = entries.into_iter().find(|entry| Some(entry.name.as_os_str()) == path.file_name());
    entry.map(|entry| entry.modified).ok_or_else(|| not_found(path))
}

impl DryDisk {
    /// The file of this name; the real one is taken over when it is first asked for.
    fn file(&self, path: &Path) -> io::Result<Arc<DryFile>> {
        let mut changed = self.changed.lock();
        match changed.get(path) {
            Some(Some(file)) => Ok(Arc::clone(file)),
            Some(None) => Err(not_found(path)),
            None => {
                let below = OsDisk.open(path, false)?;
                let len = below.len()?;
                let state = Mutex::new(State { len, below_len: len, modified: modified(path)?, writes: Vec::new() });
                let file = Arc::new(DryFile { below: Some(below), keeps: true, state });
                changed.insert(path.to_owned(), Some(Arc::clone(&file)));
                Ok(file)
            }
        }
    }
}

impl Disk for DryDisk {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let name = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
        let state = Mutex::new(State { len: 0, below_len: 0, modified: Timestamp::NONE, writes: Vec::new() });
        let file = Arc::new(DryFile { below: None, keeps: !name.contains(".cut"), state });
        self.changed.lock().insert(path.to_owned(), Some(Arc::clone(&file)));
        Ok(file)
    }

    fn open(&self, path: &Path, _write: bool) -> io::Result<Arc<dyn DiskFile>> {
        let file = self.file(path)?;
        Ok(file)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let file = self.file(from)?;
        let mut changed = self.changed.lock();
        changed.insert(from.to_owned(), None);
        changed.insert(to.to_owned(), Some(file));
        Ok(())
    }

    fn unlink(&self, path: &Path) -> io::Result<()> {
        self.file(path)?;
        self.changed.lock().insert(path.to_owned(), None);
        Ok(())
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        Err(io::Error::new(io::ErrorKind::Unsupported, format!("{} would be removed", path.display())))
    }

    fn create_dir(&self, _path: &Path) -> io::Result<()> {
        Ok(())
    }

    fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        let mut entries: BTreeMap<_, _> =
            OsDisk.list(path)?.into_iter().map(|entry| (entry.name.clone(), entry)).collect();
        for (changed, file) in self.changed.lock().iter() {
            let (Some(parent), Some(name)) = (changed.parent(), changed.file_name()) else { continue };
            if parent != path {
                continue;
            }
            match file {
                Some(file) => {
                    let state = file.state.lock();
                    let (len, modified) = (state.len, state.modified);
                    let entry = DirEntry { name: name.to_owned(), is_dir: false, len, modified };
                    entries.insert(name.to_owned(), entry);
                }
                None => drop(entries.remove(name)),
            }
        }
        Ok(entries.into_values().collect())
    }

    fn flush_dir(&self, _path: &Path) -> io::Result<()> {
        Ok(())
    }

    fn space(&self, path: &Path) -> Option<Space> {
        OsDisk.space(path)
    }
}

impl DiskFile for DryFile {
    fn read_at(&self, position: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let state = self.state.lock();
        let len = usize::try_from(state.len.saturating_sub(position)).unwrap_or(usize::MAX).min(buffer.len());
        let Some(buffer) = buffer.get_mut(..len) else { return Ok(0) };
        buffer.fill(0);
        if let Some(below) = &self.below {
            let real = usize::try_from(state.below_len.saturating_sub(position)).unwrap_or(usize::MAX).min(len);
            if let Some(part) = buffer.get_mut(..real) {
                below.read_at(position, part)?;
            }
        }
        for (at, bytes) in &state.writes {
            let from = position.max(*at);
            let to = position.saturating_add(len as u64).min(at.saturating_add(bytes.len() as u64));
            let (target, source) = (range(from, to, position), range(from, to, *at));
            if let (Some(target), Some(source)) = (buffer.get_mut(target), bytes.get(source)) {
                target.copy_from_slice(source);
            }
        }
        Ok(len)
    }

    fn write_at(&self, position: u64, parts: &[IoSlice<'_>]) -> io::Result<()> {
        let mut state = self.state.lock();
        let size: usize = parts.iter().map(|part| part.len()).sum();
        state.len = state.len.max(position.saturating_add(size as u64));
        if self.keeps {
            let bytes = parts.iter().flat_map(|part| part.iter().copied()).collect();
            state.writes.push((position, bytes));
        }
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.state.lock().len)
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        let mut state = self.state.lock();
        state.len = len;
        state.below_len = state.below_len.min(len);
        state.writes.retain_mut(|(at, bytes)| {
            bytes.truncate(usize::try_from(len.saturating_sub(*at)).unwrap_or(usize::MAX));
            !bytes.is_empty()
        });
        Ok(())
    }

    fn flush(&self) -> io::Result<()> {
        Ok(())
    }

    fn set_modified(&self, to: Timestamp) -> io::Result<()> {
        self.state.lock().modified = to;
        Ok(())
    }

    fn fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}

/// `[from, to)` counted from `origin`; empty if it is none.
fn range(from: u64, to: u64, origin: u64) -> std::ops::Range<usize> {
    let place = |at: u64| usize::try_from(at.saturating_sub(origin)).unwrap_or(usize::MAX);
    place(from)..place(to.max(from))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_changed_is_read_back_and_the_disk_keeps_what_it_has() {
        let folder = tempfile_folder();
        let path = folder.join("a");
        std::fs::write(&path, b"0123456789").unwrap();
        let disk = DryDisk::default();
        let file = disk.open(&path, true).unwrap();
        file.write_at(8, &[IoSlice::new(b"ab"), IoSlice::new(b"cd")]).unwrap();
        let read = |file: &dyn DiskFile, at: u64| {
            let mut buffer = [b'.'; 20];
            let len = file.read_at(at, &mut buffer).unwrap();
            String::from_utf8(buffer[..len].to_vec()).unwrap()
        };
        assert_eq!((read(&*file, 0), read(&*file, 9)), ("01234567abcd".to_owned(), "bcd".to_owned()));
        file.truncate(9).unwrap();
        file.truncate(11).unwrap();
        assert_eq!(read(&*file, 6), "67a\0\0");
        disk.rename(&path, &folder.join("b")).unwrap();
        assert!(disk.open(&path, false).is_err());
        assert_eq!(read(&*disk.open(&folder.join("b"), false).unwrap(), 7), "7a\0\0");
        let cut = disk.create(&folder.join("c.cut")).unwrap();
        cut.write_at(0, &[IoSlice::new(b"much")]).unwrap();
        assert_eq!(cut.len().unwrap(), 4);
        let names: Vec<_> = disk.list(&folder).unwrap().into_iter().map(|entry| (entry.name, entry.len)).collect();
        assert_eq!(names, [("b".into(), 11), ("c.cut".into(), 4)]);
        disk.unlink(&folder.join("b")).unwrap();
        assert_eq!(disk.list(&folder).unwrap().len(), 1);
        assert_eq!(std::fs::read(&path).unwrap(), b"0123456789");
        assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 1);
        std::fs::remove_dir_all(&folder).unwrap();
    }

    fn tempfile_folder() -> PathBuf {
        let folder = std::env::temp_dir().join(format!("tidelog-dry-disk-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        folder
    }
}
