//! Reads of the local log within what a reader may see. Everything older is the cold tier's.

use std::ops::Range;

use bytes::Bytes;
use tidelog_log::{LogRead, LogView, PastDamage, ReadError};
use tidelog_model::{KafkaError, LeaderEpoch, Offset};
use tidelog_partition::Offsets;
use tidelog_record::AbortedTransaction;

use super::Replica;
use crate::damage::sound;
use crate::{BrokerError, EpochEnd, FetchPartition, Isolation};

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
    /// What the reader has before the offset is not of this log.
    Diverging {
        /// Where the partition stood.
        offsets: Offsets,
        /// Up to where it may be.
        end: EpochEnd,
    },
}

/// Why a read of the local log brings nothing.
enum Unread {
    Refused(BrokerError),
    Failed(ReadError),
}

/// What the local log has where a read met damage.
pub(crate) enum Past {
    /// The batch with the offset, its checksum right.
    Sound {
        batches: Bytes,
        /// As of a read.
        aborted: Vec<AbortedTransaction>,
    },
    /// What had the offset is lost, from `base` up to `end`.
    Lost { base: Offset, end: Offset, reason: String },
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

    /// Reads what is asked for. Looks indexes up on the disk, and searches behind damage: call it where blocking is allowed.
    pub(crate) fn read_hot(
        &self,
        asked: &FetchPartition,
        isolation: Isolation,
        max_bytes: usize,
        min_one: bool,
    ) -> Result<HotRead, (Offsets, BrokerError)> {
        let read = self.read_with(LogView::read, asked, isolation, max_bytes, min_one);
        read.map_err(|(offsets, unread)| (offsets, self.refusal(asked.offset, unread)))
    }

    /// The same for what is recent, anywhere. `None` if headers do not lead to it, so that [`Replica::read_hot`] has to look.
    pub(crate) fn read_recent(
        &self,
        asked: &FetchPartition,
        isolation: Isolation,
        max_bytes: usize,
        min_one: bool,
    ) -> Option<Result<HotRead, (Offsets, BrokerError)>> {
        match self.read_with(LogView::read_by_headers, asked, isolation, max_bytes, min_one) {
            Err((_, Unread::Failed(ReadError::Damaged { .. }))) => None,
            read => Some(read.map_err(|(offsets, unread)| (offsets, self.refusal(asked.offset, unread)))),
        }
    }

    /// What a reader hears instead; a person hears of what failed.
    fn refusal(&self, offset: Offset, unread: Unread) -> BrokerError {
        let failure = match unread {
            Unread::Refused(error) => return error,
            Unread::Failed(failure) => failure,
        };
        match &failure {
            ReadError::OutOfRange { .. } => {}
            ReadError::Damaged { end, .. } => self.tell_damage(offset..*end, &failure),
            ReadError::DamagedIndex { base, .. } => self.tell_damaged_index(*base, &failure),
            _ => tracing::error!(partition = %self.id, error = %failure, "cannot read"),
        }
        failure.kafka().into()
    }

    fn read_with(
        &self,
        read: impl FnOnce(&LogView, Offset, Offset, usize, bool) -> Result<LogRead, ReadError>,
        asked: &FetchPartition,
        isolation: Isolation,
        max_bytes: usize,
        min_one: bool,
    ) -> Result<HotRead, (Offsets, Unread)> {
        let offset = asked.offset;
        let (offsets, offline) = self.with_machine(|machine| (machine.offsets(), machine.is_offline()));
        let refused = |error: BrokerError| (offsets, Unread::Refused(error));
        if self.is_gone() {
            return Err(refused(KafkaError::NotLeaderOrFollower.into()));
        }
        if offline {
            return Err(refused(KafkaError::KafkaStorageError.into()));
        }
        let diverging = self.divergence(asked, &offsets).map_err(refused)?;
        // Below the log's start there is nothing to compare with.
        if let Some(end) = diverging.filter(|_| offset >= offsets.log_start) {
            return Ok(HotRead::Diverging { offsets, end });
        }
        if offset < offsets.log_start || offset > offsets.log_end {
            let (start, end) = (offsets.log_start, offsets.log_end);
            let message = format!("offset {offset} is outside the log [{start}, {end}]");
            return Err(refused(BrokerError::new(KafkaError::OffsetOutOfRange, message)));
        }
        let up_to = Self::visible_end(&offsets, isolation);
        let recent = self.is_recent(offset);
        let read = match read(&self.view, offset, up_to, max_bytes, min_one) {
            Ok(read) => read,
            Err(ReadError::NotLocal { .. }) => return Ok(HotRead::Remote { offsets }),
            Err(failure) => return Err((offsets, Unread::Failed(failure))),
        };
        let aborted = match isolation {
            Isolation::ReadCommitted if !read.is_empty() => self
                .view
                .aborted_transactions(read.base, read.next)
                .map_err(|failure| (offsets, Unread::Failed(failure)))?,
            _ => Vec::new(),
        };
        Ok(HotRead::Local { offsets, read, aborted, recent })
    }

    /// Where the last epoch of the reader's records ended here, if the reader is beyond it (KIP-595).
    fn divergence(&self, asked: &FetchPartition, offsets: &Offsets) -> Result<Option<EpochEnd>, BrokerError> {
        let last = asked.last_fetched_epoch;
        if last < LeaderEpoch(0) {
            return Ok(None);
        }
        let (epoch, end) = self.view.leader_epochs().end_offset_for(last, offsets.log_end);
        if epoch == LeaderEpoch::NONE {
            let message = format!("nothing is known of the end of epoch {last}");
            return Err(BrokerError::new(KafkaError::OffsetOutOfRange, message));
        }
        Ok((epoch < last || end < asked.offset).then_some(EpochEnd { epoch, end }))
    }

    /// What lies at `offset`, where a read met damage, and may be seen below `up_to`; `None` if nobody can tell, or if damage is not what is
    /// wrong. Blocks.
    pub(crate) fn past_damage(&self, offset: Offset, up_to: Offset) -> Option<Past> {
        if self.is_gone() || self.with_machine(|machine| machine.is_offline()) {
            return None;
        }
        match self.view.past_damage(offset, up_to).ok()? {
            PastDamage::Sound { slice, base, next } => {
                let aborted = self.view.aborted_transactions(base, next).ok()?;
                let batches = sound(slice.read().ok()?, offset).ok()?;
                Some(Past::Sound { batches, aborted })
            }
            PastDamage::Lost { start, end, reason } => Some(Past::Lost { base: start, end, reason }),
            PastDamage::Unknown => None,
        }
    }

    /// Tells a person once of a transaction index that a reader of committed records met.
    fn tell_damaged_index(&self, base: Offset, failure: &ReadError) {
        if !self.told_damages.lock().is_new_index(base) {
            return;
        }
        let (topic, partition) = (&self.id.topic, self.id.partition);
        tracing::error!(
            %topic, %partition, error = %failure,
            "read_committed consumers get no records for which this index is needed; the next start makes it anew"
        );
    }

    /// Tells a person of the offsets that a reader met without a sound batch, once for each place.
    pub(crate) fn tell_damage(&self, met: Range<Offset>, reason: &impl std::fmt::Display) {
        let offset = met.start;
        if !self.told_damages.lock().is_new(met) {
            return;
        }
        metrics::counter!("tidelog_log_damaged_batches_total").increment(1);
        let (topic, partition) = (&self.id.topic, self.id.partition);
        tracing::error!(
            %topic, %partition, %offset, %reason,
            "a reader met a damaged record batch and gets none of its records; `tidelog log dump` of the partition's folder shows the place"
        );
    }
}
