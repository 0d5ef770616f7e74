//! Carries out the effects of a manifest machine on the object store, each until the store has answered.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use tidelog_objects::{ObjectInfo, Objects, ObjectsError};
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, watch};

use crate::keys::{ObjectName, PartitionKey, PartitionKeys};
use crate::limits::{LIST_PAGE, MAX_BACKOFF, MAX_MANIFEST_BYTES, VERSION_READS};
use crate::manifest::{Event, Found, Image, Version};

/// One partition's objects.
#[derive(Clone)]
pub(crate) struct PartitionStore {
    pub(crate) objects: Objects,
    pub(crate) keys: PartitionKeys,
    pub(crate) min_backoff: Duration,
    /// Held for each request, never while waiting for the next try: one partition's trouble is not another's.
    pub(crate) permits: Arc<Semaphore>,
    pub(crate) writes: Writes,
    /// Told of every failure, and of the first success after it.
    pub(crate) report: Arc<dyn Fn(Option<String>) + Send + Sync>,
}

/// Requests that change the store, each on a task of its own. Whoever asked may end at any moment; the request reaches its end all the
/// same, and a deletion waits for it: otherwise it could land after everything was removed, and nobody would ever look for it.
#[derive(Clone)]
pub(crate) struct Writes {
    handle: Handle,
    flying: watch::Sender<usize>,
}

/// Counts as something on its way until it is dropped.
pub(crate) struct Flying(watch::Sender<usize>);

impl Drop for Flying {
    fn drop(&mut self) {
        self.0.send_modify(|flying| *flying = flying.saturating_sub(1));
    }
}

impl Writes {
    pub(crate) fn new(handle: Handle) -> Self {
        Writes { handle, flying: watch::Sender::new(0) }
    }

    /// Something is on its way.
    pub(crate) fn start(&self) -> Flying {
        self.flying.send_modify(|flying| *flying += 1);
        Flying(self.flying.clone())
    }

    /// Is nothing on its way?
    pub(crate) fn are_idle(&self) -> bool {
        *self.flying.borrow() == 0
    }

    /// Carries out one request to its end.
    pub(crate) async fn run<T: Send + 'static>(&self, request: impl Future<Output = T> + Send + 'static) -> Option<T> {
        let flying = self.start();
        let task = self.handle.spawn(async move {
            let _flying = flying;
            request.await
        });
        task.await.ok()
    }

    async fn request<T: Send + 'static>(
        &self,
        request: impl Future<Output = Result<T, ObjectsError>> + Send + 'static,
    ) -> Result<T, ObjectsError> {
        let lost = || ObjectsError::Unavailable("a request ended without an answer".to_owned());
        self.run(request).await.unwrap_or_else(|| Err(lost()))
    }

    /// Ready once nothing is on its way.
    pub(crate) async fn ended(&self) {
        // The sender is ours, so it cannot be gone.
        let _ = self.flying.subscribe().wait_for(|flying| *flying == 0).await;
    }
}

/// Doubles from try to try.
pub(crate) struct Backoff(Duration);

impl Backoff {
    pub(crate) const fn new(first: Duration) -> Self {
        Backoff(first)
    }

    pub(crate) async fn wait(&mut self) {
        tokio::time::sleep(self.0.mul_f64(rand::random_range(0.5..=1.0))).await;
        self.0 = self.0.saturating_mul(2).min(MAX_BACKOFF);
    }
}

impl PartitionStore {
    /// Tries until the store answers.
    async fn until_answered<T, F>(&self, mut request: impl FnMut() -> F) -> T
    where
        F: Future<Output = Result<T, ObjectsError>>,
    {
        let mut backoff = Backoff::new(self.min_backoff);
        let mut failed = false;
        loop {
            let answer = {
                let _permit = self.permits.acquire().await;
                request().await
            };
            match answer {
                Ok(answer) => {
                    if failed {
                        (self.report)(None);
                    }
                    return answer;
                }
                Err(error) => {
                    failed = true;
                    (self.report)(Some(error.to_string()));
                    backoff.wait().await;
                }
            }
        }
    }

    async fn get(&self, key: &str) -> Result<Option<Bytes>, ObjectsError> {
        match self.objects.get(key).await {
            Ok(bytes) if bytes.len() as u64 > MAX_MANIFEST_BYTES => {
                Err(ObjectsError::Other(format!("{key} has {} bytes", bytes.len())))
            }
            Ok(bytes) => Ok(Some(bytes)),
            Err(ObjectsError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(crate) async fn list_versions(&self, after: u64) -> Event {
        let start = (after > 0).then(|| self.keys.version(after));
        let found = self.list_all(&self.keys.versions(), start).await;
        let number = |object: &ObjectInfo| match self.keys.parse(&object.key) {
            Some(PartitionKey::Version(number)) => Some(number),
            _ => None,
        };
        Event::Listed(found.iter().filter_map(number).collect())
    }

    async fn list_all(&self, folder: &str, start: Option<String>) -> Vec<ObjectInfo> {
        let mut all: Vec<ObjectInfo> = Vec::new();
        loop {
            let after = all.last().map(|object| object.key.clone()).or_else(|| start.clone());
            let page = self.until_answered(|| self.objects.list(folder, after.as_deref(), LIST_PAGE)).await;
            let end = page.objects.is_empty() || !page.more;
            all.extend(page.objects);
            if end {
                return all;
            }
        }
    }

    pub(crate) async fn read_snapshot(&self, number: u64) -> Event {
        let key = self.keys.snapshot(number);
        let bytes = self.until_answered(|| self.get(&key)).await;
        Event::SnapshotRead(bytes.map(|bytes| Image::decode(&bytes)))
    }

    pub(crate) async fn read_versions(&self, first: u64, last: u64) -> Event {
        let reads = futures::stream::iter(first..=last).map(|number| async move {
            let key = self.keys.version(number);
            let bytes = self.until_answered(|| self.get(&key)).await;
            bytes.map(|bytes| (number, Version::decode(&bytes)))
        });
        let found: Vec<_> = reads.buffered(VERSION_READS).collect().await;
        Event::VersionsRead(found.into_iter().flatten().collect())
    }

    /// Sent once: only the machine may decide what an answer that did not come means.
    pub(crate) async fn create(&self, version: &Version, backoff: &mut Backoff) -> Event {
        let answer = {
            let _permit = self.permits.acquire().await;
            self.create_object(self.keys.version(version.number), version.encode().into()).await
        };
        match answer {
            Ok(()) => {
                (self.report)(None);
                Event::Created(true)
            }
            Err(ObjectsError::AlreadyExists { .. }) => {
                // Perhaps one that is still in flight (S3's 409), and then absent for another moment.
                backoff.wait().await;
                Event::Created(false)
            }
            Err(error) => {
                (self.report)(Some(error.to_string()));
                backoff.wait().await;
                Event::CreateUnclear
            }
        }
    }

    async fn create_object(&self, key: String, bytes: Bytes) -> Result<(), ObjectsError> {
        let objects = self.objects.clone();
        self.writes.request(async move { objects.create(&key, bytes).await }).await
    }

    pub(crate) async fn write_snapshot(&self, image: &Image) -> Event {
        let bytes = Bytes::from(image.encode());
        self.until_answered(|| {
            let (objects, key, bytes) = (self.objects.clone(), self.keys.snapshot(image.number), bytes.clone());
            self.writes.request(async move { objects.put(&key, bytes).await })
        })
        .await;
        Event::SnapshotWritten(image.number)
    }

    /// One request after another: a paused writer must never find a version whose predecessor outlived it.
    pub(crate) async fn delete_versions(&self, numbers: &[u64]) {
        for number in numbers {
            self.delete_keys(&[self.keys.version(*number)]).await;
        }
    }

    pub(crate) async fn delete_keys(&self, keys: &[String]) {
        self.until_answered(|| {
            let (objects, keys) = (self.objects.clone(), keys.to_vec());
            self.writes.request(async move { objects.delete_all(&keys).await })
        })
        .await;
    }

    pub(crate) async fn delete_snapshots(&self, numbers: &[u64]) {
        let keys: Vec<String> = numbers.iter().map(|number| self.keys.snapshot(*number)).collect();
        self.delete_keys(&keys).await;
    }

    pub(crate) async fn delete_objects(&self, names: &[ObjectName]) {
        let keys: Vec<String> = names.iter().map(|name| self.keys.segment(name)).collect();
        self.delete_keys(&keys).await;
        metrics::counter!("tidelog_tier_deleted_objects_total").increment(keys.len() as u64);
    }

    pub(crate) async fn list_objects(&self) -> Found {
        let mut found = Found::default();
        for object in self.list_all(self.keys.folder(), None).await {
            match self.keys.parse(&object.key) {
                Some(PartitionKey::Segment(name)) => found.segments.push((name, object.modified)),
                Some(PartitionKey::Version(number)) => found.versions.push((number, object.modified)),
                Some(PartitionKey::Snapshot(number)) => found.snapshots.push(number),
                // Not ours to judge.
                None => {}
            }
        }
        found
    }

    /// Everything of the partition, the versions last and in ascending order; then the topic's description, if nothing else is left.
    pub(crate) async fn delete_all(&self) {
        let found = self.list_objects().await;
        let names: Vec<ObjectName> = found.segments.into_iter().map(|(name, _)| name).collect();
        self.delete_objects(&names).await;
        self.delete_snapshots(&found.snapshots).await;
        let numbers: Vec<u64> = found.versions.into_iter().map(|(number, _)| number).collect();
        self.delete_versions(&numbers).await;
        // Partitions are numbers, and sort before `topic`: the first key tells whether any is left.
        let topic = self.keys.topic_folder();
        let first = self.until_answered(|| self.objects.list(topic, None, 1)).await.objects;
        let folder = self.keys.descriptions();
        if first.iter().all(|object| object.key.starts_with(&folder)) {
            let left = self.list_all(&folder, None).await;
            let keys: Vec<String> = left.into_iter().map(|object| object.key).collect();
            self.delete_keys(&keys).await;
        }
    }

    /// Writes the newest description of the topic, unless the store has it.
    pub(crate) async fn describe(&self, description: &crate::topic::TopicDescription) {
        let folder = self.keys.descriptions();
        let bytes = Bytes::from(description.encode());
        loop {
            let found = self.list_all(&folder, None).await;
            let mut old: Vec<String> = found.into_iter().map(|object| object.key).collect();
            let newest = old.last().cloned();
            if let Some(key) = &newest
                && self.until_answered(|| self.get(key)).await.is_some_and(|there| there == bytes)
            {
                // Perhaps our own, whose answer was lost.
                old.pop();
                self.delete_keys(&old).await;
                return;
            }
            let number = newest.and_then(|key| key.rsplit('/').next().and_then(|n| n.parse::<u64>().ok())).unwrap_or(0);
            let key = format!("{folder}/{:020}", number.saturating_add(1));
            let created = self
                .until_answered(|| async {
                    match self.create_object(key.clone(), bytes.clone()).await {
                        Ok(()) => Ok(true),
                        Err(ObjectsError::AlreadyExists { .. }) => Ok(false),
                        Err(error) => Err(error),
                    }
                })
                .await;
            if created {
                self.delete_keys(&old).await;
                return;
            }
        }
    }
}
