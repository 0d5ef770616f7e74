//! Opening a store by its URL.

use std::path::PathBuf;
use std::sync::Arc;

use crate::local::DurableLocal;
use crate::{Objects, ObjectsError, StoreOptions, probe, without_password};

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

    /// Refuses what [`Objects::open`] refuses before it looks at the store.
    pub fn check(url: &str, options: &StoreOptions) -> Result<(), ObjectsError> {
        Place::of(url, options).map(drop)
    }

    async fn open_unprobed(url: &str, options: &StoreOptions) -> Result<Objects, ObjectsError> {
        match Place::of(url, options)? {
            Place::Folder(root) => {
                let room = options.room.clone();
                let opened = tokio::task::spawn_blocking(move || DurableLocal::open(&root, room)).await;
                let store = match opened {
                    Ok(Ok(store)) => store,
                    Ok(Err(e)) => return Err(ObjectsError::Unusable(format!("{url}: {e}"))),
                    Err(e) => return Err(ObjectsError::Other(format!("{url}: {e}"))),
                };
                let puts = store.puts();
                Ok(Objects::over(Arc::new(store), url, options.limits).with_local(puts))
            }
            Place::Bucket { name, prefix } => open_s3(url, name, prefix, options).await,
        }
    }
}

/// Where a URL points.
enum Place<'a> {
    Folder(PathBuf),
    Bucket { name: &'a str, prefix: &'a str },
}

impl<'a> Place<'a> {
    fn of(url: &'a str, options: &StoreOptions) -> Result<Self, ObjectsError> {
        let unusable = |why: String| Err(ObjectsError::Unusable(format!("{url}: {why}")));
        if let Some(path) = url.strip_prefix("file://") {
            return match PathBuf::from(path) {
                root if root.is_absolute() => Ok(Place::Folder(root)),
                _ => unusable("a file store needs an absolute path, file:///folder".into()),
            };
        }
        let Some(rest) = url.strip_prefix("s3://") else {
            return unusable("unknown kind of object store; use file:///folder or s3://bucket/prefix".into());
        };
        let (name, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        if name.is_empty() {
            return unusable("the bucket is missing; use s3://bucket/prefix".into());
        }
        if let Some(endpoint) = &options.endpoint
            && endpoint.starts_with("http://")
            && !options.allow_http
        {
            return unusable(format!(
                "the endpoint {} is not encrypted; use https:// or allow plain http explicitly (`--s3-allow-http`)",
                without_password(endpoint)
            ));
        }
        Ok(Place::Bucket { name, prefix: prefix.trim_matches('/') })
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
async fn open_s3(url: &str, bucket: &str, prefix: &str, options: &StoreOptions) -> Result<Objects, ObjectsError> {
    let store = crate::s3::open(url, bucket, options).await?;
    let objects = Objects::over(store, url, options.limits);
    if prefix.is_empty() { Ok(objects) } else { objects.with_prefix(prefix) }
}

#[cfg(not(feature = "s3"))]
async fn open_s3(url: &str, _: &str, _: &str, _: &StoreOptions) -> Result<Objects, ObjectsError> {
    Err(ObjectsError::Unusable(format!("{url}: this build has no S3 support (feature `s3` is off)")))
}
