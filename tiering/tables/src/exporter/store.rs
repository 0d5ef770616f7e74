//! Carries out what the commit machine asks for, and puts files. Decides nothing about commits: it reports what the store said.

use std::collections::VecDeque;
use std::sync::Arc;

use tidelog_model::{PartitionIndex, Timestamp};
use tidelog_objects::{Objects, ObjectsError};
use tokio::sync::Semaphore;

use crate::commit::{
    COMMITS, Commits, Effect, Event, ExportedRange, Outcome, Plan, Skipped, Written, commit_key, commit_number,
    file_key,
};
use crate::infer::Schema;
use crate::limits::{MAX_COMMIT_BYTES, READ_BYTES};
use crate::source::{CommittedLog, SourceError, TableTopic};
use crate::writer::{FileBytes, FileWriter, WriteError, rows_of};

/// Why a table's work stopped for now.
#[derive(Debug, thiserror::Error)]
pub(super) enum TableError {
    #[error("{0}")]
    Store(#[from] ObjectsError),
    #[error("{0}")]
    Log(#[from] SourceError),
    #[error("{0}")]
    Write(#[from] WriteError),
    #[error("a background task ended: {0}")]
    Task(#[from] tokio::task::JoinError),
    /// Another writer committed first: load again.
    #[error("another writer committed first")]
    Superseded,
    /// Stop for good.
    #[error("{0}")]
    Ended(String),
}

/// One table's commits in its store.
pub(super) struct Committer {
    /// The store at the table's folder.
    objects: Objects,
    commits: Commits,
}

impl Committer {
    /// `objects` stands at the table's folder.
    pub(super) fn new(objects: Objects, commits: Commits) -> Self {
        Committer { objects, commits }
    }

    pub(super) fn commits(&self) -> &Commits {
        &self.commits
    }

    /// Learns the newest state.
    pub(super) async fn load(&mut self) -> Result<(), TableError> {
        self.drive(Event::Load).await.map(|_| ())
    }

    /// Makes one commit; returns its number.
    pub(super) async fn commit(&mut self, plan: Plan, at: Timestamp) -> Result<u64, TableError> {
        match self.drive(Event::Propose { plan, at }).await? {
            Outcome::Committed(number) => Ok(number),
            Outcome::Unanswered => Err(TableError::Store(ObjectsError::Unavailable("it takes no commit".to_owned()))),
            _ => Err(TableError::Superseded),
        }
    }

    /// A file that a commit named is in the store.
    pub(super) fn file_written(&mut self, written: Written) {
        self.commits.apply(Event::FileWritten(written));
    }

    async fn drive(&mut self, event: Event) -> Result<Outcome, TableError> {
        let mut effects = VecDeque::from(self.commits.apply(event));
        let mut outcome = None;
        while let Some(effect) = effects.pop_front() {
            let event = match effect {
                Effect::List => Event::Listed(self.list().await?),
                Effect::Read(number) => Event::Read { number, body: self.read(number).await? },
                Effect::Create { number, body } => self.create(number, body).await?,
                Effect::Delete(numbers) => Event::DeletedBelow(self.delete(&numbers).await),
                Effect::Done(Outcome::Fenced(epoch)) => {
                    return Err(TableError::Ended(format!("a later leader (epoch {epoch}) commits this table")));
                }
                Effect::Done(Outcome::Broken(reason)) => return Err(TableError::Ended(reason)),
                Effect::Done(done) => {
                    outcome = Some(done);
                    continue;
                }
            };
            effects.extend(self.commits.apply(event));
        }
        // Every event that starts work ends with an outcome; anything else is treated as a reason to load again.
        outcome.ok_or(TableError::Superseded)
    }

    async fn list(&self) -> Result<Vec<u64>, TableError> {
        let mut numbers = Vec::new();
        let mut after: Option<String> = None;
        loop {
            let page = self.objects.list(COMMITS, after.as_deref(), 1_000).await?;
            numbers.extend(page.objects.iter().filter_map(|object| commit_number(&object.key)));
            match page.objects.last() {
                Some(last) if page.more => after = Some(last.key.clone()),
                _ => return Ok(numbers),
            }
        }
    }

    async fn read(&self, number: u64) -> Result<Option<Vec<u8>>, TableError> {
        let key = commit_key(number);
        match self.size(&key).await? {
            None => return Ok(None),
            Some(size) if size > MAX_COMMIT_BYTES as u64 => {
                return Err(TableError::Ended(format!(
                    "commit {number} has {size} bytes, at most {MAX_COMMIT_BYTES} are read"
                )));
            }
            Some(_) => {}
        }
        match self.objects.get(&key).await {
            Ok(bytes) => Ok(Some(bytes.into())),
            Err(ObjectsError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    async fn create(&self, number: u64, body: Vec<u8>) -> Result<Event, TableError> {
        if body.len() > MAX_COMMIT_BYTES / 2 {
            let bytes = body.len();
            tracing::warn!(
                number,
                bytes,
                most = MAX_COMMIT_BYTES,
                "a table has so many files that its export will end soon"
            );
        }
        match self.objects.create(&commit_key(number), body).await {
            Ok(()) => Ok(Event::Created),
            Err(ObjectsError::AlreadyExists { .. } | ObjectsError::Unavailable(_)) => Ok(Event::Unsettled),
            Err(error) => Err(error.into()),
        }
    }

    async fn size(&self, key: &str) -> Result<Option<u64>, TableError> {
        match self.objects.head(key).await {
            Ok(info) => Ok(Some(info.size)),
            Err(ObjectsError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// One by one: a sleeping writer tells from its predecessor's absence that its successors are gone too.
    async fn delete(&self, numbers: &[u64]) -> u64 {
        for number in numbers {
            if let Err(error) = self.objects.delete(&commit_key(*number)).await {
                tracing::debug!(number, %error, "an old table commit was not deleted; the next snapshot tries again");
                return *number;
            }
        }
        numbers.last().map_or(0, |last| last.saturating_add(1))
    }

    /// Is the file of a committed range in the store, put by a try that ended before it was confirmed?
    pub(super) async fn find_file(
        &self,
        topic: &TableTopic,
        partition: PartitionIndex,
        range: ExportedRange,
    ) -> Result<Option<Written>, TableError> {
        let key = file_key(&topic.name, partition, range.start, range.end);
        let Some(bytes) = self.size(&key).await? else { return Ok(None) };
        let whole = Skipped { partition, start: range.start, end: range.end };
        if self.commits.state().not_skipped(whole) == [whole] {
            return Ok(Some(Written { partition, start: range.start, rows: range.rows, bytes }));
        }
        // The range was announced with rows that the file does not have.
        let rows = rows_of(self.objects.get(&key).await?);
        Ok(rows.map(|rows| Written { partition, start: range.start, rows, bytes }))
    }

    /// Puts the file of a committed range.
    pub(super) async fn put_file(
        &self,
        topic: &TableTopic,
        partition: PartitionIndex,
        range: ExportedRange,
        file: FileBytes,
    ) -> Result<Written, TableError> {
        let bytes = file.bytes.len() as u64;
        self.objects.put(&file_key(&topic.name, partition, range.start, range.end), file.bytes).await?;
        Ok(Written { partition, start: range.start, rows: file.rows, bytes })
    }
}

/// From where files are made.
pub(super) struct FileSource {
    pub(super) log: Arc<dyn CommittedLog>,
    pub(super) topic: TableTopic,
    /// Bounds the files in memory over all tables.
    pub(super) writing: Arc<Semaphore>,
}

impl FileSource {
    /// Reads a range and encodes its file, a chunk at a time and off the async workers. Returns it with what the log had lost.
    pub(super) async fn encode(
        &self,
        schema: &Schema,
        partition: PartitionIndex,
        range: ExportedRange,
    ) -> Result<(FileBytes, Vec<Skipped>), TableError> {
        // The semaphore is never closed; without a permit the file is merely not counted.
        let _permit = self.writing.acquire().await.ok();
        let id = self.topic.partition(partition);
        let mut writer = FileWriter::new(schema, id.clone(), range.start, range.end)?;
        let mut lost = Vec::new();
        while writer.next() < range.end {
            let from = writer.next();
            match self.log.read(&id, from, READ_BYTES).await {
                Ok(batches) => {
                    writer = tokio::task::spawn_blocking(move || writer.add(&batches).map(|()| writer)).await??;
                    if writer.next() <= from {
                        return Err(SourceError::Unavailable(format!("no progress at offset {from}")).into());
                    }
                }
                Err(SourceError::OutOfRange { log_start }) if log_start > from => {
                    lost.push(Skipped { partition, start: from, end: log_start.min(range.end) });
                    writer.skip_to(log_start);
                }
                Err(SourceError::Damaged { end, .. }) if end > from => {
                    lost.push(Skipped { partition, start: from, end: end.min(range.end) });
                    writer.skip_to(end);
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok((tokio::task::spawn_blocking(move || writer.finish()).await??, lost))
    }
}
