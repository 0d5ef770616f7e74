//! Decides how a table's commits are found, created and settled. It never touches the store, a clock or chance: the shell
//! carries out [`Effect`]s and feeds what came of them back as [`Event`]s.
//!
//! The rules are those of the tier manifest (design §6): numbered objects created only if absent; "already exists" and "no answer"
//! are settled by reading; a commit counts only once its predecessor, by nonce, is found after it was created; a writer that meets a
//! higher epoch stops for good; one that loses to another writer reads the newest state and plans again. A leader's first act is a
//! commit with its epoch, so that an older one cannot commit after it.
//!
//! Every try has a nonce of its own. A try whose answer was lost may have succeeded, been built upon and been deleted with the old
//! commits before the next one: if that repeated the same bytes, the number would be taken again by what looks like the original,
//! and the check of another paused writer would pass.

use std::collections::BTreeSet;

use tidelog_model::{LeaderEpoch, Timestamp, TopicId, TopicName};

use super::body::{Commit, VERSION, Written};
use super::event::{Effect, Event, Outcome, Plan};
use super::load::{Before, Confirming, Load, Reading, ask_before};
use super::state::TableState;
use crate::infer::Schema;
use crate::limits::{COMMITS_PER_SNAPSHOT, MAX_COMMIT_BYTES, TRIES_PER_COMMIT};

/// Whose commits, and who writes them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Writer {
    /// The topic.
    pub topic: TopicName,
    /// Its id.
    pub topic_id: TopicId,
    /// Leader epoch of partition 0.
    pub epoch: LeaderEpoch,
    /// Who writes, for people.
    pub name: String,
}

/// Where nonces come from: random in the product, a seed in tests. None may come twice.
pub type Nonces = Box<dyn FnMut() -> String + Send + Sync>;

/// The commits of one table, as one writer sees them.
pub struct Commits {
    pub(super) writer: Writer,
    nonces: Nonces,
    pub(super) snapshot_every: u64,
    pub(super) max_bytes: usize,
    pub(super) first: TableState,
    pub(super) state: TableState,
    /// The newest commit; `None` for a table without any.
    pub(super) newest: Option<Newest>,
    /// The newest commit that moved an export, as far as the commits that were read tell.
    pub(super) moved: Option<Moved>,
    /// Numbers that may be in the store.
    pub(super) stored: BTreeSet<u64>,
    /// Files confirmed since the last commit.
    pub(super) written: Vec<Written>,
    pub(super) phase: Phase,
}

/// The newest commit of the chain.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Newest {
    pub(super) number: u64,
    pub(super) epoch: LeaderEpoch,
    pub(super) nonce: String,
}

/// A commit that moved an export, for people: one that only claims the table is none.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Moved {
    /// Its number.
    pub number: u64,
    /// When it was written.
    pub at: Timestamp,
}

impl Moved {
    /// The later of the two. `from_snapshot`: what came before this commit was not read, so it stands for all of it.
    pub(super) fn after(before: Option<Self>, commit: &Commit, from_snapshot: bool) -> Option<Self> {
        let moves = !commit.ranges.is_empty() || !commit.skipped.is_empty();
        let stands_for = from_snapshot && commit.snapshot.as_ref().is_some_and(|state| !state.partitions.is_empty());
        (moves || stands_for).then_some(Moved { number: commit.number, at: commit.at }).or(before)
    }
}

#[derive(Debug)]
pub(super) enum Phase {
    Unknown,
    Listing(Load),
    Reading(Box<Reading>),
    Confirming(Box<Confirming>),
    Ready,
    Creating(Box<Attempt>),
    Settling(Box<Attempt>),
    Checking(Box<Attempt>),
    Stopped,
}

/// One commit on its way into the store.
#[derive(Debug)]
pub(super) struct Attempt {
    commit: Commit,
    /// The state after it.
    after: TableState,
    /// Nonces of earlier tries.
    tried: Vec<String>,
}

impl std::fmt::Debug for Commits {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Commits").field("newest", &self.newest).field("phase", &self.phase).finish_non_exhaustive()
    }
}

impl Commits {
    /// A writer that knows nothing yet; `schema` is what a table without commits begins with.
    pub fn new(writer: Writer, schema: Schema, nonces: Nonces) -> Self {
        let first = TableState::new(schema);
        Commits {
            writer,
            nonces,
            snapshot_every: COMMITS_PER_SNAPSHOT,
            max_bytes: MAX_COMMIT_BYTES,
            state: first.clone(),
            first,
            newest: None,
            moved: None,
            stored: BTreeSet::new(),
            written: Vec::new(),
            phase: Phase::Unknown,
        }
    }

    /// The state after the newest commit known, with the files confirmed since. Meaningless before [`Outcome::Loaded`].
    pub fn state(&self) -> &TableState {
        &self.state
    }

    /// Number of the newest commit known.
    pub fn newest(&self) -> Option<u64> {
        self.newest.as_ref().map(|newest| newest.number)
    }

    /// The newest commit that moved an export.
    pub fn moved(&self) -> Option<Moved> {
        self.moved
    }

    /// May a plan be proposed?
    pub fn is_ready(&self) -> bool {
        matches!(self.phase, Phase::Ready)
    }

    /// Has this writer's epoch a commit yet?
    pub fn is_claimed(&self) -> bool {
        self.newest.as_ref().is_some_and(|newest| newest.epoch == self.writer.epoch)
    }

    /// Applies one event. An event that does not belong to the present phase (a late answer) is ignored.
    pub fn apply(&mut self, event: Event) -> Vec<Effect> {
        match (std::mem::replace(&mut self.phase, Phase::Unknown), event) {
            (phase, Event::FileWritten(written)) => {
                self.phase = phase;
                if self.state.mark_written(written) {
                    self.written.push(written);
                }
                Vec::new()
            }
            (phase, Event::DeletedBelow(number)) => {
                self.phase = phase;
                self.stored.retain(|stored| *stored >= number);
                Vec::new()
            }
            (Phase::Stopped, _) => {
                self.phase = Phase::Stopped;
                Vec::new()
            }
            (_, Event::Load) => self.list(Outcome::Loaded),
            (Phase::Ready, Event::Propose { plan, at }) => self.propose(plan, at),
            (Phase::Listing(load), Event::Listed(numbers)) => self.listed(load, &numbers),
            (Phase::Reading(reading), Event::Read { number, body }) if reading.wants(number) => {
                self.read(*reading, body.as_deref())
            }
            (Phase::Confirming(confirming), Event::Read { number, body }) => {
                self.confirmed(*confirming, Before::Body { number, body: body.as_deref() })
            }
            (Phase::Confirming(confirming), Event::Listed(numbers)) => {
                self.confirmed(*confirming, Before::Listed(&numbers))
            }
            (Phase::Creating(attempt), Event::Created) => self.check(attempt),
            (Phase::Creating(attempt), Event::Unsettled) => {
                let number = attempt.commit.number;
                self.phase = Phase::Settling(attempt);
                vec![Effect::Read(number)]
            }
            (Phase::Settling(attempt), Event::Read { number, body }) if number == attempt.commit.number => {
                self.settle(attempt, body.as_deref())
            }
            (Phase::Checking(attempt), Event::Read { number, body }) => {
                self.checked(*attempt, Before::Body { number, body: body.as_deref() })
            }
            (Phase::Checking(attempt), Event::Listed(numbers)) => self.checked(*attempt, Before::Listed(&numbers)),
            (phase, _) => {
                self.phase = phase;
                Vec::new()
            }
        }
    }

    pub(super) fn ready(&mut self, outcome: Outcome) -> Vec<Effect> {
        self.phase = Phase::Ready;
        vec![Effect::Done(outcome)]
    }

    pub(super) fn stop(&mut self, outcome: Outcome) -> Vec<Effect> {
        self.phase = Phase::Stopped;
        vec![Effect::Done(outcome)]
    }

    fn propose(&mut self, plan: Plan, at: Timestamp) -> Vec<Effect> {
        let number = self.newest().map_or(0, |newest| newest.saturating_add(1));
        let first = number == 0;
        let mut commit = Commit {
            version: VERSION,
            number,
            epoch: self.writer.epoch,
            writer: self.writer.name.clone(),
            nonce: String::new(),
            previous: self.newest.as_ref().map(|newest| newest.nonce.clone()),
            at,
            topic: self.writer.topic.to_string(),
            topic_id: self.writer.topic_id.to_string(),
            schema: plan.schema.or_else(|| first.then(|| self.first.schema.clone())),
            ranges: plan.ranges,
            written: self.written.clone(),
            skipped: plan.skipped,
            snapshot: None,
        };
        let mut after = self.state.clone();
        if let Err(error) = after.apply(&commit) {
            return self.stop(Outcome::Broken(format!("the plan of commit {number} is invalid: {error}")));
        }
        if number.is_multiple_of(self.snapshot_every) {
            commit.snapshot = Some(after.clone());
        }
        self.create(Attempt { commit, after, tried: Vec::new() })
    }

    /// Tries it under a new nonce.
    fn create(&mut self, mut attempt: Attempt) -> Vec<Effect> {
        attempt.commit.nonce = (self.nonces)();
        let number = attempt.commit.number;
        match attempt.commit.encode() {
            // Nobody could read it again, and no writer could go on.
            Ok(body) if body.len() > self.max_bytes => {
                let (bytes, most) = (body.len(), self.max_bytes);
                self.stop(Outcome::Broken(format!(
                    "commit {number} would have {bytes} bytes, at most {most} are read: the table has too many files; it stays \
                     readable, and the export can go on in a new topic with a longer flush interval"
                )))
            }
            Ok(body) => {
                self.phase = Phase::Creating(Box::new(attempt));
                vec![Effect::Create { number, body }]
            }
            Err(error) => self.stop(Outcome::Broken(format!("commit {number}: {error}"))),
        }
    }

    /// Reads what stands where this writer's commit should.
    fn settle(&mut self, mut attempt: Box<Attempt>, body: Option<&[u8]>) -> Vec<Effect> {
        let Some(body) = body else {
            // The request was lost or is still on its way, or the store (S3's 409) refused both of two creates in flight.
            attempt.tried.push(attempt.commit.nonce.clone());
            if attempt.tried.len() >= TRIES_PER_COMMIT {
                return self.ready(Outcome::Unanswered);
            }
            return self.create(*attempt);
        };
        match Commit::decode(body) {
            Ok(there) if there.nonce == attempt.commit.nonce || attempt.tried.contains(&there.nonce) => {
                attempt.commit.nonce = there.nonce;
                self.check(attempt)
            }
            Ok(there) if there.epoch > self.writer.epoch => self.stop(Outcome::Fenced(there.epoch)),
            // Another's. It may even be one that is not in the chain, so the newest decides what comes next.
            Ok(_) => self.list(Outcome::Superseded),
            Err(error) => self.stop(Outcome::Broken(format!("commit {}: {error}", attempt.commit.number))),
        }
    }

    /// A writer that slept while its predecessor's commits were collected has created its commit in a hole: the commit before
    /// it must still be there.
    fn check(&mut self, attempt: Box<Attempt>) -> Vec<Effect> {
        let effect = ask_before(attempt.commit.number);
        self.phase = Phase::Checking(attempt);
        vec![effect]
    }

    fn checked(&mut self, attempt: Attempt, before: Before<'_>) -> Vec<Effect> {
        let number = attempt.commit.number;
        if before.is_predecessor(number, attempt.commit.previous.as_deref()) {
            return self.succeed(attempt);
        }
        let mut effects = Vec::new();
        if number > 0 {
            // Outside the chain, where nobody builds upon it. Upon the first one others may have built.
            effects.push(Effect::Delete(vec![number]));
        }
        effects.extend(self.list(Outcome::Superseded));
        effects
    }

    fn succeed(&mut self, attempt: Attempt) -> Vec<Effect> {
        let Attempt { commit, after, .. } = attempt;
        self.moved = Moved::after(self.moved, &commit, false);
        let Commit { number, epoch, nonce, written, .. } = commit;
        self.state = after;
        self.newest = Some(Newest { number, epoch, nonce });
        self.stored.insert(number);
        self.written.drain(..written.len().min(self.written.len()));
        for written in &self.written {
            self.state.mark_written(*written);
        }
        self.phase = Phase::Ready;
        let mut effects = vec![Effect::Done(Outcome::Committed(number))];
        if number.is_multiple_of(self.snapshot_every) {
            let kept = number.saturating_sub(self.snapshot_every);
            let old: Vec<u64> = self.stored.range(..kept).copied().collect();
            if !old.is_empty() {
                effects.push(Effect::Delete(old));
            }
        }
        effects
    }
}
