//! TxnOffsetCommit: decides which positions a transaction may store in a group (KIP-98, 447). Never says whether the transaction is
//! open: that is the partition's business, and the transaction coordinator's.

use std::sync::Arc;

use tidelog_model::{KafkaError, Now, ProducerEpoch, ProducerId};

use super::api::{GroupState, OffsetToCommit};
use super::classic::Context;
use super::ids::{Epoch, Generation, GroupId, InstanceId, MemberId};
use super::shard::GroupShard;
use super::state::Group;
use crate::limits::MAX_ID_BYTES;
use crate::{CoordinatorRecord, Outcome};

/// TxnOffsetCommit.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CommitInTransaction {
    /// The producer whose transaction it is.
    pub producer_id: ProducerId,
    /// Its epoch.
    pub producer_epoch: ProducerEpoch,
    /// The consumer's generation; −1 from a client that does not tell (before KIP-447).
    pub generation: Generation,
    /// The consumer's member id; empty from a client that does not tell.
    pub member_id: MemberId,
    /// The static member's name, if it is one.
    pub instance_id: Option<InstanceId>,
    /// The offsets. The caller has checked that the topics exist and has resolved their ids.
    pub offsets: Vec<OffsetToCommit>,
}

impl GroupShard {
    /// Decides about TxnOffsetCommit: the records to append as one batch of the transaction, and a result for each offset. Once they are
    /// appended each goes through [`GroupShard::replay_transactional`]; if they are not, nothing has moved.
    ///
    /// ILLEGAL_GENERATION, UNKNOWN_MEMBER_ID, FENCED_INSTANCE_ID: the consumer is no longer in the group, so that another one may have
    /// its partitions.
    pub fn commit_in_transaction(
        &mut self,
        now: Now,
        id: &GroupId,
        commit: &CommitInTransaction,
    ) -> (Vec<CoordinatorRecord>, Vec<Result<(), KafkaError>>) {
        if let Err(error) = self.admit_in_transaction(id, commit) {
            return (Vec::new(), vec![Err(error); commit.offsets.len()]);
        }
        let (room, config, topics) = (self.room(), self.config.clone(), Arc::clone(&self.topics));
        let mut out = Outcome::default();
        let mut ctx = Context { now, config: &config, topics: &topics, room, out: &mut out };
        let results = self.with_group(id, |group| group.commit_in_transaction(&mut ctx, commit));
        (out.records, results)
    }

    fn admit_in_transaction(&self, id: &GroupId, commit: &CommitInTransaction) -> Result<(), KafkaError> {
        if self.is_loading() {
            return Err(KafkaError::CoordinatorLoadInProgress);
        }
        if id.is_empty() || id.len() > MAX_ID_BYTES {
            return Err(KafkaError::InvalidGroupId);
        }
        if commit.generation >= Generation(0) && !self.groups.contains_key(id) {
            return Err(KafkaError::IllegalGeneration);
        }
        Ok(())
    }
}

impl Group {
    fn commit_in_transaction(
        &self,
        ctx: &mut Context<'_>,
        commit: &CommitInTransaction,
    ) -> Vec<Result<(), KafkaError>> {
        if let Err(error) = self.validate_in_transaction(commit) {
            return vec![Err(error); commit.offsets.len()];
        }
        commit.offsets.iter().map(|offset| self.commit_one(ctx, offset.clone(), None)).collect()
    }

    /// Unlike a plain commit, one without a member is let in (older clients name none) and one in the middle of a rebalance too.
    fn validate_in_transaction(&self, commit: &CommitInTransaction) -> Result<(), KafkaError> {
        let outside = commit.generation < Generation(0);
        let nobody = commit.member_id.is_empty() && commit.instance_id.is_none();
        if outside && nobody {
            return Ok(());
        }
        if let Some(consumer) = &self.consumer {
            let epoch = Epoch(commit.generation.get());
            let checked = consumer.validate_commit(&commit.member_id, epoch, &commit.offsets, true);
            // What producers know of generations.
            let stale =
                |error| if error == KafkaError::StaleMemberEpoch { KafkaError::IllegalGeneration } else { error };
            return checked.map_err(stale);
        }
        if outside && self.classic.state() == GroupState::Empty {
            return Ok(());
        }
        self.classic.validate_member(&commit.member_id, commit.instance_id.as_ref())?;
        if commit.generation != self.classic.generation() {
            return Err(KafkaError::IllegalGeneration);
        }
        Ok(())
    }
}
