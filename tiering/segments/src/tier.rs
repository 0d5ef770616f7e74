//! The cold tier of one broker: implements the log's port over an object store. Decides which partition gets which part of the
//! limits; all else is decided by each partition's manifest machine.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use parking_lot::RwLock;
use tidelog_log::remote::{BoxFuture, RemoteBatches, RemoteError, RemoteExtent, RemoteLog, TimestampedOffset};
use tidelog_log::{LocalLog, OsDisk, SegmentInfo};
use tidelog_model::{LeaderEpoch, Offset, Timestamp, TopicIdPartition};
use tidelog_objects::{Objects, ObjectsError, Requests};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use uuid::Uuid;

use crate::cache::ChunkCache;
use crate::describe::Descriptions;
use crate::known;
use crate::limits::{DISK_TURNS, TierLimits};
use crate::manifest::{Entry, Image, Stop};
use crate::partition::{Partition, Shared};
use crate::reader::ColdReader;
use crate::topic::TopicDescription;

/// Why a tier could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TierError {
    /// The cluster id cannot be part of an object key.
    #[error("the cluster id cannot be part of a key: {0}")]
    ClusterId(#[from] ObjectsError),
    /// The cache folder cannot be used.
    #[error("the cold tier's cache folder: {0}")]
    Cache(#[from] std::io::Error),
}

/// What `tier status` shows.
#[derive(Clone, Debug)]
pub struct TierStatus {
    /// The store's URL.
    pub url: String,
    /// Requests to the store so far.
    pub requests: Requests,
    /// Bytes in the local cache of chunks.
    pub cache_bytes: u64,
    /// Every partition that this broker knows, in order.
    pub partitions: Vec<PartitionStatus>,
}

/// One partition in [`TierStatus`].
#[derive(Clone, Debug)]
pub struct PartitionStatus {
    /// Which one.
    pub partition: TopicIdPartition,
    /// First remote offset and the first that is not remote; `None` while the manifest is unknown.
    pub remote: Option<(Offset, Offset)>,
    /// Segment objects that the manifest names.
    pub segments: usize,
    /// Their bytes.
    pub bytes: u64,
    /// The manifest's newest version.
    pub version: u64,
    /// First offset of the upload at work.
    pub uploading: Option<Offset>,
    /// The last failure, until the next success.
    pub last_error: Option<String>,
    /// Why this broker writes the manifest no longer.
    pub stopped: Option<Stop>,
}

/// The cold tier. Cheap to clone; dropping the last clone ends its work.
#[derive(Clone)]
pub struct Tier {
    inner: Arc<Inner>,
}

struct Inner {
    shared: Arc<Shared>,
    cache: Arc<ChunkCache>,
    reader: Arc<ColdReader>,
    partitions: RwLock<HashMap<TopicIdPartition, Arc<Partition>>>,
    descriptions: Descriptions,
}

impl Inner {
    fn forget(&self, id: &TopicIdPartition, if_so: impl Fn(&Partition) -> bool) {
        self.partitions.write().retain(|known, partition| known != id || !if_so(partition));
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.descriptions.abandon();
        self.partitions.get_mut().values().for_each(|partition| partition.abandon());
    }
}

impl Tier {
    /// A tier in `objects`, below the cluster's id. `cache` is a folder of this tier alone; its chunks are emptied. Blocks briefly on
    /// the local disk; the store is not asked for anything yet.
    pub fn new(
        objects: &Objects,
        cluster_id: &str,
        cache: &Path,
        limits: TierLimits,
        handle: Handle,
    ) -> Result<Self, TierError> {
        let objects = objects.with_prefix(cluster_id)?;
        let manifest_folder = known::folder(cache);
        std::fs::create_dir_all(&manifest_folder)?;
        let chunks = ChunkCache::open(
            &cache.join("chunks"),
            Arc::new(OsDisk),
            limits.cache_bytes,
            limits.downloads,
            objects.clone(),
            handle.clone(),
        )?;
        let reader = ColdReader::new(Arc::clone(&chunks), limits.chunk_bytes, limits.read_ahead);
        let shared = Shared {
            objects,
            limits,
            handle,
            writer: Uuid::new_v4(),
            uploads: Arc::new(Semaphore::new(limits.uploads.max(1))),
            manifests: Arc::new(Semaphore::new(limits.manifests.max(1))),
            disk: Arc::new(Semaphore::new(DISK_TURNS)),
            manifest_folder,
        };
        Ok(Tier {
            inner: Arc::new(Inner {
                shared: Arc::new(shared),
                cache: chunks,
                reader: Arc::new(reader),
                partitions: RwLock::default(),
                descriptions: Descriptions::default(),
            }),
        })
    }

    /// Writes what the bucket says about a topic; to be called when it is created and when its configuration changes.
    /// Returns at once and is repeated until the store has it.
    pub fn describe_topic(&self, description: TopicDescription) {
        self.inner.descriptions.describe(&self.inner.shared, description);
    }

    /// What is where, and what went wrong last.
    pub fn status(&self) -> TierStatus {
        let known: Vec<Arc<Partition>> = self.inner.partitions.read().values().cloned().collect();
        let active = known.iter().filter(|partition| partition.is_active());
        let mut partitions: Vec<PartitionStatus> = active.map(|partition| status_of(partition)).collect();
        partitions.sort_by(|a, b| a.partition.cmp(&b.partition));
        let objects = &self.inner.shared.objects;
        TierStatus {
            url: objects.url().to_owned(),
            requests: objects.counts().requests(),
            cache_bytes: self.inner.cache.bytes(),
            partitions,
        }
    }

    /// Is there a partition of which the store lacks what it had? It is another store then, or one that was emptied or set back.
    pub fn misses_manifests(&self) -> bool {
        let partitions = self.inner.partitions.read();
        partitions.values().any(|known| known.progress.lock().stopped == Some(Stop::Gone))
    }

    /// Is there a partition whose next segment is damaged, so that nothing of it is uploaded any more?
    pub fn is_blocked(&self) -> bool {
        self.inner.partitions.read().values().any(|known| known.progress.lock().blocked)
    }

    fn find(&self, partition: &TopicIdPartition) -> Option<Arc<Partition>> {
        self.inner.partitions.read().get(partition).cloned()
    }

    /// The partition, added if it is new. `prepare` runs under the lock, so that it is not forgotten between the two.
    fn find_or_add(&self, partition: &TopicIdPartition, prepare: impl FnOnce(&Arc<Partition>)) -> Arc<Partition> {
        let mut partitions = self.inner.partitions.write();
        let known =
            partitions.entry(partition.clone()).or_insert_with(|| Partition::new(partition, &self.inner.shared));
        prepare(known);
        Arc::clone(known)
    }

    /// The partition's manifest, or why a reader has to wait.
    fn image(&self, partition: &TopicIdPartition) -> Result<(Arc<Partition>, Arc<Image>), RemoteError> {
        let unknown = || RemoteError::Unavailable("the manifest is not known yet".to_owned());
        let partition = self.find(partition).ok_or_else(unknown)?;
        let image = partition.image.read().clone().ok_or_else(unknown)?;
        Ok((partition, image))
    }

    /// Reads by the present manifest, and once more by a newer one if there is one by the time that this fails: an object may go while
    /// it is read. Without a manifest nothing is known to be lost.
    fn with_image<T, F>(
        &self,
        partition: &TopicIdPartition,
        read: impl Fn(Arc<Partition>, Arc<Image>) -> F + Send + Sync + 'static,
    ) -> BoxFuture<'static, Result<T, RemoteError>>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, RemoteError>> + Send + 'static,
    {
        let (tier, found) = (self.clone(), self.image(partition));
        Box::pin(async move {
            let (partition, image) = found?;
            let answer = read(Arc::clone(&partition), Arc::clone(&image)).await;
            if !matches!(answer, Err(RemoteError::Unavailable(_) | RemoteError::Corrupt(_))) {
                return answer;
            }
            match tier.image(&partition.id)? {
                (partition, newer) if newer.number != image.number => read(partition, newer).await,
                _ => answer,
            }
        })
    }
}

fn status_of(partition: &Partition) -> PartitionStatus {
    let image = partition.image.read().clone();
    let progress = partition.progress.lock().clone();
    PartitionStatus {
        partition: partition.id.clone(),
        remote: image.as_ref().map(|image| (image.start(), image.next)),
        segments: image.as_ref().map_or(0, |image| image.entries.len()),
        bytes: image.as_ref().map_or(0, |image| image.entries.iter().map(|entry| entry.size).sum()),
        version: image.as_ref().map_or(0, |image| image.number),
        uploading: progress.uploading,
        last_error: progress.last_error,
        stopped: progress.stopped,
    }
}

impl RemoteLog for Tier {
    fn lead(&self, partition: &TopicIdPartition, epoch: LeaderEpoch, source: Arc<dyn LocalLog>) {
        self.find_or_add(partition, |known| known.lead(&self.inner.shared, epoch, source));
    }

    fn resign(&self, partition: &TopicIdPartition) {
        let Some(known) = self.find(partition) else { return };
        known.resign();
        // Until its last request has come to its end, a deletion must find it here.
        let tier = Arc::downgrade(&self.inner);
        self.inner.shared.handle.spawn(async move {
            known.quiet().await;
            if let Some(inner) = tier.upgrade() {
                inner.forget(&known.id, Partition::is_over);
            }
        });
    }

    fn remembers(&self, partition: &TopicIdPartition) -> bool {
        // Cheaper than to look into it; a leadership that finds nothing does no harm.
        known::file(&self.inner.shared.manifest_folder, partition).exists()
    }

    fn extent(&self, partition: &TopicIdPartition) -> RemoteExtent {
        match self.image(partition) {
            Ok((_, image)) => RemoteExtent::Known { start: image.start(), end: image.next },
            Err(_) => RemoteExtent::Unknown,
        }
    }

    fn segments(&self, partition: &TopicIdPartition) -> Option<Vec<SegmentInfo>> {
        let (_, image) = self.image(partition).ok()?;
        let info = |entry: &Arc<Entry>| SegmentInfo {
            base: entry.base,
            end: entry.end,
            size: entry.size,
            // Records without a time, of which nobody said when they were written, are not of 1970.
            first_timestamp: Some(entry.first_timestamp).filter(|first| *first > Timestamp::NONE),
            max_timestamp: Some(entry.max_timestamp).filter(|newest| *newest > Timestamp::NONE),
            modified: None,
            closed: true,
        };
        Some(image.entries.iter().map(info).collect())
    }

    fn wake(&self, partition: &TopicIdPartition) {
        if let Some(partition) = self.find(partition) {
            partition.wake(&self.inner.shared);
        }
    }

    fn read(
        &self,
        partition: &TopicIdPartition,
        offset: Offset,
        max_bytes: usize,
    ) -> BoxFuture<'static, Result<RemoteBatches, RemoteError>> {
        let reader = Arc::clone(&self.inner.reader);
        self.with_image(partition, move |partition, image| {
            let reader = Arc::clone(&reader);
            async move { reader.read(&partition.keys, &image, offset, max_bytes).await }
        })
    }

    fn find_timestamp(
        &self,
        partition: &TopicIdPartition,
        at: Timestamp,
    ) -> BoxFuture<'static, Result<Option<TimestampedOffset>, RemoteError>> {
        let reader = Arc::clone(&self.inner.reader);
        self.with_image(partition, move |partition, image| {
            let reader = Arc::clone(&reader);
            async move { reader.find_timestamp(&partition.keys, &image, at).await }
        })
    }

    fn delete(&self, partition: &TopicIdPartition) -> BoxFuture<'static, Result<(), RemoteError>> {
        let known = self.find_or_add(partition, |known| known.expect_deletion());
        let (shared, inner) = (Arc::clone(&self.inner.shared), Arc::downgrade(&self.inner));
        let descriptions = self.inner.descriptions.clone();
        // The work begins now, and goes on when nobody waits for it any more.
        let deletion = self.inner.shared.handle.spawn(async move {
            // What the bucket says about a topic goes with its last partition, so nobody may be about to write it.
            descriptions.end(known.id.id).await;
            let outcome = known.delete(&shared).await;
            known.deleted(&shared);
            if let Some(inner) = inner.upgrade() {
                inner.forget(&known.id, |partition| !partition.is_active());
            }
            outcome
        });
        Box::pin(async move { deletion.await.unwrap_or_else(|e| Err(RemoteError::Unavailable(e.to_string()))) })
    }
}
