//! Seeded lives of one compacted log: plain records, tombstones and transactions; compactions with little memory, interrupted by failing
//! disks, crashes and power cuts. A model knows what each key's value is; no life may lose one, show an aborted record, or bring a
//! deleted one back. `TIDELOG_SEEDS=200..5000` lives others than the usual ones.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tidelog_model::{LeaderEpoch, Now, Offset, ProducerEpoch, ProducerId, Sequence, Timestamp};
use tidelog_record::{AbortedTransaction, Batch, BatchBuilder, BatchSums, EndTransactionMarker, MarkerKind};

use super::seeds::seeds;
use super::support::*;
use crate::sim::{Faults, Operation, SimDisk, SimRandom};
use crate::{ActiveProducers, Checkpoints, CompactionLimits, Disk, FileCache, Log, LogConfig, LogView, StampedBatch};

const STEPS: usize = 150;
const KEYS: u64 = 8;
/// `delete.retention.ms`.
const RETENTION: i64 = 5_000;

/// A record as it was written.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Written {
    key: String,
    value: Option<String>,
    time: i64,
    /// The producer whose transaction it is of.
    transaction: Option<ProducerId>,
}

/// A marker as it was written.
#[derive(Clone, Copy)]
struct Marker {
    producer: ProducerId,
    kind: MarkerKind,
}

struct Life {
    disk: SimDisk,
    random: SimRandom,
    log: Option<Log>,
    view: LogView,
    sums: BatchSums,
    records: BTreeMap<i64, Written>,
    markers: BTreeMap<i64, Marker>,
    /// What an append that took the log offline may have left on the disk.
    attempted: (BTreeMap<i64, Written>, BTreeMap<i64, Marker>),
    flushed: Offset,
    cleaned: Offset,
    time: i64,
    compactions: usize,
    crashes: usize,
    trace: Vec<String>,
}

fn log_config() -> LogConfig {
    LogConfig { compacted: true, ..config() }
}

impl Life {
    fn new(seed: u64) -> Life {
        let disk = SimDisk::new(seed);
        let log = create_with(&disk, log_config());
        let view = log.view();
        Life {
            disk,
            random: SimRandom::new(seed ^ 0xc1ea),
            log: Some(log),
            view,
            sums: BatchSums::default(),
            records: BTreeMap::new(),
            markers: BTreeMap::new(),
            attempted: Default::default(),
            flushed: Offset::ZERO,
            cleaned: Offset::ZERO,
            time: NOW.wall.0,
            compactions: 0,
            crashes: 0,
            trace: Vec::new(),
        }
    }

    fn now(&self) -> Now {
        Now { monotonic: Duration::from_secs(1), wall: Timestamp(self.time) }
    }

    fn step(&mut self) {
        self.time += self.random.below(2_000) as i64;
        match self.random.below(100) {
            0..50 => self.append(),
            50..62 => self.end_transaction(),
            62..70 => self.roll(),
            70..80 => self.flush(),
            80..92 => self.compact(),
            92..96 => self.faults(),
            _ => self.restart(),
        }
        if self.view.offline().is_some() {
            self.restart();
        }
        let faults = self.disk.faults();
        self.disk.set_faults(Faults::default());
        self.check();
        self.disk.set_faults(faults);
    }

    /// The transaction to which an offset belongs has ended like this; `None` while it is open.
    fn end_of(&self, offset: i64, producer: ProducerId) -> Option<MarkerKind> {
        let mut after = self.markers.range(offset..).map(|(_, marker)| marker);
        after.find(|marker| marker.producer == producer).map(|marker| marker.kind)
    }

    fn write(&mut self, batch: &Batch) -> bool {
        let end = self.view.log_end();
        let stamped = StampedBatch::new(batch, end, LeaderEpoch(0));
        let mut sums = self.sums.clone();
        let marker = EndTransactionMarker::of_batch(batch).unwrap();
        let aborted: Vec<AbortedTransaction> =
            sums.apply(&stamped.header, marker, self.now()).and_then(|done| done.aborted()).into_iter().collect();
        let snapshot = Bytes::from(self.sums.producers.encode_snapshot());
        let now = self.now();
        let written = self.log.as_mut().unwrap().append(&[stamped], &aborted, &mut |_| snapshot.clone(), now);
        if written.is_ok() {
            self.sums = sums;
        }
        written.is_ok()
    }

    fn append(&mut self) {
        let end = self.view.log_end();
        let mut builder = BatchBuilder::new(end).leader_epoch(LeaderEpoch(0));
        let transaction = self.random.chance(40).then(|| ProducerId(self.random.below(3) as i64));
        if let Some(producer) = transaction {
            let last = self.sums.producers.entry(producer).last_sequence();
            let next = if last.0 < 0 { Sequence(0) } else { last.plus(1) };
            builder = builder.producer(producer, ProducerEpoch(0), next).transactional(true);
        }
        let mut records: Vec<Written> = Vec::new();
        for _ in 0..=self.random.below(3) {
            let key = format!("k{}", self.random.below(KEYS));
            let value = (!self.random.chance(20)).then(|| format!("{}-{}", self.random.next(), "v".repeat(50)));
            builder.push(Timestamp(self.time), Some(key.as_bytes()), value.as_deref().map(str::as_bytes), &[]).unwrap();
            records.push(Written { key, value, time: self.time, transaction });
        }
        let records = records.into_iter().enumerate().map(|(at, record)| (end.0 + at as i64, record)).collect();
        if self.write(&builder.build().unwrap()) {
            self.records.extend(records);
        } else if self.view.offline().is_some() {
            self.attempted.0 = records;
        }
    }

    fn end_transaction(&mut self) {
        let producer = ProducerId(self.random.below(3) as i64);
        if self.sums.transactions.open_of(producer).is_none() {
            return;
        }
        let kind = if self.random.chance(50) { MarkerKind::Abort } else { MarkerKind::Commit };
        let marker = EndTransactionMarker { kind, coordinator_epoch: 0 };
        let end = self.view.log_end();
        let batch = marker.batch(end, LeaderEpoch(0), producer, ProducerEpoch(0), Timestamp(self.time)).unwrap();
        let marker = (end.0, Marker { producer, kind });
        if self.write(&batch) {
            self.markers.extend([marker]);
        } else if self.view.offline().is_some() {
            self.attempted.1 = BTreeMap::from([marker]);
        }
    }

    fn roll(&mut self) {
        let snapshot = Bytes::from(self.sums.producers.encode_snapshot());
        let now = self.now();
        let _ = self.log.as_mut().unwrap().roll(&mut |_| snapshot.clone(), now);
    }

    fn flush(&mut self) {
        if let Ok(end) = self.view.flush() {
            self.flushed = end;
            self.sums.transactions.advance(end);
        }
    }

    fn compact(&mut self) {
        let limits = CompactionLimits {
            delete_retention_ms: RETENTION,
            memory_bytes: if self.random.chance(30) { 500 } else { 1 << 20 },
            ..CompactionLimits::new(self.cleaned, self.stable())
        };
        let producers = ActiveProducers::of(&self.sums.producers);
        let done = self.view.compact(&limits, &producers, Timestamp(self.time));
        self.trace.push(format!("{limits:?} at {}: {done:?}", self.time));
        if let Ok(done) = done {
            self.compactions += usize::from(done.bytes_after < done.bytes_before);
            self.cleaned = done.clean_to;
        }
    }

    fn faults(&mut self) {
        let faults = match self.random.below(4) {
            0 | 1 => Faults { fail_after: Some(self.random.below(30)), ..Faults::default() },
            2 => Faults { fail_all: Some(Operation::Flush), ..Faults::default() },
            _ => Faults::default(),
        };
        self.disk.set_faults(faults);
    }

    fn restart(&mut self) {
        self.disk.set_faults(Faults::default());
        self.log = None;
        let power_cut = self.random.chance(60);
        if power_cut {
            self.disk.power_cut();
        } else {
            self.disk.process_crash();
        }
        self.crashes += 1;
        // The broker's checkpoints may lag behind.
        let mut lagging = |offset| if self.random.chance(50) { offset } else { Offset::ZERO };
        let (recovery_point, cleaned) = (lagging(self.flushed), lagging(self.cleaned));
        let disk: Arc<dyn Disk> = Arc::new(self.disk.clone());
        let checkpoints = Checkpoints { recovery_point, gaps_below: cleaned, ..Checkpoints::default() };
        let now = self.now();
        let (log, recovered) =
            Log::open(disk, FileCache::new(2), Path::new(DIRECTORY), log_config(), checkpoints, now).unwrap();
        let end = recovered.log_end;
        self.trace.push(format!("restart, power cut {power_cut}, {checkpoints:?}: {end}, flushed {}", self.flushed));
        assert!(end >= self.flushed, "what was flushed is gone: {end} < {}", self.flushed);
        let (records, markers) = std::mem::take(&mut self.attempted);
        self.records.extend(records);
        self.markers.extend(markers);
        self.records.split_off(&end.0);
        self.markers.split_off(&end.0);
        self.view = log.view();
        self.log = Some(log);
        for (offset, record) in &self.records {
            let Some(producer) = record.transaction.filter(|id| self.end_of(*offset, *id).is_none()) else { continue };
            let open = recovered.sums.transactions.open_of(producer);
            assert!(
                open.is_some_and(|first| first.0 <= *offset),
                "an open transaction is forgotten: {offset} {open:?}"
            );
        }
        for producer in (0..3).map(ProducerId) {
            let open = recovered.sums.transactions.open_of(producer);
            let unended = |(offset, record): (&i64, &Written)| {
                record.transaction == Some(producer) && self.end_of(*offset, producer).is_none()
            };
            assert_eq!(
                open.is_some(),
                self.records.iter().any(unended),
                "of {producer:?}: a transaction that nobody can end"
            );
        }
        self.sums = recovered.sums;
        self.sums.transactions.advance(end);
        self.cleaned = self.cleaned.min(end);
        self.flushed = self.view.flush().unwrap();
    }

    /// Only what is flushed counts: a power cut could take a marker back, and with it what its transaction has superseded.
    fn stable(&self) -> Offset {
        self.sums.transactions.last_stable_offset(self.view.flushed_end())
    }

    /// What a reader of committed records finds is what the model says.
    fn check(&mut self) {
        let stable = self.stable();
        let aborted = self.view.aborted_transactions(Offset::ZERO, self.view.log_end()).unwrap();
        let mut found: BTreeMap<i64, (String, Option<String>)> = BTreeMap::new();
        let text = |bytes: Bytes| String::from_utf8(bytes.to_vec()).unwrap();
        for batch in read_all(&self.view) {
            let header = *batch.header();
            let hit = |entry: &AbortedTransaction| {
                entry.producer_id == header.producer_id
                    && (entry.first_offset..=entry.last_offset).contains(&header.base_offset)
            };
            if header.attributes.is_control() || (header.attributes.is_transactional() && aborted.iter().any(hit)) {
                continue;
            }
            for record in batch.records(1 << 20).unwrap().map(Result::unwrap).filter(|record| record.offset < stable) {
                let before = found.last_key_value().map_or(-1, |(offset, _)| *offset);
                assert!(record.offset.0 > before, "offsets do not ascend");
                found.insert(record.offset.0, (text(record.key.unwrap()), record.value.map(text)));
            }
        }
        let mut newest: BTreeMap<&str, (i64, &Written)> = BTreeMap::new();
        for (offset, record) in self.records.range(..stable.0) {
            match record.transaction.map(|producer| self.end_of(*offset, producer)) {
                Some(Some(MarkerKind::Abort)) => continue,
                Some(None) => panic!("{offset} is open below the last stable offset {stable}"),
                _ => drop(newest.insert(&record.key, (*offset, record))),
            }
        }
        for (offset, (key, value)) in &found {
            let written = self.records.get(offset).unwrap_or_else(|| panic!("{offset} was never written"));
            assert_eq!((key, value), (&written.key, &written.value), "{offset} was written otherwise");
            let kind = written.transaction.and_then(|producer| self.end_of(*offset, producer));
            assert_ne!(kind, Some(MarkerKind::Abort), "{offset} was aborted and is shown");
        }
        for (key, (offset, record)) in &newest {
            let forgotten = record.value.is_none() && self.time - record.time >= RETENTION;
            assert!(found.contains_key(offset) || forgotten, "{key} has lost its last record, {offset}");
            // Where a deletion is forgotten, so is all that it deleted.
            let older = found.iter().filter(|(_, (other, _))| other == key).map(|(at, _)| *at);
            assert!(found.contains_key(offset) || older.count() == 0, "{key} is back from the dead");
        }
    }
}

#[test]
fn many_compacted_lives_lose_no_value() {
    let seeds = seeds();
    let (mut compactions, mut crashes) = (0, 0);
    for seed in seeds.clone() {
        let mut life = Life::new(seed);
        let lived = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| (0..STEPS).for_each(|_| life.step())));
        if lived.is_err() {
            panic!(
                "seed {seed}: {}\nagain: TIDELOG_SEEDS={seed}..{} cargo test -p tidelog-log compacted_lives",
                life.trace.join("\n"),
                seed + 1
            );
        }
        compactions += life.compactions;
        crashes += life.crashes;
    }
    let lives = (seeds.end - seeds.start) as usize;
    assert!(
        lives < 100 || (compactions > 2 * lives && crashes > 3 * lives),
        "{lives} lives: {compactions} compactions, {crashes} crashes"
    );
}
