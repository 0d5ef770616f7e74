//! An open file of the simulated disk: what calls on it do, and how they fail.

use std::io::{self, IoSlice};
use std::os::fd::BorrowedFd;

use tidelog_model::Timestamp;

use super::content::Change;
use super::disk::{SimDisk, State};
use super::faults::Operation;
use crate::disk::DiskFile;

#[derive(Debug)]
pub(super) struct SimFile {
    pub(super) disk: SimDisk,
    /// The file's number.
    pub(super) number: usize,
    /// The life of the disk that the handle belongs to.
    pub(super) life: u64,
    pub(super) writable: bool,
}

impl SimFile {
    fn begin(&self, operation: Operation) -> io::Result<parking_lot::MutexGuard<'_, State>> {
        {
            let state = self.disk.state.lock();
            if state.life != self.life {
                return Err(io::Error::other("the handle belongs to an earlier life"));
            }
        }
        self.disk.begin(operation, &self.number.to_le_bytes())
    }
}

impl DiskFile for SimFile {
    fn read_at(&self, position: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let mut state = self.begin(Operation::Read)?;
        let bytes = &state.content(self.number)?.bytes;
        let rest = usize::try_from(position).ok().and_then(|position| bytes.get(position..)).unwrap_or_default();
        let count = rest.len().min(buffer.len());
        for (to, from) in buffer.iter_mut().zip(rest) {
            *to = *from;
        }
        state.bytes_read += count as u64;
        Ok(count)
    }

    fn write_at(&self, position: u64, parts: &[IoSlice<'_>]) -> io::Result<()> {
        if !self.writable {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        let bytes: Vec<u8> = parts.iter().flat_map(|part| part.iter().copied()).collect();
        let mut failure = None;
        let mut state = match self.begin(Operation::Write) {
            Ok(state) => state,
            Err(error) => {
                failure = Some(error);
                self.disk.state.lock()
            }
        };
        if state.life != self.life {
            return Err(io::Error::other("the handle belongs to an earlier life"));
        }
        let mut written = bytes.len() as u64;
        if failure.is_some() {
            written = state.random.below(written + 1);
        } else if let Some(capacity) = state.faults.capacity {
            let len = state.content(self.number)?.bytes.len() as u64;
            let growth = (position + written).saturating_sub(len);
            let left = capacity.saturating_sub(state.used());
            if growth > left {
                written -= growth - left.min(growth);
                failure = Some(io::ErrorKind::StorageFull.into());
            }
        }
        let kept = bytes.get(..written as usize).unwrap_or_default().to_vec();
        let time = state.time;
        state.content(self.number)?.change(Change::Write(position, kept), time);
        failure.map_or(Ok(()), Err)
    }

    fn len(&self) -> io::Result<u64> {
        let mut state = self.begin(Operation::Read)?;
        Ok(state.content(self.number)?.bytes.len() as u64)
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        if !self.writable {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        let mut state = self.begin(Operation::Truncate)?;
        let time = state.time;
        state.content(self.number)?.change(Change::Truncate(len), time);
        Ok(())
    }

    fn flush(&self) -> io::Result<()> {
        let result = self.begin(Operation::Flush).map(drop);
        let mut state = self.disk.state.lock();
        if state.life != self.life {
            return result;
        }
        state.content(self.number)?.flush(result.is_ok());
        result
    }

    fn set_modified(&self, to: Timestamp) -> io::Result<()> {
        let mut state = self.begin(Operation::Name)?;
        state.content(self.number)?.modified = to;
        Ok(())
    }

    fn fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}
