//! Every partition this broker hosts. Level-triggered: compares the image with what is hosted and acts on the difference.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use futures::future::join_all;
use parking_lot::{Mutex, RwLock};
use tidelog_log::{Log, LogConfig, LogError, datadir};
use tidelog_metadata::{ClusterImage, Partition as PartitionImage, TopicConfig};
use tidelog_model::{KafkaError, LeaderEpoch, Offset, PartitionIndex, TopicId, TopicIdPartition, TopicPartition};
use tidelog_partition::Partition;
use tidelog_record::BatchSums;
use tokio::sync::{Notify, Semaphore, watch};
use tracing::{debug, error, info, warn};

use crate::alterations::Concerns;
use crate::core::Core;
use crate::limits::OPENING_AT_ONCE;
use crate::replica::{Replica, may_be_remote};

type Key = (TopicId, PartitionIndex);

/// Called with every replica that begins to serve.
pub(crate) type Led = Box<dyn Fn(&Arc<Replica>) + Send + Sync>;

/// A partition that the image gives to this broker.
#[derive(Clone)]
enum Hosted {
    /// Its log is being recovered.
    Opening(TopicPartition, Asked),
    /// It serves.
    Leading(Arc<Replica>),
    /// Its log cannot be opened; everything else goes on.
    Offline(TopicPartition, Reason),
    /// The same for everybody who asks, but it is tried again at this moment: its files are in use.
    Reopening(TopicPartition, Asked),
}

/// The settings of a log that is being opened.
#[derive(Clone)]
struct Asked {
    /// With which its opening began.
    first: Arc<TopicConfig>,
    /// The last that the image gave since.
    latest: Arc<TopicConfig>,
}

impl Asked {
    fn new(config: &Arc<TopicConfig>) -> Self {
        Asked { first: Arc::clone(config), latest: Arc::clone(config) }
    }
}

/// Why a log could not be opened.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reason {
    /// The disk had no room: it is tried again.
    Full,
    /// Somebody has to look at it.
    Broken,
}

impl Hosted {
    /// The name of its folder.
    fn partition(&self) -> TopicPartition {
        match self {
            Hosted::Leading(replica) => replica.id.topic_partition(),
            Hosted::Opening(id, _) | Hosted::Offline(id, _) | Hosted::Reopening(id, _) => id.clone(),
        }
    }

    /// The settings that it will have once it is open.
    fn asked(&self) -> Option<&Asked> {
        match self {
            Hosted::Opening(_, asked) | Hosted::Reopening(_, asked) => Some(asked),
            Hosted::Leading(_) | Hosted::Offline(..) => None,
        }
    }

    fn asked_mut(&mut self) -> Option<&mut Asked> {
        match self {
            Hosted::Opening(_, asked) | Hosted::Reopening(_, asked) => Some(asked),
            Hosted::Leading(_) | Hosted::Offline(..) => None,
        }
    }

    /// Is its log known to be of no use now?
    fn is_offline(&self) -> bool {
        matches!(self, Hosted::Offline(..) | Hosted::Reopening(..))
    }

    /// Does it serve, or is it known that it will not?
    fn is_settled(&self) -> bool {
        matches!(self, Hosted::Leading(_)) || self.is_offline()
    }
}

/// Partitions that are being opened together, for one line of the log about all of them.
#[derive(Default)]
struct Openings {
    /// So many are still being opened.
    open: usize,
    /// So many lead now, this one last.
    led: usize,
    last: Option<TopicPartition>,
}

/// The hosted partitions of one broker.
pub(crate) struct Replicas {
    core: Arc<Core>,
    hosted: RwLock<HashMap<Key, Hosted>>,
    opening: Arc<Semaphore>,
    openings: Mutex<Openings>,
    next_key: AtomicU64,
    by_timer: Mutex<HashMap<u64, Arc<Replica>>>,
    /// Partitions of deleted topics whose files go, or will once they have opened, by the names that their folders have. A new one of
    /// the same name waits.
    ending: Mutex<HashMap<TopicPartition, TopicId>>,
    one_ends: tokio::sync::Mutex<()>,
    /// Counts changes of `hosted`.
    version: watch::Sender<u64>,
    /// Told when something could not be opened for want of room.
    full: Notify,
    /// Called with every replica that begins to serve.
    led: Led,
    /// Set once all was open.
    started: AtomicBool,
}

impl Replicas {
    pub(crate) fn new(core: Arc<Core>, led: Led) -> Arc<Self> {
        Arc::new(Replicas {
            core,
            hosted: RwLock::default(),
            opening: Arc::new(Semaphore::new(OPENING_AT_ONCE)),
            openings: Mutex::default(),
            next_key: AtomicU64::new(0),
            by_timer: Mutex::default(),
            ending: Mutex::default(),
            one_ends: tokio::sync::Mutex::default(),
            version: watch::channel(0).0,
            full: Notify::new(),
            led,
            started: AtomicBool::new(false),
        })
    }

    /// The replica that serves this partition, or why there is none.
    pub(crate) fn leading(&self, topic: TopicId, partition: PartitionIndex) -> Result<Arc<Replica>, KafkaError> {
        match self.hosted.read().get(&(topic, partition)) {
            Some(Hosted::Leading(replica)) => Ok(Arc::clone(replica)),
            // Clients look again, and Java's consumer throws on anything else.
            Some(Hosted::Opening(..)) => Err(KafkaError::NotLeaderOrFollower),
            Some(Hosted::Offline(..) | Hosted::Reopening(..)) => Err(KafkaError::KafkaStorageError),
            None => Err(KafkaError::NotLeaderOrFollower),
        }
    }

    /// What is known of a log that cannot be opened, for those who ask for it. (The server's log has more: paths, which are no caller's.)
    pub(crate) fn why_closed(&self, topic: TopicId, partition: PartitionIndex) -> Option<String> {
        let hosted = self.hosted.read();
        let (name, why) = match hosted.get(&(topic, partition))? {
            Hosted::Offline(name, Reason::Broken) => {
                (name, "its log cannot be opened, and the server's log says why and what to do")
            }
            Hosted::Offline(name, Reason::Full) => (name, "the disk has no room for its files; it is tried again"),
            Hosted::Reopening(name, _) => (name, "its files are still in use; it is tried again"),
            Hosted::Leading(_) | Hosted::Opening(..) => return None,
        };
        Some(format!("partition {name} is offline: {why}"))
    }

    /// Is the partition's log broken?
    pub(crate) fn is_offline(&self, topic: TopicId, partition: PartitionIndex) -> bool {
        match self.hosted.read().get(&(topic, partition)) {
            Some(Hosted::Leading(replica)) => replica.view.offline().is_some(),
            hosted => hosted.is_some_and(Hosted::is_offline),
        }
    }

    /// Every replica that serves.
    pub(crate) fn all(&self) -> Vec<Arc<Replica>> {
        let hosted = self.hosted.read();
        hosted
            .values()
            .filter_map(|hosted| match hosted {
                Hosted::Leading(replica) => Some(Arc::clone(replica)),
                Hosted::Opening(..) | Hosted::Offline(..) | Hosted::Reopening(..) => None,
            })
            .collect()
    }

    /// The timer wheel fired for this key.
    pub(crate) fn timer(&self, key: u64) {
        let replica = self.by_timer.lock().get(&key).cloned();
        if let Some(replica) = replica {
            self.core.log_threads.submit(&replica);
        }
    }

    /// Sees every change of what is hosted.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }

    /// The topic's first partition from `from` on that the image gives to this broker and that is neither open nor known to be broken.
    pub(crate) fn first_unsettled(
        &self,
        image: &ClusterImage,
        topic: TopicId,
        from: PartitionIndex,
    ) -> Option<PartitionIndex> {
        let topic = image.topic_by_id(topic)?;
        let hosted = self.hosted.read();
        (from.get()..topic.partition_count).map(PartitionIndex).find(|index| {
            let leads = topic.partition(*index).is_some_and(|found| found.state.leader == Some(self.core.node));
            leads && !hosted.get(&(topic.id, *index)).is_some_and(Hosted::is_settled)
        })
    }

    /// Could the log of any of the topic's partitions not be opened?
    pub(crate) fn has_offline(&self, topic: TopicId) -> bool {
        let hosted = self.hosted.read();
        hosted.iter().any(|((id, _), hosted)| *id == topic && hosted.is_offline())
    }

    /// Has everything been open at once (or known to be broken) that the image gave to this broker? What is created later is waited for by
    /// whoever creates it.
    pub(crate) fn have_started(&self, image: &ClusterImage) -> bool {
        if !self.started.load(Ordering::Relaxed) && self.all_open(image) {
            self.started.store(true, Ordering::Relaxed);
        }
        self.started.load(Ordering::Relaxed)
    }

    fn all_open(&self, image: &ClusterImage) -> bool {
        let hosted = self.hosted.read();
        image
            .replicas_on(self.core.node)
            .filter(|(_, _, partition)| partition.state.leader == Some(self.core.node))
            .all(|(topic, index, _)| hosted.get(&(topic.id, index)).is_some_and(Hosted::is_settled))
    }

    /// Waits for the settings that partitions have been given and do not have yet: those that serve, and those that were being opened
    /// with others.
    pub(crate) async fn settings_hold(&self, concerns: Concerns) {
        // It ends with this broker's partitions only.
        let _ = self.changes().wait_for(|_| !self.any_follows(concerns)).await;
        let to_come: Vec<_> = {
            let hosted = self.hosted.read();
            let to_come = |(key, hosted): (&Key, &Hosted)| match hosted {
                Hosted::Leading(replica) if concerns.concern(key.0) => replica.settings_to_come(),
                _ => None,
            };
            hosted.iter().filter_map(to_come).collect()
        };
        join_all(to_come).await;
    }

    /// Is a log being opened whose settings have changed meanwhile?
    pub(crate) fn any_follows(&self, concerns: Concerns) -> bool {
        let hosted = self.hosted.read();
        let concerned = hosted.iter().filter(|(key, _)| concerns.concern(key.0));
        concerned.filter_map(|(_, hosted)| hosted.asked()).any(|asked| asked.latest != asked.first)
    }

    /// Opens what is new, gives up what is gone, passes changed settings on.
    pub(crate) fn reconcile(
        self: &Arc<Self>,
        image: &ClusterImage,
        mut configs: impl FnMut(TopicId) -> Arc<TopicConfig>,
    ) {
        for (topic, index, partition) in image.replicas_on(self.core.node) {
            if partition.state.leader != Some(self.core.node) {
                continue;
            }
            let key = (topic.id, index);
            let config = configs(topic.id);
            let known = self.hosted.read().get(&key).cloned();
            match known {
                None => {
                    let id = TopicIdPartition { id: topic.id, topic: topic.name.clone(), partition: index };
                    if self.ending.lock().contains_key(&id.topic_partition()) {
                        continue;
                    }
                    self.hosted.write().insert(key, Hosted::Opening(id.topic_partition(), Asked::new(&config)));
                    self.open(id, Arc::clone(partition), config);
                }
                Some(Hosted::Leading(replica)) => replica.follow(config),
                Some(hosted) if hosted.asked().is_some_and(|asked| asked.latest != config) => {
                    self.follow_opening(&key, config);
                }
                Some(_) => {}
            }
        }
    }

    /// Settings of a log that was being opened a moment ago.
    fn follow_opening(&self, key: &Key, config: Arc<TopicConfig>) {
        match self.hosted.write().get_mut(key) {
            Some(Hosted::Leading(replica)) => replica.follow(config),
            Some(hosted) => {
                if let Some(asked) = hosted.asked_mut() {
                    asked.latest = config;
                }
            }
            None => {}
        }
        // They may be again those that it opens with, which somebody waits for.
        self.version.send_modify(|version| *version += 1);
    }

    /// Takes out the partitions whose topic the image no longer has: they stop serving at once.
    /// Also tells which ones had no log that could be opened: their files are to be removed by name. Until [`Replicas::ended`] nothing
    /// else opens in their folders.
    pub(crate) fn take_gone(&self, image: &ClusterImage) -> (Vec<Arc<Replica>>, Vec<TopicIdPartition>) {
        let (mut gone, mut offline) = (Vec::new(), Vec::new());
        let mut ending = self.ending.lock();
        self.hosted.write().retain(|(topic, _), hosted| {
            if image.topic_by_id(*topic).is_some() {
                return true;
            }
            let partition = hosted.partition();
            ending.insert(partition.clone(), *topic);
            match hosted {
                // Its opening ends first, and has the folder until then; the next change comes back to it.
                Hosted::Opening(..) | Hosted::Reopening(..) => return true,
                Hosted::Offline(..) => {
                    offline.push(TopicIdPartition {
                        id: *topic,
                        topic: partition.topic,
                        partition: partition.partition,
                    });
                }
                Hosted::Leading(replica) => {
                    self.by_timer.lock().remove(&replica.key);
                    gone.push(Arc::clone(replica));
                }
            }
            false
        });
        (gone, offline)
    }

    /// Deleted topics end one after the other: their files are many, and others want the disk too.
    pub(crate) async fn turn_to_end(&self) -> impl Drop {
        self.one_ends.lock().await
    }

    /// The files of these are gone, or will never be: their names are free.
    pub(crate) fn ended(&self, partitions: &[TopicPartition]) {
        let gone: HashSet<&TopicPartition> = partitions.iter().collect();
        let mut ending = self.ending.lock();
        ending.retain(|partition, _| !gone.contains(partition));
        drop(ending);
        self.version.send_modify(|version| *version += 1);
    }

    /// Has a topic that is deleted still partitions here?
    pub(crate) fn has_any_of(&self, topic: TopicId) -> bool {
        self.hosted.read().keys().any(|(id, _)| *id == topic) || self.ending.lock().values().any(|id| *id == topic)
    }

    /// Is the folder of that name another topic's? Then so are the checkpoints of that name. Blocks.
    pub(crate) fn is_succeeded(&self, id: &TopicIdPartition) -> bool {
        datadir::read_topic_id(&*self.core.disk, &self.directory(id)).is_some_and(|found| found != id.id)
    }

    /// Removes the directory of a partition that is deleted and not open, if it is really its own. Blocks.
    pub(crate) fn remove_directory(&self, id: &TopicIdPartition) -> Result<(), LogError> {
        let (disk, directory) = (&*self.core.disk, self.directory(id));
        if datadir::read_topic_id(disk, &directory) != Some(id.id) {
            return Ok(());
        }
        let failed = |source| LogError::Io { action: "cannot rename", path: directory.clone(), source };
        let doomed = self.core.data_dir.join(format!("{}.{}{}", id.partition, id.id, datadir::DELETED_SUFFIX));
        disk.rename(&directory, &doomed).map_err(failed)?;
        datadir::remove_deleted(disk, &self.core.data_dir).map(drop)
    }

    /// Is the log of any partition broken?
    pub(crate) fn any_offline(&self) -> bool {
        self.hosted.read().values().any(|hosted| match hosted {
            Hosted::Leading(replica) => replica.view.offline().is_some(),
            hosted => hosted.is_offline(),
        })
    }

    fn open(self: &Arc<Self>, id: TopicIdPartition, partition: Arc<PartitionImage>, config: Arc<TopicConfig>) {
        let replicas = Arc::clone(self);
        self.openings.lock().open += 1;
        tokio::spawn(async move {
            let Ok(turn) = Arc::clone(&replicas.opening).acquire_owned().await else { return };
            let opened = replicas.try_open(&id, partition, config).await;
            // The flush waits without a turn: where many do, one call serves them all.
            drop(turn);
            let hosted = match durable(opened).await {
                Ok(replica) => Hosted::Leading(replica),
                Err(Some(failure)) if failure.is_full() => {
                    error!(partition = %id, error = %failure, "no room for the partition's files: it is offline until there is");
                    Hosted::Offline(id.topic_partition(), Reason::Full)
                }
                Err(failure) => broken(&id, failure.as_ref()),
            };
            let leads = matches!(&hosted, Hosted::Leading(_));
            replicas.settle(&id, hosted);
            replicas.opened(leads.then(|| id.topic_partition()));
        });
    }

    /// Ready once a full disk has kept something from opening.
    pub(crate) async fn met_full_disk(&self) {
        self.full.notified().await;
    }

    /// Does anything wait for room on the disk?
    pub(crate) fn waits_for_room(&self) -> bool {
        self.hosted.read().values().any(|hosted| matches!(hosted, Hosted::Offline(_, Reason::Full)))
    }

    /// Tries again to open what a full disk kept from opening, one after the other; ends with the first for which there is still no room.
    /// True if none waits any more. `configs` tells a topic's settings as they are when it is called.
    pub(crate) async fn reopen(
        self: &Arc<Self>,
        image: &ClusterImage,
        mut configs: impl FnMut(TopicId) -> Arc<TopicConfig>,
    ) -> bool {
        let waiting: Vec<(Key, TopicPartition)> = {
            let hosted = self.hosted.read();
            let full = |(key, hosted): (&Key, &Hosted)| match hosted {
                Hosted::Offline(id, Reason::Full) => Some((*key, id.clone())),
                _ => None,
            };
            hosted.iter().filter_map(full).collect()
        };
        for (key, name) in waiting {
            let Some(partition) = image.partition(key.0, key.1) else { continue };
            let id = TopicIdPartition { id: key.0, topic: name.topic.clone(), partition: key.1 };
            let config = match self.hosted.write().get_mut(&key) {
                Some(hosted @ Hosted::Offline(..)) => {
                    // Read here, so that each later change finds that it is being opened.
                    let config = configs(key.0);
                    *hosted = Hosted::Reopening(name.clone(), Asked::new(&config));
                    config
                }
                // Its topic is gone, and it with it.
                _ => continue,
            };
            match durable(self.try_open(&id, Arc::clone(partition), config).await).await {
                Ok(replica) => {
                    info!(partition = %id, "there is room: the partition serves again");
                    self.settle(&id, Hosted::Leading(replica));
                }
                Err(Some(failure)) if failure.is_full() => {
                    self.settle(&id, Hosted::Offline(name, Reason::Full));
                    return false;
                }
                Err(failure) => self.settle(&id, broken(&id, failure.as_ref())),
            }
        }
        true
    }

    /// Opens a log on a thread that may block; `None` if that thread failed. It must be flushed before it serves.
    async fn try_open(
        self: &Arc<Self>,
        id: &TopicIdPartition,
        partition: Arc<PartitionImage>,
        config: Arc<TopicConfig>,
    ) -> Result<Arc<Replica>, Option<LogError>> {
        let (this, known) = (Arc::clone(self), id.clone());
        match tokio::task::spawn_blocking(move || this.open_log(known, &partition, config)).await {
            Ok(opened) => opened.map_err(Some),
            Err(failure) => {
                error!(partition = %id, error = %failure, "opening the partition failed");
                Err(None)
            }
        }
    }

    /// An attempt to open a partition has ended.
    fn settle(&self, id: &TopicIdPartition, hosted: Hosted) {
        if let Hosted::Leading(replica) = &hosted {
            self.by_timer.lock().insert(replica.key, Arc::clone(replica));
        }
        let key = (id.id, id.partition);
        let mut all = self.hosted.write();
        if let (Hosted::Leading(replica), Some(asked)) = (&hosted, all.get(&key).and_then(Hosted::asked)) {
            replica.follow(Arc::clone(&asked.latest));
        }
        all.insert(key, hosted.clone());
        drop(all);
        match &hosted {
            Hosted::Leading(replica) => (self.led)(replica),
            Hosted::Offline(_, Reason::Full) => self.full.notify_one(),
            Hosted::Opening(..) | Hosted::Offline(..) | Hosted::Reopening(..) => {}
        }
        self.version.send_modify(|version| *version += 1);
    }

    /// Of many partitions the log has one line, when the last of them is open.
    fn opened(&self, led: Option<TopicPartition>) {
        let mut openings = self.openings.lock();
        openings.open = openings.open.saturating_sub(1);
        if let Some(partition) = led {
            openings.led += 1;
            openings.last = Some(partition);
        }
        if openings.open > 0 {
            return;
        }
        let Openings { led, last, .. } = std::mem::take(&mut *openings);
        match last {
            Some(partition) if led == 1 => info!(%partition, "leading"),
            Some(_) => info!(partitions = led, "leading"),
            None => {}
        }
    }

    fn open_log(
        &self,
        id: TopicIdPartition,
        partition: &PartitionImage,
        config: Arc<TopicConfig>,
    ) -> Result<Arc<Replica>, LogError> {
        let epoch = partition.state.leader_epoch;
        let directory = self.directory(&id);
        let (disk, files) = (Arc::clone(&self.core.disk), Arc::clone(&self.core.files));
        let settings = log_config(&self.core, &id, &config);
        let now = self.core.clock.now();
        self.set_stray_aside(&id, &directory)?;
        let exists = disk.list(&directory).is_ok_and(|entries| !entries.is_empty());
        let (mut log, sums, log_start) = if exists {
            let checkpoints = self.core.checkpoints.of(&id.topic_partition());
            let (mut log, recovered) = Log::open(disk, files, &directory, settings, checkpoints, now)?;
            if let Some(cut) = &recovered.cut {
                // With `batches_followed` the cut records may have been acknowledged (page-cache durability), and a replica in sync would
                // still have them. The only replica leads with what it has; the line below is what an operator can act on.
                metrics::counter!("tidelog_log_recovery_cuts_total").increment(1);
                error!(
                    partition = %id, offset = %cut.offset, file = cut.file, position = cut.position, bytes = cut.bytes,
                    batches_followed = cut.batches_followed, reason = cut.reason,
                    "recovery cut the log; the bytes are kept beside it in .log.cut files"
                );
            }
            if recovered.topic_id.is_none() {
                // A creation that a full disk cut short, or a directory from before Kafka 2.8.
                log.write_topic_id(id.id)?;
            }
            (log, recovered.sums, recovered.log_start)
        } else {
            let expected = self.core.checkpoints.of(&id.topic_partition());
            if epoch > LeaderEpoch(0) && expected.recovery_point > expected.log_start {
                let reason = format!(
                    "the directory is gone, but records up to offset {} were in it; restore it, or delete the topic",
                    expected.recovery_point
                );
                return Err(LogError::Format { path: directory, reason });
            }
            self.core.checkpoints.forget(&[id.topic_partition()])?;
            let log = Log::create(disk, files, &directory, id.id, settings, Offset::ZERO)?;
            (log, BatchSums::default(), Offset::ZERO)
        };
        let end = log.view().log_end();
        log.assign_epoch(epoch, end);
        if !exists {
            log.write_first_epochs()?;
        }
        let mut machine = Partition::lead(self.core.node, epoch, self.core.durability, sums, log_start, end);
        machine.set_replicas(partition.state.replicas.len());
        machine.set_min_insync(usize::try_from(config.min_insync_replicas).unwrap_or(1));
        let key = self.next_key.fetch_add(1, Ordering::Relaxed);
        debug!(partition = %id, %epoch, log_start = %log_start, log_end = %end, "leading");
        // What recovery cut off was compacted, and what comes in its place is not.
        let cleaned = self.core.checkpoints.cleaned(&id.topic_partition()).min(end);
        Ok(Replica::new(id, key, Arc::clone(&self.core), log, machine, config, cleaned))
    }

    /// A directory of an earlier topic of the same name, which a crash kept from being deleted, is set aside under another name.
    pub(crate) fn set_stray_aside(&self, id: &TopicIdPartition, directory: &Path) -> Result<(), LogError> {
        let disk = &*self.core.disk;
        let Some(found) = datadir::read_topic_id(disk, directory).filter(|found| *found != id.id) else {
            return Ok(());
        };
        let name = id.topic_partition();
        if self.hosted.read().get(&(found, id.partition)).is_some_and(|hosted| hosted.partition() == name) {
            let reason = format!("its topic {found} is not closed yet, and topic {} cannot have it", id.id);
            return Err(LogError::Format { path: directory.to_owned(), reason });
        }
        let aside = self.core.data_dir.join(format!("{}.{found}-stray", id.partition));
        warn!(partition = %id, earlier = %found, aside = %aside.display(), "the directory of an earlier topic is set aside");
        let failed = |source| LogError::Io { action: "cannot rename", path: directory.to_owned(), source };
        disk.rename(directory, &aside).map_err(failed)?;
        disk.flush_dir(&self.core.data_dir).map_err(failed)
    }

    /// Where a partition's files are.
    pub(crate) fn directory(&self, id: &TopicIdPartition) -> PathBuf {
        self.core.data_dir.join(id.to_string())
    }
}

/// What is shown from now on must be durable: also what an earlier process wrote and did not flush. A failed flush has been told.
async fn durable(opened: Result<Arc<Replica>, Option<LogError>>) -> Result<Arc<Replica>, Option<LogError>> {
    let replica = opened?;
    match replica.flush_soon().await {
        Ok(true) => Ok(replica),
        Ok(false) | Err(_) => Err(None),
    }
}

/// A partition whose log cannot be opened and will not be.
fn broken(id: &TopicIdPartition, failure: Option<&LogError>) -> Hosted {
    if let Some(failure) = failure {
        error!(partition = %id, error = %failure, "the partition stays offline");
    }
    Hosted::Offline(id.topic_partition(), Reason::Broken)
}

/// What a topic's settings mean for one of its logs.
pub(crate) fn log_config(core: &Core, id: &TopicIdPartition, config: &TopicConfig) -> LogConfig {
    let unsigned = |value: i32| u64::try_from(value).unwrap_or(0);
    LogConfig {
        segment_bytes: unsigned(config.segment_bytes),
        segment_ms: config.segment_age_ms(),
        segment_index_bytes: unsigned(config.segment_index_bytes),
        index_interval_bytes: unsigned(config.index_interval_bytes),
        compacted: config.cleanup.compact,
        remote: core.remote.is_some() && may_be_remote(id, config),
    }
}
