//! Walks the batches of one segment of which some may not be what was written: decides which are sound, where damage begins, and where behind
//! it the next batch lies. Nothing that a damaged batch says of itself is believed unless the next one says the same.

use std::io;
use std::ops::Range;

use tidelog_model::Offset;
use tidelog_record::{BatchError, BatchHeader};

use crate::disk::DiskFile;
use crate::scan::{Located, Scan, ScanError, Searched, find_valid_batch};

/// What lies at a place.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Piece {
    /// A batch as it was written.
    Sound(Located),
    /// Something else, up to the next piece.
    Damaged(Damaged),
}

/// A place without a sound batch.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Damaged {
    /// Where it begins.
    pub(crate) position: u64,
    /// The offset that its batch says it has, if it can have it; otherwise the first that is missing.
    pub(crate) offset: Offset,
    /// What is wrong.
    pub(crate) reason: String,
}

/// A walk from one batch on. It verifies everything that it passes.
pub(crate) struct Survey<'a> {
    file: &'a dyn DiskFile,
    scan: Scan<'a>,
    limit: u64,
    /// The offset behind the last sound batch, and the one behind the segment.
    offsets: Range<Offset>,
    position: u64,
    /// The header at the position, if it was looked at already.
    ahead: Option<Result<Option<Located>, BatchError>>,
    /// There may be batches behind the last damage, and nobody can tell where.
    lost: bool,
}

impl<'a> Survey<'a> {
    /// The pieces from `position` on, where a batch begins with an offset from `offsets` or did so; bytes from `limit` on do not exist.
    pub(crate) fn new(file: &'a dyn DiskFile, position: u64, limit: u64, offsets: Range<Offset>) -> Self {
        let scan = Scan::batches(file, position, limit);
        Survey { file, scan, limit, offsets, position, ahead: None, lost: false }
    }

    /// Where the next piece begins.
    pub(crate) const fn position(&self) -> u64 {
        self.position
    }

    /// The offset behind the last sound batch; the least possible one before the first.
    pub(crate) const fn offset(&self) -> Offset {
        self.offsets.start
    }

    /// Did it end before the segment does, because nobody can tell where the next batch begins?
    pub(crate) const fn is_lost(&self) -> bool {
        self.lost
    }

    /// The next piece; `None` at the end.
    pub(crate) fn next(&mut self) -> io::Result<Option<Piece>> {
        let ahead = match self.ahead.take() {
            Some(ahead) => ahead,
            None => self.header()?,
        };
        let (position, expected) = (self.position, self.offsets.start);
        let damaged = |offset, reason| Ok(Some(Piece::Damaged(Damaged { position, offset, reason })));
        let located = match ahead {
            Ok(Some(located)) => located,
            Ok(None) => return Ok(None),
            Err(error) => {
                self.search()?;
                return damaged(expected, error.to_string());
            }
        };
        let header = &located.header;
        match self.scan.verify(&located) {
            Ok(()) => {}
            Err(ScanError::Batch { error, .. }) => {
                let own = header.base_offset;
                let offset = if own >= expected && own < self.offsets.end { own } else { expected };
                if !self.is_confirmed(&located)? {
                    self.search()?;
                }
                return damaged(offset, error.to_string());
            }
            Err(ScanError::Io(error)) => return Err(error),
        }
        // No checksum covers the offset; that of the length holds.
        self.look_behind(&located)?;
        if !self.is_in_order(header) {
            return damaged(expected, format!("it says offset {}", header.base_offset));
        }
        self.offsets.start = header.next_offset();
        Ok(Some(Piece::Sound(located)))
    }

    /// The header where the scan is.
    fn header(&mut self) -> io::Result<Result<Option<Located>, BatchError>> {
        match self.scan.next_header() {
            Ok(header) => Ok(Ok(header)),
            Err(ScanError::Batch { error, .. }) => Ok(Err(error)),
            Err(ScanError::Io(error)) => Err(error),
        }
    }

    /// Goes on behind a batch and looks at what follows.
    fn look_behind(&mut self, located: &Located) -> io::Result<()> {
        self.position = located.end();
        self.scan.seek(self.position);
        self.ahead = Some(self.header()?);
        Ok(())
    }

    /// Does what follows a damaged batch confirm its length and its offsets? Then it is next.
    fn is_confirmed(&mut self, located: &Located) -> io::Result<bool> {
        let before = self.position;
        self.look_behind(located)?;
        let next = match &self.ahead {
            Some(Ok(Some(following))) => following.header.base_offset,
            Some(Ok(None)) => self.offsets.end,
            _ => return self.back(before),
        };
        let own = &located.header;
        match own.base_offset >= self.offsets.start && own.next_offset() == next {
            true => Ok(true),
            false => self.back(before),
        }
    }

    fn back(&mut self, position: u64) -> io::Result<bool> {
        (self.position, self.ahead) = (position, None);
        Ok(false)
    }

    /// An offset that was changed downwards is behind what was there, one that was changed upwards before what follows: the next batch then
    /// fits behind the one before.
    fn is_in_order(&self, header: &BatchHeader) -> bool {
        let Range { start, end } = self.offsets;
        if header.base_offset < start || header.next_offset() > end {
            return false;
        }
        let Some(Ok(Some(following))) = &self.ahead else { return true };
        let following = &following.header;
        let fits_without =
            following.base_offset > start.plus(header.last_offset_delta.into()) && following.next_offset() <= end;
        following.base_offset >= header.next_offset() || !fits_without
    }

    /// Goes on at the first batch behind a damaged one's first byte that can be what was written there.
    fn search(&mut self) -> io::Result<()> {
        let Range { start, end } = self.offsets;
        let fits = |header: &BatchHeader| header.base_offset >= start && header.next_offset() <= end;
        let found = find_valid_batch(self.file, self.position.saturating_add(1), self.limit, fits)?;
        self.position = match found {
            Searched::Found(located) => located.position,
            Searched::Nothing | Searched::GivenUp => self.limit,
        };
        self.lost = found == Searched::GivenUp;
        self.scan.seek(self.position);
        self.ahead = None;
        Ok(())
    }
}
