//! A look at closed segments as they lie on the disk: tells which batches are no longer what was written. It changes nothing and holds
//! nobody up.

use std::path::PathBuf;

use tidelog_model::Offset;

use crate::ReadError;
use crate::cache::SegmentId;
use crate::limits::MAX_DAMAGED_TOLD;
use crate::survey::{Damaged, Piece, Survey};
use crate::view::LogView;

/// A place that is damaged: a batch, or several of which nobody can tell where one ends.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DamagedBatch {
    /// Its first offset, or the first one that cannot be found for it.
    pub offset: Offset,
    /// Its segment's file.
    pub file: PathBuf,
    /// Where it begins there, bytes.
    pub position: u64,
    /// What is wrong.
    pub reason: String,
}

/// Where a look begins: an offset, or where another one has stopped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ScrubFrom {
    offset: Offset,
    /// Offsets may be what is damaged, so that no offset leads back there.
    within: Option<(SegmentId, u64)>,
}

impl ScrubFrom {
    /// The offset behind what was found sound.
    pub const fn offset(&self) -> Offset {
        self.offset
    }
}

impl From<Offset> for ScrubFrom {
    fn from(offset: Offset) -> Self {
        ScrubFrom { offset, within: None }
    }
}

/// What a look has shown.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Scrubbed {
    /// Here the next look goes on.
    pub next: ScrubFrom,
    /// Bytes that were looked at.
    pub bytes: u64,
    /// What is damaged, in order. Behind [`MAX_DAMAGED_TOLD`](crate::limits::MAX_DAMAGED_TOLD) of them the rest of a segment is not looked
    /// at: it is known to be damaged.
    pub damaged: Vec<DamagedBatch>,
}

impl LogView {
    /// Verifies closed batches from `from` on, some `most` bytes of one segment; `None` if no closed segment ends after `from`.
    pub fn scrub(&self, from: ScrubFrom, most: u64) -> Result<Option<Scrubbed>, ReadError> {
        let (segment, reader) = {
            let state = self.shared.state.read();
            let at = state.closed.partition_point(|segment| segment.end <= from.offset);
            let Some(segment) = state.closed.get(at) else { return Ok(None) };
            (segment.id, self.shared.reader(&state, segment)?)
        };
        let (start, expected) = match from.within {
            Some((id, position)) if id == segment => (position, from.offset),
            // Compaction has put another in its place, or nobody was there yet.
            _ => (reader.hint(from.offset), reader.base),
        };
        let mut survey = Survey::new(&*reader.log, start, reader.size, expected..reader.end);
        let mut seen = Scrubbed { next: reader.end.into(), bytes: 0, damaged: Vec::new() };
        while seen.damaged.len() < MAX_DAMAGED_TOLD {
            let piece = survey.next().map_err(|source| ReadError::Io { path: reader.path.clone(), source })?;
            seen.bytes = survey.position() - start;
            match piece {
                Some(Piece::Sound(_)) => {}
                Some(Piece::Damaged(Damaged { position, offset, reason })) => {
                    seen.damaged.push(DamagedBatch { offset, file: reader.path.clone(), position, reason });
                }
                None => break,
            }
            if seen.bytes >= most && survey.offset() < reader.end {
                seen.next = ScrubFrom { offset: survey.offset(), within: Some((segment, survey.position())) };
                break;
            }
        }
        Ok(Some(seen))
    }
}
