//! The readers' side of a log: its ends, its segments, its flushes. Shared by any number of threads beside the one writer.

use std::path::Path;
use std::sync::Arc;

use tidelog_model::{Offset, Timestamp};
use tidelog_record::LeaderEpochs;

use crate::state::{SegmentInfo, Shared};
use crate::{LogConfig, LogError};

/// A shared handle on one partition's log. Cheap to clone; calls that read or flush may block on the disk.
#[derive(Clone, Debug)]
pub struct LogView {
    pub(crate) shared: Arc<Shared>,
}

impl LogView {
    /// The partition's directory.
    pub fn directory(&self) -> &Path {
        &self.shared.directory
    }

    /// The settings now.
    pub fn config(&self) -> LogConfig {
        self.shared.state.read().config.clone()
    }

    /// First offset that may be read, wherever it lies.
    pub fn log_start(&self) -> Offset {
        self.shared.state.read().log_start
    }

    /// First offset on the local disk that may be read.
    pub fn local_start(&self) -> Offset {
        self.shared.state.read().local_start()
    }

    /// First offset of the segment that grows: from here on reads need no index file.
    pub fn active_base(&self) -> Offset {
        self.shared.state.read().active.base
    }

    /// Written end: the offset after the last record.
    pub fn log_end(&self) -> Offset {
        self.shared.state.read().log_end()
    }

    /// Flushed end: everything below it survives a power cut. It is also what the recovery checkpoint may name.
    pub fn flushed_end(&self) -> Offset {
        self.shared.state.read().flushed_end
    }

    /// Bytes of all local `.log` files.
    pub fn size(&self) -> u64 {
        let state = self.shared.state.read();
        state.closed.iter().map(|segment| segment.size).sum::<u64>() + state.active.size
    }

    /// Bytes that the active segment still takes, and that an empty one takes, before a segment rolls for its size.
    pub fn segment_room(&self) -> (u64, u64) {
        let state = self.shared.state.read();
        let most = state.config.max_segment_bytes();
        (most.saturating_sub(state.active.size), most)
    }

    /// All local segments in order; the last one is active.
    pub fn segments(&self) -> Vec<SegmentInfo> {
        let state = self.shared.state.read();
        state.closed.iter().map(|segment| segment.info()).chain([state.active.info()]).collect()
    }

    /// How many they are.
    pub fn segment_count(&self) -> usize {
        self.shared.state.read().closed.len() + 1
    }

    /// When the first record was put into the segment that grows, by the wall clock; `None` if it has none, or nobody knows.
    pub fn active_since(&self) -> Option<Timestamp> {
        self.shared.state.read().active.since
    }

    /// Leader epochs of the whole local log.
    pub fn leader_epochs(&self) -> LeaderEpochs {
        self.shared.state.read().epochs.clone()
    }

    /// Why the log is offline, if it is.
    pub fn offline(&self) -> Option<Arc<str>> {
        self.shared.state.read().offline.clone()
    }

    /// Takes the log offline: nothing is written or flushed any more. The first reason stays.
    pub fn take_offline(&self, reason: &str) {
        let mut state = self.shared.state.write();
        if state.offline.is_none() {
            tracing::error!(log = %self.shared.directory.display(), reason, "the log goes offline");
            state.offline = Some(Arc::from(reason));
        }
    }

    pub(crate) fn check_online(&self) -> Result<(), LogError> {
        match &self.shared.state.read().offline {
            Some(reason) => {
                Err(LogError::Offline { directory: self.shared.directory.clone(), reason: reason.to_string() })
            }
            None => Ok(()),
        }
    }
}
