//! Writing one version: created only if absent, settled by reading when the answer is unclear, and believed only after its
//! predecessor was found again.
//!
//! Every try has a nonce of its own. A try whose answer was lost may have succeeded, been built upon and been deleted with the old
//! versions before the next one: if that repeated the same bytes, the number would be taken again by what looks like the original,
//! and the check of another paused writer would pass.

use std::sync::Arc;

use uuid::Uuid;

use crate::limits::MAX_TRIED;

use super::{Change, Effect, Image, Manifest, ManifestError, ObjectName, State, Upload, Version};

/// One version on its way into the store.
#[derive(Debug)]
pub(super) struct Attempt {
    version: Version,
    /// The manifest after it.
    after: Arc<Image>,
    /// Nonces of earlier tries of the same version.
    tried: Vec<Uuid>,
}

impl Manifest {
    pub(super) fn create(&mut self, image: &Arc<Image>, changes: Vec<Change>) -> Vec<Effect> {
        self.attempt(image, changes, Vec::new())
    }

    fn attempt(&mut self, image: &Arc<Image>, changes: Vec<Change>, tried: Vec<Uuid>) -> Vec<Effect> {
        let version = Version {
            number: image.number.saturating_add(1),
            epoch: self.epoch,
            writer: self.writer,
            nonce: (self.ids)(),
            previous: image.nonce,
            changes,
        };
        match image.followed_by(&version) {
            Ok(after) => {
                let after = Arc::new(after);
                self.state = State::Creating(Attempt { version: version.clone(), after, tried });
                vec![Effect::Create(version)]
            }
            Err(error) => {
                // Only an upload of ours can be at fault: without it the next try is sound.
                self.abandon_upload();
                let mut effects = vec![Effect::Troubled(error.to_string())];
                effects.extend(self.reload());
                effects
            }
        }
    }

    /// The same version once more, under a new nonce.
    pub(super) fn try_again(&mut self, attempt: Attempt) -> Vec<Effect> {
        let Some(image) = self.image.clone() else { return self.reload() };
        let Attempt { version, mut tried, .. } = attempt;
        if tried.len() >= MAX_TRIED {
            // If that one succeeded after all, it is found as a version of ours when the newest is read.
            tried.remove(0);
        }
        tried.push(version.nonce);
        self.attempt(&image, version.changes, tried)
    }

    pub(super) fn created(&mut self, created: bool, attempt: Attempt) -> Vec<Effect> {
        if created {
            return self.check_predecessor(attempt);
        }
        let number = attempt.version.number;
        self.state = State::Settling(attempt);
        vec![Effect::ReadVersions { first: number, last: number }]
    }

    fn check_predecessor(&mut self, attempt: Attempt) -> Vec<Effect> {
        let number = attempt.version.number;
        self.state = State::Checking(attempt);
        match number.checked_sub(1) {
            // The first version has no predecessor; but if it had been deleted before, there are later ones.
            None | Some(0) => vec![Effect::ListVersions { after: number }],
            Some(before) => vec![Effect::ReadVersions { first: before, last: before }],
        }
    }

    /// A version with our number exists. Absent after all: try again. One of our nonces: ours. Otherwise another was faster: read the
    /// newest, and stop if its epoch is higher, or begin again from there.
    pub(super) fn settle(
        &mut self,
        attempt: Attempt,
        found: Vec<(u64, Result<Version, ManifestError>)>,
    ) -> Vec<Effect> {
        let there = match found.into_iter().find(|(number, _)| *number == attempt.version.number) {
            None => return self.try_again(attempt),
            Some((_, Ok(there))) => there,
            Some((_, Err(_))) => return self.reload(),
        };
        let ours = there.nonce == attempt.version.nonce || attempt.tried.contains(&there.nonce);
        match self.image.as_ref().map(|image| image.followed_by(&there)) {
            Some(Ok(after)) if ours => {
                self.check_predecessor(Attempt { version: there, after: Arc::new(after), tried: Vec::new() })
            }
            // Another's. It may even be one that is not in the chain, so the newest decides what comes next.
            _ => self.reload(),
        }
    }

    /// Ours was created. If its predecessor is gone, our number had been used and deleted before: the version is not in the chain.
    pub(super) fn check(&mut self, attempt: Attempt, found: Vec<(u64, Result<Version, ManifestError>)>) -> Vec<Effect> {
        let there = found.into_iter().find_map(|(_, found)| found.ok());
        let holds = there.is_some_and(|before| before.nonce == attempt.version.previous);
        self.checked(attempt, holds)
    }

    /// The proof is there, or not.
    pub(super) fn checked(&mut self, attempt: Attempt, holds: bool) -> Vec<Effect> {
        if holds {
            return self.committed(attempt.after);
        }
        if attempt.version.number == 1 {
            // Others may have built upon it.
            return self.reload();
        }
        let mut effects = vec![Effect::DeleteVersions(vec![attempt.version.number])];
        effects.extend(self.reload());
        effects
    }

    fn committed(&mut self, image: Arc<Image>) -> Vec<Effect> {
        let before = self.image.replace(Arc::clone(&image));
        self.verified = true;
        if matches!(&self.upload, Upload::Ready(entry) if image.names(&entry.object())) {
            self.upload = Upload::None;
        }
        let mut effects = vec![Effect::Committed(Arc::clone(&image))];
        if self.dropping {
            effects.extend(self.advance());
            return effects;
        }
        let unnamed: Vec<ObjectName> = before
            .iter()
            .flat_map(|before| &before.entries)
            .map(|entry| entry.object())
            .filter(|object| !image.names(object))
            .collect();
        self.garbage.extend(unnamed);
        if image.number.is_multiple_of(self.rules.snapshot_every) {
            self.state = State::Waiting;
            effects.push(Effect::WriteSnapshot(image));
        } else {
            effects.extend(self.advance());
        }
        effects
    }
}
