//! Decides who may commit and read positions of the group.

use tidelog_model::KafkaError;

use super::Consumer;
use crate::group::api::OffsetToCommit;
use crate::group::ids::{Epoch, MemberId};
use crate::group::records::Owned;

impl Consumer {
    /// A member commits in its own epoch, or in an older one for partitions that it had then already (KIP-1251). From outside of the
    /// group only while it is empty. A request whose version knows no epochs (`knows_epochs`) is none of a member of the consumer protocol:
    /// what it calls its generation could be anything.
    pub(crate) fn validate_commit(
        &self,
        id: &MemberId,
        epoch: Epoch,
        offsets: &[OffsetToCommit],
        knows_epochs: bool,
    ) -> Result<(), KafkaError> {
        if epoch < Epoch(0) && self.members.is_empty() {
            return Ok(());
        }
        let member = self.members.get(id).ok_or(KafkaError::UnknownMemberId)?;
        if !knows_epochs && member.subscriber.classic.is_none() {
            return Err(KafkaError::UnsupportedVersion);
        }
        if epoch == member.current.epoch {
            return Ok(());
        }
        // What it must give up it still has.
        let current = &member.current;
        let had = |offset: &OffsetToCommit| {
            let since = |owned: &Owned| owned.get(&offset.topic_id)?.get(&offset.partition).copied();
            since(&current.assigned).or_else(|| since(&current.revoking)).is_some_and(|since| since <= epoch)
        };
        if epoch < member.current.epoch && epoch > Epoch(0) && offsets.iter().all(had) {
            return Ok(());
        }
        // Members of the classic protocol know of generations.
        Err(if member.subscriber.classic.is_some() {
            KafkaError::IllegalGeneration
        } else {
            KafkaError::StaleMemberEpoch
        })
    }

    /// Whoever says that it is a member must be one, in its epoch.
    pub(crate) fn validate_fetch(&self, id: &MemberId, epoch: Epoch) -> Result<(), KafkaError> {
        let member = self.members.get(id).ok_or(KafkaError::UnknownMemberId)?;
        match member.subscriber.classic {
            _ if member.current.epoch == epoch => Ok(()),
            Some(_) => Err(KafkaError::IllegalGeneration),
            None => Err(KafkaError::StaleMemberEpoch),
        }
    }
}
