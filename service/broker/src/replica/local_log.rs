//! The leader's log as the cold tier sees it.

use tidelog_log::{ClosedSegment, LocalLog, ReadError, RemoteExtent};
use tidelog_model::Offset;
use tidelog_record::LeaderEpochs;

use super::Replica;

/// A replica behind the tier's port; it does not keep the replica alive.
pub(crate) struct TierSource(pub(crate) std::sync::Weak<Replica>);

impl Replica {
    /// A crash may have taken the log start's last checkpoint: what the manifest no longer has cannot be read, so the log begins
    /// after it. One that uploads nothing and has nothing remote begins where it is local.
    fn follow_remote_start(&self) {
        let Some(remote) = &self.core.remote else { return };
        // First the local log: what leaves it after this is in the manifest by then.
        let local_start = self.view.local_start();
        match remote.extent(&self.id) {
            RemoteExtent::Known { start, end } if start == end && !self.config().remote_storage_enable => {
                self.move_log_start(local_start);
            }
            RemoteExtent::Known { start, .. } if start <= local_start => self.move_log_start(start),
            _ => {}
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

    fn needs_remote(&self) -> bool {
        // One that uploads nothing may be of a Kafka that did not write down where it begins; it begins where it is local.
        self.0.upgrade().is_some_and(|replica| {
            // First the local log: retention moves the log start before it.
            let local_start = replica.view.local_start();
            replica.config().remote_storage_enable && replica.offsets().log_start < local_start
        })
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
