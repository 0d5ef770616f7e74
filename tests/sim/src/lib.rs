//! Deterministic simulation of the hot path: `tidelog-partition` over `tidelog-log` on the simulated disk, driven as the broker's
//! shell drives them. It proves what an acknowledgement is worth; it is no part of the product.
//!
//! Two partitions share a disk. Producers (plain, idempotent, transactional, any acks) retry and repeat themselves, flushes begin and
//! end among appends, segments roll and go, checkpoints are written; the disk is slow, full, failing; processes stop, crash and die in the middle
//! of a call; the power goes; files are damaged. After every start:
//!
//! - every batch acknowledged with acks=all is there once, at its offset, with its bytes;
//! - everything that a reader ever saw below the high watermark is there;
//! - offsets are dense, and without a power cut nothing that was written is missing;
//! - consumers of committed records see whole committed transactions and nothing that was aborted; no transaction hangs;
//! - damage below the recovery checkpoint takes its partition offline, and the other one goes on.
//!
//! Coordinators live on the same log and partition ([`run_coordinators`]).
//!
//! [`run`] lives one seed, [`run_all`] many on all cores. `TIDELOG_SEEDS=500..1000` chooses others.

mod committed;
mod coordinators;
mod damage;
mod ledger;
mod mortal;
mod producer;
mod seeds;
mod shell;
mod transactional;
mod world;

pub use coordinators::{CoordinatorReport, Flaw, run_coordinators};
pub use seeds::{run_all, run_all_coordinators, seeds_or};
pub use world::Options;

/// What a life was made of; equal for equal seeds.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Report {
    /// The seed.
    pub seed: u64,
    /// A hash over every step and every disk operation.
    pub trace_hash: u64,
    /// Batches written.
    pub batches: usize,
    /// Answers that left.
    pub answers: usize,
    /// Batches acknowledged with acks=all.
    pub acknowledged: usize,
    /// Batches that readers saw.
    pub seen: usize,
    /// Batches recognised as written before.
    pub duplicates: usize,
    /// Transactions that ended.
    pub transactions: usize,
    /// Requests that were answered too late.
    pub timeouts: usize,
    /// Segments rolled by an append.
    pub rolls: usize,
    /// Processes that ended, in any way.
    pub restarts: usize,
    /// Of these, by a power cut.
    pub power_cuts: usize,
    /// Starts that were disturbed.
    pub troubled_starts: usize,
    /// Written batches that a power cut took back.
    pub taken_back: usize,
    /// Appends, flushes and removals that failed.
    pub failures: usize,
    /// Times that the disk filled up.
    pub full: usize,
    /// Partitions that damage took offline.
    pub damages: usize,
}

impl Report {
    /// Adds another life's figures; seed and hash stay.
    pub fn add(&mut self, other: &Report) {
        let pairs = [
            (&mut self.batches, other.batches),
            (&mut self.answers, other.answers),
            (&mut self.acknowledged, other.acknowledged),
            (&mut self.seen, other.seen),
            (&mut self.duplicates, other.duplicates),
            (&mut self.transactions, other.transactions),
            (&mut self.timeouts, other.timeouts),
            (&mut self.rolls, other.rolls),
            (&mut self.restarts, other.restarts),
            (&mut self.power_cuts, other.power_cuts),
            (&mut self.troubled_starts, other.troubled_starts),
            (&mut self.taken_back, other.taken_back),
            (&mut self.failures, other.failures),
            (&mut self.full, other.full),
            (&mut self.damages, other.damages),
        ];
        for (sum, more) in pairs {
            *sum += more;
        }
    }
}

/// Lives one life. An error tells the step, what promise was broken, and everything that led to it.
pub fn run(seed: u64, options: Options) -> Result<Report, String> {
    world::World::new(seed, options)?.live()
}
