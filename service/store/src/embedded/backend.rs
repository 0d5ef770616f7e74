//! The file beneath redb. Watches for failed flushes: after one, nobody knows what the disk holds, and the file must not be trusted again.
//!
//! The kernel may count pages as clean whose flush failed: what a later process reads of them is on no disk, and its own flushes pass them
//! over. So whoever opens the file leaves a mark beside it, which only a clean close takes away: after a failed flush, when the disk is least
//! able to take a mark, it is there already. Whoever finds it writes all of the file again before believing any flush.

use std::fmt;
use std::fs::{File, OpenOptions, Permissions};
use std::io;
use std::ops::Bound;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use redb::backends::FileBackend;
use redb::{BackendError, DatabaseError, StorageBackend};

use crate::limits::REWRITE_BYTES;

/// Where the file is, and how it is reached. Beside the real one stand those of the tests.
pub(super) trait Disk: Send + Sync {
    /// The file, created if absent, locked against other processes; its directory entry is durable.
    fn open(&self) -> Result<Box<dyn StorageBackend>, DatabaseError>;

    /// What errors call it.
    fn name(&self) -> String;

    /// Has somebody opened the file and not closed it cleanly?
    fn is_unsettled(&self) -> io::Result<bool>;

    /// Leaves the mark that says so. It need not survive a power cut: that takes the page cache along.
    fn mark_unsettled(&self) -> io::Result<()>;

    /// Takes the mark away.
    fn settle(&self) -> io::Result<()>;
}

/// The file on the real disk.
pub(super) struct RealDisk {
    path: PathBuf,
}

impl RealDisk {
    pub(super) fn new(path: PathBuf) -> Self {
        RealDisk { path }
    }

    fn mark(&self) -> PathBuf {
        self.path.with_added_extension("unsettled")
    }
}

impl Disk for RealDisk {
    fn open(&self) -> Result<Box<dyn StorageBackend>, DatabaseError> {
        let file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&self.path)?;
        // It holds what passwords and tokens are checked with; one of an earlier version may be readable by others.
        let mode = file.metadata()?.permissions().mode();
        if mode & 0o077 != 0 {
            file.set_permissions(Permissions::from_mode(mode & !0o077))?;
        }
        File::open(self.path.parent().unwrap_or(Path::new(".")))?.sync_all()?;
        Ok(Box::new(FileBackend::new(file)?))
    }

    fn name(&self) -> String {
        self.path.display().to_string()
    }

    fn is_unsettled(&self) -> io::Result<bool> {
        self.mark().try_exists()
    }

    fn mark_unsettled(&self) -> io::Result<()> {
        File::create(self.mark()).map(drop)
    }

    fn settle(&self) -> io::Result<()> {
        std::fs::remove_file(self.mark())
    }
}

/// The file of one process, and whether it may still be believed.
pub(super) struct Place {
    disk: Arc<dyn Disk>,
    flush_failed: AtomicBool,
    /// This process has left the mark, or could not.
    marked: AtomicBool,
}

impl Place {
    pub(super) fn new(disk: Arc<dyn Disk>) -> Arc<Self> {
        Arc::new(Place { disk, flush_failed: AtomicBool::new(false), marked: AtomicBool::new(false) })
    }

    /// What errors call it.
    pub(super) fn name(&self) -> String {
        self.disk.name()
    }

    /// Has a flush failed in this process?
    pub(super) fn flush_failed(&self) -> bool {
        self.flush_failed.load(Ordering::Acquire)
    }

    /// The file, as far as it can be believed.
    pub(super) fn open(self: &Arc<Self>) -> Result<Backend, DatabaseError> {
        let backend = Backend { inner: self.disk.open()?, place: Arc::clone(self) };
        // What this process itself has written it knows: it opens the file again only while no flush has failed.
        if self.marked.load(Ordering::Acquire) {
            return Ok(backend);
        }
        if self.disk.is_unsettled()? {
            tracing::info!(store = %self.name(), "it was not closed cleanly: the metadata store is written again");
            backend.write_again()?;
        } else {
            self.mark();
        }
        self.marked.store(true, Ordering::Release);
        Ok(backend)
    }

    /// The file is closed, all of it durable. Of a failed flush the mark stays.
    pub(super) fn closed(&self) {
        if !self.flush_failed()
            && let Err(error) = self.disk.settle()
        {
            tracing::warn!(store = %self.name(), %error, "the mark cannot be removed: the next start writes the file again");
        }
    }

    /// Without room for the mark the store opens all the same: an operator who makes room needs it.
    fn mark(&self) {
        if let Err(error) = self.disk.mark_unsettled() {
            tracing::error!(store = %self.name(), %error, "a failed flush could not be told from a good one by the next start");
        }
    }

    fn lost(&self) {
        self.flush_failed.store(true, Ordering::Release);
        self.mark();
    }
}

/// A boxed file that notes failed flushes.
pub(super) struct Backend {
    inner: Box<dyn StorageBackend>,
    place: Arc<Place>,
}

impl Backend {
    /// Writes every byte over itself, so that the kernel counts it as changed, and flushes it. What a crash leaves of this is what the
    /// crash of a commit leaves: redb finds by its checksums which commit is whole.
    fn write_again(&self) -> io::Result<()> {
        let (len, mut at) = (self.len()?, 0);
        let mut piece = vec![0; REWRITE_BYTES];
        while at < len {
            let size = usize::try_from(len - at).map_or(REWRITE_BYTES, |left| left.min(REWRITE_BYTES));
            piece.truncate(size);
            self.read(at, &mut piece)?;
            self.write(at, &piece)?;
            at += size as u64;
        }
        self.sync_data()
    }
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
        self.inner.sync_data().inspect_err(|_| self.place.lost())
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
