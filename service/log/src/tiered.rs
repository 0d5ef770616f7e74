//! The mark of a log of which segments have left the disk only because the store has them. It is durable before the first of them goes, so
//! without it nothing between the log start and the first segment was ever left to the store.

use std::path::Path;

use crate::names::TIERED;
use crate::view::LogView;
use crate::{Disk, LogError, open};

/// Does the directory's log have the mark?
pub(crate) fn is_marked(disk: &dyn Disk, directory: &Path) -> Result<bool, LogError> {
    open::is_there(disk, &directory.join(TIERED))
}

impl LogView {
    /// Has a part of what readers may ask for left this disk because the store has it? Then the store must have all between the log start
    /// and the first local segment. No log loses the mark.
    pub fn is_tiered(&self) -> bool {
        self.shared.state.read().tiered
    }

    /// Marks a log whose older part was found in the store. While segments are being removed or rewritten that is for the next time.
    pub fn mark_tiered(&self) -> Result<(), LogError> {
        let Some(_maintenance) = self.shared.maintenance.try_lock() else { return Ok(()) };
        self.check_online()?;
        self.mark()?;
        self.shared.disk.flush_dir(&self.shared.directory).map_err(LogError::io("cannot flush", &self.shared.directory))
    }

    /// Leaves the mark, durable with the next flush of the directory. The caller has the lock of maintenance.
    pub(crate) fn mark(&self) -> Result<(), LogError> {
        if !self.is_tiered() {
            let path = self.shared.directory.join(TIERED);
            self.shared.disk.create(&path).map_err(LogError::io("cannot create", &path))?;
            self.shared.state.write().tiered = true;
        }
        Ok(())
    }
}
