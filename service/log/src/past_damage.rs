//! Reading on behind damage: finds the batch with an offset where the headers before it, or its own, cannot be followed, and says what is
//! lost if there is none. For whoever has met damage; it verifies all that it passes.

use std::io;
use std::path::Path;

use tidelog_model::Offset;

use crate::disk::Disk;
use crate::read::Reader;
use crate::scan::{Located, Searched, find_valid_batch};
use crate::survey::{Damaged, Piece, Survey};
use crate::view::LogView;
use crate::{FileSlice, ReadError};

/// What lies at an offset at which a read met damage.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PastDamage {
    /// A batch that is as it was written and contains the offset.
    Sound {
        /// Its bytes.
        slice: FileSlice,
        /// Its first offset.
        base: Offset,
        /// The offset behind it.
        next: Offset,
    },
    /// What has the offset is not as it was written.
    Lost {
        /// The first offset that is lost, as far as anybody can tell.
        start: Offset,
        /// Where to read on: no sound batch between has an offset below. Above the offset asked for.
        end: Offset,
        /// What is wrong.
        reason: String,
    },
    /// Nobody can tell.
    Unknown,
}

/// What a walk has found.
#[derive(Default, Debug)]
pub(crate) struct Found {
    /// The first sound batch that ends after the target.
    pub(crate) sound: Option<Located>,
    /// The offset behind the last sound batch before it.
    before: Option<Offset>,
    /// The first damage between them.
    damaged: Option<Damaged>,
    /// There may be one that was not found.
    is_lost: bool,
}

impl Reader {
    /// The first sound batch that ends after `target`, from `start` on, where a batch begins or began.
    pub(crate) fn sound_from(&self, start: u64, target: Offset) -> Result<Found, ReadError> {
        let mut survey = Survey::new(&*self.log, start, self.size, self.base..self.end);
        let mut found = Found { before: Some(self.base).filter(|_| start == 0), ..Found::default() };
        while let Some(piece) = survey.next().map_err(ReadError::io(&self.path))? {
            match piece {
                Piece::Sound(located) if located.header.last_offset() >= target => {
                    found.sound = Some(located);
                    break;
                }
                Piece::Sound(located) => (found.before, found.damaged) = (Some(located.header.next_offset()), None),
                Piece::Damaged(damaged) => drop(found.damaged.get_or_insert(damaged)),
            }
        }
        found.is_lost = survey.is_lost();
        Ok(found)
    }

    /// `None` if this segment has nothing at or behind `from`.
    fn past_damage(&self, from: Offset, up_to: Offset) -> Result<Option<PastDamage>, ReadError> {
        let found = self.sound_from(self.approach(from).0, from)?;
        let sound = found.sound.filter(|sound| sound.header.next_offset() <= up_to);
        if let Some(sound) = sound.filter(|sound| sound.header.base_offset <= from) {
            let (base, next) = (sound.header.base_offset, sound.header.next_offset());
            return Ok(Some(PastDamage::Sound { slice: self.slice(sound.position, sound.end()), base, next }));
        }
        if found.is_lost || found.sound.is_some() && found.damaged.is_none() {
            return Ok(Some(PastDamage::Unknown));
        }
        let Some(damaged) = found.damaged else { return Ok(None) };
        let start = found.before.unwrap_or(from).min(from);
        let end = sound.map_or(self.end, |sound| sound.header.base_offset).min(up_to);
        Ok(Some(PastDamage::Lost { start, end, reason: damaged.reason }))
    }
}

/// The first position of a log's file at or after `from` where a batch lies whose checksum holds, with offsets from `least` on; `None` if there
/// is none, or the search was given up. For whoever looks at files without a log.
pub fn find_batch(disk: &dyn Disk, path: &Path, from: u64, least: Offset) -> io::Result<Option<u64>> {
    let file = disk.open(path, false)?;
    let found = find_valid_batch(&*file, from, file.len()?, |header| header.base_offset >= least)?;
    Ok(match found {
        Searched::Found(located) => Some(located.position),
        Searched::Nothing | Searched::GivenUp => None,
    })
}

impl LogView {
    /// What lies at `from`, where a read met damage: below `up_to`, as for [`LogView::read`].
    pub fn past_damage(&self, from: Offset, up_to: Offset) -> Result<PastDamage, ReadError> {
        let mut start = from;
        loop {
            let readers = self.readers(start, up_to, usize::MAX)?;
            for reader in &readers {
                if let Some(found) = reader.past_damage(from, up_to)? {
                    return Ok(found);
                }
            }
            match readers.last() {
                // Compaction may have left nothing in these.
                Some(last) if last.end < up_to && last.end > start => start = last.end,
                _ => return Ok(PastDamage::Unknown),
            }
        }
    }
}
