//! One led partition: runs its manifest machine while there is something to do, and no task while there is not.

mod runner;
#[cfg(test)]
pub(crate) mod tests;

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::{Mutex, RwLock};
use tidelog_log::{LocalLog, RemoteError};
use tidelog_model::{LeaderEpoch, Offset, TopicIdPartition};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;
use uuid::Uuid;

use crate::keys::PartitionKeys;
use crate::known;
use crate::limits::TierLimits;
use crate::manifest::{Effect, Image, Manifest, Rules, Stop};
use crate::store::Writes;
use runner::Runner;

/// What all partitions share.
pub(crate) struct Shared {
    pub(crate) objects: tidelog_objects::Objects,
    pub(crate) limits: TierLimits,
    pub(crate) handle: tokio::runtime::Handle,
    /// This process, in the versions that it writes.
    pub(crate) writer: Uuid,
    pub(crate) uploads: Arc<Semaphore>,
    pub(crate) manifests: Arc<Semaphore>,
    /// For work on the local disk that every partition does.
    pub(crate) disk: Arc<Semaphore>,
    /// Where the last known manifests are kept.
    pub(crate) manifest_folder: PathBuf,
}

/// What an operator may ask about one partition.
#[derive(Clone, Default, Debug)]
pub(crate) struct Progress {
    pub(crate) uploading: Option<Offset>,
    pub(crate) last_error: Option<String>,
    /// The last upload failed because of the local segment: it is in the way of what follows.
    pub(crate) blocked: bool,
    pub(crate) stopped: Option<Stop>,
}

/// One partition that this broker leads, led or deletes.
pub(crate) struct Partition {
    pub(crate) id: TopicIdPartition,
    pub(crate) keys: PartitionKeys,
    /// The committed manifest; `None` while it is unknown.
    pub(crate) image: RwLock<Option<Arc<Image>>>,
    pub(crate) progress: Arc<Mutex<Progress>>,
    /// Requests and tasks of all leaderships.
    writes: Writes,
    slot: Mutex<Slot>,
}

/// Who has the partition.
#[derive(Default)]
struct Slot {
    lead: Option<Arc<Lead>>,
    /// Deletions that were asked for and have not ended. They wait for what an earlier leadership has on its way, and none may begin
    /// meanwhile.
    deletions: usize,
    /// The leadership that begins when the last deletion has ended.
    afterwards: Option<(LeaderEpoch, Arc<dyn LocalLog>)>,
}

/// One leadership.
struct Lead {
    epoch: LeaderEpoch,
    source: Option<Arc<dyn LocalLog>>,
    /// The machine and what it wants done; made by the first run, because that reads the local disk.
    machine: tokio::sync::Mutex<Option<(Manifest, VecDeque<Effect>)>>,
    woken: AtomicBool,
    /// Nothing of the log can be remote yet: no manifest is read or written, however many such partitions there are.
    dormant: AtomicBool,
    collect: AtomicBool,
    /// The last upload failed because of the local segment.
    damaged: AtomicBool,
    /// The leadership is over: an upload at work ends at its next piece.
    over: Arc<AtomicBool>,
    /// Why the machine has come to its end, once it has.
    done: watch::Sender<Option<Stop>>,
    /// The task that runs the machine, if one does; the lock orders wake-ups against its end.
    task: Mutex<Option<JoinHandle<()>>>,
}

impl Drop for Lead {
    fn drop(&mut self) {
        self.end();
    }
}

impl Partition {
    pub(crate) fn new(id: &TopicIdPartition, shared: &Shared) -> Arc<Self> {
        Arc::new(Partition {
            id: id.clone(),
            keys: PartitionKeys::new(id),
            image: RwLock::new(None),
            progress: Arc::default(),
            writes: Writes::new(shared.handle.clone()),
            slot: Mutex::default(),
        })
    }

    /// Leads from `epoch` on. An older leadership ends; a call for the same one changes nothing; one that meets a deletion begins after it.
    pub(crate) fn lead(self: &Arc<Self>, shared: &Arc<Shared>, epoch: LeaderEpoch, source: Arc<dyn LocalLog>) {
        let mut slot = self.slot.lock();
        if slot.deletions > 0 {
            slot.afterwards = Some((epoch, source));
        } else if slot.lead.as_ref().is_none_or(|present| present.epoch < epoch) {
            self.begin(shared, &mut slot, epoch, Some(source));
        }
    }

    /// Somebody will call [`Partition::delete`] soon, and [`Partition::deleted`] after it: no leadership begins until then.
    pub(crate) fn expect_deletion(&self) {
        let mut slot = self.slot.lock();
        slot.deletions += 1;
        slot.afterwards = None;
    }

    /// Deletes everything of the partition. A deletion at work is joined; what a leadership has on its way is waited for first, so that it
    /// cannot land behind the deletion.
    pub(crate) async fn delete(self: &Arc<Self>, shared: &Arc<Shared>) -> Result<(), RemoteError> {
        let mut done = loop {
            if let Some(done) = self.try_delete(shared) {
                break done;
            }
            self.writes.ended().await;
        };
        match done.wait_for(Option::is_some).await.map(|stop| *stop) {
            Ok(Some(Stop::Dropped)) => Ok(()),
            _ => Err(RemoteError::Unavailable("the deletion was given up".to_owned())),
        }
    }

    /// Begins or joins a deletion; `None` while something is on its way.
    fn try_delete(self: &Arc<Self>, shared: &Arc<Shared>) -> Option<watch::Receiver<Option<Stop>>> {
        let mut slot = self.slot.lock();
        if slot.lead.as_ref().is_none_or(|lead| lead.source.is_some()) {
            self.end(&mut slot);
            if !self.writes.are_idle() {
                return None;
            }
            self.begin(shared, &mut slot, LeaderEpoch(i32::MAX), None);
        }
        slot.lead.as_ref().map(|lead| lead.done.subscribe())
    }

    /// An expected deletion has come to its end. After the last one, the leadership that met it begins.
    pub(crate) fn deleted(self: &Arc<Self>, shared: &Arc<Shared>) {
        let mut slot = self.slot.lock();
        slot.deletions = slot.deletions.saturating_sub(1);
        if slot.deletions == 0 {
            self.end(&mut slot);
            if let Some((epoch, source)) = slot.afterwards.take() {
                self.begin(shared, &mut slot, epoch, Some(source));
            }
        }
    }

    fn end(&self, slot: &mut Slot) {
        if let Some(old) = slot.lead.take() {
            old.end();
        }
        *self.image.write() = None;
    }

    fn begin(
        self: &Arc<Self>,
        shared: &Arc<Shared>,
        slot: &mut Slot,
        epoch: LeaderEpoch,
        source: Option<Arc<dyn LocalLog>>,
    ) {
        self.end(slot);
        *self.progress.lock() = Progress::default();
        let dormant = source.as_ref().is_some_and(|source| source.is_all_active());
        let lead = Arc::new(Lead {
            epoch,
            source,
            machine: tokio::sync::Mutex::new(None),
            woken: AtomicBool::new(true),
            dormant: AtomicBool::new(dormant),
            collect: AtomicBool::new(false),
            damaged: AtomicBool::new(false),
            over: Arc::default(),
            done: watch::Sender::new(None),
            task: Mutex::new(None),
        });
        if dormant {
            *self.image.write() = Some(Arc::default());
        } else {
            lead.ensure_running(self, shared);
        }
        slot.lead = Some(lead);
    }

    /// Ends the leadership, in the middle of whatever it does: the store is in a state that the next leader understands. A deletion goes
    /// on.
    pub(crate) fn resign(&self) {
        let mut slot = self.slot.lock();
        slot.afterwards = None;
        if slot.lead.as_ref().is_some_and(|lead| lead.source.is_some()) {
            self.end(&mut slot);
        }
    }

    /// Ends everything.
    pub(crate) fn abandon(&self) {
        let mut slot = self.slot.lock();
        slot.afterwards = None;
        self.end(&mut slot);
    }

    /// Ready once what an ended leadership has on its way has come to its end.
    pub(crate) async fn quiet(&self) {
        self.writes.ended().await;
    }

    /// Is nobody leading or deleting it, and nothing of it on its way?
    pub(crate) fn is_over(&self) -> bool {
        !self.is_active() && self.writes.are_idle()
    }

    /// Is it led, being deleted or about to be?
    pub(crate) fn is_active(&self) -> bool {
        let slot = self.slot.lock();
        slot.lead.is_some() || slot.deletions > 0
    }

    /// There may be something to do.
    pub(crate) fn wake(self: &Arc<Self>, shared: &Arc<Shared>) {
        if let Some(lead) = self.slot.lock().lead.as_ref() {
            if lead.dormant.load(Ordering::Acquire) {
                if lead.source.as_ref().is_some_and(|source| source.is_all_active()) {
                    return;
                }
                lead.dormant.store(false, Ordering::Release);
                *self.image.write() = None;
            }
            lead.woken.store(true, Ordering::Release);
            lead.ensure_running(self, shared);
        }
    }

    fn cache_file(&self, shared: &Shared) -> PathBuf {
        known::file(&shared.manifest_folder, &self.id)
    }

    /// The machine of a leadership, or of a deletion if there is no log. Blocks.
    fn machine(&self, shared: &Shared, epoch: LeaderEpoch, deletes: bool) -> (Manifest, VecDeque<Effect>) {
        let rules = Rules { grace: shared.limits.grace, ..Rules::default() };
        let file = self.cache_file(shared);
        let (machine, effects) = if deletes {
            let _ = std::fs::remove_file(file);
            Manifest::drop_all(shared.writer, rules, Box::new(Uuid::new_v4))
        } else {
            Manifest::lead(epoch, shared.writer, rules, known::read(&file), Box::new(Uuid::new_v4))
        };
        (machine, effects.into())
    }

    /// Runs `act` unless the leadership has ended since; it cannot end meanwhile.
    fn while_led(&self, lead: &Arc<Lead>, act: impl FnOnce()) {
        let slot = self.slot.lock();
        if slot.lead.as_ref().is_some_and(|current| Arc::ptr_eq(current, lead)) {
            act();
        }
    }
}

impl Lead {
    fn end(&self) {
        self.over.store(true, Ordering::Release);
        if let Some(task) = self.task.lock().take() {
            task.abort();
        }
    }

    fn ensure_running(self: &Arc<Self>, partition: &Arc<Partition>, shared: &Arc<Shared>) {
        let mut task = self.task.lock();
        // An ended one must not come back to life: a new leader or a deletion may be at work.
        let stopped = self.done.borrow().is_some() || self.over.load(Ordering::Acquire);
        if !stopped && task.as_ref().is_none_or(JoinHandle::is_finished) {
            let runner =
                Runner { partition: Arc::clone(partition), shared: Arc::clone(shared), lead: Arc::downgrade(self) };
            let running = partition.writes.start();
            *task = Some(shared.handle.spawn(async move {
                let _running = running;
                runner.run().await;
            }));
        }
    }

    /// Ends the task unless somebody has called since.
    fn rest(&self) -> bool {
        let mut task = self.task.lock();
        if self.woken.load(Ordering::Acquire) {
            return false;
        }
        *task = None;
        true
    }
}
