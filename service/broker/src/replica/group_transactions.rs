//! Transactions on the group coordinator's own partition: positions that count once their transaction commits (KIP-98, 447).
//!
//! The partition's machine judges the batch as it judges any other; here the shard hears what became of it, in log order.

use std::sync::Arc;

use tidelog_coordinator::CoordinatorRecord;
use tidelog_coordinator::group::{CommitInTransaction, GroupId};
use tidelog_model::{KafkaError, Now, OFFSETS_TOPIC, Offset, Sequence};
use tidelog_partition::{Content, Guard, Proposal, Verdict};
use tidelog_record::{BatchBuilder, MarkerKind};

use super::groups::{GroupAnswer, coordinator_error};
use super::{Replica, Writer};

/// A TxnOffsetCommit whose transaction was asked about.
pub(crate) struct TransactionalCommit {
    pub(crate) group: GroupId,
    pub(crate) commit: CommitInTransaction,
    /// Under which guard the transaction's coordinator was asked, unless it was open here.
    pub(crate) verified: Option<Guard>,
    /// One result per offset.
    pub(crate) reply: GroupAnswer<Vec<Result<(), KafkaError>>>,
}

impl Replica {
    /// Does a group coordinator live here that has not loaded yet?
    pub(super) fn awaits_groups(&self, writer: &Writer) -> bool {
        writer.groups.is_none() && self.id.topic.as_str() == OFFSETS_TOPIC
    }

    /// Has the coordinator that lives here loaded?
    #[cfg(test)]
    pub(crate) fn has_coordinator(&self) -> bool {
        self.writer.lock().as_ref().is_some_and(|writer| writer.groups.is_some() || writer.transactions.is_some())
    }

    /// Tells the shard which transactions the markers of a written group have ended.
    pub(super) fn group_markers(&self, writer: &mut Writer, proposal: &Proposal) {
        let Some(host) = writer.groups.as_mut() else { return };
        for placed in &proposal.placed {
            if let (Content::Marker { marker, .. }, Verdict::Append { .. }) = (placed.intent.content, placed.verdict) {
                let committed = marker.kind == MarkerKind::Commit;
                host.shard.replay_end_transaction(placed.intent.header.producer_id, committed);
                host.last_appended = proposal.end;
            }
        }
    }

    /// Lets the shard judge the positions, appends them as part of the transaction, and answers once they are safe.
    pub(super) fn commit_in_transaction(self: &Arc<Self>, writer: &mut Writer, asked: TransactionalCommit, now: Now) {
        let TransactionalCommit { group, commit, verified, reply } = asked;
        let Some(host) = writer.groups.as_mut() else { return };
        let (records, mut results) = host.shard.commit_in_transaction(now, &group, &commit);
        if !records.is_empty() {
            match self.append_in_transaction(writer, &commit, &records, verified, now) {
                Ok(end) => {
                    let Some(host) = writer.groups.as_mut() else { return };
                    for record in &records {
                        host.shard.replay_transactional(commit.producer_id, record);
                    }
                    host.last_appended = end;
                    let count = results.iter().filter(|result| result.is_ok()).count();
                    metrics::counter!("tidelog_consumer_group_offsets_committed_total").increment(count as u64);
                }
                Err(error) => {
                    let error = coordinator_error(error);
                    results.iter_mut().filter(|result| result.is_ok()).for_each(|result| *result = Err(error));
                }
            }
        }
        let Some(host) = writer.groups.as_ref() else { return };
        self.answer_at(host.last_appended, move |committed| {
            // A caller that hung up does not hear it.
            let _ = reply.send(committed.map(|()| results));
        });
    }

    fn append_in_transaction(
        self: &Arc<Self>,
        writer: &mut Writer,
        commit: &CommitInTransaction,
        records: &[CoordinatorRecord],
        verified: Option<Guard>,
        now: Now,
    ) -> Result<Offset, KafkaError> {
        let builder = BatchBuilder::new(Offset::ZERO)
            .producer(commit.producer_id, commit.producer_epoch, Sequence::NONE)
            .transactional(true);
        self.append_with(writer, builder, Content::Records { verified }, records, now)
    }
}
