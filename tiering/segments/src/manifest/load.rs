//! Finding the newest version: one LIST, one snapshot, the versions after it. Decides what to read; never writes.
//!
//! A version that was listed may have been deleted, and its number used again by a paused writer, before it was read. Versions are
//! deleted in ascending order, so the newest counts only once its predecessor is found after it was read.

use uuid::Uuid;

use super::codec::ManifestError;
use super::image::{Image, Version};
use super::{Effect, Event};

/// One load at work.
#[derive(Debug)]
pub(super) struct Load {
    snapshot_every: u64,
    /// An image to start from, if the store agrees with it.
    cached: Option<Image>,
    /// Newest version found.
    newest: u64,
    /// What the versions read next are applied to.
    base: Option<Image>,
    /// The snapshot that `base` came from.
    snapshot: Option<u64>,
    /// What was loaded, and the nonce that its predecessor must have.
    loaded: Option<(Image, Uuid)>,
}

/// What a load says next.
pub(super) enum Step {
    /// Carry these out.
    More(Vec<Effect>),
    /// This is the newest.
    Loaded {
        /// The manifest.
        image: Image,
        /// A snapshot that exists.
        snapshot: Option<u64>,
    },
}

impl Load {
    /// Begins with a listing: after the cached version, or of everything.
    pub(super) fn start(snapshot_every: u64, cached: Option<Image>) -> (Self, Vec<Effect>) {
        let after = cached.as_ref().map_or(0, |image| image.number);
        (
            Load { snapshot_every, cached, newest: 0, base: None, snapshot: None, loaded: None },
            vec![Effect::ListVersions { after }],
        )
    }

    pub(super) fn apply(&mut self, event: Event, dropping: bool) -> Step {
        match event {
            Event::Listed(numbers) if self.loaded.is_some() => self.confirmed(numbers.is_empty()),
            Event::Listed(numbers) => self.listed(&numbers, dropping),
            Event::SnapshotRead(found) => self.snapshot_read(found),
            Event::VersionsRead(found) => match &self.loaded {
                Some((_, previous)) => {
                    let there = found.first().and_then(|(_, version)| version.as_ref().ok());
                    let same = there.is_some_and(|version| version.nonce == *previous);
                    self.confirmed(same)
                }
                None => self.versions_read(&found, dropping),
            },
            _ => Step::More(Vec::new()),
        }
    }

    /// From the beginning, without the cache, which the store contradicts.
    fn again(&mut self, why: Option<String>) -> Step {
        let (load, effects) = Load::start(self.snapshot_every, None);
        *self = load;
        let mut all: Vec<Effect> = why.map(Effect::Troubled).into_iter().collect();
        all.extend(effects);
        Step::More(all)
    }

    fn listed(&mut self, numbers: &[u64], dropping: bool) -> Step {
        match (numbers.last().copied(), &self.cached) {
            (None, None) => Step::Loaded { image: Image::default(), snapshot: None },
            // Nothing newer: the cached one counts if it is still there.
            (None, Some(cached)) => {
                self.newest = cached.number;
                Step::More(vec![Effect::ReadVersions { first: cached.number, last: cached.number }])
            }
            (Some(newest), cached) => {
                self.newest = newest;
                if dropping {
                    // A partition that is to be deleted needs no history, and may have none any more.
                    return Step::More(vec![Effect::ReadVersions { first: newest, last: newest }]);
                }
                match cached {
                    Some(cached) => {
                        let first = cached.number.saturating_add(1);
                        self.base = Some(cached.clone());
                        Step::More(vec![Effect::ReadVersions { first, last: newest }])
                    }
                    None => self.read_from(newest - newest % self.snapshot_every.max(1)),
                }
            }
        }
    }

    /// Reads the snapshot with this number, or from the very beginning if there is none below.
    fn read_from(&mut self, snapshot: u64) -> Step {
        if snapshot == 0 {
            self.base = Some(Image::default());
            self.snapshot = None;
            return Step::More(vec![Effect::ReadVersions { first: 1, last: self.newest }]);
        }
        self.snapshot = Some(snapshot);
        Step::More(vec![Effect::ReadSnapshot(snapshot)])
    }

    fn snapshot_read(&mut self, found: Option<Result<Image, ManifestError>>) -> Step {
        let number = self.snapshot.unwrap_or(0);
        match found {
            Some(Ok(image)) if image.number == number => {
                self.base = Some(image);
                // The newest version is read in any case: it may be the drop.
                let first = number.saturating_add(1).min(self.newest);
                Step::More(vec![Effect::ReadVersions { first, last: self.newest }])
            }
            Some(Err(error @ ManifestError::Format(_))) => self.again(Some(error.to_string())),
            // Not written, or damaged: the one before has everything that it had.
            _ => self.read_from(number.saturating_sub(self.snapshot_every)),
        }
    }

    fn versions_read(&mut self, found: &[(u64, Result<Version, ManifestError>)], dropping: bool) -> Step {
        let newest = match found.last() {
            Some((number, Ok(version))) if *number == self.newest => version,
            Some((_, Err(error))) => return self.again(Some(error.to_string())),
            _ if self.cached.is_some() => return self.again(None),
            _ => return self.again(Some("a manifest version vanished while it was read".to_owned())),
        };
        if newest.is_drop() || dropping {
            let dropped = newest.is_drop();
            let image =
                Image { number: newest.number, epoch: newest.epoch, nonce: newest.nonce, dropped, ..Image::default() };
            // The predecessors of a drop are deleted with everything else.
            return if dropped { Step::Loaded { image, snapshot: None } } else { self.confirm(image, newest.previous) };
        }
        if self.base.is_none() {
            // The cached image against the version of its number.
            return match self.cached.take() {
                Some(cached) if cached.nonce == newest.nonce => Step::Loaded { image: cached, snapshot: None },
                _ => self.again(None),
            };
        }
        match self.replay(found) {
            Ok(image) => self.confirm(image, newest.previous),
            Err(_) if self.cached.is_some() => self.again(None),
            Err(error) => self.again(Some(error.to_string())),
        }
    }

    /// Asks for what proves that the newest version is in the chain.
    fn confirm(&mut self, image: Image, previous: Uuid) -> Step {
        let number = image.number;
        self.loaded = Some((image, previous));
        Step::More(vec![match number.checked_sub(1) {
            None | Some(0) => Effect::ListVersions { after: number },
            Some(before) => Effect::ReadVersions { first: before, last: before },
        }])
    }

    fn confirmed(&mut self, holds: bool) -> Step {
        match self.loaded.take() {
            Some((image, _)) if holds => Step::Loaded { image, snapshot: self.snapshot },
            _ => self.again(Some("the newest manifest version was not the newest any more".to_owned())),
        }
    }

    fn replay(&mut self, found: &[(u64, Result<Version, ManifestError>)]) -> Result<Image, ManifestError> {
        let mut image = self.base.take().unwrap_or_default();
        for (number, version) in found {
            let version = version.as_ref().map_err(Clone::clone)?;
            if *number == image.number {
                if version.nonce != image.nonce {
                    return Err(ManifestError::Chain("a snapshot is not of the chain"));
                }
                continue;
            }
            image = image.followed_by(version)?;
        }
        if image.number == self.newest { Ok(image) } else { Err(ManifestError::Chain("versions are missing")) }
    }
}
