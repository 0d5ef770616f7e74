//! ListOffsets: offsets by position or time, over the local and the remote part of a log.

use std::sync::Arc;

use tidelog_log::{ReadError, RemoteExtent, TimestampedOffset};
use tidelog_model::{Caller, KafkaError, LeaderEpoch, Offset, PartitionIndex, Timestamp};
use tidelog_security::Operation;

use crate::broker::Broker;
use crate::fetch::remote_error;
use crate::replica::Replica;
use crate::{BrokerError, Isolation, ListedOffset, OffsetSpec, TopicRef};

const NOTHING: ListedOffset =
    ListedOffset { offset: Offset::NONE, timestamp: Timestamp::NONE, leader_epoch: LeaderEpoch::NONE };

impl Broker {
    /// One offset of one partition, of what a reader may see. `None` is how Kafka answers whoever asks as a replica: up to the log's end.
    /// (It needs no right but a reader's, for what is told is where records are, and no record.)
    pub async fn list_offsets(
        &self,
        caller: &Caller,
        topic: &TopicRef,
        partition: PartitionIndex,
        spec: OffsetSpec,
        isolation: Option<Isolation>,
        leader_epoch: LeaderEpoch,
    ) -> Result<ListedOffset, BrokerError> {
        let (_, replica) = self.find_partition(caller, Operation::Describe, topic, partition)?;
        self.check_leader_epoch(&replica, leader_epoch)?;
        let offsets = replica.offsets();
        let visible = isolation.map_or(offsets.log_end, |isolation| Replica::visible_end(&offsets, isolation));
        match spec {
            OffsetSpec::Latest => Ok(at(&replica, visible)),
            OffsetSpec::Earliest => {
                // While the manifest is unknown nobody may guess where the log starts, unless all of it is local.
                let local_start = replica.view.local_start();
                let remote = if local_start > offsets.log_start { self.remote_extent(&replica)? } else { None };
                let start = match remote {
                    // What the manifest no longer has cannot be read; it begins where it ends once all of it has expired.
                    Some((start, end)) if end >= local_start => offsets.log_start.max(start.min(local_start)),
                    // What lies between the two was never left to the store: retention took it, and so was meant to be all that lies before.
                    Some(_) if !replica.view.is_tiered() => local_start,
                    // It is another store than the one that had it.
                    Some(_) => return Err(unknown_extent()),
                    None => offsets.log_start,
                };
                Ok(at(&replica, start))
            }
            OffsetSpec::EarliestLocal => Ok(at(&replica, replica.view.local_start())),
            OffsetSpec::LatestTiered => Ok(match self.remote_extent(&replica)? {
                Some((start, end)) if end > start => at(&replica, end.plus(-1)),
                _ => NOTHING,
            }),
            OffsetSpec::EarliestPendingUpload => Ok(match self.remote_extent(&replica)? {
                Some((_, end)) => at(&replica, end.max(offsets.log_start)),
                None => NOTHING,
            }),
            OffsetSpec::At(time) => self.at_time(replica, time, visible).await,
            OffsetSpec::MaxTimestamp => self.youngest(replica, visible).await,
        }
    }

    /// The remote range of a partition; `None` if the cold tier is no part of it.
    fn remote_extent(&self, replica: &Replica) -> Result<Option<(Offset, Offset)>, BrokerError> {
        let Some(remote) = self.remote().filter(|_| replica.has_remote_part()) else { return Ok(None) };
        match remote.extent(&replica.id) {
            RemoteExtent::Known { start, end } => Ok(Some((start, end))),
            RemoteExtent::Unknown => Err(unknown_extent()),
        }
    }

    async fn at_time(
        &self,
        replica: Arc<Replica>,
        time: Timestamp,
        visible: Offset,
    ) -> Result<ListedOffset, BrokerError> {
        let offsets = replica.offsets();
        if replica.view.local_start() > offsets.log_start
            && let Some((_, end)) = self.remote_extent(&replica)?
            && end > offsets.log_start
            && let Some(remote) = self.remote()
        {
            let found = remote.find_timestamp(&replica.id, time).await.map_err(|error| remote_error(&error))?;
            if let Some(found) = found.filter(|found| found.offset < replica.view.local_start()) {
                return Ok(listed(Some(found)));
            }
        }
        blocking(move || replica.view.offset_for_timestamp(time, visible)).await
    }

    async fn youngest(&self, replica: Arc<Replica>, visible: Offset) -> Result<ListedOffset, BrokerError> {
        blocking(move || replica.view.max_timestamp(visible)).await
    }
}

fn unknown_extent() -> BrokerError {
    BrokerError::new(KafkaError::OffsetNotAvailable, "the remote part of the log is not known yet; try again")
}

/// An offset without a time; the epoch is that of the record before or at it.
fn at(replica: &Replica, offset: Offset) -> ListedOffset {
    let epoch = replica.with_machine(|machine| {
        let epochs = &machine.sums().epochs;
        epochs.epoch_at(offset).unwrap_or(machine.epoch())
    });
    ListedOffset { offset, timestamp: Timestamp::NONE, leader_epoch: epoch }
}

fn listed(found: Option<TimestampedOffset>) -> ListedOffset {
    found.map_or(NOTHING, |found| ListedOffset {
        offset: found.offset,
        timestamp: found.timestamp,
        leader_epoch: found.epoch,
    })
}

async fn blocking(
    look: impl FnOnce() -> Result<Option<TimestampedOffset>, ReadError> + Send + 'static,
) -> Result<ListedOffset, BrokerError> {
    match tokio::task::spawn_blocking(look).await {
        Ok(Ok(found)) => Ok(listed(found)),
        Ok(Err(failure)) => Err(failure.kafka().into()),
        Err(_) => Err(KafkaError::UnknownServerError.into()),
    }
}
