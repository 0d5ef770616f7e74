//! Compaction by key: closed segments keep the last record of each key. It decides which records are superseded; it never
//! touches the active segment, what is not flushed, or a batch that nobody can read.
//!
//! Tombstones stay for `delete.retention.ms` after the first compaction that has passed them (KIP-534); records without a key and those of
//! aborted transactions go at once, transaction markers like tombstones, once they have outlived their records. The last batch of a
//! producer that may go on stays, if need be without records: it has the sequence, the last marker the epoch.
//!
//! Segments are rewritten as `.cleaned`, flushed, renamed to `.swap`, and then take the place of the old ones: at every moment a start finds
//! either the old segments or the whole new one.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use tidelog_model::limits::MAX_INFLATED_BATCH_BYTES;
use tidelog_model::{Offset, ProducerEpoch, ProducerId, Timestamp};
use tidelog_record::{AbortedTransaction, Batch, BatchHeader, ProducerStates, RecordViews, check_crc};

use crate::limits::{COMPACTION_KEY_OVERHEAD_BYTES, DEFAULT_COMPACTION_MEMORY_BYTES};
use crate::names::{Kind, Stage};
use crate::scan::{Scan, ScanError};
use crate::state::Segment;
use crate::view::LogView;
use crate::{LogError, ReadError};

mod rewrite;
mod transactions;

use transactions::{Part, Transactions};

/// What bounds one compaction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CompactionLimits {
    /// The last compaction ended here: no key has two records below it. Zero for the first one.
    pub clean_from: Offset,
    /// Only records below it are looked at: the last stable offset.
    pub up_to: Offset,
    /// `delete.retention.ms`: how long tombstones stay, milliseconds.
    pub delete_retention_ms: i64,
    /// Do tombstones stay however old they are? They must while what they delete may lie in a part that is not compacted.
    pub keep_tombstones: bool,
    /// Memory for keys, bytes. What does not fit is left to the next compaction.
    pub memory_bytes: usize,
}

impl CompactionLimits {
    /// Kafka's defaults.
    pub fn new(clean_from: Offset, up_to: Offset) -> Self {
        let day = 24 * 60 * 60 * 1000;
        let memory_bytes = DEFAULT_COMPACTION_MEMORY_BYTES;
        CompactionLimits { clean_from, up_to, delete_retention_ms: day, keep_tombstones: false, memory_bytes }
    }
}

/// The last that each active producer has written: compaction leaves it, or a replica that is built from the log would not know them.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct ActiveProducers(BTreeMap<ProducerId, LastOfProducer>);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct LastOfProducer {
    epoch: ProducerEpoch,
    /// Offset of its last record; none if a marker came after all that is known of it.
    data: Option<Offset>,
}

impl ActiveProducers {
    /// As the partition knows them now.
    pub fn of(states: &ProducerStates) -> Self {
        let last = |entry: &tidelog_record::ProducerEntry| LastOfProducer {
            epoch: entry.epoch,
            data: entry.last_batch().map(|batch| batch.last_offset),
        };
        ActiveProducers(states.iter().map(|entry| (entry.producer_id, last(entry))).collect())
    }

    /// Is this the last that its producer has written?
    fn end_with(&self, header: &BatchHeader) -> bool {
        self.0.get(&header.producer_id).is_some_and(|last| match last.data {
            Some(offset) => offset == header.last_offset(),
            None => header.attributes.is_control() && header.producer_epoch == last.epoch,
        })
    }
}

/// What one compaction did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Compacted {
    /// The next compaction's `clean_from`.
    pub clean_to: Offset,
    /// Bytes of the segments that were looked at.
    pub bytes_before: u64,
    /// Bytes of what stands in their place.
    pub bytes_after: u64,
    /// So many batches were kept whole because their records cannot be read.
    pub unreadable: usize,
    /// The first offset of the first of them.
    pub first_unreadable: Option<Offset>,
}

impl Compacted {
    /// Nothing is done up to `clean_to` that was not done before.
    const fn nothing(clean_to: Offset) -> Self {
        Compacted { clean_to, bytes_before: 0, bytes_after: 0, unreadable: 0, first_unreadable: None }
    }
}

/// The last offset of each key in the range that was read, and where that range ends.
struct KeyMap {
    last: HashMap<Bytes, Offset>,
    bytes: usize,
    end: Offset,
}

/// Everything that decides whether a record stays.
struct Keep<'a> {
    keys: &'a KeyMap,
    producers: &'a ActiveProducers,
    /// Tombstones whose time has come by then go; `None`: none goes.
    forget_until: Option<Timestamp>,
    /// Tombstones that are met now stay until then.
    horizon: Timestamp,
}

impl LogView {
    /// Compacts the closed and flushed segments below `limits.up_to`. `now` is the wall clock's time.
    ///
    /// Readers go on; truncation and another compaction wait, retention does not: ask for it again afterwards.
    pub fn compact(
        &self,
        limits: &CompactionLimits,
        producers: &ActiveProducers,
        now: Timestamp,
    ) -> Result<Compacted, LogError> {
        let shared = Arc::clone(&self.shared);
        let _maintenance = shared.maintenance.lock();
        // Whoever held the lock may have deleted the log, and another one may be in its folder by now.
        self.check_online()?;
        self.finish_swaps()?;
        let (segments, segment_bytes) = {
            let state = shared.state.read();
            let up_to = limits.up_to.min(state.flushed_end);
            let count = state.closed.partition_point(|segment| segment.end <= up_to);
            let segments: Vec<_> = state.closed.iter().take(count).cloned().collect();
            (segments, state.config.max_segment_bytes())
        };
        let unchanged = Compacted::nothing(limits.clean_from);
        let (Some(first), Some(last)) = (segments.first(), segments.last()) else { return Ok(unchanged) };
        if last.end <= limits.clean_from {
            return Ok(unchanged);
        }
        let (from, to) = (first.base, last.end);
        let aborted = self.aborted_transactions(from, to).map_err(|error| self.unreadable(error))?;
        let keys = self.key_map(&segments, limits, &aborted)?;
        let mut done = Compacted::nothing(keys.end);
        let mut unreadable = Vec::new();
        let reached: Vec<_> = segments.into_iter().filter(|segment| segment.base < keys.end).collect();
        let horizon = Timestamp(now.0.saturating_add(limits.delete_retention_ms.max(0)));
        let forget_until = (!limits.keep_tombstones).then_some(now);
        let keep = Keep { keys: &keys, producers, forget_until, horizon };
        let mut transactions = Transactions::new(&aborted, from);
        for group in groups(&reached, segment_bytes) {
            done.bytes_before += group.iter().map(|segment| segment.size).sum::<u64>();
            done.bytes_after += self.rewrite_group(group, &keep, &mut transactions, &mut unreadable)?;
        }
        Ok(Compacted { unreadable: unreadable.len(), first_unreadable: unreadable.first().copied(), ..done })
    }

    /// The log is about to be closed or deleted: a compaction that runs ends at its next batch, with an error, and a later one does not
    /// begin. What is replaced already stays so.
    pub fn end_compaction(&self) {
        self.shared.ending.store(true, Ordering::Release);
    }

    fn check_ending(&self) -> Result<(), LogError> {
        if self.shared.ending.load(Ordering::Acquire) {
            let directory = self.shared.directory.clone();
            return Err(LogError::Offline { directory, reason: "it is being closed".into() });
        }
        Ok(())
    }

    /// What the disk refused may be there the next time; what is damaged stays damaged.
    fn unreadable(&self, error: ReadError) -> LogError {
        match error {
            ReadError::Io { path, source } => LogError::Io { action: "cannot read", path, source },
            other => self.damaged(&other),
        }
    }

    fn damaged(&self, error: &dyn std::fmt::Display) -> LogError {
        LogError::Format { path: self.shared.directory.clone(), reason: format!("compaction cannot read it: {error}") }
    }

    fn key_map(
        &self,
        segments: &[Arc<Segment>],
        limits: &CompactionLimits,
        aborted: &[AbortedTransaction],
    ) -> Result<KeyMap, LogError> {
        let mut keys = KeyMap { last: HashMap::new(), bytes: 0, end: limits.clean_from };
        let mut transactions = Transactions::new(aborted, limits.clean_from);
        for segment in segments.iter().filter(|segment| segment.end > limits.clean_from) {
            let complete = self.each_batch(segment, |batch| {
                if batch.header().next_offset() <= limits.clean_from {
                    return Ok(true);
                }
                // One batch always fits: otherwise compaction would never come past it.
                if keys.bytes > limits.memory_bytes {
                    return Ok(false);
                }
                if transactions.meet(&batch) == Part::Data {
                    keys.add(&batch);
                }
                keys.end = keys.end.max(batch.header().next_offset());
                Ok(true)
            })?;
            if !complete {
                return Ok(keys);
            }
            keys.end = keys.end.max(segment.end);
        }
        Ok(keys)
    }

    /// Hands over every batch of a segment, checksums verified, until `visit` answers false; true if it saw all.
    fn each_batch(
        &self,
        segment: &Arc<Segment>,
        mut visit: impl FnMut(Batch) -> Result<bool, LogError>,
    ) -> Result<bool, LogError> {
        let path = self.shared.path(segment.base, Kind::Log, segment.stage);
        let file = self.shared.open(segment, Kind::Log).map_err(LogError::io("cannot open", &path))?;
        let mut scan = Scan::batches(&*file, 0, segment.size);
        loop {
            self.check_ending()?;
            match scan.next_batch() {
                Ok(Some((_, batch))) => {
                    check_crc(&batch).map_err(|error| self.damaged(&error))?;
                    if !visit(batch)? {
                        return Ok(false);
                    }
                }
                Ok(None) => return Ok(true),
                Err(ScanError::Io(source)) => return Err(LogError::io("cannot read", &path)(source)),
                Err(ScanError::Batch { position, error }) => {
                    let reason = format!("damaged at byte {position}: {error}");
                    return Err(LogError::Format { path, reason });
                }
            }
        }
    }
}

impl KeyMap {
    fn add(&mut self, batch: &Batch) {
        // A batch that cannot be read supersedes nothing.
        let Ok(body) = batch.body(MAX_INFLATED_BATCH_BYTES) else { return };
        let mut found = Vec::new();
        for record in RecordViews::new(batch.header(), &body) {
            match record {
                Ok(record) => found.extend(record.key.map(|key| (key, record.offset))),
                Err(_) => return,
            }
        }
        for (key, offset) in found {
            if let Some(last) = self.last.get_mut(key) {
                *last = (*last).max(offset);
            } else {
                self.bytes += key.len() + COMPACTION_KEY_OVERHEAD_BYTES;
                self.last.insert(Bytes::copy_from_slice(key), offset);
            }
        }
    }
}

impl Keep<'_> {
    /// Does a later record have the same key? One without a key is from before the topic was compacted, and has no place in it (Kafka).
    fn is_superseded(&self, offset: Offset, key: Option<&[u8]>) -> bool {
        match key {
            Some(key) => self.keys.last.get(key).is_some_and(|last| *last > offset),
            None => offset < self.keys.end,
        }
    }

    /// Is it time for what had so long to live?
    fn forgets(&self, horizon: Timestamp) -> bool {
        self.forget_until.is_some_and(|until| horizon <= until)
    }
}

/// Neighbours that fit into one segment together.
fn groups(segments: &[Arc<Segment>], segment_bytes: u64) -> Vec<&[Arc<Segment>]> {
    let mut groups = Vec::new();
    let mut rest = segments;
    while let Some(first) = rest.first() {
        let mut size = 0u64;
        let count = rest.iter().take_while(|segment| {
            size += segment.size;
            size <= segment_bytes && segment.end.since(first.base) <= i32::MAX as u64
        });
        let (group, others) = rest.split_at(count.count().max(1));
        groups.push(group);
        rest = others;
    }
    groups
}

/// The path stages that a compaction goes through.
const STAGES: [Stage; 2] = [Stage::Cleaned, Stage::Swap];

#[cfg(test)]
#[path = "compact_tests.rs"]
mod tests;
