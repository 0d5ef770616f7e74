//! The disk cache of object chunks. Decides what stays on the local disk; never what is true: every batch is verified after it.
//!
//! An object of at most one chunk is one chunk. A larger one has chunks of that size over its log and one more for all that
//! follows the log. A chunk is one GET, shared by everyone who waits for it; the download goes on when they have left.
//! Files are `<object id>-<chunk>` in a folder that is emptied at start.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::{BoxFuture, Shared};
use parking_lot::Mutex;
use tidelog_log::{Disk, RemoteError};
use tidelog_objects::{Objects, ObjectsError};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use uuid::Uuid;

/// The part of a large object behind its log.
pub(crate) const TAIL: u32 = u32::MAX;

/// Names one chunk.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct ChunkKey {
    pub(crate) object: Uuid,
    pub(crate) chunk: u32,
}

/// The bytes of a chunk: just downloaded, or a file.
#[derive(Clone, Debug)]
pub(crate) enum Chunk {
    Memory(Bytes),
    File(Arc<File>),
}

impl Chunk {
    /// Reads bytes `range` of the chunk, off the async workers.
    pub(crate) async fn read(&self, range: Range<u64>) -> Result<Bytes, RemoteError> {
        let len = usize::try_from(range.end.saturating_sub(range.start)).unwrap_or(usize::MAX);
        match self {
            Chunk::Memory(bytes) => {
                let start = usize::try_from(range.start).unwrap_or(usize::MAX);
                let end = start.saturating_add(len);
                if end > bytes.len() {
                    return Err(RemoteError::Corrupt("a chunk is shorter than its object".to_owned()));
                }
                Ok(bytes.slice(start..end))
            }
            Chunk::File(file) => {
                let file = Arc::clone(file);
                let read = tokio::task::spawn_blocking(move || {
                    let mut bytes = vec![0; len];
                    file.read_exact_at(&mut bytes, range.start).map(|()| Bytes::from(bytes))
                });
                match read.await {
                    Ok(Ok(bytes)) => Ok(bytes),
                    Ok(Err(e)) => Err(RemoteError::Corrupt(format!("reading a cached chunk: {e}"))),
                    Err(e) => Err(RemoteError::Unavailable(e.to_string())),
                }
            }
        }
    }
}

type Flight = Shared<BoxFuture<'static, Result<Chunk, RemoteError>>>;

#[derive(Default)]
struct State {
    /// Length and last use of each file.
    files: HashMap<ChunkKey, (u64, u64)>,
    by_use: BTreeMap<u64, ChunkKey>,
    bytes: u64,
    /// Bytes of chunks that are being written.
    reserved: u64,
    clock: u64,
    flying: HashMap<ChunkKey, Flight>,
}

impl State {
    fn touch(&mut self, key: ChunkKey) -> bool {
        self.clock += 1;
        let now = self.clock;
        match self.files.get_mut(&key) {
            Some((_, used)) => {
                self.by_use.remove(used);
                *used = now;
                self.by_use.insert(now, key);
                true
            }
            None => false,
        }
    }

    fn insert(&mut self, key: ChunkKey, len: u64) {
        self.remove(key);
        self.clock += 1;
        self.files.insert(key, (len, self.clock));
        self.by_use.insert(self.clock, key);
        self.bytes += len;
    }

    fn remove(&mut self, key: ChunkKey) -> bool {
        match self.files.remove(&key) {
            Some((len, used)) => {
                self.by_use.remove(&used);
                self.bytes -= len;
                true
            }
            None => false,
        }
    }
}

/// The cache of one [`crate::Tier`].
pub(crate) struct ChunkCache {
    folder: PathBuf,
    /// Where the folder is; asked only what room there is.
    disk: Arc<dyn Disk>,
    limit: u64,
    objects: Objects,
    handle: Handle,
    downloads: Semaphore,
    state: Mutex<State>,
}

impl ChunkCache {
    /// Empties `folder` (created if absent): what a dead process left is not known to be whole. Blocks.
    pub(crate) fn open(
        folder: &Path,
        disk: Arc<dyn Disk>,
        limit: u64,
        downloads: usize,
        objects: Objects,
        handle: Handle,
    ) -> std::io::Result<Arc<Self>> {
        std::fs::create_dir_all(folder)?;
        for entry in std::fs::read_dir(folder)? {
            std::fs::remove_file(entry?.path())?;
        }
        Ok(Arc::new(ChunkCache {
            folder: folder.to_owned(),
            disk,
            limit,
            objects,
            handle,
            downloads: Semaphore::new(downloads.max(1)),
            state: Mutex::default(),
        }))
    }

    fn path(&self, key: ChunkKey) -> PathBuf {
        self.folder.join(format!("{}-{}", key.object.simple(), key.chunk))
    }

    /// Bytes on disk now.
    pub(crate) fn bytes(&self) -> u64 {
        self.state.lock().bytes
    }

    /// Is it on disk or on its way?
    pub(crate) fn has(&self, key: ChunkKey) -> bool {
        let state = self.state.lock();
        state.files.contains_key(&key) || state.flying.contains_key(&key)
    }

    /// Forgets every chunk of an object: what came back was wrong.
    pub(crate) fn forget(&self, object: Uuid) {
        let mut state = self.state.lock();
        let keys: Vec<ChunkKey> = state.files.keys().copied().filter(|key| key.object == object).collect();
        let paths: Vec<PathBuf> = keys.iter().map(|key| self.path(*key)).collect();
        for key in keys {
            state.remove(key);
        }
        // A chunk that is fetched again meanwhile and loses its file is only a miss.
        self.handle.spawn_blocking(move || paths.iter().for_each(|path| drop(std::fs::remove_file(path))));
    }

    /// The chunk: from disk, from a download at work, or from a new one.
    pub(crate) async fn get(
        self: &Arc<Self>,
        key: ChunkKey,
        object_key: &str,
        range: Range<u64>,
    ) -> Result<Chunk, RemoteError> {
        loop {
            if let Some(chunk) = self.cached(key).await {
                metrics::counter!("tidelog_tier_cache_hits_total").increment(1);
                return Ok(chunk);
            }
            if let Some(flight) = self.fetch(key, object_key, range.clone()) {
                return flight.await;
            }
        }
    }

    async fn cached(self: &Arc<Self>, key: ChunkKey) -> Option<Chunk> {
        if !self.state.lock().touch(key) {
            return None;
        }
        let path = self.path(key);
        match tokio::task::spawn_blocking(move || File::open(path)).await {
            Ok(Ok(file)) => Some(Chunk::File(Arc::new(file))),
            // Evicted meanwhile, or somebody tidied up: the store still has it.
            _ => {
                self.state.lock().remove(key);
                None
            }
        }
    }

    /// Joins or starts the download; `None` if it has arrived since the caller looked.
    pub(crate) fn fetch(self: &Arc<Self>, key: ChunkKey, object_key: &str, range: Range<u64>) -> Option<Flight> {
        let mut state = self.state.lock();
        if let Some(flight) = state.flying.get(&key) {
            return Some(flight.clone());
        }
        if state.files.contains_key(&key) {
            return None;
        }
        metrics::counter!("tidelog_tier_cache_misses_total").increment(1);
        let (cache, object_key) = (Arc::clone(self), object_key.to_owned());
        let download = self.handle.spawn(async move {
            let got = cache.download(key, &object_key, range).await;
            cache.state.lock().flying.remove(&key);
            got
        });
        let flight = download
            .map(|joined| match joined {
                Ok(got) => got,
                Err(e) => Err(RemoteError::Unavailable(format!("a download ended: {e}"))),
            })
            .boxed()
            .shared();
        state.flying.insert(key, flight.clone());
        Some(flight)
    }

    async fn download(
        self: &Arc<Self>,
        key: ChunkKey,
        object_key: &str,
        range: Range<u64>,
    ) -> Result<Chunk, RemoteError> {
        let _permit = self.downloads.acquire().await.map_err(|e| RemoteError::Unavailable(e.to_string()))?;
        let bytes = match self.objects.get_range(object_key, range).await {
            Ok(bytes) => bytes,
            Err(ObjectsError::Other(text)) => return Err(RemoteError::Corrupt(text)),
            // Unless the manifest has moved on, which the caller looks at, an object is lost, and somebody must hear of it.
            Err(error @ ObjectsError::NotFound { .. }) => return Err(RemoteError::Corrupt(error.to_string())),
            Err(error) => return Err(RemoteError::Unavailable(error.to_string())),
        };
        let (cache, kept) = (Arc::clone(self), bytes.clone());
        let stored = tokio::task::spawn_blocking(move || cache.store(key, &kept)).await;
        match stored {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "the cache of cold chunks cannot be written"),
            Err(error) => tracing::warn!(%error, "the cache of cold chunks cannot be written"),
        }
        Ok(Chunk::Memory(bytes))
    }

    /// Writes one file and makes room. Never flushed: after a crash the folder is emptied.
    fn store(&self, key: ChunkKey, bytes: &Bytes) -> std::io::Result<()> {
        let len = bytes.len() as u64;
        // What is left of a nearly full disk is for what nobody else has.
        if self.disk.space(&self.folder).is_some_and(|space| !space.has(len)) {
            return Ok(());
        }
        let Some(evicted) = self.make_room(len) else { return Ok(()) };
        for key in evicted {
            let _ = std::fs::remove_file(self.path(key));
        }
        let path = self.path(key);
        let written = std::fs::write(&path, bytes);
        let mut state = self.state.lock();
        state.reserved -= len;
        match written {
            Ok(()) => {
                state.insert(key, len);
                metrics::gauge!("tidelog_tier_cache_bytes").set(state.bytes as f64);
            }
            Err(_) => drop(std::fs::remove_file(&path)),
        }
        written
    }

    /// Takes the least recently used chunks off the list until `len` more bytes fit beside what is being written, and reserves them;
    /// `None` if they cannot.
    fn make_room(&self, len: u64) -> Option<Vec<ChunkKey>> {
        let mut state = self.state.lock();
        let limit = self.limit.checked_sub(state.reserved.checked_add(len)?)?;
        let mut evicted = Vec::new();
        while state.bytes > limit {
            let key = *state.by_use.first_key_value()?.1;
            state.remove(key);
            evicted.push(key);
        }
        state.reserved += len;
        Some(evicted)
    }
}

#[cfg(test)]
mod tests {
    use tidelog_log::OsDisk;
    use tidelog_log::sim::{Faults, SimDisk};

    use super::*;

    async fn cache(limit: u64) -> (Arc<ChunkCache>, Objects, tempfile::TempDir) {
        cache_on(Arc::new(OsDisk), limit).await
    }

    async fn cache_on(disk: Arc<dyn Disk>, limit: u64) -> (Arc<ChunkCache>, Objects, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("file://{}", folder.path().join("store").display());
        let objects = Objects::open(&url, &tidelog_objects::StoreOptions::default()).await.unwrap();
        objects.put("o", Bytes::from_static(b"0123456789")).await.unwrap();
        let path = folder.path().join("chunks");
        let cache = ChunkCache::open(&path, disk, limit, 2, objects.clone(), Handle::current()).unwrap();
        (cache, objects, folder)
    }

    fn key(chunk: u32) -> ChunkKey {
        ChunkKey { object: Uuid::from_u128(1), chunk }
    }

    #[tokio::test]
    async fn who_looked_just_before_a_chunk_came_does_not_fetch_it_again() {
        let (cache, objects, _folder) = cache(100).await;
        cache.get(key(0), "o", 0..10).await.unwrap();
        let before = objects.counts().requests().get;
        assert!(cache.fetch(key(0), "o", 0..10).is_none());
        let again = cache.get(key(0), "o", 0..10).await.unwrap().read(2..4).await.unwrap();
        assert_eq!((again.as_ref(), objects.counts().requests().get - before), (&b"23"[..], 0));
    }

    #[tokio::test]
    async fn the_last_part_of_the_disk_is_left_alone() {
        let disk = SimDisk::new(1);
        let capacity = |bytes| disk.set_faults(Faults { capacity: Some(bytes), ..Faults::default() });
        let (cache, _, _folder) = cache_on(Arc::new(disk.clone()), 100).await;
        // An eighth is kept.
        capacity(11);
        assert_eq!(cache.get(key(0), "o", 0..10).await.unwrap().read(2..4).await.unwrap().as_ref(), b"23");
        assert_eq!((cache.bytes(), cache.has(key(0))), (10, true), "there was room");
        capacity(8);
        assert_eq!(cache.get(key(1), "o", 0..10).await.unwrap().read(2..4).await.unwrap().as_ref(), b"23");
        assert_eq!((cache.bytes(), cache.has(key(1))), (10, false), "it was read all the same");
    }

    #[tokio::test]
    async fn chunks_that_are_being_written_count() {
        let (cache, _, _folder) = cache(100).await;
        assert_eq!(cache.make_room(60), Some(vec![]));
        assert_eq!(cache.make_room(60), None, "together they are too much");
        assert_eq!(cache.make_room(u64::MAX), None);
        cache.state.lock().reserved = 0;
        cache.state.lock().insert(key(1), 60);
        assert_eq!(cache.make_room(60), Some(vec![key(1)]));
    }
}
