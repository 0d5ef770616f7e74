//! The file beneath redb. Watches for failed flushes: after one, nobody knows what the disk holds, and the file must not be trusted again.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io;
use std::ops::Bound;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use redb::backends::FileBackend;
use redb::{BackendError, DatabaseError, StorageBackend};

/// Where the file is, and how it is reached. Beside the real one stand those of the tests.
pub(super) trait Disk: Send + Sync {
    /// The file, created if absent; its directory entry is durable.
    fn open(&self) -> Result<Backend, DatabaseError>;

    /// What errors call it.
    fn name(&self) -> String;

    /// Has a flush failed?
    fn flush_failed(&self) -> bool;
}

/// The file on the real disk.
pub(super) struct RealDisk {
    path: PathBuf,
    flush_failed: Arc<AtomicBool>,
}

impl RealDisk {
    pub(super) fn new(path: PathBuf) -> Self {
        RealDisk { path, flush_failed: Arc::default() }
    }
}

impl Disk for RealDisk {
    fn open(&self) -> Result<Backend, DatabaseError> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&self.path)?;
        if let Some(directory) = self.path.parent() {
            File::open(directory)?.sync_all()?;
        }
        let inner = Box::new(FileBackend::new(file)?);
        Ok(Backend { inner, flush_failed: self.flush_failed.clone() })
    }

    fn name(&self) -> String {
        self.path.display().to_string()
    }

    fn flush_failed(&self) -> bool {
        self.flush_failed.load(Ordering::Acquire)
    }
}

/// A boxed file that notes failed flushes.
pub(super) struct Backend {
    pub(super) inner: Box<dyn StorageBackend>,
    pub(super) flush_failed: Arc<AtomicBool>,
}

impl fmt::Debug for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

impl StorageBackend for Backend {
    fn len(&self) -> Result<u64, io::Error> {
        self.inner.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), io::Error> {
        self.inner.read(offset, out)
    }

    fn set_len(&self, len: u64) -> Result<(), io::Error> {
        self.inner.set_len(len)
    }

    fn sync_data(&self) -> Result<(), io::Error> {
        self.inner.sync_data().inspect_err(|_| self.flush_failed.store(true, Ordering::Release))
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), io::Error> {
        self.inner.write(offset, data)
    }

    fn close(&self) -> Result<(), io::Error> {
        self.inner.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.inner.try_lock_range(start, end)
    }

    fn try_lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.inner.try_lock_shared_range(start, end)
    }

    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.inner.lock_range(start, end)
    }

    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.inner.lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.inner.unlock_range(start, end)
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.inner.query_lock_range(start, end)
    }
}
