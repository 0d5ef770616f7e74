//! Reading whole batches by offset: index lookup, a short scan, file slices. It never returns half a batch, nothing at or
//! after `up_to`, and holds no lock while it reads from the disk.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tidelog_model::Offset;

use crate::disk::DiskFile;
use crate::index::OffsetIndexFile;
use crate::names::{Kind, Stage};
use crate::scan::{Located, Scan, ScanError};
use crate::state::{Segment, Shared, State};
use crate::view::LogView;
use crate::{FileSlice, ReadError};

/// Most segments that one read touches: each costs descriptors and lookups, and a fetch comes again.
const MAX_SEGMENTS_PER_READ: usize = 8;

/// Entries of an index file, backwards, that are tried before nobody believes it any more: where a disk has lost a page or two of the log, the
/// index is still right.
const MAX_ENTRIES_TRIED: usize = 8;

/// How a segment finds the first batch that ends after an offset.
type Locate = fn(&Reader, Offset) -> Result<Option<Located>, ReadError>;

/// Whole batches, ready to be sent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LogRead {
    /// Consecutive batches, the first of which contains the offset asked for; empty if nothing fits.
    pub slices: Vec<FileSlice>,
    /// Base offset of the first batch; the offset asked for if there is none.
    pub base: Offset,
    /// The offset after the last batch returned; the offset asked for if there is none.
    pub next: Offset,
}

impl LogRead {
    /// Bytes of all slices.
    pub fn len(&self) -> usize {
        self.slices.iter().map(|slice| slice.len).sum()
    }

    /// Is there nothing to read (yet)?
    pub fn is_empty(&self) -> bool {
        self.slices.is_empty()
    }

    /// Takes what fits from these segments; true if a limit ended it.
    fn fill(
        &mut self,
        locate: Locate,
        readers: &[Reader],
        up_to: Offset,
        max_bytes: usize,
        min_one: bool,
    ) -> Result<bool, ReadError> {
        let mut left = max_bytes as u64;
        for reader in readers {
            let first = match locate(reader, self.next) {
                // What lies before damage is read first.
                Err(ReadError::Damaged { .. }) if !self.is_empty() => return Ok(true),
                first => first?,
            };
            let Some(first) = first else { continue };
            let size = first.header.size() as u64;
            if first.header.next_offset() > up_to || (size > left && !(min_one && self.is_empty())) {
                return Ok(true);
            }
            let (end, next) = reader.extend(&first, up_to, left)?;
            if self.is_empty() {
                self.base = first.header.base_offset;
            }
            self.slices.push(reader.slice(first.position, end));
            self.next = next;
            left = left.saturating_sub(end - first.position);
            if next < reader.end || left == 0 {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// One segment as a reader sees it, taken under the lock.
#[derive(Debug)]
pub(crate) struct Reader {
    pub(crate) base: Offset,
    pub(crate) end: Offset,
    pub(crate) size: u64,
    pub(crate) log: Arc<dyn DiskFile>,
    pub(crate) path: PathBuf,
    /// May offsets be missing because compaction has taken them?
    thinned: bool,
    lookup: Lookup,
}

#[derive(Debug)]
enum Lookup {
    /// The active segment: looked up under the lock, as positions from which to scan.
    Known { from: u64, up_to: u64, limit: u64 },
    /// A closed segment: searched on disk when needed.
    OnDisk(Arc<Segment>, Option<Arc<dyn DiskFile>>),
}

impl Shared {
    /// Opens a file of a closed segment through the cache.
    pub(crate) fn open(&self, segment: &Segment, kind: Kind) -> std::io::Result<Arc<dyn DiskFile>> {
        let open = |stage| self.cache.get(&*self.disk, segment.id, kind, &self.path(segment.base, kind, stage));
        match open(segment.stage) {
            // Compaction is just giving its files their last names.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && segment.stage == Stage::Swap => {
                open(Stage::Live)
            }
            other => other,
        }
    }

    /// A reader of a closed segment. Call under the lock, so that compaction cannot swap files in between.
    pub(crate) fn reader(&self, state: &State, segment: &Arc<Segment>) -> Result<Reader, ReadError> {
        let path = self.path(segment.base, Kind::Log, segment.stage);
        let log = self.open(segment, Kind::Log).map_err(ReadError::io(&path))?;
        // Without its index a segment is slower to read, not unreadable.
        let index =
            if segment.index_refuted.load(Ordering::Relaxed) { None } else { self.open(segment, Kind::Index).ok() };
        let (base, end, size) = (segment.base, segment.end, segment.size);
        let (thinned, lookup) = (state.thinned, Lookup::OnDisk(Arc::clone(segment), index));
        Ok(Reader { base, end, size, log, path, thinned, lookup })
    }

    /// A reader of the active segment that will look for `from`, `up_to` and, from there, `max_bytes`.
    pub(crate) fn active_reader(&self, state: &State, from: Offset, up_to: Offset, max_bytes: usize) -> Reader {
        let active = &state.active;
        let from = active.index.position_of(from);
        Reader {
            base: active.base,
            end: active.end,
            size: active.size,
            log: Arc::clone(&active.file),
            path: self.path(active.base, Kind::Log, Stage::Live),
            thinned: state.thinned,
            lookup: Lookup::Known {
                from,
                up_to: active.index.position_of(up_to),
                limit: active.index.boundary_before(from.saturating_add(max_bytes as u64)),
            },
        }
    }
}

impl Reader {
    /// Bytes `[start, end)` of this segment.
    pub(crate) fn slice(&self, start: u64, end: u64) -> FileSlice {
        FileSlice { file: Arc::clone(&self.log), position: start, len: end.saturating_sub(start) as usize }
    }

    /// A position from which a scan finds the batch that contains `target`.
    pub(crate) fn hint(&self, target: Offset) -> u64 {
        match &self.lookup {
            Lookup::Known { from, .. } => *from,
            Lookup::OnDisk(segment, index) => {
                let look = |index: &mut OffsetIndexFile| index.position_of(segment.base, target);
                self.in_index(segment, index, look, |base| base <= target)
            }
        }
    }

    /// The first batch that ends after `target`; `None` if this segment has none. Where headers do not lead to it checksums are looked at.
    pub(crate) fn locate(&self, target: Offset) -> Result<Option<Located>, ReadError> {
        let (before, found) = self.approach(target);
        let is_doubtful = match &found {
            Ok(Some(located)) => self.leads_past(located, target),
            Ok(None) | Err(ScanError::Io(_)) => false,
            Err(ScanError::Batch { .. }) => true,
        };
        if !is_doubtful {
            return found.map_err(|error| self.error(error));
        }
        // From there on a header is damaged: the target lies before that, in it, or behind it.
        let sound = self.sound_from(before, target)?.sound;
        match sound {
            Some(sound) if sound.header.base_offset <= target => Ok(Some(sound)),
            _ => {
                let end = sound.map_or(self.end, |sound| sound.header.base_offset);
                found.map_err(|error| self.error_up_to(error, end))
            }
        }
    }

    /// The same by headers alone: it takes no longer where they are damaged, and is an error where [`Reader::locate`] would search.
    fn locate_by_headers(&self, target: Offset) -> Result<Option<Located>, ReadError> {
        match self.approach(target).1 {
            Ok(Some(located)) if self.leads_past(&located, target) => Err(ReadError::Damaged {
                path: self.path.clone(),
                position: located.position,
                end: self.end,
                reason: format!("no header leads to offset {target}"),
            }),
            found => found.map_err(|error| self.error(error)),
        }
    }

    /// Is something missing before this batch? A length that was changed may lead from batch to batch.
    fn leads_past(&self, located: &Located, target: Offset) -> bool {
        !self.thinned && located.header.base_offset > target
    }

    /// Goes by headers towards the first batch that ends after `target`; with the last batch that was passed before it.
    pub(crate) fn approach(&self, target: Offset) -> (u64, Result<Option<Located>, ScanError>) {
        let mut before = self.hint(target);
        let mut scan = Scan::headers(&*self.log, before, self.size);
        loop {
            match scan.next_header() {
                Ok(Some(located)) if located.header.last_offset() < target => before = located.position,
                found => return (before, found),
            }
        }
    }

    /// The end of the batches that follow `first` within `max_bytes` and below `up_to`, and the offset after them.
    fn extend(&self, first: &Located, up_to: Offset, max_bytes: u64) -> Result<(u64, Offset), ReadError> {
        let limit = first.position.saturating_add(max_bytes);
        if up_to >= self.end && limit >= self.size {
            return Ok((self.size, self.end));
        }
        let known = match &self.lookup {
            Lookup::Known { up_to, limit, .. } => (*up_to).min(*limit),
            Lookup::OnDisk(segment, index) => {
                let look = |index: &mut OffsetIndexFile| {
                    Ok(index.position_of(segment.base, up_to)?.min(index.boundary_before(limit)?))
                };
                self.in_index(segment, index, look, |base| base <= up_to)
            }
        };
        // Everything before a known boundary at or below both limits is wanted: no need to look at it.
        let (mut end, mut next) = (first.end(), first.header.next_offset());
        let mut scan = Scan::headers(&*self.log, known.max(end), self.size);
        loop {
            let located = match scan.next_header() {
                Ok(Some(located)) => located,
                // What lies before damage is read first.
                Ok(None) | Err(ScanError::Batch { .. }) => break,
                Err(error) => return Err(self.error(error)),
            };
            if located.position > end {
                (end, next) = (located.position, located.header.base_offset);
            }
            if located.end() > limit || located.header.next_offset() > up_to {
                break;
            }
            (end, next) = (located.end(), located.header.next_offset());
        }
        Ok((end, next))
    }

    /// A position that an index file tells, if a fitting batch really begins there, or else that of an entry before it; otherwise the front of
    /// the segment.
    fn in_index(
        &self,
        segment: &Segment,
        index: &Option<Arc<dyn DiskFile>>,
        look: impl FnOnce(&mut OffsetIndexFile) -> io::Result<u64>,
        fits: impl Fn(Offset) -> bool,
    ) -> u64 {
        let Some(mut index) = index.as_ref().and_then(|index| OffsetIndexFile::open(Arc::clone(index)).ok()) else {
            return 0;
        };
        let Ok(told) = look(&mut index) else { return 0 };
        let mut position = told;
        for _ in 0..MAX_ENTRIES_TRIED {
            // The front needs no index.
            let Some(before) = position.checked_sub(1) else { return 0 };
            let found = Scan::headers(&*self.log, position, self.size).next_header();
            if let Ok(Some(located)) = found
                && located.header.base_offset >= self.base
                && fits(located.header.base_offset)
            {
                return position;
            }
            // The index is wrong, or it is the log that is damaged there.
            let Ok(earlier) = index.boundary_before(before) else { return 0 };
            position = earlier;
        }
        if !segment.index_refuted.swap(true, Ordering::Relaxed) {
            tracing::warn!(segment = %self.path.display(), position = told, "the offset index is wrong and no longer used");
        }
        0
    }

    /// The next header of a scan, with its errors told as a reader's.
    pub(crate) fn step(&self, scan: &mut Scan<'_>) -> Result<Option<Located>, ReadError> {
        scan.next_header().map_err(|error| self.error(error))
    }

    pub(crate) fn error(&self, error: ScanError) -> ReadError {
        self.error_up_to(error, self.end)
    }

    /// The same where somebody has looked for the next sound batch: it, or the segment's end, is at `end`.
    fn error_up_to(&self, error: ScanError, end: Offset) -> ReadError {
        match error {
            ScanError::Io(source) => ReadError::Io { path: self.path.clone(), source },
            ScanError::Batch { position, error } => {
                ReadError::Damaged { path: self.path.clone(), position, end, reason: error.to_string() }
            }
        }
    }
}

impl LogView {
    /// Whole batches from the one that contains `from` on, at most `max_bytes` in all and all of them below `up_to` (the
    /// high watermark, the last stable offset or the log's end).
    ///
    /// With `min_one` the first batch comes even if it is larger than `max_bytes`. `from` at or after `up_to` but not
    /// beyond the log's end is an empty read.
    ///
    /// Where damaged headers do not lead to `from` it looks for the batch by checksums, which can take seconds.
    pub fn read(&self, from: Offset, up_to: Offset, max_bytes: usize, min_one: bool) -> Result<LogRead, ReadError> {
        self.read_with(Reader::locate, from, up_to, max_bytes, min_one)
    }

    /// The same for whoever must not be held up: [`ReadError::Damaged`] only says that headers do not lead to `from`, so that
    /// [`LogView::read`] is to look.
    pub fn read_by_headers(
        &self,
        from: Offset,
        up_to: Offset,
        max_bytes: usize,
        min_one: bool,
    ) -> Result<LogRead, ReadError> {
        self.read_with(Reader::locate_by_headers, from, up_to, max_bytes, min_one)
    }

    fn read_with(
        &self,
        locate: Locate,
        from: Offset,
        up_to: Offset,
        max_bytes: usize,
        min_one: bool,
    ) -> Result<LogRead, ReadError> {
        let mut read = LogRead { slices: Vec::new(), base: from, next: from };
        let mut start = from;
        loop {
            let readers = self.readers(start, up_to, max_bytes)?;
            let ended = read.fill(locate, &readers, up_to, max_bytes, min_one)?;
            match readers.last() {
                // Only segments that compaction has emptied: go on behind them.
                Some(last) if !ended && read.is_empty() && last.end < up_to && last.end > start => start = last.end,
                _ => return Ok(read),
            }
        }
    }

    /// The segments that a read may touch, opened under the lock.
    pub(crate) fn readers(&self, from: Offset, up_to: Offset, max_bytes: usize) -> Result<Vec<Reader>, ReadError> {
        let shared = &self.shared;
        let state = shared.state.read();
        let (log_start, log_end, local_start) = (state.log_start, state.log_end(), state.local_start());
        if from < log_start || from > log_end {
            return Err(ReadError::OutOfRange { offset: from, log_start, log_end });
        }
        if from < local_start {
            return Err(ReadError::NotLocal { offset: from, local_start });
        }
        let up_to = up_to.min(log_end);
        let mut readers = Vec::new();
        if from >= up_to {
            return Ok(readers);
        }
        let mut before = 0u64;
        let first = state.closed.partition_point(|segment| segment.end <= from);
        for segment in state.closed.iter().skip(first).take_while(|segment| segment.base < up_to) {
            if readers.len() == MAX_SEGMENTS_PER_READ || before > max_bytes as u64 {
                return Ok(readers);
            }
            // The first segment may be wanted only from its last batch on: its size says nothing about what is left.
            before += if readers.is_empty() { 0 } else { segment.size };
            readers.push(shared.reader(&state, segment)?);
        }
        if state.active.base < up_to && readers.len() < MAX_SEGMENTS_PER_READ && before <= max_bytes as u64 {
            let first = readers.first().map_or(0, |reader: &Reader| reader.size);
            let left = (max_bytes as u64).saturating_sub(before + first);
            readers.push(shared.active_reader(&state, from, up_to, left as usize));
        }
        Ok(readers)
    }
}
