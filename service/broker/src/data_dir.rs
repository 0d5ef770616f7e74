//! The data directory before a broker uses it: locked, identified, tidied up.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tidelog_log::datadir::{self, DirectoryLock, LockError, MetaProperties};
use tidelog_log::{Disk, LogError, OsDisk};
use tidelog_model::{NodeId, TopicId};
use uuid::Uuid;

use crate::checkpoints::CheckpointFiles;
use crate::strangers_key::{self, StrangersKey};

/// Why a data directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// Another process has it.
    #[error(transparent)]
    Locked(#[from] LockError),
    /// It cannot be created, or not written to.
    #[error("cannot create the data directory {path}, or not write to it: {source}")]
    Create {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Its files make no sense.
    #[error(transparent)]
    Log(#[from] LogError),
    /// It belongs to another broker.
    #[error(
        "the data directory {path} belongs to node {found}, this is node {node}: set --node-id {found} or another --data-dir"
    )]
    Node {
        /// The directory.
        path: PathBuf,
        /// Whose it is.
        found: NodeId,
        /// Who we are.
        node: NodeId,
    },
}

/// A locked data directory. The lock ends with this value.
pub struct DataDir {
    pub(crate) path: PathBuf,
    pub(crate) meta: MetaProperties,
    pub(crate) directory_id: TopicId,
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) checkpoints: Arc<CheckpointFiles>,
    pub(crate) strangers_key: StrangersKey,
    _lock: DirectoryLock,
}

impl DataDir {
    /// Creates, locks and reads the directory; finishes deletions that an earlier process began. Blocks.
    ///
    /// A new directory gets `cluster_id`, or a random one.
    pub fn open(path: &Path, node: NodeId, cluster_id: Option<String>) -> Result<Self, DataDirError> {
        let failed = |source| DataDirError::Create { path: path.to_owned(), source };
        std::fs::create_dir_all(path).map_err(failed)?;
        let path = std::path::absolute(path).map_err(failed)?;
        let lock = DirectoryLock::take(&path)?;
        let disk: Arc<dyn Disk> = Arc::new(OsDisk);
        let meta = match datadir::read_meta(&*disk, &path)? {
            Some(meta) => meta,
            None => {
                let meta = MetaProperties {
                    cluster_id: cluster_id.unwrap_or_else(random_id),
                    node_id: node,
                    directory_id: random_id(),
                    ours: false,
                };
                datadir::write_meta(&*disk, &path, &meta)?;
                meta
            }
        };
        if meta.node_id != node {
            return Err(DataDirError::Node { path, found: meta.node_id, node });
        }
        datadir::remove_deleted(&*disk, &path)?;
        let checkpoints = CheckpointFiles::read(Arc::clone(&disk), path.clone())?;
        // Kafka's ids have one form; one that an operator wrote by hand may not have it, and then says nothing.
        let directory_id = meta.directory_id.parse().unwrap_or(TopicId::ZERO);
        let checkpoints = Arc::new(checkpoints);
        let strangers_key = strangers_key::open(&path).map_err(failed)?;
        Ok(DataDir { path, meta, directory_id, disk, checkpoints, strangers_key, _lock: lock })
    }

    /// The cluster that this directory belongs to.
    pub fn cluster_id(&self) -> &str {
        &self.meta.cluster_id
    }

    /// Writes down that its metadata is ours. Blocks, once in its life.
    pub(crate) fn claim(&self) -> Result<(), LogError> {
        if self.meta.ours { Ok(()) } else { datadir::claim(&*self.disk, &self.path, &self.meta) }
    }

    /// The directory, absolute.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Kafka's text form of a random id.
fn random_id() -> String {
    TopicId(Uuid::new_v4()).to_string()
}
