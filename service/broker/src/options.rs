//! How a broker is opened.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tidelog_log::RemoteLog;
use tidelog_metadata::keys::Endpoint;
use tidelog_metadata::{BrokerConfig, MetadataStore};
use tidelog_model::NodeId;
use tidelog_partition::Durability;
use tidelog_security::{AclDefaults, Audit};

use crate::limits::CHECKPOINT_INTERVAL;
use crate::{LogLevels, Observer, TlsListeners};

/// Tells whether uploads to a `file://` store are in flight: a `syncfs` beside them could swallow their errors, or they its.
pub type ForeignWrites = Arc<dyn Fn() -> bool + Send + Sync>;

/// What a broker needs to know at its start. A change needs a restart.
#[derive(Clone)]
pub struct BrokerOptions {
    /// Directory of partitions and checkpoints; created if missing. Locked for as long as the broker lives.
    pub data_dir: PathBuf,
    /// This broker's number.
    pub node: NodeId,
    /// The cluster id of a new data directory; a random one if `None`.
    pub cluster_id: Option<String>,
    /// When a record counts as safe.
    pub durability: Durability,
    /// Threads that write; 0 = one per core, at most 8.
    pub log_threads: usize,
    /// Threads that flush; 0 = 4 (what one disk can usefully do at once).
    pub flush_threads: usize,
    /// Recovery checkpoints follow the flushed offsets at least this often.
    pub checkpoint_interval: Duration,
    /// Settings under Kafka's names.
    pub config: BrokerConfig,
    /// Should new topics be tiered where `remote` is there (`remote.storage.enable` by default)?
    pub tier_by_default: bool,
    /// Where clients reach this broker, for its registration.
    pub endpoints: Vec<Endpoint>,
    /// The URL of its HTTP door.
    pub http: Option<String>,
    /// The metadata store.
    pub store: Arc<dyn MetadataStore>,
    /// The cold tier.
    pub remote: Option<Arc<dyn RemoteLog>>,
    /// Other writers on the data directory's file system.
    pub foreign_writes: Option<ForeignWrites>,
    /// Hears what happens to partitions.
    pub observer: Option<Arc<dyn Observer>>,
    /// Kafka's access rules bind (`authorizer = "acl"`), with this beside them; `None`: whoever came in may do everything.
    pub acls: Option<AclDefaults>,
    /// Hears who comes in, what is refused and what is changed.
    pub audit: Option<Arc<dyn Audit>>,
    /// The log of this process, if its levels can be changed.
    pub log_levels: Option<Arc<dyn LogLevels>>,
    /// The encrypted listeners of this process, if there are any.
    pub tls_listeners: Option<Arc<dyn TlsListeners>>,
}

impl BrokerOptions {
    /// A single node with defaults: fsync durability, no cold tier, callers may do everything.
    pub fn new(data_dir: impl Into<PathBuf>, store: Arc<dyn MetadataStore>) -> Self {
        BrokerOptions {
            data_dir: data_dir.into(),
            node: NodeId(1),
            cluster_id: None,
            durability: Durability::Fsync,
            log_threads: 0,
            flush_threads: 0,
            checkpoint_interval: CHECKPOINT_INTERVAL,
            config: BrokerConfig::default(),
            tier_by_default: false,
            endpoints: Vec::new(),
            http: None,
            store,
            remote: None,
            foreign_writes: None,
            observer: None,
            acls: None,
            audit: None,
            log_levels: None,
            tls_listeners: None,
        }
    }
}
