//! A leader's log for tests: closed segments as real files, everything the tier asks answered from memory.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Weak};

use bytes::Bytes;
use parking_lot::Mutex;
use tidelog_log::{ClosedSegment, Disk, DiskFile, FileSlice, LocalLog, OsDisk, ReadError};
use tidelog_model::{LeaderEpoch, Offset, ProducerId, Timestamp};
use tidelog_record::{AbortedTransaction, BatchBuilder, Batches, LeaderEpochs};

#[derive(Clone)]
struct Closed {
    base: Offset,
    end: Offset,
    path: PathBuf,
    /// The first, and the largest or when the last record was written.
    times: (Timestamp, Timestamp),
    aborted: Vec<AbortedTransaction>,
}

struct State {
    segments: BTreeMap<Offset, Closed>,
    epochs: LeaderEpochs,
    log_start: Offset,
    end: Offset,
    committed: Vec<Offset>,
    asked: usize,
    /// So many times a segment cannot be read.
    refusals: usize,
    handed: Vec<Weak<dyn DiskFile>>,
}

pub(crate) struct TestLog {
    folder: tempfile::TempDir,
    state: Mutex<State>,
}

/// The value of the record at `offset` in a log written for `flavour`.
pub(crate) fn value(flavour: u8, offset: i64, size: usize) -> Vec<u8> {
    let mut value = format!("{flavour}:{offset}:").into_bytes();
    value.resize(size.max(value.len()), flavour ^ (offset as u8));
    value
}

/// Timestamps grow by ten a record.
pub(crate) fn timestamp(offset: i64) -> Timestamp {
    Timestamp(1_000_000 + offset * 10)
}

impl TestLog {
    pub(crate) fn new() -> Arc<Self> {
        let state = State {
            segments: BTreeMap::new(),
            epochs: LeaderEpochs::new(),
            log_start: Offset::ZERO,
            end: Offset::ZERO,
            committed: Vec::new(),
            asked: 0,
            refusals: 0,
            handed: Vec::new(),
        };
        Arc::new(TestLog { folder: tempfile::tempdir().unwrap(), state: Mutex::new(state) })
    }

    /// Appends a closed segment: `batches` of `records` with values of `size` bytes, all of one epoch.
    pub(crate) fn close(&self, epoch: i32, flavour: u8, batches: i64, records: i64, size: usize) -> Offset {
        let mut state = self.state.lock();
        let base = state.end;
        let epoch = LeaderEpoch(epoch);
        state.epochs.assign(epoch, base);
        let mut bytes = Vec::new();
        let mut next = base.get();
        for _ in 0..batches {
            let mut builder = BatchBuilder::new(Offset(next)).leader_epoch(epoch);
            for offset in next..next + records {
                builder.push(timestamp(offset), None, Some(&value(flavour, offset, size)), &[]).unwrap();
            }
            bytes.extend_from_slice(builder.build().unwrap().bytes());
            next += records;
        }
        let path = self.folder.path().join(format!("{:020}-{flavour}.log", base.get()));
        std::fs::write(&path, bytes).unwrap();
        let end = Offset(next);
        let times = (timestamp(base.get()), timestamp(next - 1));
        state.segments.insert(base, Closed { base, end, path, times, aborted: Vec::new() });
        state.end = end;
        end
    }

    /// Appends a closed segment of one batch whose records have no time; the last was written at `written`, if that is known.
    pub(crate) fn close_without_times(&self, records: i64, written: Timestamp) -> Offset {
        let mut state = self.state.lock();
        let base = state.end;
        let epoch = LeaderEpoch(1);
        state.epochs.assign(epoch, base);
        let mut builder = BatchBuilder::new(base).leader_epoch(epoch);
        for _ in 0..records {
            builder.push(Timestamp::NONE, None, Some(b"v"), &[]).unwrap();
        }
        let path = self.folder.path().join(format!("{:020}.log", base.get()));
        std::fs::write(&path, builder.build().unwrap().bytes()).unwrap();
        let end = base.plus(records);
        let times = (Timestamp::NONE, written);
        state.segments.insert(base, Closed { base, end, path, times, aborted: Vec::new() });
        state.end = end;
        end
    }

    /// An aborted transaction in the segment that was closed last.
    pub(crate) fn abort(&self, producer: i64, first: i64, last: i64) {
        let mut state = self.state.lock();
        let mut segment = state.segments.last_entry().unwrap();
        segment.get_mut().aborted.push(AbortedTransaction {
            producer_id: ProducerId(producer),
            first_offset: Offset(first),
            last_offset: Offset(last),
            last_stable_offset: Offset(last + 1),
        });
    }

    /// Compaction keeps of the segment at `base` only the batches whose first offsets are in `kept`; the segment ends where it did.
    pub(crate) fn compact(&self, base: i64, kept: &[i64]) {
        let mut left = Vec::new();
        for batch in Batches::strict(self.bytes(base).into()) {
            let batch = batch.unwrap();
            if kept.contains(&batch.header().base_offset.get()) {
                left.extend_from_slice(batch.bytes());
            }
        }
        std::fs::write(self.path_of(base), left).unwrap();
    }

    pub(crate) fn set_log_start(&self, start: i64) {
        self.state.lock().log_start = Offset(start);
    }

    /// The next so many looks at a closed segment fail.
    pub(crate) fn refuse(&self, times: usize) {
        self.state.lock().refusals = times;
    }

    pub(crate) fn end(&self) -> Offset {
        self.state.lock().end
    }

    /// What it was told to be safely remote.
    pub(crate) fn committed(&self) -> Vec<Offset> {
        self.state.lock().committed.clone()
    }

    pub(crate) fn asked(&self) -> usize {
        self.state.lock().asked
    }

    /// Does anybody hold one of its segments open?
    pub(crate) fn is_open(&self) -> bool {
        self.state.lock().handed.iter().any(|file| file.strong_count() > 0)
    }

    pub(crate) fn path_of(&self, base: i64) -> PathBuf {
        self.state.lock().segments[&Offset(base)].path.clone()
    }

    /// The bytes of the segment that begins at `base`.
    pub(crate) fn bytes(&self, base: i64) -> Vec<u8> {
        std::fs::read(self.path_of(base)).unwrap()
    }

    /// All segments' bytes in order.
    pub(crate) fn all_bytes(&self) -> Vec<u8> {
        let paths: Vec<PathBuf> = self.state.lock().segments.values().map(|s| s.path.clone()).collect();
        paths.into_iter().flat_map(|path| std::fs::read(path).unwrap()).collect()
    }
}

impl LocalLog for TestLog {
    fn closed_segment(&self, from: Offset) -> Result<Option<ClosedSegment>, ReadError> {
        let mut state = self.state.lock();
        state.asked += 1;
        let Some(segment) = state.segments.values().find(|segment| segment.end > from).cloned() else {
            return Ok(None);
        };
        if state.refusals > 0 {
            state.refusals -= 1;
            let source = std::io::Error::other("too many open files");
            return Err(ReadError::Io { path: segment.path, source });
        }
        let file = OsDisk.open(&segment.path, false).unwrap();
        let len = file.len().unwrap() as usize;
        state.handed.push(Arc::downgrade(&file));
        Ok(Some(ClosedSegment {
            base: segment.base,
            end: segment.end,
            first_timestamp: segment.times.0,
            max_timestamp: segment.times.1,
            log: FileSlice { file, position: 0, len },
            epochs: state.epochs.range(Offset::ZERO, segment.end),
            producer_snapshot: Bytes::from_static(b"producer states"),
            aborted: segment.aborted,
        }))
    }

    fn log_start(&self) -> Offset {
        self.state.lock().log_start
    }

    fn local_start(&self) -> Offset {
        self.state.lock().segments.values().next().map_or(Offset::ZERO, |segment| segment.base)
    }

    fn needs_remote(&self) -> Option<Offset> {
        let local_start = self.local_start();
        (self.log_start() < local_start).then_some(local_start)
    }

    fn is_all_active(&self) -> bool {
        false
    }

    fn leader_epochs(&self) -> LeaderEpochs {
        self.state.lock().epochs.clone()
    }

    fn remote_committed(&self, end: Offset) {
        self.state.lock().committed.push(end);
    }
}
