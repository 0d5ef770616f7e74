//! Opening a store by its URL.

use std::path::PathBuf;
use std::sync::Arc;

use crate::local::DurableLocal;
use crate::{Objects, ObjectsError, StoreOptions, probe};

impl Objects {
    /// Opens `file:///absolute/folder` (created if absent) or `s3://bucket/prefix`, and probes it: a store that does not honour
    /// create-only puts is refused, because two writers could then both believe that they own a manifest version. A store that is
    /// [known](StoreOptions::known) may be away.
    pub async fn open(url: &str, options: &StoreOptions) -> Result<Objects, ObjectsError> {
        let objects = Self::open_unprobed(url, options).await?;
        away_if_known(objects.probe().await, options)?;
        Ok(objects)
    }

    /// Proves that the store honours create-only puts, one after another and in a race; [`Objects::open`] has done it. Leaves nothing.
    pub async fn probe(&self) -> Result<(), ObjectsError> {
        probe::probe(self).await
    }

    async fn open_unprobed(url: &str, options: &StoreOptions) -> Result<Objects, ObjectsError> {
        if let Some(path) = url.strip_prefix("file://") {
            let root = PathBuf::from(path);
            if !root.is_absolute() {
                return Err(ObjectsError::Unusable(format!(
                    "{url}: a file store needs an absolute path, file:///folder"
                )));
            }
            let opened = tokio::task::spawn_blocking(move || DurableLocal::open(&root)).await;
            let store = match opened {
                Ok(Ok(store)) => store,
                Ok(Err(e)) => return Err(ObjectsError::Unusable(format!("{url}: {e}"))),
                Err(e) => return Err(ObjectsError::Other(format!("{url}: {e}"))),
            };
            let puts = store.puts();
            return Ok(Objects::over(Arc::new(store), url, options.limits).with_local(puts));
        }
        if let Some(rest) = url.strip_prefix("s3://") {
            return open_s3(url, rest, options).await;
        }
        Err(ObjectsError::Unusable(format!(
            "{url}: unknown kind of object store; use file:///folder or s3://bucket/prefix"
        )))
    }
}

/// A store that was probed before may be away now: whoever uses it tries again.
pub(crate) fn away_if_known(looked: Result<(), ObjectsError>, options: &StoreOptions) -> Result<(), ObjectsError> {
    match looked {
        Err(error) if options.known && error.is_retriable() => {
            tracing::warn!(%error, "the object store does not answer; starting without it");
            Ok(())
        }
        other => other,
    }
}

#[cfg(feature = "s3")]
async fn open_s3(url: &str, rest: &str, options: &StoreOptions) -> Result<Objects, ObjectsError> {
    let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    if bucket.is_empty() {
        return Err(ObjectsError::Unusable(format!("{url}: the bucket is missing; use s3://bucket/prefix")));
    }
    let store = crate::s3::open(url, bucket, options).await?;
    let objects = Objects::over(store, url, options.limits);
    let prefix = prefix.trim_matches('/');
    if prefix.is_empty() { Ok(objects) } else { objects.with_prefix(prefix) }
}

#[cfg(not(feature = "s3"))]
async fn open_s3(url: &str, _rest: &str, _options: &StoreOptions) -> Result<Objects, ObjectsError> {
    Err(ObjectsError::Unusable(format!("{url}: this build has no S3 support (feature `s3` is off)")))
}
