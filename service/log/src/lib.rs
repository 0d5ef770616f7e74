//! One partition's local log: segments, indexes, checkpoints, recovery, reads, retention, compaction. It decides which
//! bytes are in the log and which of them are durable; it never assigns offsets, starts a thread or reads a clock.
//!
//! - [`Disk`] is the port for all I/O: [`OsDisk`], or [`sim::SimDisk`] in tests.
//! - [`Log`] writes; one thread owns it. [`LogView`] reads, flushes, deletes and compacts beside it.
//! - [`datadir`] has the files of a whole data directory; [`remote`] the port to the older part of a log.
//! - [`foreign`] and [`kraft`] read what another broker left in one.

mod aborted;
mod append;
mod begin_at;
mod cache;
mod compact;
mod config;
mod cut;
pub mod datadir;
mod disk;
mod error;
mod flush;
pub mod foreign;
mod index;
pub mod kraft;
mod life;
pub mod limits;
mod names;
mod open;
mod os_disk;
mod past_damage;
mod read;
mod recover;
pub mod remote;
pub mod retention;
mod scan;
mod scrub;
pub mod sim;
mod slice;
mod state;
mod survey;
mod tiered;
mod timestamps;
mod truncate;
mod view;

#[cfg(test)]
mod tests;

pub use append::{Appended, Log, StampedBatch};
pub use begin_at::{begin_at, segments};
pub use cache::FileCache;
pub use compact::{ActiveProducers, Compacted, CompactionLimits};
pub use config::LogConfig;
pub use disk::{DirEntry, Disk, DiskFile, Space, replace_file};
pub use error::{Damage, LogError, ReadError};
pub use flush::FlushTicket;
pub use open::{Checkpoints, Cut, Recovered};
pub use os_disk::{OsDisk, SyncFs};
pub use past_damage::{PastDamage, find_batch};
pub use read::LogRead;
pub use remote::{
    BoxFuture, ClosedSegment, LocalLog, RemoteBatches, RemoteError, RemoteExtent, RemoteLog, TimestampedOffset,
};
pub use scrub::{DamagedBatch, ScrubFrom, Scrubbed};
pub use slice::FileSlice;
pub use state::SegmentInfo;
pub use view::LogView;
