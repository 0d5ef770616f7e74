//! Consumer groups: membership and committed offsets, by the classic protocol (`classic/`) and by the consumer protocol (`consumer/`,
//! KIP-848). A group speaks one of them at a time.

mod api;
mod classic;
mod config;
mod consumer;
mod directory;
mod ids;
mod offsets;
mod records;
mod refusal;
mod shard;
mod state;
mod subscription;
mod sweep;
#[cfg(test)]
mod tests;
mod transactional;
mod undecided;

pub use api::*;
pub use config::GroupConfig;
pub use directory::{TopicDirectory, TopicFacts};
pub use ids::{Epoch, Generation, GroupId, InstanceId, MemberId};
pub use shard::{GroupShard, ReplayCounts};
pub use transactional::CommitInTransaction;
