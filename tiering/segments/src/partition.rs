//! One led partition: runs its manifest machine while there is something to do, and no task while there is not.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::{Mutex, RwLock};
use tidelog_log::{LocalLog, RemoteError};
use tidelog_model::{LeaderEpoch, Offset, TopicIdPartition};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;
use uuid::Uuid;

use crate::keys::{ObjectName, PartitionKeys};
use crate::limits::{DAMAGED_BACKOFF, TierLimits};
use crate::manifest::{Effect, Event, Image, Manifest, Rules, Stop};
use crate::store::{Backoff, PartitionStore};
use crate::uploader::{self, UploadError};

/// What all partitions share.
pub(crate) struct Shared {
    pub(crate) objects: tidelog_objects::Objects,
    pub(crate) limits: TierLimits,
    pub(crate) handle: tokio::runtime::Handle,
    /// This process, in the versions that it writes.
    pub(crate) writer: Uuid,
    pub(crate) uploads: Semaphore,
    pub(crate) manifests: Semaphore,
    /// Where the last known manifests are kept.
    pub(crate) manifest_folder: PathBuf,
}

/// What an operator may ask about one partition.
#[derive(Clone, Default, Debug)]
pub(crate) struct Progress {
    pub(crate) uploading: Option<Offset>,
    pub(crate) last_error: Option<String>,
    pub(crate) stopped: Option<Stop>,
}

/// One partition that this broker leads, led or deletes.
pub(crate) struct Partition {
    pub(crate) id: TopicIdPartition,
    pub(crate) keys: PartitionKeys,
    /// The committed manifest; `None` while it is unknown.
    pub(crate) image: RwLock<Option<Arc<Image>>>,
    pub(crate) progress: Arc<Mutex<Progress>>,
    lead: Mutex<Option<Arc<Lead>>>,
}

/// One leadership.
struct Lead {
    epoch: LeaderEpoch,
    source: Option<Arc<dyn LocalLog>>,
    /// The machine and what it wants done; made by the first run, because that reads the local disk.
    machine: tokio::sync::Mutex<Option<(Manifest, VecDeque<Effect>)>>,
    woken: AtomicBool,
    collect: AtomicBool,
    /// The last upload failed because of the local segment.
    damaged: AtomicBool,
    /// Why the machine has come to its end, once it has.
    done: watch::Sender<Option<Stop>>,
    /// The task that runs the machine, if one does; the lock orders wake-ups against its end.
    task: Mutex<Option<JoinHandle<()>>>,
}

impl Drop for Lead {
    fn drop(&mut self) {
        if let Some(task) = self.task.get_mut().take() {
            task.abort();
        }
    }
}

enum Outcome {
    Idle,
    Again,
    Stopped,
}

impl Partition {
    pub(crate) fn new(id: &TopicIdPartition) -> Arc<Self> {
        Arc::new(Partition {
            id: id.clone(),
            keys: PartitionKeys::new(id),
            image: RwLock::new(None),
            progress: Arc::default(),
            lead: Mutex::new(None),
        })
    }

    /// Leads from `epoch` on. An older leadership ends; a call for the same one changes nothing.
    pub(crate) fn lead(self: &Arc<Self>, shared: &Arc<Shared>, epoch: LeaderEpoch, source: Arc<dyn LocalLog>) {
        let mut lead = self.lead.lock();
        if lead.as_ref().is_some_and(|lead| lead.epoch >= epoch) {
            return;
        }
        self.begin(shared, &mut lead, epoch, Some(source));
    }

    /// Deletes everything of the partition; the work begins now, the future waits for its end. A deletion at work is joined.
    pub(crate) fn delete(
        self: &Arc<Self>,
        shared: &Arc<Shared>,
    ) -> impl Future<Output = Result<(), RemoteError>> + Send + use<> {
        let mut lead = self.lead.lock();
        if lead.as_ref().is_none_or(|lead| lead.source.is_some()) {
            self.begin(shared, &mut lead, LeaderEpoch(i32::MAX), None);
        }
        let done = lead.as_ref().map(|lead| lead.done.subscribe());
        async move {
            let given_up = || RemoteError::Unavailable("the deletion was given up".to_owned());
            let mut done = done.ok_or_else(given_up)?;
            match done.wait_for(Option::is_some).await.map(|stop| *stop) {
                Ok(Some(Stop::Dropped)) => Ok(()),
                _ => Err(given_up()),
            }
        }
    }

    fn begin(
        self: &Arc<Self>,
        shared: &Arc<Shared>,
        slot: &mut Option<Arc<Lead>>,
        epoch: LeaderEpoch,
        source: Option<Arc<dyn LocalLog>>,
    ) {
        if let Some(old) = slot.take() {
            old.end();
        }
        *self.image.write() = None;
        *self.progress.lock() = Progress::default();
        let lead = Arc::new(Lead {
            epoch,
            source,
            machine: tokio::sync::Mutex::new(None),
            woken: AtomicBool::new(true),
            collect: AtomicBool::new(false),
            damaged: AtomicBool::new(false),
            done: watch::Sender::new(None),
            task: Mutex::new(None),
        });
        lead.ensure_running(self, shared);
        *slot = Some(lead);
    }

    /// Ends the leadership, in the middle of whatever it does: the store is in a state that the next leader understands.
    pub(crate) fn resign(&self) {
        if let Some(lead) = self.lead.lock().take() {
            lead.end();
        }
        *self.image.write() = None;
    }

    /// There may be something to do.
    pub(crate) fn wake(self: &Arc<Self>, shared: &Arc<Shared>) {
        if let Some(lead) = self.lead.lock().as_ref() {
            lead.woken.store(true, Ordering::Release);
            lead.ensure_running(self, shared);
        }
    }

    fn cache_file(&self, shared: &Shared) -> PathBuf {
        shared.manifest_folder.join(format!("{}-{}-{}", self.id.topic, self.id.id, self.id.partition))
    }

    /// The machine of a leadership, or of a deletion if there is no log. Blocks.
    fn machine(&self, shared: &Shared, epoch: LeaderEpoch, deletes: bool) -> (Manifest, VecDeque<Effect>) {
        let rules = Rules { grace: shared.limits.grace, ..Rules::default() };
        let file = self.cache_file(shared);
        let (machine, effects) = if deletes {
            let _ = std::fs::remove_file(file);
            Manifest::drop_all(shared.writer, rules, Box::new(Uuid::new_v4))
        } else {
            // Damaged or absent: the store has it all.
            let cached = std::fs::read(file).ok().and_then(|bytes| Image::decode(&bytes).ok());
            Manifest::lead(epoch, shared.writer, rules, cached, Box::new(Uuid::new_v4))
        };
        (machine, effects.into())
    }

    /// Runs `act` unless the leadership has ended since; it cannot end meanwhile.
    fn while_led(&self, lead: &Arc<Lead>, act: impl FnOnce()) {
        let current = self.lead.lock();
        if current.as_ref().is_some_and(|current| Arc::ptr_eq(current, lead)) {
            act();
        }
    }
}

impl Lead {
    fn end(&self) {
        if let Some(task) = self.task.lock().take() {
            task.abort();
        }
    }

    fn ensure_running(self: &Arc<Self>, partition: &Arc<Partition>, shared: &Arc<Shared>) {
        let mut task = self.task.lock();
        if task.as_ref().is_none_or(JoinHandle::is_finished) {
            let runner =
                Runner { partition: Arc::clone(partition), shared: Arc::clone(shared), lead: Arc::downgrade(self) };
            *task = Some(shared.handle.spawn(runner.run()));
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

/// Runs one leadership's machine until it is idle.
struct Runner {
    partition: Arc<Partition>,
    shared: Arc<Shared>,
    /// Weak, so that the end of the leadership ends the task and not the other way round.
    lead: Weak<Lead>,
}

impl Runner {
    async fn run(self) {
        let mut backoff = Backoff::new(self.shared.limits.min_backoff);
        loop {
            let Some(lead) = self.lead.upgrade() else { return };
            lead.woken.store(false, Ordering::Release);
            match self.drive(&lead).await {
                Outcome::Again => {
                    let damaged = lead.damaged.swap(false, Ordering::AcqRel);
                    drop(lead);
                    if damaged {
                        tokio::time::sleep(DAMAGED_BACKOFF).await;
                    } else {
                        backoff.wait().await;
                    }
                }
                Outcome::Idle => {
                    backoff = Backoff::new(self.shared.limits.min_backoff);
                    if lead.rest() {
                        return;
                    }
                }
                Outcome::Stopped => return,
            }
        }
    }

    fn store(&self) -> PartitionStore {
        let (progress, id) = (Arc::clone(&self.partition.progress), self.partition.id.clone());
        let report = move |error: Option<String>| {
            let mut progress = progress.lock();
            match &error {
                // Once per outage: a store that is away is tried for as long as it takes.
                Some(text) if progress.last_error.is_none() => {
                    tracing::warn!(partition = %id, error = %text, "the object store does not take the cold tier's requests");
                }
                None if progress.last_error.is_some() => {
                    tracing::info!(partition = %id, "the object store answers again");
                }
                _ => {}
            }
            progress.last_error = error;
        };
        PartitionStore {
            objects: self.shared.objects.clone(),
            keys: self.partition.keys.clone(),
            min_backoff: self.shared.limits.min_backoff,
            report: Arc::new(report),
        }
    }

    async fn drive(&self, lead: &Arc<Lead>) -> Outcome {
        let store = self.store();
        let mut guard = lead.machine.lock().await;
        if guard.is_none() {
            let (partition, shared) = (Arc::clone(&self.partition), Arc::clone(&self.shared));
            let (epoch, deletes) = (lead.epoch, lead.source.is_none());
            let made = tokio::task::spawn_blocking(move || partition.machine(&shared, epoch, deletes)).await;
            *guard = made.ok();
        }
        let Some((machine, effects)) = &mut *guard else { return Outcome::Again };
        if lead.collect.swap(false, Ordering::AcqRel) {
            effects.extend(machine.apply(Event::Collect));
        }
        effects.extend(self.observe(lead, machine).await);
        let mut creates = Backoff::new(self.shared.limits.min_backoff);
        while let Some(effect) = effects.front().cloned() {
            if let Effect::Upload { .. } = effect {
                let _ = self.observe(lead, machine).await;
            }
            let answer = self.carry_out(lead, &store, &effect, &mut creates).await;
            effects.pop_front();
            let failed = answer == Some(Event::UploadFailed);
            if matches!(answer, Some(Event::Created(_))) {
                creates = Backoff::new(self.shared.limits.min_backoff);
            }
            if let Some(event) = answer {
                effects.extend(machine.apply(event));
            }
            if failed {
                return Outcome::Again;
            }
        }
        match machine.stopped() {
            Some(stop) => {
                self.stopped(lead, stop);
                lead.done.send_replace(Some(stop));
                Outcome::Stopped
            }
            None => Outcome::Idle,
        }
    }

    fn stopped(&self, lead: &Arc<Lead>, stop: Stop) {
        let id = &self.partition.id;
        match stop {
            Stop::Fenced => tracing::info!(partition = %id, "another leader writes the remote log now"),
            Stop::Dropped => tracing::info!(partition = %id, "the remote log was deleted"),
            Stop::Gone => tracing::error!(partition = %id, "the remote log's manifest vanished from the store"),
        }
        self.partition.while_led(lead, || {
            *self.partition.image.write() = None;
            self.partition.progress.lock().stopped = Some(stop);
        });
    }

    /// Shows the machine the local log as it is now.
    async fn observe(&self, lead: &Lead, machine: &mut Manifest) -> Vec<Effect> {
        let Some(source) = lead.source.clone() else { return Vec::new() };
        let look = move || (source.log_start(), source.leader_epochs());
        let Ok((log_start, epochs)) = tokio::task::spawn_blocking(look).await else { return Vec::new() };
        let epochs = epochs.entries().iter().map(|entry| (entry.epoch, entry.start)).collect();
        machine.apply(Event::Observed { log_start, epochs })
    }

    async fn carry_out(
        &self,
        lead: &Arc<Lead>,
        store: &PartitionStore,
        effect: &Effect,
        creates: &mut Backoff,
    ) -> Option<Event> {
        if let Effect::Upload { name, from } = effect {
            return Some(self.upload(lead, store, *name, *from).await);
        }
        let _permit = self.shared.manifests.acquire().await.ok()?;
        match effect {
            Effect::ListVersions { after } => Some(store.list_versions(*after).await),
            Effect::ReadSnapshot(number) => Some(store.read_snapshot(*number).await),
            Effect::ReadVersions { first, last } => Some(store.read_versions(*first, *last).await),
            Effect::Create(version) => Some(store.create(version, creates).await),
            Effect::WriteSnapshot(image) => Some(store.write_snapshot(image).await),
            Effect::ListObjects => Some(Event::Found(store.list_objects().await)),
            Effect::Upload { .. } => None,
            Effect::Committed(image) => {
                self.committed(lead, image).await;
                None
            }
            Effect::DeleteVersions(numbers) => {
                store.delete_versions(numbers).await;
                None
            }
            Effect::DeleteSnapshots(numbers) => {
                store.delete_snapshots(numbers).await;
                None
            }
            Effect::DeleteObjects(names) => {
                store.delete_objects(names).await;
                None
            }
            Effect::DeleteAll => {
                store.delete_all().await;
                None
            }
            Effect::CollectLater => {
                self.collect_later(lead);
                None
            }
            Effect::Troubled(why) => {
                tracing::warn!(partition = %self.partition.id, error = %why, "the remote log's manifest cannot be read");
                self.partition.progress.lock().last_error = Some(why.clone());
                creates.wait().await;
                None
            }
        }
    }

    async fn upload(&self, lead: &Lead, store: &PartitionStore, name: ObjectName, from: Offset) -> Event {
        let Some(source) = lead.source.clone() else { return Event::NothingClosed };
        let find = move || source.closed_segment(from);
        let segment = match tokio::task::spawn_blocking(find).await {
            Ok(Some(segment)) => segment,
            Ok(None) => return Event::NothingClosed,
            Err(_) => return Event::UploadFailed,
        };
        let Ok(_permit) = self.shared.uploads.acquire().await else { return Event::UploadFailed };
        self.partition.progress.lock().uploading = Some(from);
        let outcome = uploader::upload(&store.objects, &store.keys, segment, name, from).await;
        self.partition.progress.lock().uploading = None;
        match outcome {
            Ok(entry) => {
                (store.report)(None);
                Event::Uploaded(entry)
            }
            Err(error) => {
                lead.damaged.store(matches!(error, UploadError::Segment(_)), Ordering::Release);
                (store.report)(Some(error.to_string()));
                Event::UploadFailed
            }
        }
    }

    /// The manifest says it: readers may use it, and the local copy is no longer the only one.
    async fn committed(&self, lead: &Arc<Lead>, image: &Arc<Image>) {
        self.partition.while_led(lead, || {
            *self.partition.image.write() = (!image.dropped).then(|| Arc::clone(image));
        });
        let Some(source) = lead.source.clone() else { return };
        let (image, file) = (Arc::clone(image), self.partition.cache_file(&self.shared));
        let tell = move || {
            // A cache and nothing more: no flush, and a failure only means reading it from the store next time.
            let mut staged = file.clone().into_os_string();
            staged.push(".new");
            if std::fs::write(&staged, image.encode()).is_ok() {
                let _ = std::fs::rename(&staged, &file);
            }
            source.remote_committed(image.next);
        };
        if let Err(error) = tokio::task::spawn_blocking(tell).await {
            tracing::error!(partition = %self.partition.id, %error, "the local log did not take note of a commit");
        }
    }

    fn collect_later(&self, lead: &Arc<Lead>) {
        let (partition, shared) = (Arc::clone(&self.partition), Arc::clone(&self.shared));
        let lead = Arc::downgrade(lead);
        self.shared.handle.spawn(async move {
            tokio::time::sleep(shared.limits.grace).await;
            if let Some(lead) = lead.upgrade() {
                lead.collect.store(true, Ordering::Release);
                lead.woken.store(true, Ordering::Release);
                lead.ensure_running(&partition, &shared);
            }
        });
    }
}
