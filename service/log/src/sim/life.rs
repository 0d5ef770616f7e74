//! One log's life from a seed: appends, flushes, rolls, truncations, retention, failing and full disks, crashes and power cuts.
//! A model knows every batch that was written and up to where a flush was acknowledged; after each step both must agree.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tidelog_model::{LeaderEpoch, Now, Offset, ProducerEpoch, ProducerId, Sequence, Timestamp, TopicId};
use tidelog_record::{
    AbortedTransaction, Batch, BatchBuilder, BatchSums, Batches, Codec, EndTransactionMarker, LeaderEpochs, MarkerKind,
};

use super::{Faults, Operation, SimDisk, SimRandom};
use crate::{Checkpoints, Disk, FileCache, Log, LogConfig, LogError, LogView, Recovered, StampedBatch};

/// Steps of one life.
const STEPS: usize = 120;

/// What a life was made of; equal for equal seeds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SimReport {
    /// The seed.
    pub seed: u64,
    /// One line per step.
    pub trace: String,
    /// A hash over every disk operation.
    pub digest: u64,
    /// Batches written.
    pub batches: usize,
    /// Starts after a crash or a power cut.
    pub crashes: usize,
    /// Batches that were written but not flushed and that a power cut took back.
    pub taken_back: usize,
}

/// Lives one life. An error names the seed, the step and what went wrong.
pub fn run(seed: u64) -> Result<SimReport, String> {
    let mut life = Life::new(seed).map_err(|error| format!("seed {seed}: the log cannot be created: {error}"))?;
    for step in 0..STEPS {
        life.step().map_err(|error| format!("seed {seed}, step {step}: {error}\n{}", life.trace))?;
    }
    life.restart(End::PowerCut).map_err(|error| format!("seed {seed}, at the end: {error}\n{}", life.trace))?;
    Ok(SimReport {
        seed,
        digest: life.disk.digest(),
        batches: life.appended,
        crashes: life.crashes,
        taken_back: life.taken_back,
        trace: life.trace,
    })
}

/// How one process ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum End {
    CleanStop,
    ProcessCrash,
    PowerCut,
}

/// A batch as the log must hold it.
#[derive(Clone, Debug)]
struct Written {
    base: Offset,
    next: Offset,
    bytes: Bytes,
}

struct Life {
    disk: SimDisk,
    directory: PathBuf,
    random: SimRandom,
    log: Option<Log>,
    view: LogView,
    /// All batches since the beginning, in order.
    written: Vec<Written>,
    /// Batches of an append that failed and took the log offline.
    attempted: Vec<Written>,
    flushed: Offset,
    log_start: Offset,
    /// The largest log start there ever was.
    deleted: Offset,
    sums: BatchSums,
    aborted: Vec<AbortedTransaction>,
    checkpoints: Checkpoints,
    epoch: LeaderEpoch,
    time: i64,
    trace: String,
    appended: usize,
    crashes: usize,
    taken_back: usize,
}

impl Life {
    fn new(seed: u64) -> Result<Life, LogError> {
        let disk = SimDisk::new(seed);
        let directory = PathBuf::from("data/t-0");
        // The data directory itself is the broker's.
        disk.create_dir(Path::new("data"))
            .and_then(|()| disk.flush_dir(Path::new("")))
            .map_err(LogError::io("cannot create", Path::new("data")))?;
        let log = Log::create(
            Arc::new(disk.clone()),
            FileCache::new(4),
            &directory,
            TopicId::from_bytes([7; 16]),
            config(),
            Offset::ZERO,
        )?;
        let view = log.view();
        Ok(Life {
            disk,
            directory,
            random: SimRandom::new(seed ^ 0x5eed),
            log: Some(log),
            view,
            written: Vec::new(),
            attempted: Vec::new(),
            flushed: Offset::ZERO,
            log_start: Offset::ZERO,
            deleted: Offset::ZERO,
            sums: BatchSums::default(),
            aborted: Vec::new(),
            checkpoints: Checkpoints::default(),
            epoch: LeaderEpoch(0),
            time: 1_700_000_000_000,
            trace: String::new(),
            appended: 0,
            crashes: 0,
            taken_back: 0,
        })
    }

    fn now(&self) -> Now {
        Now { monotonic: Duration::from_secs(1), wall: Timestamp(self.time) }
    }

    fn end(&self) -> Offset {
        self.written.last().map_or(Offset::ZERO, |batch| batch.next)
    }

    fn note(&mut self, what: std::fmt::Arguments<'_>) {
        // Writing into a string cannot fail.
        let _ = writeln!(self.trace, "{what}");
    }

    fn step(&mut self) -> Result<(), String> {
        self.time += self.random.below(1000) as i64;
        self.deleted = self.deleted.max(self.log_start);
        match self.random.below(100) {
            0..45 => self.append()?,
            45..65 => self.flush()?,
            65..75 => self.checkpoint(),
            75..80 => self.retention()?,
            80..83 => self.truncate()?,
            83..87 => self.roll()?,
            87..92 => self.faults(),
            92..95 => self.restart(End::PowerCut)?,
            95..97 => self.restart(End::ProcessCrash)?,
            _ => self.restart(End::CleanStop)?,
        }
        if self.view.offline().is_some() {
            let end = if self.random.chance(50) { End::PowerCut } else { End::ProcessCrash };
            self.restart(end)?;
        }
        self.check()
    }

    fn log(&mut self) -> Result<&mut Log, String> {
        self.log.as_mut().ok_or_else(|| "the log is not open".to_string())
    }

    /// A batch at `base`: plain, idempotent or transactional, of some size.
    fn batch(&mut self, base: Offset, sums: &BatchSums) -> Result<Batch, String> {
        let failed = |error| format!("a batch cannot be built: {error}");
        let random = &mut self.random;
        let producer = ProducerId(random.below(3) as i64);
        let transactional = producer.0 == 2;
        if transactional && sums.transactions.open_of(producer).is_some() && random.chance(40) {
            let kind = if random.chance(60) { MarkerKind::Abort } else { MarkerKind::Commit };
            let marker = EndTransactionMarker { kind, coordinator_epoch: 0 };
            let time = Timestamp(self.time);
            return marker.batch(base, self.epoch, producer, ProducerEpoch(0), time).map_err(failed);
        }
        let mut builder = BatchBuilder::new(base).leader_epoch(self.epoch);
        if producer.0 > 0 {
            let last = sums.producers.entry(producer).last_sequence();
            let next = if last.0 < 0 { Sequence(0) } else { last.plus(1) };
            builder = builder.producer(producer, ProducerEpoch(0), next).transactional(transactional);
        }
        if random.chance(20) {
            builder = builder.codec(Codec::Lz4);
        }
        for _ in 0..=random.below(4) {
            let size = if random.chance(10) { random.below(6000) } else { random.below(200) };
            let value: Vec<u8> = (0..size).map(|_| random.next() as u8).collect();
            let time = Timestamp(self.time - random.below(500) as i64);
            builder.push(time, None, Some(&value), &[]).map_err(failed)?;
        }
        builder.build().map_err(failed)
    }

    fn append(&mut self) -> Result<(), String> {
        let (mut sums, mut end) = (self.sums.clone(), self.end());
        let (mut group, mut aborted, mut written) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..=self.random.below(4) {
            let batch = self.batch(end, &sums)?;
            let stamped = StampedBatch::new(&batch, end, self.epoch);
            let marker = EndTransactionMarker::of_batch(&batch).unwrap_or_default();
            aborted.extend(sums.apply(&stamped.header, marker, self.now()).and_then(|done| done.aborted()));
            end = stamped.header.next_offset();
            let bytes = Bytes::from([&stamped.prefix, batch.bytes().get(16..).unwrap_or_default()].concat());
            written.push(Written { base: stamped.header.base_offset, next: end, bytes });
            group.push(stamped);
        }
        let snapshot = Bytes::from(self.sums.producers.encode_snapshot());
        let now = self.now();
        let before = self.view.log_end();
        let result = self.log()?.append(&group, &aborted, &mut |_| snapshot.clone(), now);
        match result {
            Ok(appended) => {
                self.note(format_args!("append {} batches to {} {:?}", group.len(), appended.end, appended.rolled));
                if appended.end != end {
                    return Err(format!("appended to {}, expected {end}", appended.end));
                }
                self.appended += written.len();
                self.written.extend(written);
                self.aborted.extend(aborted);
                self.sums = sums;
            }
            Err(error) => {
                self.note(format_args!("append failed: {error}"));
                if self.view.offline().is_some() {
                    // Nobody knows what of it is on the disk.
                    self.attempted = written;
                }
                if self.view.log_end() != before {
                    return Err("a failed append moved the end".into());
                }
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), String> {
        match self.view.flush() {
            Ok(end) => {
                self.note(format_args!("flushed to {end}"));
                self.flushed = end;
                if end == self.end() { Ok(()) } else { Err(format!("flushed to {end}, written to {}", self.end())) }
            }
            Err(error) => {
                self.note(format_args!("flush failed: {error}"));
                match self.view.offline() {
                    Some(_) => Ok(()),
                    None => Err("the log is online after a failed flush".into()),
                }
            }
        }
    }

    /// The broker's checkpoints follow what was flushed.
    fn checkpoint(&mut self) {
        self.checkpoints =
            Checkpoints { recovery_point: self.flushed, log_start: self.log_start, ..Checkpoints::default() };
        let checkpoints = self.checkpoints;
        self.note(format_args!("{checkpoints:?}"));
    }

    fn retention(&mut self) -> Result<(), String> {
        let segments = self.view.segments();
        let at = self.random.below(segments.len() as u64 + 1) as usize;
        let Some(segment) = segments.get(at).filter(|segment| segment.end <= self.flushed) else { return Ok(()) };
        let (offset, inside) = (segment.end, segment.base);
        if self.random.chance(30) && inside > self.log_start {
            // A client deletes records up to the middle of the log; files go later.
            self.log_start = self.view.advance_log_start(inside);
            // A broker keeps a deletion of records before it acknowledges it.
            self.checkpoints.log_start = self.log_start;
            self.note(format_args!("log start {inside}"));
            return Ok(());
        }
        let deleted = self.view.delete_before(offset);
        self.flushed = self.flushed.max(self.view.flushed_end());
        self.note(format_args!(
            "deleted before {offset}: {:?}",
            deleted.as_ref().map(Vec::len).map_err(|e| e.to_string())
        ));
        // A broker takes the first local offset as the new start of a log without a remote part.
        self.log_start = self.view.advance_log_start(self.view.local_start());
        Ok(())
    }

    fn truncate(&mut self) -> Result<(), String> {
        let low = self.view.local_start();
        let target = low.plus(self.random.below(self.end().since(low) + 1) as i64);
        let Ok(point) = self.log()?.truncation_point(target) else { return Ok(()) };
        self.checkpoints.recovery_point = self.checkpoints.recovery_point.min(point);
        self.checkpoints.log_start = self.checkpoints.log_start.min(point);
        let result = self.log()?.truncate_to(target);
        self.note(format_args!("truncated to {target}: {:?}", result.as_ref().map_err(|error| error.to_string())));
        // What was above is gone or not, even if it failed half way.
        self.flushed = self.flushed.min(point);
        if let Ok(end) = result {
            if end != point {
                return Err(format!("truncated to {end}, announced {point}"));
            }
            self.forget_above(end);
            self.log_start = self.log_start.min(end);
        }
        Ok(())
    }

    fn roll(&mut self) -> Result<(), String> {
        let snapshot = Bytes::from(self.sums.producers.encode_snapshot());
        let now = self.now();
        let result = self.log()?.roll(&mut |_| snapshot.clone(), now);
        self.note(format_args!("roll: {:?}", result.map_err(|error| error.to_string())));
        Ok(())
    }

    fn faults(&mut self) {
        let used: u64 = self.view.size();
        let faults = match self.random.below(5) {
            0 => Faults { fail_after: Some(self.random.below(30)), ..Faults::default() },
            1 => Faults { capacity: Some(used + self.random.below(30_000)), ..Faults::default() },
            2 => Faults { fail_all: Some(Operation::Flush), ..Faults::default() },
            3 => Faults { slowest: Duration::from_millis(self.random.below(50)), ..Faults::default() },
            _ => Faults::default(),
        };
        self.disk.set_faults(faults);
        self.note(format_args!("{faults:?}"));
    }

    /// Ends the process in some way and opens the log again.
    fn restart(&mut self, how: End) -> Result<(), String> {
        let mut how = how;
        if how == End::CleanStop {
            self.disk.set_faults(Faults::default());
            let snapshot = Bytes::from(self.sums.producers.encode_snapshot());
            let closed = self.log.take().map(|log| log.close(&snapshot));
            match closed {
                Some(Ok(end)) if end == self.end() => {
                    self.flushed = end;
                    self.checkpoint();
                }
                Some(Ok(end)) => return Err(format!("closed at {end}, written to {}", self.end())),
                _ => how = End::ProcessCrash,
            }
        }
        match how {
            End::PowerCut => self.disk.power_cut(),
            End::CleanStop | End::ProcessCrash => self.disk.process_crash(),
        }
        self.crashes += usize::from(how != End::CleanStop);
        self.epoch = LeaderEpoch(self.epoch.0 + self.random.below(2) as i32);
        let disk: Arc<dyn Disk> = Arc::new(self.disk.clone());
        let (log, recovered) =
            Log::open(disk, FileCache::new(4), &self.directory, config(), self.checkpoints, self.now())
                .map_err(|error| format!("{how:?}: the log does not open: {error}"))?;
        self.note(format_args!("{how:?}, recovered to {} {:?}", recovered.log_end, recovered.cut));
        self.view = log.view();
        self.log = Some(log);
        self.accept(how, &recovered)
    }

    /// What came back must be what was flushed, and of the rest a beginning.
    fn accept(&mut self, how: End, recovered: &Recovered) -> Result<(), String> {
        let end = recovered.log_end;
        if end < self.flushed {
            return Err(format!("flushed to {}, but only {end} came back", self.flushed));
        }
        for batch in std::mem::take(&mut self.attempted) {
            if batch.base == self.end() && batch.next <= end {
                self.written.push(batch);
            }
        }
        if end > self.end() {
            return Err(format!("{end} came back, only {} was written", self.end()));
        }
        if how == End::CleanStop && (end != self.end() || recovered.verified_bytes > 0 || recovered.cut.is_some()) {
            return Err(format!("a clean stop was not clean: {recovered:?}"));
        }
        let before = self.written.len();
        self.forget_above(end);
        self.taken_back += before - self.written.len();
        if self.end() != end && !(self.written.is_empty() && end == Offset::ZERO) {
            return Err(format!("{end} is not where a batch ended"));
        }
        self.log_start = recovered.log_start;
        let mut expected = self.sums.clone();
        // An epoch without a record left is nobody's, and what was deleted once has no history even if its files came back.
        self.deleted = self.deleted.max(recovered.log_start);
        let known = |epochs: &mut LeaderEpochs| {
            epochs.truncate_from_start(self.deleted);
            epochs.truncate_from_end(end);
        };
        expected.epochs.truncate_from_end(end);
        known(&mut expected.epochs);
        if recovered.sums.producers.encode_snapshot() != expected.producers.encode_snapshot() {
            let (found, expected) = (&recovered.sums.producers, &expected.producers);
            return Err(format!("the producer states are {found:?}, those of the batches {expected:?}"));
        }
        let mut epochs = recovered.sums.epochs.clone();
        known(&mut epochs);
        if epochs != expected.epochs {
            return Err(format!("the epochs are {:?}, expected {:?}", recovered.sums.epochs, expected.epochs));
        }
        let open = |sums: &BatchSums| sums.transactions.open().collect::<Vec<_>>();
        if open(&recovered.sums) != open(&expected) {
            return Err("the open transactions are not those of the batches".into());
        }
        Ok(())
    }

    fn forget_above(&mut self, end: Offset) {
        self.written.retain(|batch| batch.next <= end);
        self.flushed = self.flushed.min(end);
        let mut sums = BatchSums::default();
        self.aborted.clear();
        for batch in &self.written {
            if let Ok(batch) = Batch::parse(&batch.bytes) {
                let marker = EndTransactionMarker::of_batch(&batch).unwrap_or_default();
                let now = Now { monotonic: Duration::ZERO, wall: Timestamp::NONE };
                self.aborted.extend(sums.apply(batch.header(), marker, now).and_then(|done| done.aborted()));
            }
        }
        self.sums = sums;
    }

    /// Reads a range and compares it byte for byte.
    fn check(&mut self) -> Result<(), String> {
        // Reading on a disk that refuses proves nothing.
        let faults = self.disk.faults();
        self.disk.set_faults(Faults::default());
        let result = self.check_reads();
        self.disk.set_faults(faults);
        result
    }

    fn check_reads(&mut self) -> Result<(), String> {
        let (start, end) = (self.view.local_start(), self.view.log_end());
        if end != self.end() || self.view.flushed_end() > end {
            return Err(format!("the log ends at {end}, the model at {}", self.end()));
        }
        let from = start.plus(self.random.below(end.since(start) + 1) as i64);
        let up_to = from.plus(self.random.below(end.since(from) + 1) as i64);
        let max = self.random.below(40_000) as usize;
        let read = self.view.read(from, up_to, max, true).map_err(|error| format!("read {from}..{up_to}: {error}"))?;
        let mut bytes = Vec::new();
        for slice in &read.slices {
            bytes.extend_from_slice(&slice.read().map_err(|error| format!("a slice ends early: {error}"))?);
        }
        let wanted: Vec<&Written> =
            self.written.iter().filter(|batch| batch.next > from && batch.next <= up_to).collect();
        let mut rest = bytes.as_slice();
        let mut next = from;
        for (number, batch) in wanted.iter().enumerate() {
            let Some(tail) = rest.strip_prefix(&*batch.bytes) else {
                let fits = bytes.len() - rest.len() + batch.bytes.len() <= max || number == 0;
                if rest.is_empty() && !fits {
                    break;
                }
                return Err(format!("the batch at {} differs, or is missing although it fits", batch.base));
            };
            (rest, next) = (tail, batch.next);
        }
        if !rest.is_empty() || read.next != next {
            return Err(format!("{} bytes too many, next {} instead of {next}", rest.len(), read.next));
        }
        if Batches::strict(Bytes::from(bytes)).any(|batch| batch.is_err()) {
            return Err("half a batch was returned".into());
        }
        self.check_aborted(from, up_to)
    }

    fn check_aborted(&self, from: Offset, to: Offset) -> Result<(), String> {
        let touches = |entry: &&AbortedTransaction| entry.first_offset < to && entry.last_offset >= from;
        let found = self.view.aborted_transactions(from, to).map_err(|error| error.to_string())?;
        let found: Vec<_> = found.iter().filter(touches).collect();
        let wanted: Vec<_> = self.aborted.iter().filter(touches).collect();
        if found == wanted { Ok(()) } else { Err(format!("aborted in {from}..{to}: {found:?}, expected {wanted:?}")) }
    }
}

fn config() -> LogConfig {
    LogConfig { segment_bytes: 16 * 1024, index_interval_bytes: 512, ..LogConfig::default() }
}
