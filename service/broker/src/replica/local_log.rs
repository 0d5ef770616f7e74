//! The leader's log as the cold tier sees it.

use tidelog_log::{ClosedSegment, LocalLog, ReadError, RemoteExtent};
use tidelog_model::Offset;
use tidelog_record::LeaderEpochs;

use super::Replica;

/// A replica behind the tier's port; it does not keep the replica alive.
pub(crate) struct TierSource(pub(crate) std::sync::Weak<Replica>);

impl Replica {
    /// A crash may have taken the log start's last checkpoint: what the manifest no longer has cannot be read, so the log begins
    /// after it. If nothing was ever left to the store, what lies between the manifest and the local part is gone too, by retention.
    fn follow_remote_start(&self) {
        let Some(remote) = &self.core.remote else { return };
        // First the local log: what leaves it after this is in the manifest by then.
        let (log_start, local_start) = (self.offsets().log_start, self.view.local_start());
        let RemoteExtent::Known { start, end } = remote.extent(&self.id) else { return };
        let reaches = end >= local_start;
        match self.view.is_tiered() {
            true if !reaches => return,
            false if reaches && log_start.max(start) < local_start => self.mark_tiered(),
            _ => {}
        }
        self.move_log_start(if reaches { start.min(local_start) } else { local_start });
    }

    /// It was left to the store by one that kept no mark of it.
    fn mark_tiered(&self) {
        if let Err(failure) = self.view.mark_tiered() {
            tracing::error!(partition = %self.id, error = %failure, "cannot write down that a part of the log is remote");
        }
    }
}

impl LocalLog for TierSource {
    fn closed_segment(&self, from: Offset) -> Result<Option<ClosedSegment>, ReadError> {
        let Some(replica) = self.0.upgrade().filter(|replica| !replica.is_gone()) else { return Ok(None) };
        let config = replica.config();
        if config.remote_log_copy_disable || !config.remote_storage_enable {
            return Ok(None);
        }
        replica.view.closed_segment(from, replica.offsets().last_stable)
    }

    fn log_start(&self) -> Offset {
        self.0.upgrade().map_or(Offset::ZERO, |replica| replica.offsets().log_start)
    }

    fn local_start(&self) -> Offset {
        self.0.upgrade().map_or(Offset::ZERO, |replica| replica.view.local_start())
    }

    fn needs_remote(&self) -> Option<Offset> {
        // A log start before the first segment is no proof by itself: a crash may have taken its checkpoint, and Kafka writes it late.
        let replica = self.0.upgrade().filter(|replica| replica.view.is_tiered())?;
        // First the local log: retention moves the log start before it.
        let local_start = replica.view.local_start();
        (replica.offsets().log_start < local_start).then_some(local_start)
    }

    fn is_all_active(&self) -> bool {
        self.0.upgrade().is_some_and(|replica| replica.view.active_base() == Offset::ZERO)
    }

    fn leader_epochs(&self) -> LeaderEpochs {
        self.0
            .upgrade()
            .map(|replica| replica.with_machine(|machine| machine.sums().epochs.clone()))
            .unwrap_or_default()
    }

    fn remote_committed(&self, _end: Offset) {
        if let Some(replica) = self.0.upgrade().filter(|replica| !replica.is_gone()) {
            replica.follow_remote_start();
            // Files are removed beside the appends: the log excludes nothing but other maintenance.
            replica.trim_local(replica.core.clock.now());
        }
    }
}
