//! A piece of a file that keeps the file open, so that deletion and compaction do it no harm.

use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

use bytes::Bytes;

use crate::disk::{DiskFile, read_exact};

/// `len` bytes of an open file from `position` on. The bytes are whole record batches and never change.
#[derive(Clone, Debug)]
pub struct FileSlice {
    /// The file, held open.
    pub file: Arc<dyn DiskFile>,
    /// First byte.
    pub position: u64,
    /// Bytes.
    pub len: usize,
}

impl FileSlice {
    /// Reads the whole slice. Blocks; fewer bytes than announced are an error of kind `UnexpectedEof`.
    pub fn read(&self) -> io::Result<Bytes> {
        read_exact(&*self.file, self.position, self.len).map(Bytes::from)
    }

    /// Reads `len` bytes from `offset` bytes into the slice; both are cut to the slice.
    pub fn read_part(&self, offset: usize, len: usize) -> io::Result<Bytes> {
        let offset = offset.min(self.len);
        let len = len.min(self.len - offset);
        read_exact(&*self.file, self.position + offset as u64, len).map(Bytes::from)
    }

    /// The descriptor for `sendfile`; `None` on a simulated disk.
    pub fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.file.fd()
    }
}

impl PartialEq for FileSlice {
    /// The same bytes of the same open file.
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.file, &other.file) && self.position == other.position && self.len == other.len
    }
}

impl Eq for FileSlice {}
