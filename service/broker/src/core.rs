//! What every hosted partition shares: threads, timers, clocks, the disk, and the port to the cold tier.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use tidelog_log::{Disk, FileCache, RemoteLog, SyncFs};
use tidelog_model::NodeId;
use tidelog_partition::Durability;
use tokio::sync::Notify;
use tokio::sync::mpsc::UnboundedSender;
use tokio_util::task::TaskTracker;

use crate::Observer;
use crate::checkpoints::CheckpointFiles;
use crate::options::ForeignWrites;
use crate::replica::{Decided, Replica};
use crate::room::Room;
use crate::shared_memory::SharedMemory;
use crate::shell::clock::Clock;
use crate::shell::pool::Pool;
use crate::shell::timers::Timers;

/// The common parts of one broker.
pub(crate) struct Core {
    pub(crate) node: NodeId,
    pub(crate) data_dir: PathBuf,
    pub(crate) durability: Durability,
    pub(crate) clock: Clock,
    /// For the few things that log threads leave to async tasks.
    pub(crate) runtime: tokio::runtime::Handle,
    /// What runs beside the threads, and what the broker's end waits for.
    pub(crate) tasks: TaskTracker,
    /// A flush failed: the directory takes no more, whatever the other logs on it say.
    pub(crate) disk_failed: AtomicBool,
    pub(crate) disk: Arc<dyn Disk>,
    /// What clients may still take of it.
    pub(crate) room: Room,
    /// What all partitions' producers take of the memory.
    pub(crate) producers: Arc<SharedMemory>,
    /// What the groups of all shards take of it.
    pub(crate) groups_memory: Arc<SharedMemory>,
    /// What the transactions of all shards take of it.
    pub(crate) transactions_memory: Arc<SharedMemory>,
    pub(crate) files: Arc<FileCache>,
    pub(crate) checkpoints: Arc<CheckpointFiles>,
    /// Told when some partition has grown so much that its recovery point shall follow.
    pub(crate) checkpoint_due: Notify,
    pub(crate) timers: Arc<Timers>,
    /// Drain the partitions' queues.
    pub(crate) log_threads: Pool<Replica>,
    /// Flush logs.
    pub(crate) flushers: Pool<Replica>,
    /// One `syncfs` for many logs, where the system reports its errors. Opened before the first write, or it would miss some.
    pub(crate) sync_fs: Option<SyncFs>,
    /// Is somebody else writing files to the same file system whose errors a `syncfs` would take away?
    pub(crate) foreign_writes: Option<ForeignWrites>,
    /// The cold tier, if there is one.
    pub(crate) remote: Option<Arc<dyn RemoteLog>>,
    /// Decided transactions on their way to their partitions; each transactional id has at most one there.
    pub(crate) decided: UnboundedSender<Decided>,
    /// Hears what happens.
    pub(crate) observer: Option<Arc<dyn Observer>>,
}
