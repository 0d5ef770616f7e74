//! OffsetForLeaderEpoch: where a leader epoch ended in a partition's log, so that readers and followers find where theirs diverges
//! (KIP-101, KIP-279, KIP-320).

use tidelog_model::{Caller, LeaderEpoch, PartitionIndex};
use tidelog_security::{Operation, Resource};

use crate::broker::Broker;
use crate::lookup::nameless;
use crate::{BrokerError, EpochEnd, TopicRef};

impl Broker {
    /// The largest epoch of the log that is not above `asked`, and the offset after its last record.
    ///
    /// The history covers the whole log, also what only the cold tier still has: local retention takes no epochs away, only a log start
    /// that moves does. `believed` is the epoch of the leader that the caller knows.
    pub fn end_of_leader_epoch(
        &self,
        caller: &Caller,
        topic: &TopicRef,
        partition: PartitionIndex,
        believed: LeaderEpoch,
        asked: LeaderEpoch,
    ) -> Result<EpochEnd, BrokerError> {
        // Followers ask as brokers, consumers as readers of the topic.
        let (_, replica) = if self.would_allow(caller, Operation::ClusterAction, Resource::Cluster) {
            let topic = self.known_topic(&self.image(), topic).map_err(nameless)?;
            let replica = self.find_replica(&topic, partition)?;
            (topic, replica)
        } else {
            self.find_partition(caller, Operation::Describe, topic, partition)?
        };
        self.check_leader_epoch(&replica, believed)?;
        let epochs = replica.view.leader_epochs();
        let (epoch, end) = epochs.end_offset_for(asked, replica.offsets().log_end);
        Ok(EpochEnd { epoch, end })
    }
}
