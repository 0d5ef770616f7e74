//! The embedded store: one file, one thread that owns it. Callers wait on channels, never on the disk.
//!
//! Transactions that arrive while one is being made durable share the next durable commit. Each still has its own revision.
//! A watcher reads from a bounded history in memory; one that is further behind, or from before this start, is told to list again.
//! Leases live with the process: what was bound to one is deleted when the file is opened.

mod backend;
mod file;
mod history;
#[cfg(test)]
mod tests;
mod worker;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tidelog_metadata::port::{
    BoxFuture, KeyValue, LeaseId, Listing, MetadataStore, Outcome, Revision, StoreError, Transaction, Watch,
};
use tokio::sync::{mpsc, oneshot};

use crate::limits::QUEUE;
use backend::{Disk, Place, RealDisk};
use history::{History, Watcher};
use worker::{Command, Reply};

/// The file's name in the directory given.
const FILE: &str = "metadata.redb";

/// A metadata store in one local file, for a node alone. Cheap to clone; the file closes with the last clone or with [`EmbeddedStore::close`].
#[derive(Clone, Debug)]
pub struct EmbeddedStore {
    commands: mpsc::Sender<Command>,
    history: Arc<History>,
}

impl EmbeddedStore {
    /// Opens `metadata.redb` in a directory that exists; creates the file if it is not there. Waits for repair after a crash.
    ///
    /// Errors: [`StoreError::InUse`] if another process has it, [`StoreError::Corrupt`] if it makes no sense, [`StoreError::Version`] if
    /// a newer program wrote it, [`StoreError::Unavailable`] if the disk fails.
    pub async fn open(directory: &Path) -> Result<Self, StoreError> {
        Self::open_on(Arc::new(RealDisk::new(directory.join(FILE)))).await
    }

    async fn open_on(disk: Arc<dyn Disk>) -> Result<Self, StoreError> {
        let (commands, queue) = mpsc::channel(QUEUE);
        let history = Arc::new(History::default());
        let (opened, answer) = oneshot::channel();
        let (shared, place) = (history.clone(), Place::new(disk));
        std::thread::Builder::new()
            .name("metadata-store".into())
            .spawn(move || worker::work(place, queue, shared, opened))
            .map_err(|error| StoreError::Unavailable(error.to_string()))?;
        answer.await.map_err(|_| StoreError::Closed)??;
        Ok(EmbeddedStore { commands, history })
    }

    /// Closes the file; when this returns, another process may open it. Later calls get [`StoreError::Closed`].
    pub async fn close(&self) {
        let (reply, closed) = oneshot::channel();
        if self.commands.send(Command::Close { reply }).await.is_ok() {
            // A dropped reply says the same: the thread is gone.
            let _ = closed.await;
        }
    }

    async fn ask<T>(&self, command: impl FnOnce(Reply<T>) -> Command) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(command(reply)).await.map_err(|_| StoreError::Closed)?;
        answer.await.map_err(|_| StoreError::Closed)?
    }
}

impl MetadataStore for EmbeddedStore {
    fn get(&self, key: &str) -> BoxFuture<'_, Result<Option<KeyValue>, StoreError>> {
        let key = key.to_string();
        Box::pin(self.ask(|reply| Command::Get { key, reply }))
    }

    fn list(&self, prefix: &str) -> BoxFuture<'_, Result<Listing, StoreError>> {
        let prefix = prefix.to_string();
        Box::pin(self.ask(|reply| Command::List { prefix, reply }))
    }

    fn txn(&self, transaction: Transaction) -> BoxFuture<'_, Result<Outcome, StoreError>> {
        Box::pin(async move {
            transaction.check()?;
            self.ask(|reply| Command::Txn { transaction, reply }).await
        })
    }

    fn watch(&self, prefix: &str, after: Revision) -> BoxFuture<'_, Result<Box<dyn Watch>, StoreError>> {
        let watcher = Watcher::new(self.history.clone(), prefix.to_string(), after);
        Box::pin(async move { Ok(Box::new(watcher) as Box<dyn Watch>) })
    }

    /// The time to live does not matter: the lease lives as long as the process.
    fn grant(&self, _ttl: Duration) -> BoxFuture<'_, Result<LeaseId, StoreError>> {
        Box::pin(self.ask(|reply| Command::Grant { reply }))
    }

    fn keep_alive(&self, lease: LeaseId) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(self.ask(move |reply| Command::KeepAlive { lease, reply }))
    }

    fn revoke(&self, lease: LeaseId) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(self.ask(move |reply| Command::Revoke { lease, reply }))
    }
}
