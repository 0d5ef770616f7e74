//! A log in memory behind the port `CommittedLog`, filled with real record batches, and a store in a folder of its own.

#![allow(dead_code, unreachable_pub)]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tidelog_model::{LeaderEpoch, Offset, PartitionIndex, Timestamp, TopicId, TopicIdPartition, TopicName};
use tidelog_objects::{Objects, StoreOptions};
use tidelog_record::{Batch, BatchBuilder, Codec};
use tidelog_tables::{
    BoxFuture, CommittedBatches, CommittedLog, CommittedRange, Exporter, ExporterConfig, SourceError, TableSettings,
    TableTopic, TopicLookup,
};

/// The lines of the sample.
pub fn sample() -> Vec<String> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/data/earthquakes.ndjson");
    std::fs::read_to_string(path).unwrap().lines().map(str::to_owned).collect()
}

pub fn name(topic: &str) -> TopicName {
    TopicName::new(topic).unwrap()
}

#[derive(Default)]
struct Partition {
    log_start: i64,
    batches: Vec<Batch>,
    /// Base offsets of batches that nobody can read any more.
    damaged: BTreeSet<i64>,
}

struct Topic {
    table: TableTopic,
    enabled: bool,
    partitions: Vec<Partition>,
}

/// Topics in memory.
#[derive(Default)]
pub struct MemoryLog {
    topics: Mutex<BTreeMap<TopicId, Topic>>,
    exporter: OnceLock<Weak<Exporter>>,
    created: AtomicU8,
    before_range: Hook,
    before_read: Hook,
    broken: Mutex<BTreeSet<(TopicId, PartitionIndex)>>,
}

/// Something that happens once.
type Hook = Mutex<Option<Box<dyn FnOnce() + Send>>>;

impl MemoryLog {
    pub fn new() -> Arc<Self> {
        Arc::new(MemoryLog::default())
    }

    pub fn create(&self, topic: &str, partitions: i32, settings: Option<TableSettings>) -> TableTopic {
        let id = TopicId::from_bytes([self.created.fetch_add(1, Ordering::Relaxed) + 1; 16]);
        let table = TableTopic {
            name: name(topic),
            id,
            partitions,
            epoch: LeaderEpoch(0),
            settings: settings.clone().unwrap_or_default(),
        };
        let partitions = (0..partitions).map(|_| Partition::default()).collect();
        let mut topics = self.topics.lock();
        // A topic of the same name is gone.
        topics.retain(|_, known| known.table.name != table.name);
        topics.insert(id, Topic { table: table.clone(), enabled: settings.is_some(), partitions });
        table
    }

    /// The same topic with other settings.
    pub fn set(&self, topic: &str, settings: Option<TableSettings>) {
        let mut topics = self.topics.lock();
        let found = topics.values_mut().find(|t| t.table.name.as_str() == topic).unwrap();
        found.enabled = settings.is_some();
        found.table.settings = settings.unwrap_or_default();
    }

    /// Happens once, before the next look at a range.
    pub fn before_range(&self, hook: impl FnOnce() + Send + 'static) {
        *self.before_range.lock() = Some(Box::new(hook));
    }

    /// Happens once, before the next read.
    pub fn before_read(&self, hook: impl FnOnce() + Send + 'static) {
        *self.before_read.lock() = Some(Box::new(hook));
    }

    /// One partition's disk breaks, or is mended.
    pub fn set_broken(&self, partition: &TopicIdPartition, broken: bool) {
        let key = (partition.id, partition.partition);
        if broken {
            self.broken.lock().insert(key);
        } else {
            self.broken.lock().remove(&key);
        }
    }

    /// The next leadership of every partition.
    pub fn next_epoch(&self) {
        for topic in self.topics.lock().values_mut() {
            topic.table.epoch = LeaderEpoch(topic.table.epoch.get() + 1);
        }
    }

    /// Appends one batch of values and tells the exporter.
    pub fn append(&self, topic: &str, partition: i32, values: &[&str]) -> i64 {
        let mut topics = self.topics.lock();
        let found = topics.values_mut().find(|t| t.table.name.as_str() == topic).unwrap();
        let id = found.table.partition(PartitionIndex(partition));
        let log = &mut found.partitions[partition as usize];
        let base = end(log);
        let codec = [Codec::None, Codec::Zstd, Codec::Lz4][log.batches.len() % 3];
        let mut builder = BatchBuilder::new(Offset(base)).codec(codec);
        for (at, value) in values.iter().enumerate() {
            let key = format!("key {}", base + at as i64);
            builder
                .push(Timestamp(1_500_000_000_000 + base), Some(key.as_bytes()), Some(value.as_bytes()), &[])
                .unwrap();
        }
        log.batches.push(builder.build().unwrap());
        drop(topics);
        self.wake(&id);
        base
    }

    /// Records in all partitions of a topic.
    pub fn records(&self, topic: &str) -> usize {
        let topics = self.topics.lock();
        let found = topics.values().find(|t| t.table.name.as_str() == topic).unwrap();
        found.partitions.iter().map(|log| (end(log) - log.log_start) as usize).sum()
    }

    /// Deletes everything below `start`, as retention does: whole batches.
    pub fn delete_below(&self, topic: &str, partition: i32, start: i64) {
        let mut topics = self.topics.lock();
        let found = topics.values_mut().find(|t| t.table.name.as_str() == topic).unwrap();
        let id = found.table.partition(PartitionIndex(partition));
        let log = &mut found.partitions[partition as usize];
        log.log_start = start;
        log.batches.retain(|batch| batch.header().next_offset().get() > start);
        drop(topics);
        self.wake(&id);
    }

    /// Somebody ends the log before `end`: whole batches, and records that were committed.
    pub fn cut(&self, topic: &str, partition: i32, end: i64) {
        let mut topics = self.topics.lock();
        let found = topics.values_mut().find(|t| t.table.name.as_str() == topic).unwrap();
        found.partitions[partition as usize].batches.retain(|batch| batch.header().next_offset().get() <= end);
    }

    /// The disk changes a batch.
    pub fn damage(&self, topic: &str, partition: i32, base: i64) {
        let mut topics = self.topics.lock();
        let found = topics.values_mut().find(|t| t.table.name.as_str() == topic).unwrap();
        found.partitions[partition as usize].damaged.insert(base);
    }

    fn wake(&self, partition: &TopicIdPartition) {
        if let Some(exporter) = self.exporter.get().and_then(Weak::upgrade) {
            exporter.wake(partition);
        }
    }

    pub fn announce(&self, exporter: &Arc<Exporter>) {
        let _ = self.exporter.set(Arc::downgrade(exporter));
    }

    fn partition<T>(
        &self,
        id: &TopicIdPartition,
        read: impl FnOnce(&Partition) -> Result<T, SourceError>,
    ) -> Result<T, SourceError> {
        if self.broken.lock().contains(&(id.id, id.partition)) {
            return Err(SourceError::Unavailable("the partition is offline".to_owned()));
        }
        let topics = self.topics.lock();
        let topic = topics.get(&id.id).ok_or(SourceError::Gone)?;
        read(topic.partitions.get(id.partition.get() as usize).ok_or(SourceError::Gone)?)
    }
}

fn happens(hook: &Hook) {
    let hook = hook.lock().take();
    if let Some(hook) = hook {
        hook();
    }
}

fn end(log: &Partition) -> i64 {
    log.batches.last().map_or(log.log_start, |batch| batch.header().next_offset().get())
}

impl CommittedLog for MemoryLog {
    fn tables(&self) -> Vec<TableTopic> {
        self.topics.lock().values().filter(|topic| topic.enabled).map(|topic| topic.table.clone()).collect()
    }

    fn lookup(&self, name: &str) -> TopicLookup {
        match self.topics.lock().values().find(|topic| topic.table.name.as_str() == name) {
            None => TopicLookup::Unknown,
            Some(topic) if !topic.enabled => TopicLookup::NotATable,
            Some(topic) => TopicLookup::Table(Box::new(topic.table.clone())),
        }
    }

    fn topic_names(&self) -> Vec<TopicName> {
        self.topics.lock().values().map(|topic| topic.table.name.clone()).collect()
    }

    fn range(&self, partition: &TopicIdPartition) -> Result<CommittedRange, SourceError> {
        happens(&self.before_range);
        self.partition(partition, |log| Ok(CommittedRange { log_start: Offset(log.log_start), end: Offset(end(log)) }))
    }

    fn read(
        &self,
        partition: &TopicIdPartition,
        from: Offset,
        max_bytes: usize,
    ) -> BoxFuture<'static, Result<CommittedBatches, SourceError>> {
        happens(&self.before_read);
        let answer = self.partition(partition, |log| {
            if from.get() < log.log_start {
                return Err(SourceError::OutOfRange { log_start: Offset(log.log_start) });
            }
            let (mut bytes, mut next) = (Vec::new(), from);
            for batch in log.batches.iter().filter(|batch| batch.header().next_offset() > from) {
                if !bytes.is_empty() && bytes.len() + batch.size() > max_bytes {
                    break;
                }
                if log.damaged.contains(&batch.header().base_offset.get()) {
                    if bytes.is_empty() {
                        let reason = format!("damaged at {from}");
                        return Err(SourceError::Damaged { end: batch.header().next_offset(), reason });
                    }
                    break;
                }
                bytes.extend_from_slice(batch.bytes());
                next = batch.header().next_offset();
            }
            Ok(CommittedBatches { batches: Bytes::from(bytes), aborted: Vec::new(), next })
        });
        Box::pin(async move { answer })
    }
}

/// A store in a folder that goes with it.
pub async fn store() -> (tempfile::TempDir, Objects) {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("file://{}", folder.path().display());
    let objects = Objects::open(&url, &StoreOptions::default()).await.unwrap();
    (folder, objects)
}

/// Starts an exporter over the log.
pub fn exporter(objects: &Objects, log: &Arc<MemoryLog>) -> Arc<Exporter> {
    let config = ExporterConfig { cluster_id: "cluster".to_owned(), writer: "test".to_owned() };
    let exporter = Arc::new(Exporter::start(objects, Arc::clone(log) as Arc<dyn CommittedLog>, &config).unwrap());
    log.announce(&exporter);
    exporter
}

/// Settings under which only a flush, or the given bound, makes a file.
pub fn patient() -> TableSettings {
    TableSettings { flush_interval: Duration::from_secs(3_600), ..TableSettings::default() }
}

/// Waits until `check` holds, for at most half a minute.
pub async fn until(what: &str, mut check: impl FnMut() -> bool) {
    let wait = async {
        while !check() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(tokio::time::timeout(Duration::from_secs(90), wait).await.is_ok(), "waited in vain: {what}");
}
