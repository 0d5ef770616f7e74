//! One hosted partition: the shell around the partition machine and its log.
//!
//! Three kinds of threads meet here, and never wait for each other under a lock: doors enqueue and read; one log thread at a time
//! drains the queue (propose, write, apply); a flusher makes the log durable and moves the watermark.

mod answers;
mod compaction;
mod drain;
mod flush;
mod group_transactions;
mod groups;
mod local_log;
mod maintain;
mod one_at_a_time;
mod queue;
mod read;
mod refusals;
mod settings;
mod told_damages;
mod traffic;
mod transactions;
mod waiters;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use tidelog_log::{Log, LogError, LogView};
use tidelog_metadata::TopicConfig;
use tidelog_model::{KafkaError, Offset, TopicIdPartition};
use tidelog_partition::{Effects, Offsets, Partition, Token};
use tokio::sync::oneshot;

pub(crate) use answers::AppendResult;
pub(crate) use group_transactions::TransactionalCommit;
pub(crate) use groups::{GroupHost, GroupWork};
pub(crate) use local_log::TierSource;
pub(crate) use maintain::Maintenance;
pub(crate) use queue::{AppendWork, Work};
pub(crate) use read::{HotRead, Past};
pub(crate) use traffic::Counted;
pub(crate) use transactions::{Decided, TransactionHost, TransactionWork};

use crate::core::Core;
use crate::producer_room::ProducerShare;
use crate::shell::pool::Slot;
use crate::shell::timers::TimerKey;
use answers::{Answer, Answers};
use compaction::Cleaning;
use maintain::Roll;
use one_at_a_time::OneAtATime;
use queue::Queue;
use refusals::Refusals;
use settings::Settings;
use told_damages::ToldDamages;
use waiters::Waiters;

/// What only the log thread touches.
pub(crate) struct Writer {
    pub(crate) log: Log,
    /// The group coordinator that lives on this partition, once it is loaded.
    pub(crate) groups: Option<GroupHost>,
    /// The transaction coordinator that lives on this partition, once it is loaded.
    pub(crate) transactions: Option<TransactionHost>,
    /// Without fsync durability: since when records wait for a flush, on the monotonic clock.
    pub(crate) unflushed_since: Option<Duration>,
    pub(crate) refusals: Refusals,
    /// When the active segment has its age, once it has records and unless that is far away.
    pub(crate) roll: Option<Roll>,
}

/// A hosted partition that this broker leads.
pub(crate) struct Replica {
    pub(crate) id: TopicIdPartition,
    pub(crate) key: TimerKey,
    pub(crate) core: Arc<Core>,
    pub(crate) view: LogView,
    config: RwLock<Arc<TopicConfig>>,
    settings: Mutex<Settings>,
    machine: Mutex<Partition>,
    /// `None` once the replica has ended.
    writer: Mutex<Option<Writer>>,
    producers: ProducerShare,
    queue: Queue,
    answers: Answers,
    pub(crate) waiters: Waiters,
    drain_slot: Slot,
    flush_slot: Slot,
    gone: AtomicBool,
    /// Held by a flush and by a deletion, which exclude each other; true once the log is deleted.
    pub(crate) flushing: Mutex<bool>,
    /// Hears of the next flush.
    awaits_flush: Mutex<Option<oneshot::Sender<bool>>>,
    /// How the replica shall end, and who waits for it.
    ending: Mutex<Option<(Ending, Ended)>>,
    /// Bytes appended since the last checkpoint of the log was looked for.
    since_checkpoint: AtomicU64,
    /// Removing what retention keeps no longer, asked for by the log thread, the cold tier and others.
    trimming: OneAtATime,
    /// How far the log is compacted.
    cleaning: Mutex<Cleaning>,
    /// The last stable offset when the cold tier was last considered.
    considered: AtomicI64,
    /// For whoever watches, without waiting for the log thread.
    delayed_transactions: AtomicUsize,
    pub(crate) traffic: Arc<Counted>,
    pub(crate) told_damages: Mutex<ToldDamages>,
}

/// May an older part of this partition be in the cold tier? No default rules that out, because it may have been another one before.
pub(crate) fn may_be_remote(id: &TopicIdPartition, config: &TopicConfig) -> bool {
    !id.topic.is_internal() && !config.remote_log_given_up
}

/// Who hears that a replica has ended: the end of its log.
type Ended = oneshot::Sender<Result<Offset, LogError>>;

/// How a replica ends.
pub(crate) enum Ending {
    /// The broker stops: everything is written, and the next start reads next to nothing once it is flushed too.
    Close,
    /// The topic is deleted, and the files with it.
    Delete,
}

impl Replica {
    /// A leader over `log`; the machine has been told what the log holds, and takes all of it for flushed: see [`Replica::flush_soon`]. `cleaned` is where its last compaction
    /// ended.
    pub(crate) fn new(
        id: TopicIdPartition,
        key: TimerKey,
        core: Arc<Core>,
        log: Log,
        mut machine: Partition,
        config: Arc<TopicConfig>,
        cleaned: Offset,
    ) -> Arc<Self> {
        let producers = ProducerShare::new(&core.producers);
        machine.set_producer_bounds(producers.bounds(), core.clock.now());
        producers.settle(&machine.sums().producers);
        Arc::new(Replica {
            id,
            key,
            core,
            view: log.view(),
            settings: Mutex::new(Settings::of(&config)),
            config: RwLock::new(config),
            machine: Mutex::new(machine),
            writer: Mutex::new(Some(Writer {
                log,
                groups: None,
                transactions: None,
                unflushed_since: None,
                refusals: Refusals::default(),
                roll: None,
            })),
            producers,
            queue: Queue::new(),
            answers: Answers::default(),
            waiters: Waiters::default(),
            drain_slot: Slot::default(),
            flush_slot: Slot::default(),
            gone: AtomicBool::new(false),
            flushing: Mutex::new(false),
            awaits_flush: Mutex::default(),
            ending: Mutex::default(),
            since_checkpoint: AtomicU64::new(0),
            trimming: OneAtATime::default(),
            cleaning: Mutex::new(Cleaning::up_to(cleaned)),
            considered: AtomicI64::new(Offset::NONE.0),
            delayed_transactions: AtomicUsize::new(0),
            traffic: Arc::default(),
            told_damages: Mutex::default(),
        })
    }

    pub(crate) fn config(&self) -> Arc<TopicConfig> {
        Arc::clone(&self.config.read())
    }

    /// Where the partition stands.
    pub(crate) fn offsets(&self) -> Offsets {
        self.machine.lock().offsets()
    }

    /// Looks at the machine; must not take long.
    pub(crate) fn with_machine<T>(&self, look: impl FnOnce(&mut Partition) -> T) -> T {
        look(&mut self.machine.lock())
    }

    /// Puts an entry at the end of the queue; waits while the queue is full.
    pub(crate) async fn enqueue(self: &Arc<Self>, work: Work) {
        self.queue.push(work, self.core.clock.now()).await;
        self.core.log_threads.submit(self);
    }

    /// Puts one of the broker's own entries at the end of the queue.
    pub(crate) fn enqueue_internal(self: &Arc<Self>, work: Work) {
        self.queue.push_internal(work, self.core.clock.now());
        self.core.log_threads.submit(self);
    }

    /// Does what the machine wants done.
    fn carry_out(self: &Arc<Self>, effects: Effects) {
        for reply in effects.replies {
            self.answers.give(reply.token, reply.result);
        }
        if effects.flush {
            self.core.flushers.submit(self);
        }
        if effects.visible_moved {
            self.waiters.wake();
            self.tell_moved();
        }
    }

    /// What may be seen has moved.
    fn tell_moved(&self) {
        // Under the lock, so that two moves are seen in their order.
        let before = self
            .with_machine(|machine| Offset(self.considered.swap(machine.offsets().last_stable.0, Ordering::AcqRel)));
        // Only closed segments are uploaded, and all of them were below already unless the move began before the active one. Rolls
        // and a log start that moves wake the tier themselves.
        if before < self.view.active_base() {
            self.wake_remote();
        }
        if let Some(observer) = &self.core.observer {
            observer.moved(&self.id);
        }
    }

    /// The cold tier may have something to do; one that does not lead this partition has not.
    fn wake_remote(&self) {
        if let Some(remote) = &self.core.remote {
            remote.wake(&self.id);
        }
    }

    /// Is the cold tier part of this log? It is while segments go there, and afterwards as long as readers may ask for what only it has,
    /// whatever the settings have become since.
    pub(crate) fn has_remote_part(&self) -> bool {
        let config = self.config();
        let local_start = self.view.local_start();
        self.core.remote.is_some()
            && (config.remote_storage_enable
                || (may_be_remote(&self.id, &config) && self.offsets().log_start < local_start))
    }

    /// A token for something that waits for an offset.
    fn then(&self, then: answers::Then) -> Token {
        self.answers.open(Answer::Then(then))
    }

    /// Ends the replica: everybody who waits is told, later entries are refused, and its log thread closes or deletes the log.
    /// The receiver gets the log's end.
    pub(crate) fn end(self: &Arc<Self>, ending: Ending) -> oneshot::Receiver<Result<Offset, LogError>> {
        let (done, ended) = oneshot::channel();
        if let Some(remote) = &self.core.remote {
            remote.resign(&self.id);
        }
        *self.ending.lock() = Some((ending, done));
        self.gone.store(true, Ordering::Release);
        self.view.end_compaction();
        let effects = self.machine.lock().resign();
        self.carry_out(effects);
        self.core.timers.set(self.key, None);
        self.core.log_threads.submit(self);
        ended
    }

    /// Holds up the log thread at this partition, as a slow disk does.
    #[cfg(test)]
    pub(crate) fn hold_up(&self) -> parking_lot::MutexGuard<'_, Option<Writer>> {
        self.writer.lock()
    }

    /// How many entries wait for the log thread.
    #[cfg(test)]
    pub(crate) fn queued(&self) -> usize {
        self.queue.len()
    }

    pub(crate) fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Acquire)
    }

    /// Its thread panicked: the partition is of no more use, but nobody may wait for it.
    pub(crate) fn panicked(self: &Arc<Self>) {
        tracing::error!(partition = %self.id, "a log thread failed on this partition; taking it offline");
        self.view.take_offline("a log thread failed");
        let effects = self.machine.lock().flush_failed();
        self.carry_out(effects);
        self.answers.fail_all(KafkaError::KafkaStorageError);
        drop(self.awaits_flush.lock().take());
        // The panic has released the writer; the coordinator's callers wait beside the answers.
        if let Some(groups) = self.writer.lock().as_mut().and_then(|writer| writer.groups.take()) {
            groups.resign(KafkaError::CoordinatorNotAvailable);
        }
    }

    pub(crate) fn drain_slot(&self) -> &Slot {
        &self.drain_slot
    }

    pub(crate) fn flush_slot(&self) -> &Slot {
        &self.flush_slot
    }
}
