//! The transaction coordinator's shell on its own partition: appends what the shard decides, replays it, parks the answers, and lets
//! markers go only when what they follow from is committed.
//!
//! It runs on the partition's log thread, so its append is a call, not a message, and nothing else writes in between.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tidelog_coordinator::TransactionShard;
use tidelog_coordinator::limits::MAX_SHARD_BYTES;
use tidelog_coordinator::transaction::{
    TransactionCall, TransactionDescription, TransactionEvent, TransactionListing, TransactionMarkers,
    TransactionOutcome, TransactionReply, TransactionalId,
};
use tidelog_model::{Deadline, KafkaError, LeaderEpoch, Now, Offset};
use tokio::sync::oneshot;
use tracing::{debug, error, info, warn};

use super::{Replica, Writer};
use crate::shared_memory::Share;

/// Where the answer of a question to the coordinator goes.
pub(crate) type TransactionAnswer<T> = oneshot::Sender<Result<T, KafkaError>>;

/// What the coordinator is asked.
pub(crate) enum TransactionWork {
    /// A request about one transactional id.
    Call(TransactionalId, TransactionCall, TransactionAnswer<TransactionReply>),
    /// DescribeTransactions of one transactional id.
    Describe(TransactionalId, TransactionAnswer<TransactionDescription>),
    /// ListTransactions.
    List(TransactionAnswer<Vec<TransactionListing>>),
    /// The partitions have answered to markers.
    Marked(TransactionMarkers, Vec<Result<(), KafkaError>>),
    /// The shard has read its whole partition.
    Loaded(Box<TransactionShard>),
}

impl TransactionWork {
    /// Answers with an error.
    pub(crate) fn refuse(self, error: KafkaError) {
        // Callers that hung up do not hear it.
        match self {
            TransactionWork::Call(_, _, reply) => drop(reply.send(Err(error))),
            TransactionWork::Describe(_, reply) => drop(reply.send(Err(error))),
            TransactionWork::List(reply) => drop(reply.send(Err(error))),
            TransactionWork::Marked(..) | TransactionWork::Loaded(_) => {}
        }
    }
}

/// Markers that may be written now, and whose coordinator waits for the partitions' answers.
pub(crate) struct Decided {
    pub(crate) markers: TransactionMarkers,
    /// The coordinator's own partition.
    pub(crate) coordinator: Arc<Replica>,
    /// The epoch of its leadership.
    pub(crate) epoch: LeaderEpoch,
}

/// A loaded shard.
pub(crate) struct TransactionHost {
    shard: TransactionShard,
    /// Every answer parks at least here: nobody sees what could still be lost.
    last_appended: Offset,
    memory: Share,
}

impl TransactionHost {
    /// Takes note of the memory that the shard takes, and tells it how much it may: before each decision and after the last one.
    fn settle(&mut self) {
        self.memory.settle(self.shard.bytes());
        self.shard.set_most_bytes(self.memory.even_most(MAX_SHARD_BYTES));
    }

    /// When the shard's timers have work.
    pub(crate) fn next_deadline(&self) -> Option<Deadline> {
        self.shard.next_deadline()
    }
}

impl Replica {
    /// Lets the shard's timers act.
    pub(super) fn transaction_timers(self: &Arc<Self>, writer: &mut Writer, now: Now) {
        while let Some(host) = writer.transactions.as_mut() {
            if !host.shard.next_deadline().is_some_and(|deadline| deadline.passed(now)) {
                return;
            }
            host.settle();
            let outcome = host.shard.on_timer(now);
            self.transaction_outcome(writer, outcome, None, now);
        }
    }

    pub(super) fn transaction_work(self: &Arc<Self>, writer: &mut Writer, work: TransactionWork, now: Now) {
        self.decide_transaction_work(writer, work, now);
        if let Some(host) = writer.transactions.as_mut() {
            host.settle();
        }
    }

    fn decide_transaction_work(self: &Arc<Self>, writer: &mut Writer, work: TransactionWork, now: Now) {
        if let TransactionWork::Loaded(mut shard) = work {
            shard.loaded(now);
            let last_appended = self.view.log_end();
            let memory = Share::new(&self.core.transactions_memory);
            writer.transactions = Some(TransactionHost { shard: *shard, last_appended, memory });
            return self.transaction_timers(writer, now);
        }
        let Some(host) = writer.transactions.as_mut() else {
            return work.refuse(KafkaError::CoordinatorLoadInProgress);
        };
        host.settle();
        let at = host.last_appended;
        match work {
            TransactionWork::Call(id, call, reply) => {
                let outcome = host.shard.handle(now, &id, &call);
                self.transaction_outcome(writer, outcome, Some(reply), now);
            }
            TransactionWork::Describe(id, reply) => {
                let answer = host.shard.describe(&id);
                self.answer_look(at, reply, answer);
            }
            TransactionWork::List(reply) => {
                let answer = host.shard.list();
                self.answer_look(at, reply, answer);
            }
            TransactionWork::Marked(markers, results) => {
                let outcome = host.shard.marked(now, &markers, results);
                self.transaction_outcome(writer, outcome, None, now);
            }
            TransactionWork::Loaded(_) => {}
        }
    }

    /// Appends an outcome's records, replays them, and parks its answer and its markers below the offset they depend on.
    fn transaction_outcome(
        self: &Arc<Self>,
        writer: &mut Writer,
        outcome: TransactionOutcome,
        caller: Option<TransactionAnswer<TransactionReply>>,
        now: Now,
    ) {
        let appended = if outcome.records.is_empty() {
            Ok(None)
        } else {
            self.append_records(writer, &outcome.records, now).map(Some)
        };
        let Some(host) = writer.transactions.as_mut() else { return };
        let (reply, markers) = match appended {
            Ok(end) => {
                outcome.events.iter().for_each(|event| self.tell(event));
                for record in &outcome.records {
                    host.shard.replay(record);
                }
                host.last_appended = end.unwrap_or(host.last_appended);
                (outcome.reply, outcome.markers)
            }
            Err(error) => (host.shard.refused(now, outcome, error), Vec::new()),
        };
        self.delayed_transactions.store(host.shard.delayed(), Ordering::Relaxed);
        let at = host.last_appended;
        if let Some((caller, reply)) = caller.zip(reply) {
            self.answer_at(at, move |committed| drop(caller.send(committed.map(|()| reply))));
        }
        if markers.is_empty() {
            return;
        }
        let (this, epoch) = (Arc::clone(self), self.with_machine(|machine| machine.epoch()));
        self.answer_at(at, move |committed| {
            // What is not committed decides nothing; whoever leads next reads what was.
            if committed.is_ok() {
                for markers in markers {
                    let decided = Decided { markers, coordinator: Arc::clone(&this), epoch };
                    // The receiver ends with the broker.
                    let _ = this.core.decided.send(decided);
                }
            }
        });
    }

    fn tell(&self, event: &TransactionEvent) {
        let partition = &self.id;
        match event {
            TransactionEvent::Completed { committed, .. } => {
                let result = if *committed { "commit" } else { "abort" };
                metrics::counter!("tidelog_transactions_completed_total", "result" => result).increment(1);
                debug!(%partition, ?event, "transaction");
            }
            TransactionEvent::Fenced { .. } => {
                metrics::counter!("tidelog_transactions_fenced_total").increment(1);
                info!(%partition, ?event, "transaction");
            }
            TransactionEvent::TimedOut { .. } => {
                metrics::counter!("tidelog_transactions_timed_out_total").increment(1);
                info!(%partition, ?event, "transaction");
            }
            TransactionEvent::MarkerRefused { .. } => {
                metrics::counter!("tidelog_transactions_refused_markers_total").increment(1);
                error!(%partition, ?event, "a partition refuses a transaction's end; abort what is open there by hand");
            }
            TransactionEvent::MarkersDelayed { .. } => {
                warn!(%partition, ?event, "partitions do not take a transaction's end; its producer waits");
            }
            TransactionEvent::Expired { .. } => info!(%partition, ?event, "transaction"),
        }
    }

    /// Decided transactions coordinated here of which a partition has not taken the end at the last try.
    pub(crate) fn delayed_transactions(&self) -> usize {
        self.delayed_transactions.load(Ordering::Relaxed)
    }
}
