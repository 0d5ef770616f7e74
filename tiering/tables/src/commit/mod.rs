//! Table commits: numbered objects, each created only if absent, that name every file before it is put. Pure.
//!
//! `names` are the keys, `body` the bytes, `state` what commits add up to, `machine` how they are found, created and settled.

mod body;
mod machine;
mod names;
mod state;
#[cfg(test)]
mod tests;

pub use body::{Commit, Range, Skipped, UnreadableCommit, VERSION, Written};
pub use machine::{Commits, Effect, Event, Outcome, Plan, Writer};
pub use names::{COMMITS, commit_key, commit_number, file_key, table_folder};
pub use state::{ExportedRange, InvalidCommit, PartitionState, TableState};
