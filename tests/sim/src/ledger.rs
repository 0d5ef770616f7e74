//! What must be true of one partition, kept apart from it: every batch that was written, every answer that was given, every byte that
//! a reader has seen. It decides whether what a start brings back keeps all of these promises.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use tidelog_log::{LogView, StampedBatch};
use tidelog_model::Offset;
use tidelog_record::{Batch, BatchHeader, Batches, check_crc};

/// How a process ended; the later ones take more away.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum End {
    CleanStop,
    /// The process died, what it had written is there.
    Crash,
    /// What was not flushed is gone, or torn, or there.
    PowerCut,
}

/// A batch as it lies in the log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Written {
    pub(crate) base: Offset,
    pub(crate) next: Offset,
    pub(crate) bytes: Bytes,
}

/// Base offset, length and leader epoch: what the broker writes into a batch.
const PREFIX: usize = 16;

impl Written {
    pub(crate) fn of(stamped: &StampedBatch) -> Written {
        let rest = stamped.bytes.get(PREFIX..).unwrap_or_default();
        Written {
            base: stamped.header.base_offset,
            next: stamped.header.next_offset(),
            bytes: Bytes::from([&stamped.prefix, rest].concat()),
        }
    }

    fn found(batch: &Batch) -> Written {
        Written { base: batch.header().base_offset, next: batch.header().next_offset(), bytes: batch.bytes().clone() }
    }
}

/// What tells batches apart wherever they lie: everything that the producer wrote.
pub(crate) fn content(bytes: &Bytes) -> Bytes {
    bytes.get(PREFIX..).map(|rest| bytes.slice_ref(rest)).unwrap_or_default()
}

/// Is it a marker?
fn is_control(bytes: &Bytes) -> bool {
    BatchHeader::parse(bytes).is_ok_and(|header| header.attributes.is_control())
}

/// The promises of one partition.
#[derive(Debug)]
pub(crate) struct Ledger {
    /// What the log holds, in order; the front may be deleted already.
    written: Vec<Written>,
    /// Where each content lies.
    places: BTreeMap<Bytes, Offset>,
    /// What a failed write may have left behind the end.
    attempted: Vec<Written>,
    /// Acknowledged with acks=all, by base offset.
    acknowledged: BTreeMap<Offset, Written>,
    /// Answered as written before, without an offset.
    known: BTreeSet<Bytes>,
    /// Seen by a reader, by base offset.
    seen: BTreeMap<Offset, Written>,
    /// Everything below was once below the high watermark.
    safe: Offset,
    /// The largest log start there ever was: what lies below may go.
    log_start: Offset,
    /// Batches that a power cut has taken back.
    pub(crate) taken_back: usize,
}

impl Ledger {
    /// Nothing is promised yet.
    pub(crate) fn new() -> Self {
        Ledger {
            written: Vec::new(),
            places: BTreeMap::new(),
            attempted: Vec::new(),
            acknowledged: BTreeMap::new(),
            known: BTreeSet::new(),
            seen: BTreeMap::new(),
            safe: Offset::ZERO,
            log_start: Offset::ZERO,
            taken_back: 0,
        }
    }

    /// The written end.
    pub(crate) fn end(&self) -> Offset {
        self.written.last().map_or(Offset::ZERO, |last| last.next)
    }

    pub(crate) fn written(&mut self, batches: Vec<Written>) -> Result<(), String> {
        for batch in batches {
            if batch.base != self.end() {
                return Err(format!("a batch was placed at {}, the log ends at {}", batch.base, self.end()));
            }
            // A coordinator may write the same marker again.
            if !is_control(&batch.bytes)
                && let Some(before) = self.places.insert(content(&batch.bytes), batch.base)
            {
                return Err(format!("the batch at {before} was appended again at {}", batch.base));
            }
            self.written.push(batch);
        }
        Ok(())
    }

    pub(crate) fn attempted(&mut self, batches: Vec<Written>) {
        if !batches.is_empty() {
            self.attempted = batches;
        }
    }

    /// The high watermark was at `end`, for everybody to see.
    pub(crate) fn safe(&mut self, end: Offset) {
        self.safe = self.safe.max(end);
    }

    pub(crate) fn log_start(&mut self, start: Offset) {
        self.log_start = self.log_start.max(start);
    }

    /// An append was answered with this offset.
    pub(crate) fn answered(&mut self, batch: &Batch, offset: Offset, all: bool) -> Result<(), String> {
        let place = self.places.get(&content(batch.bytes())).copied();
        if place != Some(offset) {
            return Err(format!("an append was answered with offset {offset}, it was written at {place:?}"));
        }
        if all {
            let at = self.written.partition_point(|written| written.base < offset);
            let Some(written) = self.written.get(at) else { return Err(format!("nothing lies at {offset}")) };
            if written.next > self.safe {
                return Err(format!("acks=all was answered at {offset}, but the high watermark is {}", self.safe));
            }
            self.acknowledged.insert(offset, written.clone());
        }
        Ok(())
    }

    /// Is this content deleted, or does it lie where an earlier transaction is still open?
    pub(crate) fn is_hidden(&self, content: &Bytes, last_stable: Offset) -> bool {
        self.places.get(content).is_some_and(|place| *place < self.log_start || *place >= last_stable)
    }

    /// Somebody heard that everything below `offset` is safe.
    pub(crate) fn waited_for(&self, offset: Offset) -> Result<(), String> {
        if offset <= self.safe {
            Ok(())
        } else {
            Err(format!("{offset} was called safe, the high watermark is {}", self.safe))
        }
    }

    /// An append was answered as written before, its offset forgotten.
    pub(crate) fn answered_as_known(&mut self, batch: &Batch) -> Result<(), String> {
        let content = content(batch.bytes());
        let place = self.places.get(&content).copied();
        match place {
            Some(place) if place < self.safe => {
                self.known.insert(content);
                Ok(())
            }
            _ => Err(format!("an append was answered as a duplicate, but it lies at {place:?}")),
        }
    }

    /// A reader got these bytes after asking for `from`; returns the offset after them.
    pub(crate) fn read(&mut self, from: Offset, bytes: Bytes, watermark: Offset) -> Result<Offset, String> {
        let mut next = None;
        for batch in Batches::strict(bytes) {
            let batch = batch.map_err(|error| format!("a reader at {from} got half a batch: {error}"))?;
            let found = Written::found(&batch);
            let expected = next.unwrap_or(from);
            let fits = if next.is_some() { found.base == expected } else { found.base <= from && found.next > from };
            if !fits || found.next > watermark {
                return Err(format!(
                    "a reader at {expected} (watermark {watermark}) got {}..{}",
                    found.base, found.next
                ));
            }
            let at = self.written.partition_point(|written| written.base < found.base);
            if self.written.get(at) != Some(&found) {
                return Err(format!("a reader got other bytes at {} than were written", found.base));
            }
            next = Some(found.next);
            self.seen.insert(found.base, found);
        }
        Ok(next.unwrap_or(from))
    }

    /// Compares what a start has brought back with every promise, and goes on from there.
    pub(crate) fn accept(&mut self, end: End, view: &LogView) -> Result<(), String> {
        let found = read_all(view)?;
        let (start, log_end) = (view.log_start(), view.log_end());
        if start > self.log_start {
            return Err(format!("the log starts at {start}, records from {} on were not deleted", self.log_start));
        }
        let before = self.end();
        let least = if end == End::PowerCut { self.safe } else { before };
        if log_end < least {
            return Err(format!("{end:?}: the log ends at {log_end}, it must reach {least}"));
        }
        self.kept(&found, start)?;
        let mut expected: Vec<&Written> = self.written.iter().filter(|written| written.next > start).collect();
        expected.extend(&self.attempted);
        for (number, batch) in found.iter().enumerate() {
            if expected.get(number) != Some(&batch) {
                let expected = expected.get(number).map(|written| (written.base, written.next));
                return Err(format!("{}..{} came back, expected {expected:?}", batch.base, batch.next));
            }
        }
        self.taken_back += self.written.iter().filter(|written| written.base >= log_end).count();
        self.attempted.clear();
        // What is deleted stays known: a duplicate of it is still answered, and its files may come back.
        let first = found.first().map_or(log_end, |batch| batch.base);
        self.written.retain(|written| written.base < first);
        self.places.retain(|_, place| *place < first);
        for batch in &found {
            if !is_control(&batch.bytes)
                && let Some(before) = self.places.insert(content(&batch.bytes), batch.base)
            {
                return Err(format!("the batch at {before} is in the log again at {}", batch.base));
            }
        }
        self.written.extend(found);
        self.safe(log_end);
        Ok(())
    }

    /// Everything that was acknowledged or seen, and not deleted, is there with the same bytes.
    fn kept(&self, found: &[Written], start: Offset) -> Result<(), String> {
        let by_base: BTreeMap<Offset, &Written> = found.iter().map(|batch| (batch.base, batch)).collect();
        let floor = self.log_start.max(start);
        for (promise, batches) in [("acknowledged", &self.acknowledged), ("read", &self.seen)] {
            for (base, batch) in batches.range(floor..) {
                if by_base.get(base) != Some(&batch) {
                    return Err(format!("the batch at {base} was {promise}, now there is {:?}", by_base.get(base)));
                }
            }
        }
        let contents: BTreeSet<Bytes> = found.iter().map(|batch| content(&batch.bytes)).collect();
        let lost = self
            .known
            .iter()
            .find(|known| self.places.get(*known).is_some_and(|place| *place >= floor) && !contents.contains(*known));
        lost.map_or(Ok(()), |lost| Err(format!("the batch at {:?} was a duplicate and is gone", self.places.get(lost))))
    }

    pub(crate) fn acknowledged_count(&self) -> usize {
        self.acknowledged.len() + self.known.len()
    }

    pub(crate) fn seen_count(&self) -> usize {
        self.seen.len()
    }
}

fn read_all(view: &LogView) -> Result<Vec<Written>, String> {
    Ok(read_batches(view)?.iter().map(Written::found).collect())
}

/// Every batch from the log start to the end: whole, verified, without a gap.
pub(crate) fn read_batches(view: &LogView) -> Result<Vec<Batch>, String> {
    let (mut at, end) = (view.log_start(), view.log_end());
    let mut found: Vec<Batch> = Vec::new();
    while at < end {
        let read = view.read(at, end, 32 * 1024, true).map_err(|error| format!("reading from {at}: {error}"))?;
        for slice in &read.slices {
            let bytes = slice.read().map_err(|error| format!("a slice at {at}: {error}"))?;
            for batch in Batches::strict(bytes) {
                let batch = batch.map_err(|error| format!("half a batch after {at}: {error}"))?;
                check_crc(&batch).map_err(|error| format!("a damaged batch after {at}: {error}"))?;
                let (base, next) = (batch.header().base_offset, batch.header().next_offset());
                let before = found.last().map(|last| last.header().next_offset());
                let fits = match before {
                    Some(end) => base == end,
                    None => base <= at && next > at,
                };
                if !fits {
                    return Err(format!("{base} follows {before:?}"));
                }
                found.push(batch);
            }
        }
        if read.next <= at {
            return Err(format!("nothing can be read at {at}, the log ends at {end}"));
        }
        at = read.next;
    }
    Ok(found)
}
