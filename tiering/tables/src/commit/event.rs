//! What happens to a table's commits and what the machine wants done, as data.

use tidelog_model::{LeaderEpoch, Timestamp};

use super::body::{Range, Skipped, Written};
use crate::infer::Schema;

/// What the next commit shall add. An empty plan is a claim: a commit that only carries the epoch.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Plan {
    /// The schema, if it changed.
    pub schema: Option<Schema>,
    /// Ranges to export; their files are put after the commit.
    pub ranges: Vec<Range>,
    /// Ranges that were deleted before they were exported, or are damaged.
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
    /// Make a commit. Only when [`super::Commits::is_ready`].
    Propose {
        /// What it adds.
        plan: Plan,
        /// Now.
        at: Timestamp,
    },
    /// The store acknowledged the create.
    Created,
    /// The store said "already exists", or did not answer.
    Unsettled,
    /// A file that a commit named is in the store.
    FileWritten(Written),
    /// Those of the commits to be deleted that are below this number are gone.
    DeletedBelow(u64),
}

/// What to do next. Effects of one event are carried out in order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Effect {
    /// List the commits; answer with [`Event::Listed`].
    List,
    /// Read one; answer with [`Event::Read`].
    Read(u64),
    /// Create one if absent, sent once; answer with [`Event::Created`] or [`Event::Unsettled`].
    Create {
        /// Its number.
        number: u64,
        /// Its bytes.
        body: Vec<u8>,
    },
    /// Delete these commits in this order, which is ascending, stopping at the first failure; answer with [`Event::DeletedBelow`].
    Delete(Vec<u64>),
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
    /// The store takes no commit and says not why: wait, then load. The plan may be committed all the same.
    Unanswered,
    /// A later leader exists: stop for good.
    Fenced(LeaderEpoch),
    /// The commits contradict each other or the plan contradicts them: a person must look.
    Broken(String),
}
