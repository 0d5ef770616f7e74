//! One simulated life of a broker: two partitions on one disk, their producers and readers, and everything that can go wrong.
//!
//! All chance comes from the seed, all time from the steps and the slow disk. After each step and each start the ledgers are asked
//! whether every promise is kept.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tidelog_log::sim::{Faults, Operation, SimDisk, SimRandom};
use tidelog_log::{Disk, FileSlice};
use tidelog_model::{LeaderEpoch, Now, Offset, PartitionIndex, Timestamp, TopicId, TopicName, TopicPartition};
use tidelog_partition::Durability;

use crate::Report;
use crate::damage::Damaged;
use crate::ledger::{End, Ledger};
use crate::mortal::MortalDisk;
use crate::producer::Producer;
use crate::shell::Replica;
use crate::transactional::Transactional;

mod checkpoints;
mod clients;
mod leader;
mod process;

use checkpoints::Line;

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

pub(crate) struct World {
    options: Options,
    disk: SimDisk,
    process: MortalDisk,
    random: SimRandom,
    sites: Vec<Site>,
    producers: Vec<Producer>,
    /// Numbered after the others.
    transactional: Vec<Transactional>,
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
            transactional: (0..4).map(|number| Transactional::new(number, number % 2)).collect(),
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
        self.report.transactions = self.transactional.iter().map(Transactional::ended).sum();
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

    fn faults(&mut self) {
        let faults = match self.random.below(8) {
            0 | 1 => Faults { fail_after: Some(self.random.below(40)), ..Faults::default() },
            2 | 3 => {
                // As much as is there, and a little more.
                self.disk.set_faults(Faults { capacity: Some(u64::MAX), ..Faults::default() });
                let used = u64::MAX - self.disk.space(Path::new("data")).map_or(u64::MAX, |space| space.free);
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
            for number in 0..self.producers.len() + self.transactional.len() {
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
        for site in &self.sites {
            if let Hosted::Leading(replica) = &site.hosted {
                let offsets = replica.machine.offsets();
                if offsets.last_stable != offsets.high_watermark {
                    return Err(format!("a transaction hangs: {offsets:?}"));
                }
            }
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
        let done = self.producers.iter().all(Producer::is_done);
        done && self.transactional.iter().all(Transactional::is_done) && self.sites.iter().all(quiet)
    }
}
