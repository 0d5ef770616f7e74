//! A look at closed segments as they lie on the disk: decides which batches are no longer what was written. It changes nothing and holds
//! nobody up.

use std::path::PathBuf;

use tidelog_model::Offset;

use crate::ReadError;
use crate::limits::MAX_DAMAGED_TOLD;
use crate::scan::{Scan, ScanError};
use crate::view::LogView;

/// A batch that is damaged.
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

/// What a look has shown.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Scrubbed {
    /// Here the next look goes on.
    pub next: Offset,
    /// Bytes that were read.
    pub bytes: u64,
    /// What is damaged, in order. Behind a batch whose header is damaged the rest of its segment cannot be looked at, and behind
    /// [`MAX_DAMAGED_TOLD`](crate::limits::MAX_DAMAGED_TOLD) of them it is not: it is known to be damaged.
    pub damaged: Vec<DamagedBatch>,
}

impl LogView {
    /// Verifies closed batches from `from` on, some `most` bytes of one segment; `None` if no closed segment ends after `from`. The next look
    /// begins further on: where offsets are damaged, by which it would find its place, this one takes more.
    pub fn scrub(&self, from: Offset, most: u64) -> Result<Option<Scrubbed>, ReadError> {
        let reader = {
            let state = self.shared.state.read();
            let at = state.closed.partition_point(|segment| segment.end <= from);
            let Some(segment) = state.closed.get(at) else { return Ok(None) };
            self.shared.reader(segment)?
        };
        let mut seen = Scrubbed { next: reader.end, bytes: 0, damaged: Vec::new() };
        let damaged = |offset, position, reason| DamagedBatch { offset, file: reader.path.clone(), position, reason };
        let from = from.max(reader.base);
        let start = match reader.locate(from) {
            Ok(Some(located)) => located.position,
            Ok(None) => return Ok(Some(seen)),
            Err(ReadError::Damaged { position, reason, .. }) => {
                seen.damaged.push(damaged(from, position, reason));
                return Ok(Some(seen));
            }
            Err(error) => return Err(error),
        };
        let mut scan = Scan::batches(&*reader.log, start, reader.size);
        let mut expected = from;
        // The look that ended here has told of those that stand before a batch in order; they may look like the one to begin with.
        let mut was_told = from > reader.base;
        loop {
            if seen.damaged.len() >= MAX_DAMAGED_TOLD {
                return Ok(Some(seen));
            }
            let located = match scan.next_header() {
                Ok(Some(located)) => located,
                Ok(None) => return Ok(Some(seen)),
                Err(ScanError::Batch { position, error }) => {
                    seen.damaged.push(damaged(expected, position, error.to_string()));
                    return Ok(Some(seen));
                }
                Err(error) => return Err(reader.error(error)),
            };
            let header = located.header;
            // No checksum covers the offset.
            let is_in_order = header.last_offset() >= expected && header.next_offset() <= reader.end;
            was_told &= !is_in_order;
            if was_told {
                continue;
            }
            if seen.bytes >= most && expected > from && is_in_order {
                seen.next = expected;
                return Ok(Some(seen));
            }
            seen.bytes += header.size() as u64;
            match scan.verify(&located) {
                Ok(()) if !is_in_order => {
                    seen.damaged.push(damaged(
                        expected,
                        located.position,
                        format!("it says offset {}", header.base_offset),
                    ));
                }
                Ok(()) => expected = header.next_offset(),
                Err(ScanError::Batch { position, error }) => {
                    seen.damaged.push(damaged(header.base_offset, position, error.to_string()));
                    expected = header.next_offset().clamp(expected, reader.end);
                    scan.skip(&located);
                }
                Err(error) => return Err(reader.error(error)),
            }
        }
    }
}
