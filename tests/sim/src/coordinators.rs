//! One simulated life of two coordinators, of groups and of transactions, and of two partitions that transactions write to, each with a log of its
//! own on one disk, driven as the broker's shell drives them: decide, append as one batch, replay, and let the answers go once what they depend
//! on is flushed. The seed says which producers follow KIP-98 and which KIP-890.
//!
//! Processes stop, crash, die in the middle of a call, and the power goes. After every start:
//!
//! - no acknowledged position of a group is lost or has gone back, and none is there that nobody has sent;
//! - no epoch of a group that a member has heard of is forgotten, and no partition is two members';
//! - what EndTxn has answered stands, and what was added to an open transaction is still part of it;
//! - no transaction is torn: whatever markers go out for it, before and after, say the same;
//! - no position of a committed transaction is lost, and none of another is ever shown;
//! - no committed transaction is partial, no record of another is seen, and readers wait for none that has ended.
//!
//! The coordinators' logs are compacted meanwhile, tombstones and markers go: nothing that a replay tells changes.

mod client;
mod data;
mod groups;
mod positions;
mod records;
mod seat;
mod transactions;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tidelog_log::Disk;
use tidelog_log::sim::{SimDisk, SimRandom};
use tidelog_model::{Now, Timestamp};

use self::data::Places;
use self::groups::Groups;
use self::transactions::Transactions;
use crate::mortal::MortalDisk;

/// Steps of one life.
const STEPS: usize = 220;

/// Rounds in which everything must come to rest once nothing goes wrong any more.
const ROUNDS_TO_REST: usize = 400;

/// Rounds after which every decided transaction has asked for its markers.
const LEAST_ROUNDS: usize = 20;

/// What a life was made of; equal for equal seeds.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct CoordinatorReport {
    /// A hash over every answer and every disk operation.
    pub trace_hash: u64,
    /// Positions whose commit was acknowledged.
    pub commits: usize,
    /// Reports of members that were answered.
    pub reports: usize,
    /// Transactions whose end was acknowledged.
    pub ends: usize,
    /// Markers that went out.
    pub markers: usize,
    /// Positions that were stored as part of a transaction.
    pub positions: usize,
    /// Batches of records whose append was acknowledged.
    pub batches: usize,
    /// Compactions that removed something.
    pub compactions: usize,
    /// Processes that ended, in any way.
    pub restarts: usize,
    /// Of these, by a power cut.
    pub power_cuts: usize,
    /// Decisions that could not be appended.
    pub refused: usize,
}

impl CoordinatorReport {
    /// Adds another life's figures; the hash stays.
    pub fn add(&mut self, other: &CoordinatorReport) {
        let pairs = [
            (&mut self.commits, other.commits),
            (&mut self.reports, other.reports),
            (&mut self.ends, other.ends),
            (&mut self.markers, other.markers),
            (&mut self.positions, other.positions),
            (&mut self.batches, other.batches),
            (&mut self.compactions, other.compactions),
            (&mut self.restarts, other.restarts),
            (&mut self.power_cuts, other.power_cuts),
            (&mut self.refused, other.refused),
        ];
        for (sum, more) in pairs {
            *sum += more;
        }
    }
}

/// What is done wrong on purpose, so that the proof is seen to fail.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Flaw {
    /// Nothing.
    None,
    /// A coordinator's answers leave before what they depend on is flushed.
    AnswersEarly,
    /// A partition answers to a marker before it is flushed.
    MarkedEarly,
    /// A load takes the abort of a transaction for its commit.
    CommitsAborted,
    /// A load passes over the commits of transactions.
    MissesCommits,
    /// Compaction looks at what open transactions have written, too.
    CompactsOpen,
}

/// Lives one life. An error tells the step and what promise was broken.
pub fn run_coordinators(seed: u64, flaw: Flaw) -> Result<CoordinatorReport, String> {
    World::new(seed, flaw)?.live()
}

struct World {
    disk: SimDisk,
    process: MortalDisk,
    random: SimRandom,
    groups: Groups,
    transactions: Transactions,
    time: Duration,
    started: Duration,
    report: CoordinatorReport,
}

impl World {
    /// A world whose shell has this flaw: then promises are broken.
    fn new(seed: u64, flaw: Flaw) -> Result<World, String> {
        let disk = SimDisk::new(seed);
        let made = disk.create_dir(Path::new("data")).and_then(|()| disk.flush_dir(Path::new("")));
        made.map_err(|error| format!("the data directory: {error}"))?;
        let places = Places::new()?;
        let mut world = World {
            process: MortalDisk::new(&disk, seed),
            disk,
            random: SimRandom::new(seed ^ 0x636f_6f72),
            groups: Groups::new(places.group.clone(), flaw)?,
            transactions: Transactions::new(places, seed, flaw),
            time: Duration::ZERO,
            started: Duration::ZERO,
            report: CoordinatorReport::default(),
        };
        world.start()?;
        Ok(world)
    }

    fn live(mut self) -> Result<CoordinatorReport, String> {
        for step in 0..STEPS {
            self.step().map_err(|error| format!("step {step}: {error}"))?;
        }
        self.rest().map_err(|error| format!("at the end: {error}"))?;
        let hashes = [self.disk.digest(), self.groups.hash(), self.transactions.hash()];
        self.report.trace_hash = hashes.into_iter().fold(0, |sum, hash| sum.rotate_left(21) ^ hash);
        Ok(self.report)
    }

    fn now(&self) -> Now {
        let total = self.time + self.disk.elapsed();
        Now {
            monotonic: total.saturating_sub(self.started),
            wall: Timestamp(1_700_000_000_000 + total.as_millis() as i64),
        }
    }

    fn step(&mut self) -> Result<(), String> {
        self.time += Duration::from_millis(self.random.below(60));
        let now = self.now();
        match self.random.below(100) {
            0..20 => self.groups.act(&mut self.random, now, &mut self.report),
            20..52 => {
                for _ in 0..=self.random.below(4) {
                    self.transactions.act(&mut self.random, now, &mut self.groups, &mut self.report)?;
                }
            }
            52..86 => self.flush(),
            86..90 => self.groups.tidy(&mut self.random, now, &mut self.report)?,
            90..94 => self.transactions.tidy(&mut self.random, now, &mut self.report)?,
            94..97 => {
                self.process.die_after(self.random.below(12));
            }
            _ => {
                let how = self.random.below(3);
                self.end(how)?;
                self.start()?;
            }
        }
        self.hear()?;
        if self.process.is_dead() {
            let how = 1 + self.random.below(2);
            self.end(how)?;
            self.start()?;
        }
        Ok(())
    }

    /// Each log is flushed for itself: one may have all that depends on what another lacks.
    fn flush(&mut self) {
        for _ in 0..=self.random.below(3) {
            let steps = if self.random.chance(20) { 1 } else { 4 };
            let log = self.random.below(4);
            for _ in 0..steps {
                match log {
                    0 => self.groups.flush(),
                    1 => self.transactions.flush(),
                    log => self.transactions.flush_data(log as usize - 2),
                }
            }
        }
    }

    /// Timers act, and answers that may leave arrive, unless the process is dead.
    fn hear(&mut self) -> Result<(), String> {
        let now = self.now();
        self.groups.timers(now, &mut self.report);
        self.transactions.timers(now, &mut self.report);
        if self.process.is_dead() {
            return Ok(());
        }
        self.hear_all()
    }

    fn hear_all(&mut self) -> Result<(), String> {
        let now = self.now();
        for heard in self.groups.hear(&mut self.report)? {
            self.transactions.hear_partition(heard, now, &mut self.report)?;
        }
        self.transactions.hear(now, &mut self.report)?;
        self.groups.check_transactional(self.transactions.ends(), false)
    }

    /// 0: in order; 1: a crash; 2: a power cut.
    fn end(&mut self, how: u64) -> Result<(), String> {
        self.groups.end(how == 0);
        self.transactions.end(how == 0);
        if !self.process.is_dead() {
            self.hear_all()?;
        }
        if how == 2 {
            self.disk.power_cut();
        } else {
            self.disk.process_crash();
        }
        self.report.restarts += 1;
        self.report.power_cuts += usize::from(how == 2);
        self.process = MortalDisk::new(&self.disk, self.random.next());
        self.started = self.time + self.disk.elapsed();
        Ok(())
    }

    fn start(&mut self) -> Result<(), String> {
        let disk: Arc<dyn Disk> = Arc::new(self.process.clone());
        let now = self.now();
        self.groups.start(&disk, now)?;
        self.transactions.start(&disk, now)?;
        self.groups.check_transactional(self.transactions.ends(), false)
    }

    /// Nothing goes wrong any more: everybody is answered, ends its transaction, and every one has all its markers.
    fn rest(&mut self) -> Result<(), String> {
        // A new process asks the partitions anew, at once.
        self.end(1)?;
        self.start()?;
        for round in 0..ROUNDS_TO_REST {
            self.time += Duration::from_millis(50);
            let now = self.now();
            self.transactions.come_to_rest(&mut self.random, now, &mut self.groups, &mut self.report)?;
            (0..4).for_each(|_| self.groups.flush());
            (0..4).for_each(|_| self.transactions.flush());
            (0..8).for_each(|step| self.transactions.flush_data(step % 2));
            self.hear()?;
            if round >= LEAST_ROUNDS && self.groups.is_quiet() && self.transactions.is_quiet() {
                break;
            }
        }
        self.end(2)?;
        self.start()?;
        self.transactions.check_whole()?;
        self.groups.check_transactional(self.transactions.ends(), true)
    }
}
