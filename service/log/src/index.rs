//! Offset and time index of one segment, in memory and in Kafka's files; decides where a scan begins, never what is true.
//!
//! An index is a cache of the log. `.index` holds `relative offset i32, position i32`, where the offset is the last of
//! the batch at the position; `.timeindex` holds `timestamp i64, relative offset i32`: no record before that offset's
//! batch ends is younger. Both ascend strictly.

use std::io;
use std::sync::Arc;

use tidelog_model::{Offset, Timestamp};
use tidelog_record::BatchHeader;

use crate::disk::{DiskFile, read_exact};
use crate::limits::{INDEX_BLOCK_BYTES, MAX_INDEX_FILE_BYTES};

/// Bytes of an entry of `.index`.
pub(crate) const OFFSET_ENTRY: u64 = 8;
/// Bytes of an entry of `.timeindex`.
pub(crate) const TIME_ENTRY: u64 = 12;

/// Both indexes of a segment, as far as batches were added.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct SegmentIndex {
    base: Offset,
    /// (relative last offset, position of the batch).
    offsets: Vec<(i32, i32)>,
    /// (largest timestamp so far, relative offset of the batch that has it).
    times: Vec<(i64, i32)>,
    since_entry: u64,
    first_timestamp: Option<Timestamp>,
    max: Option<(Timestamp, Offset)>,
}

impl SegmentIndex {
    pub(crate) const fn new(base: Offset) -> Self {
        SegmentIndex { base, offsets: Vec::new(), times: Vec::new(), since_entry: 0, first_timestamp: None, max: None }
    }

    /// The index of the batches whose entries lie below `below`, from both files of an earlier stop: the index, the last
    /// offset and the position of the batch from which to go on adding. `None` if there is no such entry.
    pub(crate) fn resume(
        base: Offset,
        offsets: &[u8],
        times: &[u8],
        below: Offset,
        first_timestamp: Timestamp,
    ) -> Option<(Self, Offset, u64)> {
        let mut index = SegmentIndex::new(base);
        index.first_timestamp = Some(first_timestamp).filter(|first| *first > Timestamp::NONE);
        for entry in offsets.chunks_exact(OFFSET_ENTRY as usize) {
            let next = (i32_at(entry, 0), i32_at(entry, 4));
            let ascends = index.offsets.last().is_none_or(|last| last.0 < next.0 && last.1 < next.1);
            if !ascends || next.0 < 0 || next.1 <= 0 || base.plus(i64::from(next.0)) >= below {
                break;
            }
            index.offsets.push(next);
        }
        let (last, position) = *index.offsets.last()?;
        for entry in times.chunks_exact(TIME_ENTRY as usize) {
            let next = (i64_at(entry), i32_at(entry, 8));
            let ascends = index.times.last().is_none_or(|last| last.0 < next.0);
            if !ascends || next.1 < 0 || next.1 > last {
                break;
            }
            index.times.push(next);
        }
        index.max = index.times.last().map(|(time, at)| (Timestamp(*time), base.plus(i64::from(*at))));
        Some((index, base.plus(i64::from(last)), position as u64))
    }

    /// Timestamp of the first batch that has one: its largest, as Kafka rolls by it.
    pub(crate) const fn first_timestamp(&self) -> Option<Timestamp> {
        self.first_timestamp
    }

    /// Largest timestamp and the last offset of the first batch that has it.
    pub(crate) const fn max(&self) -> Option<(Timestamp, Offset)> {
        self.max
    }

    pub(crate) fn offset_bytes(&self) -> u64 {
        self.offsets.len() as u64 * OFFSET_ENTRY
    }

    /// Takes note of the batch at `position`; batches come in order.
    pub(crate) fn add(&mut self, position: u64, header: &BatchHeader, interval: u64) {
        let last = header.last_offset();
        // What compaction has emptied holds no time any more.
        if header.record_count > 0 && header.max_timestamp > Timestamp::NONE {
            self.first_timestamp.get_or_insert(header.max_timestamp);
            if self.max.is_none_or(|(newest, _)| header.max_timestamp > newest) {
                self.max = Some((header.max_timestamp, last));
            }
        }
        if self.since_entry > interval
            && let (Some(relative), Ok(position)) = (self.relative(last), i32::try_from(position))
        {
            self.offsets.push((relative, position));
            self.add_time();
            self.since_entry = 0;
        }
        self.since_entry += header.size() as u64;
    }

    fn relative(&self, offset: Offset) -> Option<i32> {
        i32::try_from(offset.0.checked_sub(self.base.0)?).ok().filter(|relative| *relative >= 0)
    }

    fn add_time(&mut self) {
        let Some((timestamp, offset)) = self.max else { return };
        let newer = self.times.last().is_none_or(|(last, _)| timestamp.0 > *last);
        if let Some(relative) = self.relative(offset)
            && newer
        {
            self.times.push((timestamp.0, relative));
        }
    }

    /// The last time entry names the segment's largest timestamp; to be called when the segment is closed.
    pub(crate) fn finish(&mut self) {
        self.add_time();
    }

    /// Position from which a scan finds the batch that contains `offset`.
    pub(crate) fn position_of(&self, offset: Offset) -> u64 {
        let relative = offset.0.saturating_sub(self.base.0);
        let at = self.offsets.partition_point(|(entry, _)| i64::from(*entry) <= relative);
        at.checked_sub(1).and_then(|at| self.offsets.get(at)).map_or(0, |(_, position)| *position as u64)
    }

    /// The last known start of a batch at or before `position`.
    pub(crate) fn boundary_before(&self, position: u64) -> u64 {
        let at = self.offsets.partition_point(|(_, entry)| *entry as u64 <= position);
        at.checked_sub(1).and_then(|at| self.offsets.get(at)).map_or(0, |(_, position)| *position as u64)
    }

    /// An offset before which every record is older than `timestamp`.
    pub(crate) fn offset_before(&self, timestamp: Timestamp) -> Offset {
        let at = self.times.partition_point(|(entry, _)| *entry < timestamp.0);
        let relative = at.checked_sub(1).and_then(|at| self.times.get(at)).map_or(0, |(_, relative)| *relative);
        self.base.plus(i64::from(relative))
    }

    /// The `.index` file.
    pub(crate) fn offset_file(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.offsets.len() * OFFSET_ENTRY as usize);
        for (relative, position) in &self.offsets {
            bytes.extend_from_slice(&relative.to_be_bytes());
            bytes.extend_from_slice(&position.to_be_bytes());
        }
        bytes
    }

    /// The `.timeindex` file.
    pub(crate) fn time_file(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.times.len() * TIME_ENTRY as usize);
        for (timestamp, relative) in &self.times {
            bytes.extend_from_slice(&timestamp.to_be_bytes());
            bytes.extend_from_slice(&relative.to_be_bytes());
        }
        bytes
    }
}

/// A `.index` file that is searched where it lies.
#[derive(Debug)]
pub(crate) struct OffsetIndexFile(Entries);

impl OffsetIndexFile {
    pub(crate) fn open(file: Arc<dyn DiskFile>) -> io::Result<Self> {
        Ok(OffsetIndexFile(Entries::open(file, OFFSET_ENTRY)?))
    }

    /// As [`SegmentIndex::position_of`].
    pub(crate) fn position_of(&mut self, base: Offset, offset: Offset) -> io::Result<u64> {
        let relative = offset.0.saturating_sub(base.0);
        let found = self.0.last_where(|entry| i64::from(i32_at(entry, 0)) <= relative)?;
        Ok(found.map_or(0, |entry| i32_at(&entry, 4).max(0) as u64))
    }

    /// As [`SegmentIndex::boundary_before`].
    pub(crate) fn boundary_before(&mut self, position: u64) -> io::Result<u64> {
        let found = self.0.last_where(|entry| i64::from(i32_at(entry, 4)) <= position as i64)?;
        Ok(found.map_or(0, |entry| i32_at(&entry, 4).max(0) as u64))
    }

    /// Could this be the index of a segment with these ends?
    pub(crate) fn is_sane(&mut self, base: Offset, end: Offset, log_size: u64) -> io::Result<bool> {
        if self.0.torn {
            return Ok(false);
        }
        let Some(last) = self.0.last()? else { return Ok(true) };
        let (relative, position) = (i64::from(i32_at(&last, 0)), i64::from(i32_at(&last, 4)));
        // An index never has an entry for its first batch, so position 0 is a hole in the file.
        Ok(relative >= 0 && base.0.saturating_add(relative) < end.0 && position > 0 && (position as u64) < log_size)
    }
}

/// A `.timeindex` file that is searched where it lies.
#[derive(Debug)]
pub(crate) struct TimeIndexFile(Entries);

impl TimeIndexFile {
    pub(crate) fn open(file: Arc<dyn DiskFile>) -> io::Result<Self> {
        Ok(TimeIndexFile(Entries::open(file, TIME_ENTRY)?))
    }

    /// As [`SegmentIndex::offset_before`].
    pub(crate) fn offset_before(&mut self, base: Offset, timestamp: Timestamp) -> io::Result<Offset> {
        let found = self.0.last_where(|entry| i64_at(entry) < timestamp.0)?;
        Ok(base.plus(found.map_or(0, |entry| i64::from(i32_at(&entry, 8)))))
    }

    /// The last entry: the segment's largest timestamp and where it is; `None` if empty.
    pub(crate) fn max(&mut self, base: Offset) -> io::Result<Option<(Timestamp, Offset)>> {
        let last = self.0.last()?;
        Ok(last.map(|entry| (Timestamp(i64_at(&entry)), base.plus(i64::from(i32_at(&entry, 8))))))
    }

    /// Could this be the time index of a segment with these ends?
    pub(crate) fn is_sane(&mut self, base: Offset, end: Offset) -> io::Result<bool> {
        if self.0.torn {
            return Ok(false);
        }
        let Some(last) = self.0.last()? else { return Ok(true) };
        let (timestamp, relative) = (i64_at(&last), i64::from(i32_at(&last, 8)));
        Ok(timestamp >= 0
            && relative >= 0
            && base.0.saturating_add(relative) < end.0
            && (timestamp, relative) != (0, 0))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.count == 0
    }
}

/// Fixed-size entries of a file; the block read last is kept.
#[derive(Debug)]
struct Entries {
    file: Arc<dyn DiskFile>,
    entry: u64,
    count: u64,
    /// The file's length is no multiple of an entry.
    torn: bool,
    block: Option<(u64, Vec<u8>)>,
}

impl Entries {
    fn open(file: Arc<dyn DiskFile>, entry: u64) -> io::Result<Self> {
        let len = file.len()?;
        let torn = len % entry != 0 || len > MAX_INDEX_FILE_BYTES;
        Ok(Entries { file, entry, count: len / entry, torn, block: None })
    }

    fn get(&mut self, at: u64) -> io::Result<Vec<u8>> {
        let per_block = (INDEX_BLOCK_BYTES / self.entry).max(1);
        let number = at / per_block;
        if self.block.as_ref().is_none_or(|(loaded, _)| *loaded != number) {
            let first = number * per_block;
            let entries = per_block.min(self.count.saturating_sub(first));
            let bytes = read_exact(&*self.file, first * self.entry, (entries * self.entry) as usize)?;
            self.block = Some((number, bytes));
        }
        let start = ((at % per_block) * self.entry) as usize;
        let found = self.block.as_ref().and_then(|(_, bytes)| bytes.get(start..start + self.entry as usize));
        found.map(<[u8]>::to_vec).ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }

    fn last(&mut self) -> io::Result<Option<Vec<u8>>> {
        match self.count.checked_sub(1) {
            Some(at) => self.get(at).map(Some),
            None => Ok(None),
        }
    }

    /// The last entry for which `holds`, given that it holds for a prefix of the entries.
    fn last_where(&mut self, holds: impl Fn(&[u8]) -> bool) -> io::Result<Option<Vec<u8>>> {
        let (mut low, mut high) = (0, self.count);
        let mut found = None;
        while low < high {
            let middle = low + (high - low) / 2;
            let entry = self.get(middle)?;
            if holds(&entry) {
                found = Some(entry);
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        Ok(found)
    }
}

fn i32_at(bytes: &[u8], at: usize) -> i32 {
    bytes.get(at..at + 4).and_then(|b| b.try_into().ok()).map_or(0, i32::from_be_bytes)
}

fn i64_at(bytes: &[u8]) -> i64 {
    bytes.get(..8).and_then(|b| b.try_into().ok()).map_or(0, i64::from_be_bytes)
}

#[cfg(test)]
#[path = "index_tests.rs"]
mod tests;
