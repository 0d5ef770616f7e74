//! A cold tier in memory, and what the broker asks of it: uploads, leaving, the log start that follows the manifest.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::Ordering;
use std::sync::mpsc;

use tidelog_log::{
    BoxFuture, ClosedSegment, LocalLog, RemoteBatches, RemoteError, RemoteExtent, RemoteLog, SegmentInfo,
    TimestampedOffset,
};
use tidelog_model::TopicIdPartition;
use tidelog_partition::Durability;
use tokio::sync::watch;

use super::room::{SmallDisk, on_a_small_disk_with};
use super::*;

/// Settings under which two of three appends of [`PAYLOAD`] bytes are closed, and remote ones leave the local disk at once.
pub(super) const SMALL: [(&str, &str); 2] = [("internal.segment.bytes", "16384"), ("local.retention.bytes", "1")];

/// Bytes of one record: two do not fit a segment.
pub(super) const PAYLOAD: usize = 9_000;

/// A store that is up or away, and never forgets.
pub(super) struct MemoryTier {
    pub(super) state: Arc<Mutex<State>>,
    /// Reads wait until it is true.
    pub(super) answering: watch::Sender<bool>,
}

#[derive(Default)]
pub(super) struct State {
    led: BTreeMap<TopicIdPartition, Arc<dyn LocalLog>>,
    uploaded: BTreeMap<TopicIdPartition, Vec<ClosedSegment>>,
    resigned: Vec<TopicIdPartition>,
    deleted: Vec<TopicIdPartition>,
    /// Deletions are not answered, and do nothing.
    pub(super) away: bool,
    woken: usize,
    /// Bytes asked for, by read.
    pub(super) reads: Vec<usize>,
    /// Reads that came to their end.
    pub(super) done: usize,
}

impl MemoryTier {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(MemoryTier { state: Arc::default(), answering: watch::channel(true).0 })
    }

    /// Takes every closed segment that is ready and tells the broker, as an uploader does.
    pub(super) fn upload(&self, partition: &TopicIdPartition) {
        let source = self.source(partition);
        while let Some(segment) = source.closed_segment(self.end(partition)).unwrap() {
            self.state.lock().unwrap().uploaded.entry(partition.clone()).or_default().push(segment);
        }
        source.remote_committed(self.end(partition));
    }

    /// The leader's log, as an uploader sees it.
    pub(super) fn source(&self, partition: &TopicIdPartition) -> Arc<dyn LocalLog> {
        Arc::clone(&self.state.lock().unwrap().led[partition])
    }

    /// The manifest drops its oldest segment.
    fn drop_oldest(&self, partition: &TopicIdPartition) {
        self.state.lock().unwrap().uploaded.get_mut(partition).unwrap().remove(0);
    }

    fn end(&self, partition: &TopicIdPartition) -> Offset {
        let state = self.state.lock().unwrap();
        state.uploaded.get(partition).and_then(|list| list.last()).map_or(Offset::ZERO, |last| last.end)
    }
}

impl RemoteLog for MemoryTier {
    fn lead(&self, partition: &TopicIdPartition, _: LeaderEpoch, source: Arc<dyn LocalLog>) {
        self.state.lock().unwrap().led.insert(partition.clone(), source);
    }

    fn resign(&self, partition: &TopicIdPartition) {
        self.state.lock().unwrap().resigned.push(partition.clone());
    }

    fn remembers(&self, partition: &TopicIdPartition) -> bool {
        self.state.lock().unwrap().uploaded.contains_key(partition)
    }

    fn extent(&self, partition: &TopicIdPartition) -> RemoteExtent {
        let state = self.state.lock().unwrap();
        let list = state.uploaded.get(partition).map_or(&[][..], Vec::as_slice);
        RemoteExtent::Known {
            start: list.first().map_or(Offset::ZERO, |first| first.base),
            end: list.last().map_or(Offset::ZERO, |last| last.end),
        }
    }

    fn segments(&self, partition: &TopicIdPartition) -> Option<Vec<SegmentInfo>> {
        let state = self.state.lock().unwrap();
        let info = |segment: &ClosedSegment| SegmentInfo {
            base: segment.base,
            end: segment.end,
            size: segment.log.len as u64,
            first_timestamp: Some(segment.first_timestamp),
            max_timestamp: Some(segment.max_timestamp),
            modified: None,
            closed: true,
        };
        Some(state.uploaded.get(partition).map_or(&[][..], Vec::as_slice).iter().map(info).collect())
    }

    fn wake(&self, _: &TopicIdPartition) {
        self.state.lock().unwrap().woken += 1;
    }

    fn read(
        &self,
        partition: &TopicIdPartition,
        offset: Offset,
        max_bytes: usize,
    ) -> BoxFuture<'static, Result<RemoteBatches, RemoteError>> {
        let found = {
            let mut state = self.state.lock().unwrap();
            state.reads.push(max_bytes);
            let list = state.uploaded.get(partition).map_or(&[][..], Vec::as_slice);
            let end = list.last().map_or(Offset::ZERO, |last| last.end);
            let found = list.iter().find(|segment| offset < segment.end && segment.log.len > 0);
            (offset < end).then(|| found.cloned().ok_or(end))
        };
        let (mut answering, state) = (self.answering.subscribe(), Arc::clone(&self.state));
        Box::pin(async move {
            answering.wait_for(|up| *up).await.map_err(|_| RemoteError::Unavailable("gone".into()))?;
            state.lock().unwrap().done += 1;
            let segment = match found.ok_or_else(|| RemoteError::Corrupt("not there".into()))? {
                Ok(segment) => segment,
                Err(next) => return Ok(RemoteBatches { batches: Bytes::new(), aborted: Vec::new(), next }),
            };
            Ok(RemoteBatches { batches: segment.log.read().unwrap(), aborted: segment.aborted, next: segment.end })
        })
    }

    fn find_timestamp(
        &self,
        _: &TopicIdPartition,
        _: Timestamp,
    ) -> BoxFuture<'static, Result<Option<TimestampedOffset>, RemoteError>> {
        Box::pin(async { Ok(None) })
    }

    fn delete(&self, partition: &TopicIdPartition) -> BoxFuture<'static, Result<(), RemoteError>> {
        let mut state = self.state.lock().unwrap();
        state.deleted.push(partition.clone());
        if state.away {
            return Box::pin(std::future::pending());
        }
        state.uploaded.remove(partition);
        Box::pin(async { Ok(()) })
    }
}

/// How long a fetch waits for the tier: longer than a busy machine stalls.
pub(super) const TIER_WAIT: Duration = Duration::from_millis(1_500);

/// A broker with a tier, whose topics are not tiered unless they say so.
pub(super) async fn tiered(directory: tempfile::TempDir, tier: &Arc<MemoryTier>) -> Fixture {
    let remote: Arc<dyn RemoteLog> = Arc::clone(tier) as _;
    Fixture::start_with(directory, |options| {
        options.remote = Some(remote);
        let wait = TIER_WAIT.as_millis().to_string();
        options.config = tidelog_metadata::BrokerConfig::new([("remote.fetch.max.wait.ms", &*wait)]).unwrap();
    })
    .await
}

/// A broker that tiers every topic by default, started with these settings.
async fn tiering(directory: tempfile::TempDir, tier: &Arc<MemoryTier>, settings: &[(&str, &str)]) -> Fixture {
    let remote: Arc<dyn RemoteLog> = Arc::clone(tier) as _;
    tier.state.lock().unwrap().led.clear();
    Fixture::start_with(directory, |options| {
        options.remote = Some(remote);
        options.tier_by_default = true;
        options.config = tidelog_metadata::BrokerConfig::new(settings.iter().copied()).unwrap();
    })
    .await
}

/// A topic of three records, tiered by default, of which the first two are only in the cold tier.
async fn tiered_by_default(fixture: &Fixture, tier: &MemoryTier) -> TopicIdPartition {
    fixture.create("events", 1, &SMALL).await;
    three_segments(fixture, "events").await;
    let replica = fixture.replica("events", 0);
    tier.upload(&replica.id);
    assert_eq!(replica.view.local_start(), Offset(2));
    replica.id.clone()
}

/// Everything is there, and nothing of it is given up.
async fn nothing_is_lost(fixture: &Fixture, tier: &MemoryTier, records: usize) {
    assert_eq!(fixture.offset("events", OffsetSpec::Earliest).await, Offset(0));
    assert_eq!(fixture.read_all("events").await.len(), records);
    let state = tier.state.lock().unwrap();
    assert!(state.deleted.is_empty() && !state.uploaded.is_empty());
}

#[tokio::test]
async fn no_default_of_the_brokers_gives_up_what_is_remote() {
    let tier = MemoryTier::new();
    let fixture = tiering(tempfile::tempdir().unwrap(), &tier, &[]).await;
    let id = tiered_by_default(&fixture, &tier).await;
    let compact = |value: Option<&str>| {
        let operation = if value.is_some() { ConfigOperation::Set } else { ConfigOperation::Delete };
        vec![ConfigChange { name: "log.cleanup.policy".into(), operation, value: value.map(str::to_owned) }]
    };
    for policy in ["compact", "compact,delete", ""] {
        fixture.alter_brokers(compact(Some(policy))).await;
        let replica = fixture.replica("events", 0);
        until("the policy holds", || replica.config().cleanup.compact == policy.contains("compact")).await;
        replica.trim_local(replica.core.clock.now());
        replica.compact(replica.core.clock.now());
        nothing_is_lost(&fixture, &tier, 3).await;
    }
    // Nor at a start, whether the setting is stored or the start's.
    fixture.alter_brokers(compact(Some("compact"))).await;
    let mut directory = fixture.stop().await;
    for settings in [&[][..], &[("log.cleanup.policy", "compact,delete")]] {
        let fixture = tiering(directory, &tier, settings).await;
        until("the tier is told", || tier.state.lock().unwrap().led.contains_key(&id)).await;
        assert!(fixture.replica("events", 0).config().cleanup.compact);
        nothing_is_lost(&fixture, &tier, 3).await;
        tier.upload(&id);
        assert_eq!(tier.end(&id), Offset(2), "what is compacted is not uploaded");
        fixture.alter_brokers(compact(None)).await;
        directory = fixture.stop().await;
    }
    // Once it is tiered again, it goes on where it was.
    let fixture = tiering(directory, &tier, &[]).await;
    fixture.produce("events", &[&"x".repeat(PAYLOAD)], Acks::All).await.unwrap();
    tier.upload(&id);
    assert_eq!(tier.end(&id), Offset(3));
    nothing_is_lost(&fixture, &tier, 4).await;
}

#[tokio::test]
async fn a_topic_that_is_tiered_by_default_can_be_compacted_and_keeps_what_is_remote() {
    for change in
        [&[("cleanup.policy", "compact")][..], &[("cleanup.policy", "compact"), ("remote.storage.enable", "false")]]
    {
        let tier = MemoryTier::new();
        let fixture = tiering(tempfile::tempdir().unwrap(), &tier, &[]).await;
        let id = tiered_by_default(&fixture, &tier).await;
        fixture.alter("events", change).await;
        let replica = fixture.replica("events", 0);
        until("the policy holds", || replica.config().cleanup.compact).await;
        nothing_is_lost(&fixture, &tier, 3).await;
        let fixture = tiering(fixture.stop().await, &tier, &[]).await;
        until("the tier is told", || tier.state.lock().unwrap().led.contains_key(&id)).await;
        nothing_is_lost(&fixture, &tier, 3).await;
        // Only its own word lets it go.
        let off = [("remote.storage.enable", "false"), ("remote.log.delete.on.disable", "true")];
        fixture.alter("events", &off).await;
        until("the remote part goes", || tier.state.lock().unwrap().deleted.contains(&id)).await;
        assert_eq!(fixture.offset("events", OffsetSpec::Earliest).await, Offset(2));
    }
}

/// Kept from the tier by its own settings, and a kill came between retention and the checkpoint of the log start.
#[tokio::test]
async fn a_log_start_that_a_crash_took_is_found_again_without_a_remote_part() {
    let tier = MemoryTier::new();
    let fixture = tiering(tempfile::tempdir().unwrap(), &tier, &[]).await;
    fixture.create("events", 1, &[SMALL[0], ("remote.storage.enable", "false")]).await;
    three_segments(&fixture, "events").await;
    let id = fixture.replica("events", 0).id.clone();
    let directory = fixture.stop().await;
    let folder = directory.path().join("data").join(id.to_string());
    for file in std::fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        if path.file_name().unwrap().to_str().unwrap().starts_with("00000000000000000000.") {
            std::fs::remove_file(path).unwrap();
        }
    }
    let fixture = tiering(directory, &tier, &[]).await;
    until("the tier is asked", || tier.state.lock().unwrap().led.contains_key(&id)).await;
    assert_eq!(fixture.offset("events", OffsetSpec::Earliest).await, Offset(1));
    // Tiered from now on, with what was lost before: no store must have that.
    fixture.alter("events", &[("remote.storage.enable", "true")]).await;
    let replica = fixture.replica("events", 0);
    until("the setting holds", || replica.config().remote_storage_enable).await;
    assert_eq!(replica.offsets().log_start, Offset(0));
    assert_eq!(tier.source(&id).needs_remote(), None);
    tier.source(&id).remote_committed(Offset(0));
    assert_eq!(replica.offsets().log_start, Offset(1));
    let error = cold::fetch_one(&fixture, "events", Offset(0)).await.error.unwrap();
    assert_eq!(error.error, KafkaError::OffsetOutOfRange, "it is sent where the log begins");
    assert_eq!(fixture.offset("events", OffsetSpec::Earliest).await, Offset(1));
    tier.upload(&id);
    assert_eq!((tier.end(&id), replica.offsets().log_start), (Offset(2), Offset(1)));
}

/// A store that lacks what was left to it is another one: readers wait, wherever they ask, and the log start stays.
#[tokio::test]
async fn nobody_is_sent_over_a_hole_in_what_was_left_to_the_store() {
    let tier = MemoryTier::new();
    let fixture = tiering(tempfile::tempdir().unwrap(), &tier, &[]).await;
    let id = tiered_by_default(&fixture, &tier).await;
    let right = tier.state.lock().unwrap().uploaded.remove(&id).unwrap();
    tier.state.lock().unwrap().uploaded.insert(id.clone(), right[..1].to_vec());
    let fixture = tiering(fixture.stop().await, &tier, &[]).await;
    until("the tier is asked", || tier.state.lock().unwrap().led.contains_key(&id)).await;
    tier.source(&id).remote_committed(Offset(1));
    assert_eq!(tier.source(&id).needs_remote(), Some(Offset(2)));
    assert_eq!(fixture.replica("events", 0).offsets().log_start, Offset(0));
    let (topic, none) = (TopicRef::from("events"), LeaderEpoch::NONE);
    let isolation = Some(Isolation::ReadUncommitted);
    let asked =
        fixture.broker.list_offsets(&fixture.caller, &topic, PartitionIndex(0), OffsetSpec::Earliest, isolation, none);
    assert_eq!(asked.await.unwrap_err().error, KafkaError::OffsetNotAvailable);
    tier.state.lock().unwrap().uploaded.insert(id, right);
    nothing_is_lost(&fixture, &tier, 3).await;
}

/// What is past retention before it was uploaded goes only when the log start is written down: after a kill nobody looks for it in the store.
#[tokio::test]
async fn where_a_tiered_log_starts_is_durable_before_what_the_store_has_not_goes() {
    let tier = MemoryTier::new();
    let remote: Arc<dyn RemoteLog> = Arc::clone(&tier) as _;
    let fixture = Fixture::start_with(tempfile::tempdir().unwrap(), |options| {
        options.remote = Some(remote);
        options.tier_by_default = true;
        options.checkpoint_interval = Duration::from_secs(3_600);
    })
    .await;
    let id = tiered_by_default(&fixture, &tier).await;
    let replica = fixture.replica("events", 0);
    fixture.alter("events", &[("remote.log.copy.disable", "true"), ("local.retention.bytes", "-1")]).await;
    for _ in 0..2 {
        fixture.produce("events", &[&"x".repeat(PAYLOAD)], Acks::All).await.unwrap();
    }
    let written = || fixture.broker.checkpoints().of(&id.topic_partition()).log_start;
    assert_eq!(written(), Offset(0));
    fixture.alter("events", &[("retention.bytes", "9500"), ("local.retention.bytes", "9500")]).await;
    until("the setting holds", || replica.config().retention_bytes == Some(9_500)).await;
    replica.trim_local(replica.core.clock.now());
    let start = replica.offsets().log_start;
    assert!(start > Offset(2) && start == replica.view.first_base(), "{start}");
    assert_eq!(written(), start);
}

/// Two writers of checkpoints at once, one of which is held up by a flush: what is written last is what holds then.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_older_log_start_is_written_over_a_newer_one() {
    let tier = MemoryTier::new();
    let (fixture, disk) = on_a_small_tiered_disk(&tier, |options| options.durability = Durability::PageCache).await;
    let id = tiered_by_default(&fixture, &tier).await;
    let replica = fixture.replica("events", 0);
    replica.flush();
    fixture.alter("events", &[("remote.log.copy.disable", "true"), ("local.retention.bytes", "-1")]).await;
    let (flush, may_flush) = mpsc::channel::<()>();
    let (has_begun, begun) = mpsc::channel();
    let flushed = Arc::clone(&replica);
    std::thread::spawn(move || {
        let _flushing = flushed.flushing.lock();
        has_begun.send(()).unwrap();
        // Nothing is ever sent.
        let _ = may_flush.recv();
    });
    until("a flush lasts", || begun.try_recv().is_ok()).await;
    for _ in 0..2 {
        fixture.produce("events", &[&"x".repeat(PAYLOAD)], Acks::All).await.unwrap();
    }
    fixture.alter("events", &[("retention.bytes", "9000"), ("local.retention.bytes", "9000")]).await;
    let trimmed = Arc::clone(&replica);
    let retention = std::thread::spawn(move || trimmed.trim_local(trimmed.core.clock.now()));
    until("retention moves the log start", || replica.offsets().log_start == Offset(4)).await;
    assert!(replica.view.flushed_end() < Offset(4));
    let (writing, write) = disk.hold_flush(fixture.directory.path().join("data"));
    let broker = fixture.broker.clone();
    let checkpoint = std::thread::spawn(move || broker.write_checkpoints());
    until("another checkpoint is being written", || writing.try_recv().is_ok()).await;
    drop(flush);
    until("what stays is flushed", || replica.view.flushed_end() == Offset(5)).await;
    // As a deletion of records does.
    replica.begin_at(Offset(5));
    drop(write);
    checkpoint.join().unwrap().unwrap();
    retention.join().unwrap();
    assert_eq!(fixture.broker.checkpoints().of(&id.topic_partition()).log_start, Offset(5));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_given_up_goes_only_when_the_log_start_behind_it_is_written_down() {
    let tier = MemoryTier::new();
    let (fixture, disk) = on_a_small_tiered_disk(&tier, |_| {}).await;
    let id = tiered_by_default(&fixture, &tier).await;
    let (off, on) = (
        [("remote.storage.enable", "false"), ("remote.log.delete.on.disable", "true")],
        [("remote.storage.enable", "true"), ("remote.log.delete.on.disable", "false")],
    );
    let deleted = || tier.state.lock().unwrap().deleted.len();
    let written = || fixture.broker.checkpoints().of(&id.topic_partition()).log_start;
    let (writing, write) = disk.hold_flush(fixture.directory.path().join("data"));
    fixture.alter("events", &off).await;
    until("the log start is being written", || writing.try_recv().is_ok()).await;
    assert_eq!(deleted(), 0, "a kill now brings the old log start back");
    // Tiered anew, it goes on with what is there.
    fixture.alter("events", &on).await;
    drop(write);
    until("the log start is written", || written() == Offset(2)).await;
    fixture.produce("events", &[&"x".repeat(PAYLOAD)], Acks::All).await.unwrap();
    tier.upload(&id);
    assert_eq!((deleted(), tier.end(&id)), (0, Offset(3)));

    disk.full.store(true, Ordering::SeqCst);
    fixture.alter("events", &off).await;
    until("the log start finds no room", || disk.refused.load(Ordering::SeqCst) > 0).await;
    disk.full.store(false, Ordering::SeqCst);
    let directory = fixture.stop().await;
    assert_eq!(deleted(), 0);
    let fixture = tiering(directory, &tier, &[]).await;
    until("it goes at the next start", || deleted() == 1).await;
    assert_eq!(fixture.offset("events", OffsetSpec::Earliest).await, Offset(3));
}

/// A broker that tiers every topic by default, whose disk does what a test says, and which writes checkpoints only when asked.
async fn on_a_small_tiered_disk(
    tier: &Arc<MemoryTier>,
    change: impl FnOnce(&mut BrokerOptions),
) -> (Fixture, Arc<SmallDisk>) {
    let remote: Arc<dyn RemoteLog> = Arc::clone(tier) as _;
    on_a_small_disk_with(|options| {
        options.remote = Some(remote);
        options.tier_by_default = true;
        options.checkpoint_interval = Duration::from_secs(3_600);
        change(options);
    })
    .await
}

/// Offsets 0 to 2 in partition 0, each in a segment of its own; the last one is active.
async fn three_segments(fixture: &Fixture, topic: &str) {
    let value = "x".repeat(PAYLOAD);
    for offset in 0..3 {
        assert_eq!(fixture.produce(topic, &[&value], Acks::All).await.unwrap().base_offset, Offset(offset));
    }
}

#[tokio::test]
async fn a_live_topic_becomes_tiered_and_stops_being_so() {
    let tier = MemoryTier::new();
    let fixture = tiered(tempfile::tempdir().unwrap(), &tier).await;
    fixture.create("events", 1, &SMALL).await;
    three_segments(&fixture, "events").await;
    let replica = fixture.replica("events", 0);
    let id = replica.id.clone();
    assert!(tier.state.lock().unwrap().led.is_empty(), "nothing is uploaded that nobody wants uploaded");

    fixture.alter("events", &[("remote.storage.enable", "true")]).await;
    until("the tier is told", || tier.state.lock().unwrap().led.contains_key(&id)).await;
    tier.upload(&id);
    assert_eq!(replica.view.local_start(), Offset(2), "what is remote leaves the local disk");
    assert_eq!(fixture.offset("events", OffsetSpec::Earliest).await, Offset(0));
    assert_eq!(fixture.read_all("events").await.len(), 3, "all of it is read, from both places");

    let off = [("remote.storage.enable", "false"), ("remote.log.delete.on.disable", "true")];
    fixture.alter("events", &off).await;
    until("the remote part goes", || tier.state.lock().unwrap().deleted.contains(&id)).await;
    assert!(tier.state.lock().unwrap().resigned.contains(&id), "nothing is uploaded any more");
    assert_eq!(fixture.offset("events", OffsetSpec::Earliest).await, Offset(2), "the log begins where it is local");
    fixture.produce("events", &["on"], Acks::All).await.unwrap();
}

#[tokio::test]
async fn what_was_given_up_while_the_store_was_away_goes_at_the_next_start() {
    let tier = MemoryTier::new();
    let fixture = tiering(tempfile::tempdir().unwrap(), &tier, &[]).await;
    let id = tiered_by_default(&fixture, &tier).await;
    let off = [("remote.storage.enable", "false"), ("remote.log.delete.on.disable", "true")];
    fixture.create("small", 1, &off).await;
    fixture.produce("small", &["one"], Acks::All).await.unwrap();
    tier.state.lock().unwrap().away = true;
    fixture.alter("events", &off).await;
    let asked = || tier.state.lock().unwrap().deleted.len();
    until("it is to go", || asked() == 1).await;
    let directory = fixture.stop().await;
    assert!(tier.state.lock().unwrap().uploaded.contains_key(&id));

    tier.state.lock().unwrap().away = false;
    let fixture = tiering(directory, &tier, &[]).await;
    until("it goes", || !tier.state.lock().unwrap().uploaded.contains_key(&id)).await;
    assert_eq!(fixture.offset("events", OffsetSpec::Earliest).await, Offset(2));
    fixture.replica("small", 0);
    assert_eq!(
        tier.state.lock().unwrap().deleted,
        [id.clone(), id.clone()],
        "what never closed a segment has nothing there"
    );

    // Tiered again, it keeps what it uploads from then on.
    fixture.alter("events", &[("remote.storage.enable", "true")]).await;
    fixture.produce("events", &[&"x".repeat(PAYLOAD)], Acks::All).await.unwrap();
    tier.upload(&id);
    let fixture = tiering(fixture.stop().await, &tier, &[]).await;
    until("the tier is told", || tier.state.lock().unwrap().led.contains_key(&id)).await;
    assert_eq!((fixture.offset("events", OffsetSpec::Earliest).await, tier.end(&id)), (Offset(2), Offset(3)));
    assert!(cold::fetch_one(&fixture, "events", Offset(2)).await.size() > PAYLOAD);
    assert_eq!(asked(), 2);
}

#[tokio::test]
async fn remote_copies_of_what_is_still_local_are_looked_after_when_uploads_have_ended() {
    let tier = MemoryTier::new();
    let fixture = tiering(tempfile::tempdir().unwrap(), &tier, &[]).await;
    fixture.create("events", 1, &SMALL[..1]).await;
    three_segments(&fixture, "events").await;
    let id = fixture.replica("events", 0).id.clone();
    tier.upload(&id);
    assert_eq!(fixture.replica("events", 0).view.local_start(), Offset(0));
    let fixture = tiering(fixture.stop().await, &tier, &[]).await;
    fixture.alter("events", &[("remote.storage.enable", "false")]).await;
    let fixture = tiering(fixture.stop().await, &tier, &[]).await;
    until("the tier is told", || tier.state.lock().unwrap().led.contains_key(&id)).await;
    let before = tier.state.lock().unwrap().woken;
    fixture.alter("events", &[("retention.bytes", "9500")]).await;
    let replica = fixture.replica("events", 0);
    until("the setting holds", || replica.config().retention_bytes == Some(9_500)).await;
    replica.trim_local(replica.core.clock.now());
    assert!(replica.offsets().log_start > Offset(0));
    assert!(tier.state.lock().unwrap().woken > before, "the manifest lets go of what lies below");
}

#[tokio::test]
async fn where_compaction_has_left_nothing_remote_a_fetch_goes_on_locally() {
    let tier = MemoryTier::new();
    let fixture = tiering(tempfile::tempdir().unwrap(), &tier, &[]).await;
    let id = tiered_by_default(&fixture, &tier).await;
    let empty = |segment: usize| tier.state.lock().unwrap().uploaded.get_mut(&id).unwrap()[segment].log.len = 0;
    empty(0);
    assert_eq!(fixture.read_all("events").await.len(), 2);
    empty(1);
    assert_eq!(fixture.read_all("events").await.len(), 1);
}

#[tokio::test]
async fn uploads_pause_while_copies_are_disabled() {
    let tier = MemoryTier::new();
    let fixture = tiered(tempfile::tempdir().unwrap(), &tier).await;
    let settings = [SMALL[0], SMALL[1], ("remote.storage.enable", "true"), ("remote.log.copy.disable", "true")];
    fixture.create("events", 1, &settings).await;
    three_segments(&fixture, "events").await;
    let replica = fixture.replica("events", 0);
    tier.upload(&replica.id);
    assert_eq!(tier.end(&replica.id), Offset(0));
    assert_eq!(replica.view.local_start(), Offset(0), "what is not remote stays");

    let woken = || tier.state.lock().unwrap().woken;
    // Two segments were closed and three watermarks may have passed their ends. Those that move within the active segment wake nobody.
    for _ in 0..20 {
        fixture.produce("events", &["more"], Acks::All).await.unwrap();
    }
    let before = woken();
    assert!((2..=6).contains(&before), "{before}");
    fixture.alter("events", &[("remote.log.copy.disable", "false")]).await;
    until("the tier is woken", || woken() > before).await;
    tier.upload(&replica.id);
    assert_eq!((tier.end(&replica.id), replica.view.local_start()), (Offset(2), Offset(2)));

    // What is remote stays readable when uploads pause again.
    fixture.alter("events", &[("remote.log.copy.disable", "true")]).await;
    until("the setting holds", || replica.config().remote_log_copy_disable).await;
    assert_eq!(fixture.read_all("events").await.len(), 23);
}

#[tokio::test]
async fn the_manifest_hears_of_a_log_start_that_moves_though_nothing_is_written() {
    let tier = MemoryTier::new();
    let fixture = tiered(tempfile::tempdir().unwrap(), &tier).await;
    let settings = [SMALL[0], ("remote.storage.enable", "true"), ("retention.bytes", "9500")];
    fixture.create("events", 1, &settings).await;
    three_segments(&fixture, "events").await;
    let replica = fixture.replica("events", 0);
    let before = tier.state.lock().unwrap().woken;
    replica.trim_local(replica.core.clock.now());
    assert!(replica.offsets().log_start > Offset(0));
    assert!(tier.state.lock().unwrap().woken > before);
}

#[tokio::test]
async fn the_log_start_follows_the_manifest_after_a_crash() {
    let tier = MemoryTier::new();
    let fixture = tiered(tempfile::tempdir().unwrap(), &tier).await;
    fixture.create("events", 1, &[SMALL[0], SMALL[1], ("remote.storage.enable", "true")]).await;
    three_segments(&fixture, "events").await;
    let id = fixture.replica("events", 0).id.clone();
    tier.upload(&id);
    // The manifest has moved on, and the crash took the log start that went with it: the checkpoint still says 0.
    let directory = fixture.stop().await;
    tier.drop_oldest(&id);
    tier.state.lock().unwrap().led.clear();

    let fixture = tiered(directory, &tier).await;
    until("the tier is told", || tier.state.lock().unwrap().led.contains_key(&id)).await;
    let replica = fixture.replica("events", 0);
    assert_eq!(replica.offsets().log_start, Offset(0));
    assert_eq!(tier.source(&id).needs_remote(), Some(Offset(2)), "an empty store would not be believed");
    assert_eq!(fixture.offset("events", OffsetSpec::Earliest).await, Offset(1), "nobody is sent to what is gone");
    tier.upload(&id);
    assert_eq!(replica.offsets().log_start, Offset(1));
    let error = cold::fetch_one(&fixture, "events", Offset(0)).await.error.unwrap();
    assert_eq!(error.error, KafkaError::OffsetOutOfRange);
    assert!(cold::fetch_one(&fixture, "events", Offset(1)).await.error.is_none());
}
