//! One simulated life of a broker: two partitions on one disk, their producers and readers, and everything that can go wrong.
//!
//! All chance comes from the seed, all time from the steps and the slow disk. After each step and each start the ledgers are asked
//! whether every promise is kept.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tidelog_log::datadir::{HIGH_WATERMARKS, LOG_STARTS, OffsetCheckpoint, RECOVERY_POINTS};
use tidelog_log::sim::{Faults, Operation, SimDisk, SimRandom};
use tidelog_log::{Checkpoints, Disk, FileSlice, LogError, ReadError};
use tidelog_model::{
    Deadline, KafkaError, LeaderEpoch, Now, Offset, PartitionIndex, Timestamp, TopicId, TopicName, TopicPartition,
};
use tidelog_partition::{Acks, Durability};

use crate::Report;
use crate::damage::{Damaged, damage};
use crate::ledger::{End, Ledger};
use crate::mortal::MortalDisk;
use crate::producer::Producer;
use crate::shell::{Answer, Append, Opening, Replica, Waiter};

/// Steps of one life.
const STEPS: usize = 400;

/// What a failure shows of its trace; `TIDELOG_TRACE=1` shows all.
const LINES_SHOWN: usize = 60;

/// Rounds in which everything must come to rest once nothing goes wrong any more.
const ROUNDS_TO_REST: usize = 60;

/// What a life is lived under.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Options {
    /// The broker's durability setting.
    pub durability: Durability,
    /// Does the power go, too? Without fsync durability a power cut may take acknowledged records.
    pub power_cuts: bool,
}

impl Options {
    /// Three of four seeds live in fsync durability with power cuts, the fourth in page-cache durability without.
    pub const fn of_seed(seed: u64) -> Self {
        if seed % 4 == 3 {
            Options { durability: Durability::PageCache, power_cuts: false }
        } else {
            Options { durability: Durability::Fsync, power_cuts: true }
        }
    }
}

/// A partition as the broker has it.
enum Hosted {
    Leading(Box<Replica>),
    /// It could not be opened; everything else goes on.
    Offline,
}

struct Site {
    id: TopicPartition,
    directory: PathBuf,
    topic_id: TopicId,
    hosted: Hosted,
    ledger: Ledger,
    epoch: LeaderEpoch,
    /// The worst end of a process since the log was last open.
    ended: End,
    damaged: Option<Damaged>,
}

/// A reader of one partition. It may be slow: what it was handed is read a step later.
struct Reader {
    partition: usize,
    position: Offset,
    handed: Option<Handed>,
}

struct Handed {
    from: Offset,
    slices: Vec<FileSlice>,
    watermark: Offset,
}

/// One line of the checkpoint files.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Line {
    recovery_point: Offset,
    log_start: Offset,
    high_watermark: Offset,
}

pub(crate) struct World {
    options: Options,
    disk: SimDisk,
    process: MortalDisk,
    random: SimRandom,
    sites: Vec<Site>,
    producers: Vec<Producer>,
    readers: Vec<Reader>,
    /// What the checkpoint files say, as this process knows.
    lines: BTreeMap<TopicPartition, Line>,
    time: Duration,
    started: Duration,
    trace: String,
    pub(crate) report: Report,
}

fn told<E: std::fmt::Display>(what: &str) -> impl FnOnce(E) -> String + '_ {
    move |error| format!("{what}: {error}")
}

impl World {
    pub(crate) fn new(seed: u64, options: Options) -> Result<World, String> {
        let disk = SimDisk::new(seed);
        disk.create_dir(Path::new("data"))
            .and_then(|()| disk.flush_dir(Path::new("")))
            .map_err(told("the data directory"))?;
        let topic = TopicName::new("t").map_err(told("a topic name"))?;
        let site = |number: i32| {
            let id = TopicPartition { topic: topic.clone(), partition: PartitionIndex(number) };
            Site {
                directory: Path::new("data").join(format!("t-{number}")),
                id,
                topic_id: TopicId::from_bytes([9; 16]),
                hosted: Hosted::Offline,
                ledger: Ledger::new(),
                epoch: LeaderEpoch(0),
                ended: End::CleanStop,
                damaged: None,
            }
        };
        let mut world = World {
            options,
            process: MortalDisk::new(&disk, seed),
            disk,
            random: SimRandom::new(seed ^ 0x7469_6465),
            sites: vec![site(0), site(1)],
            producers: (0..6).map(|number| Producer::new(number, number % 2, number < 4)).collect(),
            readers: (0..4)
                .map(|number| Reader { partition: number % 2, position: Offset::ZERO, handed: None })
                .collect(),
            lines: BTreeMap::new(),
            time: Duration::ZERO,
            started: Duration::ZERO,
            trace: String::new(),
            report: Report { seed, ..Report::default() },
        };
        world.start()?;
        Ok(world)
    }

    /// Lives the whole life.
    pub(crate) fn live(mut self) -> Result<Report, String> {
        for step in 0..STEPS {
            self.step().map_err(|error| format!("step {step}: {error}\n{}", self.last_lines()))?;
        }
        self.come_to_rest().map_err(|error| format!("at the end: {error}\n{}", self.last_lines()))?;
        for site in &self.sites {
            self.report.acknowledged += site.ledger.acknowledged_count();
            self.report.seen += site.ledger.seen_count();
            self.report.taken_back += site.ledger.taken_back;
        }
        self.report.trace_hash = self
            .trace
            .bytes()
            .fold(self.disk.digest(), |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        Ok(self.report)
    }

    fn now(&self) -> Now {
        let total = self.time + self.disk.elapsed();
        Now {
            monotonic: total.saturating_sub(self.started),
            wall: Timestamp(1_700_000_000_000 + total.as_millis() as i64),
        }
    }

    fn note(&mut self, what: std::fmt::Arguments<'_>) {
        // Writing into a string cannot fail.
        let _ = writeln!(self.trace, "{what}");
    }

    fn last_lines(&self) -> String {
        let lines: Vec<&str> = self.trace.lines().collect();
        let first =
            if std::env::var_os("TIDELOG_TRACE").is_some() { 0 } else { lines.len().saturating_sub(LINES_SHOWN) };
        lines.get(first..).unwrap_or_default().join("\n")
    }

    fn pick(&mut self) -> usize {
        self.random.below(self.sites.len() as u64) as usize
    }

    fn site(&mut self, at: usize) -> Result<&mut Site, String> {
        self.sites.get_mut(at).ok_or_else(|| format!("there is no partition {at}"))
    }

    fn step(&mut self) -> Result<(), String> {
        self.time += Duration::from_millis(self.random.below(250));
        match self.random.below(100) {
            0..29 => self.produce()?,
            29..52 => self.with_leader(World::drain)?,
            52..72 => self.with_leader(World::flush)?,
            72..81 => self.read()?,
            81..85 => self.with_leader(World::tidy)?,
            85..88 => self.write_checkpoints(&BTreeMap::new()),
            88..91 => self.with_leader(World::ask)?,
            91..94 => self.faults(),
            94..95 => self.doom(),
            95..96 => self.restart(End::CleanStop)?,
            96..97 => self.restart(End::Crash)?,
            97..99 => self.restart(self.worst())?,
            _ => self.damage()?,
        }
        let offline = self.sites.iter().any(|site| match &site.hosted {
            Hosted::Leading(replica) => replica.machine.is_offline(),
            Hosted::Offline => true,
        });
        if self.process.is_dead() || (offline && self.random.chance(6)) {
            let how = if self.random.chance(50) { End::Crash } else { self.worst() };
            self.restart(how)?;
        }
        self.check()
    }

    fn worst(&self) -> End {
        if self.options.power_cuts { End::PowerCut } else { End::Crash }
    }

    /// Does something with a partition that leads, and passes on what comes of it.
    fn with_leader(
        &mut self,
        act: impl FnOnce(&mut World, usize, &mut Replica) -> Result<(), String>,
    ) -> Result<(), String> {
        let at = self.pick();
        let site = self.site(at)?;
        let mut replica = match std::mem::replace(&mut site.hosted, Hosted::Offline) {
            Hosted::Leading(replica) => replica,
            Hosted::Offline => return Ok(()),
        };
        let acted = act(self, at, &mut replica);
        let answers = replica.take_answers();
        let broken = replica.broken.take();
        if !self.process.is_dead() {
            let watermark = replica.machine.offsets().high_watermark;
            self.site(at)?.ledger.safe(watermark);
        }
        self.site(at)?.hosted = Hosted::Leading(replica);
        acted?;
        self.deliver(at, answers)?;
        broken.map_or(Ok(()), Err)
    }

    fn deliver(&mut self, at: usize, answers: Vec<Answer>) -> Result<(), String> {
        // A dead process answers nobody.
        if self.process.is_dead() {
            return Ok(());
        }
        for Answer { waiter, result } in answers {
            self.report.answers += 1;
            let ledger = &mut self.site(at)?.ledger;
            match (waiter, result) {
                (Waiter::Append(append), Ok(offset)) => {
                    ledger.answered(&append.batch, offset, append.acks == Acks::All)?;
                    self.tell(&append, Ok(offset));
                }
                (Waiter::Append(append), Err(KafkaError::DuplicateSequenceNumber)) => {
                    ledger.answered_as_known(&append.batch)?;
                    self.tell(&append, Err(KafkaError::DuplicateSequenceNumber));
                }
                (Waiter::Append(append), Err(error)) => {
                    self.report.timeouts += usize::from(error == KafkaError::RequestTimedOut);
                    self.tell(&append, Err(error));
                }
                (Waiter::Safe(offset), Ok(_)) => ledger.waited_for(offset)?,
                (Waiter::Safe(_), Err(_)) => {}
            }
        }
        Ok(())
    }

    fn tell(&mut self, append: &Append, result: Result<Offset, KafkaError>) {
        if let Some(producer) = self.producers.get_mut(append.producer) {
            producer.answered(&append.batch, result);
        }
    }

    /// One or more clients send something.
    fn produce(&mut self) -> Result<(), String> {
        for _ in 0..=self.random.below(4) {
            let number = self.random.below(self.producers.len() as u64) as usize;
            self.send(number, true)?;
        }
        Ok(())
    }

    fn send(&mut self, number: usize, fresh: bool) -> Result<(), String> {
        let now = self.now();
        let Some(producer) = self.producers.get_mut(number) else { return Ok(()) };
        let at = producer.partition;
        let Some(Site { hosted: Hosted::Leading(replica), .. }) = self.sites.get_mut(at) else { return Ok(()) };
        let batches = producer.send(&mut self.random, now.wall.get(), fresh).map_err(told("a batch"))?;
        for (batch, acks) in batches {
            let deadline = Some(now.after(Duration::from_millis(500 + self.random.below(4000))));
            replica.queue.push_back(Append { batch, acks, deadline, producer: number });
        }
        Ok(())
    }

    fn drain(&mut self, at: usize, replica: &mut Replica) -> Result<(), String> {
        let (healthy, now) = (self.healthy(replica), self.now());
        let turn = replica.drain(now);
        let end = replica.machine.offsets();
        self.note(format_args!("{at}: drained, {} written, rolled {}, {end:?}", turn.written.len(), turn.rolled));
        self.report.batches += turn.written.len();
        self.report.duplicates += turn.duplicates;
        self.report.rolls += usize::from(turn.rolled);
        if let Some(failure) = &turn.failure {
            self.failed(at, "append", failure, healthy)?;
        }
        let ledger = &mut self.site(at)?.ledger;
        ledger.written(turn.written)?;
        ledger.attempted(turn.attempted);
        Ok(())
    }

    fn flush(&mut self, at: usize, replica: &mut Replica) -> Result<(), String> {
        let healthy = self.healthy(replica);
        // Mostly a flush takes its time, sometimes it is over at once.
        let steps = if self.random.chance(50) { 1 } else { 4 };
        for _ in 0..steps {
            match replica.flush_step() {
                Ok(None) => return Ok(()),
                Ok(Some(done)) => self.note(format_args!("{at}: {done}, {:?}", replica.machine.offsets())),
                Err(failure) => return self.failed(at, "flush", &failure, healthy),
            }
        }
        Ok(())
    }

    fn tidy(&mut self, at: usize, replica: &mut Replica) -> Result<(), String> {
        let (healthy, now) = (self.healthy(replica), self.now());
        let result = replica.tidy(now);
        self.note_log_start(at, replica)?;
        match result {
            Ok(()) => Ok(()),
            Err(failure) => self.failed(at, "tidy", &failure, healthy),
        }
    }

    fn note_log_start(&mut self, at: usize, replica: &Replica) -> Result<(), String> {
        let start = replica.machine.offsets().log_start.max(replica.view.log_start());
        self.site(at)?.ledger.log_start(start);
        self.note(format_args!("{at}: starts at {start}"));
        Ok(())
    }

    /// Smaller wishes: a flush, word when something is safe, records deleted.
    fn ask(&mut self, at: usize, replica: &mut Replica) -> Result<(), String> {
        let offsets = replica.machine.offsets();
        match self.random.below(5) {
            0 | 1 => replica.want_flush(),
            2 | 3 => {
                let deadline = Deadline(self.now().monotonic + Duration::from_millis(self.random.below(3000)));
                replica.wait_for(offsets.log_end, Some(deadline).filter(|_| self.random.chance(50)));
            }
            _ => {
                let span = offsets.high_watermark.since(offsets.log_start) / 3;
                replica.move_log_start(offsets.log_start.plus(self.random.below(span + 1) as i64));
                self.note_log_start(at, replica)?;
            }
        }
        Ok(())
    }

    /// Could nothing have gone wrong so far?
    fn healthy(&self, replica: &Replica) -> bool {
        let Faults { slowest: _, fail_after, fail_all, capacity } = self.disk.faults();
        fail_after.is_none() && fail_all.is_none() && capacity.is_none() && replica.view.offline().is_none()
    }

    fn failed(&mut self, at: usize, what: &str, failure: &LogError, healthy: bool) -> Result<(), String> {
        self.note(format_args!("{at}: {what} failed: {failure}"));
        self.report.failures += 1;
        if healthy && !self.process.is_dead() {
            return Err(format!("partition {at}: {what} failed without a reason: {failure}"));
        }
        Ok(())
    }

    fn read(&mut self) -> Result<(), String> {
        let number = self.random.below(self.readers.len() as u64) as usize;
        let max_bytes = self.random.below(20_000) as usize;
        let faults = self.disk.faults();
        let faulty = faults.fail_after.is_some() || faults.fail_all.is_some() || self.process.is_dead();
        let Some(reader) = self.readers.get_mut(number) else { return Ok(()) };
        let Some(site) = self.sites.get_mut(reader.partition) else { return Ok(()) };
        let Hosted::Leading(replica) = &site.hosted else { return Ok(()) };
        if let Some(handed) = reader.handed.take() {
            let mut bytes = Vec::new();
            for slice in &handed.slices {
                match slice.read() {
                    Ok(some) => bytes.extend_from_slice(&some),
                    Err(_) if faulty || self.process.is_dead() => return Ok(()),
                    Err(error) => return Err(format!("what was handed out at {} is gone: {error}", handed.from)),
                }
            }
            reader.position = site.ledger.read(handed.from, Bytes::from(bytes), handed.watermark)?;
            return Ok(());
        }
        let offsets = replica.machine.offsets();
        if replica.machine.is_offline() {
            return Ok(());
        }
        if reader.position < offsets.log_start || self.random.chance(10) {
            reader.position = offsets.log_start;
        }
        match replica.view.read(reader.position, offsets.high_watermark, max_bytes, true) {
            Ok(read) if read.is_empty() && reader.position < offsets.high_watermark => {
                Err(format!("nothing at {}, the high watermark is {}", reader.position, offsets.high_watermark))
            }
            Ok(read) => {
                let (from, watermark) = (reader.position, offsets.high_watermark);
                reader.handed = Some(Handed { from, slices: read.slices, watermark });
                Ok(())
            }
            Err(ReadError::Io { .. }) if faulty || self.process.is_dead() => Ok(()),
            Err(error) => Err(format!("reading at {} below {}: {error}", reader.position, offsets.high_watermark)),
        }
    }

    fn faults(&mut self) {
        let faults = match self.random.below(8) {
            0 | 1 => Faults { fail_after: Some(self.random.below(40)), ..Faults::default() },
            2 | 3 => {
                // As much as is there, and a little more.
                self.disk.set_faults(Faults { capacity: Some(u64::MAX), ..Faults::default() });
                let used = u64::MAX - self.disk.free_space(Path::new("data")).unwrap_or(u64::MAX);
                Faults { capacity: Some(used + self.random.below(9000)), ..Faults::default() }
            }
            4 => Faults { fail_all: Some(Operation::Flush), ..Faults::default() },
            5 => Faults { slowest: Duration::from_millis(self.random.below(900)), ..Faults::default() },
            _ => Faults::default(),
        };
        self.report.full += usize::from(faults.capacity.is_some());
        self.disk.set_faults(faults);
        self.note(format_args!("{faults:?}"));
    }

    /// The process will die soon, in the middle of something.
    fn doom(&mut self) {
        let calls = self.random.below(25);
        self.process.die_after(calls);
        self.note(format_args!("dies after {calls} calls"));
    }

    /// Writes the checkpoint files, as the broker does every few seconds; `closed` are partitions that no longer run.
    fn write_checkpoints(&mut self, closed: &BTreeMap<TopicPartition, Line>) {
        let mut lines = self.lines.clone();
        for site in &self.sites {
            // A partition that is not open has nothing newer to say.
            if let Hosted::Leading(replica) = &site.hosted {
                let offsets = replica.machine.offsets();
                let line = Line {
                    recovery_point: replica.view.flushed_end(),
                    log_start: offsets.log_start,
                    high_watermark: offsets.high_watermark,
                };
                lines.insert(site.id.clone(), line);
            }
        }
        lines.extend(closed.iter().map(|(id, line)| (id.clone(), *line)));
        let column = |of: fn(&Line) -> Offset| OffsetCheckpoint {
            offsets: lines.iter().map(|(id, line)| (id.clone(), of(line))).collect(),
        };
        let files = [
            (RECOVERY_POINTS, column(|line| line.recovery_point)),
            (LOG_STARTS, column(|line| line.log_start)),
            (HIGH_WATERMARKS, column(|line| line.high_watermark)),
        ];
        for (name, checkpoint) in files {
            if let Err(failure) = checkpoint.write(&self.process, Path::new("data"), name) {
                self.note(format_args!("checkpoint {name}: {failure}"));
                return;
            }
        }
        self.note(format_args!("checkpoints {lines:?}"));
        self.lines = lines;
    }

    fn read_checkpoints(&self, disk: &dyn Disk) -> Result<BTreeMap<TopicPartition, Line>, LogError> {
        let read = |name| OffsetCheckpoint::read(disk, Path::new("data"), name).map(|file| file.offsets);
        let (recovery, starts, watermarks) = (read(RECOVERY_POINTS)?, read(LOG_STARTS)?, read(HIGH_WATERMARKS)?);
        let line = |site: &Site| {
            let of = |file: &BTreeMap<TopicPartition, Offset>| file.get(&site.id).copied().unwrap_or(Offset::ZERO);
            let log_start = of(&starts);
            let recovery_point = of(&recovery).max(log_start);
            let known = recovery.contains_key(&site.id) || starts.contains_key(&site.id);
            let line = Line { recovery_point, log_start, high_watermark: of(&watermarks) };
            known.then(|| (site.id.clone(), line))
        };
        Ok(self.sites.iter().filter_map(line).collect())
    }

    /// The process stops in order; it crashes instead if a log cannot be closed.
    fn stop(&mut self) -> Result<End, String> {
        let (mut clean, mut closed) = (true, BTreeMap::new());
        for at in 0..self.sites.len() {
            let flusher_ends = self.random.chance(50);
            let site = self.site(at)?;
            let Hosted::Leading(replica) = std::mem::replace(&mut site.hosted, Hosted::Offline) else { continue };
            let id = site.id.clone();
            let healthy = self.healthy(&replica);
            let left = replica.close(flusher_ends);
            if left.forgotten > 0 {
                return Err(format!("partition {at}: a clean stop left {} without an answer", left.forgotten));
            }
            let recovery_point = match left.end {
                Ok(end) => end,
                Err(failure) => {
                    clean = false;
                    self.failed(at, "close", &failure, healthy)?;
                    left.view.flushed_end()
                }
            };
            closed
                .insert(id, Line { recovery_point, log_start: left.offsets.log_start, high_watermark: recovery_point });
            if !self.process.is_dead() {
                self.site(at)?.ledger.safe(left.offsets.high_watermark);
            }
            self.deliver(at, left.answers)?;
        }
        let faults = self.disk.faults();
        clean &= faults.fail_after.is_none() && faults.fail_all.is_none() && faults.capacity.is_none();
        self.write_checkpoints(&closed);
        Ok(if clean && !self.process.is_dead() { End::CleanStop } else { End::Crash })
    }

    /// Ends the process in some way and starts another.
    fn restart(&mut self, how: End) -> Result<(), String> {
        self.end_process(how)?;
        for at in 0..self.sites.len() {
            let disk = self.disk.clone();
            let site = self.site(at)?;
            if let Some(damaged) = site.damaged.take() {
                damaged.repair(&disk).map_err(told("a repair"))?;
                self.note(format_args!("{at}: repaired"));
            }
        }
        // Some starts fail or die half way; then there is another.
        let trouble = self.random.below(10);
        if trouble < 3 {
            if trouble == 0 {
                self.disk.set_faults(Faults { fail_after: Some(self.random.below(60)), ..Faults::default() });
            } else {
                self.process.die_after(self.random.below(80));
            }
            self.start()?;
            self.report.troubled_starts += 1;
            self.process.live_on();
            let half_way = self.sites.iter().any(|site| matches!(site.hosted, Hosted::Offline));
            if self.process.is_dead() || (half_way && self.random.chance(50)) {
                let again = if self.random.chance(50) { End::Crash } else { self.worst() };
                self.end_process(again)?;
                self.start()?;
            }
            return Ok(());
        }
        self.start()
    }

    fn end_process(&mut self, how: End) -> Result<(), String> {
        self.note(format_args!("{how:?}"));
        let how = if how == End::CleanStop { self.stop()? } else { how };
        match how {
            End::PowerCut => self.disk.power_cut(),
            End::CleanStop | End::Crash => self.disk.process_crash(),
        }
        self.report.restarts += 1;
        self.report.power_cuts += usize::from(how == End::PowerCut);
        for site in &mut self.sites {
            site.hosted = Hosted::Offline;
            site.ended = site.ended.max(how);
            site.epoch = LeaderEpoch(site.epoch.0 + self.random.below(2) as i32);
        }
        self.producers.iter_mut().for_each(Producer::disconnected);
        self.readers.iter_mut().for_each(|reader| reader.handed = None);
        self.process = MortalDisk::new(&self.disk, self.random.next());
        self.started = self.time + self.disk.elapsed();
        Ok(())
    }

    fn start(&mut self) -> Result<(), String> {
        let disk: Arc<dyn Disk> = Arc::new(self.process.clone());
        let now = self.now();
        let armed = self.disk.faults().fail_after.is_some();
        self.lines = match self.read_checkpoints(&*disk) {
            Ok(lines) => lines,
            // The broker does not start without them.
            Err(failure) if armed || self.process.is_dead() => {
                self.note(format_args!("no start: {failure}"));
                return Ok(());
            }
            Err(failure) => return Err(format!("the checkpoints cannot be read: {failure}")),
        };
        for at in 0..self.sites.len() {
            let line = self.sites.get(at).and_then(|site| self.lines.get(&site.id)).copied();
            let checkpoints = line.map_or(Checkpoints::default(), |line| Checkpoints {
                recovery_point: line.recovery_point,
                log_start: line.log_start,
            });
            let durability = self.options.durability;
            let faulty = self.disk.faults().fail_after.is_some();
            let site = self.site(at)?;
            let opening = Opening {
                directory: &site.directory,
                topic_id: site.topic_id,
                epoch: site.epoch,
                durability,
                checkpoints,
            };
            match Replica::open(&disk, &opening, now) {
                Ok((replica, opened)) => {
                    self.note(format_args!("{at}: leads {:?} {opened:?}", replica.machine.offsets()));
                    if !self.process.is_dead() {
                        self.accept(at, replica, &opened)?;
                    }
                }
                Err(failure) => {
                    self.note(format_args!("{at}: stays offline: {failure}"));
                    let damaged = self.site(at)?.damaged.is_some();
                    match failure {
                        LogError::Damaged(_) if damaged => self.report.damages += 1,
                        // A directory that cannot be listed is taken for a new one, and then found not to be.
                        LogError::Io { .. } | LogError::Offline { .. } | LogError::Refused(_)
                            if faulty || self.process.is_dead() => {}
                        failure => return Err(format!("partition {at} does not open: {failure}")),
                    }
                }
            }
        }
        Ok(())
    }

    fn accept(&mut self, at: usize, replica: Replica, opened: &crate::shell::Opened) -> Result<(), String> {
        // Reading on a disk that refuses proves nothing.
        let faults = self.disk.faults();
        self.disk.set_faults(Faults::default());
        let due = self.process.live_on();
        let site = self.site(at)?;
        if let Some(damaged) = &site.damaged {
            return Err(format!("partition {at} was opened with {}", damaged.what));
        }
        let ended = std::mem::replace(&mut site.ended, End::CleanStop);
        if ended == End::CleanStop && (opened.verified_bytes > 0 || opened.cut.is_some()) {
            return Err(format!("partition {at}: a clean stop was not clean: {opened:?}"));
        }
        let accepted = site.ledger.accept(ended, &replica.view);
        site.hosted = Hosted::Leading(Box::new(replica));
        self.disk.set_faults(faults);
        if let Some(calls) = due {
            self.process.die_after(calls);
        }
        accepted.map_err(|error| format!("partition {at}: {error}"))
    }

    /// While the broker is down, something damages a log below its checkpoint.
    fn damage(&mut self) -> Result<(), String> {
        if self.sites.iter().any(|site| site.damaged.is_some()) {
            return Ok(());
        }
        let how = if self.random.chance(50) { End::CleanStop } else { End::Crash };
        self.end_process(how)?;
        let at = self.pick();
        let lines = self.read_checkpoints(&self.disk).map_err(told("the checkpoints"))?;
        let site = self.sites.get_mut(at).ok_or("there is no such partition")?;
        let recovery_point = lines.get(&site.id).map_or(Offset::ZERO, |line| line.recovery_point);
        site.damaged =
            damage(&self.disk, &site.directory, recovery_point, &mut self.random).map_err(told("damaging"))?;
        let what = site.damaged.as_ref().map(|damaged| damaged.what);
        self.note(format_args!("{at}: {what:?} below {recovery_point}"));
        self.start()?;
        // The other partition knows nothing of it.
        match self.sites.get(1 - at).map(|site| &site.hosted) {
            Some(Hosted::Leading(_)) => Ok(()),
            _ => Err(format!("partition {} is offline, partition {at} was damaged", 1 - at)),
        }
    }

    /// What must be true at every moment.
    fn check(&mut self) -> Result<(), String> {
        for (at, site) in self.sites.iter().enumerate() {
            let Hosted::Leading(replica) = &site.hosted else { continue };
            let offsets = replica.machine.offsets();
            let ordered = offsets.log_start <= offsets.last_stable
                && offsets.last_stable <= offsets.high_watermark
                && offsets.high_watermark <= offsets.log_end;
            let (end, flushed) = (replica.view.log_end(), replica.view.flushed_end());
            let durable = match self.options.durability {
                Durability::Fsync => offsets.high_watermark <= flushed,
                Durability::PageCache => true,
            };
            if !ordered || !durable || flushed > end || offsets.log_end != end || site.ledger.end() != end {
                let model = site.ledger.end();
                return Err(format!("partition {at}: {offsets:?}, log {end}, flushed {flushed}, written {model}"));
            }
        }
        Ok(())
    }

    /// Nothing goes wrong any more: everything is answered, and all that was ever sent for certain is there once.
    fn come_to_rest(&mut self) -> Result<(), String> {
        self.disk.set_faults(Faults::default());
        self.process.live_on();
        let broken = self.process.is_dead()
            || self.sites.iter().any(|site| match &site.hosted {
                Hosted::Leading(replica) => replica.view.offline().is_some() || replica.machine.is_offline(),
                Hosted::Offline => true,
            });
        if broken {
            self.end_process(self.worst())?;
            for site in &mut self.sites {
                if let Some(damaged) = site.damaged.take() {
                    damaged.repair(&self.disk).map_err(told("a repair"))?;
                }
            }
            self.start()?;
        }
        for _ in 0..ROUNDS_TO_REST {
            self.time += Duration::from_millis(50);
            for number in 0..self.producers.len() {
                self.send(number, false)?;
            }
            for _ in 0..8 {
                self.with_leader(World::drain)?;
                self.with_leader(World::flush)?;
                self.read()?;
            }
            self.check()?;
            if self.is_at_rest() {
                break;
            }
        }
        if !self.is_at_rest() {
            return Err("somebody waits for ever".into());
        }
        // All of it must outlast one more end.
        self.end_process(self.worst())?;
        self.start()?;
        self.check()
    }

    fn is_at_rest(&self) -> bool {
        let quiet = |site: &Site| match &site.hosted {
            Hosted::Leading(replica) => replica.is_quiet(),
            Hosted::Offline => false,
        };
        self.sites.iter().all(quiet) && self.producers.iter().all(Producer::is_done)
    }
}
