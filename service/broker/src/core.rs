//! What every hosted partition shares: threads, timers, clocks, the disk, and the port to the cold tier.

use std::path::PathBuf;
use std::sync::Arc;

use tidelog_log::{Disk, FileCache, RemoteLog};
use tidelog_model::NodeId;
use tidelog_partition::Durability;

use crate::Observer;
use crate::replica::Replica;
use crate::shell::clock::Clock;
use crate::shell::pool::Pool;
use crate::shell::timers::Timers;

/// The common parts of one broker.
pub(crate) struct Core {
    pub(crate) node: NodeId,
    pub(crate) data_dir: PathBuf,
    pub(crate) durability: Durability,
    pub(crate) clock: Clock,
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) files: Arc<FileCache>,
    pub(crate) timers: Arc<Timers>,
    /// Drain the partitions' queues.
    pub(crate) log_threads: Pool<Replica>,
    /// Flush logs.
    pub(crate) flushers: Pool<Replica>,
    /// The cold tier, if there is one.
    pub(crate) remote: Option<Arc<dyn RemoteLog>>,
    /// Hears what happens.
    pub(crate) observer: Option<Arc<dyn Observer>>,
}
