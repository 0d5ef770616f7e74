//! Finding the newest commit: one LIST, the newest snapshot, the commits after it. Decides what to read; never writes.
//!
//! A commit that was listed may have been deleted, and its number used again by a paused writer, before it was read. Commits are
//! deleted in ascending order, so the newest counts only once its predecessor is found, with the right nonce, after it was read.

use tidelog_model::LeaderEpoch;

use super::body::Commit;
use super::event::{Effect, Outcome};
use super::machine::{Commits, Moved, Newest, Phase};
use super::state::TableState;

/// A load, or the load after a lost race.
#[derive(Debug)]
pub(super) struct Load {
    /// How it ends when it succeeds.
    then: Outcome,
    /// The number at which the try before this one came to nothing: twice the same is no coincidence.
    doubt: Option<u64>,
}

/// The commits are being read one after another.
#[derive(Debug)]
pub(super) struct Reading {
    load: Load,
    /// Read next.
    next: u64,
    /// The newest that was listed.
    last: u64,
    state: TableState,
    epoch: LeaderEpoch,
    /// Nonce of the last commit that was read.
    nonce: Option<String>,
    moved: Option<Moved>,
}

/// The newest was read; its predecessor is being looked at again.
#[derive(Debug)]
pub(super) struct Confirming {
    load: Load,
    newest: Newest,
    previous: Option<String>,
    state: TableState,
    moved: Option<Moved>,
}

impl Reading {
    /// Is this the commit that was asked for?
    pub(super) fn wants(&self, number: u64) -> bool {
        number == self.next
    }
}

impl Commits {
    pub(super) fn list(&mut self, then: Outcome) -> Vec<Effect> {
        self.phase = Phase::Listing(Load { then, doubt: None });
        vec![Effect::List]
    }

    /// From the beginning: the commits moved on between two requests. If it fails at the same number again, one is lost.
    fn again(&mut self, load: Load, number: u64, reason: &str) -> Vec<Effect> {
        if load.doubt == Some(number) {
            return self.stop(Outcome::Broken(format!("commit {number} {reason}")));
        }
        self.phase = Phase::Listing(Load { then: load.then, doubt: Some(number) });
        vec![Effect::List]
    }

    pub(super) fn listed(&mut self, load: Load, numbers: &[u64]) -> Vec<Effect> {
        self.stored = numbers.iter().copied().collect();
        let Some(last) = self.stored.last().copied() else {
            self.state = self.first.clone();
            (self.newest, self.moved) = (None, None);
            return self.ready(load.then);
        };
        let next = last - last % self.snapshot_every;
        let (state, epoch) = (self.first.clone(), LeaderEpoch::NONE);
        self.phase = Phase::Reading(Box::new(Reading { load, next, last, state, epoch, nonce: None, moved: None }));
        vec![Effect::Read(next)]
    }

    pub(super) fn read(&mut self, mut reading: Reading, body: Option<&[u8]>) -> Vec<Effect> {
        let number = reading.next;
        let Some(body) = body else { return self.again(reading.load, number, "is missing") };
        let commit = match Commit::decode(body) {
            Ok(commit) => commit,
            Err(error) => return self.stop(Outcome::Broken(format!("commit {number}: {error}"))),
        };
        if commit.epoch > self.writer.epoch {
            return self.stop(Outcome::Fenced(commit.epoch));
        }
        if reading.nonce.is_some() && commit.previous != reading.nonce {
            return self.again(reading.load, number, "does not follow the one before it");
        }
        let previous = commit.previous.clone();
        if let Err(text) = self.follow(&mut reading, commit) {
            return self.stop(Outcome::Broken(format!("commit {number}: {text}")));
        }
        if number < reading.last {
            reading.next = number.saturating_add(1);
            let effect = Effect::Read(reading.next);
            self.phase = Phase::Reading(Box::new(reading));
            return vec![effect];
        }
        let Reading { load, state, epoch, nonce, moved, .. } = reading;
        let newest = Newest { number, epoch, nonce: nonce.unwrap_or_default() };
        self.phase = Phase::Confirming(Box::new(Confirming { load, newest, previous, state, moved }));
        vec![ask_before(number)]
    }

    /// Adds a commit that was read to the state that is being rebuilt.
    fn follow(&self, reading: &mut Reading, commit: Commit) -> Result<(), String> {
        if commit.number != reading.next {
            return Err(format!("it says that it is number {}", commit.number));
        }
        if commit.topic_id != self.writer.topic_id.to_string() {
            return Err(format!("it belongs to topic id {}", commit.topic_id));
        }
        if commit.epoch < reading.epoch {
            return Err(format!("its epoch {} is older than {} before it", commit.epoch, reading.epoch));
        }
        reading.epoch = commit.epoch;
        reading.nonce = Some(commit.nonce.clone());
        let is_snapshot = reading.next.is_multiple_of(self.snapshot_every);
        reading.moved = Moved::after(reading.moved, &commit, is_snapshot);
        if is_snapshot {
            let state = commit.snapshot.ok_or("it has no snapshot")?;
            state.schema.check()?;
            reading.state = state;
            return Ok(());
        }
        reading.state.apply(&commit).map_err(|error| error.to_string())
    }

    pub(super) fn confirmed(&mut self, confirming: Confirming, before: Before<'_>) -> Vec<Effect> {
        let Confirming { load, newest, previous, state, moved } = confirming;
        if !before.is_predecessor(newest.number, previous.as_deref()) {
            if newest.number == 0 {
                // Somebody went on from it.
                return self.list(load.then);
            }
            return self.again(load, newest.number, "has another predecessor than it says");
        }
        self.newest = Some(newest);
        self.moved = moved;
        self.state = state;
        let state = &mut self.state;
        self.written.retain(|written| state.mark_written(*written));
        self.ready(load.then)
    }
}

/// What proves that a commit is in the chain: the one before it, or for the first that none is behind it.
pub(super) fn ask_before(number: u64) -> Effect {
    number.checked_sub(1).map_or(Effect::List, Effect::Read)
}

/// The answer to [`ask_before`].
pub(super) enum Before<'a> {
    Body { number: u64, body: Option<&'a [u8]> },
    Listed(&'a [u64]),
}

impl Before<'_> {
    /// Is it the proof that `number` is in the chain? Not if the number had been used and deleted before: then its predecessor went
    /// before it, and no commit has the nonce of another.
    pub(super) fn is_predecessor(&self, number: u64, previous: Option<&str>) -> bool {
        match self {
            Before::Listed(numbers) => number == 0 && numbers.iter().all(|listed| *listed == 0),
            Before::Body { number: before, body } => {
                let found = body.and_then(|body| Commit::decode(body).ok());
                let same = found.is_some_and(|commit| Some(commit.nonce.as_str()) == previous);
                before.checked_add(1) == Some(number) && same
            }
        }
    }
}
