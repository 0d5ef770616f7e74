//! Reads of the local log within what a reader may see. Everything older is the cold tier's.

use tidelog_log::{LogRead, ReadError};
use tidelog_model::{KafkaError, LeaderEpoch, Offset};
use tidelog_partition::Offsets;
use tidelog_record::AbortedTransaction;

use super::Replica;
use crate::{BrokerError, Isolation};

/// What the local log has to say to a read.
pub(crate) enum HotRead {
    /// Slices of the local log; none if there is nothing (more) to see yet.
    Local {
        /// Where the partition stood.
        offsets: Offsets,
        /// The slices.
        read: LogRead,
        /// For read_committed: aborted transactions that touch them.
        aborted: Vec<AbortedTransaction>,
        /// Do the slices lie in the active segment?
        recent: bool,
    },
    /// The offset lies below the local log.
    Remote {
        /// Where the partition stood.
        offsets: Offsets,
    },
}

impl Replica {
    /// Checks the epoch that a reader believes in (KIP-320).
    pub(crate) fn check_epoch(&self, believed: LeaderEpoch) -> Result<(), KafkaError> {
        let current = self.machine.lock().epoch();
        match believed {
            LeaderEpoch::NONE => Ok(()),
            epoch if epoch < current => Err(KafkaError::FencedLeaderEpoch),
            epoch if epoch > current => Err(KafkaError::UnknownLeaderEpoch),
            _ => Ok(()),
        }
    }

    /// The end of what a reader may see.
    pub(crate) fn visible_end(offsets: &Offsets, isolation: Isolation) -> Offset {
        match isolation {
            Isolation::ReadUncommitted => offsets.high_watermark,
            Isolation::ReadCommitted => offsets.last_stable,
        }
    }

    /// Would a read at `offset` touch only the active segment, whose pages are in memory?
    pub(crate) fn is_recent(&self, offset: Offset) -> bool {
        offset >= self.view.active_base()
    }

    /// Reads from `offset` on. Looks indexes up on the disk if the offset is not recent: then call it where blocking is allowed.
    pub(crate) fn read_hot(
        &self,
        offset: Offset,
        isolation: Isolation,
        max_bytes: usize,
        min_one: bool,
    ) -> Result<HotRead, (Offsets, BrokerError)> {
        let (offsets, offline) = self.with_machine(|machine| (machine.offsets(), machine.is_offline()));
        if self.is_gone() {
            return Err((offsets, KafkaError::NotLeaderOrFollower.into()));
        }
        if offline {
            return Err((offsets, KafkaError::KafkaStorageError.into()));
        }
        if offset < offsets.log_start || offset > offsets.log_end {
            let (start, end) = (offsets.log_start, offsets.log_end);
            let message = format!("offset {offset} is outside the log [{start}, {end}]");
            return Err((offsets, BrokerError::new(KafkaError::OffsetOutOfRange, message)));
        }
        let up_to = Self::visible_end(&offsets, isolation);
        let recent = self.is_recent(offset);
        let read = match self.view.read(offset, up_to, max_bytes, min_one) {
            Ok(read) => read,
            Err(ReadError::NotLocal { .. }) => return Ok(HotRead::Remote { offsets }),
            Err(failure) => {
                if !matches!(failure, ReadError::OutOfRange { .. }) {
                    tracing::error!(partition = %self.id, error = %failure, "cannot read");
                }
                return Err((offsets, failure.kafka().into()));
            }
        };
        let aborted = match isolation {
            Isolation::ReadCommitted if !read.is_empty() => self
                .view
                .aborted_transactions(read.base, read.next)
                .map_err(|failure| (offsets, BrokerError::from(failure.kafka())))?,
            _ => Vec::new(),
        };
        Ok(HotRead::Local { offsets, read, aborted, recent })
    }
}
