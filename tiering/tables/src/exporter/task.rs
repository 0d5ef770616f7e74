//! One table's task: reads what is committed, lets the schema follow, commits ranges when the flush rule says so, puts their
//! files. One task per table, one step at a time; a step that is cut off anywhere is taken up again by loading the commits.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tidelog_model::{Offset, PartitionIndex, Timestamp};
use tidelog_objects::Objects;
use tidelog_record::BatchError;
use tokio::sync::{Semaphore, oneshot};
use tokio::time::Instant;

use super::draft::{self, Begun, Kinds};
use super::rule::{Due, Waiting};
use super::shared::Shared;
use super::status::{Happened, Phase};
use super::store::{Committer, FileSource, TableError};
use crate::columns::{Shown, decode};
use crate::commit::{Commits, ExportedRange, Plan, Range, Skipped, Writer, Written, file_key, table_folder};
use crate::infer::{Inference, Schema};
use crate::limits::{MAX_RANGES_PER_COMMIT, READ_BYTES, RETRY_MAX_MS, RETRY_MIN_MS, TOLD_FROM_WAIT_MS};
use crate::source::{CommittedBatches, CommittedLog, SourceError, TableTopic};
use crate::writer::WriteError;

/// What every table's task is given.
#[derive(Clone)]
pub(super) struct Surroundings {
    /// The store at the folder of all tables.
    pub(super) objects: Objects,
    pub(super) log: Arc<dyn CommittedLog>,
    pub(super) writer: String,
    pub(super) writing: Arc<Semaphore>,
    pub(super) started: Instant,
}

/// Runs until the table ends for good. Dropping the future is as safe as a crash.
pub(super) async fn run(around: Surroundings, shared: Arc<Shared>, folder: String) {
    let mut wait = RETRY_MIN_MS;
    loop {
        let error = match Session::open(&around, &shared, &folder).await {
            Ok(mut session) => {
                wait = RETRY_MIN_MS;
                session.work().await
            }
            Err(error) => error,
        };
        let topic = shared.topic().name;
        match error {
            TableError::Ended(reason) => {
                tracing::error!(%topic, reason, "the export of a table ended");
                shared.publish(|p| p.last_error = Some(happened(&reason)));
                shared.stopped(&reason);
                return;
            }
            TableError::Superseded => {}
            error => {
                tracing::warn!(%topic, %error, "the export of a table waits");
                shared.publish(|p| p.last_error = Some(happened(&error.to_string())));
            }
        }
        tokio::time::sleep(Duration::from_millis(wait)).await;
        wait = wait.saturating_mul(2).min(RETRY_MAX_MS);
    }
}

/// What waits in one partition.
struct Progress {
    /// First offset that no commit names and no pending skip covers.
    start: Offset,
    /// Offset up to which records were read.
    scanned: Offset,
    waiting: Waiting,
}

/// A partition that cannot be read right now: the others go on.
struct Stuck {
    until: Duration,
    wait: u64,
}

/// A table whose commits are known, claimed and complete.
struct Session<'a> {
    around: &'a Surroundings,
    shared: &'a Shared,
    committer: Committer,
    /// The committed schema and what the waiting records add.
    draft: Schema,
    changed: bool,
    /// What the draft was begun with.
    kinds: Kinds,
    /// What is to be published anew: cloning a large table for every record would be waste.
    state_moved: bool,
    draft_moved: bool,
    progress: BTreeMap<PartitionIndex, Progress>,
    stuck: BTreeMap<PartitionIndex, Stuck>,
    skipped: Vec<Skipped>,
    flushes: Vec<Flush>,
}

/// A caller who waits until everything that was committed when it asked is exported.
struct Flush {
    targets: BTreeMap<PartitionIndex, Offset>,
    answer: oneshot::Sender<Result<(), String>>,
}

impl<'a> Session<'a> {
    /// Loads, claims the table, and puts the files that commits name and the store lacks.
    async fn open(around: &'a Surroundings, shared: &'a Shared, folder: &str) -> Result<Self, TableError> {
        let topic = shared.topic();
        let writer =
            Writer { topic: topic.name.clone(), topic_id: topic.id, epoch: topic.epoch, name: around.writer.clone() };
        let nonces = Box::new(|| uuid::Uuid::new_v4().to_string());
        let commits = Commits::new(writer, Schema::new(topic.settings.key_format), nonces);
        let mut committer = Committer::new(around.objects.with_prefix(folder)?, commits);
        committer.load().await?;
        if !committer.commits().is_claimed() {
            committer.commit(Plan::default(), wall()).await?;
        }
        let mut session = Session {
            around,
            shared,
            draft: committer.commits().state().schema.clone(),
            changed: false,
            kinds: Kinds::of(&topic.settings),
            committer,
            state_moved: true,
            draft_moved: true,
            progress: BTreeMap::new(),
            stuck: BTreeMap::new(),
            skipped: Vec::new(),
            flushes: Vec::new(),
        };
        session.begin_draft(&topic);
        session.put_files(&topic, true).await?;
        session.publish();
        for index in topic.indexes() {
            shared.wake(index);
        }
        Ok(session)
    }

    /// Exports for ever; returns why it stopped.
    async fn work(&mut self) -> TableError {
        loop {
            match self.step().await {
                Ok(None) => self.shared.woken().await,
                Ok(Some(at)) => {
                    let left = at.saturating_sub(self.around.started.elapsed());
                    // Either ends the wait; the next step finds out what there is to do.
                    let _ = tokio::time::timeout(left, self.shared.woken()).await;
                }
                Err(error) => {
                    for flush in self.flushes.drain(..) {
                        // The caller of a flush waits as long as the export does; it is asked for again by the next session.
                        self.shared.keep_flush(flush.answer);
                    }
                    return error;
                }
            }
        }
    }

    /// Begins the draft with the settings of now; what waits for its file is shown to it once more.
    fn begin_draft(&mut self, topic: &TableTopic) {
        self.kinds = Kinds::of(&topic.settings);
        let Begun { draft, changed, refused } = draft::begin(self.committer.commits().state(), &topic.settings);
        (self.draft, self.changed, self.draft_moved) = (draft, changed, true);
        for (index, progress) in &mut self.progress {
            progress.scanned = progress.start;
            progress.waiting = Waiting { since: progress.waiting.since, ..Waiting::default() };
            self.shared.wake(*index);
        }
        if let Some(reason) = refused {
            tracing::warn!(topic = %topic.name, reason, "a setting of a table cannot change any more");
            self.shared.publish(|p| p.last_error = Some(happened(reason)));
        }
    }

    /// Scans what was woken and exports what is due, until nothing is; returns the next deadline.
    async fn step(&mut self) -> Result<Option<Duration>, TableError> {
        let topic = self.shared.topic();
        if self.kinds != Kinds::of(&topic.settings) {
            self.begin_draft(&topic);
        }
        let now = self.around.started.elapsed();
        let mut looked_at = self.shared.take_woken();
        looked_at.retain(|index| !self.stuck.contains_key(index));
        looked_at.extend(self.stuck.iter().filter(|(_, stuck)| stuck.until <= now).map(|(index, _)| *index));
        // What a stuck partition owes comes before what is new.
        self.put_files(&topic, true).await?;
        for (index, _) in self.committer.commits().state().unwritten() {
            looked_at.remove(&index);
        }
        for index in looked_at {
            let scanned = self.scan(&topic, index).await;
            self.settle(index, scanned)?;
        }
        self.take_flushes(&topic);
        let now = self.around.started.elapsed();
        let mut due = Vec::new();
        let mut next: Option<Duration> = self.stuck.values().map(|stuck| stuck.until).min();
        for (index, progress) in self.progress.iter().filter(|(index, _)| !self.stuck.contains_key(index)) {
            // What was passed over without a row before it is owed to the next commit, though nothing lies between start and end.
            let owed = !self.flushes.is_empty() && self.owes(*index);
            let asked = owed || self.flushes.iter().any(|flush| flush.wants(*index, progress));
            match progress.waiting.due(&topic.settings, now) {
                Due::Now => due.push(*index),
                Due::At(_) if asked => due.push(*index),
                Due::At(at) => next = Some(next.map_or(at, |soonest| soonest.min(at))),
                Due::Never => {}
            }
        }
        due.truncate(MAX_RANGES_PER_COMMIT);
        if !due.is_empty() {
            self.export(&topic, &due).await?;
            // What the rule left unread goes on at once.
            for index in due {
                self.shared.wake(index);
            }
        }
        self.publish();
        self.answer_flushes();
        Ok(next)
    }

    /// Takes the outcome of work on one partition. If its log is to blame it waits, alone; anything else ends the session.
    fn settle(&mut self, index: PartitionIndex, outcome: Result<(), TableError>) -> Result<(), TableError> {
        let error = match outcome {
            Ok(()) => {
                self.stuck.remove(&index);
                return Ok(());
            }
            Err(error @ (TableError::Log(_) | TableError::Write(_))) => error,
            Err(error) => return Err(error),
        };
        let wait = self.stuck.get(&index).map_or(RETRY_MIN_MS, |stuck| stuck.wait.saturating_mul(2).min(RETRY_MAX_MS));
        let until = self.around.started.elapsed().saturating_add(Duration::from_millis(wait));
        self.stuck.insert(index, Stuck { until, wait });
        let topic = self.shared.topic().name;
        if wait < TOLD_FROM_WAIT_MS {
            // A leader that is starting is no trouble yet.
            tracing::debug!(%topic, partition = %index, %error, "the export of a partition waits");
            return Ok(());
        }
        tracing::warn!(%topic, partition = %index, %error, "the export of a partition waits");
        self.shared.publish(|p| p.last_error = Some(happened(&format!("partition {index}: {error}"))));
        Ok(())
    }

    /// Reads new committed records of a partition up to the flush bound and shows them to the draft.
    async fn scan(&mut self, topic: &TableTopic, index: PartitionIndex) -> Result<(), TableError> {
        let id = topic.partition(index);
        let range = self.around.log.range(&id)?;
        let now = self.around.started.elapsed();
        let end = self.committer.commits().state().end(index);
        if let Some(end) = end.filter(|end| *end > range.end && !self.progress.contains_key(&index)) {
            return Err(TableError::Ended(log_is_behind(topic, index, range.end, end)));
        }
        let progress = self.progress.entry(index).or_insert_with(|| {
            let start = end.unwrap_or(range.log_start);
            Progress { start, scanned: start, waiting: Waiting::default() }
        });
        if range.log_start > progress.start {
            // Retention went ahead of the export. What was read of the gone records is read no more.
            let gone = Skipped { partition: index, start: progress.start, end: range.log_start };
            self.skipped.push(gone);
            let waiting = Waiting { since: Some(now), ..Waiting::default() };
            *progress = Progress { start: range.log_start, scanned: range.log_start, waiting };
        }
        loop {
            let Some(progress) = self.progress.get_mut(&index) else { return Ok(()) };
            if progress.scanned >= range.end || progress.waiting.is_full(&topic.settings) {
                return Ok(());
            }
            let from = progress.scanned;
            let batches = match self.around.log.read(&id, from, READ_BYTES).await {
                Ok(batches) => batches,
                Err(SourceError::OutOfRange { .. }) => {
                    // The log start moved meanwhile; the next scan sees it.
                    self.shared.wake(index);
                    return Ok(());
                }
                Err(SourceError::Damaged { end, reason }) if end > from => {
                    self.pass_over(index, end.min(range.end), &reason);
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            let integers = topic.settings.integers.clone();
            let mut draft = self.draft.clone();
            let scan = move || show(&mut draft, &integers, &batches, from..range.end).map(|shown| (draft, shown));
            let (draft, shown) = tokio::task::spawn_blocking(scan).await??;
            if shown.next <= from {
                return Err(SourceError::Unavailable(format!("no progress at offset {from}")).into());
            }
            self.draft = draft;
            self.changed |= shown.changed;
            self.draft_moved |= shown.changed;
            progress.scanned = shown.next;
            progress.waiting.rows += shown.rows;
            progress.waiting.bytes += shown.bytes;
            progress.waiting.since.get_or_insert(now);
        }
    }

    /// Goes on behind a damaged batch. If rows wait before it their file's range goes over it, and the commit before the file tells what is
    /// lost; without rows there will be no file, so that it is told with the next commit.
    fn pass_over(&mut self, index: PartitionIndex, end: Offset, reason: &str) {
        let now = self.around.started.elapsed();
        let Some(progress) = self.progress.get_mut(&index) else { return };
        progress.waiting.since.get_or_insert(now);
        progress.scanned = end;
        if progress.waiting.rows == 0 {
            self.skipped.push(Skipped { partition: index, start: progress.start, end });
            progress.start = end;
        }
        self.shared.publish(|p| p.last_error = Some(happened(&format!("passed over damage: {reason}"))));
    }

    /// Commits the waiting ranges of some partitions, then puts their files.
    async fn export(&mut self, topic: &TableTopic, due: &[PartitionIndex]) -> Result<(), TableError> {
        let mut plan = Plan { skipped: std::mem::take(&mut self.skipped), ..Plan::default() };
        if self.changed {
            self.draft.id = self.committer.commits().state().schema.id.saturating_add(1);
            plan.schema = Some(self.draft.clone());
        }
        for index in due {
            let Some(progress) = self.progress.get(index) else { continue };
            if progress.scanned > progress.start {
                plan.ranges.push(Range {
                    partition: *index,
                    start: progress.start,
                    end: progress.scanned,
                    rows: progress.waiting.rows,
                    file: (progress.waiting.rows > 0)
                        .then(|| file_key(&topic.name, *index, progress.start, progress.scanned)),
                });
            }
        }
        let skipped = plan.skipped.clone();
        self.committer.commit(plan, wall()).await?;
        self.changed = false;
        self.draft_moved = true;
        self.committed(topic, &skipped);
        for index in due {
            if let Some(progress) = self.progress.get_mut(index) {
                progress.start = progress.scanned;
                progress.waiting = Waiting::default();
            }
        }
        self.put_files(topic, false).await
    }

    fn committed(&mut self, topic: &TableTopic, skipped: &[Skipped]) {
        self.state_moved = true;
        report_skipped(topic, skipped);
        metrics::counter!("tidelog_table_commits_total", "topic" => topic.name.to_string()).increment(1);
        let moved = self.committer.commits().moved();
        self.shared.publish(|p| p.last_commit = moved);
    }

    /// Puts every file that a commit names and that is not known to be in the store.
    async fn put_files(&mut self, topic: &TableTopic, look_first: bool) -> Result<(), TableError> {
        let source = FileSource {
            log: Arc::clone(&self.around.log),
            topic: topic.clone(),
            writing: Arc::clone(&self.around.writing),
        };
        for (index, range) in self.committer.commits().state().unwritten() {
            if self.stuck.get(&index).is_some_and(|stuck| stuck.until > self.around.started.elapsed()) {
                continue;
            }
            let put = self.put_file(&source, index, range, look_first).await;
            self.settle(index, put)?;
        }
        Ok(())
    }

    /// Puts one file. What the log has lost since the commit that named it is committed before: the file alone does not tell.
    async fn put_file(
        &mut self,
        source: &FileSource,
        index: PartitionIndex,
        range: ExportedRange,
        look_first: bool,
    ) -> Result<(), TableError> {
        let topic = &source.topic;
        if look_first && let Some(written) = self.committer.find_file(topic, index, range).await? {
            self.file_put(topic, written);
            return Ok(());
        }
        let (file, lost) = source.encode(&self.committer.commits().state().schema, index, range).await?;
        // A try before this one may have committed some of it.
        let state = self.committer.commits().state();
        let skipped: Vec<Skipped> = lost.into_iter().flat_map(|lost| state.not_skipped(lost)).collect();
        if !skipped.is_empty() {
            let plan = Plan { skipped: skipped.clone(), ..Plan::default() };
            self.committer.commit(plan, wall()).await?;
            self.committed(topic, &skipped);
        }
        let written = self.committer.put_file(topic, index, range, file).await?;
        self.file_put(topic, written);
        Ok(())
    }

    fn file_put(&mut self, topic: &TableTopic, written: Written) {
        self.committer.file_written(written);
        self.state_moved = true;
        let labels = [("topic", topic.name.to_string())];
        metrics::counter!("tidelog_table_files_total", &labels).increment(1);
        metrics::counter!("tidelog_table_rows_total", &labels).increment(written.rows);
        metrics::counter!("tidelog_table_bytes_total", &labels).increment(written.bytes);
    }

    /// Fixes what each new wish for a flush covers; a partition whose end is not known lets it wait.
    fn take_flushes(&mut self, topic: &TableTopic) {
        for answer in self.shared.take_flushes() {
            let mut targets = BTreeMap::new();
            for index in topic.indexes() {
                if let Ok(range) = self.around.log.range(&topic.partition(index)) {
                    targets.insert(index, range.end);
                }
                self.shared.wake(index);
            }
            if targets.len() == topic.indexes().count() {
                self.flushes.push(Flush { targets, answer });
            } else {
                self.shared.keep_flush(answer);
            }
        }
    }

    /// True if a commit has yet to tell what the table lacks of a partition.
    fn owes(&self, index: PartitionIndex) -> bool {
        self.skipped.iter().any(|skipped| skipped.partition == index)
    }

    fn answer_flushes(&mut self) {
        for flush in std::mem::take(&mut self.flushes) {
            let is_met = |(index, end): (&PartitionIndex, &Offset)| {
                let exported = self.progress.get(index).is_some_and(|p| p.start >= *end);
                exported && !self.stuck.contains_key(index) && !self.owes(*index)
            };
            let met = flush.targets.iter().all(is_met);
            if met {
                // Whoever asked may have gone.
                let _ = flush.answer.send(Ok(()));
            } else {
                self.flushes.push(flush);
            }
        }
    }

    fn publish(&mut self) {
        let commits = self.committer.commits();
        let scanned = self.progress.iter().map(|(index, progress)| (*index, progress.scanned)).collect();
        let state = std::mem::take(&mut self.state_moved).then(|| Arc::new(commits.state().clone()));
        let draft = std::mem::take(&mut self.draft_moved).then(|| Arc::new(self.draft.clone()));
        let moved = commits.moved();
        self.shared.publish(|p| {
            p.phase = Phase::Running;
            p.state = state.or(p.state.take());
            p.draft = draft.or(p.draft.take());
            p.scanned = scanned;
            p.last_commit = moved;
        });
    }
}

impl Flush {
    fn wants(&self, index: PartitionIndex, progress: &Progress) -> bool {
        self.targets.get(&index).is_some_and(|end| progress.start < *end)
    }
}

/// What one read added.
struct Scanned {
    next: Offset,
    rows: u64,
    bytes: u64,
    changed: bool,
}

fn show(
    draft: &mut Schema,
    integers: &std::collections::BTreeSet<String>,
    batches: &CommittedBatches,
    range: std::ops::Range<Offset>,
) -> Result<Scanned, WriteError> {
    let mut inference = Inference::new(draft, integers);
    let (mut bytes, mut changed) = (0_u64, false);
    let decoded = decode::<BatchError>(batches, range, |shown| {
        let (Shown::Record(row) | Shown::Opaque(row)) = shown;
        bytes += row.bytes() as u64;
        if let (Shown::Record(_), Some(value)) = (shown, row.value) {
            changed |= inference.show(value);
        }
        Ok(())
    })?;
    Ok(Scanned { next: decoded.next, rows: decoded.rows, bytes, changed })
}

/// Nothing committed is ever taken back, but by a repair or a power cut that nothing was flushed before. New records of the same offsets would be
/// taken for exported ones.
fn log_is_behind(topic: &TableTopic, index: PartitionIndex, end: Offset, exported: Offset) -> String {
    let folder = table_folder(&topic.name, topic.id);
    format!(
        "partition {index} ends at offset {end}, and the table has rows up to offset {exported}, as after a repair of the log: stop the server and \
         move the cluster's folder tables/{folder} out of the object store, and what the log has is exported anew; keep the folder: rows that the \
         log has no more, also those before its start, are only there"
    )
}

fn report_skipped(topic: &TableTopic, skipped: &[Skipped]) {
    for range in skipped {
        let records = range.end.since(range.start);
        tracing::error!(
            topic = %topic.name, partition = %range.partition, start = %range.start, end = %range.end,
            "records were deleted before they were exported, or their batch is damaged: the table lacks {records} offsets"
        );
        metrics::counter!("tidelog_table_skipped_records_total", "topic" => topic.name.to_string()).increment(records);
    }
}

pub(super) fn wall() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

fn happened(what: &str) -> Happened {
    Happened { at: wall().get(), what: what.to_owned() }
}
