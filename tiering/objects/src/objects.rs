//! One opened store, under a prefix: the operations that the cold tier and the tables use, with bounded waiting.

use std::future::Future;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::{Stream, StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload};
use tidelog_model::Timestamp;

use crate::counted::{Counted, Counts};
use crate::error::is_absent_object;
use crate::faulty::{Faults, Faulty};
use crate::limits::{Limits, PAGE};
use crate::{ObjectsError, upload};

/// A folder in which nobody puts anything.
const NO_FOLDER: &str = "is-the-store-there";

/// An opened object store. Cheap to clone; keys are UTF-8 paths without a leading slash.
#[derive(Clone)]
pub struct Objects {
    url: Arc<str>,
    /// The store itself, under faults if a test asked for them.
    base: Arc<dyn ObjectStore>,
    /// `base`, counted.
    store: Arc<dyn ObjectStore>,
    counts: Counts,
    prefix: Path,
    limits: Limits,
    local: Option<crate::LocalPuts>,
    /// What the last request told.
    away: Arc<AtomicBool>,
}

/// What a store says about one object.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ObjectInfo {
    /// The key, without the prefix of the [`Objects`] it came from.
    pub key: String,
    /// Bytes.
    pub size: u64,
    /// When it was written, by the store's clock.
    pub modified: Timestamp,
}

/// One bounded answer of [`Objects::list`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Listing {
    /// In ascending order of keys.
    pub objects: Vec<ObjectInfo>,
    /// There are more behind the last one.
    pub more: bool,
}

impl std::fmt::Debug for Objects {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Objects({} under {:?})", self.url, self.prefix.as_ref())
    }
}

impl Objects {
    /// Wraps a store that is open already. Tests bring their own; the product uses [`Objects::open`].
    pub fn over(store: Arc<dyn ObjectStore>, url: &str, limits: Limits) -> Self {
        let counts = Counts::begin();
        let counted = Arc::new(Counted::new(Arc::clone(&store), counts.clone()));
        Objects {
            url: url.into(),
            base: store,
            store: counted,
            counts,
            prefix: Path::default(),
            limits,
            local: None,
            away: Arc::default(),
        }
    }

    pub(crate) fn with_local(mut self, local: crate::LocalPuts) -> Self {
        self.local = Some(local);
        self
    }

    /// The same store, below `prefix` (added to the present one). Counts are shared.
    pub fn with_prefix(&self, prefix: &str) -> Result<Self, ObjectsError> {
        let below = Path::parse(prefix).map_err(|e| ObjectsError::Unusable(format!("prefix {prefix:?}: {e}")))?;
        let prefix = self.prefix.parts().chain(below.parts()).collect();
        Ok(Objects { prefix, ..self.clone() })
    }

    /// The same store with other bounds.
    pub fn with_limits(&self, limits: Limits) -> Self {
        Objects { limits, ..self.clone() }
    }

    /// The same store with switchable faults between it and the caller, and counts of its own. For tests.
    pub fn with_faults(&self) -> (Self, Faults) {
        let faults = Faults::default();
        let base: Arc<dyn ObjectStore> = Arc::new(Faulty::new(Arc::clone(&self.base), faults.clone()));
        let counts = Counts::begin();
        let store = Arc::new(Counted::new(Arc::clone(&base), counts.clone()));
        (Objects { base, store, counts, ..self.clone() }, faults)
    }

    /// The URL it was opened with; contains no secret.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Requests so far, by kind.
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Did the store not answer when it was last asked, or let nobody in? A store that nobody asks tells nothing.
    pub fn is_away(&self) -> bool {
        self.away.load(Ordering::Relaxed)
    }

    /// Asks the store for something that it has not, so that [`Objects::is_away`] tells something where nobody else asks: one LIST. Who may
    /// not list hears of an object that is not there that he may not read it, and of a bucket that is not there a HEAD tells nothing.
    pub async fn look(&self) {
        if let Err(error) = self.there().await {
            tracing::debug!(%error, "looked at the object store");
        }
    }

    /// An error unless the store is there.
    async fn there(&self) -> Result<(), ObjectsError> {
        self.list(NO_FOLDER, None, 1).await.map(drop)
    }

    /// Takes from an answer whether the store is there. Errors of other kinds tell nothing of it.
    fn heard<T>(&self, answer: Result<T, ObjectsError>) -> Result<T, ObjectsError> {
        match &answer {
            Ok(_) | Err(ObjectsError::NotFound { .. } | ObjectsError::AlreadyExists { .. }) => {
                self.away.store(false, Ordering::Relaxed);
            }
            Err(ObjectsError::Unavailable(_) | ObjectsError::Denied(_)) => self.away.store(true, Ordering::Relaxed),
            Err(ObjectsError::Unusable(_) | ObjectsError::Other(_)) => {}
        }
        answer
    }

    /// Puts in flight on a local file system; none for remote stores. A `syncfs` must not run beside them (design §3).
    pub fn local_puts(&self) -> Option<crate::LocalPuts> {
        self.local.clone()
    }

    /// The store below this prefix for libraries that speak `object_store` themselves (Parquet, SQL); counted, without our retries.
    pub fn object_store(&self) -> Arc<dyn ObjectStore> {
        if self.prefix.as_ref().is_empty() {
            Arc::clone(&self.store)
        } else {
            Arc::new(PrefixStore::new(Arc::clone(&self.store), self.prefix.clone()))
        }
    }

    fn path(&self, key: &str) -> Result<Path, ObjectsError> {
        let below = Path::parse(key).map_err(|e| ObjectsError::Other(format!("key {key:?}: {e}")))?;
        Ok(self.prefix.parts().chain(below.parts()).collect())
    }

    fn info(&self, meta: ObjectMeta) -> ObjectInfo {
        let full = meta.location.as_ref();
        let prefix = self.prefix.as_ref();
        let key = full.strip_prefix(prefix).map_or(full, |rest| rest.strip_prefix('/').unwrap_or(rest));
        ObjectInfo { key: key.to_owned(), size: meta.size, modified: Timestamp(meta.last_modified.timestamp_millis()) }
    }

    /// Runs a repeatable request with the bounds of this store.
    async fn repeat<T, F>(&self, key: &str, mut request: impl FnMut() -> F) -> Result<T, ObjectsError>
    where
        F: Future<Output = object_store::Result<T>>,
    {
        let mut wait = self.limits.backoff;
        let mut left = self.limits.attempts.max(1);
        loop {
            left -= 1;
            match within(self.limits.request_timeout, key, request()).await {
                Err(error) if error.is_retriable() && left > 0 => {
                    self.away.store(true, Ordering::Relaxed);
                    tracing::debug!(key, %error, "object store request failed, trying again");
                    tokio::time::sleep(jitter(wait)).await;
                    wait = wait.saturating_mul(2);
                }
                answer => return self.heard(answer),
            }
        }
    }

    /// Puts an object, replacing what is there. Acknowledged means durable. Repeated when the store does not answer.
    pub async fn put(&self, key: &str, bytes: impl Into<Bytes>) -> Result<(), ObjectsError> {
        let path = self.path(key)?;
        let payload = PutPayload::from_bytes(bytes.into());
        self.repeat(key, || self.store.put(&path, payload.clone())).await.map(|_| ())
    }

    /// Puts an object only if none has this key (`If-None-Match: *`). Sent once: when no answer comes the object may exist, and only
    /// the caller can tell its own from another's.
    pub async fn create(&self, key: &str, bytes: impl Into<Bytes>) -> Result<(), ObjectsError> {
        let path = self.path(key)?;
        let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        let put = self.store.put_opts(&path, PutPayload::from_bytes(bytes.into()), options);
        self.heard(within(self.limits.request_timeout, key, put).await).map(|_| ())
    }

    /// Puts `size` bytes from a stream, in parts of 16 MiB if they are many; replaces what is there. Not repeated; a failed upload
    /// leaves nothing visible. Holds at most 80 MiB.
    pub async fn put_stream<S>(&self, key: &str, size: u64, source: S) -> Result<(), ObjectsError>
    where
        S: Stream<Item = std::io::Result<Bytes>> + Send + Unpin,
    {
        let path = self.path(key)?;
        self.heard(upload::put_stream(&self.store, &path, key, size, source, &self.limits).await)
    }

    /// Puts a local file (whole, as long as it is at the call), reading it off the async workers.
    pub async fn put_file(&self, key: &str, file: &std::path::Path) -> Result<(), ObjectsError> {
        let failed = |e: std::io::Error| ObjectsError::Other(format!("reading {}: {e}", file.display()));
        let open = tokio::fs::File::open(file).await.map_err(failed)?;
        let size = open.metadata().await.map_err(failed)?.len();
        self.put_stream(key, size, Box::pin(upload::file_stream(open, size))).await
    }

    /// The whole object.
    pub async fn get(&self, key: &str) -> Result<Bytes, ObjectsError> {
        let path = self.path(key)?;
        self.repeat(key, || async { self.store.get(&path).await?.bytes().await }).await
    }

    /// Bytes `range` of an object, all of them; a range beyond its end is an error.
    pub async fn get_range(&self, key: &str, range: Range<u64>) -> Result<Bytes, ObjectsError> {
        let path = self.path(key)?;
        let announced = range.end.saturating_sub(range.start);
        let bytes = self.repeat(key, || self.store.get_range(&path, range.clone())).await?;
        if bytes.len() as u64 == announced {
            Ok(bytes)
        } else {
            Err(ObjectsError::Other(format!("{key}: asked for {announced} bytes, got {}", bytes.len())))
        }
    }

    /// Several ranges of one object; neighbouring ones share a request.
    pub async fn get_ranges(&self, key: &str, ranges: &[Range<u64>]) -> Result<Vec<Bytes>, ObjectsError> {
        let path = self.path(key)?;
        self.repeat(key, || self.store.get_ranges(&path, ranges)).await
    }

    /// Size and age of an object.
    pub async fn head(&self, key: &str) -> Result<ObjectInfo, ObjectsError> {
        let path = self.path(key)?;
        match self.repeat(key, || self.store.head(&path)).await {
            // The answer has no body that would tell an absent object from an absent bucket.
            Err(absent @ ObjectsError::NotFound { .. }) => self.there().await.and(Err(absent)),
            found => found.map(|meta| self.info(meta)),
        }
    }

    /// Deletes an object; one that is gone already is a success.
    pub async fn delete(&self, key: &str) -> Result<(), ObjectsError> {
        self.delete_all(&[key]).await
    }

    /// Deletes objects in the given order, up to 1,000 a request; those that are gone already are a success.
    pub async fn delete_all<K: AsRef<str>>(&self, keys: &[K]) -> Result<(), ObjectsError> {
        for page in keys.chunks(PAGE) {
            let paths = page.iter().map(|k| self.path(k.as_ref())).collect::<Result<Vec<_>, _>>()?;
            let first = page.first().map_or("", |k| k.as_ref());
            self.repeat(first, || async {
                let paths: Vec<object_store::Result<Path>> = paths.iter().cloned().map(Ok).collect();
                let mut done = self.store.delete_stream(futures::stream::iter(paths).boxed());
                while let Some(one) = done.next().await {
                    match one {
                        Ok(_) => {}
                        Err(error) if is_absent_object(&error) => {}
                        Err(error) => return Err(error),
                    }
                }
                Ok(())
            })
            .await?;
        }
        Ok(())
    }

    /// Objects below the folder `prefix` (empty for all) whose keys come after `start_after`, at most `limit`.
    pub async fn list(&self, prefix: &str, start_after: Option<&str>, limit: usize) -> Result<Listing, ObjectsError> {
        let folder = self.path(prefix)?;
        let folder = (!folder.as_ref().is_empty()).then_some(folder);
        let after = start_after.map(|key| self.path(key)).transpose()?;
        let metas: Vec<ObjectMeta> = self
            .repeat(prefix, || {
                let stream = match &after {
                    Some(after) => self.store.list_with_offset(folder.as_ref(), after),
                    None => self.store.list(folder.as_ref()),
                };
                stream.take(limit.saturating_add(1)).try_collect()
            })
            .await?;
        let more = metas.len() > limit;
        let objects = metas.into_iter().take(limit).map(|meta| self.info(meta)).collect();
        Ok(Listing { objects, more })
    }
}

/// Awaits one request for at most `limit` and names its error.
pub(crate) async fn within<T>(
    limit: Duration,
    key: &str,
    request: impl Future<Output = object_store::Result<T>>,
) -> Result<T, ObjectsError> {
    match tokio::time::timeout(limit, request).await {
        Ok(answer) => answer.map_err(|e| ObjectsError::from_store(key, e)),
        Err(_) => Err(ObjectsError::Unavailable(format!("{key}: no answer within {} s", limit.as_secs_f32()))),
    }
}

/// Between half and all of `wait`, so that many clients do not come back together.
fn jitter(wait: Duration) -> Duration {
    wait.mul_f64(rand::random_range(0.5..=1.0))
}
