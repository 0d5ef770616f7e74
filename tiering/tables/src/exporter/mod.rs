//! The export of all tables of this broker: one task per table. A thin shell around the commit machine and the flush rule.

mod draft;
mod rule;
mod shared;
mod status;
mod store;
mod task;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::Mutex;
use tidelog_model::{TopicId, TopicIdPartition, TopicName};
use tidelog_objects::{Objects, ObjectsError};
use tokio::runtime::Handle;
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinHandle;
use tokio::time::Instant;

pub use status::{
    Exported, FlushError, Happened, PartitionStatus, PartitionView, Phase, TableFile, TableStatus, TableView, ViewError,
};

use crate::commit::{PartitionState, file_key, table_folder};
use crate::infer::Schema;
use crate::limits::FILES_IN_WRITING;
use crate::settings::KeyFormat;
use crate::source::{CommittedLog, TableTopic};
use shared::{Published, Shared};
use task::Surroundings;

/// What who waits for a file is told at the end.
const STOPPED: &str = "the export was stopped";

/// Who exports, and whose tables.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ExporterConfig {
    /// The cluster's id: the folder of its tables is `<cluster id>/tables`.
    pub cluster_id: String,
    /// Who writes commits, for people: `node 0`.
    pub writer: String,
}

/// Exports every table whose partition 0 this broker leads. Dropping it is as safe as a crash; [`Exporter::stop`] is polite.
pub struct Exporter {
    inner: Arc<Inner>,
    supervisor: Mutex<Option<JoinHandle<()>>>,
}

struct Inner {
    around: Surroundings,
    /// `<cluster id>/tables`.
    root: String,
    tables: Mutex<BTreeMap<TopicId, Table>>,
    /// One synchronisation at a time. The log is asked under this lock alone: it may call [`Exporter::wake`] under its own.
    syncing: Mutex<()>,
    refresh: Notify,
    /// How often topics have changed; the start counts too.
    changed: AtomicU64,
    /// The change up to which the tables are the log's; 0: nobody has asked it yet.
    synced: AtomicU64,
    /// Stopped: nothing starts any more, and nobody knows what is a table.
    ended: AtomicBool,
    /// The runtime of all tasks, whoever starts them.
    runtime: Handle,
}

struct Table {
    shared: Arc<Shared>,
    /// The epoch that the task commits under; another one needs another task.
    topic: TableTopic,
    task: JoinHandle<()>,
}

impl Drop for Exporter {
    fn drop(&mut self) {
        if let Some(supervisor) = self.supervisor.get_mut().take() {
            supervisor.abort();
        }
        for table in self.inner.tables.lock().values() {
            table.task.abort();
        }
    }
}

impl Exporter {
    /// Starts the tasks; needs a tokio runtime. `objects` stands at the root (with the operator's prefix) of the store.
    pub fn start(objects: &Objects, log: Arc<dyn CommittedLog>, config: &ExporterConfig) -> Result<Self, ObjectsError> {
        let root = format!("{}/tables", config.cluster_id);
        let around = Surroundings {
            objects: objects.with_prefix(&root)?,
            log,
            writer: config.writer.clone(),
            writing: Arc::new(Semaphore::new(FILES_IN_WRITING)),
            started: Instant::now(),
        };
        let inner = Arc::new(Inner {
            around,
            root,
            tables: Mutex::new(BTreeMap::new()),
            syncing: Mutex::new(()),
            refresh: Notify::new(),
            changed: AtomicU64::new(1),
            synced: AtomicU64::new(0),
            ended: AtomicBool::new(false),
            runtime: Handle::current(),
        });
        inner.refresh.notify_one();
        let supervised = Arc::clone(&inner);
        let supervisor = tokio::spawn(async move {
            loop {
                supervised.refresh.notified().await;
                supervised.sync();
            }
        });
        Ok(Exporter { inner, supervisor: Mutex::new(Some(supervisor)) })
    }

    /// A partition's committed end or log start moved. Cheap; may be called under locks.
    pub fn wake(&self, partition: &TopicIdPartition) {
        if let Some(table) = self.inner.tables.lock().get(&partition.id) {
            table.shared.wake(partition.partition);
        }
    }

    /// A topic was created, deleted, reconfigured, or is led from now on (or no longer). Cheap; may be called under locks.
    pub fn refresh(&self) {
        self.inner.changed.fetch_add(1, Ordering::AcqRel);
        self.inner.refresh.notify_one();
    }

    /// Exports everything that is committed now, whatever the flush settings say. Waits as long as the store is away.
    pub async fn flush(&self, topic: &TopicName) -> Result<(), FlushError> {
        self.inner.sync();
        let shared = self.inner.find(topic).ok_or_else(|| match self.inner.ended.load(Ordering::Acquire) {
            true => FlushError::Stopped(STOPPED.to_owned()),
            false => FlushError::NotATable(topic.clone()),
        })?;
        match shared.ask_flush().await {
            Ok(answer) => answer.map_err(FlushError::Stopped),
            Err(_) => Err(FlushError::Stopped(STOPPED.to_owned())),
        }
    }

    /// What retention may assume of a partition (see [`crate::retention`]). Not to be called under locks.
    pub fn exported(&self, partition: &TopicIdPartition) -> Exported {
        let Some(shared) = self.inner.table(partition.id) else {
            let known = self.inner.synced.load(Ordering::Acquire) > 0 && !self.inner.ended.load(Ordering::Acquire);
            return if known { Exported::NotATable } else { Exported::Unknown };
        };
        match shared.state().and_then(|state| state.exported_end(partition.partition)) {
            Some(end) => Exported::Below(end),
            None => Exported::Unknown,
        }
    }

    /// What the column of the key is in a table's files; `None` if it has none, or nobody knows. Not to be called under locks.
    pub fn key_in_files(&self, topic: TopicId) -> Option<KeyFormat> {
        let state = self.inner.table(topic)?.state()?;
        draft::has_file(&state).then_some(state.schema.key)
    }

    /// Every table, by topic name.
    pub fn status(&self) -> Vec<TableStatus> {
        let tables: Vec<_> = self.inner.tables.lock().values().map(|table| Arc::clone(&table.shared)).collect();
        let mut status: Vec<_> = tables.iter().map(|shared| self.inner.status(shared)).collect();
        status.sort_by(|a, b| a.topic.cmp(&b.topic));
        status
    }

    /// The table of a topic at this moment, for a query. A topic of the same name but another id is another table.
    pub fn view(&self, topic: &TableTopic) -> Result<TableView, ViewError> {
        let shared = self.inner.tables.lock().get(&topic.id).map(|table| Arc::clone(&table.shared));
        let shared = shared.ok_or_else(|| ViewError::NotATable(topic.name.clone()))?;
        self.inner.view(&shared)
    }

    /// Ends all tasks and waits for them. What was not exported is exported after the next start; until the process ends the log keeps it.
    pub async fn stop(&self) {
        {
            let _no_sync = self.inner.syncing.lock();
            self.inner.ended.store(true, Ordering::Release);
        }
        let supervisor = self.supervisor.lock().take();
        let tables = std::mem::take(&mut *self.inner.tables.lock());
        let tasks = tables.into_values().map(|table| {
            table.shared.stopped(STOPPED);
            table.task
        });
        for task in tasks.chain(supervisor) {
            task.abort();
            // An aborted task ends with an error that says so.
            let _ = task.await;
        }
    }
}

impl Inner {
    /// The table of a topic. One that was made a moment ago counts though the supervisor has not had its turn: retention would take records
    /// that no file has.
    fn table(&self, id: TopicId) -> Option<Arc<Shared>> {
        let look = || self.tables.lock().get(&id).map(|table| Arc::clone(&table.shared));
        look().or_else(|| {
            let synced = self.synced.load(Ordering::Acquire);
            if synced == 0 || synced == self.changed.load(Ordering::Acquire) {
                return None;
            }
            self.sync();
            look()
        })
    }

    fn find(&self, topic: &TopicName) -> Option<Arc<Shared>> {
        let tables = self.tables.lock();
        tables.values().find(|table| table.topic.name == *topic).map(|table| Arc::clone(&table.shared))
    }

    /// Starts, stops and updates tasks until they are what the log's tables ask for.
    fn sync(&self) {
        let _one_at_a_time = self.syncing.lock();
        if self.ended.load(Ordering::Acquire) {
            return;
        }
        let changed = self.changed.load(Ordering::Acquire);
        let wanted: BTreeMap<TopicId, TableTopic> =
            self.around.log.tables().into_iter().map(|topic| (topic.id, topic)).collect();
        let mut tables = self.tables.lock();
        tables.retain(|id, table| {
            let keep = wanted.get(id).is_some_and(|topic| topic.epoch == table.topic.epoch);
            if !keep {
                table.task.abort();
                table.shared.stopped("the topic is no table here any more");
            }
            keep
        });
        for (id, topic) in wanted {
            match tables.get_mut(&id) {
                Some(table) => {
                    table.shared.set_topic(topic.clone());
                    table.topic = topic;
                }
                None => {
                    let shared = Arc::new(Shared::new(topic.clone()));
                    let folder = table_folder(&topic.name, topic.id);
                    let task = self.runtime.spawn(task::run(self.around.clone(), Arc::clone(&shared), folder));
                    tables.insert(id, Table { shared, topic, task });
                }
            }
        }
        self.synced.store(changed, Ordering::Release);
    }

    fn status(&self, shared: &Shared) -> TableStatus {
        let topic = shared.topic();
        let Published { phase, state, draft, last_commit, last_error, .. } = shared.published();
        let mut status = TableStatus {
            topic: topic.name.to_string(),
            topic_id: topic.id.to_string(),
            folder: format!("{}/{}", self.root, table_folder(&topic.name, topic.id)),
            phase,
            schema_id: state.as_ref().map(|state| state.schema.id),
            columns: draft.map_or(0, |draft| draft.leaves()),
            partitions: Vec::new(),
            files: 0,
            bytes: 0,
            rows: 0,
            skipped_records: 0,
            last_commit: last_commit.map(|commit| commit.number),
            last_commit_at: last_commit.map(|commit| commit.at.get()),
            last_error,
        };
        for partition in state.iter().flat_map(|state| state.partitions.values()) {
            status.add(partition);
        }
        for index in topic.indexes() {
            let exported = state.as_ref().and_then(|state| state.exported_end(index));
            let range = self.around.log.range(&topic.partition(index)).ok();
            status.partitions.push(PartitionStatus {
                partition: index.get(),
                exported_end: exported.map(|end| end.get()),
                committed_end: range.map(|range| range.end.get()),
                lag: range.map_or(0, |range| range.end.since(exported.unwrap_or(range.log_start).max(range.log_start))),
            });
        }
        status
    }

    fn view(&self, shared: &Shared) -> Result<TableView, ViewError> {
        let topic = shared.topic();
        let published = shared.published();
        let (Some(state), Some(draft)) = (published.state, published.draft) else {
            let reason = published.last_error.map(|error| error.what);
            return Err(ViewError::NotLoaded { topic: topic.name, reason });
        };
        let folder = format!("{}/{}", self.root, table_folder(&topic.name, topic.id));
        let partitions = topic
            .indexes()
            .map(|index| PartitionView {
                partition: index,
                files: state.partitions.get(&index.get()).map_or_else(Vec::new, |partition| {
                    let written = partition.ranges.iter().filter(|range| range.rows > 0);
                    let file = |range: &crate::commit::ExportedRange| {
                        let key = format!("{folder}/{}", file_key(&topic.name, index, range.start, range.end));
                        range.bytes.map(|bytes| TableFile { key, rows: range.rows, bytes })
                    };
                    written.filter_map(file).collect()
                }),
                exported_end: state.exported_end(index),
                scanned: published.scanned.get(&index).copied(),
            })
            .collect();
        Ok(TableView { topic, schema: Schema::clone(&draft), partitions })
    }
}

impl TableStatus {
    fn add(&mut self, partition: &PartitionState) {
        for range in partition.ranges.iter().filter(|range| range.rows > 0) {
            if let Some(bytes) = range.bytes {
                self.files += 1;
                self.bytes = self.bytes.saturating_add(bytes);
                self.rows = self.rows.saturating_add(range.rows);
            }
        }
        for (start, end) in &partition.skipped {
            self.skipped_records = self.skipped_records.saturating_add(end.saturating_sub(*start).max(0) as u64);
        }
    }
}
