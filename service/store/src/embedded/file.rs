//! The tables in the file: keys with values, and the revision. Reads and writes them; knows no caller and no queue.
//!
//! Table `keys`: key (UTF-8) → mod revision (8 bytes, big-endian) ‖ lease (8 bytes, big-endian, 0 = none) ‖ value.
//! Table `facts`: `format` → 1, `revision` → the last revision. An unknown format is refused.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use redb::{Builder, Database, DatabaseError, ReadableDatabase, ReadableTable, TableDefinition};
use tidelog_metadata::port::{
    Change, Changes, Event, KeyValue, LeaseId, Listing, Outcome, Revision, StoreError, Transaction, Write,
};

use super::backend::Place;
use crate::limits::CACHE_BYTES;

const KEYS: TableDefinition<&str, &[u8]> = TableDefinition::new("keys");
const FACTS: TableDefinition<&str, i64> = TableDefinition::new("facts");
const FORMAT: i64 = 1;

/// The open file.
pub(super) struct Store {
    database: Database,
    name: String,
    /// The revision of the last commit.
    revision: Revision,
}

/// A transaction's fate and the changes to tell watchers.
pub(super) type Decided = (Result<Outcome, StoreError>, Option<Changes>);

/// How a group of transactions ended.
pub(super) enum Group {
    /// Each as it says; durable.
    Committed(Vec<Decided>),
    /// Nothing was written.
    Failed(StoreError),
    /// The commit itself failed: nobody knows.
    Unknown(StoreError),
}

impl Store {
    /// Opens or creates the file; removes what is bound to leases that are not among the living ones.
    pub(super) fn open(place: &Arc<Place>, leases: &BTreeSet<LeaseId>) -> Result<Store, StoreError> {
        let name = place.name();
        let opened = |error: DatabaseError| match error {
            DatabaseError::DatabaseAlreadyOpen => StoreError::InUse(name.clone()),
            DatabaseError::UpgradeRequired(version) => StoreError::Corrupt {
                store: name.clone(),
                reason: format!("its file format {version} is too old for this program"),
            },
            other => failure(&name, other.into()),
        };
        let backend = place.open().map_err(opened)?;
        let mut database = Builder::new().set_cache_size(CACHE_BYTES).create_with_backend(backend).map_err(opened)?;
        // Every page against its checksum: the file is small, and a wrong byte here would be a wrong leader somewhere.
        if !database.check_integrity().map_err(opened)? {
            tracing::error!(store = %name, "the metadata store was damaged and repaired; its last change may be lost");
        }
        let mut store = Store { database, name: name.clone(), revision: Revision::ZERO };
        store.load(leases).map_err(|error| error.unwrap_or_else(|redb| failure(&name, redb)))?;
        Ok(store)
    }

    /// Checks the format and reads the revision, or writes both into a new file.
    fn load(&mut self, leases: &BTreeSet<LeaseId>) -> Result<(), OpenError> {
        let txn = self.database.begin_write().map_err(redb::Error::from)?;
        let mut new = false;
        let orphans: Vec<String> = {
            let mut facts = txn.open_table(FACTS).map_err(redb::Error::from)?;
            let format = facts.get("format").map_err(redb::Error::from)?.map(|value| value.value());
            match format {
                None => {
                    new = true;
                    facts.insert("format", FORMAT).map_err(redb::Error::from)?;
                    facts.insert("revision", 0).map_err(redb::Error::from)?;
                }
                Some(FORMAT) => {}
                Some(found) => {
                    return Err(OpenError::Store(StoreError::Version {
                        store: self.name.clone(),
                        found,
                        known: FORMAT,
                    }));
                }
            }
            let revision = facts.get("revision").map_err(redb::Error::from)?.map(|value| value.value());
            self.revision = Revision(revision.ok_or_else(|| OpenError::Store(self.corrupt("it has no revision")))?);
            let keys = txn.open_table(KEYS).map_err(redb::Error::from)?;
            let mut orphans = Vec::new();
            for entry in keys.iter().map_err(redb::Error::from)? {
                let (key, stored) = entry.map_err(redb::Error::from)?;
                let entry = self.entry(key.value(), stored.value()).map_err(OpenError::Store)?;
                if entry.mod_revision > self.revision {
                    return Err(OpenError::Store(self.corrupt("a key is newer than the store")));
                }
                if entry.lease.is_some_and(|lease| !leases.contains(&lease)) {
                    orphans.push(entry.key);
                }
            }
            if !orphans.is_empty() {
                facts.insert("revision", self.revision.get().saturating_add(1)).map_err(redb::Error::from)?;
            }
            orphans
        };
        {
            let mut keys = txn.open_table(KEYS).map_err(redb::Error::from)?;
            for key in &orphans {
                keys.remove(key.as_str()).map_err(redb::Error::from)?;
            }
        }
        if !new && orphans.is_empty() {
            return Ok(txn.abort().map_err(redb::Error::from)?);
        }
        txn.commit().map_err(redb::Error::from)?;
        if !orphans.is_empty() {
            self.revision = Revision(self.revision.get().saturating_add(1));
        }
        Ok(())
    }

    /// The revision of the last commit.
    pub(super) fn revision(&self) -> Revision {
        self.revision
    }

    /// One key.
    pub(super) fn get(&self, key: &str) -> Result<Option<KeyValue>, StoreError> {
        let read = || -> Result<Option<Vec<u8>>, redb::Error> {
            let table = self.database.begin_read()?.open_table(KEYS)?;
            Ok(table.get(key)?.map(|stored| stored.value().to_vec()))
        };
        let stored = read().map_err(|error| self.failed(error))?;
        stored.map(|stored| self.entry(key, &stored)).transpose()
    }

    /// Every key below a prefix.
    pub(super) fn list(&self, prefix: &str) -> Result<Listing, StoreError> {
        let read = || -> Result<Vec<(String, Vec<u8>)>, redb::Error> {
            let table = self.database.begin_read()?.open_table(KEYS)?;
            let mut found = Vec::new();
            for entry in table.range(prefix..)? {
                let (key, stored) = entry?;
                if !key.value().starts_with(prefix) {
                    break;
                }
                found.push((key.value().to_string(), stored.value().to_vec()));
            }
            Ok(found)
        };
        let found = read().map_err(|error| self.failed(error))?;
        let entries = found.iter().map(|(key, stored)| self.entry(key, stored)).collect::<Result<_, _>>()?;
        Ok(Listing { revision: self.revision, entries })
    }

    /// Keys bound to a lease.
    pub(super) fn bound_to(&self, lease: LeaseId) -> Result<Vec<String>, StoreError> {
        let all = self.list("")?.entries;
        Ok(all.into_iter().filter(|entry| entry.lease == Some(lease)).map(|entry| entry.key).collect())
    }

    /// Decides each transaction in order and makes all of them durable together.
    pub(super) fn commit(&mut self, group: &[Transaction], leases: &BTreeSet<LeaseId>) -> Group {
        let write = || -> Result<(redb::WriteTransaction, Vec<Decided>, Revision), redb::Error> {
            let txn = self.database.begin_write()?;
            let mut revision = self.revision;
            let mut decided = Vec::with_capacity(group.len());
            {
                let mut keys = txn.open_table(KEYS)?;
                for transaction in group {
                    decided.push(self.decide(&mut keys, transaction, leases, &mut revision)?);
                }
                txn.open_table(FACTS)?.insert("revision", revision.get())?;
            }
            Ok((txn, decided, revision))
        };
        let (txn, decided, revision) = match write() {
            Ok(written) => written,
            Err(error) => return Group::Failed(self.failed(error)),
        };
        if revision == self.revision {
            // Nobody changed anything: no need to wait for the disk.
            return match txn.abort() {
                Ok(()) => Group::Committed(decided),
                Err(error) => Group::Failed(self.failed(error.into())),
            };
        }
        match txn.commit() {
            Ok(()) => {
                self.revision = revision;
                Group::Committed(decided)
            }
            Err(error) => Group::Unknown(self.failed(error.into())),
        }
    }

    fn decide(
        &self,
        keys: &mut redb::Table<'_, &'static str, &'static [u8]>,
        transaction: &Transaction,
        leases: &BTreeSet<LeaseId>,
        revision: &mut Revision,
    ) -> Result<Decided, redb::Error> {
        for write in &transaction.writes {
            if let Write::Put { lease: Some(lease), .. } = write
                && !leases.contains(lease)
            {
                return Ok((Err(StoreError::LeaseNotFound(*lease)), None));
            }
        }
        for compare in &transaction.compares {
            let stored = keys.get(compare.key.as_str())?.map(|stored| stored.value().to_vec());
            let found = match stored.map(|stored| self.entry(&compare.key, &stored)).transpose() {
                Ok(found) => found.map_or(Revision::ZERO, |entry| entry.mod_revision),
                Err(error) => return Ok((Err(error), None)),
            };
            if found != compare.mod_revision {
                return Ok((Ok(Outcome::Conflict { revision: *revision }), None));
            }
        }
        let next = Revision(revision.get().saturating_add(1));
        let mut events = Vec::with_capacity(transaction.writes.len());
        for write in &transaction.writes {
            match write {
                Write::Put { key, value, lease } => {
                    keys.insert(key.as_str(), stored_form(next, *lease, value).as_slice())?;
                    let change = Change::Put { value: value.clone(), lease: *lease };
                    events.push(Event { key: key.clone(), change });
                }
                Write::Delete { key } => {
                    if keys.remove(key.as_str())?.is_some() {
                        events.push(Event { key: key.clone(), change: Change::Delete });
                    }
                }
            }
        }
        if events.is_empty() {
            return Ok((Ok(Outcome::Committed { revision: *revision }), None));
        }
        *revision = next;
        Ok((Ok(Outcome::Committed { revision: next }), Some(Changes { revision: next, events })))
    }

    fn entry(&self, key: &str, stored: &[u8]) -> Result<KeyValue, StoreError> {
        let (revision, rest) = stored.split_first_chunk::<8>().ok_or_else(|| self.corrupt("an entry is too short"))?;
        let (lease, value) = rest.split_first_chunk::<8>().ok_or_else(|| self.corrupt("an entry is too short"))?;
        let lease = i64::from_be_bytes(*lease);
        Ok(KeyValue {
            key: key.to_string(),
            value: Bytes::copy_from_slice(value),
            mod_revision: Revision(i64::from_be_bytes(*revision)),
            lease: (lease != 0).then_some(LeaseId(lease)),
        })
    }

    fn corrupt(&self, reason: &str) -> StoreError {
        StoreError::Corrupt { store: self.name.clone(), reason: reason.to_string() }
    }

    fn failed(&self, error: redb::Error) -> StoreError {
        failure(&self.name, error)
    }
}

/// Why a file that redb accepts cannot be used.
enum OpenError {
    Redb(redb::Error),
    Store(StoreError),
}

impl OpenError {
    fn unwrap_or_else(self, map: impl FnOnce(redb::Error) -> StoreError) -> StoreError {
        match self {
            OpenError::Redb(error) => map(error),
            OpenError::Store(error) => error,
        }
    }
}

impl From<redb::Error> for OpenError {
    fn from(error: redb::Error) -> Self {
        OpenError::Redb(error)
    }
}

fn stored_form(revision: Revision, lease: Option<LeaseId>, value: &[u8]) -> Vec<u8> {
    let mut stored = Vec::with_capacity(value.len() + 16);
    stored.extend_from_slice(&revision.get().to_be_bytes());
    stored.extend_from_slice(&lease.map_or(0, |lease| lease.0).to_be_bytes());
    stored.extend_from_slice(value);
    stored
}

/// What an operator can do.
const DAMAGED_ADVICE: &str = "Topics, users, access rules and what is in the object store are known from it only: restore the whole \
     metadata directory from a backup, made while no server ran on it. Without a backup move that directory away; the next start then says \
     what can be given up to go on";

/// Damage is told from a disk that fails or is full.
fn failure(name: &str, error: redb::Error) -> StoreError {
    let corrupt =
        |reason: String| StoreError::Corrupt { store: name.to_string(), reason: format!("{reason}. {DAMAGED_ADVICE}") };
    match error {
        redb::Error::Corrupted(reason) => corrupt(reason),
        redb::Error::Io(error)
            if matches!(error.kind(), std::io::ErrorKind::InvalidData | std::io::ErrorKind::UnexpectedEof) =>
        {
            corrupt(error.to_string())
        }
        redb::Error::TableTypeMismatch { .. }
        | redb::Error::TableIsMultimap(_)
        | redb::Error::TypeDefinitionChanged { .. } => corrupt(error.to_string()),
        other => StoreError::Unavailable(format!("{name}: {other}")),
    }
}
