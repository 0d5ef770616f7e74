//! Room on the data directory's file system. Decides whether a client may still take of it: the last part is kept for the metadata and the
//! service's own topics, so that topics can be deleted and groups go on while the disk is full.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use tidelog_log::limits::RESERVE_SHARE;
use tidelog_log::{Disk, Space};
use tidelog_model::KafkaError;
use tracing::{info, warn};

use crate::BrokerError;
use crate::limits::ROOM_STEP;

/// The data directory's file system.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DiskSpace {
    /// Bytes that may still be written.
    pub free: u64,
    /// Bytes that it holds when it is full.
    pub total: u64,
    /// Of the free bytes, those that are kept for the service itself.
    pub reserve: u64,
    /// Is nothing left for clients?
    pub full: bool,
}

/// Watches one file system.
pub(crate) struct Room {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    /// Bytes that may be taken before the disk is asked again.
    left: AtomicI64,
    full: AtomicBool,
}

impl Room {
    pub(crate) fn new(disk: Arc<dyn Disk>, path: PathBuf) -> Self {
        Room { disk, path, left: AtomicI64::new(0), full: AtomicBool::new(false) }
    }

    /// Would so many bytes more leave what is kept?
    pub(crate) fn has(&self, bytes: u64) -> bool {
        self.disk.space(&self.path).is_none_or(|space| space.has(bytes))
    }

    /// Where the file system stands; `None` if it cannot tell. `full` as the next request of a client would find it.
    pub(crate) fn look(&self) -> Option<DiskSpace> {
        let space = self.disk.space(&self.path)?;
        let full = grant(space, 0, self.full.load(Ordering::Acquire)).is_none();
        Some(DiskSpace { free: space.free, total: space.total, reserve: space.reserve(), full })
    }

    /// May a client's request take so many bytes?
    pub(crate) fn take(&self, bytes: usize) -> Result<(), BrokerError> {
        let wanted = i64::try_from(bytes).unwrap_or(i64::MAX);
        if !self.full.load(Ordering::Acquire) && self.left.fetch_sub(wanted, Ordering::AcqRel) >= wanted {
            return Ok(());
        }
        // A disk that cannot tell says no when it is written to.
        let Some(space) = self.disk.space(&self.path) else { return Ok(()) };
        let granted = grant(space, wanted, self.full.load(Ordering::Acquire));
        self.left.store(granted.unwrap_or(0), Ordering::Release);
        let full = granted.is_none();
        if self.full.swap(full, Ordering::AcqRel) != full {
            let free = space.free;
            if full {
                warn!(free, "the disk is nearly full: what clients send is refused until there is room");
            } else {
                info!(free, "there is room on the disk again");
            }
        }
        if full {
            let message =
                "the disk is nearly full; what is left is kept for the service itself, so that topics can be deleted";
            return Err(BrokerError::new(KafkaError::KafkaStorageError, message));
        }
        Ok(())
    }
}

/// Bytes that may be taken beyond `wanted` before the next look; `None` if not even they may. `full` is what the last look found: a little
/// more than nothing must be free before it ends, or every other request would end it.
fn grant(space: Space, wanted: i64, full: bool) -> Option<i64> {
    let bytes = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    let reserve = bytes(space.reserve());
    let room = bytes(space.free).saturating_sub(reserve).saturating_sub(wanted);
    let enough = if full { room >= reserve / RESERVE_SHARE as i64 } else { room >= 0 };
    // Others write too: at most a half is promised, and never more than is soon looked at again.
    enough.then_some((room / 2).min(ROOM_STEP))
}

#[cfg(test)]
mod tests {
    use tidelog_log::limits::RESERVE_BYTES as RESERVE;

    use super::*;

    const GIB: u64 = 1 << 30;

    fn space(free: u64) -> Space {
        Space { free, total: 100 * GIB }
    }

    #[test]
    fn the_last_part_of_the_disk_is_kept() {
        assert_eq!(grant(space(10 * GIB), 1_000, false), Some(ROOM_STEP));
        assert_eq!(grant(space(RESERVE + 1_000), 1_000, false), Some(0));
        assert_eq!(grant(space(RESERVE + 999), 1_000, false), None);
        assert_eq!(grant(space(0), 0, false), None);
    }

    #[test]
    fn a_small_disk_keeps_a_part_of_itself() {
        let small = |free| Space { free, total: 8 << 20 };
        assert_eq!(grant(small((1 << 20) + 10), 10, false), Some(0));
        assert_eq!(grant(small((1 << 20) + 9), 10, false), None);
    }

    #[test]
    fn it_is_full_until_there_is_more_than_a_little() {
        let enough = RESERVE + RESERVE / RESERVE_SHARE;
        assert_eq!(grant(space(RESERVE + 1_000), 1_000, true), None);
        assert_eq!(grant(space(enough - 1), 0, true), None);
        assert!(grant(space(enough), 0, true).is_some());
    }
}
