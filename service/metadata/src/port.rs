//! The port to the metadata store: what it promises, whoever stands behind it (embedded file, etcd). Decides nothing.
//!
//! A store is an ordered map from text keys to bytes with **one global revision**. Every transaction that writes raises the
//! revision by at least one, and all its changes carry that revision. A watch gets every change once, in the order of revisions.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;

use crate::limits::{MAX_KEY_BYTES, MAX_TRANSACTION_BYTES, MAX_TRANSACTION_OPERATIONS};

/// A boxed future, so that the port can stand behind `dyn`.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The store's revision: grows with every transaction that writes. 0 is "never": no key has it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Revision(pub i64);

impl Revision {
    /// "Absent" in a compare, "from the beginning" in a watch.
    pub const ZERO: Revision = Revision(0);

    /// The plain number.
    pub const fn get(self) -> i64 {
        self.0
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A lease: keys bound to it vanish when it is revoked or, in a shared store, expires.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct LeaseId(pub i64);

/// One key with its value.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeyValue {
    /// The key.
    pub key: String,
    /// The value.
    pub value: Bytes,
    /// The revision of its last write.
    pub mod_revision: Revision,
    /// The lease it is bound to.
    pub lease: Option<LeaseId>,
}

/// All keys below a prefix at one revision.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Listing {
    /// The revision of the whole store when this was read: a watch after it misses nothing.
    pub revision: Revision,
    /// In ascending order of keys.
    pub entries: Vec<KeyValue>,
}

/// A condition: the key's last write has this revision; [`Revision::ZERO`] = the key is absent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Compare {
    /// The key.
    pub key: String,
    /// What its mod revision must be.
    pub mod_revision: Revision,
}

impl Compare {
    /// The key must not exist.
    pub fn absent(key: impl Into<String>) -> Self {
        Compare { key: key.into(), mod_revision: Revision::ZERO }
    }

    /// The key must not have been written since `revision`.
    pub fn unchanged(key: impl Into<String>, revision: Revision) -> Self {
        Compare { key: key.into(), mod_revision: revision }
    }
}

/// One change of one key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Write {
    /// Create or replace.
    Put {
        /// The key.
        key: String,
        /// Its new value.
        value: Bytes,
        /// The lease it shall live with; `None` unbinds.
        lease: Option<LeaseId>,
    },
    /// Remove; removing what is not there is no change and no error.
    Delete {
        /// The key.
        key: String,
    },
}

impl Write {
    /// A put without a lease.
    pub fn put(key: impl Into<String>, value: Bytes) -> Self {
        Write::Put { key: key.into(), value, lease: None }
    }

    /// A delete.
    pub fn delete(key: impl Into<String>) -> Self {
        Write::Delete { key: key.into() }
    }

    /// The key it changes.
    pub fn key(&self) -> &str {
        match self {
            Write::Put { key, .. } | Write::Delete { key } => key,
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Write::Put { key, value, .. } => key.len().saturating_add(value.len()),
            Write::Delete { key } => key.len(),
        }
    }
}

/// Compares and writes that happen together or not at all: if every compare holds, every write is done.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Transaction {
    /// The conditions.
    pub compares: Vec<Compare>,
    /// The changes; each key at most once.
    pub writes: Vec<Write>,
}

/// Why a store refuses a transaction before trying it: a mistake of the caller.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum InvalidTransaction {
    /// More compares and writes than any store takes.
    #[error("{0} compares and writes in one transaction, at most {MAX_TRANSACTION_OPERATIONS} are allowed")]
    TooMany(usize),
    /// More bytes than any store takes.
    #[error("{0} bytes in one transaction, at most {MAX_TRANSACTION_BYTES} are allowed")]
    TooLarge(usize),
    /// A key that is empty or too long.
    #[error("a key of {0} bytes; allowed are 1 to {MAX_KEY_BYTES}")]
    KeyLength(usize),
    /// One key written twice.
    #[error("the key {0} is written twice in one transaction")]
    Twice(String),
}

impl Transaction {
    /// Compares and writes together.
    pub fn operations(&self) -> usize {
        self.compares.len().saturating_add(self.writes.len())
    }

    /// Bytes of all keys and values.
    pub fn bytes(&self) -> usize {
        let compares: usize = self.compares.iter().map(|c| c.key.len()).sum();
        let writes: usize = self.writes.iter().map(Write::bytes).sum();
        compares.saturating_add(writes)
    }

    /// Is it within the port's limits? Every store asks this first.
    pub fn check(&self) -> Result<(), InvalidTransaction> {
        let operations = self.operations();
        if operations > MAX_TRANSACTION_OPERATIONS {
            return Err(InvalidTransaction::TooMany(operations));
        }
        let bytes = self.bytes();
        if bytes > MAX_TRANSACTION_BYTES {
            return Err(InvalidTransaction::TooLarge(bytes));
        }
        let mut keys: Vec<&str> = self.writes.iter().map(Write::key).collect();
        let all = self.compares.iter().map(|c| c.key.as_str()).chain(keys.iter().copied());
        if let Some(key) = all.into_iter().find(|key| key.is_empty() || key.len() > MAX_KEY_BYTES) {
            return Err(InvalidTransaction::KeyLength(key.len()));
        }
        keys.sort_unstable();
        for (one, next) in keys.iter().zip(keys.iter().skip(1)) {
            if one == next {
                return Err(InvalidTransaction::Twice((*one).to_string()));
            }
        }
        Ok(())
    }
}

/// What became of a transaction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// All of it is durable.
    Committed {
        /// The revision of its changes; without writes, the current one.
        revision: Revision,
    },
    /// A compare did not hold; nothing was written.
    Conflict {
        /// The store's revision at that moment: decide again once the image has reached it.
        revision: Revision,
    },
    /// The answer was lost: it may or may not have happened. Read before acting ([`crate::decide::settle`]).
    Unknown,
}

/// One change as a watch tells it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Event {
    /// The key.
    pub key: String,
    /// What happened to it.
    pub change: Change,
}

/// What happened to a key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Change {
    /// It has this value now.
    Put {
        /// The value.
        value: Bytes,
        /// The lease it is bound to.
        lease: Option<LeaseId>,
    },
    /// It is gone.
    Delete,
}

/// All changes of one revision below the watched prefix: never empty, never split.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Changes {
    /// The revision.
    pub revision: Revision,
    /// The changes, each key at most once.
    pub events: Vec<Event>,
}

/// What a watch reports.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Watched {
    /// The next changes.
    Changes(Changes),
    /// Changes after the watcher's position are no longer known: list again and watch from there. The watch is over.
    Compacted,
}

/// A running watch. Dropping it ends it.
pub trait Watch: Send {
    /// The next report; waits for it. A cancelled call loses nothing.
    fn next(&mut self) -> BoxFuture<'_, Result<Watched, StoreError>>;
}

/// Why a store could not answer.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum StoreError {
    /// Another process holds the embedded store.
    #[error("the metadata store {0} is in use by another process")]
    InUse(String),
    /// The store's content makes no sense: a person must look.
    #[error("the metadata store {store} is damaged: {reason}")]
    Corrupt {
        /// Where it lives.
        store: String,
        /// What was found.
        reason: String,
    },
    /// The store's own format is of another version.
    #[error("the metadata store {store} has format version {found}; this program knows version {known}")]
    Version {
        /// Where it lives.
        store: String,
        /// What it says.
        found: i64,
        /// What this program writes.
        known: i64,
    },
    /// The disk or the network failed: try again later.
    #[error("the metadata store does not answer: {0}")]
    Unavailable(String),
    /// The lease was revoked, has expired or never was.
    #[error("lease {} does not exist", .0.0)]
    LeaseNotFound(LeaseId),
    /// The caller's mistake.
    #[error(transparent)]
    Invalid(#[from] InvalidTransaction),
    /// The store was closed.
    #[error("the metadata store is closed")]
    Closed,
}

/// The metadata store.
pub trait MetadataStore: Send + Sync {
    /// One key, as of now.
    fn get(&self, key: &str) -> BoxFuture<'_, Result<Option<KeyValue>, StoreError>>;

    /// Every key that begins with `prefix` (all for the empty one), at one revision.
    fn list(&self, prefix: &str) -> BoxFuture<'_, Result<Listing, StoreError>>;

    /// Compare and write. `Committed` means durable.
    fn txn(&self, transaction: Transaction) -> BoxFuture<'_, Result<Outcome, StoreError>>;

    /// Every change below `prefix` with a revision **greater than** `after`, in order.
    fn watch(&self, prefix: &str, after: Revision) -> BoxFuture<'_, Result<Box<dyn Watch>, StoreError>>;

    /// A new lease that a shared store lets expire after `ttl` without [`MetadataStore::keep_alive`].
    /// An embedded store's leases live exactly as long as the process.
    fn grant(&self, ttl: Duration) -> BoxFuture<'_, Result<LeaseId, StoreError>>;

    /// Gives the lease its full time again.
    fn keep_alive(&self, lease: LeaseId) -> BoxFuture<'_, Result<(), StoreError>>;

    /// Ends the lease; its keys are deleted in one revision.
    fn revoke(&self, lease: LeaseId) -> BoxFuture<'_, Result<(), StoreError>>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transactions_have_limits() {
        let put = |n: usize| Write::put(format!("k{n}"), Bytes::new());
        let mut txn = Transaction { compares: vec![Compare::absent("k0")], writes: (0..99).map(put).collect() };
        assert_eq!(txn.check(), Ok(()));
        txn.writes.push(put(99));
        assert_eq!(txn.check(), Err(InvalidTransaction::TooMany(101)));
        txn.writes = vec![put(1), Write::delete("k1")];
        assert_eq!(txn.check(), Err(InvalidTransaction::Twice("k1".into())));
        txn.writes = vec![Write::put("k", Bytes::from(vec![0; MAX_TRANSACTION_BYTES]))];
        assert!(matches!(txn.check(), Err(InvalidTransaction::TooLarge(_))));
        txn.writes = vec![Write::delete("")];
        assert_eq!(txn.check(), Err(InvalidTransaction::KeyLength(0)));
        txn.writes = vec![Write::delete("x".repeat(513))];
        assert_eq!(txn.check(), Err(InvalidTransaction::KeyLength(513)));
    }
}
