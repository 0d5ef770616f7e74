//! The group coordinator's shell on its own partition: appends what the shard decides, replays it, parks the replies.
//!
//! It runs on the partition's log thread, so its append is a call, not a message, and nothing else writes in between.

use std::collections::HashMap;
use std::sync::Arc;

use tidelog_coordinator::group::{
    AnyDescription, FetchOffsets, FetchedOffset, GroupCall, GroupEvent, GroupId, GroupKind, GroupListing, GroupReply,
    GroupRequest, GroupShard, GroupStandings, OwnTimes, TopicDirectory,
};
use tidelog_coordinator::limits::MAX_SHARD_BYTES;
use tidelog_coordinator::{CoordinatorRecord, Outcome, ReplyToken};
use tidelog_model::{Deadline, KafkaError, Now, Offset, TopicId, TopicIdPartition, TopicName};
use tidelog_partition::{Acks, Content, Intent, Token, Verdict};
use tidelog_record::{Batch, BatchBuilder, BatchError, Origin};
use tokio::sync::oneshot;
use tracing::{debug, error};

use super::group_transactions::TransactionalCommit;
use super::{Replica, Writer};
use crate::shared_memory::Share;

/// Where the answer of a question to the coordinator goes.
pub(crate) type GroupAnswer<T> = oneshot::Sender<Result<T, KafkaError>>;

/// What the coordinator is asked.
pub(crate) enum GroupWork {
    /// A request to one group.
    Call {
        /// The group.
        group: GroupId,
        /// The topics that exist.
        topics: Arc<TopicDirectory>,
        /// What the group sets of its own.
        own: OwnTimes,
        /// The request.
        call: GroupCall,
        /// Where the answer goes.
        reply: GroupAnswer<GroupReply>,
    },
    /// OffsetFetch of one group.
    Offsets(FetchOffsets, GroupAnswer<Vec<FetchedOffset>>),
    /// DescribeGroups of one group.
    Describe(GroupId, GroupAnswer<AnyDescription>),
    /// ListGroups: every group of the shard.
    List(GroupAnswer<Vec<GroupListing>>),
    /// TxnOffsetCommit of one group.
    CommitInTransaction(TransactionalCommit),
    /// Every group of the shard as those see it who watch, of which so much is shown; and how much of that is left.
    Standings(usize, GroupAnswer<(GroupStandings, usize)>),
    /// A topic is gone, and its offsets with it.
    TopicDeleted(TopicName, TopicId),
    /// The shard has read its whole partition.
    Loaded(Box<GroupShard>),
}

impl GroupWork {
    /// Answers with an error.
    pub(crate) fn refuse(self, error: KafkaError) {
        // Callers that hung up do not hear it.
        match self {
            GroupWork::Call { reply, .. } => drop(reply.send(Err(error))),
            GroupWork::Offsets(_, reply) => drop(reply.send(Err(error))),
            GroupWork::Describe(_, reply) => drop(reply.send(Err(error))),
            GroupWork::List(reply) => drop(reply.send(Err(error))),
            GroupWork::Standings(_, reply) => drop(reply.send(Err(error))),
            GroupWork::CommitInTransaction(asked) => drop(asked.reply.send(Err(error))),
            GroupWork::TopicDeleted(..) | GroupWork::Loaded(_) => {}
        }
    }
}

/// A loaded shard, and who waits for it.
pub(crate) struct GroupHost {
    pub(super) shard: GroupShard,
    /// Every reply parks at least here: nobody sees what could still be lost.
    pub(super) last_appended: Offset,
    callers: HashMap<ReplyToken, GroupAnswer<GroupReply>>,
    next_token: u64,
    memory: Share,
}

impl GroupHost {
    /// Takes note of the memory that the shard takes, and tells it how much it may: before each decision and after the last one.
    fn settle(&mut self) {
        self.memory.settle(self.shard.bytes());
        self.shard.set_most_bytes(self.memory.even_most(MAX_SHARD_BYTES));
    }

    /// When the shard's timers have work.
    pub(crate) fn next_deadline(&self) -> Option<Deadline> {
        self.shard.next_deadline()
    }

    /// Tells everybody who waits that the coordinator is elsewhere now.
    pub(crate) fn resign(mut self, error: KafkaError) {
        for (token, reply) in self.shard.resign(error) {
            if let Some(caller) = self.callers.remove(&token) {
                let _ = caller.send(Ok(reply));
            }
        }
        for (_, caller) in self.callers {
            let _ = caller.send(Err(error));
        }
    }
}

impl Replica {
    /// Lets the shard's timers act.
    pub(super) fn group_timers(self: &Arc<Self>, writer: &mut Writer, now: Now) {
        while let Some(host) = writer.groups.as_mut() {
            if !host.shard.next_deadline().is_some_and(|deadline| deadline.passed(now)) {
                return;
            }
            host.settle();
            let outcome = host.shard.on_timer(now);
            self.group_outcome(writer, outcome, now);
        }
    }

    pub(super) fn group_work(self: &Arc<Self>, writer: &mut Writer, work: GroupWork, now: Now) {
        self.decide_group_work(writer, work, now);
        if let Some(host) = writer.groups.as_mut() {
            host.settle();
        }
    }

    fn decide_group_work(self: &Arc<Self>, writer: &mut Writer, work: GroupWork, now: Now) {
        if let GroupWork::Loaded(mut shard) = work {
            shard.loaded(now);
            let last_appended = self.view.log_end();
            let memory = Share::new(&self.core.groups_memory);
            writer.groups =
                Some(GroupHost { shard: *shard, last_appended, callers: HashMap::new(), next_token: 0, memory });
            return self.group_timers(writer, now);
        }
        let Some(host) = writer.groups.as_mut() else {
            return work.refuse(KafkaError::CoordinatorLoadInProgress);
        };
        host.settle();
        match work {
            GroupWork::Call { group, topics, own, call, reply } => {
                let token = ReplyToken(host.next_token);
                host.next_token += 1;
                host.callers.insert(token, reply);
                let outcome = host.shard.handle(now, GroupRequest { token, group, topics, own, call });
                self.group_outcome(writer, outcome, now);
            }
            GroupWork::Offsets(request, reply) => {
                let answer = host.shard.fetch_offsets(&request);
                self.answer_look(host.last_appended, reply, answer);
            }
            GroupWork::Describe(group, reply) => {
                let answer = host.shard.describe(&group);
                self.answer_look(host.last_appended, reply, answer);
            }
            GroupWork::Standings(most, reply) => {
                let mut standings = GroupStandings::default();
                let rest = host.shard.add_standings(&mut standings, most);
                self.answer_look(host.last_appended, reply, rest.map(|rest| (standings, rest)));
            }
            GroupWork::List(reply) => {
                let answer = host.shard.list();
                self.answer_look(host.last_appended, reply, answer);
            }
            GroupWork::CommitInTransaction(asked) => self.commit_in_transaction(writer, asked, now),
            GroupWork::TopicDeleted(name, id) => {
                let outcome = host.shard.topic_deleted(now, &name, id);
                self.group_outcome(writer, outcome, now);
            }
            GroupWork::Loaded(_) => {}
        }
    }

    /// Appends an outcome's records, replays them, and parks its replies below the offset they depend on.
    fn group_outcome(self: &Arc<Self>, writer: &mut Writer, outcome: Outcome, now: Now) {
        if outcome.records.is_empty() && outcome.replies.is_empty() {
            return;
        }
        let appended = if outcome.records.is_empty() {
            Ok(None)
        } else {
            self.append_records(writer, &outcome.records, now).map(Some)
        };
        let Some(host) = writer.groups.as_mut() else { return };
        let replies = match appended {
            Ok(end) => {
                for record in &outcome.records {
                    host.shard.replay(record);
                }
                outcome.events.iter().for_each(|event| tell(&self.id, event));
                outcome.replies.iter().for_each(|(_, reply)| count_commits(reply));
                host.last_appended = end.unwrap_or(host.last_appended);
                outcome.replies
            }
            Err(error) => host.shard.refused(now, outcome, coordinator_error(error)),
        };
        let callers: Vec<_> = replies
            .into_iter()
            .filter_map(|(token, reply)| host.callers.remove(&token).map(|caller| (caller, reply)))
            .collect();
        if callers.is_empty() {
            return;
        }
        let at = host.last_appended;
        self.answer_at(at, move |committed| {
            for (caller, reply) in callers {
                let _ = caller.send(committed.map(|()| reply));
            }
        });
    }

    pub(super) fn append_records(
        self: &Arc<Self>,
        writer: &mut Writer,
        records: &[CoordinatorRecord],
        now: Now,
    ) -> Result<Offset, KafkaError> {
        self.append_with(writer, BatchBuilder::new(Offset::ZERO), Content::PLAIN, records, now)
    }

    /// Appends a coordinator's records as one batch of this builder; answers the log's end after it.
    pub(super) fn append_with(
        self: &Arc<Self>,
        writer: &mut Writer,
        builder: BatchBuilder,
        content: Content,
        records: &[CoordinatorRecord],
        now: Now,
    ) -> Result<Offset, KafkaError> {
        let batch = push_records(builder, records, now).map_err(|failure| {
            error!(partition = %self.id, error = %failure, "a coordinator's records do not make a batch");
            failure.kafka()
        })?;
        // Nobody waits for this token: the replies are parked by themselves.
        let intent = Intent {
            token: Token(u64::MAX),
            header: *batch.header(),
            content,
            acks: Acks::Leader,
            deadline: None,
            origin: Origin::Coordinator,
        };
        let proposal = self.write_group(writer, &[intent], &[batch], now)?;
        match proposal.placed.first().map(|placed| placed.verdict) {
            Some(Verdict::Reject(error)) => Err(error),
            _ => Ok(proposal.end),
        }
    }

    /// Answers a question that changes nothing, once what it saw can no longer be lost.
    pub(super) fn answer_look<T: Send + 'static>(
        self: &Arc<Self>,
        at: Offset,
        reply: GroupAnswer<T>,
        answer: Result<T, KafkaError>,
    ) {
        self.answer_at(at, move |committed| {
            // A caller that hung up does not hear it.
            let _ = reply.send(committed.and(answer));
        });
    }

    pub(super) fn answer_at(
        self: &Arc<Self>,
        at: Offset,
        answer: impl FnOnce(Result<(), KafkaError>) + Send + 'static,
    ) {
        let token = self.then(Box::new(move |reached| answer(reached.map(|_| ()).map_err(coordinator_error))));
        let effects = self.machine.lock().park(token, at, None);
        self.carry_out(effects);
    }
}

/// What has happened, for logs and metrics.
fn tell(partition: &TopicIdPartition, event: &GroupEvent) {
    let rebalanced = |kind: GroupKind| {
        metrics::counter!("tidelog_consumer_group_rebalances_total", "type" => kind.name()).increment(1);
    };
    match event {
        GroupEvent::GenerationStarted { .. } => rebalanced(GroupKind::Classic),
        GroupEvent::EpochStarted { .. } => rebalanced(GroupKind::Consumer),
        GroupEvent::OffsetsRemoved { count, .. } => {
            metrics::counter!("tidelog_consumer_group_offsets_removed_total").increment(*count as u64);
        }
        GroupEvent::RebalanceStarted { .. }
        | GroupEvent::GroupEmptied { .. }
        | GroupEvent::MemberRemoved { .. }
        | GroupEvent::GroupConverted { .. }
        | GroupEvent::GroupRemoved { .. } => {}
    }
    debug!(%partition, ?event, "group");
}

fn count_commits(reply: &GroupReply) {
    if let GroupReply::Commit(results) = reply {
        let count = results.iter().filter(|result| result.is_ok()).count();
        metrics::counter!("tidelog_consumer_group_offsets_committed_total").increment(count as u64);
    }
}

/// Makes one batch of a coordinator's records.
fn push_records(mut builder: BatchBuilder, records: &[CoordinatorRecord], now: Now) -> Result<Batch, BatchError> {
    for record in records {
        builder.push(now.wall, Some(&record.key), record.value.as_deref(), &[])?;
    }
    builder.build()
}

/// A partition's trouble as a coordinator's callers must hear it: they look for the coordinator again.
pub(super) fn coordinator_error(error: KafkaError) -> KafkaError {
    match error {
        KafkaError::NotLeaderOrFollower => KafkaError::NotCoordinator,
        KafkaError::KafkaStorageError | KafkaError::NotEnoughReplicas | KafkaError::RequestTimedOut => {
            KafkaError::CoordinatorNotAvailable
        }
        KafkaError::MessageTooLarge | KafkaError::RecordListTooLarge => KafkaError::InvalidCommitOffsetSize,
        other => other,
    }
}
