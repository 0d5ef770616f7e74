//! What waits for a thread that is busy, and what must not wait for it: a compaction that lasts, a log thread that is held up.

use std::io;
use std::path::Path;
use std::sync::mpsc;

use parking_lot::{Condvar, Mutex};
use tidelog_coordinator::transaction::{ClientVersion, EndTransaction, Producer, TransactionState};
use tidelog_log::{DirEntry, Disk, DiskFile, OsDisk, RemoteLog, Space};
use tidelog_model::{ProducerEpoch, ProducerId, Sequence};
use tokio::sync::oneshot;

use super::tiering::{MemoryTier, PAYLOAD, SMALL};
use super::*;
use crate::replica::{Maintenance, Work};

/// The real disk, on which a compaction waits before its first file, or the removal of a segment before its log.
#[derive(Default, Debug)]
struct SlowDisk {
    state: Mutex<Slow>,
    changed: Condvar,
}

#[derive(Default, Debug)]
struct Slow {
    /// Files of this kind wait.
    slow: Option<&'static str>,
    waiting: bool,
}

impl SlowDisk {
    fn set_slow(&self, slow: Option<&'static str>) {
        self.state.lock().slow = slow;
        self.changed.notify_all();
    }

    fn is_waiting(&self) -> bool {
        self.state.lock().waiting
    }

    fn wait(&self, path: &Path) {
        let mut state = self.state.lock();
        let is_slow = |state: &Slow| state.slow.is_some_and(|slow| path.extension().is_some_and(|kind| kind == slow));
        if is_slow(&state) {
            state.waiting = true;
            self.changed.wait_while(&mut state, |state| is_slow(state));
            state.waiting = false;
        }
    }
}

impl Disk for SlowDisk {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        if path.extension().is_some_and(|extension| extension == CLEANED) {
            self.wait(path);
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
        if path.extension().is_some_and(|extension| extension == LOG) {
            self.wait(path);
        }
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
        OsDisk.flush_dir(path)
    }
    fn space(&self, path: &Path) -> Option<Space> {
        OsDisk.space(path)
    }
}

/// What a compaction creates, and a removal removes.
const CLEANED: &str = "cleaned";
const LOG: &str = "log";

/// A broker with one log thread, so that whoever holds it up is felt by everybody.
async fn on_a_slow_disk() -> (Fixture, Arc<SlowDisk>) {
    on_a_slow_disk_with(|_| {}).await
}

async fn on_a_slow_disk_with(change: impl FnOnce(&mut BrokerOptions)) -> (Fixture, Arc<SlowDisk>) {
    let directory = tempfile::tempdir().unwrap();
    let store = EmbeddedStore::open(directory.path()).await.unwrap();
    let mut data_dir = DataDir::open(&directory.path().join("data"), NodeId(1), None).unwrap();
    let disk = Arc::new(SlowDisk::default());
    data_dir.disk = Arc::clone(&disk) as Arc<dyn Disk>;
    let mut options = BrokerOptions { log_threads: 1, ..BrokerOptions::new(data_dir.path(), Arc::new(store.clone())) };
    change(&mut options);
    let broker = Broker::open(data_dir, options).await.unwrap();
    (Fixture { directory, broker, store, caller: Caller::internal("test") }, disk)
}

impl Fixture {
    async fn produce_keyed(&self, topic: &str, key: &str) -> Result<Appended, BrokerError> {
        let mut builder = BatchBuilder::new(Offset::ZERO);
        let now = self.broker.clock().now().wall;
        builder.push(now, Some(key.as_bytes()), Some("v".repeat(1_000).as_bytes()), &[]).unwrap();
        let request = self.request(topic, builder.build().unwrap().into_bytes(), Acks::All);
        self.broker.append(&self.caller, request).await
    }

    /// A compacted topic with closed segments whose compaction has begun and waits for the disk.
    async fn compacting(&self, disk: &SlowDisk) -> std::thread::JoinHandle<bool> {
        let settings = [("cleanup.policy", "compact,delete"), ("internal.segment.bytes", "16384")];
        self.create("compacted", 1, &settings).await;
        for round in 0..60 {
            self.produce_keyed("compacted", &format!("k{}", round % 3)).await.unwrap();
        }
        disk.set_slow(Some(CLEANED));
        let (replica, now) = (self.replica("compacted", 0), self.broker.clock().now());
        let compaction = std::thread::spawn(move || replica.compact(now));
        until("the compaction writes", || disk.is_waiting()).await;
        compaction
    }
}

#[tokio::test]
async fn retention_and_appends_wait_for_no_compaction_and_retention_follows_it() {
    let (fixture, disk) = on_a_slow_disk().await;
    let compaction = fixture.compacting(&disk).await;
    let replica = fixture.replica("compacted", 0);
    let end = replica.offsets().log_end;
    let deletion = Deletion {
        topic: TopicRef::from("compacted"),
        partition: PartitionIndex(0),
        before: DeleteBefore::Offset(end),
    };
    let deleted = fixture.broker.delete_records(&fixture.caller, vec![deletion], PATIENCE).await;
    assert_eq!(deleted, [Ok(end)]);
    let (done, tidied) = oneshot::channel();
    let tidy = Maintenance::Tidy { producer_expiration: PATIENCE };
    replica.enqueue_internal(Work::Maintain(tidy, done));
    let tidied = tokio::time::timeout(PATIENCE, tidied);
    tidied.await.expect("the log thread waits for the compaction").unwrap();
    fixture.produce_keyed("compacted", "k").await.unwrap();
    assert!(disk.is_waiting());
    disk.set_slow(None);
    until("what was deleted goes", || replica.view.segments().len() == 1).await;
    compaction.join().unwrap();
}

/// The second commit comes while what the first one allows is being removed, and nothing comes after it.
#[tokio::test]
async fn what_becomes_remote_while_segments_are_removed_goes_too() {
    let tier = MemoryTier::new();
    let remote: Arc<dyn RemoteLog> = Arc::clone(&tier) as _;
    let (fixture, disk) = on_a_slow_disk_with(|options| options.remote = Some(remote)).await;
    fixture.create("events", 1, &[SMALL[0], SMALL[1], ("remote.storage.enable", "true")]).await;
    let replica = fixture.replica("events", 0);
    let produce = || async { fixture.produce("events", &[&"x".repeat(PAYLOAD)], Acks::All).await.unwrap() };
    let upload = || {
        let (tier, id) = (Arc::clone(&tier), replica.id.clone());
        std::thread::spawn(move || tier.upload(&id))
    };
    produce().await;
    produce().await;
    disk.set_slow(Some(LOG));
    let first = upload();
    until("the first segment is being removed", || disk.is_waiting()).await;
    produce().await;
    let second = upload();
    until("the second one is told", || second.is_finished()).await;
    disk.set_slow(None);
    first.join().unwrap();
    assert_eq!(replica.view.local_start(), Offset(2));
}

/// A stalled disk, say: the log thread finds many batches at once, and writes what it can together.
#[tokio::test]
async fn however_many_batches_wait_segments_get_no_larger() {
    let fixture = Fixture::new().await;
    fixture.create("t", 1, &[("internal.segment.bytes", "16384")]).await;
    let replica = fixture.replica("t", 0);
    let value = "x".repeat(3_000);
    let values = [value.as_str()];
    let held = hold_up(Arc::clone(&replica));
    let produce = || fixture.produce("t", &values, Acks::All);
    let release = async {
        until("all wait", || replica.queued() == 12).await;
        drop(held);
    };
    let (appended, ()) = tokio::join!(futures::future::join_all((0..12).map(|_| produce())), release);
    assert!(appended.iter().all(Result::is_ok));
    let segments: Vec<_> = replica.view.segments().iter().map(|s| (s.base.get(), s.size <= 16_384)).collect();
    assert_eq!(segments, [(0, true), (5, true), (10, true)]);
}

#[tokio::test]
async fn a_deletion_ends_a_compaction_and_holds_up_nobody() {
    let (fixture, disk) = on_a_slow_disk().await;
    fixture.create("other", 1, &[]).await;
    let compaction = fixture.compacting(&disk).await;
    let folder = fixture.directory.path().join("data").join("compacted-0");
    fixture.broker.delete_topics(&fixture.caller, vec![TopicRef::from("compacted")]).await.remove(0).unwrap();
    let appended = tokio::time::timeout(PATIENCE, fixture.produce("other", &["x"], Acks::All));
    appended.await.expect("the log thread waits for the compaction").unwrap();
    assert!(disk.is_waiting() && folder.exists());
    disk.set_slow(None);
    until("the files go", || !folder.exists()).await;
    assert!(!compaction.join().unwrap(), "it came no further");
}

/// Holds up the log thread of a partition until the answer is dropped.
pub(super) fn hold_up(replica: Arc<Replica>) -> mpsc::Sender<()> {
    let (release, released) = mpsc::channel::<()>();
    let (held, holding) = mpsc::channel();
    std::thread::spawn(move || {
        let _writer = replica.hold_up();
        held.send(()).unwrap();
        // The other end is dropped.
        let _ = released.recv();
    });
    holding.recv().unwrap();
    release
}

#[tokio::test]
async fn an_end_that_came_in_time_does_not_lose_to_the_time_out_that_came_due_while_it_waited() {
    let fixture = Fixture::new().await;
    fixture.create("t", 1, &[]).await;
    // Long enough for all that comes before its end.
    let timeout = Duration::from_secs(6);
    let producer = fixture.producer("tx", timeout.as_millis() as i32).await;
    fixture.add("tx", producer, "t", &[0]).await;
    let clock = *fixture.broker.clock();
    let opened = clock.now().monotonic;
    let coordinator = fixture.replica("__transaction_state", fixture.coordinated_by("tx"));
    let held = hold_up(coordinator);
    let end = EndTransaction { producer, commit: true, version: ClientVersion::V0, fresh: None };
    let waiting = fixture.broker.end_transaction(&fixture.caller, "tx", end).await;
    until("the time-out is due", || clock.now().monotonic > opened + timeout).await;
    drop(held);
    assert_eq!(waiting.await.unwrap(), producer);
    fixture.reaches("tx", TransactionState::CompleteCommit).await;
}

impl Fixture {
    /// A transaction's first batch to partition 0 of each of these topics; the client grants it `timeout`.
    async fn begin(&self, producer: Producer, topics: &[&str], timeout: Duration) -> Vec<AppendTicket> {
        let transaction = crate::Transaction { id: "tx".into(), support: TransactionSupport::Implicit };
        let mut builder =
            BatchBuilder::new(Offset::ZERO).producer(producer.id, producer.epoch, Sequence(0)).transactional(true);
        builder.push(self.broker.clock().now().wall, None, Some(b"x"), &[]).unwrap();
        let batch = builder.build().unwrap().into_bytes();
        let request = |topic: &&str| AppendRequest { timeout, ..self.request(topic, batch.clone(), Acks::Leader) };
        let requests = topics.iter().map(request).collect();
        self.broker.enqueue_in_transaction(&self.caller, &transaction, requests).await
    }
}

#[tokio::test]
async fn a_client_that_grants_no_time_is_verified_all_the_same() {
    let fixture = Fixture::new().await;
    fixture.create("t", 1, &[]).await;
    let producer = fixture.producer("tx", 60_000).await;
    let held = hold_up(fixture.replica("__transaction_state", fixture.coordinated_by("tx")));
    let clock = *fixture.broker.clock();
    let since = clock.now().monotonic;
    let asking = fixture.begin(producer, &["t"], Duration::ZERO);
    let release = async {
        until("some time passes", || clock.now().monotonic > since + Duration::from_millis(20)).await;
        drop(held);
    };
    let (mut tickets, ()) = futures::future::join(asking, release).await;
    assert_eq!(tickets.remove(0).await.unwrap().base_offset, Offset(0));
}

#[tokio::test]
async fn all_partitions_of_a_request_are_one_question_to_their_transactions_coordinator() {
    let fixture = Fixture::new().await;
    let topics = ["a", "b", "c"];
    for topic in topics {
        fixture.create(topic, 1, &[]).await;
    }
    let producer = fixture.producer("tx", 60_000).await;
    let coordinator = fixture.replica("__transaction_state", fixture.coordinated_by("tx"));
    let held = hold_up(Arc::clone(&coordinator));
    let asking = fixture.begin(producer, &topics, PATIENCE);
    let release = async {
        until("the coordinator is asked", || coordinator.queued() > 0).await;
        let questions = coordinator.queued();
        drop(held);
        questions
    };
    let (tickets, questions) = futures::future::join(asking, release).await;
    assert_eq!(questions, 1);
    for ticket in tickets {
        assert_eq!(ticket.await.unwrap().base_offset, Offset(0));
    }
}

#[tokio::test]
async fn a_marker_that_overtakes_the_coordinators_word_makes_the_partition_ask_once_more() {
    let fixture = Fixture::new().await;
    fixture.create("t", 1, &[]).await;
    let producer = fixture.producer("tx", 60_000).await;
    let coordinator = fixture.replica("__transaction_state", fixture.coordinated_by("tx"));
    let held = hold_up(Arc::clone(&coordinator));
    let asking = fixture.begin(producer, &["t"], PATIENCE);
    let overtake = async {
        until("the coordinator is asked", || coordinator.queued() > 0).await;
        let markers = Markers {
            producer_id: producer.id,
            producer_epoch: producer.epoch,
            marker: EndTransactionMarker { kind: MarkerKind::Abort, coordinator_epoch: 0 },
            transaction_version: 2,
            partitions: vec![(Arc::from("t"), PartitionIndex(0))],
        };
        assert_eq!(fixture.broker.write_markers(&markers).await, [Ok(())]);
        drop(held);
    };
    let (mut tickets, ()) = futures::future::join(asking, overtake).await;
    assert_eq!(tickets.remove(0).await.unwrap().base_offset, Offset(1));
}

#[tokio::test]
async fn no_marker_is_written_for_a_producer_that_cannot_be() {
    let fixture = Fixture::new().await;
    fixture.create("t", 1, &[]).await;
    for (id, epoch) in [(-1, 0), (7, -1), (i64::MIN, i16::MIN)] {
        let markers = Markers {
            producer_id: ProducerId(id),
            producer_epoch: ProducerEpoch(epoch),
            marker: EndTransactionMarker { kind: MarkerKind::Commit, coordinator_epoch: 0 },
            transaction_version: 2,
            partitions: vec![(Arc::from("t"), PartitionIndex(0))],
        };
        let answered = fixture.broker.write_markers_for(&fixture.caller, std::iter::once(markers)).await.unwrap();
        assert_eq!(answered, [[Err(KafkaError::InvalidRequest)]], "{id} {epoch}");
    }
    assert_eq!(fixture.replica("t", 0).offsets().log_end, Offset(0));
}

#[tokio::test]
async fn a_fenced_coordinator_is_done_once_nothing_of_the_producer_is_open() {
    let fixture = Fixture::new().await;
    fixture.create("t", 1, &[]).await;
    let producer = fixture.producer("tx", 60_000).await;
    let by_hand = async |producer: Producer| {
        let markers = Markers {
            producer_id: producer.id,
            producer_epoch: producer.epoch,
            marker: EndTransactionMarker { kind: MarkerKind::Abort, coordinator_epoch: 1_000 },
            transaction_version: 0,
            partitions: vec![(Arc::from("t"), PartitionIndex(0))],
        };
        assert_eq!(fixture.broker.write_markers(&markers).await, [Ok(())]);
    };
    fixture.begin(producer, &["t"], PATIENCE).await.remove(0).await.unwrap();
    by_hand(producer).await;
    let next = fixture.end("tx", producer, false, ClientVersion::V2).await;
    fixture.reaches("tx", TransactionState::CompleteAbort).await;
    // What the producer begins from now on its coordinator cannot end.
    fixture.begin(next, &["t"], PATIENCE).await.remove(0).await.unwrap();
    assert_eq!(fixture.broker.health().open_transactions, 1);
    fixture.end("tx", next, true, ClientVersion::V2).await;
    until("the refusal is known", || fixture.broker.health().delayed_transactions == 1).await;
    assert_eq!(fixture.transaction("tx").await.state, TransactionState::PrepareCommit);
    by_hand(next).await;
    fixture.reaches("tx", TransactionState::CompleteCommit).await;
    let health = fixture.broker.health();
    assert_eq!((health.delayed_transactions, health.open_transactions), (0, 0));
}
