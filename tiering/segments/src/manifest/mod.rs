//! The manifest machine of one partition: decides what is remote, which version is written next and which objects may go. It
//! never touches the store, the log, a clock or chance: the shell carries out its effects and tells it what came of them.
//!
//! Versions are numbered objects, created only if absent. The contract of the shell:
//!
//! - effects are carried out one after another, each until the store has answered; only a create is sent once, and
//!   [`Event::CreateUnclear`] says that no answer came;
//! - the answer goes back through [`Manifest::apply`] before the next effect starts;
//! - whenever nothing is left to do, [`Event::Observed`] asks again.
//!
//! What always holds: ranges are adjacent and never overlap; an object is deleted only after a verified version of this writer's own
//! epoch, or a later one, does not name it; a version counts only after its predecessor was found again.

mod codec;
mod collect;
mod commit;
mod event;
mod image;
mod load;

use std::sync::Arc;
use std::time::Duration;

use tidelog_model::{LeaderEpoch, Offset};
use uuid::Uuid;

pub use codec::ManifestError;
use commit::Attempt;
pub use event::{Effect, Event, Found, Stop};
pub use image::{Change, Entry, Image, Parts, Version};
use load::Load;

use crate::keys::ObjectName;
use crate::limits::{GRACE, SNAPSHOT_EVERY, VERSIONS_KEPT};

#[cfg(test)]
mod sim;
#[cfg(test)]
mod tests;

/// Where nonces and object ids come from: random in the product, a seed in tests.
pub type Ids = Box<dyn FnMut() -> Uuid + Send>;

#[derive(Debug)]
enum State {
    /// Reading the newest version.
    Loading(Load),
    /// A version is being created; the image is what it leads to.
    Creating(Attempt),
    /// It exists: by whom?
    Settling(Attempt),
    /// It was created: does its predecessor still exist?
    Checking(Attempt),
    /// Waiting for the answer to an upload, a snapshot or a listing.
    Waiting,
    /// Nothing to do.
    Idle,
    /// Nothing more to do, ever.
    Stopped(Stop),
}

#[derive(Debug)]
enum Upload {
    None,
    /// The shell is at it; `tried` if an earlier try failed, so that the object may exist.
    Flying {
        name: ObjectName,
        from: Offset,
        tried: bool,
    },
    Ready(Box<Entry>),
}

/// How often snapshots are written and how long things are kept. All writers of a manifest have the same.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rules {
    /// Every so many versions a snapshot.
    pub snapshot_every: u64,
    /// So many newest versions are never deleted.
    pub versions_kept: u64,
    /// Age of unreferenced objects of the present epoch at which they go.
    pub grace: Duration,
}

impl Default for Rules {
    fn default() -> Self {
        Rules { snapshot_every: SNAPSHOT_EVERY, versions_kept: VERSIONS_KEPT, grace: GRACE }
    }
}

/// The machine.
pub struct Manifest {
    epoch: LeaderEpoch,
    writer: Uuid,
    ids: Ids,
    rules: Rules,
    /// The last image known to be in the store's chain.
    image: Option<Arc<Image>>,
    /// Has a version of our own epoch been verified?
    verified: bool,
    state: State,
    upload: Upload,
    /// Nothing is closed behind the last entry, as far as we know.
    quiet: bool,
    log_start: Offset,
    /// Up to here the manifest must reach, because the local log has left that to the store.
    needs_remote: Option<Offset>,
    local_epochs: Vec<(LeaderEpoch, Offset)>,
    dropping: bool,
    collected: bool,
    /// Look for unreferenced objects once more after the grace period.
    collect_again: bool,
    /// Newest snapshot known to exist, and the one before.
    snapshots: (Option<u64>, Option<u64>),
    /// Lowest version that may exist; known after a collection.
    oldest: Option<u64>,
    /// Unreferenced objects of our own.
    garbage: Vec<ObjectName>,
    /// Unreferenced objects that were too young at the last look.
    suspects: Vec<ObjectName>,
    /// Version that the store is known to have had.
    known: u64,
}

impl std::fmt::Debug for Manifest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Manifest")
            .field("epoch", &self.epoch)
            .field("number", &self.image.as_ref().map(|image| image.number))
            .field("state", &self.state)
            .field("upload", &self.upload)
            .finish_non_exhaustive()
    }
}

impl Manifest {
    /// A machine for the leader of `epoch`, and its first effects. `cached` is the last image that this machine knew, never trusted
    /// without reading the store. But a store without it or a later one is another store, or one whose volume is not there: it is not
    /// believed either. Nor is one that lacks what the log has left to it.
    pub fn lead(
        epoch: LeaderEpoch,
        writer: Uuid,
        rules: Rules,
        cached: Option<Image>,
        ids: Ids,
    ) -> (Self, Vec<Effect>) {
        let cached = cached.filter(|image| image.number > 0 && !image.dropped);
        let known = cached.as_ref().map_or(0, |image| image.number);
        let (load, effects) = Load::start(rules.snapshot_every, cached);
        let manifest = Manifest {
            epoch,
            writer,
            ids,
            rules,
            image: None,
            verified: false,
            state: State::Loading(load),
            upload: Upload::None,
            quiet: false,
            log_start: Offset::ZERO,
            needs_remote: None,
            local_epochs: Vec::new(),
            dropping: false,
            collected: false,
            // An upload of the leader before us may land after our first look.
            collect_again: true,
            snapshots: (None, None),
            oldest: None,
            garbage: Vec::new(),
            suspects: Vec::new(),
            known,
        };
        (manifest, effects)
    }

    /// A machine that only deletes the partition: it outranks every leader.
    pub fn drop_all(writer: Uuid, rules: Rules, ids: Ids) -> (Self, Vec<Effect>) {
        let (mut manifest, effects) = Self::lead(LeaderEpoch(i32::MAX), writer, rules, None, ids);
        manifest.dropping = true;
        (manifest, effects)
    }

    /// What is remote; `None` while the manifest is unknown.
    pub fn image(&self) -> Option<&Arc<Image>> {
        self.image.as_ref()
    }

    /// Why it stopped, if it did.
    pub fn stopped(&self) -> Option<Stop> {
        match self.state {
            State::Stopped(stop) => Some(stop),
            _ => None,
        }
    }

    /// Is nothing going on?
    pub fn is_idle(&self) -> bool {
        matches!(self.state, State::Idle | State::Stopped(_))
    }

    /// One step. An answer that fits no question is ignored: it was asked before a reload.
    pub fn apply(&mut self, event: Event) -> Vec<Effect> {
        if let State::Stopped(_) = self.state {
            return Vec::new();
        }
        match event {
            Event::Observed { log_start, epochs, needs_remote } => {
                self.needs_remote = needs_remote;
                self.log_start = self.log_start.max(log_start);
                self.local_epochs = epochs;
                self.quiet = false;
                self.when_idle()
            }
            Event::Collect => {
                self.collected = false;
                self.when_idle()
            }
            Event::Listed(later) => match std::mem::replace(&mut self.state, State::Waiting) {
                State::Checking(attempt) => self.checked(attempt, later.is_empty()),
                other => {
                    self.state = other;
                    self.load(Event::Listed(later))
                }
            },
            Event::SnapshotRead(_) => self.load(event),
            Event::VersionsRead(found) => match std::mem::replace(&mut self.state, State::Waiting) {
                State::Settling(attempt) => self.settle(attempt, found),
                State::Checking(attempt) => self.check(attempt, found),
                other => {
                    self.state = other;
                    self.load(Event::VersionsRead(found))
                }
            },
            Event::Created(created) => match std::mem::replace(&mut self.state, State::Waiting) {
                State::Creating(attempt) => self.created(created, attempt),
                other => {
                    self.state = other;
                    Vec::new()
                }
            },
            Event::CreateUnclear => match std::mem::replace(&mut self.state, State::Waiting) {
                State::Creating(attempt) => self.try_again(attempt),
                other => {
                    self.state = other;
                    Vec::new()
                }
            },
            Event::NothingClosed => {
                self.abandon_upload();
                self.quiet = true;
                self.advance()
            }
            Event::UploadFailed => {
                if let Upload::Flying { tried, .. } = &mut self.upload {
                    *tried = true;
                }
                self.state = State::Idle;
                Vec::new()
            }
            Event::Uploaded(entry) => {
                if let Upload::Flying { name, from, .. } = self.upload
                    && entry.object() == name
                    && entry.base == from
                {
                    self.upload = Upload::Ready(Box::new(entry));
                }
                self.advance()
            }
            Event::SnapshotWritten(number) => {
                let mut effects = Vec::new();
                if self.snapshots.0 != Some(number) {
                    let outdated = self.snapshots.1;
                    self.snapshots = (Some(number), self.snapshots.0);
                    effects.extend(outdated.map(|old| Effect::DeleteSnapshots(vec![old])));
                }
                effects.extend(self.trim());
                effects.extend(self.advance());
                effects
            }
            Event::Found(found) => {
                let mut effects = self.collect(found);
                effects.extend(self.advance());
                effects
            }
        }
    }

    fn when_idle(&mut self) -> Vec<Effect> {
        if matches!(self.state, State::Idle) { self.advance() } else { Vec::new() }
    }

    fn stop(&mut self, why: Stop) -> Vec<Effect> {
        self.state = State::Stopped(why);
        Vec::new()
    }

    fn load(&mut self, event: Event) -> Vec<Effect> {
        let State::Loading(load) = &mut self.state else { return Vec::new() };
        match load.apply(event, self.dropping) {
            load::Step::More(effects) => effects,
            load::Step::Loaded { image, snapshot } => {
                let known = self.image.as_ref().map_or(self.known, |image| image.number);
                let lacks = image.number < known || self.needs_remote.is_some_and(|end| image.next < end);
                if lacks && !image.dropped && !self.dropping {
                    return self.stop(Stop::Gone);
                }
                if self.snapshots.0 < snapshot {
                    self.snapshots = (snapshot, None);
                }
                self.adopt(image)
            }
        }
    }

    /// Takes over an image that was found in the store.
    fn adopt(&mut self, image: Image) -> Vec<Effect> {
        let (epoch, dropped) = (image.epoch, image.dropped);
        self.image = Some(Arc::new(image));
        if dropped && !self.dropping {
            return self.stop(Stop::Dropped);
        }
        if epoch > self.epoch {
            let image = self.image.clone();
            return self.fenced(image.as_deref());
        }
        self.advance()
    }

    /// Everything again from the store: what we know may be old.
    fn reload(&mut self) -> Vec<Effect> {
        let (load, effects) = Load::start(self.rules.snapshot_every, None);
        self.state = State::Loading(load);
        effects
    }

    /// Decides the next thing to do.
    fn advance(&mut self) -> Vec<Effect> {
        let Some(image) = self.image.clone() else { return self.reload() };
        if self.dropping {
            if image.dropped {
                self.state = State::Stopped(Stop::Dropped);
                return vec![Effect::DeleteAll];
            }
            return self.create(&image, vec![Change::Drop]);
        }
        self.drop_stale_upload(&image);
        let changes = self.changes(&image);
        let leads = self.verified && image.epoch == self.epoch;
        let pressing = !leads || changes.iter().any(|change| matches!(change, Change::Cut(_) | Change::Add(_)));
        if pressing {
            return self.create(&image, changes);
        }
        self.state = State::Waiting;
        if !self.garbage.is_empty() {
            let mut effects = vec![Effect::DeleteObjects(std::mem::take(&mut self.garbage))];
            effects.extend(self.advance());
            return effects;
        }
        if !self.collected {
            return vec![Effect::ListObjects];
        }
        if std::mem::take(&mut self.collect_again) {
            let mut effects = vec![Effect::CollectLater];
            effects.extend(self.advance());
            return effects;
        }
        if !self.quiet {
            return vec![self.next_upload(&image)];
        }
        if changes.is_empty() {
            self.state = State::Idle;
            return Vec::new();
        }
        // A removal alone waits until nothing is left to upload, so that in steady state it travels with an addition.
        self.create(&image, changes)
    }

    fn next_upload(&mut self, image: &Image) -> Effect {
        let from = image.next.max(self.log_start);
        let (name, tried) = match self.upload {
            Upload::Flying { name, from: at, tried } if at == from => (name, tried),
            _ => (ObjectName { base: from, epoch: self.epoch, id: (self.ids)() }, false),
        };
        self.upload = Upload::Flying { name, from, tried };
        Effect::Upload { name, from }
    }

    /// The changes that the image needs now.
    fn changes(&self, image: &Image) -> Vec<Change> {
        let mut changes = Vec::new();
        let mut next = image.next;
        if let Some(at) = image.divergence(&self.local_epochs) {
            changes.push(Change::Cut(at));
            next = next.min(at);
        }
        let addition = match &self.upload {
            Upload::Ready(entry) => Some(entry),
            _ => None,
        };
        let below = addition.map_or(self.log_start, |entry| self.log_start.min(entry.base));
        let removes = image.entries.first().is_some_and(|first| first.end <= below && first.base < next);
        // An addition beyond the end means that what lies between was past retention before it was uploaded.
        if removes || addition.is_some_and(|entry| entry.base > next) {
            changes.push(Change::Remove(below));
        }
        changes.extend(addition.map(|entry| Change::Add((**entry).clone())));
        changes
    }

    /// Gives up an upload that the image has no place for, or has already.
    fn drop_stale_upload(&mut self, image: &Image) {
        let next = image.divergence(&self.local_epochs).map_or(image.next, |at| at.min(image.next));
        let begins = next.max(self.log_start);
        match &self.upload {
            Upload::Ready(entry) if image.names(&entry.object()) => self.upload = Upload::None,
            Upload::Ready(entry) => {
                // The log start may have moved into the entry since: it still begins where the manifest can follow it.
                let follows = entry.base == next || (entry.base > next && entry.base <= self.log_start);
                if !follows || entry.end <= begins {
                    self.abandon_upload();
                }
            }
            Upload::Flying { from, .. } if *from != begins => self.abandon_upload(),
            Upload::Flying { .. } | Upload::None => {}
        }
    }

    fn abandon_upload(&mut self) {
        match std::mem::replace(&mut self.upload, Upload::None) {
            Upload::None | Upload::Flying { tried: false, .. } => {}
            Upload::Flying { name, .. } => {
                self.garbage.push(name);
                // A put whose answer was lost may still be on its way.
                self.collect_again = true;
            }
            Upload::Ready(entry) => self.garbage.push(entry.object()),
        }
    }

    /// Another leader writes now. What we put and no version names can go: only we could have named it.
    fn fenced(&mut self, image: Option<&Image>) -> Vec<Effect> {
        self.abandon_upload();
        let garbage = std::mem::take(&mut self.garbage);
        let unnamed: Vec<ObjectName> =
            garbage.into_iter().filter(|name| !image.is_some_and(|image| image.names(name))).collect();
        self.state = State::Stopped(Stop::Fenced);
        if unnamed.is_empty() { Vec::new() } else { vec![Effect::DeleteObjects(unnamed)] }
    }
}
