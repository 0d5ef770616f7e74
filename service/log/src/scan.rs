//! Walks the batches of a `.log` file in order, headers only or with checksums; decides where whole batches end.

use std::io;

use bytes::Bytes;
use tidelog_record::{Batch, BatchError, BatchHeader, check_crc_of};

use crate::disk::{DiskFile, read_exact};
use crate::limits::{MAX_BATCH_BYTES, MAX_SEARCHED_BYTES, SCAN_WINDOW_BYTES, VERIFY_WINDOW_BYTES};

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
    /// Its first `window_len` bytes were read at `window_at`. It never shrinks: to grow again it would be filled with zeros.
    window: Vec<u8>,
    window_len: usize,
    window_at: u64,
    window_bytes: usize,
}

impl<'a> Scan<'a> {
    /// Headers from `position` (a batch's start) on; bytes at or after `limit` do not exist.
    pub(crate) fn headers(file: &'a dyn DiskFile, position: u64, limit: u64) -> Self {
        Scan { file, position, limit, window: Vec::new(), window_len: 0, window_at: 0, window_bytes: SCAN_WINDOW_BYTES }
    }

    /// The same for [`Scan::next_batch`], with a larger window.
    pub(crate) fn batches(file: &'a dyn DiskFile, position: u64, limit: u64) -> Self {
        let mut scan = Scan::headers(file, position, limit);
        scan.widen();
        scan
    }

    /// From here on whole batches are wanted.
    pub(crate) const fn widen(&mut self) {
        self.window_bytes = VERIFY_WINDOW_BYTES;
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

    /// Goes on at this byte.
    pub(crate) const fn seek(&mut self, position: u64) {
        self.position = position;
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

    /// Checks the checksum of a batch that was just passed.
    pub(crate) fn verify(&mut self, located: &Located) -> Result<(), ScanError> {
        self.position = located.position;
        let bytes = self.bytes(located.header.size())?;
        check_crc_of(&located.header, bytes).map_err(|error| ScanError::Batch { position: located.position, error })?;
        self.position = located.end();
        Ok(())
    }

    /// `len` bytes at the current position, which lie below the limit.
    fn bytes(&mut self, len: usize) -> io::Result<&[u8]> {
        let inside = self.position.checked_sub(self.window_at).map(|start| start as usize);
        let have = inside.is_some_and(|start| start + len <= self.window_len);
        let start = match inside {
            Some(start) if have => start,
            _ => {
                self.fill(len)?;
                0
            }
        };
        self.window
            .get(..self.window_len)
            .and_then(|read| read.get(start..start + len))
            .ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }

    fn fill(&mut self, len: usize) -> io::Result<()> {
        let want = self.window_bytes.max(len).min((self.limit - self.position) as usize);
        if self.window.len() < want {
            self.window.resize(want, 0);
        }
        self.window_len = 0;
        self.window_at = self.position;
        self.window_len = self.file.read_at(self.position, self.window.get_mut(..want).unwrap_or_default())?;
        Ok(())
    }
}

/// What a search for a valid batch has come to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Searched {
    Found(Located),
    Nothing,
    /// Records may hold what looks like batches, one within the other: after [`MAX_SEARCHED_BYTES`] of checksums nobody goes on.
    GivenUp,
}

/// The first batch in `[from, limit)`, at any byte, that fits and whose checksum holds. Asked after damage only.
pub(crate) fn find_valid_batch(
    file: &dyn DiskFile,
    from: u64,
    limit: u64,
    fits: impl Fn(&BatchHeader) -> bool,
) -> io::Result<Searched> {
    let mut left = MAX_SEARCHED_BYTES;
    let mut at = from;
    while at + (BatchHeader::LEN as u64) <= limit {
        let block = read_exact(file, at, ((limit - at) as usize).min(VERIFY_WINDOW_BYTES))?;
        let headers = block.windows(BatchHeader::LEN).map(BatchHeader::parse);
        let starts = headers.len() as u64;
        for (position, header) in (at..).zip(headers) {
            let Ok(header) = header else { continue };
            let size = header.size() as u64;
            if size > (limit - position).min(MAX_BATCH_BYTES as u64) || !fits(&header) {
                continue;
            }
            let located = Located { position, header };
            match Scan::headers(file, position, limit).verify(&located) {
                Ok(()) => return Ok(Searched::Found(located)),
                Err(ScanError::Batch { .. }) => {}
                Err(ScanError::Io(error)) => return Err(error),
            }
            // No candidate costs less than one window.
            left = match left.checked_sub(size.max(SCAN_WINDOW_BYTES as u64)) {
                Some(left) => left,
                None => return Ok(Searched::GivenUp),
            };
        }
        at += starts;
    }
    Ok(Searched::Nothing)
}
