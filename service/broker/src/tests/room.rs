//! A disk without room: who is refused, what is kept for whom, and that all goes on once there is room.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;

use parking_lot::Mutex;
use tidelog_log::limits::RESERVE_BYTES as RESERVE;
use tidelog_log::{DirEntry, Disk, DiskFile, OsDisk, Space};

use super::*;
use crate::checkpoints::CheckpointFiles;
use crate::limits::ROOM_STEP;

/// The real disk, as small as the test says.
#[derive(Default, Debug)]
pub(super) struct SmallDisk {
    /// No new file finds room.
    pub(super) full: AtomicBool,
    /// So many have found none.
    pub(super) refused: AtomicU64,
    free: AtomicU64,
    held: Mutex<Vec<Held>>,
}

/// The next flush of this directory tells that it has come, and waits for the other end to go.
#[derive(Debug)]
struct Held {
    directory: PathBuf,
    has_come: mpsc::Sender<()>,
    may_go: mpsc::Receiver<()>,
}

impl SmallDisk {
    /// Holds up the next flush of a directory: what tells that it waits, and what it waits for to be dropped.
    pub(super) fn hold_flush(&self, directory: PathBuf) -> (mpsc::Receiver<()>, mpsc::Sender<()>) {
        let ((has_come, waits), (go, may_go)) = (mpsc::channel(), mpsc::channel());
        self.held.lock().push(Held { directory, has_come, may_go });
        (waits, go)
    }
}

impl Disk for SmallDisk {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        if self.full.load(Ordering::SeqCst) {
            self.refused.fetch_add(1, Ordering::SeqCst);
            return Err(io::ErrorKind::StorageFull.into());
        }
        OsDisk.create(path)
    }
    fn open(&self, path: &Path, write: bool) -> io::Result<Arc<dyn DiskFile>> {
        OsDisk.open(path, write)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        OsDisk.rename(from, to)
    }
    fn unlink(&self, path: &Path) -> io::Result<()> {
        OsDisk.unlink(path)
    }
    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        OsDisk.remove_dir(path)
    }
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        OsDisk.create_dir(path)
    }
    fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        OsDisk.list(path)
    }
    fn flush_dir(&self, path: &Path) -> io::Result<()> {
        let held = self.held.lock().extract_if(.., |held| held.directory == path).next();
        if let Some(held) = held {
            held.has_come.send(()).unwrap();
            // Nothing is ever sent.
            let _ = held.may_go.recv();
        }
        OsDisk.flush_dir(path)
    }
    fn space(&self, _path: &Path) -> Option<Space> {
        Some(Space { free: self.free.load(Ordering::SeqCst), total: 1 << 40 })
    }
}

pub(super) async fn on_a_small_disk() -> (Fixture, Arc<SmallDisk>) {
    on_a_small_disk_with(|_| {}).await
}

/// With other options than the defaults.
pub(super) async fn on_a_small_disk_with(change: impl FnOnce(&mut BrokerOptions)) -> (Fixture, Arc<SmallDisk>) {
    let directory = tempfile::tempdir().unwrap();
    let store = EmbeddedStore::open(directory.path()).await.unwrap();
    let mut data_dir = DataDir::open(&directory.path().join("data"), NodeId(1), None).unwrap();
    let disk = Arc::new(SmallDisk { free: AtomicU64::new(1 << 39), ..SmallDisk::default() });
    data_dir.disk = Arc::clone(&disk) as Arc<dyn Disk>;
    data_dir.checkpoints = Arc::new(CheckpointFiles::read(data_dir.disk.clone(), data_dir.path().to_owned()).unwrap());
    let mut options = BrokerOptions::new(data_dir.path(), Arc::new(store.clone()));
    change(&mut options);
    let broker = Broker::open(data_dir, options).await.unwrap();
    (Fixture { directory, broker, store, caller: Caller::internal("test") }, disk)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn partitions_that_found_no_room_serve_once_there_is() {
    let (fixture, disk) = on_a_small_disk().await;
    disk.full.store(true, Ordering::SeqCst);
    let topic = |name: &str| NewTopic { name: name.into(), partitions: Some(3), ..NewTopic::default() };
    let error =
        fixture.broker.create_topics(&fixture.caller, vec![topic("events")], false).await.remove(0).unwrap_err();
    assert_eq!(error.error, KafkaError::KafkaStorageError);
    fixture.broker.create_topics(&fixture.caller, vec![topic("others")], false).await.remove(0).unwrap_err();
    assert_eq!(fixture.produce("events", &["x"], Acks::All).await.unwrap_err().error, KafkaError::KafkaStorageError);
    assert!(!fixture.broker.is_alive());
    assert_eq!(fixture.broker.troubles(), [Trouble::OfflinePartitions]);
    // What waits can be deleted.
    fixture.broker.delete_topics(&fixture.caller, vec![TopicRef::from("others")]).await.remove(0).unwrap();
    disk.full.store(false, Ordering::SeqCst);
    until("all partitions serve", || fixture.broker.is_alive()).await;
    assert_eq!(fixture.broker.troubles(), []);
    fixture.produce("events", &["x"], Acks::All).await.unwrap();
    assert_eq!(fixture.read_all("events").await, ["x"]);
    let fixture = fixture.restart().await;
    assert_eq!(fixture.read_all("events").await, ["x"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_do_not_get_the_last_part_of_the_disk_and_the_service_does() {
    let (fixture, disk) = on_a_small_disk().await;
    fixture.create("events", 1, &[]).await;
    fixture.create("old", 1, &[]).await;
    fixture.produce("events", &["a"], Acks::All).await.unwrap();
    disk.free.store(RESERVE, Ordering::SeqCst);
    // What was promised before may still come.
    let mut error = None;
    for _ in 0..=ROOM_STEP / 1_000_000 {
        error = fixture.produce("events", &[&"b".repeat(1_000_000)], Acks::All).await.err();
    }
    assert_eq!(error.unwrap().error, KafkaError::KafkaStorageError);
    let topic = NewTopic { name: "new".into(), ..NewTopic::default() };
    let error = fixture.broker.create_topics(&fixture.caller, vec![topic], false).await.remove(0).unwrap_err();
    assert_eq!(error.error, KafkaError::KafkaStorageError);
    assert!(fixture.broker.topic(&fixture.caller, &TopicRef::from("new")).is_err());
    let error = fixture.broker.topic_or_create(&fixture.caller, "new").await.unwrap_err();
    assert_eq!(error.error, KafkaError::KafkaStorageError);
    assert_eq!(fixture.broker.troubles(), [Trouble::DiskFull]);
    assert!(!Trouble::DiskFull.is_fatal());
    // Readers, groups and deletions go on.
    assert_eq!(fixture.read_all("events").await[0], "a");
    fixture.broker.group_coordinator(&fixture.caller, "group").await.unwrap();
    fixture.broker.delete_topics(&fixture.caller, vec![TopicRef::from("old")]).await.remove(0).unwrap();
    assert!(fixture.broker.is_alive());
    disk.free.store(RESERVE * 2, Ordering::SeqCst);
    // Nobody has to write first.
    assert_eq!(fixture.broker.troubles(), []);
    fixture.produce("events", &["c"], Acks::All).await.unwrap();
}
