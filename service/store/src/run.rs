//! Runs a plan's transactions one after the other, and finds out what became of one whose answer was lost.

use std::sync::Arc;

use tidelog_metadata::decide::{Plan, settle, settle_key};
use tidelog_metadata::port::{MetadataStore, Outcome, Revision, StoreError, Transaction};

use tokio::task::{JoinError, JoinSet};

use crate::limits::{MAX_AT_ONCE, MAX_LOST_ANSWERS};

/// What became of a plan.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ran {
    /// All of it is durable; visible in an image that has reached this revision.
    Committed(Revision),
    /// Somebody else was faster: decide again with an image that has reached this revision.
    Conflict(Revision),
}

/// Runs a plan to its end. An error says that the store does not answer: what is committed of the plan is then unknown and, until
/// the plan's last transaction, invisible.
pub async fn run(store: &dyn MetadataStore, mut plan: Plan) -> Result<Ran, StoreError> {
    let mut last = Revision::ZERO;
    while let Some(transaction) = plan.next() {
        match run_one(store, transaction).await? {
            Ran::Committed(revision) => {
                last = revision;
                plan.committed(revision);
            }
            conflict => return Ok(conflict),
        }
    }
    Ok(Ran::Committed(last))
}

/// Runs transactions that do not depend on each other, all at once, so that the store can make them durable together. The first
/// conflict or error is told; the others may still have happened.
pub async fn run_all(store: &Arc<dyn MetadataStore>, transactions: Vec<Transaction>) -> Result<Ran, StoreError> {
    let mut running = JoinSet::new();
    let mut last = Revision::ZERO;
    let mut failed = None;
    for transaction in transactions {
        if running.len() >= MAX_AT_ONCE
            && let Some(ended) = running.join_next().await
        {
            note(ended, &mut last, &mut failed);
        }
        if failed.is_some() {
            break;
        }
        let store = store.clone();
        running.spawn(async move { run_one(&*store, transaction).await });
    }
    while let Some(ended) = running.join_next().await {
        note(ended, &mut last, &mut failed);
    }
    failed.unwrap_or(Ok(Ran::Committed(last)))
}

fn note(
    ended: Result<Result<Ran, StoreError>, JoinError>,
    last: &mut Revision,
    failed: &mut Option<Result<Ran, StoreError>>,
) {
    match ended {
        Ok(Ok(Ran::Committed(revision))) => *last = (*last).max(revision),
        Ok(other) => {
            failed.get_or_insert(other);
        }
        Err(_) => {
            failed.get_or_insert(Err(StoreError::Closed));
        }
    }
}

/// Runs one transaction. Repeating it after a lost answer is safe: whichever attempt comes second finds its compares broken.
async fn run_one(store: &dyn MetadataStore, transaction: Transaction) -> Result<Ran, StoreError> {
    let mut uncertain = false;
    for _ in 0..MAX_LOST_ANSWERS {
        match store.txn(transaction.clone()).await? {
            Outcome::Committed { revision } => return Ok(Ran::Committed(revision)),
            Outcome::Conflict { revision } if !uncertain => return Ok(Ran::Conflict(revision)),
            Outcome::Conflict { revision } => {
                let found = look(store, &transaction).await?;
                return Ok(found.map_or(Ran::Conflict(revision), Ran::Committed));
            }
            Outcome::Unknown => {
                uncertain = true;
                if let Some(revision) = look(store, &transaction).await? {
                    return Ok(Ran::Committed(revision));
                }
            }
        }
    }
    Err(StoreError::Unavailable("its answers are lost again and again".into()))
}

/// Did the transaction happen?
async fn look(store: &dyn MetadataStore, transaction: &Transaction) -> Result<Option<Revision>, StoreError> {
    let Some(key) = settle_key(transaction) else { return Ok(None) };
    let listing = store.list(key).await?;
    let found = listing.entries.iter().find(|entry| entry.key == key);
    Ok(settle(transaction, found, listing.revision))
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::time::Duration;

    use bytes::Bytes;
    use parking_lot::Mutex;
    use tidelog_metadata::port::{BoxFuture, Compare, KeyValue, LeaseId, Listing, Watch, Write};

    use super::*;
    use crate::EmbeddedStore;

    #[derive(Clone, Copy)]
    enum Fate {
        /// Done, but the answer is lost.
        DoneAndLost,
        /// The request is lost.
        Lost,
        /// Another writer comes first, then the request arrives.
        Overtaken,
    }

    /// A store whose answers get lost as told; afterwards all is well.
    struct Lossy {
        inner: EmbeddedStore,
        fates: Mutex<VecDeque<Fate>>,
    }

    impl MetadataStore for Lossy {
        fn get(&self, key: &str) -> BoxFuture<'_, Result<Option<KeyValue>, StoreError>> {
            self.inner.get(key)
        }
        fn list(&self, prefix: &str) -> BoxFuture<'_, Result<Listing, StoreError>> {
            self.inner.list(prefix)
        }
        fn txn(&self, transaction: Transaction) -> BoxFuture<'_, Result<Outcome, StoreError>> {
            Box::pin(async move {
                let fate = self.fates.lock().pop_front();
                match fate {
                    None => return self.inner.txn(transaction).await,
                    Some(Fate::Lost) => {}
                    Some(Fate::DoneAndLost) => {
                        self.inner.txn(transaction).await?;
                    }
                    Some(Fate::Overtaken) => {
                        self.inner.txn(put("k", "other")).await?;
                        self.inner.txn(transaction).await?;
                    }
                }
                Ok(Outcome::Unknown)
            })
        }
        fn watch(&self, prefix: &str, after: Revision) -> BoxFuture<'_, Result<Box<dyn Watch>, StoreError>> {
            self.inner.watch(prefix, after)
        }
        fn grant(&self, ttl: Duration) -> BoxFuture<'_, Result<LeaseId, StoreError>> {
            self.inner.grant(ttl)
        }
        fn keep_alive(&self, lease: LeaseId) -> BoxFuture<'_, Result<(), StoreError>> {
            self.inner.keep_alive(lease)
        }
        fn revoke(&self, lease: LeaseId) -> BoxFuture<'_, Result<(), StoreError>> {
            self.inner.revoke(lease)
        }
    }

    fn put(key: &str, value: &str) -> Transaction {
        let write = Write::put(key, Bytes::copy_from_slice(value.as_bytes()));
        Transaction { compares: vec![], writes: vec![write] }
    }

    #[tokio::test]
    async fn lost_answers_are_settled_by_reading() {
        let mine = Transaction { compares: vec![Compare::absent("k")], ..put("k", "mine") };
        let cases: [(&[Fate], Option<&str>); 5] = [
            (&[Fate::DoneAndLost], Some("mine")),
            (&[Fate::Lost, Fate::Lost], Some("mine")),
            (&[Fate::Lost, Fate::DoneAndLost], Some("mine")),
            (&[Fate::Overtaken], Some("other")),
            (&[Fate::Lost; MAX_LOST_ANSWERS], None),
        ];
        for (fates, expected) in cases {
            let directory = tempfile::tempdir().unwrap();
            let inner = EmbeddedStore::open(directory.path()).await.unwrap();
            let store = Lossy { inner, fates: Mutex::new(fates.iter().copied().collect()) };
            let ran = run(&store, Plan::of(mine.clone())).await;
            let found = store.get("k").await.unwrap();
            assert_eq!(found.as_ref().map(|found| &*found.value), expected.map(str::as_bytes));
            match expected {
                Some("mine") => assert_eq!(ran, Ok(Ran::Committed(found.unwrap().mod_revision))),
                Some(_) => assert!(matches!(ran, Ok(Ran::Conflict(_))), "{ran:?}"),
                None => assert!(matches!(ran, Err(StoreError::Unavailable(_))), "{ran:?}"),
            }
        }
    }
}
