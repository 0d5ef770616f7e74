//! After a failed flush the kernel may count pages as clean that are on no disk: they are written again before a flush is believed.

use std::io::IoSlice;
use std::path::Path;

use super::Recovery;
use super::tidy::Folder;
use crate::LogError;
use crate::disk::read_exact;
use crate::limits::VERIFY_WINDOW_BYTES;
use crate::names::{Kind, PARTITION_METADATA};

impl Recovery<'_> {
    /// After a failed flush: writes the small files that may be on no disk once more, so that the next flush means something.
    pub(super) fn rewrite_small(&self, folder: &Folder) -> Result<(), LogError> {
        tracing::warn!(log = %self.directory.display(), "an earlier flush failed: everything above the recovery checkpoint is written again");
        let snapshots = folder.snapshots.iter().map(|offset| (*offset, Kind::Snapshot));
        let indexes = folder.files.iter().copied();
        for (offset, kind) in snapshots.chain(indexes) {
            let path = self.path(offset, kind);
            let len = self.disk.open(&path, false).and_then(|file| file.len());
            self.rewrite(&path, 0, len.map_err(LogError::io("cannot open", &path))?)?;
        }
        // Names that were removed and not flushed could come back.
        self.disk.flush_dir(self.directory).map_err(LogError::io("cannot flush", self.directory))?;
        let metadata = self.directory.join(PARTITION_METADATA);
        match self.disk.open(&metadata, false).and_then(|file| file.len()) {
            Ok(len) => self.rewrite(&metadata, 0, len),
            Err(_) => Ok(()),
        }
    }

    /// Writes the bytes `[from, to)` of a file over themselves, so that the kernel counts them as changed, and flushes it.
    pub(super) fn rewrite(&self, path: &Path, from: u64, to: u64) -> Result<(), LogError> {
        let failed = || LogError::io("cannot write again", path);
        let file = self.disk.open(path, true).map_err(failed())?;
        let mut at = from;
        while at < to {
            let len = ((to - at) as usize).min(VERIFY_WINDOW_BYTES);
            let bytes = read_exact(&*file, at, len).map_err(failed())?;
            file.write_at(at, &[IoSlice::new(&bytes)]).map_err(failed())?;
            at += len as u64;
        }
        // A length that was cut and never flushed is made to last as well.
        file.flush().map_err(failed())
    }
}
