//! The thread that owns the file: takes commands in order, groups transactions, answers, tells the history.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use tidelog_metadata::port::{KeyValue, LeaseId, Listing, Outcome, StoreError, Transaction, Write};
use tokio::sync::{mpsc, oneshot};

use super::backend::Place;
use super::file::{Group, Store};
use super::history::History;
use crate::limits::MAX_GROUP;

/// Where an answer goes. Nobody may be waiting any more; that is no error.
pub(super) type Reply<T> = oneshot::Sender<Result<T, StoreError>>;

/// What callers ask.
pub(super) enum Command {
    Get { key: String, reply: Reply<Option<KeyValue>> },
    List { prefix: String, reply: Reply<Listing> },
    Txn { transaction: Transaction, reply: Reply<Outcome> },
    Grant { reply: Reply<LeaseId> },
    KeepAlive { lease: LeaseId, reply: Reply<()> },
    Revoke { lease: LeaseId, reply: Reply<()> },
    Close { reply: oneshot::Sender<()> },
}

struct Worker {
    place: Arc<Place>,
    /// `None` after a failure: the next command tries to open the file again.
    store: Option<Store>,
    history: Arc<History>,
    leases: BTreeSet<LeaseId>,
    last_lease: i64,
}

/// Opens the file, reports, then works until it is closed or nobody can ask any more.
pub(super) fn work(
    place: Arc<Place>,
    mut queue: mpsc::Receiver<Command>,
    history: Arc<History>,
    opened: oneshot::Sender<Result<(), StoreError>>,
) {
    let store = match open_file(&place, &BTreeSet::new()) {
        Ok(store) => store,
        Err(error) => {
            let _ = opened.send(Err(error));
            return;
        }
    };
    history.start(store.revision());
    let mut worker = Worker { place, store: Some(store), history, leases: BTreeSet::new(), last_lease: 0 };
    let _ = opened.send(Ok(()));
    let mut closing = None;
    let mut put_back = None;
    while let Some(command) = put_back.take().or_else(|| queue.blocking_recv()) {
        match command {
            Command::Txn { transaction, reply } => {
                let mut group = vec![transaction];
                let mut replies = vec![reply];
                while group.len() < MAX_GROUP {
                    match queue.try_recv() {
                        Ok(Command::Txn { transaction, reply }) => {
                            group.push(transaction);
                            replies.push(reply);
                        }
                        Ok(other) => {
                            put_back = Some(other);
                            break;
                        }
                        Err(_) => break,
                    }
                }
                worker.commit(&group, replies);
            }
            Command::Close { reply } => {
                closing = Some(reply);
                break;
            }
            other => worker.answer(other),
        }
    }
    queue.close();
    worker.history.close();
    let Worker { place, store, .. } = worker;
    // A file that was given up after a failure was not closed.
    if store.is_some() {
        drop(store);
        place.closed();
    }
    if let Some(reply) = closing {
        let _ = reply.send(());
    }
}

/// Opens the file. redb meets some kinds of damage with a panic: that too is an answer.
fn open_file(place: &Arc<Place>, leases: &BTreeSet<LeaseId>) -> Result<Store, StoreError> {
    catch_unwind(AssertUnwindSafe(|| Store::open(place, leases))).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("it cannot be read");
        Err(StoreError::Corrupt { store: place.name(), reason: text.to_string() })
    })
}

impl Worker {
    fn answer(&mut self, command: Command) {
        match command {
            Command::Get { key, reply } => {
                let _ = reply.send(self.open().and_then(|store| store.get(&key)));
            }
            Command::List { prefix, reply } => {
                let _ = reply.send(self.open().and_then(|store| store.list(&prefix)));
            }
            Command::Grant { reply } => {
                self.last_lease = self.last_lease.saturating_add(1);
                let lease = LeaseId(self.last_lease);
                self.leases.insert(lease);
                let _ = reply.send(Ok(lease));
            }
            Command::KeepAlive { lease, reply } => {
                let known = self.leases.contains(&lease);
                let _ = reply.send(if known { Ok(()) } else { Err(StoreError::LeaseNotFound(lease)) });
            }
            Command::Revoke { lease, reply } => {
                let _ = reply.send(self.revoke(lease));
            }
            // The loop takes these itself.
            Command::Txn { .. } | Command::Close { .. } => {}
        }
    }

    /// The file, opened again if an earlier failure was not one of a flush.
    fn open(&mut self) -> Result<&mut Store, StoreError> {
        if self.place.flush_failed() {
            let name = self.place.name();
            return Err(StoreError::Unavailable(format!(
                "{name}: a flush failed; restart the process to read it again"
            )));
        }
        if self.store.is_none() {
            let store = open_file(&self.place, &self.leases)?;
            // A commit may have happened unseen: watchers must list.
            self.history.start(store.revision());
            self.store = Some(store);
        }
        self.store.as_mut().ok_or(StoreError::Closed)
    }

    fn commit(&mut self, group: &[Transaction], replies: Vec<Reply<Outcome>>) {
        let leases = self.leases.clone();
        let done = match self.open() {
            Ok(store) => store.commit(group, &leases),
            Err(error) => Group::Failed(error),
        };
        match done {
            Group::Committed(decided) => {
                let (outcomes, changes): (Vec<_>, Vec<_>) = decided.into_iter().unzip();
                self.history.tell(changes.into_iter().flatten().collect());
                for (reply, outcome) in replies.into_iter().zip(outcomes) {
                    let _ = reply.send(outcome);
                }
            }
            Group::Failed(error) => {
                tracing::error!(%error, "the metadata store cannot write");
                self.store = None;
                for reply in replies {
                    let _ = reply.send(Err(error.clone()));
                }
            }
            Group::Unknown(error) => {
                tracing::error!(%error, "a commit of the metadata store failed; whether it happened is unknown");
                self.store = None;
                for reply in replies {
                    let _ = reply.send(Ok(Outcome::Unknown));
                }
            }
        }
    }

    /// Deletes what is bound to the lease, in one revision.
    fn revoke(&mut self, lease: LeaseId) -> Result<(), StoreError> {
        if !self.leases.contains(&lease) {
            return Err(StoreError::LeaseNotFound(lease));
        }
        let leases = self.leases.clone();
        let store = self.open()?;
        let writes: Vec<Write> = store.bound_to(lease)?.into_iter().map(Write::delete).collect();
        if !writes.is_empty() {
            match store.commit(&[Transaction { compares: Vec::new(), writes }], &leases) {
                Group::Committed(decided) => {
                    self.history.tell(decided.into_iter().filter_map(|(_, changes)| changes).collect());
                }
                Group::Failed(error) | Group::Unknown(error) => {
                    self.store = None;
                    return Err(error);
                }
            }
        }
        self.leases.remove(&lease);
        Ok(())
    }
}
