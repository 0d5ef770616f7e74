//! What a manifest says after some version: which offsets are remote and in which objects. Decides whether a version may follow.

use std::sync::Arc;

use tidelog_model::{LeaderEpoch, Offset, Timestamp};
use uuid::Uuid;

use super::codec::ManifestError;
use crate::keys::ObjectName;

/// Where the parts of a bundle end, in bytes from the object's first; each part begins where the one before ends.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Parts {
    /// Record batches, from byte 0.
    pub log: u64,
    /// Offset index.
    pub offset_index: u64,
    /// Time index.
    pub time_index: u64,
    /// Aborted transactions.
    pub transaction_index: u64,
    /// Producer snapshot.
    pub producer_snapshot: u64,
    /// Leader epochs; the footer follows.
    pub epochs: u64,
}

/// One range of offsets and the object that holds it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// First offset.
    pub base: Offset,
    /// The offset after the last one; after a cut it lies before the object's own end.
    pub end: Offset,
    /// Timestamp of the first batch.
    pub first_timestamp: Timestamp,
    /// Largest timestamp of the object.
    pub max_timestamp: Timestamp,
    /// Bytes of the whole object.
    pub size: u64,
    /// Where its parts end.
    pub parts: Parts,
    /// CRC32C of the log part.
    pub crc: u32,
    /// Leader epoch in the object's name.
    pub object_epoch: LeaderEpoch,
    /// Chance in the object's name.
    pub object_id: Uuid,
    /// Leader epochs of `[base, end)`: epoch and its first offset here, ascending.
    pub epochs: Vec<(LeaderEpoch, Offset)>,
    /// The object's transaction index is not empty.
    pub has_aborted: bool,
}

impl Entry {
    /// The object's name. A cut moves only the end, so the base is still the upload's.
    pub const fn object(&self) -> ObjectName {
        ObjectName { base: self.base, epoch: self.object_epoch, id: self.object_id }
    }

    fn is_sound(&self) -> bool {
        let parts = self.parts;
        let ends = [
            0,
            parts.log,
            parts.offset_index,
            parts.time_index,
            parts.transaction_index,
            parts.producer_snapshot,
            parts.epochs,
            self.size,
        ];
        self.base.get() >= 0 && self.end > self.base && ends.is_sorted() && self.epochs.is_sorted()
    }
}

/// One change to a manifest. A version has them in the order cut, removal, addition.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Change {
    /// Everything from this offset on was another leader's history: forget it.
    Cut(Offset),
    /// Entries that end at or before this offset are past retention.
    Remove(Offset),
    /// One more entry; begins where the manifest ends.
    Add(Entry),
    /// The topic was deleted; nothing follows.
    Drop,
}

/// One numbered version.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Version {
    /// Its number, from 1.
    pub number: u64,
    /// Leader epoch of the writer.
    pub epoch: LeaderEpoch,
    /// The process that wrote it.
    pub writer: Uuid,
    /// Chance that tells this version from any other with its number.
    pub nonce: Uuid,
    /// Nonce of the version before; zero before version 1.
    pub previous: Uuid,
    /// What it changes.
    pub changes: Vec<Change>,
}

impl Version {
    /// Is this the end of the manifest?
    pub fn is_drop(&self) -> bool {
        self.changes.contains(&Change::Drop)
    }
}

/// The manifest after version `number`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Image {
    /// Number of the last version applied; 0 is the empty manifest before the first.
    pub number: u64,
    /// Its leader epoch.
    pub epoch: LeaderEpoch,
    /// Its nonce.
    pub nonce: Uuid,
    /// Where the next upload begins: everything below is remote, past retention, or never was here.
    pub next: Offset,
    /// Entries in ascending order, adjacent.
    pub entries: Vec<Arc<Entry>>,
    /// The topic was deleted.
    pub dropped: bool,
}

impl Default for Image {
    fn default() -> Self {
        Image {
            number: 0,
            epoch: LeaderEpoch::NONE,
            nonce: Uuid::nil(),
            next: Offset::ZERO,
            entries: Vec::new(),
            dropped: false,
        }
    }
}

impl Image {
    /// First remote offset; `next` if nothing is remote.
    pub fn start(&self) -> Offset {
        self.entries.first().map_or(self.next, |entry| entry.base)
    }

    /// The entry that holds `offset`.
    pub fn entry_of(&self, offset: Offset) -> Option<&Arc<Entry>> {
        let at = self.entries.partition_point(|entry| entry.end <= offset);
        self.entries.get(at).filter(|entry| entry.base <= offset)
    }

    /// The entry that begins at `base`.
    pub fn entry_from(&self, base: Offset) -> Option<&Arc<Entry>> {
        self.entry_of(base).filter(|entry| entry.base == base)
    }

    /// Is this object named by an entry?
    pub fn names(&self, object: &ObjectName) -> bool {
        self.entry_from(object.base).is_some_and(|entry| entry.object() == *object)
    }

    /// The manifest after `version`, which must be the next one of this very chain.
    pub fn followed_by(&self, version: &Version) -> Result<Image, ManifestError> {
        if self.dropped {
            return Err(ManifestError::Chain("a version follows the deletion of the topic"));
        }
        if version.number != self.number.saturating_add(1) || version.previous != self.nonce {
            return Err(ManifestError::Chain("a version does not follow the one before"));
        }
        if version.epoch < self.epoch {
            return Err(ManifestError::Chain("a leader epoch goes back"));
        }
        let mut image = self.clone();
        (image.number, image.epoch, image.nonce) = (version.number, version.epoch, version.nonce);
        for change in &version.changes {
            image.change(change)?;
        }
        Ok(image)
    }

    fn change(&mut self, change: &Change) -> Result<(), ManifestError> {
        match change {
            Change::Cut(at) => {
                self.entries.retain(|entry| entry.base < *at);
                if let Some(last) = self.entries.last_mut()
                    && last.end > *at
                {
                    let last = Arc::make_mut(last);
                    last.end = *at;
                    last.epochs.retain(|(_, start)| start < at);
                }
                self.next = self.next.min(*at);
            }
            Change::Remove(below) => {
                self.entries.retain(|entry| entry.end > *below);
                if self.entries.is_empty() {
                    self.next = self.next.max(*below);
                }
            }
            Change::Add(entry) => {
                if !entry.is_sound() {
                    return Err(ManifestError::Malformed("an entry contradicts itself"));
                }
                if entry.base != self.next {
                    return Err(ManifestError::Chain("an entry does not begin where the manifest ends"));
                }
                self.next = entry.end;
                self.entries.push(Arc::new(entry.clone()));
            }
            Change::Drop => {
                self.entries.clear();
                self.dropped = true;
            }
        }
        Ok(())
    }

    /// Checks what [`Image::followed_by`] keeps true, for an image that was read.
    pub(super) fn is_sound(&self) -> bool {
        let adjacent = self.entries.windows(2).all(|pair| match pair {
            [a, b] => a.end == b.base,
            _ => true,
        });
        adjacent
            && self.entries.iter().all(|entry| entry.is_sound())
            && self.entries.last().is_none_or(|last| last.end == self.next)
    }

    /// The first offset below `next` at which the leader's history is another than the manifest's, if there is one.
    ///
    /// Two logs agree up to where the leader epochs of one offset first differ (KIP-101). Offsets below the leader's first known
    /// epoch cannot be compared and count as equal.
    pub fn divergence(&self, local: &[(LeaderEpoch, Offset)]) -> Option<Offset> {
        let (_, known_from) = *local.first()?;
        let from = known_from.max(self.start());
        let remote: Vec<(LeaderEpoch, Offset)> = self.entries.iter().flat_map(|e| e.epochs.iter().copied()).collect();
        let mut boundaries: Vec<Offset> =
            remote.iter().chain(local).map(|(_, start)| *start).chain([from]).filter(|o| *o >= from).collect();
        boundaries.sort_unstable();
        let differs = |at: &Offset| match (epoch_at(&remote, *at), epoch_at(local, *at)) {
            (Some(there), Some(here)) => there != here,
            _ => false,
        };
        boundaries.into_iter().take_while(|at| *at < self.next).find(differs)
    }
}

/// The epoch that wrote `offset`.
fn epoch_at(epochs: &[(LeaderEpoch, Offset)], offset: Offset) -> Option<LeaderEpoch> {
    let at = epochs.partition_point(|(_, start)| *start <= offset);
    at.checked_sub(1).and_then(|at| epochs.get(at)).map(|(epoch, _)| *epoch)
}
