//! What a file holds, and what of it is on the disk: decides what a power cut leaves of writes that were not flushed.

use tidelog_model::Timestamp;

use crate::sim::SimRandom;

/// What disks write in one piece, bytes.
const SECTOR: u64 = 512;

/// The bytes of one file.
#[derive(Debug)]
pub(super) struct Content {
    pub(super) bytes: Vec<u8>,
    /// Names and times are the journal's business: a power cut leaves it.
    pub(super) modified: Timestamp,
    durable: Vec<u8>,
    changes: Vec<Change>,
}

/// One change of a file.
#[derive(Clone, Debug)]
pub(super) enum Change {
    Write(u64, Vec<u8>),
    Truncate(u64),
}

impl Content {
    pub(super) fn new(at: Timestamp) -> Self {
        Content { bytes: Vec::new(), modified: at, durable: Vec::new(), changes: Vec::new() }
    }

    pub(super) fn change(&mut self, change: Change, at: Timestamp) {
        self.modified = at;
        apply(&mut self.bytes, &change);
        self.changes.push(change);
    }

    /// What was changed is on the disk; if the flush failed it never will be, though it can still be read.
    pub(super) fn flush(&mut self, succeeded: bool) {
        for change in std::mem::take(&mut self.changes) {
            // Lengths are the journal's business: a failed flush loses data only.
            if succeeded || matches!(change, Change::Truncate(_)) {
                apply(&mut self.durable, &change);
            }
        }
    }

    /// Damage behind the file system's back.
    pub(super) fn corrupt(&mut self, position: u64, bytes: &[u8]) {
        put(&mut self.bytes, position, bytes);
        put(&mut self.durable, position, bytes);
    }

    pub(super) fn power_cut(&mut self, random: &mut SimRandom) {
        let changes = std::mem::take(&mut self.changes);
        let count = changes.len();
        for (number, change) in changes.into_iter().enumerate() {
            self.keep_some(change, number + 1 == count, random);
        }
        self.bytes = self.durable.clone();
    }

    /// A change that was not flushed, in a power cut: it stays, goes, or stays in part.
    fn keep_some(&mut self, change: Change, last: bool, random: &mut SimRandom) {
        let fate = random.below(4);
        match change {
            Change::Write(position, bytes) if last && fate < 2 => {
                // Torn: whole sectors of the disk were written, in order.
                let end = position + bytes.len() as u64;
                let sectors = (end / SECTOR).saturating_sub(position / SECTOR);
                let upto = (position / SECTOR + 1 + random.below(sectors + 1)) * SECTOR;
                let kept = upto.min(end).saturating_sub(position) as usize;
                let kept = if random.chance(25) { 0 } else { kept };
                apply(&mut self.durable, &Change::Write(position, bytes.get(..kept).unwrap_or_default().to_vec()));
                if random.chance(30) && (self.durable.len() as u64) < end {
                    // The length was written, the data was not.
                    self.durable.resize(end as usize, 0);
                }
            }
            change if fate < 3 => apply(&mut self.durable, &change),
            _ => {}
        }
    }
}

fn apply(bytes: &mut Vec<u8>, change: &Change) {
    match change {
        Change::Write(position, data) => put(bytes, *position, data),
        Change::Truncate(len) => bytes.resize(*len as usize, 0),
    }
}

fn put(bytes: &mut Vec<u8>, position: u64, data: &[u8]) {
    if data.is_empty() {
        return;
    }
    let end = position as usize + data.len();
    if bytes.len() < end {
        bytes.resize(end, 0);
    }
    if let Some(place) = bytes.get_mut(position as usize..end) {
        place.copy_from_slice(data);
    }
}
