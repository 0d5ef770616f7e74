//! Carries out what one leadership's machine wants, one effect after another, and tells it what came of it.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};

use tidelog_log::ReadError;
use tidelog_model::Offset;
use tidelog_objects::ObjectsError;

use super::{Lead, Partition, Shared};
use crate::keys::ObjectName;
use crate::limits::DAMAGED_BACKOFF;
use crate::manifest::{Effect, Event, Image, Manifest, Stop};
use crate::store::{Backoff, PartitionStore};
use crate::uploader::{self, UploadError};

enum Outcome {
    Idle,
    Again,
    Stopped,
}

/// Runs one leadership's machine until it is idle.
pub(super) struct Runner {
    pub(super) partition: Arc<Partition>,
    pub(super) shared: Arc<Shared>,
    /// Weak, so that the end of the leadership ends the task and not the other way round.
    pub(super) lead: Weak<Lead>,
}

impl Runner {
    pub(super) async fn run(self) {
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
                    tracing::warn!(partition = %id, error = %text, "the cold tier does not come further");
                }
                None if progress.last_error.is_some() => {
                    tracing::info!(partition = %id, "the cold tier comes further again");
                }
                _ => {}
            }
            progress.last_error = error;
        };
        PartitionStore {
            objects: self.shared.objects.clone(),
            keys: self.partition.keys.clone(),
            min_backoff: self.shared.limits.min_backoff,
            permits: Arc::clone(&self.shared.manifests),
            writes: self.partition.writes.clone(),
            report: Arc::new(report),
        }
    }

    async fn drive(&self, lead: &Arc<Lead>) -> Outcome {
        let store = self.store();
        let mut guard = lead.machine.lock().await;
        if guard.is_none() {
            let (partition, shared) = (Arc::clone(&self.partition), Arc::clone(&self.shared));
            let (epoch, deletes) = (lead.epoch, lead.source.is_none());
            let Ok(_turn) = self.shared.disk.acquire().await else { return Outcome::Again };
            let made = tokio::task::spawn_blocking(move || partition.machine(&shared, epoch, deletes)).await;
            *guard = made.ok();
        }
        let Some((machine, effects)) = &mut *guard else { return Outcome::Again };
        if lead.collect.swap(false, Ordering::AcqRel) {
            effects.extend(machine.apply(Event::Collect));
        }
        effects.extend(observe(lead, machine));
        let mut creates = Backoff::new(self.shared.limits.min_backoff);
        while let Some(effect) = effects.front().cloned() {
            if let Effect::Upload { .. } = effect {
                let _ = observe(lead, machine);
            }
            let answer = self.carry_out(lead, &store, &effect, &mut creates).await;
            effects.pop_front();
            let failed = answer == Some(Event::UploadFailed);
            if matches!(answer, Some(Event::Created(true))) {
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
                // Nothing was there but what the deletion itself has written.
                let in_vain = machine.image().is_some_and(|image| image.number <= 1);
                self.stopped(lead, stop, in_vain);
                lead.done.send_replace(Some(stop));
                Outcome::Stopped
            }
            None => Outcome::Idle,
        }
    }

    fn stopped(&self, lead: &Arc<Lead>, stop: Stop, in_vain: bool) {
        let id = &self.partition.id;
        match stop {
            Stop::Fenced => tracing::info!(partition = %id, "another leader writes the remote log now"),
            Stop::Dropped if in_vain => tracing::debug!(partition = %id, "there was nothing remote to delete"),
            Stop::Dropped => tracing::info!(partition = %id, "the remote log was deleted"),
            Stop::Gone => tracing::error!(
                partition = %id,
                store = self.shared.objects.url(),
                known = %self.partition.cache_file(&self.shared).display(),
                "the store lacks what it had of this partition: is this the right store, and is its volume mounted? \
                 Nothing is uploaded or removed until a restart finds it again; to begin anew, remove the file of the known manifest and delete \
                 the records before the local part (`tidelog records delete`)"
            ),
        }
        self.partition.while_led(lead, || {
            *self.partition.image.write() = None;
            self.partition.progress.lock().stopped = Some(stop);
        });
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
        // First the turn, then the segment: whoever waits holds no file open.
        let Ok(permit) = Arc::clone(&self.shared.uploads).acquire_owned().await else { return Event::UploadFailed };
        let find = move || source.closed_segment(from);
        let segment = match tokio::task::spawn_blocking(find).await {
            Ok(Ok(Some(segment))) => segment,
            Ok(Ok(None)) => {
                self.damaged(lead, false);
                return Event::NothingClosed;
            }
            // Nobody wakes us for it once more.
            Ok(Err(error)) => {
                self.damaged(lead, matches!(error, ReadError::Damaged { .. } | ReadError::DamagedIndex { .. }));
                (store.report)(Some(error.to_string()));
                return Event::UploadFailed;
            }
            Err(_) => return Event::UploadFailed,
        };
        self.partition.progress.lock().uploading = Some(from);
        let (objects, keys, over) = (store.objects.clone(), store.keys.clone(), Arc::clone(&lead.over));
        let putting = self.partition.writes.run(async move {
            let _permit = permit;
            uploader::upload(&objects, &keys, segment, name, from, over).await
        });
        let ended = || UploadError::Store(ObjectsError::Unavailable("the upload ended without an answer".to_owned()));
        let outcome = putting.await.unwrap_or_else(|| Err(ended()));
        self.partition.progress.lock().uploading = None;
        self.damaged(lead, matches!(outcome, Err(UploadError::Segment { .. })));
        match outcome {
            Ok(entry) => {
                (store.report)(None);
                Event::Uploaded(entry)
            }
            Err(error) => {
                (store.report)(Some(error.to_string()));
                Event::UploadFailed
            }
        }
    }

    /// Is the local segment to be uploaded next damaged?
    fn damaged(&self, lead: &Lead, damaged: bool) {
        lead.damaged.store(damaged, Ordering::Release);
        self.partition.progress.lock().blocked = damaged;
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
        let Ok(turn) = Arc::clone(&self.shared.disk).acquire_owned().await else { return };
        // A deletion removes the known manifest: not before it is written.
        let telling = self.partition.writes.run(async move {
            let _turn = turn;
            tokio::task::spawn_blocking(tell).await.is_ok()
        });
        let told = telling.await;
        if told != Some(true) {
            tracing::error!(partition = %self.partition.id, "the local log did not take note of a commit");
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

/// Shows the machine the local log as it is now.
fn observe(lead: &Lead, machine: &mut Manifest) -> Vec<Effect> {
    let Some(source) = &lead.source else { return Vec::new() };
    let epochs = source.leader_epochs().entries().iter().map(|entry| (entry.epoch, entry.start)).collect();
    machine.apply(Event::Observed { log_start: source.log_start(), epochs, needs_remote: source.needs_remote() })
}
