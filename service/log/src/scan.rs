//! Walks the batches of a `.log` file in order, headers only or with checksums; decides where whole batches end.

use std::io;

use bytes::Bytes;
use tidelog_record::{Batch, BatchError, BatchHeader, check_crc};

use crate::disk::DiskFile;
use crate::limits::{MAX_BATCH_BYTES, SCAN_WINDOW_BYTES, VERIFY_WINDOW_BYTES};

/// A header and where its batch lies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Located {
    pub(crate) position: u64,
    pub(crate) header: BatchHeader,
}

impl Located {
    /// First byte after the batch.
    pub(crate) const fn end(&self) -> u64 {
        self.position + self.header.size() as u64
    }
}

/// Why a walk stopped before the end.
#[derive(Debug)]
pub(crate) enum ScanError {
    Io(io::Error),
    /// No whole batch at this position.
    Batch {
        position: u64,
        error: BatchError,
    },
}

impl From<io::Error> for ScanError {
    fn from(error: io::Error) -> Self {
        ScanError::Io(error)
    }
}

/// Reads through a file with one buffered window.
pub(crate) struct Scan<'a> {
    file: &'a dyn DiskFile,
    position: u64,
    limit: u64,
    window: Vec<u8>,
    window_at: u64,
    window_bytes: usize,
}

impl<'a> Scan<'a> {
    /// Headers from `position` (a batch's start) on; bytes at or after `limit` do not exist.
    pub(crate) fn headers(file: &'a dyn DiskFile, position: u64, limit: u64) -> Self {
        Scan { file, position, limit, window: Vec::new(), window_at: 0, window_bytes: SCAN_WINDOW_BYTES }
    }

    /// The same for [`Scan::next_batch`], with a larger window.
    pub(crate) fn batches(file: &'a dyn DiskFile, position: u64, limit: u64) -> Self {
        Scan { window_bytes: VERIFY_WINDOW_BYTES, ..Scan::headers(file, position, limit) }
    }

    /// The next header, its batch wholly below the limit; `None` at the limit.
    pub(crate) fn next_header(&mut self) -> Result<Option<Located>, ScanError> {
        if self.position >= self.limit {
            return Ok(None);
        }
        let position = self.position;
        let have = self.limit - position;
        let head = self.bytes(BatchHeader::LEN.min(have as usize))?;
        let header = BatchHeader::parse(head).map_err(|error| ScanError::Batch { position, error })?;
        let size = header.size();
        if size as u64 > have || size > MAX_BATCH_BYTES {
            let error = BatchError::Truncated { announced: size, have: have as usize };
            return Err(ScanError::Batch { position, error });
        }
        self.position += size as u64;
        Ok(Some(Located { position, header }))
    }

    /// Goes back to a batch that was just passed.
    pub(crate) const fn rewind(&mut self, located: &Located) {
        self.position = located.position;
    }

    /// The next whole batch; `None` at the limit. Its checksum is not looked at.
    pub(crate) fn next_batch(&mut self) -> Result<Option<(u64, Batch)>, ScanError> {
        let Some(located) = self.next_header()? else { return Ok(None) };
        self.position = located.position;
        let bytes = Bytes::copy_from_slice(self.bytes(located.header.size())?);
        self.position = located.end();
        let position = located.position;
        match Batch::parse(&bytes) {
            Ok(batch) => Ok(Some((position, batch))),
            Err(error) => Err(ScanError::Batch { position, error }),
        }
    }

    /// The next header of a batch whose checksum fits; `None` at the limit.
    pub(crate) fn next_verified(&mut self) -> Result<Option<Located>, ScanError> {
        let Some((position, batch)) = self.next_batch()? else { return Ok(None) };
        match check_crc(&batch) {
            Ok(()) => Ok(Some(Located { position, header: *batch.header() })),
            Err(error) => {
                self.position = position;
                Err(ScanError::Batch { position, error })
            }
        }
    }

    /// `len` bytes at the current position, which lie below the limit.
    fn bytes(&mut self, len: usize) -> io::Result<&[u8]> {
        let inside = self.position.checked_sub(self.window_at).map(|start| start as usize);
        let have = inside.is_some_and(|start| start + len <= self.window.len());
        let start = match inside {
            Some(start) if have => start,
            _ => {
                self.fill(len)?;
                0
            }
        };
        self.window.get(start..start + len).ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }

    fn fill(&mut self, len: usize) -> io::Result<()> {
        let want = self.window_bytes.max(len).min((self.limit - self.position) as usize);
        self.window.resize(want, 0);
        let read = self.file.read_at(self.position, &mut self.window)?;
        self.window.truncate(read);
        self.window_at = self.position;
        Ok(())
    }
}

/// Is there a valid batch in `[from, limit)`, at any byte? Asked after damage only: it reads everything.
pub(crate) fn finds_valid_batch(file: &dyn DiskFile, from: u64, limit: u64) -> io::Result<bool> {
    const MAGIC_AT: u64 = 16;
    let mut block_at = from.saturating_add(MAGIC_AT);
    while block_at < limit {
        let want = ((limit - block_at) as usize).min(VERIFY_WINDOW_BYTES);
        let block = crate::disk::read_exact(file, block_at, want)?;
        for (index, _) in block.iter().enumerate().filter(|(_, byte)| **byte == 2) {
            let position = block_at + index as u64 - MAGIC_AT;
            match Scan::headers(file, position, limit).next_header() {
                Ok(Some(_)) => {}
                Ok(None) | Err(ScanError::Batch { .. }) => continue,
                Err(ScanError::Io(error)) => return Err(error),
            }
            match Scan::batches(file, position, limit).next_verified() {
                Ok(Some(_)) => return Ok(true),
                Ok(None) | Err(ScanError::Batch { .. }) => {}
                Err(ScanError::Io(error)) => return Err(error),
            }
        }
        block_at += want as u64;
    }
    Ok(false)
}
