//! Table commits: numbered objects, each created only if absent, that name every file before it is put. Pure.
//!
//! `names` are the keys, `body` the bytes, `state` what commits add up to, `load` how they are found, `machine` how they are created
//! and settled, `event` what the machine is told and asks for.

mod body;
mod event;
mod load;
mod machine;
mod names;
#[cfg(test)]
mod sim;
mod state;
#[cfg(test)]
mod tests;

pub use body::{Commit, Range, Skipped, UnreadableCommit, VERSION, Written};
pub use event::{Effect, Event, Outcome, Plan};
pub use machine::{Commits, Moved, Nonces, Writer};
pub use names::{COMMITS, commit_key, commit_number, file_key, table_folder};
pub use state::{ExportedRange, InvalidCommit, PartitionState, TableState};
