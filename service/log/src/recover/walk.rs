//! The walk itself: one segment after the other, one batch after the other.

use tidelog_model::Offset;
use tidelog_record::{AbortedTransactions, BatchHeader, EndTransactionMarker};

use super::tidy::Folder;
use super::{Break, Found, Walk};
use crate::LogError;
use crate::disk::DiskFile;
use crate::index::SegmentIndex;
use crate::names::Kind;
use crate::scan::{Located, Scan, ScanError};

impl Walk<'_> {
    /// The break before a segment that does not continue its predecessor; below the checkpoint it is damage.
    pub(super) fn gap_before(&mut self, base: Offset) -> Result<Option<Break>, LogError> {
        if self.end == base || (self.end < base && self.recovery.may_follow_a_gap(base)) {
            self.end = base;
            return Ok(None);
        }
        let reason = format!("the log ends at offset {} before it", self.end);
        if self.end < self.recovery.checkpoints.recovery_point {
            return Err(self.recovery.damage(base, 0, self.end, &reason).into());
        }
        Ok(Some(Break { base, position: 0, whole: true, reason }))
    }

    /// A segment wholly below the checkpoint: shapes only, unless the producer snapshot is older.
    pub(super) fn closed_segment(
        &mut self,
        folder: &Folder,
        base: Offset,
        size: u64,
        next: Offset,
    ) -> Result<Found, LogError> {
        let recovery = self.recovery;
        if size == 0 && recovery.may_follow_a_gap(next) {
            // Compaction has taken every record.
            self.end = next;
            return Ok(Found { base, end: next, size, index: None, max: None, aborted: AbortedTransactions::new() });
        }
        let file = recovery.open_file(base, Kind::Log, false)?;
        let (hint, mut max) = recovery.indexes(base, next, size, &*file);
        let mut tail = self.tail(&*file, base, size, hint.unwrap_or(0));
        if tail.is_err() && hint.is_some() {
            // Perhaps only the index is wrong.
            tail = self.tail(&*file, base, size, 0);
        }
        let end = tail?;
        let fits = end == next || (end < next && recovery.may_follow_a_gap(next));
        if !fits {
            let reason = format!("the segment ends at offset {end}, the next one begins at {next}");
            return Err(recovery.damage(base, size, end, &reason).into());
        }
        let mut suspect = false;
        if hint.is_none() || max.is_none() {
            (max, suspect) = recovery.rebuild_indexes(&*file, base, size)?;
        }
        let on_disk = recovery.read_aborted(folder, base, suspect)?;
        let mut replayed = AbortedTransactions::new();
        if next > self.replay_from {
            let mut scan = Scan::headers(&*file, 0, size);
            while let Some(located) = self.step(&mut scan, base, base, Offset(i64::MAX), &mut replayed, false)? {
                self.end = located.header.next_offset();
            }
        }
        self.end = next;
        let aborted = recovery.merge_aborted(folder, base, size, on_disk, replayed, self.replay_from)?;
        Ok(Found { base, end: next, size, index: None, max, aborted })
    }

    /// The offset after the last batch, walking from `from` to the very end.
    fn tail(&self, file: &dyn DiskFile, base: Offset, size: u64, from: u64) -> Result<Offset, LogError> {
        let mut end = base;
        let mut scan = Scan::headers(file, from, size);
        loop {
            match scan.next_header() {
                Ok(Some(located)) if located.header.base_offset >= end => end = located.header.next_offset(),
                Ok(Some(located)) => {
                    return Err(self.recovery.damage(base, located.position, end, "offsets go back").into());
                }
                Ok(None) => return Ok(end),
                Err(error) => return Err(self.failed(base, end, error)),
            }
        }
    }

    fn failed(&self, base: Offset, offset: Offset, error: ScanError) -> LogError {
        match error {
            ScanError::Io(source) => LogError::io("cannot read", &self.recovery.path(base, Kind::Log))(source),
            ScanError::Batch { position, error } => {
                self.recovery.damage(base, position, offset, &error.to_string()).into()
            }
        }
    }

    /// A segment that reaches beyond the checkpoint: every batch is walked, those beyond it are verified.
    pub(super) fn open_segment(
        &mut self,
        folder: &Folder,
        base: Offset,
        size: u64,
    ) -> Result<(Found, Option<Break>), LogError> {
        let recovery = self.recovery;
        let file = recovery.open_file(base, Kind::Log, false)?;
        let known_below = recovery.trusted_below().min(self.replay_from);
        let resumed = recovery.resume(folder, base, size, &*file, known_below);
        let (mut index, start) = resumed.unwrap_or((SegmentIndex::new(base), 0));
        let interval = recovery.config.index_interval_bytes;
        let mut replayed = AbortedTransactions::new();
        // What is large and flushed is passed over unread.
        let mut scan = Scan::headers(&*file, start, size);
        let (mut first, mut unflushed_from) = (true, None);
        // A clean stop leaves all indexes with its snapshot: if one is gone the transaction index may be gone as well.
        let (lacks_index, mut suspect) = (!folder.files.contains(&(base, Kind::Index)), false);
        let stop = loop {
            // After a resume the first batch tells where we are.
            let exact = !first || start == 0;
            let floor = if exact { self.end } else { base };
            match self.step(&mut scan, base, floor, recovery.trusted_below(), &mut replayed, exact) {
                Ok(Some(located)) => {
                    if located.header.next_offset() > recovery.checkpoints.recovery_point {
                        unflushed_from = unflushed_from.or(Some(located.position));
                    }
                    suspect |= lacks_index
                        && located.header.attributes.is_control()
                        && located.header.base_offset < self.replay_from;
                    index.add(located.position, &located.header, interval);
                    self.end = located.header.next_offset();
                    first = false;
                }
                Ok(None) => break None,
                Err(LogError::Damaged(damage)) if self.end >= recovery.checkpoints.recovery_point => {
                    break Some(Break { base, position: damage.position, whole: false, reason: damage.reason });
                }
                Err(error) => return Err(error),
            }
        };
        if folder.unsettled {
            let end = stop.as_ref().map_or(size, |stop| stop.position);
            recovery.rewrite(&recovery.path(base, Kind::Log), unflushed_from.unwrap_or(end), end)?;
        }
        let on_disk = recovery.read_aborted(folder, base, suspect)?;
        let size = stop.as_ref().map_or(size, |stop| stop.position);
        let aborted = recovery.merge_aborted(folder, base, size, on_disk, replayed, self.replay_from)?;
        Ok((Found { base, end: self.end, size, max: None, index: Some(index), aborted }, stop))
    }

    /// What is wrong with a batch's offset, which lies outside its checksum. `exact` if `floor` is the offset expected.
    fn misplaced(&self, header: &BatchHeader, floor: Offset, exact: bool) -> Option<String> {
        let (base, end) = (header.base_offset, header.next_offset());
        match self.next {
            Some(next) => (end > next).then(|| format!("it ends at offset {end}, the next segment begins at {next}")),
            // A closed segment may have been compacted once, whatever the policy is now; the one that grows was not.
            None => {
                let contiguous = !self.recovery.config.compacted && base > self.recovery.checkpoints.gaps_below;
                (exact && contiguous && base > floor).then(|| format!("offset {base} comes where {floor} is expected"))
            }
        }
    }

    /// One batch: its checksum if it reaches beyond `trusted_below`, its effect if the snapshot does not have it.
    fn step(
        &mut self,
        scan: &mut Scan<'_>,
        base: Offset,
        floor: Offset,
        trusted_below: Offset,
        aborted: &mut AbortedTransactions,
        exact: bool,
    ) -> Result<Option<Located>, LogError> {
        let failed = |error| self.failed(base, floor, error);
        let Some(located) = scan.next_header().map_err(failed)? else { return Ok(None) };
        let header = located.header;
        let damaged = |reason: &str| LogError::from(self.recovery.damage(base, located.position, floor, reason));
        if header.base_offset < floor {
            return Err(damaged(&format!("offset {} comes after {floor}", header.base_offset)));
        }
        let replay = header.base_offset >= self.replay_from;
        let verify = header.next_offset() > trusted_below;
        if verify && let Some(reason) = self.misplaced(&header, floor, exact) {
            return Err(damaged(&reason));
        }
        let mut marker = None;
        if verify {
            scan.widen();
            scan.verify(&located).map_err(failed)?;
        }
        if replay && header.attributes.is_control() {
            scan.seek(located.position);
            let batch = scan.next_batch().map_err(failed)?.map(|(_, batch)| batch);
            marker = batch.and_then(|batch| EndTransactionMarker::of_batch(&batch).unwrap_or_default());
        }
        self.verified += if verify { header.size() as u64 } else { 0 };
        if replay
            && let Some(entry) = self.sums.apply(&header, marker, self.now).and_then(|completed| completed.aborted())
        {
            aborted.push(entry);
        }
        Ok(Some(located))
    }
}
