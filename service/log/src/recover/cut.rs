//! Cutting a log at the first damage above the recovery checkpoint, and keeping what is cut.

use tidelog_model::Offset;

use super::tidy::Folder;
use super::{Break, Found, Recovery};
use crate::LogError;
use crate::cut::{keep_tail, unused_cut};
use crate::disk::{DiskFile, unlink_if_there};
use crate::flush::mark_unsettled;
use crate::names::{self, Kind, Stage};
use crate::open::Cut;
use crate::scan::{Searched, find_valid_batch};

impl Recovery<'_> {
    /// Ends the log where it broke. The cut bytes are kept in `.log.cut` files, and everything is durable on return.
    pub(super) fn cut(&self, folder: &Folder, stop: Break, found: &[Found], end: Offset) -> Result<Cut, LogError> {
        // If the process ends before the cut is flushed, the next start must not take the shorter file for a durable one.
        mark_unsettled(self.disk, self.directory)?;
        let mut bytes = 0;
        let mut batches_followed = false;
        for (&base, &size) in folder.logs.range(stop.base..) {
            let file = self.open_file(base, Kind::Log, true)?;
            let path = self.path(base, Kind::Log);
            let from = if base == stop.base { stop.position } else { 0 };
            bytes += size.saturating_sub(from);
            // Where the search was given up some may lie.
            batches_followed = batches_followed
                || find_valid_batch(&*file, from, size, |header| header.base_offset >= end)
                    .map_err(LogError::io("cannot read", &path))?
                    != Searched::Nothing;
            if base == stop.base && !stop.whole {
                self.cut_tail(&*file, base, from, size)?;
            } else {
                let kept = unused_cut(self.disk, self.directory, base)?;
                self.disk.rename(&path, &kept).map_err(LogError::io("cannot rename", &path))?;
            }
            let drop_txn = base != stop.base || stop.whole;
            for kind in [Kind::Index, Kind::TimeIndex, Kind::TxnIndex] {
                // The cut segment's transaction index was merged with what the walk found.
                if kind != Kind::TxnIndex || drop_txn {
                    let path = self.path(base, kind);
                    unlink_if_there(self.disk, &path).map_err(LogError::io("cannot remove", &path))?;
                }
            }
        }
        if found.is_empty() {
            tracing::debug!(log = %self.directory.display(), "nothing is left before the cut");
        }
        self.disk.flush_dir(self.directory).map_err(LogError::io("cannot flush", self.directory))?;
        let file = names::path(self.directory, stop.base, Kind::Log, Stage::Live);
        let file = file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        Ok(Cut { offset: end, file, position: stop.position, bytes, batches_followed, reason: stop.reason })
    }

    fn cut_tail(&self, file: &dyn DiskFile, base: Offset, from: u64, size: u64) -> Result<(), LogError> {
        keep_tail(self.disk, self.directory, base, file, from, size)?;
        file.truncate(from).and_then(|()| file.flush()).map_err(LogError::io("cannot cut", &self.path(base, Kind::Log)))
    }
}
