//! Consumer groups: membership, generations and committed offsets of the classic protocol.

mod api;
mod classic;
mod config;
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

pub use api::*;
pub use config::GroupConfig;
pub use ids::{Generation, GroupId, InstanceId, MemberId};
pub use shard::{GroupShard, ReplayCounts};
