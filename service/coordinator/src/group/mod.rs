//! Consumer groups: membership and committed offsets, by the classic protocol (`classic/`) and by the consumer protocol (`consumer/`,
//! KIP-848). A group is of one of them at a time; `migrate.rs` changes it over while members are in it, and a group of the consumer protocol
//! serves members of both.

mod api;
mod classic;
mod config;
mod consumer;
mod directory;
mod embedded;
mod forget;
mod ids;
mod meant;
mod migrate;
mod offsets;
mod records;
mod refusal;
mod shard;
mod standing;
mod state;
mod sweep;
#[cfg(test)]
mod tests;
mod transactional;
mod undecided;

pub use api::*;
pub use config::{GroupConfig, MigrationPolicy, OwnTimes};
pub use consumer::Assignor;
pub use directory::{TopicDirectory, TopicFacts};
pub use ids::{Epoch, Generation, GroupId, InstanceId, MemberId};
pub use meant::Meant;
pub use shard::GroupShard;
pub use standing::{GroupStanding, GroupStandings, Position};
pub use transactional::CommitInTransaction;
