//! The cold tier: closed segments in the object store, the manifest that says which, and reading them back.
//!
//! - [`manifest`] decides (a pure machine): versions, uploads, cuts, retention, collection.
//! - [`Tier`] acts: one object per segment (layout in `bundle`), one version per commit, chunks through a disk cache.
//! - [`keys`] has the names of all objects.

mod bundle;
mod cache;
mod describe;
pub mod keys;
mod known;
pub mod limits;
pub mod manifest;
mod partition;
mod reader;
mod store;
mod tier;
mod topic;
mod uploader;
mod wire;

pub use known::last_known;
pub use limits::TierLimits;
pub use tier::{PartitionStatus, Tier, TierError, TierStatus};
pub use topic::TopicDescription;
