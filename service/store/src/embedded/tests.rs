use std::fs;
use std::fs::Permissions;
use std::io::{self, ErrorKind};
use std::os::unix::fs::PermissionsExt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use redb::{DatabaseError, StorageBackend};
use tidelog_metadata::port::{Compare, Watched, Write};

use super::*;
use crate::{Ran, conformance, run};

fn put(key: &str, value: &str) -> Transaction {
    Transaction { compares: vec![], writes: vec![Write::put(key, Bytes::copy_from_slice(value.as_bytes()))] }
}

async fn committed(store: &EmbeddedStore, transaction: Transaction) -> Revision {
    match store.txn(transaction).await.unwrap() {
        Outcome::Committed { revision } => revision,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_embedded_store_conforms() {
    let directory = tempfile::tempdir().unwrap();
    for round in 0..2 {
        // The second round runs on a file that has been used and opened again.
        let store = EmbeddedStore::open(directory.path()).await.unwrap();
        let checked = conformance::check(Arc::new(store.clone()), &format!("round-{round}/")).await;
        assert_eq!(checked, Ok(()));
        store.close().await;
    }
}

#[tokio::test]
async fn what_is_committed_survives_and_revisions_go_on() {
    let directory = tempfile::tempdir().unwrap();
    let store = EmbeddedStore::open(directory.path()).await.unwrap();
    let first = committed(&store, put("a", "1")).await;
    let second = committed(&store, put("b", "2")).await;
    store.close().await;
    assert_eq!(store.get("a").await, Err(StoreError::Closed));

    let store = EmbeddedStore::open(directory.path()).await.unwrap();
    let listing = store.list("").await.unwrap();
    assert_eq!(listing.revision, second);
    let revisions: Vec<_> = listing.entries.iter().map(|entry| (entry.key.as_str(), entry.mod_revision)).collect();
    assert_eq!(revisions, [("a", first), ("b", second)]);
    // Changes of an earlier process can only be listed.
    assert_eq!(store.watch("", first).await.unwrap().next().await, Ok(Watched::Compacted));
    let mut watch = store.watch("", second).await.unwrap();
    let third = committed(&store, put("a", "3")).await;
    assert!(third > second);
    assert!(matches!(watch.next().await, Ok(Watched::Changes(changes)) if changes.revision == third));
}

#[tokio::test]
async fn leases_end_with_the_process() {
    let directory = tempfile::tempdir().unwrap();
    let store = EmbeddedStore::open(directory.path()).await.unwrap();
    let lease = store.grant(Duration::from_secs(1)).await.unwrap();
    let bound = Write::Put { key: "brokers/1".into(), value: Bytes::new(), lease: Some(lease) };
    let revision = committed(&store, Transaction { compares: vec![], writes: vec![bound] }).await;
    committed(&store, put("kept", "")).await;
    store.close().await;

    let store = EmbeddedStore::open(directory.path()).await.unwrap();
    assert_eq!(store.get("brokers/1").await, Ok(None));
    assert!(store.get("kept").await.unwrap().is_some());
    assert!(store.list("").await.unwrap().revision > revision);
    assert_eq!(store.keep_alive(lease).await, Err(StoreError::LeaseNotFound(lease)));
}

#[tokio::test]
async fn a_file_in_use_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let store = EmbeddedStore::open(directory.path()).await.unwrap();
    let second = EmbeddedStore::open(directory.path()).await.err();
    assert!(matches!(second, Some(StoreError::InUse(_))), "{second:?}");
    store.close().await;
    assert!(EmbeddedStore::open(directory.path()).await.is_ok());
}

#[tokio::test]
async fn a_damaged_file_is_refused_with_its_name() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(FILE);
    fs::write(&path, vec![b'x'; 8192]).unwrap();
    let error = EmbeddedStore::open(directory.path()).await.err().unwrap();
    assert!(matches!(&error, StoreError::Corrupt { store, .. } if store.ends_with(FILE)), "{error:?}");
    assert!(error.to_string().contains("from a backup"), "it says what can be done: {error}");

    // A good file cut short.
    fs::remove_file(&path).unwrap();
    let store = EmbeddedStore::open(directory.path()).await.unwrap();
    committed(&store, put("a", &"x".repeat(100_000))).await;
    store.close().await;
    let bytes = fs::read(&path).unwrap();
    fs::write(&path, bytes.get(..bytes.len() / 2).unwrap()).unwrap();
    let error = EmbeddedStore::open(directory.path()).await.err().unwrap();
    assert!(matches!(&error, StoreError::Corrupt { .. }), "{error:?}");
}

#[tokio::test]
async fn another_format_version_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    EmbeddedStore::open(directory.path()).await.unwrap().close().await;
    let database = redb::Database::create(directory.path().join(FILE)).unwrap();
    let txn = database.begin_write().unwrap();
    txn.open_table(redb::TableDefinition::<&str, i64>::new("facts")).unwrap().insert("format", 2).unwrap();
    txn.commit().unwrap();
    drop(database);
    let error = EmbeddedStore::open(directory.path()).await.err();
    assert!(matches!(error, Some(StoreError::Version { found: 2, known: 1, .. })), "{error:?}");
}

#[tokio::test]
async fn many_callers_share_commits_and_each_has_its_revision() {
    let directory = tempfile::tempdir().unwrap();
    let store = EmbeddedStore::open(directory.path()).await.unwrap();
    let tasks: Vec<_> = (0..200)
        .map(|n| {
            let store = store.clone();
            tokio::spawn(async move { committed(&store, put(&format!("k{n:03}"), "")).await })
        })
        .collect();
    let mut revisions = Vec::new();
    for task in tasks {
        revisions.push(task.await.unwrap());
    }
    revisions.sort();
    revisions.dedup();
    assert_eq!(revisions.len(), 200);
    let mut watch = store.watch("", Revision::ZERO).await.unwrap();
    for expected in revisions {
        assert!(matches!(watch.next().await, Ok(Watched::Changes(changes)) if changes.revision == expected));
    }
}

/// A disk that fails when told to.
struct FaultyDisk {
    real: RealDisk,
    full: Arc<AtomicBool>,
    flush_fails: Arc<AtomicBool>,
}

#[derive(Debug)]
struct Faulty {
    inner: Box<dyn StorageBackend>,
    full: Arc<AtomicBool>,
    flush_fails: Arc<AtomicBool>,
}

impl Faulty {
    fn room(&self) -> io::Result<()> {
        if self.full.load(Ordering::SeqCst) { Err(io::Error::from(ErrorKind::StorageFull)) } else { Ok(()) }
    }
}

impl StorageBackend for Faulty {
    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }
    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.inner.read(offset, out)
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.room()?;
        self.inner.set_len(len)
    }
    fn sync_data(&self) -> io::Result<()> {
        if self.flush_fails.load(Ordering::SeqCst) {
            return Err(io::Error::other("the flush failed"));
        }
        self.inner.sync_data()
    }
    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.room()?;
        self.inner.write(offset, data)
    }
    fn close(&self) -> io::Result<()> {
        self.inner.close()
    }
}

impl Disk for FaultyDisk {
    fn open(&self) -> Result<Box<dyn StorageBackend>, DatabaseError> {
        let inner = self.real.open()?;
        Ok(Box::new(Faulty { inner, full: self.full.clone(), flush_fails: self.flush_fails.clone() }))
    }
    fn name(&self) -> String {
        "faulty".into()
    }
    fn is_unsettled(&self) -> io::Result<bool> {
        self.real.is_unsettled()
    }
    fn mark_unsettled(&self) -> io::Result<()> {
        self.real.mark_unsettled()
    }
    fn settle(&self) -> io::Result<()> {
        self.real.settle()
    }
}

/// A disk beneath a page cache as Linux has it: when a flush fails, the pages count as clean although the disk lacks them.
#[derive(Clone, Default)]
struct CachedDisk(Arc<Mutex<Pages>>);

#[derive(Default, Debug)]
struct Pages {
    disk: Vec<u8>,
    cache: Vec<u8>,
    /// Ranges that were written and not flushed.
    dirty: Vec<(usize, usize)>,
    flush_fails: bool,
    marked: bool,
}

#[derive(Debug)]
struct Cached(Arc<Mutex<Pages>>);

impl StorageBackend for Cached {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.lock().unwrap().cache.len() as u64)
    }
    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let pages = self.0.lock().unwrap();
        let from = pages.cache.get(offset as usize..).ok_or(ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(from.get(..out.len()).ok_or(ErrorKind::UnexpectedEof)?);
        Ok(())
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.lock().unwrap().cache.resize(len as usize, 0);
        Ok(())
    }
    fn sync_data(&self) -> io::Result<()> {
        let pages = &mut *self.0.lock().unwrap();
        let dirty = std::mem::take(&mut pages.dirty);
        if pages.flush_fails {
            return Err(io::Error::other("the flush failed"));
        }
        pages.disk.resize(pages.cache.len(), 0);
        for (from, to) in dirty {
            pages.disk[from..to].copy_from_slice(&pages.cache[from..to]);
        }
        Ok(())
    }
    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let pages = &mut *self.0.lock().unwrap();
        let (from, to) = (offset as usize, offset as usize + data.len());
        pages.cache[from..to].copy_from_slice(data);
        pages.dirty.push((from, to));
        Ok(())
    }
    fn close(&self) -> io::Result<()> {
        Ok(())
    }
}

impl Disk for CachedDisk {
    fn open(&self) -> Result<Box<dyn StorageBackend>, DatabaseError> {
        Ok(Box::new(Cached(self.0.clone())))
    }
    fn name(&self) -> String {
        "cached".into()
    }
    fn is_unsettled(&self) -> io::Result<bool> {
        Ok(self.0.lock().unwrap().marked)
    }
    fn mark_unsettled(&self) -> io::Result<()> {
        let pages = &mut *self.0.lock().unwrap();
        // Whatever keeps a flush from succeeding keeps a new file from being made.
        if pages.flush_fails {
            return Err(io::Error::other("the mark failed"));
        }
        pages.marked = true;
        Ok(())
    }
    fn settle(&self) -> io::Result<()> {
        self.0.lock().unwrap().marked = false;
        Ok(())
    }
}

#[tokio::test]
async fn what_a_restart_reads_after_a_failed_flush_is_made_durable_before_it_counts() {
    let disk = CachedDisk::default();
    let store = EmbeddedStore::open_on(Arc::new(disk.clone())).await.unwrap();
    committed(&store, put("a", "1")).await;
    disk.0.lock().unwrap().flush_fails = true;
    assert_eq!(store.txn(put("b", &"2".repeat(20_000))).await, Ok(Outcome::Unknown));
    store.close().await;

    // The process starts again, the machine does not: it reads from the page cache what no disk has.
    disk.0.lock().unwrap().flush_fails = false;
    let store = EmbeddedStore::open_on(Arc::new(disk.clone())).await.unwrap();
    committed(&store, put("c", "3")).await;
    let seen = store.list("").await.unwrap();
    store.close().await;

    // The power goes: the page cache is what the disk has.
    {
        let pages = &mut *disk.0.lock().unwrap();
        pages.cache = pages.disk.clone();
        assert!(!pages.marked, "the file was written whole, and closed");
    }
    let store = EmbeddedStore::open_on(Arc::new(disk.clone())).await.unwrap();
    assert_eq!(store.list("").await.unwrap(), seen, "what was read or acknowledged is there");
}

fn faulty(directory: &Path) -> Arc<FaultyDisk> {
    let real = RealDisk::new(directory.join(FILE));
    Arc::new(FaultyDisk { real, full: Arc::default(), flush_fails: Arc::default() })
}

#[tokio::test]
async fn a_full_disk_refuses_and_recovers_when_space_returns() {
    let directory = tempfile::tempdir().unwrap();
    let disk = faulty(directory.path());
    let store = EmbeddedStore::open_on(disk.clone()).await.unwrap();
    let lease = store.grant(Duration::from_secs(1)).await.unwrap();
    let bound = Write::Put { key: "bound".into(), value: Bytes::new(), lease: Some(lease) };
    committed(&store, Transaction { compares: vec![], writes: vec![bound] }).await;
    let before = committed(&store, put("a", "1")).await;
    let mut watch = store.watch("", before).await.unwrap();
    disk.full.store(true, Ordering::SeqCst);
    for _ in 0..3 {
        let refused = store.txn(put("b", "2")).await;
        assert!(matches!(refused, Ok(Outcome::Unknown) | Err(StoreError::Unavailable(_))), "{refused:?}");
    }
    disk.full.store(false, Ordering::SeqCst);
    let after = committed(&store, put("c", "3")).await;
    assert!(after > before);
    // What was bound to a lease of this process is still there.
    assert!(store.get("bound").await.unwrap().is_some());
    assert!(store.get("a").await.unwrap().is_some());
    assert_eq!(store.keep_alive(lease).await, Ok(()));
    // The watcher misses nothing: it either sees what was committed or is told to list.
    match watch.next().await.unwrap() {
        Watched::Compacted => {}
        Watched::Changes(changes) => assert!(changes.revision > before && changes.revision <= after),
    }
}

#[tokio::test]
async fn after_a_failed_flush_nothing_is_believed() {
    let directory = tempfile::tempdir().unwrap();
    let disk = faulty(directory.path());
    let store = EmbeddedStore::open_on(disk.clone()).await.unwrap();
    committed(&store, put("a", "1")).await;
    disk.flush_fails.store(true, Ordering::SeqCst);
    assert_eq!(store.txn(put("b", "2")).await, Ok(Outcome::Unknown));
    disk.flush_fails.store(false, Ordering::SeqCst);
    assert!(matches!(store.txn(put("c", "3")).await, Err(StoreError::Unavailable(_))));
    assert!(matches!(store.list("").await, Err(StoreError::Unavailable(_))));
    store.close().await;
    let mark = directory.path().join("metadata.redb.unsettled");
    assert!(mark.exists(), "the next start is told");
    // A new process reads what the disk really has.
    let store = EmbeddedStore::open(directory.path()).await.unwrap();
    assert!(store.get("a").await.unwrap().is_some());
    assert_eq!(store.get("c").await, Ok(None));
    store.close().await;
    assert!(!mark.exists(), "once");
}

#[tokio::test]
async fn the_mark_is_there_while_the_file_is_open_and_a_clean_close_takes_it() {
    let directory = tempfile::tempdir().unwrap();
    let mark = directory.path().join("metadata.redb.unsettled");
    for _ in 0..2 {
        let store = EmbeddedStore::open(directory.path()).await.unwrap();
        committed(&store, put("a", "1")).await;
        assert!(mark.exists(), "a kill leaves it");
        store.close().await;
        assert!(!mark.exists());
    }
}

#[tokio::test]
async fn plans_run_to_their_end_or_to_a_conflict() {
    use tidelog_metadata::decide::Plan;
    let directory = tempfile::tempdir().unwrap();
    let store = EmbeddedStore::open(directory.path()).await.unwrap();
    let create = Transaction { compares: vec![Compare::absent("k")], ..put("k", "1") };
    let first = run(&store, Plan::of(create.clone())).await.unwrap();
    let Ran::Committed(revision) = first else { panic!("{first:?}") };
    assert_eq!(run(&store, Plan::of(create)).await, Ok(Ran::Conflict(revision)));
}

/// It holds what passwords and tokens are checked with.
#[tokio::test]
async fn nobody_else_may_read_the_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("metadata.redb");
    let mode = || std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
    EmbeddedStore::open(directory.path()).await.unwrap().close().await;
    assert_eq!(mode(), 0o600);
    std::fs::set_permissions(&path, Permissions::from_mode(0o664)).unwrap();
    EmbeddedStore::open(directory.path()).await.unwrap().close().await;
    assert_eq!(mode(), 0o600, "of an earlier version");
}

#[tokio::test]
async fn a_wrong_bit_is_found_or_harmless() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(FILE);
    let store = EmbeddedStore::open(directory.path()).await.unwrap();
    for n in 0..20 {
        committed(&store, put(&format!("k{n:02}"), &"v".repeat(300))).await;
    }
    let good = store.list("").await.unwrap();
    store.close().await;
    let bytes = fs::read(&path).unwrap();
    let used: Vec<usize> = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'v').map(|(at, _)| at).collect();
    let every = used.len() / 12;
    let header = (0..512).step_by(61);
    let mut refused = 0;
    for at in header.chain(used.into_iter().step_by(every)) {
        let mut damaged = bytes.clone();
        *damaged.get_mut(at).unwrap() ^= 0x10;
        fs::write(&path, &damaged).unwrap();
        match EmbeddedStore::open(directory.path()).await {
            Ok(store) => {
                assert_eq!(store.list("").await.unwrap(), good, "a wrong bit at {at} went unseen");
                store.close().await;
            }
            Err(StoreError::Corrupt { .. }) => refused += 1,
            Err(other) => panic!("a wrong bit at {at}: {other:?}"),
        }
    }
    assert!(refused > 0);
}
