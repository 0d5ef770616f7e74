//! Decides how a table's commits are found, created and settled. It never touches the store, a clock or chance: the shell
//! carries out [`Effect`]s and feeds what came of them back as [`Event`]s.
//!
//! The rules are those of the tier manifest (design §6): numbered objects created only if absent; "already exists" and "no answer"
//! are settled by reading; a writer that meets a higher epoch stops for good; one that loses to another writer reads the newest state
//! and plans again. A leader's first act is a commit with its epoch, so that an older one cannot commit after it.

use tidelog_model::{LeaderEpoch, Timestamp, TopicId, TopicName};

use super::body::{Commit, Range, Skipped, VERSION, Written};
use super::state::TableState;
use crate::infer::Schema;
use crate::limits::{COMMITS_PER_SNAPSHOT, NEWEST_COMMITS_KEPT};

const _: () = assert!(COMMITS_PER_SNAPSHOT >= NEWEST_COMMITS_KEPT);

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

/// What the next commit shall add. An empty plan is a claim: a commit that only carries the epoch.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Plan {
    /// The schema, if it changed.
    pub schema: Option<Schema>,
    /// Ranges to export; their files are put after the commit.
    pub ranges: Vec<Range>,
    /// Ranges that were deleted before they were exported.
    pub skipped: Vec<Skipped>,
}

/// What happened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// Learn the state: at the start, and whenever the shell gave up on an effect of loading.
    Load,
    /// The numbers of all commits in the store.
    Listed(Vec<u64>),
    /// A commit's bytes, or none if the object does not exist.
    Read {
        /// The number asked for.
        number: u64,
        /// Its bytes.
        body: Option<Vec<u8>>,
    },
    /// Make a commit. Only when [`Commits::is_ready`].
    Propose {
        /// What it adds.
        plan: Plan,
        /// Never used before.
        nonce: String,
        /// Now.
        at: Timestamp,
    },
    /// The store acknowledged the create.
    Created,
    /// The store said "already exists", or did not answer.
    Unsettled,
    /// Whether a commit exists.
    Exists {
        /// The number asked for.
        number: u64,
        /// The answer.
        exists: bool,
    },
    /// A file that a commit named is in the store.
    FileWritten(Written),
    /// Commits below this number are deleted.
    DeletedBelow(u64),
}

/// What to do next. Effects of one event are carried out in order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Effect {
    /// List the commits; answer with [`Event::Listed`].
    List,
    /// Read one; answer with [`Event::Read`].
    Read(u64),
    /// Create one if absent; answer with [`Event::Created`] or [`Event::Unsettled`].
    Create {
        /// Its number.
        number: u64,
        /// Its bytes.
        body: Vec<u8>,
    },
    /// Ask whether one exists; answer with [`Event::Exists`].
    Check(u64),
    /// Delete commits `[from, below)` in ascending order, stopping at the first failure; answer with [`Event::DeletedBelow`].
    Delete {
        /// First number.
        from: u64,
        /// Number after the last.
        below: u64,
    },
    /// The work that was asked for ended like this.
    Done(Outcome),
}

/// How loading or proposing ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// The state is known.
    Loaded,
    /// The plan is committed under this number.
    Committed(u64),
    /// Another writer was first; the state is the newest again and the plan is void.
    Superseded,
    /// A later leader exists: stop for good.
    Fenced(LeaderEpoch),
    /// The commits contradict each other or the plan contradicts them: a person must look.
    Broken(String),
}

/// The commits of one table, as one writer sees them.
#[derive(Debug)]
pub struct Commits {
    writer: Writer,
    first: TableState,
    state: TableState,
    /// Number of the newest commit; `None` for a table without any.
    newest: Option<u64>,
    newest_epoch: LeaderEpoch,
    /// Lowest number that may still be in the store.
    oldest: u64,
    /// Files confirmed since the last commit.
    written: Vec<Written>,
    phase: Phase,
}

#[derive(Debug)]
enum Phase {
    Unknown,
    Listing { then: Outcome, missing: Option<u64> },
    Reading { then: Outcome, missing: Option<u64>, next: u64, last: u64, state: Box<TableState>, epoch: LeaderEpoch },
    Ready,
    Creating(Box<Pending>),
    Settling(Box<Pending>),
    Checking(Box<Pending>),
    Stopped,
}

#[derive(Debug)]
struct Pending {
    number: u64,
    nonce: String,
    body: Vec<u8>,
    after: TableState,
    written: usize,
}

impl Commits {
    /// A writer that knows nothing yet; `schema` is what a table without commits begins with.
    pub fn new(writer: Writer, schema: Schema) -> Self {
        let first = TableState::new(schema);
        Commits {
            writer,
            state: first.clone(),
            first,
            newest: None,
            newest_epoch: LeaderEpoch::NONE,
            oldest: 0,
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
        self.newest
    }

    /// May a plan be proposed?
    pub fn is_ready(&self) -> bool {
        matches!(self.phase, Phase::Ready)
    }

    /// Has this writer's epoch a commit yet?
    pub fn is_claimed(&self) -> bool {
        self.newest.is_some() && self.newest_epoch == self.writer.epoch
    }

    /// Applies one event. An event that does not belong to the present phase (a late answer) is ignored.
    pub fn apply(&mut self, event: Event) -> Vec<Effect> {
        if let Event::FileWritten(written) = event {
            if self.state.mark_written(written) {
                self.written.push(written);
            }
            return Vec::new();
        }
        if let Event::DeletedBelow(number) = event {
            self.oldest = self.oldest.max(number);
            return Vec::new();
        }
        match (std::mem::replace(&mut self.phase, Phase::Unknown), event) {
            (Phase::Stopped, _) => {
                self.phase = Phase::Stopped;
                Vec::new()
            }
            (_, Event::Load) => self.list(Outcome::Loaded, None),
            (Phase::Listing { then, missing }, Event::Listed(numbers)) => self.listed(then, missing, &numbers),
            (Phase::Reading { then, missing, next, last, state, epoch }, Event::Read { number, body })
                if number == next =>
            {
                self.read(Reading { then, missing, next, last, state, epoch }, body)
            }
            (Phase::Ready, Event::Propose { plan, nonce, at }) => self.propose(plan, nonce, at),
            (Phase::Creating(pending), Event::Created) => self.check(pending),
            (Phase::Creating(pending), Event::Unsettled) => {
                let number = pending.number;
                self.phase = Phase::Settling(pending);
                vec![Effect::Read(number)]
            }
            (Phase::Settling(pending), Event::Read { number, body }) if number == pending.number => {
                self.settle(pending, body)
            }
            (Phase::Checking(pending), Event::Exists { number, exists })
                if number.saturating_add(1) == pending.number =>
            {
                if exists {
                    self.succeed(*pending)
                } else {
                    self.list(Outcome::Superseded, None)
                }
            }
            (phase, _) => {
                self.phase = phase;
                Vec::new()
            }
        }
    }

    fn list(&mut self, then: Outcome, missing: Option<u64>) -> Vec<Effect> {
        self.phase = Phase::Listing { then, missing };
        vec![Effect::List]
    }

    fn listed(&mut self, then: Outcome, missing: Option<u64>, numbers: &[u64]) -> Vec<Effect> {
        let Some(last) = numbers.iter().max().copied() else {
            self.state = self.first.clone();
            self.newest = None;
            self.oldest = 0;
            return self.ready(then);
        };
        self.oldest = numbers.iter().min().copied().unwrap_or(0);
        let next = last - last % COMMITS_PER_SNAPSHOT;
        let state = Box::new(self.first.clone());
        self.phase = Phase::Reading { then, missing, next, last, state, epoch: LeaderEpoch::NONE };
        vec![Effect::Read(next)]
    }

    fn read(&mut self, mut reading: Reading, body: Option<Vec<u8>>) -> Vec<Effect> {
        let number = reading.next;
        let Some(body) = body else {
            // Either the commits moved on between the list and the read, or one is lost.
            if reading.missing == Some(number) {
                return self.stop(Outcome::Broken(format!("commit {number} is missing")));
            }
            return self.list(reading.then, Some(number));
        };
        let commit = match Commit::decode(&body) {
            Ok(commit) => commit,
            Err(error) => return self.stop(Outcome::Broken(format!("commit {number}: {error}"))),
        };
        if let Err(text) = self.follow(&mut reading, commit) {
            return self.stop(Outcome::Broken(format!("commit {number}: {text}")));
        }
        if reading.epoch > self.writer.epoch {
            return self.stop(Outcome::Fenced(reading.epoch));
        }
        if number < reading.last {
            let Reading { then, missing, last, state, epoch, .. } = reading;
            let next = number.saturating_add(1);
            self.phase = Phase::Reading { then, missing, next, last, state, epoch };
            return vec![Effect::Read(next)];
        }
        self.newest = Some(number);
        self.newest_epoch = reading.epoch;
        self.state = *reading.state;
        let state = &mut self.state;
        self.written.retain(|written| state.mark_written(*written));
        self.ready(reading.then)
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
        if reading.next.is_multiple_of(COMMITS_PER_SNAPSHOT) {
            let state = commit.snapshot.ok_or("it has no snapshot")?;
            state.schema.check()?;
            *reading.state = state;
            return Ok(());
        }
        reading.state.apply(&commit).map_err(|error| error.to_string())
    }

    fn ready(&mut self, outcome: Outcome) -> Vec<Effect> {
        self.phase = Phase::Ready;
        vec![Effect::Done(outcome)]
    }

    fn stop(&mut self, outcome: Outcome) -> Vec<Effect> {
        self.phase = Phase::Stopped;
        vec![Effect::Done(outcome)]
    }

    fn propose(&mut self, plan: Plan, nonce: String, at: Timestamp) -> Vec<Effect> {
        let number = self.newest.map_or(0, |newest| newest.saturating_add(1));
        let first = number == 0;
        let mut commit = Commit {
            version: VERSION,
            number,
            epoch: self.writer.epoch,
            writer: self.writer.name.clone(),
            nonce: nonce.clone(),
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
        if number.is_multiple_of(COMMITS_PER_SNAPSHOT) {
            commit.snapshot = Some(after.clone());
        }
        let body = match commit.encode() {
            Ok(body) => body,
            Err(error) => return self.stop(Outcome::Broken(format!("commit {number}: {error}"))),
        };
        let pending = Pending { number, nonce, body: body.clone(), after, written: commit.written.len() };
        self.phase = Phase::Creating(Box::new(pending));
        vec![Effect::Create { number, body }]
    }

    /// Reads what stands where this writer's commit should.
    fn settle(&mut self, pending: Box<Pending>, body: Option<Vec<u8>>) -> Vec<Effect> {
        let Some(body) = body else {
            // The request was lost, or the store (S3's 409) refused both of two creates in flight.
            let effect = Effect::Create { number: pending.number, body: pending.body.clone() };
            self.phase = Phase::Creating(pending);
            return vec![effect];
        };
        match Commit::decode(&body) {
            Ok(commit) if commit.nonce == pending.nonce => self.check(pending),
            Ok(commit) if commit.epoch > self.writer.epoch => self.stop(Outcome::Fenced(commit.epoch)),
            Ok(_) => self.list(Outcome::Superseded, None),
            Err(error) => self.stop(Outcome::Broken(format!("commit {}: {error}", pending.number))),
        }
    }

    /// A writer that slept while its predecessor's commits were collected has created its commit in a hole: the commit before
    /// it must still be there.
    fn check(&mut self, pending: Box<Pending>) -> Vec<Effect> {
        let Some(before) = pending.number.checked_sub(1) else {
            return self.succeed(*pending);
        };
        self.phase = Phase::Checking(pending);
        vec![Effect::Check(before)]
    }

    fn succeed(&mut self, pending: Pending) -> Vec<Effect> {
        let Pending { number, after, written, .. } = pending;
        self.state = after;
        self.newest = Some(number);
        self.newest_epoch = self.writer.epoch;
        self.written.drain(..written.min(self.written.len()));
        for written in &self.written {
            self.state.mark_written(*written);
        }
        self.phase = Phase::Ready;
        let mut effects = vec![Effect::Done(Outcome::Committed(number))];
        let below = number.saturating_sub(COMMITS_PER_SNAPSHOT);
        if number.is_multiple_of(COMMITS_PER_SNAPSHOT) && self.oldest < below {
            effects.push(Effect::Delete { from: self.oldest, below });
        }
        effects
    }
}

/// The parts of [`Phase::Reading`].
struct Reading {
    then: Outcome,
    missing: Option<u64>,
    next: u64,
    last: u64,
    state: Box<TableState>,
    epoch: LeaderEpoch,
}
